"""From a finished tree to a signed artifact: the last step of every build.

Rules: the plan's folder is laid into the tree; what would differ from run to run is taken out (bytecode with timestamps); the files are
searched for the place they were built at; metafiles, then FILES (signed) and MANIFEST; packed to a file beside the build, signed, and
only then linked into the artifact cache and the results, whole or not at all. An artifact that is there already under this name is kept
when the bytes are equal, and never replaced by others.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from builder.compose import Made, metadata, run_hook
from builder.environment import release_epoch
from builder.relocatable import search
from builder.source.cache import sha256_of
from hart.archive import pack
from hart.artifact import checksum, sign_bytes, sign_payload
from hart.errors import BuildError, ConflictError
from hart.files import fsync_dir, make_dirs, storage, write_atomic
from hart.ident import Ident
from hart.keys import SecretSigningKey
from hart.metafiles import METAFILES, files_list, render
from hart.target import Target

PYC_TIMED = 0  # the flags word of bytecode that names its source's time instead of its hash (PEP 552)


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What a build has made. `result` is its other name below ./results."""

    path: Path
    result: Path
    relocatable: bool
    sha256: str
    blake2b: str
    size: int


def assemble(made: Made, key: SecretSigningKey, *, work: Path, results: Path, say: Callable[[str], None]) -> Artifact:
    """Finish the tree and make the artifact of it. `work` is a directory for temporary files on the root's file system."""
    tree = made.tree
    open_up(tree)
    lay_folder(made, say)
    tidy(tree, say)
    meta = metadata(made)
    prefix = str(made.root.package(made.ident))
    write_metafiles(tree, {name: data for name, data in render(meta).items() if name != "MANIFEST"})
    relocatable = is_relocatable(made, work, say)
    meta = replace(meta, relocatable=relocatable)
    files = render(meta)
    if relocatable:
        write_metafiles(tree, {"RELOCATABLE": files["RELOCATABLE"]})
    write_metafiles(tree, {"FILES": sign_bytes(files_list(tree, prefix), key), "MANIFEST": files["MANIFEST"]})
    name = made.ident.archive_name(made.target)
    payload, signed = work / "payload", work / name
    try:
        with storage(payload), payload.open("wb") as out:
            pack(tree, made.ident, out, mtime=release_epoch(str(made.ident.release)), level=made.compression)
        sign_payload(payload, signed, key)
        path = publish(signed, made.root.artifacts / name)
    finally:  # on a full disk these are what is in the way
        payload.unlink(missing_ok=True)
        signed.unlink(missing_ok=True)
    result = put_result(path, results)
    artifact = Artifact(
        path=path,
        result=result,
        relocatable=relocatable,
        sha256=sha256_of(path),
        blake2b=checksum(path),
        size=path.stat().st_size,
    )
    write_atomic(results / "last_build.env", last_build(made.ident, made.target, artifact).encode())
    say(f"artifact {path}")
    return artifact


def lay_folder(made: Made, say: Callable[[str], None]) -> None:
    """Put hooks and configuration templates of the plan's folder into the tree. A plan.sh has done it in its own step."""
    if not made.strict:
        return
    for name in METAFILES:
        if (made.tree / name).exists():
            raise BuildError(f"package {made.ident}", f"the steps wrote a file {name}, which is the name of a metafile")
    hooks = {f"hooks/{name}": data for name, data in made.folder.hooks.items()}
    if made.plan.service is not None and made.plan.service.run:
        hooks["hooks/run"] = run_hook(made.plan.service.run).encode()
    write_files(made.tree, hooks)
    write_files(made.tree, {f"config/{name}": data for name, data in made.folder.config.items()})
    write_files(made.tree, {f"config_install/{name}": data for name, data in made.folder.config_install.items()})
    if hooks:
        say(f"hooks: {', '.join(sorted(name.removeprefix('hooks/') for name in hooks))}")


def open_up(tree: Path) -> None:
    """Let us read everything and write directories, whatever modes the steps left: a package has modes of its own (`pack`)."""
    with storage(tree):
        tree.chmod(0o755)
        for base, directories, files in os.walk(tree):
            for name in [*directories, *files]:
                path = Path(base, name)
                mode = path.lstat().st_mode
                wanted = 0o700 if stat.S_ISDIR(mode) else 0o400
                if mode & wanted != wanted:  # never so for a link, whose own mode is always 0777
                    path.chmod(stat.S_IMODE(mode) | wanted)


