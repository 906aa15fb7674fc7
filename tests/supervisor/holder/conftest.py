"""Fixtures of the holder's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from tests.supervisor.holder.stand import Stand


@pytest_asyncio.fixture
async def stand(tmp_path: Path) -> AsyncIterator[Stand]:
    here = Stand(tmp_path)
    yield here
    await here.clear()
