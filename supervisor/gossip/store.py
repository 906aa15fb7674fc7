"""The ring on this host's disk: who we are, how often we have started, whom to ask, and the documents.

    member.key  member.key.copy      the secret key of this member
    generation  generation.copy      its id, and how often it has started
    members     members.before       announcements of those who were there: whom to ask after a restart
    documents/<hash of key>/<revision>-<content hash>[.gone]      one body each, signed as it came
    aside/<id>.key                   keys that this host has given up, and why

Rules
- A generation is on disk twice before it is used, so one readable copy is never below the last that was used, and the next start takes one
  above the greater copy. Where no copy of this member's generation can be read, nobody knows which were used: the identity is renewed. A
  clock would do in most cases; a new key does in all.
- The same for a key of which no copy can be read. A key that the disk does not give (permissions, an I/O error) is no reason for a new
  identity: StorageError.
- Of each document at least the body before the current one is kept, so damage to the newest file falls back to the one before it.
- Content never raises: what is damaged is told in words, set aside, and the last good copy counts.
- What is bound to a member (facts, departures) is not kept: it comes back from the ring with its member.

Signatures are checked by who reads this (records.py, node.py). Blocking: call from a thread where a loop runs. Safe from several threads.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hart.errors import StorageError
from hart.limits import RING_ASIDE, RING_DOCUMENTS_BYTES, RING_GENERATION_MAX, RING_SAVED_MEMBERS, RING_STATE_MAX
from supervisor.gossip import statefile
from supervisor.gossip.codec import to_announcement, to_record
from supervisor.gossip.digest import hash16
from supervisor.gossip.identity import MemberKey
from supervisor.gossip.keyring import Refused
from supervisor.gossip.kinds import place
from supervisor.gossip.messages import Announcement, MemberId, Record
from supervisor.gossip.records import content_hash
from supervisor.gossip.statefile import Damaged, on_disk

KEY_FILES = ("member.key", "member.key.copy")
COUNT_FILES = ("generation", "generation.copy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who this start is. `complaints`: what was wrong on disk, and what it has led to."""

    key: MemberKey
    generation: int
    complaints: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Saved:
    """What was on disk. `documents`: of each key the oldest first, so that merging them in this order gives the history."""

    announcements: list[Announcement] = field(default_factory=list)
    documents: list[Record] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


