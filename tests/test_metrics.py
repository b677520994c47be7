"""The metrics: what a scrape says, what it costs, and that the dashboard and the rules ask for what is there."""

import json
import re
import sqlite3
import subprocess
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from email.utils import format_datetime
from pathlib import Path
from platform import python_version
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from monitor.core.model import Outcome, RuleName, Severity
from monitor.metrics import Metrics
from monitor.storage.database import Database
from monitor.storage.migrate import HEAD
from monitor.workers.liveness import DISPATCHER, RECORDER, SENDER
from tests.factories import DAY, HOUR, MINUTE, NOW, connection, failure, snapshot
from tests.needs import needs_program
from tests.web_client import Visit, visiting

DOCS = Path(__file__).parent.parent / "docs"
DASHBOARD = DOCS / "grafana.json"
RULES = DOCS / "prometheus-rules.yaml"
RULES_TEST = Path(__file__).parent / "prometheus_rules_test.yaml"
P = "postpost_monitor_"

Labels = frozenset[tuple[str, str]]


@pytest.fixture
def visit(database_url: str) -> Iterator[Visit]:
    """Give an open door before an empty history, once on each kind of database."""
    with visiting(database_url) as visit:
        yield visit


@pytest.fixture
def visit_of_a_file(sqlite_url: str) -> Iterator[Visit]:
    """Give an open door before an empty history in a file, where the database makes no difference."""
    database = Database(sqlite_url)
    database.upgrade()
    database.close()
    with visiting(sqlite_url) as visit:
        yield visit


class Scrape:
    """One scrape, as Prometheus reads it."""

    def __init__(self, visit: Visit) -> None:
        answer = visit.get("/metrics")
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        self.text = answer.text
        self.families = {family.name: family for family in text_string_to_metric_families(answer.text)}
        self.samples: dict[str, dict[Labels, float]] = {}
        for family in self.families.values():
            for sample in family.samples:
                self.samples.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value

    def value(self, name: str, /, **labels: str) -> float:
        return self.samples[P + name][frozenset(labels.items())]

    def labeled(self, name: str, label: str) -> dict[str, float]:
        """Give the values of a metric with one label by that label's values."""
        return {dict(labels)[label]: value for labels, value in self.samples.get(P + name, {}).items()}


# How things stand


def test_a_scrape_of_an_empty_history_makes_nothing_up(visit: Visit) -> None:
    scrape = Scrape(visit)
    assert scrape.value("database_up") == 1
    assert scrape.value("database_size_bytes") > 4096
    assert scrape.value("token_expiry_series_dropped") == 0
    for name in (
        "targets",
        "connections",
        "token_expiry_timestamp_seconds",
        "oldest_pending_notification_timestamp_seconds",
    ):
        assert P + name in scrape.families
        assert P + name not in scrape.samples
    assert set(scrape.samples[P + "open_incidents"].values()) == {0}
    assert len(scrape.samples[P + "open_incidents"]) == len(RuleName) * len(Severity)
    assert scrape.labeled("notifications", "state") == {"pending": 0, "sending": 0, "failed": 0}


def test_connections_are_counted_by_account_platform_and_status(visit: Visit) -> None:
    visit.simulator().poll_connections(
        connection(),
        connection(platform_id="linkedin-2"),
        connection(platform_id="instagram-1", token_status="expired", expires_at=NOW),
        connection(platform_id="twitter-1", token_status="unknown", expires_at=None),
    )
    assert Scrape(visit).samples[P + "connections"] == {
        frozenset({("account", "agency"), ("platform", platform), ("status", status)}): count
        for platform, status, count in (
            ("linkedin", "valid", 2),
            ("instagram", "expired", 1),
            ("twitter", "unknown", 1),
        )
    }


def test_words_from_outside_make_no_new_series(visit: Visit) -> None:
    visit.simulator().poll_connections(
        *(
            connection(platform_id=f"invented{n}-1", token_status=f"odd{n}", expires_at=NOW + n * DAY)
            for n in range(20)
        )
    )
    scrape = Scrape(visit)
    assert scrape.value("connections", account="agency", platform="other", status="unknown") == 20
    assert len(scrape.samples[P + "connections"]) == 1


