"""The registry: one record on disk for each held process, written before the process may begin.

Rules: a record is replaced whole (temporary, rename), so a reader sees the old or the new one. That of a start is on disk (fsync of file
and directory) before the process begins; ends and removals outlive us without that, and mean nothing after another boot. A record
that cannot be read is moved aside and said; one of a newer format is refused, since dropping it could start a second copy. Fields that
this holder does not know survive a rewrite. Not here: whether a record's process still lives (`process.py`).

The writer is not `hart.files`: that needs hashlib, and with it a megabyte of OpenSSL in the one process that must stay small.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from hart.limits import LOG_KEEP, LOG_RATE
from supervisor.holder.protocol import SERVICE, Held, to_dict, to_held

FORMAT = 1
KNOWN = ("format", "log", "log_rate", "log_keep", "notify", "ready_pipe", "uid", "argv", "groups", "held")


class NewerRecordError(Exception):
    """Written by a newer holder in a format that this one cannot keep."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One held process: who it is, where its log goes, what it runs, its cgroup; `extra` holds what a newer holder added."""

    held: Held
    log: str | None
    argv: list[str]
    log_rate: int = LOG_RATE
    log_keep: int = LOG_KEEP
    groups: list[str] = field(default_factory=list)  # directories of its cgroup
    notify: str | None = None  # path of its notify socket
    ready_pipe: str | None = None  # path of the pipe behind its readiness descriptor
    uid: int | None = None  # whose notifications count; None: the holder's own
    extra: dict[str, Any] = field(default_factory=dict)


def encode_record(record: Record) -> bytes:
    log = {"log": record.log, "log_rate": record.log_rate, "log_keep": record.log_keep}
    ready = {"notify": record.notify, "ready_pipe": record.ready_pipe, "uid": record.uid}
    own = {**log, **ready, "argv": record.argv, "groups": record.groups, "held": to_dict(record.held)}
    data = {**record.extra, "format": FORMAT, **own}
    return json.dumps(data, indent=1).encode() + b"\n"


def decode_record(data: bytes) -> Record:
    """ValueError when it is no record, NewerRecordError when it is one of a newer format."""
    try:
        value = json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(value, dict) or type(value.get("format")) is not int:
        raise ValueError("not a record")
    if value["format"] > FORMAT:
        raise NewerRecordError(f"has format {value['format']}, and this holder knows {FORMAT}")
    log, argv = value.get("log"), value.get("argv")
    if not (log is None or isinstance(log, str)) or not isinstance(argv, list) or not all(isinstance(part, str) for part in argv):
        raise ValueError("log or argv of a wrong shape")
    rate, keep = value.get("log_rate", LOG_RATE), value.get("log_keep", LOG_KEEP)  # absent: an older holder's record
    if type(rate) is not int or type(keep) is not int or rate < 0 or keep < 0:
        raise ValueError("log_rate or log_keep of a wrong shape")
    groups = value.get("groups", [])
    if not isinstance(groups, list) or not all(isinstance(path, str) and path.startswith("/") for path in groups):
        raise ValueError("groups of a wrong shape")
    notify, ready_pipe, uid = value.get("notify"), value.get("ready_pipe"), value.get("uid")
    if not all(path is None or (isinstance(path, str) and path.startswith("/")) for path in (notify, ready_pipe)):
        raise ValueError("notify or ready_pipe of a wrong shape")
    if uid is not None and (type(uid) is not int or uid < 0):
        raise ValueError("uid of a wrong shape")
    return Record(
        held=to_held(value.get("held")),
        log=log,
        log_rate=rate,
        log_keep=keep,
        groups=groups,
        notify=notify,
        ready_pipe=ready_pipe,
        uid=uid,
        argv=argv,
        extra={name: value[name] for name in value if name not in KNOWN},
    )


