"""Sources by name from the Debian source archive, through apt-get, without privileges.

Rules: apt works on lists and caches of its own below the source cache, with deb-src entries made from the host's configuration
(`aptsources`); its index is refreshed at most once a day; signatures are apt's business, with the host's keys. One file of the source
package is taken: by default the upstream tarball. Nothing is unpacked or run.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from builder.plan import Pin
from builder.source.aptsources import source_entries
from builder.source.scheme import Fetched, Surroundings
from builder.source.tool import last_lines, run_tool
from hart.errors import NotFoundError, UnavailableError
from hart.files import make_dirs, storage, write_atomic
from hart.limits import APT_LISTS_AGE_S

ETC = Path("/etc/apt")
UPSTREAM = re.compile(r"_[^_]+\.orig\.tar\.[a-z0-9]+\Z")
NATIVE = re.compile(r"_[^_]+\.tar\.[a-z0-9]+\Z")
INSTALL = "this scheme needs apt-get; give the source an alternate with url, or build on Debian or Ubuntu"


def fetch(pin: Pin, into: Path, around: Surroundings) -> Fetched:
    """Bring one file of the source package `name[=version]`."""
    state = around.cache / "apt"
    files = into / "files"
    with storage(files):
        files.mkdir()
    with locked(state):
        options = prepare(state, ETC, into, around)
        argv = ["apt-get", *options, "source", "--download-only", "--only-source", pin.locator]
        code, output = run_tool(argv, cwd=files, environ=around.environ, install=INSTALL)
    if code != 0:
        if "Unable to find a source package" in output or "was not found" in output:
            raise NotFoundError(str(pin), f"the source archive has no such package: {last_lines(output, count=2)}")
        raise UnavailableError(str(pin), f"apt-get could not fetch it: {last_lines(output)}")
    path = choose(pin, files)
    return Fetched(path, path.name)


def choose(pin: Pin, files: Path) -> Path:
    """The file of a source package that the pin means."""
    names = sorted(path.name for path in files.iterdir() if path.is_file())
    if pin.debian_file is not None:
        wanted = [name for name in names if name == pin.debian_file]
    else:
        wanted = [name for name in names if UPSTREAM.search(name)] or [name for name in names if NATIVE.search(name)]
        wanted = [name for name in wanted if ".debian.tar." not in name] or wanted
    if len(wanted) != 1:
        raise NotFoundError(str(pin), f"its files are {', '.join(names) or 'none'}", next='name one: debian_file = "…"')
    return files / wanted[0]


def prepare(state: Path, etc: Path, work: Path, around: Surroundings) -> list[str]:
    """Write the own configuration, refresh the own index when it is a day old, and return apt's options."""
    found = [path for path in (etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))) if path.is_file()]
    entries = source_entries((path.name, path.read_text("utf-8", "replace")) for path in found if path.suffix in (".list", ".sources"))
    if not any(entries):
        raise NotFoundError("the Debian source archive", f"no archive is named in {etc}", next=INSTALL)
    for directory in (state / "lists" / "partial", state / "cache" / "archives" / "partial", state / "parts"):
        make_dirs(directory)
    changed = False
    for name, text in zip(("stead.list", "stead.sources"), entries, strict=True):
        path = state / "parts" / name
        if not path.is_file() or path.read_text() != text:
            write_atomic(path, text.encode())
            changed = True
    settings = {
        "Dir::State::lists": state / "lists", "Dir::Cache": state / "cache", "Dir::Etc::sourcelist": "/dev/null",
        "Dir::Etc::sourceparts": state / "parts", "APT::Sandbox::User": "root" if os.geteuid() == 0 else "",
        "Acquire::Languages": "none", "APT::Get::Only-Source": "true", "Debug::NoLocking": "true", "Dir::State::status": "/dev/null",
        "APT::Update::Post-Invoke-Success::": "", "Acquire::Retries": "2",
    }  # fmt: skip
    options = [word for name, value in settings.items() if str(value) for word in ("-o", f"{name}={value}")]
    stamp = state / "updated"
    if changed or not stamp.is_file() or time.time() - stamp.stat().st_mtime > APT_LISTS_AGE_S:  # noqa: TID251  a file's age is wall time
        argv = ["apt-get", *options, "-q", "-o", "APT::Get::List-Cleanup=true", "update"]
        code, output = run_tool(argv, cwd=work, environ=around.environ, install=INSTALL)
        if code == 0 and "Failed to fetch" not in output:  # apt takes what it could not reach for a warning
            with storage(stamp):
                stamp.touch()
        elif not list((state / "lists").glob("*_Sources*")):  # an index of earlier days may still do
            raise UnavailableError("the Debian source archive", f"its index could not be read: {last_lines(output)}")
    return options


@contextmanager
def locked(state: Path) -> Iterator[None]:
    """One apt at a time on the own lists (apt's own locks are off, they need the system's directories)."""
    make_dirs(state)
    with storage(state):
        lock = (state / "lock").open("w")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
