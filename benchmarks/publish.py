"""What was measured, as the documents show it: a table with the machine and the date, and a picture."""

import json
import os
import platform
import re
import sqlite3
import statistics
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment

from benchmarks.targets import TARGETS, Rounds, cpu, rate

DOCS = Path(__file__).resolve().parent.parent / "docs"
_MEASURED = re.compile(r"(<!-- measured -->\n).*?(<!-- end -->)", re.DOTALL)

# (the panel's title, what is divided by what, which contenders, whether less is better)
_OVER_HTTP = ("cron script", "bare", "pipeline PostgreSQL", "pipeline")
_OVER_HTTPS = ("cron script https", "bare https", "pipeline https")
_PANELS = (
    ("CPU per poll, against the bare loop: less is better", cpu, "bare", _OVER_HTTP),
    ("CPU per poll over https, against the bare loop: less is better", cpu, "bare https", _OVER_HTTPS),
    ("polls per second, against the bare loop: more is better", rate, "bare", _OVER_HTTP),
)

_SVG = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(
    """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 {{ height }}" font-family="sans-serif" font-size="13">
<rect width="720" height="{{ height }}" fill="#fff"/>
{% for panel in panels %}
<text x="16" y="{{ panel.y }}" font-weight="bold">{{ panel.title }}</text>
{% for bar in panel.bars %}
<text x="200" y="{{ bar.y + 15 }}" text-anchor="end">{{ bar.name }}</text>
<rect x="208" y="{{ bar.y }}" width="{{ bar.width }}" height="20" fill="{{ '#1f7a5c' if bar.is_ours else '#9aa5b1' }}"/>
<text x="{{ 214 + bar.width }}" y="{{ bar.y + 15 }}">{{ bar.text }}</text>
{% endfor %}
{% endfor %}
<text x="16" y="{{ height - 12 }}" fill="#667" font-size="9">{{ caption }}</text>
</svg>
"""
)


def publish(rounds: Rounds, servers: dict[str, str], *, rounds_run: int) -> None:
    """Write ``docs/performance.json`` and ``.svg``, and the table in ``docs/performance.md``."""
    machine = _machine(servers, rounds_run)
    (DOCS / "performance.json").write_text(
        json.dumps({"machine": machine, "rounds": rounds}, indent=1) + "\n"
    )
    (DOCS / "performance.svg").write_text(chart(rounds, caption=machine))
    document = DOCS / "performance.md"
    text = "\n".join(["| figure | wanted | measured | |", "|---|---|---|---|", *_rows(rounds)])
    told = f"Measured on {machine}.\n\n{text}\n"
    document.write_text(_MEASURED.sub(lambda match: match[1] + told + match[2], document.read_text()))


def chart(rounds: Rounds, *, caption: str) -> str:
    """Draw the contenders beside one another, each panel with the bare loop as one."""
    panels, y = [], 28
    for title, figure, base, names in _PANELS:
        shown = [name for name in names if rounds.get(name)]
        if base not in shown:
            continue
        ratios = {
            name: statistics.median(
                figure(run) / figure(other) for run, other in zip(rounds[name], rounds[base], strict=False)
            )
            for name in shown
        }
        longest = max(ratios.values())
        bars = [
            {
                "name": name,
                "y": y + 10 + 26 * place,
                "width": round(380 * ratio / longest),
                "text": f"{ratio:.2f} x",
                "is_ours": name.startswith("pipeline"),
            }
            for place, (name, ratio) in enumerate(ratios.items())
        ]
        panels.append({"title": title, "y": y, "bars": bars})
        y += 26 * len(bars) + 46
    return _SVG.render(panels=panels, height=y + 10, caption=caption)


def _rows(rounds: Rounds) -> list[str]:
    rows = []
    for target in TARGETS:
        value = target.measured(rounds)
        if value is not None:
            unit = " x" if target.against else ""
            mark = "✓" if target.is_met(value) else "✗"
            rows.append(f"| {target.what} | {target.wanted} | {value:.2f}{unit} | {mark} |")
    return rows


def _machine(servers: dict[str, str], rounds_run: int) -> str:
    text = Path("/proc/cpuinfo").read_text()
    model = (re.findall(r"model name\s*: (.+)", text) or [platform.machine()])[0]
    served = ", ".join(f"{name}: {kind}" for name, kind in servers.items())
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {model}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}; servers {served}; "
        f"medians of {rounds_run} rounds"
    )
