"""A configuration key that has another name now is refused with that name."""

from pathlib import Path

import pytest

from monitor.config.load import load_config
from monitor.errors import ConfigError

ENVIRON = {"KEY": "sk_abc123_0011ff.99aa88", "OPS": "slack://TokenAAAA/TokenBBBB/TokenCCCC"}
ACCOUNT = "accounts: [{name: agency, api_key_env: KEY%s}]\n"
CHANNEL = "channels: [{name: ops, url_env: OPS%s}]\n"
WHOLE = ACCOUNT % "" + CHANNEL % ""


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (WHOLE + "dead_man: {url_env: OPS}\n", "dead_man: renamed; write 'heartbeat'"),
        (
            ACCOUNT % ", probe: {every: 24h}" + CHANNEL % "",
            "accounts[0].probe: renamed; write 'test_connections'",
        ),
        (
            ACCOUNT % "" + CHANNEL % ", private: true",
            "channels[0].private: renamed; write 'allow_reconnect_links'",
        ),
        (ACCOUNT % "" + CHANNEL % ", announce: start", "channels[0].announce: renamed; write 'notify_on'"),
        (
            WHOLE + "routes: [{channels: [ops], resolved: false}]\n",
            "routes[0].resolved: renamed; write 'send_resolved'",
        ),
    ],
)
def test_an_old_key_is_refused_with_its_new_name(text: str, complaint: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_config(file, ENVIRON)
    assert str(refused.value) == f"{file}: {complaint}"