def test_labels_of_gone_things_disappear(visit: Visit) -> None:
    simulator = visit.simulator()
    gone = connection(platform_id="tiktok-9", expires_at=NOW + DAY)
    simulator.poll_connections(connection(), gone)
    assert "tiktok-9" in Scrape(visit).text
    for _ in range(5):
        simulator.advance()
        simulator.poll_connections(connection())
    assert "tiktok" not in Scrape(visit).text
    with visit.app.database.begin() as store:
        store.register([("another", None)], visit.clock())
    scrape = Scrape(visit)
    assert scrape.labeled("targets", "account") == {"another": 1}
    assert P + "connections" not in scrape.samples


def test_the_moment_of_expiry_is_told_a_connection(visit: Visit) -> None:
    simulator = visit.simulator(managed={"agency": ("64f1a2b3c4d5e6f7a8b9c0d1",)})
    simulator.provider.lists(connection(), user="64f1a2b3c4d5e6f7a8b9c0d1")
    simulator.poll_connections(
        connection(platform_id="threads-1", expires_at=NOW + DAY),
        connection(platform_id="x-1", expires_at=None),
    )
    scrape = Scrape(visit)
    shown = scrape.labeled("token_expiry_timestamp_seconds", "platform_id")
    assert shown == {
        "threads-1": (NOW + DAY).timestamp(),
        "linkedin-Tz9W5i6ZYG": (NOW + 60 * DAY).timestamp(),
    }
    users = scrape.labeled("token_expiry_timestamp_seconds", "managed_user_id")
    assert set(users) == {"", "64f1a2b3c4d5e6f7a8b9c0d1"}


def test_of_many_tokens_those_that_expire_first_are_told(database_url: str) -> None:
    with visiting(database_url, connection_metrics_at_most=2) as visit:
        visit.simulator().poll_connections(
            *(connection(platform_id=f"tiktok-{n}", expires_at=NOW + n * DAY) for n in range(5, 0, -1))
        )
        scrape = Scrape(visit)
        assert set(scrape.labeled("token_expiry_timestamp_seconds", "platform_id")) == {
            "tiktok-1",
            "tiktok-2",
        }
        assert scrape.value("token_expiry_series_dropped") == 3


def test_a_large_fleet_may_have_no_series_a_connection(database_url: str) -> None:
    with visiting(database_url, connection_metrics=False) as visit:
        visit.simulator().poll_connections(connection())
        scrape = Scrape(visit)
        assert P + "token_expiry_timestamp_seconds" not in scrape.samples
        assert scrape.value("token_expiry_series_dropped") == 1
        assert "linkedin-Tz9W5i6ZYG" not in scrape.text


def test_targets_are_due_and_then_overdue(visit: Visit) -> None:
    simulator = visit.simulator()
    simulator.poll_connections(connection())

    def seen() -> tuple[float, ...]:
        scrape = Scrape(visit)
        names = ("targets", "targets_due", "targets_overdue")
        return tuple(scrape.value(name, account="agency") for name in names)

    assert seen() == (1, 0, 0)
    visit.clock.advance(15 * MINUTE)
    assert seen() == (1, 1, 0)
    visit.clock.advance(47 * MINUTE)
    assert seen() == (1, 1, 1)


def test_the_last_good_poll_stays_where_it_was_while_polls_fail(visit: Visit) -> None:
    simulator = visit.simulator()
    simulator.poll_connections(connection())
    good_at = visit.clock()
    scrape = Scrape(visit)
    assert scrape.value("last_successful_poll_timestamp_seconds", account="agency") == good_at.timestamp()
    simulator.advance()
    simulator.provider.fails(failure())
    simulator.poll()
    scrape = Scrape(visit)
    assert scrape.value("last_successful_poll_timestamp_seconds", account="agency") == good_at.timestamp()
    assert scrape.value("last_poll_timestamp_seconds", account="agency") == visit.clock().timestamp()


