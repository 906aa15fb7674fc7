"""`file upload | list | remove`: files for the services of a group, by the ring.

Rules: a file is refused by name or size before it is anywhere; what is answered is durable on this host and on its way. Members that join
later get it too. The same content again changes nothing. Names are checked once more by whoever writes the file (ringfiles.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

from hart.errors import ConflictError, FormatError, NotFoundError
from supervisor import clock
from supervisor.configuration import members, signed
from supervisor.host import Host
from supervisor.request import Request
from supervisor.ringfiles import RingFile, key_of, safe_name
from supervisor.service.events import UP
from supervisor.service.files import DIRECTORY
from supervisor.service.spec import Group

Say = Callable[[str], None]


async def upload(host: Host, request: Request, say: Say) -> dict[str, Any]:
    group, name, data = Group.parse(request.text("group")), safe_name(request.text("name")), request.fields.get("data")
    if not isinstance(data, bytes):
        raise FormatError("request", "data is not bytes")
    current, version = host.files.revision(group, name), request.revision("version")
    file = RingFile(name=name, revision=version or current + 1, data=data, by=signed(host, request), at=clock.wall())
    body = file.body()
    if version is not None and version <= current:
        raise ConflictError(
            f"file {name} of {group}",
            f"version {version} is not newer than {current}, which counts now",
            next=f"upload it as version {current + 1}, or without a version",
            current=current,
        )
    found, _ = host.files.files(group)
    if version is None and (same := next((each for each in found if each.name == name and each.data == data), None)) is not None:
        return {"group": str(group), "name": name, "version": same.revision, "size": len(data), "changed": False}
    record = await host.ring.put(key_of(group, name), body, expect=current, revision=version)
    host.journal.write("files", str(group), f"{name} is version {record.version.major}", by=file.by, size=len(data))
    host.announce()
    tell(host, group, say)
    return {"group": str(group), "name": name, "version": record.version.major, "size": len(data), "changed": True}


def tell(host: Host, group: Group, say: Say) -> None:
    """What it does on this host."""
    for service in members(host, group):
        if service.kit is not None and service.life.state in UP:
            hook = ", and runs its file-updated hook" if "file-updated" in service.kit.templates.hooks else ""
            say(f"{service.name}: takes it into {service.kit.service_dir / DIRECTORY}{hook}")
        else:
            say(f"{service.name}: takes it at its next start")
    if not host.census.present(group):
        say(f"nobody runs {group}: whoever does later gets it")


async def listing(host: Host, request: Request, _: Say) -> dict[str, Any]:
    group = Group.parse(request.text("group"))
    found, troubles = host.files.files(group)
    rows = [
        {
            "name": file.name,
            "version": file.revision,
            "size": len(file.data),
            "at": clock.stamp(file.at) if file.at else None,
            "by": file.by,
            "blake2b": hashlib.blake2b(file.data, digest_size=32).hexdigest(),
        }
        for file in found
    ]
    return {"group": str(group), "rows": rows, "troubles": troubles}


async def remove(host: Host, request: Request, say: Say) -> dict[str, Any]:
    group, name = Group.parse(request.text("group")), request.text("name")
    if name not in host.files.records(group):
        raise NotFoundError(f"file {name} of {group}", "does not exist", next=f"stead file list {group}")
    record = await host.ring.put(key_of(group, name), None, expect=host.files.revision(group, name))
    host.journal.write("files", str(group), f"{name} is removed", by=signed(host, request))
    host.announce()
    for service in members(host, group):
        say(f"{service.name}: it is removed from {host.root.service(service.name) / DIRECTORY}")
    return {"group": str(group), "name": name, "version": record.version.major}


Command = Callable[[Host, Request, Say], Awaitable[Any]]
COMMANDS: Final[dict[str, Command]] = {"file upload": upload, "file list": listing, "file remove": remove}
