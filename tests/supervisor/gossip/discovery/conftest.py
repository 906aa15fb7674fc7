"""Each test asks the name servers anew."""

from __future__ import annotations

import pytest

from supervisor.gossip.discovery import names


@pytest.fixture(autouse=True)
def nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that another test's resolver never answers are still waited for: a thread cannot be ended."""
    monkeypatch.setattr(names, "_asking", {})
