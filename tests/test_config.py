"""The configuration: what is read, what is refused, and that no secret is ever shown."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from monitor.app import build_channels
from monitor.config.load import find_config, load_config, parse_config
from monitor.config.model import Config
from monitor.config.rules import SECTIONS, RuleSection
from monitor.config.values import Section, Written, format_duration, parse_duration
from monitor.core.model import RuleName, Severity
from monitor.core.rules.damping import Flapping, MassChange
from monitor.core.rules.registry import DEFAULT_RULES
from monitor.core.rules.renewal import RenewalOverdue, RenewalProfile, RenewedBy
from monitor.core.rules.token_expiry import TokenExpiry
from monitor.errors import ConfigError

EXAMPLE = Path(__file__).parent.parent / "config.example.yaml"
KEY = "sk_abc123_0011ff.99aa88"
ENVIRON = {"KEY": KEY, "OPS": "slack://TokenAAAA/TokenBBBB/TokenCCCC"}
SWITCH = {"HEARTBEAT_URL": "https://hc-ping.com/5c7f0ce5-7c4c-4d5e-9c2e-3a1c1f0a9d11"}

ACCOUNTS = "accounts: [{name: agency, api_key_env: KEY}]\n"
CHANNELS = "channels: [{name: ops, url_env: OPS}]\n"
WHOLE = ACCOUNTS + CHANNELS
ACCOUNT = "accounts: [{name: a, api_key_env: KEY, %s}]\n"

Load = Callable[..., Config]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write a file and read it as the configuration."""

    def write_and_load(text: str | bytes, environ: Mapping[str, str] = ENVIRON) -> Config:
        path = tmp_path / "config.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_config(path, environ)

    return write_and_load


# What is read


def test_the_smallest_file_stands_on_the_defaults(load: Load) -> None:
    config = load(WHOLE)
    assert timedelta(minutes=15) == config.polling.every
    assert config.polling.jitter == 0.1
    assert config.accounts[0].base_url == "https://api.postpost.dev"
    assert config.accounts[0].api_key.get_secret_value() == KEY
    assert config.channels[0].url.get_secret_value() == ENVIRON["OPS"]
    assert config.channels[0].allow_reconnect_links is False
    assert timedelta(days=400) == config.retention.history
    assert config.warnings == ()


CLIENT_CHANNEL = (
    "channels: [{name: clients, url: 'json://localhost/{managed_user.id}', allow_reconnect_links: true}]\n"
)


def test_messages_to_clients_name_a_sender_or_a_warning_says_that_they_do_not(load: Load) -> None:
    named = load(ACCOUNTS + CLIENT_CHANNEL + "clients: {sender: ' Harbour Agency '}\n")
    assert (named.clients.sender, named.warnings) == ("Harbour Agency", ())
    (warning,) = load(ACCOUNTS + CLIENT_CHANNEL).warnings
    assert "clients.sender is missing" in warning


@pytest.mark.parametrize(
    "sender",
    ["''", "'  '", r'"Harbour\r\nBcc: a@b.example"', "a" * 81],
    ids=["empty", "blank", "lines", "long"],
)
def test_a_sender_that_is_no_name_on_one_line_is_refused(load: Load, sender: str) -> None:
    with pytest.raises(ConfigError, match="a name on one line, of at most 80 characters"):
        load(WHOLE + f"clients: {{sender: {sender}}}\n")


def test_a_channel_has_a_time_zone_of_its_own_or_that_of_the_whole_configuration(load: Load) -> None:
    channels = "channels: [{name: ops, url_env: OPS, time_zone: Asia/Tokyo}, {name: chat, url_env: OPS}]\n"
    built = build_channels(load(ACCOUNTS + channels + "time_zone: Europe/Berlin\n"))
    assert [str(channel.time_zone) for channel in built.values()] == ["Asia/Tokyo", "Europe/Berlin"]
    assert str(build_channels(load(WHOLE))["ops"].time_zone) == "UTC"
    with pytest.raises(ConfigError, match="a time zone such as Europe/Berlin or UTC"):
        load(WHOLE + "time_zone: Berlin\n")


def test_without_routes_every_channel_gets_everything(load: Load) -> None:
    (route,) = load(WHOLE + "unrouted: ignore\n").routes
    assert route.channels == ("ops",)
    assert route.group_by == ("account",)
    assert route.group_wait == timedelta(seconds=30)
    assert route.remind_every is None


