"""Files of groups: names that come from the network, and what they may be."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart.errors import InputError, LimitError
from hart.limits import GROUP_FILE_MAX, GROUP_FILE_NAME, RING_FILE_MAX
from hart.wire import encode
from supervisor.gossip.kinds import place
from supervisor.ringfiles import NAME, RingFile, RingFiles, key_of, prefix_of, read, safe_name
from tests.supervisor.ringside import WEB, config, put, shelf

ATTACKS = {
    "the parent": "..",
    "climbing": "../../etc/cron.d/x",
    "climbing late": "a/../../b",
    "absolute": "/etc/passwd",
    "a directory": "a/b",
    "a directory's end": "a/",
    "empty": "",
    "here": ".",
    "hidden": ".bashrc",
    "a NUL": "a\0b",
    "a NUL at the end": "tls.crt\0",
    "a newline": "a\nb",
    "a newline at the end": "a\n",
    "a control character": "a\x1b[2J",
    "a delete": "a\x7f",
    "another system's separator": "a\\b",
    "a drive": "c:x",
    "an option of a shell's tools": "-rf",
    "a blank": "a b",
    "a shell's words": "$(reboot)",
    "another alphabet's look-alike": "tls\u2024crt",
    "a fullwidth slash": "a\uff0fb",
    "text that turns around": "a\u202eb",
    "no text at all": "a\udcff",
    "a home": "~/x",
    "longer than the ring's keys": "a" * (GROUP_FILE_NAME + 1),
    "longer than a disk takes": "a" * 256,
}


@pytest.mark.parametrize("name", ATTACKS.values(), ids=ATTACKS.keys())
def test_a_name_that_is_more_than_a_name_is_refused(name: str) -> None:
    """W28: by whoever sends it."""
    with pytest.raises(InputError):
        safe_name(name)


@pytest.mark.parametrize("name", ["tls.crt", "a", "A-B_c+d@e~", "a..b", "x.", "~", "a" * GROUP_FILE_NAME, "README", "readme"])
def test_plain_names_are_left_as_they_are(name: str) -> None:
    """Names that differ in case are different files."""
    assert safe_name(name) == name
    assert place(key_of(WEB, name)) is not None, "the ring takes it"


@given(st.text(max_size=12) | st.text("./\\-~ a\0", max_size=8))
def test_a_name_that_is_taken_stays_in_its_directory(name: str) -> None:
    try:
        safe_name(name)
    except InputError:
        return
    below = PurePosixPath("/svc/web/files") / name
    assert below.parent == PurePosixPath("/svc/web/files")
    assert (below.name, name.isprintable(), name.isascii()) == (name, True, True)


@pytest.mark.parametrize("name", ATTACKS.values(), ids=ATTACKS.keys())
def test_a_name_from_the_ring_is_refused_again(name: str) -> None:
    """W28: by whoever writes the file, whatever was checked before."""
    record = put(shelf(), key_of(WEB, "x"), RingFile(name="x", revision=1, data=b"data").body())
    with pytest.raises(InputError):
        read(record._replace(key=f"{prefix_of(WEB)}{name}"))


@pytest.mark.parametrize(
    "body",
    [b"", b"\xc1", encode(7), encode({}), encode({"data": "text"}), encode({"data": bytes(GROUP_FILE_MAX + 1)}), bytes(RING_FILE_MAX + 1)],
)
def test_a_body_of_another_kind_is_refused(body: bytes) -> None:
    record = put(shelf(), key_of(WEB, "x"), b"")
    with pytest.raises(InputError):
        read(record._replace(body=body))


def test_the_largest_file_fits_a_record_with_its_envelope() -> None:
    assert len(RingFile(name="x", revision=1, data=bytes(GROUP_FILE_MAX), by="ü" * 300, at=1e10).body()) <= RING_FILE_MAX
    with pytest.raises(LimitError):
        RingFile(name="x", revision=1, data=bytes(GROUP_FILE_MAX + 1)).body()


def test_a_groups_files_are_those_of_the_ring() -> None:
    records = shelf()
    files = RingFiles(records)
    assert (files.files(WEB), files.revision(WEB, "b"), dict(files.records(WEB))) == (([], []), 0, {})
    for name in ("b", "a"):
        put(records, key_of(WEB, name), RingFile(name=name, revision=1, data=name.encode(), by="ann", at=2.5).body())
    config(records, "x = 1\n")
    found, troubles = files.files(WEB)
    assert [(file.name, file.data, file.revision, file.by, file.at) for file in found] == [
        ("a", b"a", 1, "ann", 2.5),
        ("b", b"b", 1, "ann", 2.5),
    ]
    assert troubles == []
    before = files.records(WEB)
    config(records, "x = 2\n")
    assert files.records(WEB) == before, "nothing of its files has changed"
    put(records, key_of(WEB, "b"), None)
    assert (list(files.records(WEB)), files.revision(WEB, "b")) == (["a"], 2)


def test_one_bad_file_does_not_keep_the_others_away() -> None:
    records = shelf()
    put(records, key_of(WEB, "bad"), b"\xc1")
    put(records, key_of(WEB, "good"), RingFile(name="good", revision=1, data=b"").body())
    found, troubles = RingFiles(records).files(WEB)
    assert [file.name for file in found] == ["good"]
    assert len(troubles) == 1
    assert "file/bad" in troubles[0]


@given(st.from_regex(NAME, fullmatch=True))
def test_every_plain_name_of_a_fit_length_is_one_that_the_ring_takes(name: str) -> None:
    """Both rules are written down once each; this holds them together."""
    assert (place(f"{prefix_of(WEB)}{name}") is not None) is (len(name) <= GROUP_FILE_NAME)