class RingStore:
    """The state under one directory, which need not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    # --- who we are

    def identity(self) -> Identity:
        """The key, made when there is none, and a generation that no start had before; both durable."""
        with self._lock:
            complaints: list[str] = []
            seed = self._read_seed(complaints)
            if seed is None:
                if complaints:
                    complaints.append("this host becomes a new member of the ring: its key cannot be read")
                return self._begin(complaints)
            key = MemberKey(seed)
            last = self._generation(key.id, complaints)
            if last is None:
                complaints.append("this host becomes a new member of the ring: nobody knows how often the old one has started")
                self._set_aside(seed, "its generation was lost")
                return self._begin(complaints)
            return self._start(key, last + 1, complaints, over=True)

    def count_on(self, generation: int) -> None:
        """This start is a later generation from now on: a copy of this directory had one too."""
        with self._lock:
            seed = self._read_seed([])
            if seed is not None:
                self._start(MemberKey(seed), generation, [], over=True)

    def renew(self, because: str) -> None:
        """Give up this identity, because another has it; the next `identity` is a new member. The old key is set aside."""
        with self._lock:
            seed = self._read_seed([])
            if seed is not None:
                self._set_aside(seed, because)
            self._begin([])

    def _begin(self, complaints: list[str]) -> Identity:
        """A new identity. Its count is on disk before its key: a key without one is one whose count was lost."""
        key = MemberKey(secrets.token_bytes(32))
        self._start(key, 0, [])
        for name in KEY_FILES:
            statefile.write(self.path / name, key.seed)
        return self._start(key, 1, complaints)

    def _start(self, key: MemberKey, generation: int, complaints: list[str], *, over: bool = False) -> Identity:
        """`over`: the count before was this member's; where no new file can be made it is written over, one file after the other. A full
        disk is no reason to be without a supervisor."""
        for name in COUNT_FILES:
            try:
                statefile.write(self.path / name, [key.id, generation])
            except StorageError:
                if not over:
                    raise
                statefile.write_over(self.path / name, [key.id, generation])
        return Identity(key=key, generation=generation, complaints=tuple(complaints))

    def _generation(self, member: MemberId, complaints: list[str]) -> int | None:
        """The greatest that was used, or a greater one; None when it is lost."""
        found = []
        for name in COUNT_FILES:
            try:
                value = statefile.read(self.path / name, most=RING_STATE_MAX)
                if value is not None:
                    found.append(_count(value, member))
            except (Damaged, StorageError) as error:
                complaints.append(_say(self.path / name, error))
        return max(found, default=None)

    def _read_seed(self, complaints: list[str]) -> bytes | None:
        """Of the key or its copy; the other is made good. None where there is none. StorageError when the disk is why there is none."""
        trouble: StorageError | None = None
        held: dict[str, bytes | None] = {}
        for name in KEY_FILES:
            try:
                value = statefile.read(self.path / name, most=RING_STATE_MAX)
                held[name] = None if value is None else _seed(value)
            except Damaged as error:
                held[name] = None
                complaints.append(_say(self.path / name, error))
            except StorageError as error:
                trouble = trouble or error
                complaints.append(_say(self.path / name, error))
        seed = next((each for each in held.values() if each is not None), None)
        if seed is None and trouble is not None:
            raise trouble
        for name in [name for name in held if seed is not None and held[name] != seed]:
            statefile.write(self.path / name, seed)
        return seed

    def _set_aside(self, seed: bytes, because: str) -> None:
        aside = self.path / "aside"
        statefile.write(aside / f"{MemberKey(seed).id.hex()}.key", {"seed": seed, "because": because[:500]})
        with on_disk(aside):
            for old in sorted(aside.glob("*.key"), key=lambda file: file.stat().st_mtime_ns, reverse=True)[RING_ASIDE:]:
                old.unlink(missing_ok=True)

    # --- what we know

    def load(self) -> Saved:
        """Everything that can be read, and what cannot in words. Never raises for content or for a single file."""
        with self._lock:
            saved = Saved()
            for folder in (self.path, self.path / "aside"):
                self._listed(folder, saved.complaints)  # half-written keys go, too
            saved.announcements = self._load_members(saved.complaints)
            self._load_documents(saved)
            return saved

    def save_members(self, announcements: Iterable[Announcement]) -> None:
        """Whom to ask after a restart: the first RING_SAVED_MEMBERS. The file before is kept when it can be read."""
        rows = [list(each) for _, each in zip(range(RING_SAVED_MEMBERS), announcements, strict=False)]
        members = self.path / "members"
        with self._lock:
            try:
                before = statefile.read(members)
            except (Damaged, StorageError):
                before = None
            if before == rows:
                return
            if before is not None:
                statefile.write(self.path / "members.before", before)
            statefile.write(members, rows)

    def write(self, record: Record) -> None:
        """Make a document durable, and remove the bodies of its key that its kind does not keep. What is bound to a member is not kept."""
        where = place(record.key)
        assert where is not None, record.key
        if where.member is not None:
            return
        folder = self.path / "documents" / hash16(record.key.encode()).hex()
        name = f"{record.version.major:019}-{content_hash(record).hex()}{'' if record.body is not None else '.gone'}"
        value = [record.key, list(record.version), record.author, record.signature, record.body]
        with self._lock, on_disk(folder):
            if _holds(folder / name, value):
                return
            statefile.write(folder / name, value)
            for old in superfluous([file.name for file in folder.iterdir()], where.kind.kept):
                (folder / old).unlink(missing_ok=True)

    def _load_members(self, complaints: list[str]) -> list[Announcement]:
        for name, then in (("members", "the one before is used"), ("members.before", "")):
            try:
                value = statefile.read(self.path / name)
                if value is not None:
                    return _announcements(value)
            except (Damaged, StorageError) as error:
                complaints.append(_say(self.path / name, error, then))
        return []

    def _load_documents(self, saved: Saved) -> None:
        size = 0
        for folder in self._listed(self.path / "documents", saved.complaints):
            for file in self._listed(folder, saved.complaints):
                if size > RING_DOCUMENTS_BYTES:
                    saved.complaints.append(f"{self.path / 'documents'} holds more than a ring may: the rest of it is not read")
                    return
                try:
                    record = _document(statefile.read(file, most=RING_STATE_MAX), file)
                except Damaged as error:
                    saved.complaints.append(_say(file, error, "the last one before it that can be read is used"))
                    self._leave_out(file)
                except StorageError as error:
                    saved.complaints.append(_say(file, error, "it is left out"))
                else:
                    size += len(record.body or b"")
                    saved.documents.append(record)

    def _listed(self, folder: Path, complaints: list[str]) -> list[Path]:
        """What lies in a directory, by name, without what a crash or an earlier damage has left."""
        try:
            with on_disk(folder):
                try:
                    found = sorted(folder.iterdir())
                except FileNotFoundError:
                    return []
        except StorageError as error:
            complaints.append(_say(folder, error, "it is left out"))
            return []
        for left in [file for file in found if file.name.endswith(".tmp")]:
            self._remove(left)
        return [file for file in found if not file.name.startswith(".") and not file.name.endswith(".damaged")]

    @staticmethod
    def _leave_out(file: Path) -> None:
        """Complain about a damaged file once. Where it cannot be renamed it is named again at the next start."""
        try:
            with on_disk(file):
                file.rename(file.with_name(f"{file.name}.damaged"))
        except StorageError:
            pass

    @staticmethod
    def _remove(file: Path) -> None:
        try:
            with on_disk(file):
                file.unlink()
        except StorageError:
            pass


def superfluous(names: Iterable[str], kept: int) -> list[str]:
    """Of the files of one key those to remove: what is behind the `kept` greatest or behind a withdrawal, but for the last one before the
    current, which stays against damage."""
    files = sorted((name for name in names if not name.startswith(".") and not name.endswith(".damaged")), reverse=True)
    withdrawn = next((index + 1 for index, name in enumerate(files) if name.endswith(".gone")), kept)
    return files[max(2, min(kept, withdrawn)) :]


def _holds(file: Path, value: Any) -> bool:
    try:
        return bool(statefile.read(file, most=RING_STATE_MAX) == value)
    except (Damaged, StorageError):
        return False


# --- what a file's value must look like; else Damaged


def _seed(value: Any) -> bytes:
    if not isinstance(value, bytes) or len(value) != 32:
        raise Damaged("it holds no key")
    return value


def _count(value: Any, member: MemberId) -> int:
    match value:
        case [bytes(of), int(count)] if not isinstance(count, bool) and 0 <= count < RING_GENERATION_MAX:
            if of != member:
                raise Damaged(f"it counts the starts of another member, {of.hex()[:8]}")
            return count
        case _:
            raise Damaged("it holds no count")


def _announcements(value: Any) -> list[Announcement]:
    try:
        return [to_announcement(each) for each in value]
    except (Refused, TypeError):
        raise Damaged("it holds something that is no member") from None


def _document(value: Any, file: Path) -> Record:
    """The record of this file's name: a good file under another name is somebody's hand, or a bad disk's."""
    try:
        record = to_record(value)
    except Refused:
        raise Damaged("it holds no document") from None
    if file.parent.name != hash16(record.key.encode()).hex() or not file.name.startswith(f"{record.version.major:019}-"):
        raise Damaged("it holds another document than its name says")
    return record


def _say(file: Path, error: Damaged | StorageError, then: str = "") -> str:
    what = error.cause if isinstance(error, StorageError) else str(error)
    return f"{file} cannot be used: {what}" + (f"; {then}" if then else "")
