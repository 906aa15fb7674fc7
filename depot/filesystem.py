"""On which kind of file system a directory lies: a depot's data must not be on a network file system.

Rule: SQLite's locks and the shared memory of its log do not work across hosts; a lock that two hosts both hold loses packages.
Source: threats 4.1, proc(5) on mountinfo. Not here: reading it (depot/store.py).
"""

from __future__ import annotations

import re
from pathlib import PurePath

from hart.errors import StorageError

NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "lustre", "fuse.sshfs", "fuse.glusterfs", "fuse.s3fs"}
)


def kind_of(path: PurePath, mountinfo: str) -> str | None:
    """The type of the file system that holds an absolute path, from the text of /proc/self/mountinfo; None when it does not say."""
    found: tuple[int, str] | None = None
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split()
        if not separator or len(fields) < 5 or not after:
            continue
        place = PurePath(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4]))
        depth = len(place.parts)
        if path.is_relative_to(place) and (found is None or depth >= found[0]):  # the last of equals covers the others
            found = depth, after.split()[0]
    return found[1] if found else None


def check_local(path: PurePath, mountinfo: str) -> None:
    """StorageError when the path is on a network file system."""
    kind = kind_of(path, mountinfo)
    if kind in NETWORK:
        raise StorageError(str(path), f"is on a network file system ({kind})", next="choose a local disk with --data DIR")
