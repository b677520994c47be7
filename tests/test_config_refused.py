"""What no configuration may say: each mistake is one line with the remedy, and none shows a secret."""

# ruff: noqa: E501 - a table reads best with each case on its line

import re
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from monitor.config.load import load_config
from monitor.config.model import Config
from monitor.errors import ConfigError

KEY = "sk_abc123_0011ff.99aa88"
ENVIRON = {"KEY": KEY, "OPS": "slack://TokenAAAA/TokenBBBB/TokenCCCC", "FEW": "fifteen-letters"}

ACCOUNTS = "accounts: [{name: agency, api_key_env: KEY}]\n"
CHANNELS = "channels: [{name: ops, url_env: OPS}]\n"
WHOLE = ACCOUNTS + CHANNELS

ROUTES = WHOLE + "routes: [{channels: [ops], %s}]\n"
RULES = WHOLE + "rules: [%s]\n"
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


@pytest.fixture
def refusal(load: Load, tmp_path: Path) -> Callable[..., str]:
    """Give the line a file is refused with, without the file's name; it is one line, and raised alone."""

    def refused(text: str | bytes, environ: Mapping[str, str] = ENVIRON) -> str:
        with pytest.raises(ConfigError) as caught:
            load(text, environ)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None or isinstance(caught.value.__context__, OSError)
        line = str(caught.value)
        assert line.isprintable()
        assert line.startswith(f"{tmp_path}/config.yaml: ")
        return line.removeprefix(f"{tmp_path}/config.yaml: ")

    return refused


