"""A service's directory: which directories are in it, whose they are, with which modes (reference: supervisor 2.5).

Rules: those that exist keep owner and mode, since a service may have changed what is its own; a link in the way is refused, so that
nobody who may write there can move our writing elsewhere. What is rendered into them is the business of whoever renders.
"""

from __future__ import annotations

import os
from pathlib import Path

from hart.account import Account
from hart.errors import StorageError
from hart.files import make_dirs, storage

OURS = ("hooks", "logs")
THEIRS = ("config", "config_install", "data", "files", "static", "var")  # of the service's user


def make_directories(service: Path, account: Account) -> None:
    """Make what is missing of a service's directories. StorageError when something else is in the way."""
    make_dirs(service.parent)
    for path, mode in [(service, 0o755), *((service / name, 0o755) for name in OURS), *((service / name, 0o770) for name in THEIRS)]:
        with storage(path):
            try:
                path.mkdir(0o700)
            except FileExistsError:
                if path.is_symlink() or not path.is_dir():
                    raise StorageError(str(path), "is in the way: it is not a directory") from None
                continue
            if account.uid is not None and account.gid is not None and path.name in THEIRS and path != service:
                os.chown(path, account.uid, account.gid)
            path.chmod(mode)  # whatever the umask says