def test_without_channels_nobody_is_told_and_a_warning_says_so(load: Load) -> None:
    config = load(ACCOUNTS)
    assert config.routes == ()
    assert config.warnings == ("there is no channel: no alert will be sent",)


def test_a_rule_that_is_not_listed_keeps_its_defaults(load: Load) -> None:
    rules = load(WHOLE + "rules: [{rule: api_unreachable, after: 9}]\n").active_rules()
    assert rules.connection == DEFAULT_RULES.connection
    assert {rule.name: rule.after for rule in rules.account} == {
        **{rule.name: rule.after for rule in DEFAULT_RULES.account},
        RuleName.API_UNREACHABLE: 9,
    }


def test_a_rule_that_is_switched_off_is_not_in_force(load: Load) -> None:
    text = "rules: [{rule: bad_answer, enabled: false}, {rule: publish_error, enabled: false}]\n"
    rules = load(WHOLE + text).active_rules()
    off = {RuleName.BAD_ANSWER, RuleName.PUBLISH_ERROR}
    assert rules.connection == tuple(rule for rule in DEFAULT_RULES.connection if rule.name not in off)
    assert rules.account == tuple(rule for rule in DEFAULT_RULES.account if rule.name not in off)


def test_what_is_known_of_platforms_reaches_the_rules_about_dates(load: Load) -> None:
    rules = load(WHOLE + "profiles: {linkedin: {renewed_by: vendor, overdue_before: 20d}}\n").active_rules()
    profile = RenewalProfile(renewed_by=RenewedBy.VENDOR, overdue_before=timedelta(days=20))
    assert [rule.profiles for rule in rules.connection if isinstance(rule, TokenExpiry | RenewalOverdue)] == [
        {"linkedin": profile},
        {"linkedin": profile},
    ]


def test_damping_reaches_the_rules(load: Load) -> None:
    text = "damping: {flapping: {times: 5, within: 2d, calm: 1h}, blast_radius: {share: 10%, count: 3}"
    text += ", removed_after: 7}"
    rules = load(WHOLE + text).active_rules()
    assert rules.flapping == Flapping(times=5, window=timedelta(days=2), quiet_for=timedelta(hours=1))
    assert rules.mass_change == MassChange(share=0.1, count=3)
    assert rules.removed_after == 7


def test_without_damping_and_rules_the_defaults_are_in_force(load: Load) -> None:
    assert load(WHOLE).active_rules() == DEFAULT_RULES


def test_the_ladder_is_read_with_the_longest_time_first(load: Load) -> None:
    config = load(WHOLE + "rules: [{rule: token_expiry, before: {12h: critical, 14d: notice, 2d: notice}}]\n")
    rules = config.active_rules().connection
    (ladder,) = (rule.before for rule in rules if isinstance(rule, TokenExpiry))
    assert list(ladder.items()) == [
        (timedelta(days=14), Severity.NOTICE),
        (timedelta(days=2), Severity.NOTICE),
        (timedelta(hours=12), Severity.CRITICAL),
    ]


def test_a_route_is_read_in_full(load: Load) -> None:
    config = load(
        WHOLE
        + """
routes:
  - channels: [ops]
    match: {severity: critical, rule: [token_*], labels: {team: [emea, apac]}, managed_user: "Acme*"}
    group_by: [account, managed_user]
    group_wait: 0s
    quiet_hours: {from: 20:00, to: "08:00", time_zone: Europe/Berlin}
    send_resolved: false
    continue: false
    digest: {every: weekly, at: "09:00", time_zone: UTC, weekday: friday}
"""
    )
    (route,) = config.routes
    assert route.match.severity == (Severity.CRITICAL,)
    assert route.match.labels == {"team": ("emea", "apac")}
    assert route.match.managed_user == ("Acme*",)
    assert route.group_wait == timedelta()
    assert route.quiet_hours is not None
    assert (route.quiet_hours.starts.hour, route.quiet_hours.ends.hour) == (20, 8)
    assert route.quiet_hours.critical is True
    assert (route.send_resolved, route.continues) == (False, False)
    assert route.digest is not None
    assert route.digest.weekday == "friday"


def test_a_name_in_braces_is_replaced_and_two_dollars_are_one(load: Load) -> None:
    environ = {**ENVIRON, "TEAM": "e: [m]", "MANY": "64"}
    text = "polling: {concurrency: '${MANY}'}\n" + ACCOUNT % "labels: {t: '${TEAM}$$$${TEAM}$x'}"
    config = load(text, environ)
    assert config.accounts[0].labels == {"t": "e: [m]$${TEAM}$x"}
    assert config.polling.concurrency == 64


