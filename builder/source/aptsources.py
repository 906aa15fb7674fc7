"""Which source archives the host's own apt configuration names: from one-line `.list` and deb822 `.sources` files. Pure.

Rules: every enabled binary or source entry becomes one source entry, with its options (keys, trust) but without architectures; nothing
is added that the host does not trust already.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

ONE_LINE = re.compile(r"deb(?:-src)?\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)((?:\s+\S+)*)")
DROPPED_OPTIONS = ("arch", "lang", "target", "pdiffs", "by-hash")
DROPPED_FIELDS = ("architectures", "languages", "targets")


def source_entries(files: Iterable[tuple[str, str]]) -> tuple[str, str]:
    """From (file name, text) pairs: the text of a one-line list and of a deb822 file that name the same archives as deb-src."""
    lines: dict[str, None] = {}
    stanzas: dict[str, None] = {}
    for name, text in files:
        if name.endswith(".sources"):
            stanzas.update(dict.fromkeys(source_stanzas(text)))
        else:
            lines.update(dict.fromkeys(source_lines(text)))
    return "".join(f"{line}\n" for line in lines), "\n".join(stanzas)


def source_lines(text: str) -> list[str]:
    """deb-src lines of a one-line list."""
    found = []
    for raw in text.splitlines():
        match = ONE_LINE.fullmatch(raw.partition("#")[0].strip())
        if match is None:
            continue
        options, uri, suite, components = match.groups()
        kept = [option for option in (options or "").split() if option.partition("=")[0].rstrip("+-") not in DROPPED_OPTIONS]
        shown = f"[{' '.join(kept)}] " if kept else ""
        found.append(f"deb-src {shown}{uri} {suite}{components}".rstrip())
    return found


def source_stanzas(text: str) -> list[str]:
    """Stanzas of a deb822 file, with type deb-src."""
    found = []
    for block in re.split(r"\n[ \t]*\n", text.replace("\r\n", "\n")):
        kept: list[str] = []
        enabled, dropped, uris = True, False, False
        for line in block.splitlines():
            if line.startswith("#") or not line.strip():
                continue
            if line[0].isspace():
                if not dropped:
                    kept.append(line)
                continue
            field, _, value = line.partition(":")
            field = field.strip().lower()
            dropped = field in DROPPED_FIELDS or field in ("types", "enabled")
            uris = uris or field == "uris"
            if field == "enabled" and value.strip().lower() in ("no", "false", "0", "off", "without", "disable"):
                enabled = False
            if not dropped:
                kept.append(line)
        if enabled and uris:
            found.append("Types: deb-src\n" + "".join(f"{line}\n" for line in kept))
    return found