def test_the_pace_that_a_budget_allows_is_told(visit_of_a_file: Visit) -> None:
    visit_of_a_file.app.context.rate_limits.set_target_count("agency", 90_000)
    scrape = Scrape(visit_of_a_file)
    bucket = scrape.value("request_budget_per_minute", account="agency")
    kept = scrape.value("poll_interval_effective_seconds", account="agency")
    assert bucket == 300
    assert scrape.value("poll_interval_configured_seconds", account="agency") == 15 * 60
    assert kept >= 90_000 / bucket * 60


def test_how_far_the_clocks_are_apart_is_told_by_api(visit_of_a_file: Visit) -> None:
    visit = visit_of_a_file
    assert Scrape(visit).labeled("clock_skew_seconds", "base_url") == {}
    answers_at(visit, visit.clock() - 61 * DAY)
    assert Scrape(visit).labeled("clock_skew_seconds", "base_url") == {"https://api.postpost.dev": 61 * 86400}
    for _ in range(2):
        answers_at(visit, visit.clock() + HOUR)
    assert Scrape(visit).labeled("clock_skew_seconds", "base_url") == {"https://api.postpost.dev": -3600}


def test_incidents_and_the_outbox_are_counted(visit: Visit) -> None:
    simulator = visit.simulator()
    simulator.poll_connections(connection(token_status="expired", expires_at=NOW - HOUR))
    visit.clock.advance(MINUTE)
    scrape = Scrape(visit)
    assert scrape.value("open_incidents", rule="token_expiry", severity="critical") == 1
    assert scrape.value("notifications", state="pending") == 1
    due_at = scrape.value("oldest_pending_notification_timestamp_seconds")
    assert NOW.timestamp() <= due_at <= visit.clock().timestamp()
    simulator.deliver()
    scrape = Scrape(visit)
    assert scrape.value("notifications", state="pending") == 0
    assert P + "oldest_pending_notification_timestamp_seconds" not in scrape.samples


def test_a_scrape_survives_a_database_that_is_away(visit_of_a_file: Visit) -> None:
    visit = visit_of_a_file
    visit.simulator().poll_connections(connection())
    Path(visit.app.database.url.database or "").unlink()
    scrape = Scrape(visit)
    assert scrape.value("database_up") == 0
    assert scrape.value("build_info", version="1.2.3", python=python_version(), schema=HEAD) == 1
    assert P + "connections" not in scrape.families
    assert P + "targets" not in scrape.families


def test_a_scrape_waits_for_no_writer_and_locks_nobody_out(visit_of_a_file: Visit) -> None:
    visit = visit_of_a_file
    visit.simulator().poll_connections(connection())
    writer = sqlite3.connect(visit.app.database.url.database or "", isolation_level=None, timeout=0)
    try:
        writer.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        assert Scrape(visit).value("database_up") == 1
        assert time.monotonic() - began < 5
        writer.execute("ROLLBACK")
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("ROLLBACK")
    finally:
        writer.close()


def test_each_part_says_when_it_moved(visit_of_a_file: Visit) -> None:
    visit = visit_of_a_file
    visit.monotonic_clock.now += 30
    visit.liveness.beat(SENDER)
    assert Scrape(visit).labeled("component_last_progress_timestamp_seconds", "component") == {
        DISPATCHER: NOW.timestamp() - 30,
        RECORDER: NOW.timestamp() - 30,
        SENDER: NOW.timestamp(),
    }


# What is counted


def test_what_can_be_counted_is_there_from_the_start(visit_of_a_file: Visit) -> None:
    visit_of_a_file.metrics.register_job("review")
    scrape = Scrape(visit_of_a_file)
    assert scrape.labeled("polls_total", "outcome") == dict.fromkeys(Outcome, 0)
    assert scrape.labeled("rate_limited_total", "account") == {"agency": 0}
    assert scrape.labeled("deliveries_total", "outcome") == {"delivered": 0, "failed": 0}
    assert scrape.labeled("job_errors_total", "name") == {"review": 0}
    assert "_created" not in scrape.text


