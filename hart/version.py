"""The order of versions: total, antisymmetric, transitive, with Habitat's outcome wherever Habitat's own is consistent (packages 5.2).

A version is read as `junk NUMBERS extension`:

1. Everything before the first digit is ignored: `v1.2` is `1.2`, `R16B` is `16` with extension `B`.
2. NUMBERS is the longest run of digits joined by single dots, compared as numbers of any size; missing ones count as 0, so `1` and
   `1.0` compare equal.
3. The rest is the extension, without one leading `-`. No extension is newer than any; two extensions compare as plain text. Hence
   `1.2.3-beta2 < 1.2.3`, and also `1.1.1w < 1.1.1`, `beta12 < beta2`, `7u80 < 7u9`: Habitat's order, kept because depots rely on it.

Where Habitat fails or answers by who asks first, this order decides:

- A dot without a number behind it starts the extension: `19.1.0.` is `19.1.0` with extension `.`, so it is older than `19.1.0` and older
  than `19.1.0.dev-cloud`. (Habitat's client fails here; its depot reads it the same way.)
- Dots before the first digit are junk as other characters are: `.5` is `5`.
- A version without any digit is older than every version with one, so that a branch name never becomes the newest by accident:
  `master < 0.1`. Two of them compare as plain text.
- Numbers beyond 64 bits are numbers.

Two different texts may compare equal (`1` and `1.0`, `1-a` and `1a`): the order is total on versions as read, not on texts.
`ident_key` therefore ends with the text, so that sorting idents always gives the same list.
Not here: which release is the latest (a question to a channel or to the installed tree).
"""

from __future__ import annotations

import re
from typing import TypeAlias

from hart.ident import Ident

_READ = re.compile(r"[^0-9]*([0-9]+(?:\.[0-9]+)*)(.*)", re.DOTALL)

# (has a number, numbers as (length, digits), has no extension, extension)
VersionKey: TypeAlias = tuple[bool, tuple[tuple[int, str], ...], bool, str]
IdentKey: TypeAlias = tuple[str, str, bool, VersionKey, str, str]
_LOWEST: VersionKey = (False, (), False, "")


def version_key(version: str) -> VersionKey:
    """A key for sorting: keys compare as the versions do, and are equal exactly where `compare_versions` gives 0."""
    match = _READ.fullmatch(version)
    if match is None:
        return (False, (), False, version)
    numbers = [_number(digits) for digits in match[1].split(".")]
    while numbers and numbers[-1] == (0, ""):
        numbers.pop()
    extension = match[2]
    if len(extension) > 1:
        extension = extension.removeprefix("-")
    return (True, tuple(numbers), not extension, extension)


def _number(digits: str) -> tuple[int, str]:
    """Compares as the number does, without the quadratic cost of making one from thousands of digits."""
    significant = digits.lstrip("0")
    return len(significant), significant


def compare_versions(a: str, b: str) -> int:
    """-1 when `a` is older than `b`, 0 when they are the same version, 1 when it is newer."""
    left, right = version_key(a), version_key(b)
    return (left > right) - (left < right)


def ident_key(ident: Ident) -> IdentKey:
    """A key for sorting idents: origin, name, version, release, and last the version's text. A missing part sorts lowest."""
    version = ident.version
    if version is None:
        return (ident.origin, ident.name, False, _LOWEST, "", "")
    return (ident.origin, ident.name, True, version_key(version), ident.release or "", version)