REFUSED = [
    # files
    ("", "found nothing, want a mapping with the key 'accounts'"),
    ("- a\n", "found a list, want a mapping with the key 'accounts'"),
    ("accounts: [\n", "line 2, column 1: expected the node content, but found '<stream end>'"),
    ("a: b: c\n", "line 1, column 5: mapping values are not allowed here"),
    ("accounts:\n\t- name: a\n", "line 2, column 1: a tab in the indentation; want spaces"),
    ("accounts:\n  - name: a\n  \tprovider: publora\n", "line 3, column 3: a tab in the indentation; want spaces"),
    (b"a: \xff\n", "line 1: isn't UTF-8; want a YAML file in UTF-8"),
    (b"a: 1\nb: \x1b\n", "line 2: a control character, which YAML doesn't allow"),
    ("polling: {}\npolling: {}\n", "line 2, column 1: the key polling is given twice"),
    ("a: &a [*a]\n", "a[0][0][0]: nested too deeply"),
    ("[" * 20000, "nested too deeply"),
    ("a: [" + "[]," * 250_000 + "]", "too many values: want at most 40000 lines, commas and brackets in one file"),
    ("a:\n" + "- {b: 1}\n" * 40_000, "too many values: want at most 40000 lines, commas and brackets in one file"),
    ("a: !!python/name:os.system x\n", "line 1, column 4: could not determine a constructor for the tag …"),
    ("? [a]\n: b\n", "line 1, column 3: a key must be plain text"),
    ("1: b\n", "a key is int, want text (put it in quotes)"),
    ("a: !!binary aGk=\n", "a: found a bytes, want plain text"),
    ("a: 1\n---\nb: 1\n", "line 2, column 1: but found another document"),
    # keys
    ("poling: {}\n" + WHOLE, "poling: unknown key; did you mean 'polling'?"),
    (
        "accounts: [{nme: a, every: 1}]\n",
        "accounts[0].nme: unknown key; did you mean 'name'?",
    ),
    (
        WHOLE + "log: {zzz: 1}\n",
        "log.zzz: unknown key; want format or level",
    ),
    (WHOLE + "web: {listen: 1}\n", "web.listen: found 1, want host:port, such as 127.0.0.1:8470 or [::1]:8470; port 0 is any that is free"),
    (WHOLE + "web: {listen: ':8470'}\n", "web.listen: found ':8470', want host:port, such as 127.0.0.1:8470 or [::1]:8470; port 0 is any that is free"),
    (WHOLE + "web: {listen: localhost}\n", "web.listen: found 'localhost', want host:port, such as 127.0.0.1:8470 or [::1]:8470; port 0 is any that is free"),
    (WHOLE + "web: {listen: '::1:8470'}\n", "web.listen: found '::1:8470', want host:port, such as 127.0.0.1:8470 or [::1]:8470; port 0 is any that is free"),
    (WHOLE + "web: {listen: '[localhost]:1'}\n", "web.listen: found '[localhost]:1', want host:port, such as 127.0.0.1:8470 or [::1]:8470; port 0 is any that is free"),
    (WHOLE + "web: {listen: 127.0.0.1:65536}\n", "web.listen: found '127.0.0.1:65536', want host:port, such as 127.0.0.1:8470 or [::1]:8470; port 0 is any that is free"),
    (WHOLE + "web: {listen: 'a b:1'}\n", "web.listen: found 'a b:1', want host:port, such as 127.0.0.1:8470 or [::1]:8470; port 0 is any that is free"),
    (WHOLE + "web: {}\n", "web.listen: missing"),
    (WHOLE + "web: {listen: 0.0.0.0:8470}\n", "web.listen: 0.0.0.0:8470 is reachable from other machines; want token_file (or token_env) beside it, or a loopback address such as 127.0.0.1"),
    (WHOLE + "web: {listen: localhost:1, token_env: SHORT}\n", "web.token_env: the environment variable SHORT is not set"),
    (WHOLE + "web: {listen: localhost:1, token_file: /dev/null}\n", "web.token_file: the file can't be read: it is a pipe or a device; write its content to a file and name that"),
    (WHOLE + "web: {listen: localhost:1, token_env: FEW}\n", "web.token_env: want 16 or more ASCII characters without a space, on one line"),
    (WHOLE + "web: {listen: localhost:1, connection_metrics_at_most: 0}\n", "web.connection_metrics_at_most: found 0, want a whole number from 1 to 1000000"),
    (WHOLE + "heartbeat: {}\n", "heartbeat: want one of url, url_env, url_file"),
    (ACCOUNT % "test_connections: {every: 59m}", "accounts[0].test_connections.every: found '59m', want 1h or more: each test spends the platform's own quota"),
    (ACCOUNT % "test_connections: {per_hour: 361}", "accounts[0].test_connections.per_hour: found 361, want a whole number from 1 to 360"),
    (ACCOUNT % "test_connections: true", "accounts[0].test_connections: found a single value, want a mapping of keys"),
    (WHOLE + "profiles: {facebok: {renewed_by: vendor}}\n", "profiles.facebok: unknown platform; did you mean 'facebook'?"),
    (WHOLE + "profiles: {orkut: {renewed_by: vendor}}\n", "profiles.orkut: unknown platform; want twitter, linkedin, instagram, threads, tiktok, youtube, facebook, bluesky, mastodon, telegram or pinterest"),
    (WHOLE + "profiles: {facebook: {renewed_by: nobody}}\n", "profiles.facebook.renewed_by: found 'nobody', want 'vendor' or 'person'"),
    (WHOLE + "profiles: {facebook: {}}\n", "profiles.facebook.renewed_by: missing"),
    (WHOLE + "profiles: {facebook: {renewed_by: vendor, overdue_before: 7d}}\n", "profiles.facebook.overdue_before: want more than 7d: in the last week the API itself reports expiring_soon"),
    (WHOLE + "profiles: {facebook: {renewed_by: person, overdue_before: 5d}}\n", "profiles.facebook.overdue_before: tokens that people renew have thresholds instead; leave it out, or write renewed_by: vendor"),
    (ROUTES % "match: {cause: [autorisation]}", "routes[0].match.cause[0]: found 'autorisation', want 'authorization', 'permission', 'policy', 'content', 'transient' or 'unknown'"),
    (
        ACCOUNT % "include_owner: false",
        "accounts[0].include_owner: without managed_users there is nothing to poll; want true",
    ),
    (ACCOUNT % "managed_users: some", "accounts[0].managed_users: found 'some', want all, none, or a list of ids"),
    (ACCOUNT % "managed_users: []", "accounts[0].managed_users: found an empty list, want none or at least one id"),
    (
        ACCOUNT % "managed_users: [xyz]",
        "accounts[0].managed_users[0]: found 'xyz', want the id of a managed user: 24 hexadecimal characters",
    ),
    (
        ACCOUNT % "managed_users: [507f1f77bcf86cd799439011, 507F1F77BCF86CD799439011]",
        "accounts[0].managed_users[1]: this id is listed before; want each once",
    ),
    (
        ACCOUNT % "reconnect_links: rotate",
        "accounts[0].reconnect_links: found 'rotate', want 'use', 'create' or 'off'",
    ),
    (
        ACCOUNT % "discover_every: 0s",
        "accounts[0].discover_every: found '0s', want a duration such as 15m (s, m, h, d; from 1s to 36500d)",
    ),
    # values
    (
        WHOLE + "polling: {every: 15 minutes}\n",
        "polling.every: found '15 minutes', want a duration such as 15m (s, m, h, d; from 1s to 36500d)",
    ),
    (
        WHOLE + "polling: {every: 900}\n",
        "polling.every: found 900, want a duration such as 15m (s, m, h, d; from 1s to 36500d)",
    ),
    (
        WHOLE + "polling: {every: '${EVERY}'}\n",
        "polling.every: the environment variable EVERY is not set; "
        "set it, or write $$ for a plain $",
    ),
    (
        WHOLE + "polling: {every: '${KEY}'}\n",
        "polling.every: found '${KEY}', want a duration such as 15m (s, m, h, d; from 1s to 36500d)",
    ),
    (
        WHOLE + "polling: {every: '${a b}'}\n",
        "polling.every: want ${NAME} with the name of a variable ($$ is a plain $)",
    ),
    (
        WHOLE + "polling: {jitter: 60%}\n",
        "polling.jitter: found '60%', want a percentage such as 10%, from 0% to 50%",
    ),
    (
        WHOLE + "polling: {concurrency: 513, jitter: 1}\n",
        "polling.jitter: found 1, want a percentage such as 10%, from 0% to 50% (and 1 more)",
    ),
    (
        WHOLE + "polling: {concurrency: true}\n",
        "polling.concurrency: found true, want a whole number from 1 to 512",
    ),
    (WHOLE + "polling:\n", "polling: found nothing, want a mapping of keys"),
    (WHOLE + "log: {format: xml}\n", "log.format: found 'xml', want 'auto', 'json' or 'console'"),
    (WHOLE + "unrouted: maybe\n", "unrouted: found 'maybe', want 'error' or 'ignore'"),
    (WHOLE + "retention: {history: 200000d}\n", "retention.history: found '200000d', want a duration such as 15m (s, m, h, d; from 1s to 36500d)"),
    # accounts
    (CHANNELS, "accounts: missing"),
    ("accounts: []\n", "accounts: found an empty list, want at least one item"),
    ("accounts: {a: 1}\n", "accounts: found a mapping, want a list"),
    ("accounts: [sk_a_b.c]\n", "accounts[0]: found text, want a mapping of keys"),
    (
        "accounts: [{name: a, api_key_env: KEY}, {name: a, api_key_env: KEY}]\n",
        "accounts[1].name: found 'a', want a name of its own: number 1 has the same",
    ),
    (
        "accounts: [{name: ' a', api_key_env: KEY}]\n",
        "accounts[0].name: found ' a', want 1 to 64 printable characters without a space at either end",
    ),
    ("accounts: [{name: 5, api_key_env: KEY}]\n", "accounts[0].name: found 5, want text (put it in quotes)"),
    ("accounts: [{name: a}]\n", "accounts[0]: want one of api_key_env, api_key_file"),
    (
        ACCOUNT % "api_key_file: f",
        "accounts[0]: found both of api_key_env, api_key_file; want only one of them",
    ),
    (
        "accounts: [{name: a, api_key_env: NOT_SET}]\n",
        "accounts[0].api_key_env: the environment variable NOT_SET is not set",
    ),
    (
        "accounts: [{name: a, api_key_file: absent}]\n",
        "accounts[0].api_key_file: the file can't be read: No such file or directory",
    ),
    (
        "accounts: [{name: a, api_key_file: .}]\n",
        "accounts[0].api_key_file: the file can't be read: Is a directory",
    ),
    (ACCOUNT % "provider: x", "accounts[0].provider: found 'x', want 'postpost' or 'publora'"),
    (ACCOUNT % "labels: {a: 5}", "accounts[0].labels.a: found 5, want text (put it in quotes)"),
    # channels
    (
        ACCOUNTS + "channels: [{name: a, url: slackhook}]\n",
        "channels[0].url: want an Apprise URL such as mailto://… or slack://…",
    ),
    (ACCOUNTS + "channels: [{name: a}]\n", "channels[0]: want one of url, url_env, url_file"),
    (ACCOUNTS + "channels: slack\n", "channels: found text, want a list"),
    (
        ACCOUNTS + "channels: [{name: a, url_env: OPS}, {name: a, url_env: OPS}]\n",
        "channels[1].name: found 'a', want a name of its own: number 1 has the same",
    ),
    (
        ACCOUNTS + "channels: [{name: a, url_env: OPS, template: {}}]\n",
        "channels[0].template: want title, body or both",
    ),
    # routes
    (
        WHOLE + "routes: [{channels: [obs]}]\n",
        "routes[0].channels[0]: found 'obs', want the name of a channel",
    ),
    (WHOLE + "routes: [{channels: []}]\n", "routes[0].channels: found an empty list, want at least one item"),
    (ROUTES % "match: {severity: bad}", "routes[0].match.severity: found 'bad', want 'notice', 'warning' or 'critical'"),
    (ROUTES % "match: {platform: ['']}", "routes[0].match.platform[0]: found '', want a name, or a pattern with *"),
    (ROUTES % "group_by: [channel]", "routes[0].group_by[0]: found 'channel', want 'account', 'managed_user', 'platform', 'rule' or 'severity'"),
    (ROUTES % "group_wait: -1s", "routes[0].group_wait: found '-1s', want a duration such as 15m (s, m, h, d; from 0s to 36500d)"),
    (ROUTES % "remind_at_most: 3", "routes[0].remind_at_most: there are no reminders to count; want remind_every beside it"),
    (ROUTES % "quiet_hours: {from: '20:00', to: '08:00', time_zone: Mars/Base}", "routes[0].quiet_hours.time_zone: found 'Mars/Base', want a time zone such as Europe/Berlin or UTC"),
    (ROUTES % "quiet_hours: {from: '24:00', to: '08:00', time_zone: UTC}", "routes[0].quiet_hours.from: found '24:00', want a time of day such as \"20:00\""),
    (ROUTES % "quiet_hours: {from: '08:00', to: '08:00', time_zone: UTC}", "routes[0].quiet_hours.to: the quiet hours end when they begin; want another time"),
    (ROUTES % "quiet_hours: {to: '08:00', time_zone: UTC}", "routes[0].quiet_hours.from: missing"),
    (ROUTES % "digest: {every: daily, at: '08:00', time_zone: UTC, weekday: monday}", "routes[0].digest.weekday: a daily digest has no weekday; leave it out or write every: weekly"),
    # rules
    (RULES % "{rule: api_unreachable}, {rule: api_unreachable}", "rules[1].rule: api_unreachable is listed twice; want each rule once"),
    (RULES % "token_expiry", "rules[0]: want a mapping with the key 'rule', such as {rule: token_expiry}"),
    (RULES % "{after: 1}", "rules[0].rule: missing; want the name of a rule"),
    (RULES % "{rule: tokens}", "rules[0].rule: found 'tokens', want token_expiry, renewal_overdue, publish_error, connection_test_failed, connection_removed, api_key_rejected, access_denied, api_unreachable or bad_answer"),
    (RULES % "{rule: bad_answer, after: 0}", "rules[0].after: found 0, want a whole number from 1 to 1000"),
    (RULES % "{rule: bad_answer, max_age: 1d}", "rules[0].max_age: unknown key; want rule, enabled or after"),
    (RULES % "{rule: token_expiry, before: {1d: bad}}", "rules[0].before.1d: found 'bad', want notice, warning or critical"),
    (RULES % "{rule: token_expiry, before: {1 day: notice}}", "rules[0].before: found '1 day', want a duration such as 15m (s, m, h, d; from 1s to 36500d)"),
    (RULES % "{rule: token_expiry, before: {1d: notice, 24h: notice}}", "rules[0].before.24h: this time is given twice; want each once"),
    (RULES % "{rule: token_expiry, before: {7d: warning, 1d: notice}}", "rules[0].before: 1d is notice, milder than the longer one before it; want severities that only rise as the time gets shorter"),
    # the database
    (WHOLE + "database: {url: 'sqlite://'}\n", "database.url: want sqlite:////path/of/the/file.db: a history needs a file"),
    (WHOLE + "database: {url: 'sqlite:///:memory:'}\n", "database.url: want sqlite:////path/of/the/file.db: a history needs a file"),
    (WHOLE + "database: {url: 'mysql://u:hunter22@h/d'}\n", "database.url: want sqlite:////path/of/the/file.db or postgresql://user@host/name"),
    (WHOLE + "database: {url: 'postgresql://u:hunter22@h:x/d'}\n", "database.url: want sqlite:////path/of/the/file.db or postgresql://user@host/name"),
    # services with incidents of their own
    (ACCOUNTS + "channels: [{name: ops, url: 'slack://a/b/c?events=incident'}]", "channels[0].url: events=incident is for json:// and for services with incidents of their own; leave it out"),
    (ACCOUNTS + "channels: [{name: ops, url: 'json://h?events=all'}]", "channels[0].url: events= in the URL can only ask for incidents; want events=incident, or leave it out"),
    (ACCOUNTS + "channels: [{name: ops, url: 'ilert://k', notify_on: start}]", "channels[0].notify_on: the channel takes only incidents; use notify_on on another one"),
    (ACCOUNTS + "channels: [{name: ops, url: 'ilert://k', template: {body: x}}]", "channels[0].template: the channel takes incidents, which have no text to write; leave it out"),
    (ACCOUNTS + "channels: [{name: ops, url: 'json://h/{managed_user.id}?events=incident'}]", "channels[0].url: an incident service can't have a URL for each managed user"),
    (ACCOUNTS + "channels: [{name: ops, url: 'ilert://k'}]\nroutes: [{channels: [ops], digest: {every: daily, at: '09:00', time_zone: UTC}}]", "routes[0].digest: channel 'ops' takes incidents, one by one; want the digest on a route without it"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line"), REFUSED)
def test_a_mistake_is_told_in_one_line(refusal: Callable[..., str], text: str | bytes, line: str) -> None:
    assert refusal(text) == line


def test_a_rule_pattern_must_fit_a_rule(refusal: Callable[..., str]) -> None:
    line = refusal(ROUTES % "match: {rule: tokens_*}")
    assert line.startswith("routes[0].match.rule[0]: found 'tokens_*', want token_expiry, ") or (
        line.startswith("routes[0].match.rule: found 'tokens_*', want token_expiry, ")
    )


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example.com",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "https://user:hunter22@api.example.com",
        "https://@api.example.com",
        "https://api.example.com?token=hunter22",
        "https://api.example.com#hunter22",
        "https://api.example.com:0",
        "https://api.example.com:99999",
        "https://",
        "https://a b.example.com",
        "ftp://api.example.com",
        "https://[::1",
        "api.example.com",
        "https:\\\\\\\\api.example.com",
    ],
)
def test_a_key_is_not_sent_just_anywhere(refusal: Callable[..., str], url: str) -> None:
    line = refusal(ACCOUNT % f'base_url: "{url}"')
    assert line.startswith("accounts[0].base_url: want https://")
    assert "hunter22" not in line