def test_polls_are_counted_with_their_duration_and_how_late_they_began(visit_of_a_file: Visit) -> None:
    metrics = visit_of_a_file.metrics
    metrics.on_fetched(snapshot(), 0.2, 3.0)
    metrics.on_fetched(snapshot(failure=failure(Outcome.RATE_LIMITED)), 0.4, None)
    metrics.on_fetched(snapshot(), 0.1, -5.0)
    scrape = Scrape(visit_of_a_file)
    assert scrape.value("rate_limited_total", account="agency") == 1
    assert scrape.value("poll_duration_seconds_count") == 3
    assert scrape.value("poll_duration_seconds_sum") == pytest.approx(0.7)
    assert scrape.value("poll_lag_seconds_count") == 2
    assert scrape.value("poll_lag_seconds_sum") == 3


def test_commits_messages_and_jobs_are_counted(visit_of_a_file: Visit) -> None:
    metrics = visit_of_a_file.metrics
    metrics.on_recorded({Outcome.OK: 119, Outcome.RATE_LIMITED: 1}, 3)
    metrics.on_recorded({Outcome.OK: 1}, 0)
    metrics.on_delivered("ops", 2, 1)
    metrics.on_job_ended("review", is_ok=True)
    metrics.on_job_ended("review", is_ok=False)
    scrape = Scrape(visit_of_a_file)
    assert scrape.value("commit_polls_count") == 2
    assert scrape.value("commit_polls_sum") == 121
    assert scrape.value("changes_total") == 3
    assert scrape.value("polls_total", outcome="ok") == 120
    assert scrape.value("polls_total", outcome="rate_limited") == 1
    assert scrape.value("deliveries_total", channel="ops", outcome="delivered") == 2
    assert scrape.value("deliveries_total", channel="ops", outcome="failed") == 1
    assert scrape.value("job_runs_total", name="review") == 1
    assert scrape.value("job_errors_total", name="review") == 1


def test_two_monitors_in_one_process_count_apart() -> None:
    first, second = (Metrics(version="1", schema="0001", accounts=["a"], channels=[]) for _ in range(2))
    first.on_recorded({Outcome.OK: 1}, 0)
    assert b'polls_total{outcome="ok"} 1.0' in first.render()
    assert b'polls_total{outcome="ok"} 0.0' in second.render()


def test_no_secret_is_in_a_scrape(visit_of_a_file: Visit) -> None:
    text = Scrape(visit_of_a_file).text
    for secret in visit_of_a_file.app.config.secrets():
        assert secret not in text


# The dashboard and the rules


@pytest.fixture
def busy(visit_of_a_file: Visit) -> Scrape:
    """Give a scrape in which every family has a sample."""
    simulator = visit_of_a_file.simulator()
    simulator.poll_connections(connection(token_status="expired", expires_at=NOW - HOUR))
    visit_of_a_file.clock.advance(HOUR)
    visit_of_a_file.metrics.register_job("review")
    answers_at(visit_of_a_file, NOW)
    return Scrape(visit_of_a_file)


def answers_at(visit: Visit, moment: datetime) -> None:
    """Have the API answer once, at this time by its own clock."""
    [clock] = visit.app.context.clocks.clocks()
    clock.on_answer(clock.start(), {"Date": format_datetime(moment, usegmt=True)})


def _expressions() -> Iterator[str]:
    rules = yaml.safe_load(RULES.read_text("utf-8"))
    yield from (rule["expr"] for group in rules["groups"] for rule in group["rules"])
    dashboard = json.loads(DASHBOARD.read_text("utf-8"))
    for panel in dashboard["panels"]:
        yield from (each["expr"] for each in panel["targets"])
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


