"""Metafiles: what a package says about itself in small text files (reference: packages 3).

Rules: a file is absent when there is nothing to say. Reading is tolerant as Habitat's is (white space, CRLF, unknown and legacy files are
ignored, values nobody could use are dropped), except for IDENT, TARGET and dependencies, without which a package is unusable. Writing
is sorted and deterministic. Absolute paths are those of the build root (BUILD_ROOT, `/hab` when absent); `reroot` moves those of a
relocatable package. Lists of dependencies and paths are composed by `hart/closure.py`; FILES is `hart/filelist.py`.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from hart.closure import environment, merge_tdeps, runtime_environment, runtime_path, transitive
from hart.errors import FormatError, LimitError, NotFoundError
from hart.filelist import files_list
from hart.files import storage
from hart.ident import Ident
from hart.limits import METAFILE_MAX, METAFILES_MAX
from hart.root import DEFAULT_ROOT, Root
from hart.target import Target

__all__ = [
    "INDEXED",
    "METAFILES",
    "Metadata",
    "environment",
    "files_list",
    "merge_tdeps",
    "parse",
    "read",
    "render",
    "reroot",
    "runtime_environment",
    "runtime_path",
    "transitive",
]

IDENTS = {"DEPS": "deps", "TDEPS": "tdeps", "BUILD_DEPS": "build_deps", "BUILD_TDEPS": "build_tdeps"}
PATHS = {"PATH": "path", "RUNTIME_PATH": "runtime_path", "LD_RUN_PATH": "ld_run_path", "PKG_CONFIG_PATH": "pkg_config_path"}
VALUES = {"EXPORTS": "exports", "RUNTIME_ENVIRONMENT": "runtime_environment", "BUILDTIME_ENVIRONMENT": "buildtime_environment"}
LISTS = {
    "BINDS": "binds",
    "BINDS_OPTIONAL": "binds_optional",
    "RUNTIME_ENVIRONMENT_PROVENANCE": "runtime_environment_provenance",
    "BUILDTIME_ENVIRONMENT_PROVENANCE": "buildtime_environment_provenance",
}
FLAGS = {"CFLAGS": "cflags", "CPPFLAGS": "cppflags", "CXXFLAGS": "cxxflags", "LDFLAGS": "ldflags"}
WORDS = {"SVC_USER": "svc_user", "SVC_GROUP": "svc_group", "SHUTDOWN_SIGNAL": "shutdown_signal", "BUILD_ROOT": "build_root"}
TEXTS = {"MANIFEST": "manifest", "default.toml": "default_config", "config.schema.json": "schema", "service.toml": "service",
         "bundle.toml": "bundle"}  # fmt: skip
OTHERS = {"IDENT", "TARGET", "INTERPRETERS", "EXPOSES", "SHUTDOWN_TIMEOUT", "PACKAGE_TYPE", "RELOCATABLE", "TEMPLATES"}

INDEXED = frozenset({*IDENTS, *PATHS, *VALUES, *LISTS, *FLAGS, *WORDS, *TEXTS, *OTHERS})  # what makes up Metadata
METAFILES = (INDEXED - {"default.toml", "config.schema.json", "service.toml", "bundle.toml"}) | {"FILES"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What a package says. Paths are absolute; `exposes` are port numbers; texts are as their author wrote them."""

    ident: Ident
    target: Target
    deps: tuple[Ident, ...] = ()
    tdeps: tuple[Ident, ...] = ()
    build_deps: tuple[Ident, ...] = ()
    build_tdeps: tuple[Ident, ...] = ()
    path: tuple[str, ...] = ()
    runtime_path: tuple[str, ...] = ()
    ld_run_path: tuple[str, ...] = ()
    pkg_config_path: tuple[str, ...] = ()
    interpreters: tuple[str, ...] = ()
    cflags: str = ""
    cppflags: str = ""
    cxxflags: str = ""
    ldflags: str = ""
    runtime_environment: Mapping[str, str] = field(default_factory=dict)  # without PATH, which is runtime_path
    runtime_environment_provenance: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # variable → who set it
    buildtime_environment: Mapping[str, str] = field(default_factory=dict)
    buildtime_environment_provenance: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    exports: Mapping[str, str] = field(default_factory=dict)
    exposes: tuple[int, ...] = ()
    binds: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    binds_optional: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    svc_user: str | None = None
    svc_group: str | None = None
    shutdown_signal: str | None = None
    shutdown_timeout_s: float | None = None
    package_type: str = "standard"
    manifest: str = ""
    default_config: str = ""
    schema: str | None = None
    service: str | None = None
    bundle: str | None = None  # bundle.toml: services that are loaded as one
    build_root: str | None = None  # None: /hab
    relocatable: bool = False
    strict_templates: bool = False
    is_service: bool = False  # SVC_USER is there, or what it would run

    @property
    def prefix(self) -> str:
        """Where the package's own paths begin: the release under its build root."""
        return f"{(self.build_root or str(DEFAULT_ROOT)).rstrip('/')}/pkgs/{self.ident}"


