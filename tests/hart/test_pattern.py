"""hart/pattern.py: patterns that cannot run away."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart.pattern import safe_pattern


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("^[a-z][a-z0-9-]*$", "a-1", "1a"),
        ("^(debug|info|warn)$", "info", "inform"),
        (r"^([0-9]{1,3}\.){3}[0-9]{1,3}$", "10.0.0.1", "10.0.1"),
        (r"^https?://[^/]+(:[0-9]+)?/", "http://a:1/x", "ftp://a/"),
        ("^(ab)*$", "abab", "aba"),
        ("^a{2,}$", "aaa", "a"),
        ("^[]^a]+$", "]^a", "b"),
        (r"^\(x\)\{2\}$", "(x){2}", "x"),
        ("b", "abc", "ac"),
        ("", "", None),
        ("^a{}$", "a{}", "a"),
        ("^(?:a|b)?c$", "c", "abc"),
    ],
)
def test_ordinary_patterns_work(pattern: str, good: str, bad: str | None) -> None:
    """What people write to check a name, a level, an address."""
    safe = safe_pattern(pattern)
    assert safe.found_in(good)
    assert bad is None or not safe.found_in(bad)


def test_the_end_is_the_very_end() -> None:
    """A newline behind the value does not slip through `$`."""
    assert not safe_pattern("^[a-z]+$").found_in("abc\n")
    assert safe_pattern("^[$]$").found_in("$")


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$",
        "(a|a)*$",
        "(a?)*",
        "(.*)*",
        "((ab)*)*",
        "(a{1,9})+",
        "(a|b)+",
        "^(a?){40}$",
        "a*" * 9,
        "^" + "(a|b|c|d)" * 20,
        "^" + "a?" * 60,
    ],
)
def test_attack_a_pattern_that_would_take_for_ever_is_refused(pattern: str) -> None:
    """Nested repetition, and too many ways to match."""
    with pytest.raises(ValueError, match=r"repeated without end|so many|more than"):
        safe_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        r"(a)\1",
        "(?=a)",
        "(?i)a",
        "(?P<n>a)",
        "a+?",
        "a++",
        "(",
        ")",
        "*a",
        "a|*",
        "\\",
        "[a",
        "a{5000}",
        "x" * 300,
        "(?<!a)b",
        r"\g<1>",
        "[z-a]",
        "[[a]",
        "[a||b]",
    ],
)
def test_what_the_subset_has_not_is_refused(pattern: str) -> None:
    """References, look-around, flags, lazy and possessive quantifiers, and what is no pattern."""
    with pytest.raises(ValueError, match=r"^[a-z'\"]"):
        safe_pattern(pattern)


def test_more_loops_mean_shorter_text() -> None:
    """The work is bounded by the length that the pattern may be tried on."""
    assert safe_pattern("^a*$").longest == 4096
    assert safe_pattern("^a*b*c*$").longest < 500
    assert safe_pattern("a*b*c*").longest < safe_pattern("^a*b*c*$").longest


@given(st.text("ab(|)*+?{}1,3[]^$.\\", max_size=12), st.text("ab13", max_size=16))
def test_a_pattern_that_is_accepted_means_what_python_takes_it_for(pattern: str, text: str) -> None:
    """Accepted patterns match as `re` does, on text without newlines; the rest is a ValueError."""
    try:
        safe = safe_pattern(pattern)
    except ValueError:
        return
    assert safe.found_in(text) == (re.search(pattern, text) is not None)


def test_the_worst_accepted_patterns_end_soon() -> None:
    """The longest text that each may see, and one that makes it try everything (the test's timeout is the judge)."""
    for pattern in ("^a*a*a*$", "a*a*b", "^a*a*a*a*b", "^(a|aa)?a*a*b", "(a|b)(a|b)(a|b)a*b*c"):
        safe = safe_pattern(pattern)
        safe.found_in("a" * (safe.longest - 1) + "!")
