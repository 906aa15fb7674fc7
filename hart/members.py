"""What a member of an archive may be called and where a link may point: pure rules for reading and for writing.

Rules (threats 3.3): a member lies under `hab/pkgs/O/N/V/R/` of its own release (one leading `/` is accepted, `./` is not: packages 1.3);
names are UTF-8 without control characters, of bounded length and depth. A symbolic link stays inside its own release, or names a path of
some release in a store. No I/O here: `hart/archive.py` reads, `hart/tarball.py` writes, both by these rules.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hart import limits
from hart.errors import FormatError, LimitError
from hart.ident import Ident

STORE = "/hab/pkgs"
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # Unicode's category Cc

Parts = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveCaps:
    """The caps of reading one archive, see `hart/limits.py` for the reasons."""

    output: int = limits.ARCHIVE_OUTPUT_MAX
    ratio: int = limits.ARCHIVE_RATIO_MAX
    ratio_free: int = limits.ARCHIVE_RATIO_FREE
    members: int = limits.ARCHIVE_MEMBERS_MAX
    links: int = limits.ARCHIVE_LINKS_MAX


DEFAULT = ArchiveCaps()


def stores_of(*roots: str | None) -> tuple[str, ...]:
    """The stores that links may name: `/hab/pkgs` and those of the given roots."""
    return tuple(dict.fromkeys([STORE, *(f"{root.rstrip('/')}/pkgs" for root in roots if root)]))


def text(raw: bytes, *, thing: str, what: str) -> str:
    """A name from an archive as text; `what` says which one."""
    if len(raw) > limits.ARCHIVE_PATH_MAX:
        raise LimitError(thing, f"a {what} has more than {limits.ARCHIVE_PATH_MAX} bytes: {raw[:60]!r}…")
    try:
        name = raw.decode()
    except UnicodeDecodeError as error:
        raise FormatError(thing, f"a {what} is not UTF-8: {raw!r}") from error
    if CONTROL.search(name):
        raise FormatError(thing, f"a {what} has control characters: {name!r}")
    return name


def split(name: str, *, thing: str) -> Parts:
    """A member's path as components, without the one leading and the one trailing `/` that may be there."""
    parts = tuple(name.removeprefix("/").removesuffix("/").split("/"))
    if any(part in ("", ".", "..") for part in parts):
        raise FormatError(thing, f"member {name!r} is no plain path: empty, '.' and '..' components are refused")
    if len(parts) > limits.ARCHIVE_DEPTH_MAX:
        raise LimitError(thing, f"member {name!r} is deeper than {limits.ARCHIVE_DEPTH_MAX}")
    if any(len(part.encode()) > limits.ARCHIVE_COMPONENT_MAX for part in parts):
        raise LimitError(thing, f"member {name!r} has a component of more than {limits.ARCHIVE_COMPONENT_MAX} bytes")
    return parts


def release_prefix(ident: Ident) -> Parts:
    """`hab/pkgs/O/N/V/R`, whatever the root."""
    assert ident.is_full, ident
    return ("hab", "pkgs", *str(ident).split("/"))


def inside(name: str, prefix: Parts, *, thing: str) -> Parts | None:
    """A member's path relative to its release; () for the release itself, None for one of the directories above it."""
    parts = split(name, thing=thing)
    if parts[: len(prefix)] == prefix:
        return parts[len(prefix) :]
    if parts == prefix[: len(parts)]:
        return None
    raise FormatError(thing, f"member {name!r} lies outside {'/'.join(prefix)}")


def link_target(link: Parts, target: str, stores: Sequence[str], *, thing: str) -> list[Parts]:
    """Check where a symbolic link points. `link` is its own path in the release, `target` the text of the link.

    Returns the release's directories that must be real ones, since the target steps out of them with `..`: through another link that
    step could lead anywhere. FormatError when the target leaves the release without naming a release in a store.
    """
    shown = f"link {'/'.join(link)!r} → {target!r}"
    if not target:
        raise FormatError(thing, f"link {'/'.join(link)!r} has an empty target")
    if target.startswith("/"):
        if not any(names_release(target, store) for store in stores):
            raise FormatError(thing, f"{shown} points outside the store", next=f"packages may link into {' or '.join(stores)} only")
        return []
    here, real, must_be_real = list(link[:-1]), len(link) - 1, []
    for part in target.split("/"):
        if part in ("", "."):
            continue
        if part != "..":
            here.append(part)
            continue
        if not here:
            raise FormatError(thing, f"{shown} points outside its own release")
        if len(here) > real:
            must_be_real.append(tuple(here))
        here.pop()
        real = min(real, len(here))
    return must_be_real


def names_release(target: str, store: str) -> bool:
    """Whether an absolute path is one release's, or below it."""
    if not target.startswith(store + "/"):
        return False
    parts = target[len(store) + 1 :].removesuffix("/").split("/")
    return len(parts) >= 4 and not any(part in ("", ".", "..") for part in parts)
