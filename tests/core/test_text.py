"""Text from outside: storable in every database, and harmless in every message, log and terminal."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.text import (
    SHOWN_LENGTH,
    STORED_LENGTH,
    one_line,
    passages,
    readable_lines,
    sanitize,
    storable,
)

# Surrogates and controls included: JSON can carry them all.
characters = st.characters(codec=None) | st.sampled_from(
    "@<>[]()`:/&#!*_\x00\x1b\r\n\t\u200b\u200d\u2028\u202e\u2066\ufeff\ud800"
)
anything = st.text(characters, max_size=400) | st.text("@<!#/[](`:&a ", max_size=60)
limits = st.integers(1, 400)


@given(anything, limits)
def test_what_is_stored_comes_back_the_same(text: str, limit: int) -> None:
    stored = storable(text, limit)
    assert stored == stored.encode("utf-8").decode("utf-8")
    assert "\x00" not in stored
    assert len(stored) <= limit
    assert stored == storable(stored, limit)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=STORED_LENGTH))
def test_ordinary_text_is_stored_as_it_is(text: str) -> None:
    assert text == storable(text)


@given(anything, limits)
def test_one_line_is_one_line_of_plain_characters(text: str, limit: int) -> None:
    shown = one_line(text, limit)
    assert len(shown) <= limit
    assert len(shown.splitlines()) <= 1
    assert not {unicodedata.category(c) for c in shown} & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}
    assert shown == one_line(shown, limit)


ACTIVE = ("@everyone", "@a", "<!", "<@", "<#", "</", "<a", "](", "://", "```", "&#", "&lt", "&a;")


@given(anything, limits)
def test_what_is_harmless_stays_harmless(text: str, limit: int) -> None:
    shown = sanitize(text, limit)
    assert not any(active in shown for active in ACTIVE)
    assert len(shown.splitlines()) <= 1
    assert shown == sanitize(shown, limit)
    assert shown.replace("\u200b", "") == one_line(text, limit)


@given(anything, anything)
def test_two_harmless_texts_side_by_side_are_harmless(first: str, second: str) -> None:
    shown = f"{sanitize(first)} ({sanitize(second)})"
    assert not any(active in shown for active in ACTIVE)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Invalid image format", "Invalid image format"),
        ("  a \r\n b\t\tc\u2028d ", "a b c d"),
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("a\ud800b\ue000c\x00d", "abcd"),
        ("\u202egnp.exe\u202c", "gnp.exe"),
        ("@everyone", "@\u200beveryone"),
        ("<!channel> <@U123>", "<\u200b!channel> <\u200b@\u200bU123>"),
        ("[click](https://evil.example)", "[click]\u200b(https:\u200b//evil\u200b.example)"),
        ("```code```", "`\u200b``code`\u200b``"),
        ("&lt;!here&gt;", "&\u200blt;!here&\u200bgt;"),
        ("R&D, AT&T & Co", "R&D, AT&T & Co"),
        ("www.evil.example/a.b", "www\u200b.evil\u200b.example/a.b"),
        ("john.doe wrote photo.jpeg", "john.doe wrote photo.jpeg"),
        ("投稿 façade 🎉", "投稿 façade 🎉"),
        ("", ""),
    ],
)
def test_the_words_stay_readable(text: str, shown: str) -> None:
    assert shown == sanitize(text)


def test_long_text_is_cut_and_shows_that_it_was() -> None:
    for cut, limit in ((storable, STORED_LENGTH), (one_line, SHOWN_LENGTH), (sanitize, SHOWN_LENGTH)):
        assert cut("x" * 100_000) == "x" * (limit - 1) + "…"
        assert cut("x" * limit) == "x" * limit


OWN = "https://app.postpost.dev"


def taken_apart(text: str, *links: str) -> list[str]:
    return [f"[{each.text}]" if each.is_link else each.text for each in passages(text, links)]


@given(anything)
def test_nothing_but_our_own_links_acts_in_a_message(text: str) -> None:
    parts = list(passages(readable_lines(text), (OWN,)))
    assert {OWN} >= {each.text for each in parts if each.is_link}
    assert not any(active in each.text for active in ACTIVE for each in parts if not each.is_link)


@given(anything)
def test_a_message_that_is_harmless_stays_as_it_is(text: str) -> None:
    written = f"{sanitize(text)}\nTo do: reconnect at {OWN}\n{sanitize(text)}"
    assert written == "".join(each.text for each in passages(readable_lines(written), (OWN,)))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (f"at {OWN}", ["at ", f"[{OWN}]"]),
        (f"at {OWN}.", ["at ", f"[{OWN}]", "."]),
        (f"({OWN})\nthen", ["(", f"[{OWN}]", ")\nthen"]),
        (f"{OWN}/a?b=c then", [f"[{OWN}/a?b=c]", " then"]),
        (f"{OWN}.evil.example", ["https:\u200b//app\u200b.postpost\u200b.dev\u200b.evil\u200b.example"]),
        (f"{OWN}@evil.example", ["https:\u200b//app\u200b.postpost\u200b.dev@\u200bevil\u200b.example"]),
        (f"{OWN}|Login", ["https:\u200b//app\u200b.postpost\u200b.dev|Login"]),
        (f"x{OWN}", ["xhttps:\u200b//app\u200b.postpost\u200b.dev"]),
        ("", []),
    ],
)
def test_a_link_of_ours_is_known_whole(text: str, parts: list[str]) -> None:
    assert parts == taken_apart(text, OWN, f"{OWN}/a?b=c")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("  two\n\nlines  ", "  two\n\nlines  "),
        ("a\r\nb\rc\u2028d\x85e\tf", "a\nb\nc d e f"),
        ("\x1b[31mred\x00 \u202egnp.exe\u202c", "[31mred gnp.exe"),
        ("\U0001f468\u200d\U0001f469 a\u00a0b \u3000", "\U0001f468\u200d\U0001f469 a\u00a0b \u3000"),
    ],
)
def test_lines_stay_lines_and_hide_nothing(text: str, shown: str) -> None:
    assert shown == readable_lines(text)
