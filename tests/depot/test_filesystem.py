"""Which file system a directory is on."""

from __future__ import annotations

from pathlib import Path, PurePath

import pytest

from depot import filesystem
from hart.errors import StorageError

MOUNTS = """\
22 1 0:20 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:41 / /srv rw,relatime shared:2 - nfs4 server:/srv rw
31 30 0:42 / /srv/local rw - xfs /dev/vdb rw
32 22 0:43 / /my\\040disk rw - cifs //server/share rw
33 22 0:44 / /over rw - ext4 /dev/vdc rw
34 33 0:45 / /over rw - nfs server:/over rw
a line that means nothing
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/depot", "ext4"),
        ("/srv", "nfs4"),
        ("/srv/depot", "nfs4"),
        ("/srvx/depot", "ext4"),
        ("/srv/local/depot", "xfs"),
        ("/my disk/depot", "cifs"),
        ("/over/depot", "nfs"),
    ],
)
def test_the_deepest_and_newest_mount_holds_the_path(path: str, kind: str) -> None:
    """As the kernel resolves it."""
    assert filesystem.kind_of(PurePath(path), MOUNTS) == kind


def test_network_file_systems_are_refused() -> None:
    """Locks do not hold there."""
    with pytest.raises(StorageError, match="nfs4"):
        filesystem.check_local(PurePath("/srv/depot"), MOUNTS)
    filesystem.check_local(PurePath("/srv/local/depot"), MOUNTS)


def test_an_unknown_mount_table_refuses_nothing(tmp_path: Path) -> None:
    """Some sandboxes show none."""
    assert filesystem.kind_of(PurePath("/x"), "") is None
    filesystem.check_local(tmp_path, "")