def test_plain_words_of_yaml_stay_words(load: Load) -> None:
    config = load("accounts: [{name: no, api_key_env: KEY, labels: {a: on, b: 2026-01-01, c: 010}}]\n")
    assert config.accounts[0].name == "no"
    assert config.accounts[0].labels == {"a": "on", "b": "2026-01-01", "c": "010"}


def test_aliases_and_merges_are_welcome_in_moderation(load: Load) -> None:
    config = load(
        "accounts:\n  - &one {name: a, api_key_env: KEY, every: 5m}\n  - {<<: *one, name: b}\n" + CHANNELS
    )
    assert [account.name for account in config.accounts] == ["a", "b"]
    assert config.accounts[1].every == timedelta(minutes=5)


def test_a_key_file_may_end_in_a_line_break(load: Load, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"  {KEY}\r\n")
    config = load("accounts: [{name: agency, api_key_file: key}]\n" + CHANNELS)
    assert config.accounts[0].api_key.get_secret_value() == KEY


def test_a_legacy_key_is_taken_with_a_warning_that_does_not_show_it(load: Load) -> None:
    config = load(WHOLE, {**ENVIRON, "KEY": "legacy-key-of-old"})
    assert config.accounts[0].api_key.get_secret_value() == "legacy-key-of-old"
    (warning,) = config.warnings
    assert warning.startswith("account 'agency': the API key doesn't start with sk_")
    assert "legacy-key" not in warning


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        ("sqlite:////var/lib/h.db", "sqlite:////var/lib/h.db"),
        ("postgres://u:p@h/db", "postgresql+psycopg://u:p@h/db"),
        ("postgresql://u@h:5432/db?sslmode=require", "postgresql+psycopg://u@h:5432/db?sslmode=require"),
        ("postgresql+psycopg:///db", "postgresql+psycopg:///db"),
    ],
)
def test_a_database_url_becomes_one_of_sqlalchemy(load: Load, written: str, taken: str) -> None:
    config = load(WHOLE + f"database: {{url: '{written}'}}\n")
    assert config.database.url.get_secret_value() == taken


