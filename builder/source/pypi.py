"""Sources by name from the Python package index, through pip.

Rules: no code of the package runs here. A wheel's download only reads it; for an sdist pip would run its build backend to learn its
dependencies, so pip is only asked (with a hash that cannot match) where the file is and what it hashes to, and stops there; the file
is then downloaded by ourselves. The same question teaches the hash of a source without a pin. Which index is used is pip's
own configuration.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from builder.plan import Pin, WheelOrSdist
from builder.source import https
from builder.source.scheme import Fetched, Surroundings
from builder.source.tool import last_lines, run_tool
from hart.errors import NotFoundError, UnavailableError
from hart.files import storage

IMPOSSIBLE = "0" * 64  # a sha256 that nobody can make: pip downloads, hashes, refuses, and never opens the file
GOT = re.compile(r"Got\s+([0-9a-f]{64})")
FROM = re.compile(r"\sfrom ((?:https|file)://[^\s)]+)")
INSTALL = "python3 -m ensurepip, or on Debian and Ubuntu: apt-get install python3-pip"


def fetch(pin: Pin, into: Path, around: Surroundings) -> Fetched:
    """Bring the wheel or sdist of `name==version`."""
    if pin.format is WheelOrSdist.SDIST or pin.sha256 is None:
        where, actual = ask(pin, into, around)
        filename = https.filename_of(unquote(where)) if where else "source"
        if pin.format is WheelOrSdist.WHEEL or pin.sha256 != actual or not where:
            return Fetched(None, filename, actual)
        return bring(where, into, around, filename)
    code, output = pip_download(pin, pin.sha256, into, around)
    files = [path for path in (into / "files").glob("*") if path.is_file()]
    if code == 0 and len(files) == 1:
        return Fetched(files[0], files[0].name)
    if found := GOT.search(output):
        return Fetched(None, pin.locator, found.group(1))
    raise failure(pin, output)


def ask(pin: Pin, into: Path, around: Surroundings) -> tuple[str, str]:
    """Where pip would take the file from (may be empty), and its sha256."""
    _code, output = pip_download(pin, IMPOSSIBLE, into, around)
    got, where = GOT.search(output), FROM.search(output)
    if got is None:
        raise failure(pin, output)
    return (where.group(1) if where else ""), got.group(1)


def pip_download(pin: Pin, sha256: str, into: Path, around: Surroundings) -> tuple[int, str]:
    requirements = into / "requirements.txt"
    with storage(requirements):
        requirements.write_text(f"{pin.locator} --hash=sha256:{sha256}\n")
    kind = "--only-binary" if pin.format is WheelOrSdist.WHEEL else "--no-binary"
    options = ["--no-deps", "--require-hashes", "--no-input", "--progress-bar", "off", "--disable-pip-version-check", kind, ":all:"]
    argv = [*pip(around), "download", *options, "--dest", str(into / "files"), "--requirement", str(requirements)]
    return run_tool(argv, cwd=into, environ=dict(around.environ) | {"NO_COLOR": "1"}, install=INSTALL)


def pip(around: Surroundings) -> list[str]:
    """The pip of our own interpreter, else the host's."""
    from importlib.util import find_spec

    if find_spec("pip") is not None:
        return [sys.executable, "-I", "-m", "pip"]
    found = shutil.which("pip3", path=around.environ.get("PATH")) or shutil.which("pip", path=around.environ.get("PATH"))
    return [found or "pip3"]


def bring(where: str, into: Path, around: Surroundings, filename: str) -> Fetched:
    """The file that pip named; the index is the user's own setting, so it may be at a private address."""
    parts = urlsplit(where)
    if parts.scheme == "file":
        with storage(into):
            shutil.copyfile(unquote(parts.path), into / "download")
        return Fetched(into / "download", filename)
    got = https.download(where.partition("#")[0], into, plain_http=False, allow_private=True, progress=around.progress)
    return Fetched(got.path, filename)


def failure(pin: Pin, output: str) -> NotFoundError | UnavailableError:
    if "No matching distribution" in output and "from versions: none" not in output:
        return NotFoundError(str(pin), f"the index has no such {pin.format} release: {last_lines(output, count=2)}")
    return UnavailableError(str(pin), f"pip could not fetch it: {last_lines(output)}", next=f"pip download --no-deps {pin.locator}")
