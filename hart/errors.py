"""Errors that a person can meet: the thing, the cause, the next command.

    SteadError                 1   anything below
    ├── UsageError             2   the command line: the caller's fault
    ├── InputError             3   a file or value is malformed: its author's fault
    │   ├── FormatError            artifact, key, metafile, ident, wire bytes
    │   ├── LimitError             a cap of hart/limits.py was passed
    │   ├── PlanError              plan.toml or plan.sh
    │   ├── TemplateError          a template: file, line and name
    │   └── ConfigError            configuration against its schema
    ├── TrustError             4   bytes are not what an authorised key signed: treat as an attack
    ├── NotFoundError          5   no such package, key, service, channel
    ├── ConflictError          6   it exists already with other content, or somebody else holds it
    ├── UnavailableError       7   depot, supervisor or network does not answer: may work later
    ├── DeniedError            8   token, role or permission
    ├── StorageError           9   disk full, read-only, I/O error
    ├── BuildError            10   a step of a build failed
    └── ServiceError          11   a service failed to start, to get ready or to stop

Exit code 12 is no error: something is not as it is wanted, and was left so (`apply --dry-run`, `verify`, `doctor`). 70 is a bug of ours,
130 an interrupt. Foreign exceptions are translated into these once, at the border where they arrive.
"""

from __future__ import annotations

EXIT_DIFFERS = 12
EXIT_BUG = 70


class SteadError(Exception):
    """`thing` is what the message is about, `cause` what is wrong with it, `next` the command or act that helps."""

    exit_code = 1

    def __init__(self, thing: str, cause: str, *, next: str = "", **data: object) -> None:  # noqa: A002  the field's word
        super().__init__(f"{thing}: {cause}")
        self.thing = thing
        self.cause = cause
        self.next = next
        self.data = data  # values for --json and for tests; never secrets


class UsageError(SteadError):
    exit_code = 2


class InputError(SteadError):
    exit_code = 3


class FormatError(InputError): ...


class LimitError(InputError): ...


class PlanError(InputError): ...


class TemplateError(InputError): ...


class ConfigError(InputError): ...


class TrustError(SteadError):
    exit_code = 4


class NotFoundError(SteadError):
    exit_code = 5


class ConflictError(SteadError):
    exit_code = 6


class UnavailableError(SteadError):
    exit_code = 7


class DeniedError(SteadError):
    exit_code = 8


class StorageError(SteadError):
    exit_code = 9


class BuildError(SteadError):
    exit_code = 10


class ServiceError(SteadError):
    exit_code = 11
