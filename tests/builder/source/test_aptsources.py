"""deb-src entries from the host's apt configuration."""

from __future__ import annotations

from builder.source.aptsources import source_entries

ONE_LINE = """\
# a comment
deb [arch=amd64 signed-by=/k.gpg] https://deb.example.org/debian bookworm main contrib # note
deb-src https://deb.example.org/debian bookworm main contrib
#deb https://disabled.example.org/ x y
rpm nonsense
deb cdrom:[x]/ y
"""
DEB822 = """\
# header
Types: deb
URIs: https://deb.example.org/debian
Suites: bookworm bookworm-updates
Components: main
Architectures: amd64
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc

Enabled: no
Types: deb
URIs: https://off.example.org
Suites: x

Types: deb deb-src
URIs: https://two.example.org
Suites: stable
Components: main
"""


def test_one_line_entries_become_source_entries_once() -> None:
    """Options of trust stay, architectures go; what is commented out stays out."""
    lines, stanzas = source_entries([("sources.list", ONE_LINE)])
    assert lines.splitlines() == [
        "deb-src [signed-by=/k.gpg] https://deb.example.org/debian bookworm main contrib",
        "deb-src https://deb.example.org/debian bookworm main contrib",
        "deb-src cdrom:[x]/ y",
    ]
    assert stanzas == ""


def test_deb822_stanzas_become_source_stanzas() -> None:
    """Embedded keys stay whole; disabled stanzas stay out."""
    lines, stanzas = source_entries([("debian.sources", DEB822)])
    assert lines == ""
    first, second = stanzas.split("\n\n")
    assert first.splitlines() == [
        "Types: deb-src",
        "URIs: https://deb.example.org/debian",
        "Suites: bookworm bookworm-updates",
        "Components: main",
        "Signed-By:",
        " -----BEGIN PGP PUBLIC KEY BLOCK-----",
        " .",
        " abc",
    ]
    assert second.splitlines()[:2] == ["Types: deb-src", "URIs: https://two.example.org"]
    assert "off.example.org" not in stanzas


def test_nothing_comes_from_nothing() -> None:
    """No entries, no text."""
    assert source_entries([("sources.list", "# empty\n"), ("x.sources", "\n\n")]) == ("", "")
