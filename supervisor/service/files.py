"""A group's files in its service's directory: written before a start and whenever they change, and the hook that is told of it.

Rules: what the ring has is in `files/`, owned as rendered configuration is; what it has no more is removed, and what the service put there
itself is left alone. Nothing is written that is there already. The hook `file-updated` runs after a change while the service is up, once
for all changes that came while it ran, and is called off when the service goes down. Names and sizes were checked in ringfiles.py, and
writing follows no link (hart/servicedir.py).
"""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

from hart import servicedir
from hart.errors import SteadError
from supervisor.service.kit import Kit

if TYPE_CHECKING:
    from supervisor.service.driver import Service

HOOK = "file-updated"
DIRECTORY = "files"


class Files:
    """The files of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._task: asyncio.Task[None] | None = None
        self._changed = False
        self.trouble = ""

    def put(self, kit: Kit, *, all_of_them: bool) -> bool:
        """Write and remove what is new in the ring, or `all_of_them`; whether anything was new. SteadError: the disk refuses."""
        service = self._service
        found, troubles = service.host.files.files(service.spec.service_group)
        self._complain("; ".join(troubles))
        before = service.memory.record.files
        digests = {file.name: hashlib.blake2b(file.data, digest_size=16).hexdigest() for file in found}
        if digests == before and not (all_of_them and before):
            return False
        content = {f"{DIRECTORY}/{file.name}": file.data for file in found}
        servicedir.put(kit.service_dir, content, kit.account, before=[f"{DIRECTORY}/{name}" for name in before])
        if digests == before:
            return False
        service.memory.save(files=digests)
        service.host.journal.write("files", service.name, f"files of its group: {', '.join(sorted(digests)) or 'none'}")
        return True

    def refresh(self, kit: Kit) -> None:
        """While it is up: write what has changed and tell the service."""
        try:
            changed = self.put(kit, all_of_them=False)
        except (SteadError, OSError) as error:
            self._complain(f"the files of its group cannot be written: {error}")
            return
        if changed and HOOK in kit.templates.hooks:
            self._changed = True
            if self._task is None or self._task.done():
                self._task = self._service.host.tasks.create_task(self._tell(), name=f"{self._service.name} {HOOK}")

    def call_off(self) -> None:
        """The service goes down; its next process finds the files in their place."""
        self._changed = False
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _tell(self) -> None:
        while self._changed:
            self._changed = False
            outcome = await self._service.run_hook(HOOK)
            if not outcome.ok:
                self._service.host.journal.write("files", self._service.name, f"the {HOOK} hook {outcome.because}", level="warning")

    def _complain(self, trouble: str) -> None:
        if trouble and trouble != self.trouble:
            self._service.host.journal.write("files", self._service.name, trouble, level="warning")
        self.trouble = trouble
