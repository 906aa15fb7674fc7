"""What is kept of the last start that failed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from hart.limits import FAILED_START_MAX
from supervisor.service.failed_start import excerpt, keep

BEGAN = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC).timestamp()
OLD, NEW = b"2026-01-31T11:59:59.999Z ", b"2026-01-31T12:00:00.001Z "


def test_only_what_that_start_said_is_taken() -> None:
    data = OLD + b"before\nmore\n" + NEW + b"begun\nits rest\n" + NEW + b"end"
    assert excerpt(data, NEW.decode().strip(), cut=False) == NEW + b"begun\nits rest\n" + NEW + b"end"
    assert excerpt(OLD + b"before\n", NEW.decode().strip(), cut=False) == b""
    assert excerpt(NEW + b"a part\n" + NEW + b"whole\n", NEW.decode().strip(), cut=True) == NEW + b"whole\n"


def test_a_start_that_said_too_much_is_kept_from_its_end(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_bytes(OLD + b"before\n" + NEW + b"first\n")
    keep(tmp_path, "run", began=BEGAN, at=BEGAN + 1, release="t/web/1/2", because="exited with code 3")
    lines = (tmp_path / "failed.log").read_bytes().splitlines()
    assert lines == [b"2026-01-31T12:00:01.000Z # t/web/1/2: exited with code 3", NEW + b"first"]
    log.write_bytes((NEW + b"x" * 1000 + b"\n") * 1000)
    keep(tmp_path, "run", began=BEGAN, at=BEGAN + 1, release="t/web/1/2", because="killed")
    kept = (tmp_path / "failed.log").read_bytes()
    assert b"killed; the last 64 KiB" in kept.splitlines()[0]
    assert len(kept) < FAILED_START_MAX + 200
    assert all(line.startswith(NEW) for line in kept.splitlines()[1:])


def test_a_start_that_said_nothing_still_has_how_it_ended(tmp_path: Path) -> None:
    keep(tmp_path, "run", began=BEGAN, at=BEGAN, release="t/web/1/2", because="could not be started")
    assert (tmp_path / "failed.log").read_text().endswith("# t/web/1/2: could not be started\n")
    keep(tmp_path / "none", "run", began=BEGAN, at=BEGAN, release="t/web/1/2", because="no directory")
