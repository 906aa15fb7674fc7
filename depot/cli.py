"""The verbs that talk to a depot, under the names by which `stead.py` finds them."""

from __future__ import annotations

from depot.cli_install import install
from depot.cli_origin import key_download, key_upload, origin_create, origin_info
from depot.cli_publish import channels, demote, promote, search, upload
from depot.cli_uninstall import uninstall

__all__ = [
    "channels",
    "demote",
    "install",
    "key_download",
    "key_upload",
    "origin_create",
    "origin_info",
    "promote",
    "search",
    "uninstall",
    "upload",
]
