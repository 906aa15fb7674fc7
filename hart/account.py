"""Who runs a service and its hooks: users, groups, capabilities, and the clean environment (reference: supervisor 1.4, weakness W31).

Rules: users are switched only with CAP_SETUID, CAP_SETGID and CAP_CHOWN; otherwise everything runs as our own user. The package names the
user. One that does not exist is refused, since what was written for a small account must not quietly get a large one; only `hab`,
which every package of Habitat names that names nobody, falls back to our own user, and the notice says so. A service inherits names
from an allow-list and nothing else: our tokens and keys are not among them.
"""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hart.errors import ServiceError

HABITAT_USER = "hab"
CAP_CHOWN, CAP_SETGID, CAP_SETUID = 0, 6, 7
PASSED_ON = frozenset({"LANG", "LANGUAGE", "TZ", "PATH"})  # and LC_*; PATH is the last part of the package's own
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who runs a service and its hooks. `uid` None: nobody is switched."""

    user: str
    group: str
    home: str
    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] = ()
    notice: str = ""  # what an operator should know about this choice

    def switches(self) -> dict[str, Any]:
        """Keyword arguments for asyncio's and subprocess's process functions."""
        return {} if self.uid is None else {"user": self.uid, "group": self.gid, "extra_groups": list(self.groups)}


def may_switch() -> bool:
    """Whether this process has the three capabilities."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            effective = int(line.split()[1], 16)
            return all(effective >> capability & 1 for capability in (CAP_CHOWN, CAP_SETGID, CAP_SETUID))
    return False


def own_account(notice: str = "") -> Account:
    """The supervisor's own user."""
    try:
        entry = pwd.getpwuid(os.geteuid())
        user, home = entry.pw_name, entry.pw_dir
    except KeyError:  # a container may run us under a uid without a name
        user, home = str(os.geteuid()), "/"
    try:
        group = grp.getgrgid(os.getegid()).gr_name
    except KeyError:
        group = str(os.getegid())
    return Account(user=user, group=group, home=home, notice=notice)


def account_of(svc_user: str | None, svc_group: str | None, *, switch: bool) -> Account:
    """Who runs a service whose package names these; `switch`: whether we may and shall. ServiceError: that user does not exist."""
    if not switch:
        return own_account()
    user, group = svc_user or HABITAT_USER, svc_group or svc_user or HABITAT_USER
    try:
        entry, group_entry = pwd.getpwnam(user), grp.getgrnam(group)
    except KeyError:
        if user == HABITAT_USER:
            ours = own_account()
            return replace(ours, notice=f"user {user}:{group} does not exist, so it runs as {ours.user}" if svc_user else "")
        raise ServiceError(
            f"user {user}:{group}",
            "does not exist on this host",
            next=f"create it: useradd --system --user-group {user}; or let everything run as you: --own-user",
        ) from None
    if entry.pw_uid == os.geteuid():
        return own_account()
    return Account(
        user=user,
        group=group,
        home=entry.pw_dir,
        uid=entry.pw_uid,
        gid=group_entry.gr_gid,
        groups=tuple(os.getgrouplist(user, group_entry.gr_gid)),
    )


def clean_environment(environ: Mapping[str, str], account: Account, *, also: Collection[str] = ()) -> dict[str, str]:
    """What a service inherits, before its package's own environment; `also` names more (upper case, any case is passed)."""
    kept = {name: value for name, value in environ.items() if name in PASSED_ON or name.upper() in also or name.startswith("LC_")}
    return {"PATH": DEFAULT_PATH, **kept, "USER": account.user, "LOGNAME": account.user, "HOME": account.home, "SHELL": "/bin/sh"}
