"""What the supervisor remembers of a service between its own lives: `<root>/sup/default/running/<name>.toml`, mode 0600.

Rules: the release is written before a process is asked for, the process's start id after: a start id that is not recorded belongs to the
recorded release, and is not ready. `applied` is what that process was started or reconfigured with, with version `revision` of its group's
configuration. `spec` is the spec that is carried out, for a supervisor that finds its file broken. A record that cannot be read is put
aside and reported; the service is then treated as new, and the holder still knows what runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hart.errors import InputError
from hart.files import make_dirs, storage, write_atomic
from hart.ident import Ident
from hart.toml import dumps, loads
from supervisor.service.update import Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """`start_id` and `release` are of the process that was started last; `choice` is what the next start takes."""

    choice: Choice | None = None
    release: Ident | None = None
    start_id: str = ""
    was_ready: bool = False
    serving: bool = False  # what others were last told
    applied: Mapping[str, str] = field(default_factory=dict)
    spec: str = ""
    rendered: tuple[str, ...] = ()  # paths that we have written below the service directory
    revision: int = 0
    files: Mapping[str, str] = field(default_factory=dict)  # digests of the group's files that we have written, by name

    def render(self) -> str:
        choice = self.choice
        table: dict[str, Any] = {
            "release": self.release,
            "start_id": self.start_id,
            "was_ready": self.was_ready,
            "serving": self.serving,
            "spec": self.spec,
            "choice": choice and choice.release,
            "base": choice and choice.base,
            "quarantined": choice and choice.quarantined,
        }
        text = {key: str(value) if isinstance(value, Ident) else value for key, value in table.items() if value is not None}
        return dumps(
            {**text, "rendered": list(self.rendered), "revision": self.revision, "files": dict(self.files), "applied": dict(self.applied)}
        )

    @classmethod
    def parse(cls, text: str, *, thing: str) -> Running:
        table = loads(text, thing=thing)
        idents = {key: Ident.parse_full(str(table[key])) for key in ("release", "choice", "base", "quarantined") if key in table}
        choice = (
            Choice(release=idents["choice"], base=idents.get("base"), quarantined=idents.get("quarantined")) if "choice" in idents else None
        )
        return cls(
            choice=choice,
            release=idents.get("release"),
            start_id=str(table.get("start_id", "")),
            was_ready=table.get("was_ready") is True,
            serving=table.get("serving") is True,
            applied={str(path): str(digest) for path, digest in dict(table.get("applied", {})).items()},
            spec=str(table.get("spec", "")),
            rendered=tuple(str(path) for path in table.get("rendered", [])),
            revision=int(table.get("revision", 0)),
            files={str(name): str(digest) for name, digest in dict(table.get("files", {})).items()},
        )


def read(directory: Path, name: str) -> Running:
    """The record; an empty one when there is none, or when it cannot be read (it is then put aside as `.broken`)."""
    path = directory / f"{name}.toml"
    with storage(path):
        try:
            text = path.read_text()
        except FileNotFoundError:
            return Running()
        except UnicodeDecodeError:
            text = "\x00"
    try:
        return Running.parse(text, thing=str(path))
    except (InputError, TypeError, ValueError):
        path.replace(path.with_suffix(".broken"))
        return Running()


def write(directory: Path, name: str, running: Running, *, durable: bool = True) -> None:
    make_dirs(directory, mode=0o700)
    write_atomic(directory / f"{name}.toml", running.render().encode(), mode=0o600, durable=durable)


def forget(directory: Path, name: str) -> None:
    with storage(directory):
        (directory / f"{name}.toml").unlink(missing_ok=True)
