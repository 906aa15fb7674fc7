"""The newest configuration document that a release can take."""

from __future__ import annotations

import pytest

from hart.errors import ConfigError, ServiceError, TemplateError
from supervisor.groups import Document
from supervisor.service.fallback import newest_taken

DOCUMENTS = [Document(7, "seven"), Document(6, "six"), Document(2, "two"), None]
SAID = "version 7 of its configuration is not in force, {}: configuration of web.default: does not like 7"


def refusing(*bad: int | None) -> object:
    def attempt(document: Document | None) -> str:
        number = document.version if document is not None else None
        if number in bad:
            raise (TemplateError if number == 6 else ConfigError)("configuration of web.default", f"does not like {number}")
        return f"runs with {number}"

    return attempt


@pytest.mark.parametrize(
    ("bad", "result", "in_force", "refused"),
    [
        ((), "runs with 7", 7, ""),
        (
            (7,),
            "runs with 6",
            6,
            SAID.format("version 6 is"),
        ),
        (
            (7, 6),
            "runs with 2",
            2,
            SAID.format("version 2 is"),
        ),
        (
            (7, 6, 2),
            "runs with None",
            0,
            SAID.format("none is"),
        ),
    ],
)
def test_the_newest_that_fits_is_taken_and_why_no_newer_one(bad: tuple[int, ...], result: str, in_force: int, refused: str) -> None:
    taken = newest_taken(DOCUMENTS, refusing(*bad))  # type: ignore[arg-type]
    assert (taken.result, taken.in_force, taken.newest, taken.refused) == (result, in_force, 7, refused)


def test_where_none_fits_the_newest_ones_fault_is_told() -> None:
    with pytest.raises(ConfigError, match="does not like 7"):
        newest_taken(DOCUMENTS, refusing(7, 6, 2, None))  # type: ignore[arg-type]


def test_what_is_nobodys_fault_here_ends_the_search() -> None:
    """A bind that is missing is not a reason to run with an older configuration."""
    tried = []

    def attempt(document: Document | None) -> None:
        tried.append(document)
        raise ServiceError("service web", "waits for bind redis")

    with pytest.raises(ServiceError):
        newest_taken(DOCUMENTS, attempt)
    assert tried == DOCUMENTS[:1]