def parse(files: Mapping[str, bytes]) -> Metadata:
    """From metafiles by name; FormatError when IDENT, TARGET or a list of dependencies is unusable.

    `hooks/run` or `run` among the names says that the package is a service even without SVC_USER.
    """
    thing = "package"

    def decoded(name: str) -> str:
        return files.get(name, b"").decode(errors="replace").replace("\0", "\ufffd")  # the kernel takes no NUL anywhere

    def text(name: str) -> str:
        return decoded(name).strip()

    def lines(name: str) -> list[str]:
        return [line.rstrip("\r") for line in decoded(name).split("\n") if line.strip()]

    def idents(name: str) -> tuple[Ident, ...]:
        try:
            found = [Ident.parse_full(line) for line in lines(name)]
        except FormatError as error:
            raise FormatError(thing, f"metafile {name}: {error.thing} {error.cause}") from error
        if ident in found:
            raise FormatError(thing, f"metafile {name} names the package itself")
        return once(found, last="TDEPS" in name)

    for name in ("IDENT", "TARGET"):
        if not text(name):
            raise FormatError(thing, f"has no metafile {name}", next="this is no package, or a damaged one")
    ident, target = Ident.parse_full(text("IDENT")), Target.parse(text("TARGET"))
    thing = f"package {ident}"
    separator = ";" if target.endswith("windows") else ":"
    fields: dict[str, Any] = {attribute: idents(name) for name, attribute in IDENTS.items()}
    for name, attribute in PATHS.items():
        entries = [entry.strip() for entry in text(name).split(separator)]
        fields[attribute] = tuple(entry for entry in entries if entry and (separator == ";" or is_plain_path(entry)))
    fields |= {attribute: pairs(lines(name)) for name, attribute in VALUES.items()}
    fields["runtime_environment"].pop("PATH", None)  # legacy: RUNTIME_PATH says it
    for name, attribute in LISTS.items():
        fields[attribute] = {key: tuple(value.split()) for key, value in pairs(lines(name)).items()}
    fields |= {attribute: text(name) for name, attribute in FLAGS.items()}
    fields |= {attribute: text(name) or None for name, attribute in WORDS.items()}
    fields |= {attribute: files[name].decode(errors="replace") for name, attribute in TEXTS.items() if name in files}
    meta = Metadata(
        ident=ident,
        target=target,
        interpreters=tuple(line.strip() for line in lines("INTERPRETERS")),
        exposes=tuple(port for port in map(port_number, text("EXPOSES").split()) if port),
        shutdown_timeout_s=seconds(text("SHUTDOWN_TIMEOUT")),
        package_type=text("PACKAGE_TYPE") or "standard",
        relocatable=text("RELOCATABLE") == "yes",
        strict_templates=text("TEMPLATES") == "strict",
        is_service=fields["svc_user"] is not None or "hooks/run" in files or "run" in files,
        **fields,
    )
    if separator == ":":
        meta = replace(meta, path=tuple(entry for entry in meta.path if under(entry, own_prefixes(meta))))
    return meta


def render(meta: Metadata) -> dict[str, bytes]:
    """The metafiles of a package by name, sorted, nothing empty; `parse` gives `meta` back. FILES is made from the finished tree."""
    files: dict[str, str] = {"IDENT": f"{meta.ident}\n", "TARGET": f"{meta.target}\n"}

    def put(name: str, lines: Iterable[str]) -> None:
        listed = list(lines)
        if any("\n" in line or "\r" in line or "\0" in line for line in listed):
            raise FormatError(f"metafile {name} of {meta.ident}", "a value has a line break, which the format cannot hold")
        if text := "".join(f"{line}\n" for line in listed if line):
            files[name] = text

    for name, attribute in IDENTS.items():
        put(name, map(str, getattr(meta, attribute)))
    for name, attribute in PATHS.items():
        put(name, [":".join(getattr(meta, attribute))])
    for name, attribute in VALUES.items():
        put(name, (f"{checked(key, name)}={value}" for key, value in sorted(getattr(meta, attribute).items())))
    for name, attribute in LISTS.items():
        put(name, (f"{checked(key, name)}={' '.join(words)}" for key, words in sorted(getattr(meta, attribute).items())))
    for name, attribute in {**FLAGS, **WORDS}.items():
        put(name, [getattr(meta, attribute) or ""])
    put("INTERPRETERS", meta.interpreters)
    put("EXPOSES", [" ".join(map(str, meta.exposes))])
    put("SHUTDOWN_TIMEOUT", [] if meta.shutdown_timeout_s is None else [whole(meta.shutdown_timeout_s)])
    put("PACKAGE_TYPE", [] if meta.package_type == "standard" else [meta.package_type])
    put("RELOCATABLE", ["yes"] if meta.relocatable else [])
    put("TEMPLATES", ["strict"] if meta.strict_templates else [])
    files |= {name: text for name, attribute in TEXTS.items() if (text := getattr(meta, attribute)) is not None}
    return {
        name: text.encode() for name, text in sorted(files.items()) if text or name in ("config.schema.json", "service.toml", "bundle.toml")
    }


