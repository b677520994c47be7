"""The log: no secret, no forged line, no terminal escape, and never an exception into the daemon."""

import io
import json
import logging
import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TextIO, TypeAlias
from urllib.parse import quote

import pytest
import structlog

from monitor.logs import bind_global, configure_logs, scrub, set_secrets

KEY = "sk_abc123_0011ff.99aa88"
SECRET = "hunter/2 & sons"
Kind: TypeAlias = Literal["auto", "json", "console"]


@pytest.fixture(autouse=True)
def _leave_no_trace() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    bind_global(cycle=None)
    yield
    bind_global(cycle=None)
    structlog.reset_defaults()
    root.handlers, root.level = handlers, level
    set_secrets(())


def test_a_line_is_json_with_time_level_and_event() -> None:
    stream = _configured("json")
    structlog.get_logger().info("poll.failed", account="agency", failures=3)
    (line,) = _lines(stream)
    at = datetime.fromisoformat(line.pop("timestamp"))
    assert at.utcoffset() is not None
    assert line == {"level": "info", "event": "poll.failed", "account": "agency", "failures": 3}


def test_every_line_carries_what_accompanies_it_until_it_is_taken_away() -> None:
    stream = _configured("json")
    bind_global(cycle="a1-1")
    structlog.get_logger().info("poll.failed", account="agency")
    logging.getLogger("alembic").warning("said")
    bind_global(cycle=None)
    structlog.get_logger().info("poll.failed")
    assert [line.get("cycle") for line in _lines(stream)] == ["a1-1", "a1-1", None]


LEVELS = {"debug": "<7>", "info": "<6>", "warning": "<4>", "error": "<3>", "critical": "<2>"}


@pytest.mark.parametrize("kind", ["json", "console"])
def test_journald_is_told_the_level_of_every_line(tmp_path: Path, kind: Kind) -> None:
    with (tmp_path / "journal").open("w+") as file:
        found = os.fstat(file.fileno())
        environ = {"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"}
        configure_logs(format=kind, level="debug", secrets=(), stream=file, environ=environ)
        for level in LEVELS:
            getattr(structlog.get_logger(), level)("poll.failed")
        try:
            _fail(HOSTILE)
        except ValueError:
            structlog.get_logger().exception("job.failed")
        logging.getLogger("alembic").warning("said")
        file.seek(0)
        lines = file.read().splitlines()
    assert [line[:3] for line in lines[:5]] == [*LEVELS.values()]
    assert {line[:3] for line in lines[5:-1]} == {"<3>"}
    assert lines[-1].startswith("<4>")
    if kind == "json":
        assert [json.loads(line[3:])["level"] for line in lines[:5]] == [*LEVELS]


@pytest.mark.parametrize("named", ["", "1:2", "nonsense"])
def test_nobody_else_is_told_it_that_way(tmp_path: Path, named: str) -> None:
    with (tmp_path / "log").open("w+") as file:
        configure_logs(
            format="json", level="info", secrets=(), stream=file, environ={"JOURNAL_STREAM": named}
        )
        structlog.get_logger().info("poll.failed")
        file.seek(0)
        assert file.read().startswith("{")


def test_times_are_utc_in_milliseconds() -> None:
    stream = _configured("json")
    structlog.get_logger().info("poll.failed")
    assert len(_lines(stream)[0]["timestamp"]) == len("2026-11-23T21:36:41.556Z")
    assert _lines(stream)[0]["timestamp"].endswith("Z")


@pytest.mark.parametrize("kind", ["json", "console"])
def test_a_level_below_the_configured_is_not_written(kind: Kind) -> None:
    stream = _configured(kind, level="warning")
    structlog.get_logger().info("poll.steady")
    structlog.get_logger().warning("poll.failed")
    assert "poll.steady" not in stream.getvalue()
    assert "poll.failed" in stream.getvalue()


@pytest.mark.parametrize("kind", ["json", "console"])
def test_a_secret_is_written_nowhere(kind: Kind) -> None:
    stream = _configured(kind)
    log = structlog.get_logger()

    class Holder:
        def __repr__(self) -> str:
            return f"<Holder {SECRET}>"

    log.info(f"event.with {SECRET}", text=f"a {SECRET} b")
    log.info("nested", deep={"list": [{"set": {SECRET}}, (SECRET,)], SECRET: 1}, holder=Holder())
    log.info(
        "encoded", url=f"https://x/{quote(SECRET)}?a={quote(SECRET, safe='')}", plus="hunter%2F2+%26+sons"
    )
    log.info("lower", url="https://x/?a=hunter%2f2%20%26%20sons")
    log.info("bytes", body=SECRET.encode(), **{SECRET: 1})
    log.info("key", unknown_key="sk_other9_ffff.0000")
    try:
        _fail(SECRET)
    except ValueError:
        log.exception("job.failed")
    logging.getLogger("alembic").warning("could not send to %s", SECRET)
    written = stream.getvalue()
    for form in (SECRET, "hunter", "sons", "sk_other9"):
        assert form not in written.replace("_fail(SECRET)", "")
    assert written.count("***") >= 12


def test_scrub_hides_what_it_was_told_and_every_api_key() -> None:
    set_secrets({SECRET, KEY, "abcdef", "abcdefghi"})
    assert scrub(f"a {SECRET}, {KEY}! abcdefghij") == "a ***, ***! ***j"
    assert scrub("sk_unknown1_00ff.ff00 stays hidden") == "*** stays hidden"
    set_secrets(())
    assert scrub(SECRET) == SECRET


def test_a_secret_too_short_to_hide_leaves_the_rest_readable() -> None:
    set_secrets({"", "a", "abc"})
    assert scrub("an abc") == "an abc"


