"""Which rotated files there are, and which go."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.holder.rotation import number_of, prune, rotate, rotated, surplus


@pytest.mark.parametrize(
    ("sizes", "keep", "files", "gone"),
    [
        ([], 0, 9, 0),
        ([5, 5, 5], 15, 9, 0),
        ([5, 5, 5], 14, 9, 1),
        ([1, 9, 1], 9, 9, 2),
        ([5, 5, 5], 4, 9, 3),
        ([0, 0, 0, 0], 0, 9, 0),
        ([1, 1, 1, 1], 99, 3, 1),
        ([9, 1, 1, 1], 3, 2, 2),
    ],
)
def test_the_oldest_go_until_bytes_and_files_are_within_their_bounds(sizes: list[int], keep: int, files: int, gone: int) -> None:
    assert surplus(sizes, keep, files) == gone


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("run.log.1", 1),
        ("run.log.10.gz", 10),
        ("run.log", None),
        ("run.log.fifo", None),
        ("run.log.1.gz.tmp", None),
        ("run.log.-1", None),
        ("run.log.²", None),
        ("run.log.", None),
        ("init.log.1", None),
        ("run.log." + "9" * 30, None),
    ],
)
def test_only_numbered_files_of_the_log_are_its_rotated_ones(name: str, number: int | None) -> None:
    """A pipe, half-packed files, other logs and what people put there are left alone."""
    assert number_of(name, "run.log") == number


def test_numbers_go_up_and_packed_files_count(tmp_path: Path) -> None:
    """Ten is newer than nine, and a file that is rotated never takes the name of a packed one."""
    log = tmp_path / "run.log"
    for name in ("run.log.9", "run.log.10.gz"):
        (tmp_path / name).write_text("x")
    log.write_text("now")
    rotate(str(log), 1000)
    assert [(number, Path(path).name) for number, path in rotated(str(log))] == [
        (9, "run.log.9"),
        (10, "run.log.10.gz"),
        (11, "run.log.11"),
    ]
    rotate(str(log), 1000)  # somebody removed the log: nothing to rename
    prune(str(log), 4)
    assert [number for number, _ in rotated(str(log))] == [10, 11]
