"""
The container's recipe, as far as it can be judged without building it.

``tests/drills/container.sh`` builds the image and runs it, which takes minutes and root.
"""

import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent
RECIPE = (ROOT / "Containerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
MONITOR = COMPOSE["services"]["monitor"]


def instructions(stage: int) -> dict[str, list[str]]:
    """Read the instructions of a stage, those that go on over several lines put together."""
    whole = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", RECIPE))
    stages = re.split(r"(?m)^(?=FROM )", whole)[1:]
    found: dict[str, list[str]] = {}
    for line in stages[stage].splitlines():
        if line.strip():
            name, _, rest = line.partition(" ")
            found.setdefault(name, []).append(" ".join(rest.split()))
    return found


def locked(name: str) -> set[str]:
    """Name the packages of a lock file."""
    return set(re.findall(r"(?m)^([a-z0-9-]+)==", (ROOT / name).read_text()))


def test_what_builds_is_not_in_what_runs() -> None:
    build, final = instructions(0), instructions(-1)
    assert "--require-hashes" in build["RUN"][0]
    assert final["COPY"] == ["--from=build /opt/postpost-monitor /opt/postpost-monitor"]
    assert "hatchling" in locked("requirements-build.lock")
    assert not locked("requirements.lock") & {"hatchling", "pathspec", "pluggy", "trove-classifiers"}


def test_it_runs_as_nobody_in_particular_and_says_how_it_is() -> None:
    final = instructions(-1)
    assert final["USER"] == ["10001:10001"]
    assert final["STOPSIGNAL"] == ["SIGTERM"]
    assert final["VOLUME"] == ["/var/lib/postpost-monitor"]
    assert final["HEALTHCHECK"][0].endswith('CMD ["postpost-monitor", "check-health", "--self"]')
    assert (final["ENTRYPOINT"], final["CMD"]) == (['["postpost-monitor"]'], ['["run"]'])
    assert "org.opencontainers.image.licenses" in final["LABEL"][0]


def test_the_base_is_one_that_can_be_pinned() -> None:
    [base] = re.findall(r"(?m)^ARG BASE=(\S+)$", RECIPE)
    assert base.startswith("docker.io/library/python:3.")
    assert ":latest" not in RECIPE
    assert {stage["FROM"][0].split()[0] for stage in (instructions(0), instructions(-1))} == {"${BASE}"}


def test_the_versions_are_those_of_the_project() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"ARG VERSION={version}\n" in RECIPE
    assert MONITOR["image"] == f"localhost/postpost-monitor:{version}"


def test_what_the_wheel_is_made_of_is_all_that_the_build_sees() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in lines if line.startswith("!")}
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {
        *wheel["packages"],
        *wheel["force-include"],
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "requirements.lock",
        "requirements-build.lock",
    }
    assert lines[1] == "*"
    assert needed == let_in
    assert not any(
        fnmatch(secret, name) for secret in (".env", "config.yaml", "secrets", ".git") for name in let_in
    )


def test_compose_gives_it_nothing_that_it_does_not_need() -> None:
    assert MONITOR["read_only"] is True
    assert MONITOR["cap_drop"] == ["ALL"]
    assert MONITOR["security_opt"] == ["no-new-privileges:true"]
    assert MONITOR["user"] == "10001:10001"
    assert MONITOR["tmpfs"]
    assert MONITOR["ulimits"] == {"core": 0}  # a dump of its memory would hold the keys
    assert "ports" not in MONITOR
    assert "environment" not in MONITOR  # secrets come from files


def test_compose_names_only_what_it_has() -> None:
    for service in COMPOSE["services"].values():
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert source.startswith("./") or source in COMPOSE["volumes"]
    assert [name for name, service in COMPOSE["services"].items() if "profiles" not in service] == ["monitor"]


def found_by(tool: str, *files: Path) -> tuple[int, str]:
    """Give what a tool of the test environment has to say of some files."""
    command = [str(Path(sys.executable).with_name(tool)), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_hadolint_finds_nothing(tmp_path: Path) -> None:
    assert found_by("hadolint", ROOT / "Containerfile") == (0, "")
    (tmp_path / "Containerfile").write_text("FROM debian:latest\n")
    status, text = found_by("hadolint", tmp_path / "Containerfile")
    assert status == 1
    assert "DL3007" in text


def test_shellcheck_finds_nothing() -> None:
    scripts = [ROOT / "run", ROOT / ".ci" / "run", *(ROOT / "tests" / "drills").glob("*.sh")]
    assert found_by("shellcheck", *scripts) == (0, "")
