"""export: every form holds the whole view, a file is there whole or not at all, and memory stays what it was."""

import csv
import io
import json
import os
import resource
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet
from sqlalchemy import text

from monitor.sandbox.profiles import SocialProfile
from monitor.storage import queries, views
from monitor.storage.database import Database
from tests.cli.conftest import CliEnvironment

FORMS = ("csv", "json", "jsonl", "parquet")
# As many bytes as the small disk takes are far fewer than these rows make.
MANY = 30_000


@pytest.fixture
def polled(cli_env: CliEnvironment, empty_database_url: str) -> CliEnvironment:
    """Give a place on each kind of database where one poll has been."""
    if not empty_database_url.startswith("sqlite"):
        cli_env.tree["database"]["url"] = empty_database_url.replace("+psycopg", "")
    assert cli_env.run("poll").status == 0
    return cli_env


def database_of(cli_env: CliEnvironment) -> Database:
    return Database(cli_env.tree["database"]["url"].replace("postgresql:", "postgresql+psycopg:"))


def add_deliveries(cli_env: CliEnvironment, count: int) -> None:
    """Write many dead letters at once, each with a long error."""
    database = database_of(cli_env)
    numbers = f"generate_series(1, {count}) n(i)"
    error, moment = "repeat('x', 200)", "'2026-01-01Z'"
    if database.is_sqlite:
        numbers = f"(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i FROM n)"
        error, moment = "printf('%.*c', 200, 'x')", "1767225600000"
    with database.begin() as store:
        store.connection.execute(
            text(
                "INSERT INTO notifications (channel, reason, group_key, state, created_at, due_at, error)"
                f" SELECT 'ops', 'test', '', 'failed', {moment}, {moment}, {error} FROM {numbers}".replace(
                    ":", "\\:"
                )
            )
        )
    database.close()


def read(file: Path, form: str) -> list[dict[str, Any]]:
    """Read an export as a program would, times as the text that JSON has."""
    if form == "csv":
        return list(csv.DictReader(io.StringIO(file.read_text())))
    if form == "json":
        rows: list[dict[str, Any]] = json.loads(file.read_text())
        return rows
    if form == "jsonl":
        return [json.loads(line) for line in file.read_text().splitlines()]
    return [
        {
            key: value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            if isinstance(value, datetime)
            else value
            for key, value in row.items()
        }
        for row in parquet.read_table(file).to_pylist()
    ]


@pytest.mark.parametrize("view", views.VIEWS)
def test_every_form_holds_the_same_rows(polled: CliEnvironment, view: str, tmp_path: Path) -> None:
    objects = polled.run("export", view, "--format", "json").json()
    assert objects
    for form in FORMS:
        file = tmp_path / f"{view}.{form}"
        ran = polled.run("export", view, "--output", str(file))  # the name says which form
        assert (ran.status, ran.out) == (0, f"{file}: {len(objects)} rows\n")
        rows = read(file, form)
        if form == "csv":
            assert rows == [{k: "" if v is None else str(v) for k, v in each.items()} for each in objects]
        else:
            assert rows == objects
        assert [list(row) for row in rows] == [list(each) for each in objects]


def test_parquet_knows_times_and_numbers(polled: CliEnvironment, tmp_path: Path) -> None:
    polled.run("export", "incidents", "-o", str(tmp_path / "i.parquet"))
    schema = parquet.read_schema(tmp_path / "i.parquet")
    assert pyarrow.timestamp("ms", tz="UTC") == schema.field("opened_at").type
    assert pyarrow.int64() == schema.field("id").type
    assert pyarrow.string() == schema.field("summary").type


@pytest.mark.parametrize("form", FORMS)
def test_what_matches_nothing_is_an_empty_result_and_said(
    polled: CliEnvironment, form: str, tmp_path: Path
) -> None:
    file = tmp_path / "empty"
    ran = polled.run("export", "incidents", "--format", form, "--account", "nobody", "-o", str(file))
    assert ran.status == 0
    assert ran.complaint == "postpost-monitor: nothing found with account 'nobody'"
    assert read(file, form) == []
    assert polled.run("export", "transitions", "--format", form, "--since", "2099-01-01").status == 0


def test_an_export_of_one_account_since_a_time_is_that_alone(polled: CliEnvironment) -> None:
    polled.tree["accounts"].append(polled.tree["accounts"][0] | {"name": "studio"})
    polled.run("poll")
    rows = polled.run(
        "export", "transitions", "--format", "json", "--account", "studio", "--since", "1h"
    ).json()
    assert {row["account"] for row in rows} == {"studio"}
    assert len(rows) == 3
    assert polled.run("export", "deliveries", "--format", "json", "--since", "1h").json()
    assert polled.run("export", "deliveries", "--format", "json", "--since", "2099-01-01").json() == []


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (("connections", "--since", "1d"), "--since"),
        (("deliveries", "--account", "agency"), "--account"),
        (("transitions", "--since", "yesterday-ish"), "yesterday-ish"),
        (("transitions", "--since", "30x"), "30x"),
        (("transitions", "--since", "2026-02-30"), "2026-02-30"),
        (("transitions", "--since", "99999999999d"), "99999999999d"),
        (("transitions", "--since", ""), "''"),
        (("transitions", "--format", "xlsx"), "xlsx"),
        (("transitions", "--output", "/"), "/"),
    ],
)
def test_what_cannot_be_meant_names_itself(
    cli_env: CliEnvironment, args: tuple[str, ...], named: str
) -> None:
    ran = cli_env.run("export", *args)
    assert (ran.status, ran.out) == (2, "")
    assert named in ran.complaint