def _asked_for(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Find the metrics that an expression names, each with the labels that it is chosen by."""
    for name, chosen in re.findall(r"\b((?:postpost_monitor|process)_\w+)(?:\{([^}]*)\})?", expression):
        yield name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", chosen))


# What Prometheus adds to everything it scrapes.
ADDED = {"instance", "job"}


def test_every_family_has_a_sample_somewhere(busy: Scrape) -> None:
    assert {name for name, family in busy.families.items() if not family.samples} == set()


@pytest.mark.parametrize("expression", sorted(set(_expressions())))
def test_the_dashboard_and_the_rules_ask_for_what_is_there(busy: Scrape, expression: str) -> None:
    asked = list(_asked_for(expression))
    assert asked or "up{" in expression
    for name, labels in asked:
        assert name in busy.samples, f"no metric {name}"
        known = {label for sample in busy.samples[name] for label, _ in sample}
        assert labels <= known | ADDED, f"{name} has no label {labels - known}"
    for kept in re.findall(r"\b(?:by|on)\s*\(([^)]*)\)", expression):
        known = {label for name, _ in asked for sample in busy.samples[name] for label, _ in sample}
        assert {each.strip() for each in kept.split(",")} <= known | ADDED


def test_values_that_rules_choose_by_are_values_that_exist(busy: Scrape) -> None:
    for expression in _expressions():
        for name, chosen in re.findall(r"(postpost_monitor_\w+)\{([^}]*)\}", expression):
            for label, value in re.findall(r'(\w+)="([^"$]*)"', chosen):
                if label in {"state", "outcome", "severity", "verdict"}:
                    values = {dict(labels)[label] for labels in busy.samples[name]}
                    assert value in values, f"{name} has no {label} {value}"


def test_the_documentation_names_every_metric_and_no_other(busy: Scrape) -> None:
    written = set(re.findall(r"`(postpost_monitor_\w+)", (DOCS / "metrics.md").read_text("utf-8")))
    suffixes = {"histogram": ("",), "counter": ("_total",)}
    real = {
        name + suffix
        for name, family in busy.families.items()
        for suffix in suffixes.get(family.type, ("",))
        if name.startswith(P)
    }
    assert written == real


def test_every_rule_says_what_is_wrong_and_what_to_do() -> None:
    rules = [rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in set(Severity)
        assert rule["annotations"].keys() == {"summary", "description"}


def test_the_dashboard_is_whole() -> None:
    dashboard: Mapping[str, Any] = json.loads(DASHBOARD.read_text("utf-8"))
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, f"{panel['title']} lies on another panel"
        assert max(x for x, _ in cells) < 24
        taken |= cells
        assert panel["datasource"]["uid"] == "${datasource}"


def promtool(*arguments: str | Path, given: str | None = None) -> tuple[int, str]:
    program = needs_program("promtool", "prometheus")
    done = subprocess.run(
        [program, *map(str, arguments)], input=given, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_prometheus_takes_the_rules() -> None:
    status, text = promtool("check", "rules", RULES)
    assert status == 0, text


def test_each_rule_speaks_in_its_trouble_and_keeps_silent_otherwise() -> None:
    status, text = promtool("test", "rules", RULES_TEST)
    assert status == 0, text
    tried = RULES_TEST.read_text("utf-8")
    rules = [rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]
    assert [rule["alert"] for rule in rules if tried.count(rule["alert"]) < 1] == []


def test_what_the_rules_are_tried_on_is_what_is_there(busy: Scrape) -> None:
    """Else the rules would be right about series that nobody gives."""
    tests = yaml.safe_load(RULES_TEST.read_text("utf-8"))["tests"]
    series = [each["series"] for test in tests for each in test["input_series"]]
    assert series
    for each in series:
        name, _, chosen = each.partition("{")
        if name == "up":
            continue
        labels = dict(re.findall(r'(\w+)="([^"]*)"', chosen))
        known = {label for sample in busy.samples[name] for label, _ in sample}
        assert labels.keys() <= known | ADDED, each
        for label in labels.keys() & {"state", "outcome", "severity", "verdict", "component", "rule", "le"}:
            assert labels[label] in {dict(sample)[label] for sample in busy.samples[name]}, each


def test_prometheus_has_nothing_to_say_of_our_names(busy: Scrape) -> None:
    assert promtool("check", "metrics", given=busy.text) == (0, "")
