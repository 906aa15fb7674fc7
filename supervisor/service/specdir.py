"""The directory of spec files: the desired state on disk (reference: supervisor 2.1).

Rules: `<name>.spec` is called after the name that it gives, else after its package; another one is reported and left alone. Nothing here
ever deletes a spec except `remove`. A name whose file cannot be read, or is no file, keeps what was wanted before: half-written by hand is
not "unload".
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from hart.errors import FormatError, InputError, LimitError, NotFoundError
from hart.files import fsync_dir, make_dirs, storage, write_atomic
from hart.limits import SERVICES_MAX, SPEC_MAX
from supervisor.service.spec import ServiceSpec

SUFFIX = ".spec"


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at the directory: specs and complaints by name. A name with a complaint is wanted as it was before."""

    specs: dict[str, ServiceSpec] = field(default_factory=dict)
    complaints: dict[str, str] = field(default_factory=dict)


class SpecDir:
    """`<root>/sup/default/specs`. `look` costs a listing when nothing has changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, tuple[tuple[int, int, int] | None, ServiceSpec | str]] = {}

    def look(self) -> Seen:
        """Read what has changed since the last look."""
        seen, known = Seen(), self._known
        self._known = {}
        for number, file in enumerate(self._files()):
            name = file.name.removesuffix(SUFFIX)
            if number >= SERVICES_MAX:
                seen.complaints[name] = f"{file}: a host has no more than {SERVICES_MAX} services"
                continue
            mark = _mark(file)
            before = known.get(name)
            result = before[1] if before is not None and mark is not None and before[0] == mark else self._parsed(file)
            if result is None:
                continue
            self._known[name] = (mark, result)
            if isinstance(result, ServiceSpec):
                seen.specs[name] = result
            else:
                seen.complaints[name] = result
        return seen

    def _files(self) -> list[Path]:
        with storage(self.path):
            try:
                return sorted(file for file in self.path.iterdir() if file.suffix == SUFFIX and not file.name.startswith("."))
            except FileNotFoundError:
                return []

    def _parsed(self, file: Path) -> ServiceSpec | str | None:
        """The spec, or what is wrong with it; None when it is gone by now."""
        try:
            return self._read(file)
        except InputError as error:
            return f"{error.thing}: {error.cause}"
        except OSError as error:
            return f"{file}: {error.strerror}" if os.path.lexists(file) else None

    def _read(self, file: Path) -> ServiceSpec:
        fd = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe must not be waited for
        with os.fdopen(fd, "rb") as source:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise FormatError(str(file), "is not a file")
            raw = source.read(SPEC_MAX + 1)
        if len(raw) > SPEC_MAX:
            raise LimitError(str(file), f"is larger than {SPEC_MAX} bytes")
        try:
            spec = ServiceSpec.parse(raw.decode(), thing=str(file))
        except UnicodeDecodeError:
            raise FormatError(str(file), "is not UTF-8 text") from None
        if spec.name != file.name.removesuffix(SUFFIX):
            whose = f"another service than {spec.name}" if spec.instance else f"another package than {spec.ident}"
            raise FormatError(str(file), f"is called after {whose}", next=f"call it {spec.name}{SUFFIX}")
        return spec

    def get(self, name: str) -> ServiceSpec | None:
        """One spec as it is on disk now; FormatError when it cannot be read."""
        file = self.path / f"{name}{SUFFIX}"
        with storage(file):
            try:
                return self._read(file)
            except FileNotFoundError:
                return None
            except InputError as error:
                raise FormatError(error.thing, error.cause, next=error.next or f"mend it, or forget it: stead svc unload {name}") from None

    def need(self, name: str) -> ServiceSpec:
        spec = self.get(name)
        if spec is None:
            instances = sorted(each.name for each in self.look().specs.values() if each.ident.name == name)
            as_others = f"; services that run this package: {', '.join(instances)}" if instances else ""
            raise NotFoundError(f"service {name}", f"is not loaded{as_others}", next="see what is: stead svc status")
        return spec

    def write(self, spec: ServiceSpec) -> None:
        make_dirs(self.path)
        write_atomic(self.path / f"{spec.name}{SUFFIX}", spec.render().encode())

    def remove(self, name: str) -> None:
        with storage(self.path):
            (self.path / f"{name}{SUFFIX}").unlink(missing_ok=True)
            fsync_dir(self.path)


def _mark(file: Path) -> tuple[int, int, int] | None:
    """What changes when a file does; None when it cannot be seen, and then it is looked at each time."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