def test_ten_thousand_keys_do_not_slow_a_line_down() -> None:
    set_secrets({f"sk_key{n}_{n:x}.ffff" for n in range(10_000)})
    import monitor.logs

    assert len(monitor.logs._pattern.pattern) < 100
    assert scrub("sk_key77_4d.ffff") == "***"


HOSTILE = "x\n2026-01-01T00:00:00.000Z info forged\r\x1b[2J\x07\u202e\u2028\x9b31m"


@pytest.mark.parametrize("kind", ["json", "console"])
def test_outside_text_forges_no_line_and_steers_no_terminal(kind: Kind) -> None:
    stream = _configured(kind)
    log = structlog.get_logger()
    log.info(HOSTILE, error=HOSTILE, short="\x1b[2J", nested=[HOSTILE], **{HOSTILE: 1})
    logging.getLogger("apscheduler").warning("said %s", HOSTILE)
    lines = stream.getvalue().split("\n")
    assert len(lines) == 3
    assert lines[-1] == ""
    assert all(line.isprintable() for line in lines)


def test_a_traceback_for_people_is_indented_and_printable() -> None:
    stream = _configured("console")
    try:
        _fail(HOSTILE)
    except ValueError:
        structlog.get_logger().exception("job.failed")
    first, *rest = stream.getvalue().splitlines()
    assert first.endswith("[error    ] job.failed")
    assert rest[0] == "    Traceback (most recent call last):"
    assert all(line.startswith("    ") and line.isprintable() for line in rest)


def test_a_line_for_people_shows_where_a_value_ends() -> None:
    stream = _configured("console")
    structlog.get_logger().warning("poll.failed", account="a", error="b level=c", empty="", n=1)
    _, _, rest = stream.getvalue().partition(" ")
    assert rest == "[warning  ] poll.failed account=a error='b level=c' empty= n=1\n"


def test_libraries_are_heard_from_warning_up() -> None:
    stream = _configured("json", level="debug")
    for name in (
        "urllib3.connectionpool",
        "apscheduler.executors",
        "alembic",
        "sqlalchemy.engine",
    ):
        logging.getLogger(name).info("quiet")
        logging.getLogger(name).warning("loud %d", 1)
    assert [(line["logger"], line["event"], line["level"]) for line in _lines(stream)] == [
        ("urllib3.connectionpool", "loud 1", "warning"),
        ("apscheduler.executors", "loud 1", "warning"),
        ("alembic", "loud 1", "warning"),
        ("sqlalchemy.engine", "loud 1", "warning"),
    ]


def test_a_library_that_logs_badly_is_written_as_far_as_it_goes(capsys: pytest.CaptureFixture[str]) -> None:
    stream = _configured("json")
    record = logging.LogRecord("apprise", logging.ERROR, "", 0, "got %d of %d", ("x",), None)
    logging.getLogger().handlers[-1].handle(record)
    assert _lines(stream)[0]["event"] == "got %d of %d"
    assert capsys.readouterr().err == ""


def test_a_second_configuration_takes_the_place_of_the_first() -> None:
    early = structlog.get_logger()
    first = _configured("json")
    second = _configured("json")
    early.info("poll.failed")
    logging.getLogger("alembic").warning("said")
    assert first.getvalue() == ""
    assert [line["event"] for line in _lines(second)] == ["poll.failed", "said"]


def test_a_value_that_can_not_name_itself_is_written_all_the_same() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no name")

    stream = _configured("json")
    loop: list[object] = []
    loop.append(loop)
    structlog.get_logger().info("odd", broken=Broken(), loop=loop)
    assert _lines(stream)[0]["broken"] == "<Broken>"


def test_a_closed_stream_raises_nothing() -> None:
    stream = _configured("json")
    stream.close()
    structlog.get_logger().error("job.failed")
    logging.getLogger("alembic").error("said")


def test_a_stream_nobody_reads_any_more_raises_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = io.TextIOWrapper(os.fdopen(writer, "wb", buffering=0), write_through=True)
    configure_logs(format="json", level="info", secrets=(), stream=stream)
    structlog.get_logger().error("job.failed")
    structlog.get_logger().error("job.failed")
    stream.close()


def test_a_stream_of_another_encoding_gets_the_line_escaped() -> None:
    body = io.BytesIO()
    stream = io.TextIOWrapper(body, encoding="ascii")
    configure_logs(format="console", level="info", secrets=(), stream=stream)
    structlog.get_logger().info("poll.failed", name="Zoë")
    assert b"name=Zo\\xeb" in body.getvalue()


def test_auto_is_json_in_a_file_and_for_people_on_a_terminal(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w+") as file:
        assert _first_line("auto", file).startswith("{")
    main, side = pty.openpty()
    with os.fdopen(side, "w") as terminal:
        configure_logs(format="auto", level="info", secrets=(), stream=terminal)
        structlog.get_logger().warning("poll.failed", account="a")
        shown = os.read(main, 1000).decode()
    os.close(main)
    plain = re.sub("\x1b\\[[0-9;]*m", "", shown)
    assert "\x1b[" in shown
    assert "[warning  ] poll.failed account=a" in plain


def test_importing_the_log_loads_no_heavy_library() -> None:
    heavy = "{'pydantic', 'sqlalchemy', 'apprise', 'requests'}"
    code = f"import sys, monitor.logs; print(*{heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def _configured(kind: Kind, level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    configure_logs(format=kind, level=level, secrets=[SECRET], stream=stream)
    return stream


def _lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def _first_line(kind: Kind, stream: TextIO) -> str:
    configure_logs(format=kind, level="info", secrets=(), stream=stream)
    structlog.get_logger().info("poll.failed")
    stream.seek(0)
    return stream.readline()


def _fail(text: str) -> None:
    raise ValueError(text)