@pytest.mark.parametrize(
    ("written", "taken"),
    [
        ("https://api.example.com/", "https://api.example.com"),
        ("https://api.example.com:8443/proxy/", "https://api.example.com:8443/proxy"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://127.1.2.3:1", "http://127.1.2.3:1"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_a_base_url_is_taken_without_its_last_slash(load: Load, written: str, taken: str) -> None:
    config = load(f"accounts: [{{name: a, api_key_env: KEY, base_url: '{written}'}}]\n" + CHANNELS)
    assert config.accounts[0].base_url == taken
    assert config.warnings == ()


def test_the_path_of_the_api_is_left_out_of_a_base_url_with_a_warning(load: Load) -> None:
    text = "accounts: [{name: a, api_key_env: KEY, base_url: 'https://api.publora.com/api/v1/'}]\n"
    config = load(text + CHANNELS)
    assert config.accounts[0].base_url == "https://api.publora.com"
    assert config.warnings == (
        "account 'a': /api/v1 at the end of base_url is left out: the monitor adds it itself",
    )


@pytest.mark.parametrize(
    ("one", "other", "is_told"),
    [
        ("", "", True),
        ("include_owner: false, managed_users: all", "", False),
        ("managed_users: all", "include_owner: false, managed_users: [507F1F77BCF86CD799439011]", True),
        (
            "managed_users: [507f1f77bcf86cd799439011]",
            "include_owner: false, managed_users: [507f1f77bcf86cd799439012]",
            False,
        ),
        ("", "provider: publora", False),
        ("", "api_key_env: OTHER", False),
    ],
)
def test_accounts_that_watch_the_same_with_one_key_are_told_of(
    load: Load, one: str, other: str, is_told: bool
) -> None:
    accounts = [{"name": name, "api_key_env": "KEY"} for name in ("north", "south")]
    for account, keys in zip(accounts, (one, other), strict=True):
        account.update(yaml.safe_load(f"{{{keys}}}"))
    config = load(yaml.safe_dump({"accounts": accounts}) + CHANNELS, {**ENVIRON, "OTHER": "sk_other_1.2"})
    expected = (
        "accounts 'north' and 'south' have the same key and poll some of the same targets: "
        "problems with those are reported twice",
    )
    assert config.warnings == (expected if is_told else ())


def test_links_that_nobody_may_be_given_are_told_of(load: Load) -> None:
    create = "accounts: [{name: a, api_key_env: KEY, managed_users: all, reconnect_links: create}]\n"
    assert load(create + CHANNELS).warnings == (
        "account 'a': no channel has allow_reconnect_links: true, so reconnect_links: create makes none",
    )
    assert (
        load(create + "channels: [{name: ops, url_env: OPS, allow_reconnect_links: true}]\n").warnings == ()
    )


def test_each_provider_has_its_own_address(load: Load) -> None:
    config = load("accounts: [{name: a, provider: publora, api_key_env: KEY}]\n")
    assert config.accounts[0].base_url == "https://api.publora.com"


def test_a_configuration_is_never_changed(load: Load) -> None:
    config = load(WHOLE)
    with pytest.raises(ValueError, match="frozen"):
        config.unrouted = "ignore"
    assert config == load(WHOLE)
    assert config != load(WHOLE, {**ENVIRON, "KEY": KEY + "0"})


# What is looked for, and where


def test_the_file_is_looked_for_in_order(tmp_path: Path) -> None:
    option, named, local, system = (tmp_path / name for name in ("option", "named", "local", "system"))
    for path in (option, named, local, system):
        path.touch()
    environ = {"POSTPOST_MONITOR_CONFIG": str(named)}
    assert find_config(option, environ, local=local, system=system) == option
    assert find_config(None, environ, local=local, system=system) == named
    assert find_config(None, {"POSTPOST_MONITOR_CONFIG": ""}, local=local, system=system) == local
    local.unlink()
    assert find_config(None, {}, local=local, system=system) == system
    system.unlink()
    assert find_config(None, {}, local=local, system=system) is None


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    absent = tmp_path / "absent.yaml"
    with pytest.raises(ConfigError, match=r"absent\.yaml: no such file, though --config names it"):
        find_config(absent, {})
    with pytest.raises(ConfigError, match=r"no such file, though POSTPOST_MONITOR_CONFIG names it"):
        find_config(None, {"POSTPOST_MONITOR_CONFIG": str(absent)})


# The environment alone


def test_a_key_in_the_environment_is_enough(tmp_path: Path) -> None:
    state = tmp_path / "state"
    config = load_config(None, {"POSTPOST_API_KEY": KEY + "\n", "STATE_DIRECTORY": f"{state}:/other"})
    (account,) = config.accounts
    assert (account.name, account.provider) == ("default", "postpost")
    assert account.api_key.get_secret_value() == KEY
    assert config.database.url.get_secret_value() == f"sqlite:///{state}/history.db"
    assert not state.exists()


def test_without_a_state_directory_the_history_goes_to_the_users_own() -> None:
    url = load_config(None, {"POSTPOST_API_KEY": KEY}).database.url.get_secret_value()
    assert url.startswith("sqlite:////")
    assert url.endswith("postpost-monitor/history.db")


def test_the_vendors_own_variable_means_postpost_unless_told_otherwise() -> None:
    environ = {"PUBLORA_API_KEY": KEY}
    assert load_config(None, environ).accounts[0].provider == "postpost"
    (account,) = load_config(None, {**environ, "POSTPOST_MONITOR_PROVIDER": "publora"}).accounts
    assert (account.provider, account.base_url) == ("publora", "https://api.publora.com")


def test_the_first_variable_wins_over_the_vendors() -> None:
    config = load_config(None, {"PUBLORA_API_KEY": "other", "POSTPOST_API_KEY": KEY})
    assert config.accounts[0].api_key.get_secret_value() == KEY


def test_channels_come_from_the_environment_as_they_are() -> None:
    urls = ["json://user:pa$$w${rd}@host/", "mailto://a:b@example.com", "slack://A/B/C"]
    notify = f"{urls[0]}\n  {urls[1]}\t{urls[2]}\n"
    config = load_config(None, {"POSTPOST_API_KEY": KEY, "POSTPOST_MONITOR_NOTIFY": notify})
    assert [channel.url.get_secret_value() for channel in config.channels] == urls
    assert [channel.name for channel in config.channels] == ["notify-1", "notify-2", "notify-3"]
    assert config.routes[0].channels == ("notify-1", "notify-2", "notify-3")


def test_a_channel_that_the_environment_names_twice_is_told_once() -> None:
    twice = "json://host/ mailto://a:b@example.com json://host/"
    config = load_config(None, {"POSTPOST_API_KEY": KEY, "POSTPOST_MONITOR_NOTIFY": twice})
    assert [channel.name for channel in config.channels] == ["notify-1", "notify-2"]


def test_address_and_database_come_from_the_environment() -> None:
    config = load_config(
        None,
        {
            "POSTPOST_API_KEY": KEY,
            "POSTPOST_MONITOR_BASE_URL": "http://127.0.0.1:8000",
            "POSTPOST_MONITOR_DATABASE_URL": "postgres://u:p@h/d",
        },
    )
    assert config.accounts[0].base_url == "http://127.0.0.1:8000"
    assert config.database.url.get_secret_value() == "postgresql+psycopg://u:p@h/d"


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("POSTPOST_MONITOR_PROVIDER", "x", "found 'x', want 'postpost' or 'publora'"),
        (
            "POSTPOST_MONITOR_BASE_URL",
            "http://a.example.com",
            "want https://…; plain http is for loopback only",
        ),
        (
            "POSTPOST_MONITOR_DATABASE_URL",
            "oracle://a",
            "want sqlite:////path/of/the/file.db or postgresql://",
        ),
        ("POSTPOST_MONITOR_NOTIFY", "hook", "want an Apprise URL such as mailto://… or slack://…"),
        ("POSTPOST_API_KEY", "sk_a\nb", "the API key contains a space or line break; want the bare key"),
    ],
)
def test_a_bad_variable_is_named(variable: str, value: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, {"POSTPOST_API_KEY": KEY, variable: value})
    assert str(caught.value).startswith(f"environment: {variable}: {line}")
    assert "more)" not in str(caught.value)


@pytest.mark.parametrize("environ", [{}, {"POSTPOST_API_KEY": " "}])
def test_without_file_and_key_the_line_says_what_to_set(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(None, environ)
    line = str(caught.value)
    assert "\n" not in line
    assert "set POSTPOST_API_KEY" in line
    assert "'postpost-monitor demo' needs neither" in line


# Secrets


def test_what_is_shown_and_represented_holds_no_secret(load: Load) -> None:
    environ = {
        "KEY": KEY,
        "OPS": "mailto://robot:hunter22pass@mail.example.com/to-somebody/?pass=querypass&smtp=x",
        "DB": "postgresql://me:dbpa%2Fss@host/db?sslpassword=sslpa55",
    }
    config = load(WHOLE + "database: {url_env: DB}\n", environ)
    shown = yaml.safe_dump(config.shown()) + json.dumps(config.shown()) + repr(config) + str(config)
    for secret in config.secrets():
        assert secret not in shown
    assert config.shown()["channels"] == [
        {"name": "ops", "url": "***", "url_env": "OPS", "allow_reconnect_links": False, "notify_on": []},
    ]
    assert config.shown()["database"]["url"] == "postgresql+psycopg://me:***@host/db?sslpassword=***"


def test_the_secrets_are_keys_urls_their_parts_and_passwords(load: Load) -> None:
    environ = {
        "KEY": KEY,
        "OPS": "json://robot-user:hunter%2F22@mail.example.com/PathToken/services/#general?x=queryvalue&y=z",
        "DB": "postgresql://me:dbpa%2Fss@host/db",
    }
    assert load(WHOLE + "database: {url_env: DB}\n", environ).secrets() == {
        KEY,
        environ["OPS"],
        "robot-user",
        "hunter%2F22",
        "hunter/22",
        "PathToken",
        "queryvalue",
        "dbpa%2Fss",
        "dbpa/ss",
    }


def test_a_token_where_the_host_stands_is_a_secret(load: Load) -> None:
    secrets = load(WHOLE, {"KEY": KEY, "OPS": "tgram://123456789:abcdefg_hij/12315544/"}).secrets()
    assert {"123456789", "abcdefg_hij", "12315544"} <= secrets


def test_what_is_shown_is_the_whole_tree_and_can_be_read_again(load: Load) -> None:
    text = EXAMPLE.read_text()
    environ = {"POSTPOST_API_KEY": KEY, "PUBLORA_API_KEY": KEY, "OPS_APPRISE_URL": ENVIRON["OPS"], **SWITCH}
    config = load(text, environ)
    shown = config.shown()
    assert shown["polling"]["jitter"] == "10%"
    for secret in (*shown["channels"], shown["heartbeat"]):
        del secret["url"]
    assert parse_config(yaml.safe_load(yaml.safe_dump(shown)), environ) == config


# The example


def test_the_example_is_valid_as_it_is() -> None:
    environ = {"POSTPOST_API_KEY": KEY, "PUBLORA_API_KEY": KEY, "OPS_APPRISE_URL": ENVIRON["OPS"], **SWITCH}
    config = load_config(EXAMPLE, environ)
    assert config.warnings == ()
    assert (
        config.polling == parse_config({"accounts": [{"name": "a", "api_key_env": "K"}]}, {"K": KEY}).polling
    )
    assert config.rules == parse_config({"accounts": [{"name": "a", "api_key_env": "K"}]}, {"K": KEY}).rules


def test_the_example_shows_every_key_of_every_section() -> None:
    text = EXAMPLE.read_text()
    missing = [
        f"{section.__name__}.{key}"
        for section in {*_sections(Config)}
        for key in section.written_keys()
        if not re.search(rf"^[ #-]*{re.escape(key)}:|[{{,] ?{re.escape(key)}:", text, re.MULTILINE)
    ]
    assert missing == []


def test_the_example_shows_every_rule_with_its_defaults() -> None:
    listed = {item["rule"] for item in yaml.safe_load(EXAMPLE.read_text())["rules"]}
    assert listed == {*SECTIONS}


def test_every_section_is_found_by_the_walk_over_the_tree() -> None:
    assert {section.__name__ for section in _sections(Config)} == {
        section.__name__ for section in _subclasses(Section)
    }


def _sections(model: type[BaseModel]) -> Iterator[type[Section]]:
    """Walk the tree of models by the types of their fields."""
    assert issubclass(model, Section)
    yield model
    if model is RuleSection:
        for section in SECTIONS.values():
            yield from _sections(section)
    for info in model.model_fields.values():
        written = [each.section for each in info.metadata if isinstance(each, Written)]
        for inner in (*written, *_models_in(info.annotation)):
            yield from _sections(inner)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument.section if isinstance(argument, Written) else argument)


def _subclasses(model: type[Section]) -> Iterator[type[Section]]:
    for inner in model.__subclasses__():
        yield inner
        yield from _subclasses(inner)


# Durations


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("10s", timedelta(seconds=10)),
        ("15m", timedelta(minutes=15)),
        ("24h", timedelta(hours=24)),
        ("7d", timedelta(days=7)),
        ("1h30m", timedelta(minutes=90)),
        ("1d1h1m1s", timedelta(days=1, seconds=3661)),
    ],
)
def test_a_duration_is_read(text: str, duration: timedelta) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text", ["", "0s", "1", "m", "1.5h", "-1s", "1m1h", "1h 30m", "\u0661s", "999999999d", "1M", "1s\n1s"]
)
def test_what_is_no_duration_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="want a duration such as 15m") as caught:
        parse_duration(text)
    assert str(caught.value).startswith(f"found {text!r}, ")


