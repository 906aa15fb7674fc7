"""The folder of a plan: which file is the plan, and the files beside it that become part of the package.

Rules (reference: packages 4.1, 3.1): DIR/TARGET/, DIR/habitat/TARGET/, DIR/ and DIR/habitat/ may hold plan.toml or plan.sh; exactly one
must be there, the target's folder wins. Beside it: default.toml, hooks/ (each file without its last extension), config/ and
config_install/ (without editors' leftovers), the schema of the configuration. Links may not lead out of the folder. Bounded.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from hart.errors import LimitError, NotFoundError, PlanError
from hart.files import storage
from hart.limits import PLAN_FILES_MAX, PLAN_MAX, PLAN_TREE_MAX

PLAN_NAMES = ("plan.toml", "plan.sh")
LEFTOVERS = ("*.sw?", "*~", "*.bak")
NOT_OF_THE_PLAN = (".git", ".hg", ".svn", "__pycache__")  # beside a plan, but never what it is built from


@dataclass(frozen=True, slots=True)
class PlanPlace:
    """Where a plan was found. `directory` is the plan's own folder, `context` the one that was asked for; both absolute."""

    file: Path
    directory: Path
    context: Path

    @property
    def is_shell(self) -> bool:
        return self.file.name == "plan.sh"


@dataclass(frozen=True, slots=True)
class Folder:
    """The files beside a plan, by the name they get in the package."""

    default_toml: str | None
    schema: str | None
    hooks: dict[str, bytes]
    hook_files: dict[str, str]  # hook → the file's own name, for messages
    config: dict[str, bytes]
    config_install: dict[str, bytes]


def locate(context: Path, target: str) -> PlanPlace:
    """Find the one plan of a folder (or take the file itself)."""
    context = Path(os.path.abspath(context))  # noqa: PTH100  as typed, without resolving links: messages show what was typed
    if context.is_file() and context.name in PLAN_NAMES:
        return PlanPlace(context, context.parent, context.parent)
    if not context.is_dir():
        raise NotFoundError(str(context), "is no directory", next="stead plan init NAME, to start a plan")
    for folders in ((context / target, context / "habitat" / target), (context, context / "habitat")):
        found = [folder / name for folder in folders for name in PLAN_NAMES if (folder / name).is_file()]
        if len(found) > 1:
            shown = ", ".join(str(path.relative_to(context)) for path in found)
            raise PlanError(str(context), f"has more than one plan: {shown}", next="name the one to build, or remove the others")
        if found:
            return PlanPlace(found[0], found[0].parent, context)
    raise NotFoundError(str(context), "has no plan.toml or plan.sh", next="stead plan init, to start one there")


def read_text(path: Path) -> str:
    """A bounded UTF-8 file of a plan."""
    with storage(path), path.open("rb") as stream:
        data = stream.read(PLAN_MAX + 1)
    if len(data) > PLAN_MAX:
        raise LimitError(str(path), f"is larger than {PLAN_MAX} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise PlanError(str(path), f"is not UTF-8: byte {error.start}") from error


def read_folder(directory: Path, *, schema_file: str) -> Folder:
    """All that stands beside the plan."""
    hooks: dict[str, bytes] = {}
    hook_files: dict[str, str] = {}
    for name, data in read_tree(directory, "hooks").items():
        hook = name.rsplit(".", 1)[0] if "." in name else name
        if "/" in name or hook.startswith("."):
            continue
        if hook in hooks:
            raise PlanError(str(directory / "hooks"), f"{hook_files[hook]} and {name} are both the hook {hook}", next="remove one of them")
        if b"\r" in data:
            raise PlanError(str(directory / "hooks" / name), "has Windows line ends, which no shell reads", next="save it with LF")
        hooks[hook], hook_files[hook] = data, name
    return Folder(
        default_toml=read_optional(directory, "default.toml"),
        schema=read_optional(directory, schema_file),
        hooks=hooks,
        hook_files=hook_files,
        config=read_tree(directory, "config"),
        config_install=read_tree(directory, "config_install"),
    )


def read_optional(directory: Path, name: str) -> str | None:
    path = directory / name
    if not path.is_file():
        return None
    stay_inside(path, directory)
    return read_text(path)


def read_tree(directory: Path, name: str) -> dict[str, bytes]:
    """Files below a folder of the plan by their path in it, sorted."""
    top = directory / name
    if not top.is_dir():
        return {}
    found: dict[str, bytes] = {}
    total = 0
    for path in walk(top):
        if any(fnmatch.fnmatch(path.name, pattern) for pattern in LEFTOVERS):
            continue
        stay_inside(path, directory)
        if not path.is_file():
            raise PlanError(str(path), "is no regular file, so it cannot be part of a package", next=f"ls -l {path}")
        with storage(path), path.open("rb") as stream:
            data = stream.read(PLAN_TREE_MAX + 1)
        total += len(data)
        if total > PLAN_TREE_MAX:
            raise LimitError(str(top), f"has more than {PLAN_TREE_MAX} bytes")
        found[str(path.relative_to(top))] = data
    return found


def walk(top: Path, *, without: Collection[Path] = (), names: Collection[str] = ()) -> Iterator[Path]:
    """Files and links below a directory in a fixed order; passed over are directories `without`, and those of `names` anywhere."""
    count = 0
    for base, directories, files in os.walk(top):
        directories[:] = sorted(name for name in directories if name not in names and Path(base, name) not in without)
        links = [name for name in directories if Path(base, name).is_symlink()]  # not followed
        for name in sorted([*files, *links]):
            count += 1
            if count > PLAN_FILES_MAX:
                raise LimitError(str(top), f"has more than {PLAN_FILES_MAX} files", next="is this the plan's own folder?")
            yield Path(base, name)


def stay_inside(path: Path, directory: Path) -> None:
    if path.is_symlink() and not path.resolve().is_relative_to(directory.resolve()):
        raise PlanError(str(path), "is a link that leads out of the plan's folder", next="copy the file there")


def digest(directory: Path, *, without: Collection[Path]) -> str | None:
    """A digest over names, executable bits and bytes of everything in a folder that is not a result (for `--if-changed`).

    None when a link leads to a directory outside: what is there could change unseen."""
    whole = hashlib.blake2b(digest_size=32)
    for path in walk(directory, without=[directory / "results", *without], names=NOT_OF_THE_PLAN):
        link = os.fsencode(path.readlink()) if path.is_symlink() else b""
        inside = not link or path.resolve().is_relative_to(directory.resolve())
        content = b""
        if path.is_file():
            with storage(path), path.open("rb") as stream:
                content = hashlib.file_digest(stream, "blake2b").digest()
        elif path.is_dir() and not inside:
            return None
        executable = bool(path.stat().st_mode & 0o100) if path.exists() else False
        name = os.fsencode(path.relative_to(directory))
        for part in (name, b"x" if executable else b"-", link, content):
            whole.update(len(part).to_bytes(8, "big") + part)
    return whole.hexdigest()