def write_files(tree: Path, files: Mapping[str, bytes]) -> None:
    """Put files of the plan's folder into the tree, in place of what has their names, and never through a link to a directory."""
    for name, data in files.items():
        path = tree / name
        with storage(path):
            for parent in list(path.relative_to(tree).parents)[-2::-1]:
                if (tree / parent).is_symlink() or ((tree / parent).exists() and not (tree / parent).is_dir()):
                    raise BuildError(f"{parent} in the package", f"is a link or a file, and the plan's {name} belongs below it")
            if path.is_dir() and not path.is_symlink():
                raise BuildError(f"{name} in the package", "is a directory, and the plan has a file of this name")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.write_bytes(data)
            path.chmod(0o644)


def write_metafiles(tree: Path, files: Mapping[str, bytes]) -> None:
    """Replace what is there under these names, also a link that a step may have left."""
    for name, data in files.items():
        path = tree / name
        with storage(path):
            if path.is_symlink() or path.is_file():
                path.unlink()
            path.write_bytes(data)
            path.chmod(0o644)


def tidy(tree: Path, say: Callable[[str], None]) -> None:
    """Remove Python bytecode that carries the time of its source, and directories of bytecode that are empty then."""
    removed = 0
    for base, directories, files in os.walk(tree, topdown=False):
        for name in files:
            path = Path(base, name)
            if name.endswith((".pyc", ".pyo")) and not path.is_symlink() and timed(path):
                path.unlink()
                removed += 1
        if "__pycache__" in directories and not any(Path(base, "__pycache__").iterdir()):
            Path(base, "__pycache__").rmdir()
    if removed:
        say(f"left out {removed} bytecode files that carry a time")


def timed(path: Path) -> bool:
    with storage(path), path.open("rb") as stream:
        head = stream.read(8)
    return len(head) == 8 and int.from_bytes(head[4:8], "little") == PYC_TIMED


def is_relocatable(made: Made, work: Path, say: Callable[[str], None]) -> bool:
    """Whether nothing in the tree names the root it was built under."""
    roots = {str(made.root.path).rstrip("/"), str(made.root.path.resolve()).rstrip("/")}
    needles = [os.fsencode(f"{root}/{kind}/") for root in sorted(roots) for kind in ("pkgs", "svc")]
    staging = os.fsencode(work / "out")
    found = search(made.tree, [*needles, staging], skip=METAFILES)
    if found.any(len(needles)):
        say(f"warning: these files name the build's own directory, which will not be there: {', '.join(found.files[len(needles)])}")
    naming = sorted({file for hits in found.files[: len(needles)] for file in hits})
    if naming:
        say(f"bound to {made.root.path}: named in {', '.join(naming[:5])}{' …' if len(naming) > 5 else ''}")
        return False
    say("relocatable: no file names where it was built")
    return True


def publish(signed: Path, place: Path) -> Path:
    """Give the artifact its name in the cache; one that is there stays, and has to be equal."""
    make_dirs(place.parent)
    with storage(place):
        try:
            os.link(signed, place)
        except FileExistsError:
            if checksum(place) != checksum(signed):
                raise ConflictError(
                    place.name,
                    "was built before with other content, and a release never changes",
                    next="build with another --release, or without one a second later",
                    before=checksum(place),
                    now=checksum(signed),
                ) from None
        fsync_dir(place.parent)
    return place


def put_result(artifact: Path, results: Path) -> Path:
    """The artifact below the results directory: another name of the same file where that works, else a copy."""
    make_dirs(results)
    place, temporary = results / artifact.name, results / f".{artifact.name}.tmp"
    with storage(place):
        temporary.unlink(missing_ok=True)
        try:
            os.link(artifact, temporary)
        except OSError:  # another file system, or a file of somebody else's
            shutil.copyfile(artifact, temporary)
        temporary.replace(place)
        temporary.unlink(missing_ok=True)  # renaming one name of a file over another does nothing
        fsync_dir(results)
    return place


def last_build(ident: Ident, target: Target, artifact: Artifact) -> str:
    """results/last_build.env, in Habitat's words and order."""
    facts = {
        "pkg_origin": ident.origin, "pkg_name": ident.name, "pkg_version": ident.version, "pkg_release": ident.release,
        "pkg_target": target, "pkg_ident": ident, "pkg_artifact": artifact.path.name, "pkg_sha256sum": artifact.sha256,
        "pkg_blake2bsum": artifact.blake2b,
    }  # fmt: skip
    return "".join(f"{name}={value}\n" for name, value in facts.items())