def read(directory: Path, root: Root | None = None) -> Metadata:
    """The metadata of an unpacked release. With `root`, the paths of a relocatable package are those under that root."""
    if not directory.is_dir():
        raise NotFoundError(str(directory), "is no directory")
    with storage(directory):
        files = {name: b"" for name in ("run", "hooks/run") if (directory / name).is_file()}
        for name in (*sorted(INDEXED - {"IDENT"}), "IDENT"):  # last: when it is still there, all others were
            if (data := read_bounded(directory / name)) is not None:
                files[name] = data
    if sum(map(len, files.values())) > METAFILES_MAX:
        raise LimitError(str(directory), f"its metafiles have more than {METAFILES_MAX} bytes")
    meta = parse(files)
    return reroot(meta, root.path) if root is not None else meta


def read_bounded(path: Path, limit: int = METAFILE_MAX) -> bytes | None:
    """A small file, None when there is none; FormatError when it is a link or a directory, LimitError when it is not small."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise FormatError(str(path), "is a link, where a package has a file") from error
        raise
    try:
        source = os.fdopen(fd, "rb")
    except IsADirectoryError as error:
        os.close(fd)
        raise FormatError(str(path), "is a directory, where a package has a file") from error
    with source:
        data = source.read(limit + 1)
    if len(data) > limit:
        raise LimitError(str(path), f"is larger than {limit} bytes")
    return data


def reroot(meta: Metadata, root: Path) -> Metadata:
    """The same package under another root, if it is relocatable; else unchanged."""
    before, after = f"{(meta.build_root or str(DEFAULT_ROOT)).rstrip('/')}/pkgs/", f"{str(root).rstrip('/')}/pkgs/"
    if not meta.relocatable or before == after:
        return meta
    path = re.compile(rf"(^|[\s:;,='\"]|(?<=-[IL])){re.escape(before)}")  # where a path begins: /x/hab/pkgs/ is another one

    def moved(text: str) -> str:
        return path.sub(lambda match: match[1] + after, text)

    fields: dict[str, Any] = {name: tuple(map(moved, getattr(meta, name))) for name in (*PATHS.values(), "interpreters")}
    fields |= {name: moved(getattr(meta, name)) for name in FLAGS.values()}
    fields["runtime_environment"] = {key: moved(value) for key, value in meta.runtime_environment.items()}
    return replace(meta, **fields)


def own_prefixes(meta: Metadata) -> tuple[str, ...]:
    return (meta.prefix, f"/opt/hab/pkgs/{meta.ident}")  # the second one is Habitat's on macOS


def once(idents: list[Ident], *, last: bool) -> tuple[Ident, ...]:
    """Each ident once: where it came first, or as in TDEPS where it came last."""
    return tuple(dict.fromkeys(reversed(idents)))[::-1] if last else tuple(dict.fromkeys(idents))


def is_plain_path(entry: str) -> bool:
    """Whether a directory can stand in a PATH: the same from everywhere, in one line."""
    return entry.startswith("/") and entry.isprintable()


def under(path: str, prefixes: tuple[str, ...]) -> bool:
    path = os.path.normpath(path)
    return any(path == prefix or path.startswith(prefix + "/") for prefix in prefixes)


def pairs(lines: Iterable[str]) -> dict[str, str]:
    """`key=value` lines, split at the first `=`; others are dropped."""
    split = (line.partition("=") for line in lines)
    return {key.strip(): value for key, equals, value in split if equals and key.strip()}


def checked(key: str, name: str) -> str:
    if not key or "=" in key or key != key.strip():
        raise FormatError(f"metafile {name}", f"{key!r} is no valid name")
    return key


def port_number(word: str) -> int:
    """0 when it is none."""
    return int(word) if re.fullmatch(r"[0-9]{1,5}", word) and 0 < int(word) <= 65535 else 0


def seconds(word: str) -> float | None:
    return float(word) if re.fullmatch(r"[0-9]{1,9}", word) else None


def whole(duration_s: float) -> str:
    """SHUTDOWN_TIMEOUT is whole seconds: other readers take nothing else."""
    if duration_s != int(duration_s) or not 0 <= duration_s < 10**9:
        raise FormatError("metafile SHUTDOWN_TIMEOUT", f"{duration_s} is not a whole number of seconds")
    return str(int(duration_s))