class Registry:
    """Records under `<state>/held/`, and the supervisor's own in `<state>/supervisor.json`."""

    def __init__(self, state: str) -> None:
        self._directory = f"{state}/held"
        self._supervisor = f"{state}/supervisor.json"
        os.makedirs(self._directory, mode=0o700, exist_ok=True)  # noqa: PTH103  pathlib is memory that we save

    def load(self) -> tuple[dict[str, Record], list[str]]:
        """The records by service, and what there is to say about unreadable ones."""
        records, complaints = {}, []
        for name in sorted(os.listdir(self._directory)):  # noqa: PTH208  as above
            service = name.removesuffix(".json")
            if service == name or not SERVICE.match(service):
                continue
            record, complaint = self._load(f"{self._directory}/{name}")
            if record is not None and record.held.service != service:
                complaint, record = self._set_aside(f"{self._directory}/{name}", "is another service's record"), None
            if record is not None:
                records[service] = record
            if complaint:
                complaints.append(complaint)
        return records, complaints

    def check(self) -> None:
        """NewerRecordError when there is a record that this program could not keep. Changes nothing."""
        for name in os.listdir(self._directory):  # noqa: PTH208  as above
            with suppress(ValueError, FileNotFoundError), open(f"{self._directory}/{name}", "rb") as file:
                decode_record(file.read())

    def load_supervisor(self) -> tuple[Record | None, str]:
        return self._load(self._supervisor)

    def save(self, record: Record, *, durable: bool = True) -> None:
        """OSError when it is not on disk: then nothing may be started. Not `durable`: it outlives us, but need not the machine."""
        _write(f"{self._directory}/{record.held.service}.json", encode_record(record), durable=durable)

    def save_supervisor(self, record: Record) -> None:
        """Where no new file can be made the old one is written over: a full disk is no reason to be without a supervisor."""
        try:
            _write(self._supervisor, encode_record(record))
        except OSError as error:
            if not _write_over(self._supervisor, encode_record(record)):
                raise error from None

    def drop(self, service: str) -> None:
        _remove(f"{self._directory}/{service}.json")

    def drop_supervisor(self) -> None:
        _remove(self._supervisor)

    def _load(self, path: str) -> tuple[Record | None, str]:
        try:
            with open(path, "rb") as file:
                return decode_record(file.read()), ""
        except FileNotFoundError:
            return None, ""
        except ValueError as error:
            return None, self._set_aside(path, str(error))
        except NewerRecordError as error:
            raise NewerRecordError(f"{path}: {error}") from error

    def _set_aside(self, path: str, why: str) -> str:
        number = 1
        while os.path.lexists(aside := f"{path}.corrupt-{number}"):
            number += 1
        os.rename(path, aside)  # noqa: PTH104  as above
        return f"{path}: {why}; moved aside as {aside}"


def as_ended(record: Record, *, code: int | None = None, signal: int | None = None, cause: str = "") -> Record:
    """The record of the same process after its end; without code and signal the end is unknown."""
    unknown = code is None and signal is None
    return replace(record, held=replace(record.held, running=False, code=code, signal=signal, unknown=unknown, cause=cause))


def as_ready(record: Record) -> Record:
    """The record of the same process after it said that it is ready."""
    return replace(record, held=replace(record.held, ready=True))


def as_adopted(record: Record) -> Record:
    """The record of a process that an earlier holder had started."""
    return replace(record, held=replace(record.held, adopted=True))


def _write(path: str, data: bytes, *, durable: bool = True) -> None:
    temporary = f"{path}.tmp"  # one writer: the holder under its lock
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with open(fd, "wb", closefd=False) as file:
            file.write(data)
        if durable:
            os.fsync(fd)
    finally:
        os.close(fd)
    os.rename(temporary, path)  # noqa: PTH104  as above
    if durable:
        _sync_directory(path)


def _write_over(path: str, data: bytes) -> bool:
    """Into the room that the file has. A loss of power may tear it, but then nothing that it says is true any more: another boot."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            whole = data.ljust(os.fstat(fd).st_size)  # one write: nobody reads half of it
            written = os.write(fd, whole)
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError:
        return False
    return written == len(whole)


def _remove(path: str) -> None:
    """A loss of power may bring it back, of another boot then: such a record names nobody."""
    with suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108  as above


def _sync_directory(path: str) -> None:
    fd = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # noqa: PTH120  as above
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
