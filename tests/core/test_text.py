"""Text from outside: storable in every database, and harmless in every message, log and terminal."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.core.text import SHOWN_LENGTH, STORED_LENGTH, harmless, one_line, storable

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


ACTIVE = ("@everyone", "@a", "<!", "<@", "<#", "</", "<a", "](", "://", "```", "&#", "&a")


@given(anything, limits)
def test_what_is_harmless_stays_harmless(text: str, limit: int) -> None:
    shown = harmless(text, limit)
    assert not any(active in shown for active in ACTIVE)
    assert len(shown.splitlines()) <= 1
    assert shown == harmless(shown, limit)
    assert shown.replace("\u200b", "") == one_line(text, limit)


@given(anything, anything)
def test_two_harmless_texts_side_by_side_are_harmless(first: str, second: str) -> None:
    shown = f"{harmless(first)} ({harmless(second)})"
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
        ("[click](https://evil.example)", "[click]\u200b(https:\u200b//evil.example)"),
        ("```code```", "`\u200b``code`\u200b``"),
        ("&lt;!here&gt;", "&\u200blt;!here&\u200bgt;"),
        ("投稿 façade 🎉", "投稿 façade 🎉"),
        ("", ""),
    ],
)
def test_the_words_stay_readable(text: str, shown: str) -> None:
    assert shown == harmless(text)


def test_long_text_is_cut_and_shows_that_it_was() -> None:
    for cut, limit in ((storable, STORED_LENGTH), (one_line, SHOWN_LENGTH), (harmless, SHOWN_LENGTH)):
        assert cut("x" * 100_000) == "x" * (limit - 1) + "…"
        assert cut("x" * limit) == "x" * limit
