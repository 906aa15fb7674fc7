"""What is remembered of a service, and the one place that changes it: its record on disk, the release it runs, the trial of an update.

Rules: the disk first, then we. A disk that refuses is reported and costs the memory, not the service. Which release is wanted is decided in
update.py; the format of the record is in running.py.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from hart.errors import SteadError
from hart.ident import Ident
from hart.version import ident_key
from supervisor.journal import Journal
from supervisor.service import running, update

OF_A_PROCESS = frozenset({"start_id", "was_ready", "serving"})


class Memory:
    """The record of one service."""

    def __init__(self, directory: Path, journal: Journal, name: str) -> None:
        self._directory, self._journal, self._name = directory, journal, name
        self.record = running.read(directory, name)
        self.update_note = ""  # the last word about updates
        self.trouble = ""  # why the disk has not got the last change

    def save(self, **changes: Any) -> None:
        """Change fields of the record. What is said of a process alone need not outlive the machine, since the process does not."""
        record = replace(self.record, **changes)
        if record == self.record and not self.trouble:
            return
        self.record = record
        try:
            running.write(self._directory, self._name, record, durable=bool(self.trouble) or not OF_A_PROCESS.issuperset(changes))
        except (SteadError, OSError) as error:
            self.trouble = f"its record could not be written: {error}"
            self._journal.write("service", self._name, self.trouble)
        else:
            self.trouble = ""

    def note(self, text: str) -> bool:
        """The last word about updates, journalled when it is a new one; whether it is."""
        if text == self.update_note:
            return False
        self.update_note = text
        self._journal.write("update", self._name, text)
        return True

    def begin_trial(self, target: Ident) -> None:
        assert self.record.choice is not None
        self.save(choice=update.begin_trial(self.record.choice, target))

    def quarantine(self, target: Ident) -> None:
        """Not tried again until the channel moves."""
        assert self.record.choice is not None
        self.save(choice=replace(self.record.choice, quarantined=target))

    def give_up_trial(self, because: str) -> bool:
        """Whether a release was on trial, and is given up now."""
        before = self.record.choice
        back = None if before is None else update.go_back(before)
        if before is None or back is None:
            return False
        self.save(choice=back)
        self.note(f"{before.release} failed ({because}): back to {back.release}")
        return True

    def prove(self) -> None:
        """What runs is good: a trial is over."""
        choice = self.record.choice
        if choice is not None and choice.base is not None:
            forward = ident_key(choice.release) > ident_key(choice.base)
            self.note(f"{'updated' if forward else 'moved back'} from {choice.base} to {choice.release}, which serves")
            self.save(choice=update.end_trial(choice))
