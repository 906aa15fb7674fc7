"""The newest configuration document that a release can take. Pure.

Rules: a newer document that does not fit is never a reason not to run: the one before it is, then the one before that (habitat-supervisor
W23, where one bad document stops a group for ever). Which one is in force, and why no newer one, is always said. Only what is wrong with
configuration or templates counts; a bind that is missing, or a disk that refuses, is nobody's fault here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from hart.errors import InputError
from supervisor.groups import NONE_YET, Document

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Taken(Generic[T]):
    """`result` is what `attempt` made of `document`; `refused` says why the newest one is not it, or is empty."""

    result: T
    document: Document | None
    newest: int
    refused: str = ""

    @property
    def in_force(self) -> int:
        return self.document.version if self.document is not None else NONE_YET


def newest_taken(candidates: Sequence[Document | None], attempt: Callable[[Document | None], T]) -> Taken[T]:
    """Try one after the other; where none can be taken, what is wrong with the first is raised."""
    assert candidates
    first, newest = None, candidates[0].version if candidates[0] is not None else NONE_YET
    for document in candidates:
        try:
            result = attempt(document)
        except InputError as error:
            first = first or error
        else:
            return Taken(result, document, newest, told(newest, document, first) if first is not None else "")
    assert first is not None
    raise first


def told(newest: int, document: Document | None, error: InputError) -> str:
    """Which one is in force and why."""
    instead = f"version {document.version} is" if document is not None else "none is"
    return f"version {newest} of its configuration is not in force, {instead}: {error}"