def test_a_file_that_can_not_be_read_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r": can't be read: Is a directory; want a readable YAML file$"):
        load_config(tmp_path, ENVIRON)
    with pytest.raises(ConfigError, match=r"gone\.yaml: can't be read: No such file or directory; want"):
        load_config(tmp_path / "gone.yaml", ENVIRON)


def test_a_huge_file_is_not_read(refusal: Callable[..., str]) -> None:
    assert refusal(WHOLE + "#" * 1024 * 1024) == "is larger than 1 MiB; want a configuration file"


def test_a_hundred_aliases_are_the_limit(refusal: Callable[..., str]) -> None:
    line = refusal("a: &a x\nb: [" + "*a, " * 101 + "]\n")
    assert line.endswith("more than 100 aliases")


@pytest.mark.parametrize("shape", ["[{}]", "{{<<: [{}]}}"])
def test_a_few_lines_can_not_become_a_billion_nodes(refusal: Callable[..., str], shape: str) -> None:
    first = "a0: &a0 {a: 1, b: 2, c: 3, d: 4}\n"
    bomb = first + "".join(
        f"a{n}: &a{n} {shape.format(', '.join([f'*a{n - 1}'] * 9))}\n" for n in range(1, 11)
    )
    assert re.search(r"too many values|too many merged values", refusal(bomb))


