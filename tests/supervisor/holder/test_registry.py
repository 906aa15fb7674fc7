"""Records on disk: whole or old, never half; what cannot be read is kept aside."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.holder.protocol import Held
from supervisor.holder.registry import NewerRecordError, Record, Registry, as_adopted, as_ended, as_ready, decode_record, encode_record

HELD = Held(service="web", start_id="ab", pid=7, boot_id="b", start_time=9, started_at=1.5, running=True)
RECORD = Record(held=HELD, log="/var/web.log", argv=["/bin/web"], groups=["/sys/fs/cgroup/pids/stead-1/web.1"])


def test_a_saved_record_is_loaded_and_a_dropped_one_is_not(tmp_path: Path) -> None:
    """Save, load, drop; dropping twice is no error."""
    registry = Registry(str(tmp_path))
    registry.save(RECORD)
    registry.save_supervisor(RECORD)
    assert Registry(str(tmp_path)).load() == ({"web": RECORD}, [])
    assert registry.load_supervisor() == (RECORD, "")
    for _ in range(2):
        registry.drop("web")
        registry.drop_supervisor()
    assert registry.load() == ({}, [])
    assert registry.load_supervisor() == (None, "")


def test_fields_of_a_newer_holder_survive_a_rewrite(tmp_path: Path) -> None:
    """S62: an older holder in between loses nothing of a newer one's record."""
    data = {**json.loads(encode_record(RECORD)), "colour": "blue"}
    record = decode_record(json.dumps(data).encode())
    registry = Registry(str(tmp_path))
    registry.save(as_ended(record, code=3))
    saved = json.loads((tmp_path / "held" / "web.json").read_bytes())
    assert (saved["colour"], saved["held"]["code"], saved["held"]["running"]) == ("blue", 3, False)


def test_readiness_is_kept_and_an_older_holders_record_has_none(tmp_path: Path) -> None:
    """Where its end is, whose word counts, and that it was given."""
    record = as_ready(replace(RECORD, notify="/run/n", ready_pipe="/log.ready", uid=7))
    assert decode_record(encode_record(record)) == record
    old = json.loads(encode_record(RECORD))
    for name in ("notify", "ready_pipe", "uid"):
        del old[name]
    del old["held"]["ready"]
    assert decode_record(json.dumps(old).encode()) == RECORD
    for bad in ({"notify": "n"}, {"ready_pipe": 1}, {"uid": -1}, {"uid": True}):
        with pytest.raises(ValueError, match="wrong shape"):
            decode_record(json.dumps(old | bad).encode())


def test_a_record_of_a_newer_format_is_refused_with_its_path(tmp_path: Path) -> None:
    """Dropping it could start a second copy of what it holds."""
    registry = Registry(str(tmp_path))
    (tmp_path / "held" / "web.json").write_text('{"format": 2}')
    with pytest.raises(NewerRecordError, match=r"web\.json: has format 2"):
        registry.load()
    assert (tmp_path / "held" / "web.json").exists()


@pytest.mark.parametrize("content", [b"", b"\0" * 300, b"[]", b'{"format": 1}', b"[" * 200_000, encode_record(RECORD)[:-20]])
def test_a_corrupt_record_is_moved_aside_and_said(tmp_path: Path, content: bytes) -> None:
    """Never a crash loop; the bytes stay for a person, also the second time."""
    registry = Registry(str(tmp_path))
    for number in (1, 2):
        (tmp_path / "held" / "web.json").write_bytes(content)
        records, complaints = registry.load()
        assert records == {}
        assert len(complaints) == 1
        assert (tmp_path / "held" / f"web.json.corrupt-{number}").read_bytes() == content


def test_a_record_under_another_services_name_is_corrupt(tmp_path: Path) -> None:
    """A copied file must not make one process two services."""
    registry = Registry(str(tmp_path))
    (tmp_path / "held" / "api.json").write_bytes(encode_record(RECORD))
    records, complaints = registry.load()
    assert records == {}
    assert "another service's" in complaints[0]


def test_what_a_crash_leaves_of_a_write_is_no_record(tmp_path: Path) -> None:
    """The temporary beside a record is neither read nor in the way."""
    registry = Registry(str(tmp_path))
    registry.save(RECORD)
    (tmp_path / "held" / "web.json.tmp").write_bytes(b'{"form')
    assert registry.load() == ({"web": RECORD}, [])
    registry.save(as_adopted(RECORD))
    assert registry.load()[0]["web"].held.adopted


def test_the_supervisors_record_needs_no_room_where_one_was_before(tmp_path: Path) -> None:
    """On a full disk a new supervisor is started, and recorded in the place of the one before; the first one has no place yet."""
    registry = Registry(str(tmp_path))
    (tmp_path / "supervisor.json.tmp").mkdir()  # no new file can be made
    with pytest.raises(OSError, match="directory"):
        registry.save_supervisor(RECORD)
    (tmp_path / "supervisor.json.tmp").rmdir()
    registry.save_supervisor(replace(RECORD, argv=["/bin/web", "--long", "x" * 500]))
    (tmp_path / "supervisor.json.tmp").mkdir()
    registry.save_supervisor(RECORD)
    assert registry.load_supervisor() == (RECORD, "")


@given(st.binary(max_size=100) | st.integers(0, len(encode_record(RECORD))).map(lambda cut: encode_record(RECORD)[:cut]))
def test_arbitrary_bytes_are_a_record_or_one_of_two_errors(data: bytes) -> None:
    """Nothing else may come out."""
    try:
        decode_record(data)
    except (ValueError, NewerRecordError):
        return
    assert data.strip() == encode_record(RECORD).strip()


def test_an_end_without_code_and_signal_is_unknown() -> None:
    """An adopted process's status went to init."""
    assert as_ended(RECORD).held.unknown
    assert not as_ended(RECORD, signal=9).held.unknown
