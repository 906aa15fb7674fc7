"""The supervisor's verbs, under the names by which `stead.py` finds them."""

from __future__ import annotations

from supervisor.cli_config import config_apply, config_diff, config_history, config_revert, config_show
from supervisor.cli_file import file_list, file_remove, file_upload
from supervisor.cli_logs import logs
from supervisor.cli_ring import ring_depart, ring_join, ring_members, ring_records, ring_status
from supervisor.cli_sup import run, sup_status, term, unit, upgrade
from supervisor.cli_svc import load, start, status, stop, unload

__all__ = [
    "config_apply",
    "config_diff",
    "config_history",
    "config_revert",
    "config_show",
    "file_list",
    "file_remove",
    "file_upload",
    "load",
    "logs",
    "ring_depart",
    "ring_join",
    "ring_members",
    "ring_records",
    "ring_status",
    "run",
    "start",
    "status",
    "stop",
    "sup_status",
    "term",
    "unit",
    "unload",
    "upgrade",
]