# Secrets

SECRET = "hunter2secret"


@pytest.mark.parametrize(
    "text",
    [
        f"accounts: [{{name: a, api_key: {SECRET}}}]\n",
        f"accounts: [{{name: a, api_key_env: {SECRET}}}]\n",
        f"accounts: [{{name: a, api_key_env: {SECRET}.x}}]\n",
        f"accounts: [{{name: a, api_key_file: {SECRET}}}]\n",
        f"accounts: [{{name: a, apikey: {SECRET}}}]\n",
        f"accounts: [{{name: a, api_key_env: [{SECRET}]}}]\n",
        f"accounts: [{SECRET}]\n",
        f"accounts: {SECRET}\n",
        f"accounts: [{{name: 'slack://{SECRET}', api_key_env: NOT_SET}}]\n",
        ACCOUNT % f"base_url: 'http://{SECRET}.example.com'",
        ACCOUNTS + f"channels: [slack://{SECRET}/b]\n",
        ACCOUNTS + f"channels: [{{name: a, url: {SECRET}}}]\n",
        ACCOUNTS + f"channels: [{{name: a, url_env: {SECRET}}}]\n",
        ACCOUNTS + f"channels: [{{name: a, url: 'slack://{SECRET}', allow_reconnect_links: 7x}}]\n",
        ACCOUNTS + f'channels: [{{name: a, url: "slack://{SECRET}\\n"}}, {{}}]\n',
        ACCOUNTS + f"channels: [{{name: a, {SECRET}://x: 1}}]\n",
        ACCOUNTS + f"channels: [{{name: a, url: !{SECRET}x y}}]\n",
        ACCOUNTS + f"channels: [{{name: a, url: *{SECRET} }}]\n",
        ACCOUNTS
        + f"channels: [{{name: a, url: json://{SECRET}}}]\nroutes: [{{channels: ['json://{SECRET}']}}]\n",
        ACCOUNTS + f'channels: [{{name: a, url: "slack://{SECRET}\n',
        WHOLE + f"database: {{url: 'mysql://u:{SECRET}@h/d'}}\n",
        WHOLE + f"database: {{url: 'postgresql://u:{SECRET}@h:port/d'}}\n",
        WHOLE + f"database: {SECRET}://x\n",
        WHOLE + f"log: {{level: '{SECRET}://x'}}\n",
        WHOLE + "log: {level: '${LEAK}'}\n",
        WHOLE + f"web: {{token: {SECRET}}}\n",
    ],
)
def test_a_mistake_with_a_secret_in_it_does_not_show_it(load: Load, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(text, {**ENVIRON, "LEAK": SECRET})
    notified = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert SECRET not in notified.replace(text, "")


@pytest.mark.parametrize(
    "key", [f"{SECRET}\nx", f"{SECRET} x", f"{SECRET}é", f"{SECRET}\x00", f"{SECRET}\x7f", "  \n"]
)
def test_a_key_that_is_no_header_is_refused_without_showing_it(
    load: Load, refusal: Callable[..., str], tmp_path: Path, key: str
) -> None:
    (tmp_path / "key").write_text(key)
    in_file = refusal("accounts: [{name: a, api_key_file: key}]\n")
    in_environment = refusal(ACCOUNTS, {"KEY": key})
    assert in_file.startswith("accounts[0].api_key_file: ")
    assert in_environment.startswith("accounts[0].api_key_env: ")
    assert SECRET not in in_file + in_environment
    assert ("beyond ASCII" in in_file) == (not key.isascii())