@given(st.integers(min_value=1, max_value=36500 * 86400).map(lambda seconds: timedelta(seconds=seconds)))
def test_a_duration_is_written_as_it_is_read(duration: timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


def test_reading_a_configuration_writes_nothing(load: Load, tmp_path: Path) -> None:
    load(WHOLE + f"database: {{url: 'sqlite:///{tmp_path}/deep/history.db'}}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["config.yaml"]


@pytest.mark.parametrize(
    ("text", "size"), [("64KiB", 2**16), ("2MiB", 2**21), ("1GiB", 2**30), ("3MB", 3_000_000)]
)
def test_a_size_has_a_unit(text: str, size: int) -> None:
    assert (
        parse_config(
            {"accounts": [{"name": "a", "api_key_env": "KEY"}], "polling": {"max_answer": text}}, ENVIRON
        ).polling.max_answer
        == size
    )


@pytest.mark.parametrize("text", ["", "2", "63KiB", "2GiB", "-1MiB", "many", None, True, [1]])
def test_no_size_is_refused_with_an_example(text: Any) -> None:
    with pytest.raises(ConfigError, match="want a size such as 2MiB"):
        parse_config(
            {"accounts": [{"name": "a", "api_key_env": "KEY"}], "polling": {"max_answer": text}}, ENVIRON
        )
