"""Messages as HTML, from templates that escape everything."""

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from monitor.core.text import Passage

if TYPE_CHECKING:
    from jinja2 import Template

_MACROS = """
{%- macro line(parts) -%}
{% for part in parts %}{% if part.is_link %}<a href="{{ part.text }}">{{ part.text }}</a>{% else %}{{ part.text }}
{%- endif %}{% endfor %}
{%- endmacro -%}
{%- macro paragraph(lines) -%}
{% for parts in lines %}{{ line(parts) }}{% if not loop.last %}<br>
{% endif %}{% endfor %}
{%- endmacro -%}
"""
_TEMPLATES = {
    "paragraphs": """
{%- for lines in paragraphs %}<p>{{ paragraph(lines) }}</p>{% if not loop.last %}
{% endif %}{% endfor %}""",
    "document": """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{{ title }}</title></head>
<body style="margin: 0; padding: 16px; font: 15px/1.5 sans-serif;">
<div style="border-left: 4px solid {{ color }}; padding-left: 12px;">
<h1 style="margin: 0 0 12px; font-size: 18px;">
{%- if url %}<a href="{{ url }}" style="color: inherit;">{{ title }}</a>{% else %}{{ title }}{% endif %}</h1>
{% for lines in paragraphs %}<p style="margin: 0 0 12px;">{{ paragraph(lines) }}</p>
{% endfor %}</div>
</body>
</html>
""",
}


def paragraphs(text: Sequence[Passage]) -> str:
    """Return paragraphs as HTML: a blank line ends one, and lines stay lines."""
    return _template("paragraphs").render(paragraphs=_paragraphs(text))


def escaped(text: Sequence[Passage]) -> str:
    """Return escaped text for services that keep lines and detect addresses themselves, as Telegram does."""
    from markupsafe import escape

    return str(escape("".join(each.text for each in text)))


def document(title: str, text: Sequence[Passage], *, color: str, url: str) -> str:
    """
    Return a complete HTML page for mail.

    Args:
        title: the title, harmless already.
        color: the color of the bar beside the text, as ``#A32037``.
        url: where the title leads; empty if nowhere.
    """
    return _template("document").render(title=title, paragraphs=_paragraphs(text), color=color, url=url)


def _paragraphs(text: Sequence[Passage]) -> list[list[list[Passage]]]:
    """Split a text into paragraphs of lines of passages."""
    found: list[list[list[Passage]]] = [[[]]]
    for passage in text:
        for number, piece in enumerate(_PIECES.split(passage.text)):
            if number % 2 and len(piece) > 1:
                found.append([[]])
            elif number % 2:
                found[-1].append([])
            elif piece:
                found[-1][-1].append(Passage(text=piece, is_link=passage.is_link))
    return found


_PIECES = re.compile(r"(\n+)")


@cache
def _template(name: str) -> "Template":
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(_MACROS + _TEMPLATES[name])
