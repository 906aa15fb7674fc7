"""A package's templates, rendered and put in place (reference: supervisor 2.5, 3, 4.3; weakness W32).

Rules: everything is rendered before anything is written, so a template that fails changes nothing. A file is written only when its content
differs, beside and renamed, with its owner and mode from its first byte on. Directories are walked by descriptor and links are not
followed: `config/` belongs to the service's user, who must not be able to lead our writes elsewhere. A rendered file whose template has
vanished is removed; what the service itself made is left alone.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hart.account import Account
from hart.errors import LimitError, TemplateError
from hart.files import storage
from hart.limits import TEMPLATE_FILE_MAX, TEMPLATES_MAX
from hart.template.engine import Template, compile_template
from supervisor.service.hooks import NAMES


@dataclass(frozen=True, slots=True)
class Templates:
    """A package's compiled templates by the path that they are rendered to, below the service directory; and its plain `run` file."""

    templates: Mapping[str, Template]
    run_file: bytes | None

    @property
    def hooks(self) -> frozenset[str]:
        return frozenset(path.removeprefix("hooks/") for path in self.templates if path.startswith("hooks/"))

    def render(self, context: Mapping[str, Any]) -> dict[str, bytes]:
        """Content by path; TemplateError or LimitError, and then nothing has happened."""
        rendered = {path: template.render(context).encode() for path, template in self.templates.items()}
        run = rendered.get("hooks/run", self.run_file)
        if run is None:
            raise TemplateError("service", "has neither a run hook nor a run file")
        return rendered | {"run": run}


def load(package: Path, *, config_from: Path | None, strict: bool) -> Templates:
    """Read and compile `hooks/` and `config/` of a package, or of `config_from` (a plan's folder, for development)."""
    source = config_from or package
    templates = {}
    for file in _files(source / "hooks"):
        name = file.name.split(".")[0] if config_from is not None else file.name
        if file.parent == source / "hooks" and name in NAMES - {"install", "uninstall"}:
            templates[f"hooks/{name}"] = compile_template(_read(file), name=str(file), strict=strict, hook=True)
    for file in _files(source / "config"):
        path = f"config/{file.relative_to(source / 'config')}"
        templates[path] = compile_template(_read(file), name=str(file), strict=strict)
    run = package / "run"
    return Templates(templates, run.read_bytes() if run.is_file() and run.stat().st_size <= TEMPLATE_FILE_MAX else None)


def _files(directory: Path) -> list[Path]:
    """Regular files below, sorted; links do not lead out of the package."""
    if not directory.is_dir():
        return []
    found = []
    with storage(directory):
        for path in directory.rglob("*"):
            if path.is_file() and not path.is_symlink():
                found.append(path)
            if len(found) > TEMPLATES_MAX:
                raise LimitError(str(directory), f"has more than {TEMPLATES_MAX} templates")
    return sorted(found)


def _read(file: Path) -> str:
    with storage(file), file.open("rb") as source:
        raw = source.read(TEMPLATE_FILE_MAX + 1)
    if len(raw) > TEMPLATE_FILE_MAX:
        raise LimitError(str(file), f"is larger than {TEMPLATE_FILE_MAX} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise TemplateError(str(file), "is not UTF-8 text", next="ship binary files with the package, not under config/") from None


def digests(rendered: Mapping[str, bytes]) -> dict[str, str]:
    """What change.py compares; `run` only where it is not the run hook again."""
    return {
        path: hashlib.blake2b(content, digest_size=16).hexdigest()
        for path, content in rendered.items()
        if path != "run" or "hooks/run" not in rendered
    }


def put(service: Path, rendered: Mapping[str, bytes], account: Account, *, before: Collection[str]) -> None:
    """Write what differs, remove what was rendered `before` and is not any more."""
    with storage(service), _opened(service) as top:
        for path, content in sorted(rendered.items()):
            *parents, name = path.split("/")
            theirs = parents[:1] == ["config"]
            owner = (account.uid, account.gid) if theirs else (None, None)
            with _descend(top, parents, owner) as directory:
                mode = 0o740 if theirs else 0o755
                if _content(directory, name, len(content)) != content:
                    _place(directory, name, content, mode, owner)
        for path in set(before) - set(rendered):
            *parents, name = path.split("/")
            with suppress(FileNotFoundError, NotADirectoryError), _descend(top, parents, None) as directory:
                os.unlink(name, dir_fd=directory)


@contextmanager
def _opened(path: Path | str, at: int | None = None) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=at)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def _descend(top: int, parents: list[str], owner: tuple[int | None, int | None] | None) -> Iterator[int]:
    """The directory below `top`; missing ones are made, for that owner, unless `owner` is None."""
    if not parents:
        yield top
        return
    first, *rest = parents
    if owner is not None:
        with suppress(FileExistsError):
            os.mkdir(first, 0o700, dir_fd=top)
            with _opened(first, top) as made:
                _own(made, owner, 0o770 if owner[0] is not None else 0o755)
    with _opened(first, top) as below, _descend(below, rest, owner) as directory:
        yield directory


def _own(fd: int, owner: tuple[int | None, int | None], mode: int) -> None:
    uid, gid = owner
    if uid is not None and gid is not None:
        os.fchown(fd, uid, gid)
    os.fchmod(fd, mode)


def _content(directory: int, name: str, size: int) -> bytes | None:
    try:
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return None  # absent, or something that is not ours: it is replaced
    with os.fdopen(fd, "rb") as file:
        return file.read(size + 1)


def _place(directory: int, name: str, content: bytes, mode: int, owner: tuple[int | None, int | None]) -> None:
    temporary = f".{name[:200]}.{secrets.token_hex(6)}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=directory)
    try:
        with os.fdopen(fd, "wb") as out:
            out.write(content)
            out.flush()
            _own(out.fileno(), owner, mode)
            os.fsync(out.fileno())
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=directory)
        raise
