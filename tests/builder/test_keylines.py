"""Lines of keys, for messages."""

from __future__ import annotations

from builder.keylines import key_lines, line_of

TEXT = '''\
# a comment with [brackets] and = signs
[package]
name = "x" # trailing
"quoted key" = 1
deps = [
  "a/b", # [not a table]
  "c/d",
]
text = """
[not.a.table]
fake = 1
"""
literal = \'\'\'
also = [
\'\'\'
after = 1

[[source]]
url = "u"
[[source.alternate]]
url = "v"
[[source]]
url = "w = ["
[[source.alternate]]
sha256 = "z"
[service.ready]
http = "h"
a.b.c = 1
'''


def test_keys_are_found_on_their_lines() -> None:
    """Tables, keys, arrays of tables and what follows multi-line values."""
    lines = key_lines(TEXT)
    assert lines["package",] == 2
    assert lines["package", "name"] == 3
    assert lines["package", "quoted key"] == 4
    assert lines["package", "deps"] == 5
    assert lines["package", "text"] == 9
    assert lines["package", "literal"] == 13
    assert lines["package", "after"] == 16
    assert lines["source", 0, "url"] == 19
    assert lines["source", 0, "alternate", 0, "url"] == 21
    assert lines["source", 1, "url"] == 23
    assert lines["source", 1, "alternate", 0, "sha256"] == 25
    assert lines["service", "ready", "http"] == 27
    assert lines["service", "ready", "a", "b", "c"] == 28


def test_what_stands_inside_strings_and_arrays_is_no_key() -> None:
    """A table header in a multi-line string belongs to the string."""
    lines = key_lines(TEXT)
    assert ("not", "a", "table") not in lines
    assert not any("fake" in path or "also" in path for path in lines)


def test_a_key_without_a_line_takes_that_of_what_is_around_it() -> None:
    """A missing key is reported at its table, a key of an inline table at its parent."""
    lines = key_lines("[package]\nx = 1\nprobe = {a = 1}\n")
    assert line_of(lines, ("package", "version")) == 1
    assert line_of(lines, ("package", "probe", "a")) == 3
    assert line_of(lines, ("nowhere",)) is None


def test_an_unclosed_string_ends_the_scan_without_harm() -> None:
    """The scan is only used on accepted TOML, and must end on anything."""
    assert key_lines('a = "open\nb = 1\n')["a",] == 1
    assert key_lines("a = '''open\nb = 1\n")["a",] == 1