def test_no_cell_of_a_spreadsheet_is_a_formula(cli_env: CliEnvironment, tmp_path: Path) -> None:
    names = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1+1", "\r=1", "  =1", "\x00=1", "\u200b=1")
    for number, name in enumerate(names):
        cli_env.fake_service.add_connection(
            SocialProfile(platform_id=f"x-{number}", username=name, display_name=name)
        )
    cli_env.run("poll")
    file = tmp_path / "connections.csv"
    cli_env.run("export", "connections", "-o", str(file))
    cells = [cell for row in csv.reader(io.StringIO(file.read_text())) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert "'=1+1" in cells


def test_a_file_is_for_its_owner_alone_unless_somebody_let_others_read(
    polled: CliEnvironment, tmp_path: Path
) -> None:
    file = tmp_path / "c.csv"
    polled.run("export", "connections", "-o", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.chmod(0o640)
    polled.run("export", "connections", "-o", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o640


def test_an_export_does_not_follow_a_link(polled: CliEnvironment, tmp_path: Path) -> None:
    victim, file = tmp_path / "victim", tmp_path / "c.csv"
    victim.write_text("kept")
    file.symlink_to(victim)
    ran = polled.run("export", "connections", "-o", str(file))
    assert ran.status == 1
    assert f"{file}: it is a symbolic link; name the file that it leads to" in ran.complaint
    assert victim.read_text() == "kept"


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
def test_a_name_for_standard_output_writes_there(polled: CliEnvironment, name: str) -> None:
    to_stdout = polled.run("export", "connections").out
    assert to_stdout
    assert polled.run("export", "connections", "-o", name).out == to_stdout
    assert not Path("-").exists()


def test_a_device_is_written_to_and_stays_one(cli_env: CliEnvironment) -> None:
    cli_env.run("poll")
    assert cli_env.run("export", "connections", "-o", "/dev/null").status == 0
    assert not Path("/dev/null").is_file()
    ran = cli_env.run("export", "connections", "-o", "/dev/full")
    assert ran.status == 1
    assert "/dev/full: No space left on device" in ran.complaint


def test_a_folder_that_is_not_there_is_named(cli_env: CliEnvironment) -> None:
    cli_env.run("poll")
    ran = cli_env.run("export", "connections", "-o", "nowhere/c.csv")
    assert ran.status == 1
    assert "nowhere/c.csv: No such file or directory" in ran.complaint


@contextmanager
def small_disk(folder: Path) -> Iterator[str]:
    """
    Make a folder that takes few bytes more, and say how it refuses the others.

    Where nothing may be mounted, a limit of the process ends alike.
    """
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode == 0:
        try:
            (folder / "filler").write_bytes(os.urandom(1_020_000))
            yield "No space left on device"
        finally:
            subprocess.run(["umount", str(folder)], check=True)
        return
    (folder / "filler").touch()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, limit[1]))
    try:
        yield "File too large"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)


@pytest.mark.parametrize("form", FORMS)
def test_a_full_disk_leaves_no_half_file_and_keeps_the_old_one(
    cli_env: CliEnvironment, form: str, tmp_path: Path
) -> None:
    cli_env.run("poll")
    add_deliveries(cli_env, MANY)
    disk = tmp_path / "disk"
    with small_disk(disk) as why:
        (disk / "d").write_text("what was there")
        for name in ("d", "new"):
            ran = cli_env.run("export", "deliveries", "--format", form, "-o", str(disk / name))
            assert ran.status == 1
            assert ran.complaint == f"postpost-monitor: {disk / name}: {why}; nothing was written"
        assert {each.name for each in disk.iterdir()} == {"filler", "d"}
        assert (disk / "d").read_text() == "what was there"


def test_an_interrupted_export_leaves_nothing(
    cli_env: CliEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli_env.run("poll")

    def interrupted(*_: object, **__: object) -> Iterator[Any]:
        yield from ()
        raise KeyboardInterrupt

    monkeypatch.setattr(queries, "rows", interrupted)
    before = cli_env.files().keys()
    assert cli_env.run("export", "connections", "-o", "c.csv").status == 130
    assert cli_env.files().keys() == before


def test_without_pyarrow_parquet_says_what_to_install(
    cli_env: CliEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    ran = cli_env.run("export", "connections", "--format", "parquet")
    assert ran.status == 2
    assert "pip install 'postpost-monitor[parquet]'" in ran.complaint
    assert cli_env.run("export", "--help").status == 0


def test_parquet_is_imported_by_what_writes_it_alone() -> None:
    code = "import sys, monitor.cli.export; sys.exit('pyarrow' in sys.modules or 'sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# Exports each time that it is asked to, and tells the most memory it ever had, in KiB. Not by getrusage, which
# begins with what the process that started it has.
EXPORTER = """
import sys
from monitor.cli import export, main
export.ROW_GROUP = 1_000
for _ in sys.stdin:
    assert main(sys.argv[1:]) == 0
    status = open("/proc/self/status").read()
    print(status.split("VmHWM:")[1].split()[0], flush=True)
"""


@pytest.mark.parametrize("form", FORMS)
def test_memory_stays_what_it_was_however_long_the_export(polled: CliEnvironment, form: str) -> None:
    polled.write()
    args = ["--config", str(polled.config), "export", "deliveries", "--format", form, "-o", "/dev/null"]
    peaks = []
    with subprocess.Popen(
        [sys.executable, "-c", EXPORTER, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as exporter:
        assert exporter.stdin
        assert exporter.stdout
        for more in (5_000, 15_000):
            add_deliveries(polled, more)
            print("next", file=exporter.stdin, flush=True)
            assert "rows" in exporter.stdout.readline()
            peaks.append(int(exporter.stdout.readline()) / 1024)
        exporter.stdin.close()
    # Fifteen thousand rows more, in MiB; held at once they would take more than ten.
    assert peaks[1] - peaks[0] < 5, peaks
