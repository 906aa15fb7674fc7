"""Sources by name from the npm registry, through `npm pack`.

Rules: the exact tarball of `name@version` as the registry has it; no scripts run. Which registry is used is npm's own configuration.
"""

from __future__ import annotations

from pathlib import Path

from builder.plan import Pin
from builder.source.scheme import Fetched, Surroundings
from builder.source.tool import last_lines, run_tool
from hart.errors import NotFoundError, UnavailableError
from hart.files import storage

INSTALL = "install Node.js with npm, on Debian and Ubuntu: apt-get install npm"


def fetch(pin: Pin, into: Path, around: Surroundings) -> Fetched:
    """Bring the tarball of `name@version`."""
    files = into / "files"
    with storage(files):
        files.mkdir()
    retries = [
        "--fetch-retry-mintimeout",
        "1000",
        "--fetch-retry-maxtimeout",
        "5000",
    ]  # milliseconds; npm's own take minutes without a network
    options = [*retries, "--ignore-scripts", "--loglevel", "error", "--no-update-notifier", "--pack-destination", str(files)]
    code, output = run_tool(["npm", "pack", pin.locator, *options], cwd=into, environ=around.environ, install=INSTALL)
    found = [path for path in files.glob("*.tgz") if path.is_file()]
    if code == 0 and len(found) == 1:
        return Fetched(found[0], found[0].name)
    if "E404" in output or "ETARGET" in output:
        raise NotFoundError(str(pin), "the registry has no such version", next=f"npm view {pin.locator.rpartition('@')[0]} versions")
    raise UnavailableError(str(pin), f"npm could not fetch it: {last_lines(output)}", next=f"npm pack {pin.locator}")
