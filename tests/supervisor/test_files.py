"""What the supervisor keeps on disk: records of services, specs, journal, settings."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart.errors import FormatError, UsageError
from hart.ident import Ident
from hart.limits import JOURNAL_MAX, SERVICES_MAX
from hart.root import Root
from supervisor import settings
from supervisor.journal import Journal
from supervisor.service import running
from supervisor.service.backoff import Backoff
from supervisor.service.running import Running
from supervisor.service.spec import ServiceSpec
from supervisor.service.specdir import SpecDir
from supervisor.service.update import Choice
from supervisor.settings import Settings

RELEASES = st.builds(lambda number: Ident("t", "web", "1.0", f"{number:014}"), st.integers(0, 99))
RECORDS = st.builds(
    Running,
    choice=st.none() | st.builds(Choice, release=RELEASES, base=st.none() | RELEASES, quarantined=st.none() | RELEASES),
    release=st.none() | RELEASES,
    start_id=st.text("abc123", max_size=8),
    was_ready=st.booleans(),
    serving=st.booleans(),
    applied=st.dictionaries(st.sampled_from(["config/a.b c", "hooks/run", 'config/"x"']), st.text("0f", max_size=4)),
    rendered=st.lists(st.text(max_size=5), max_size=3).map(tuple),
    spec=st.text(max_size=20),
    revision=st.integers(0, 1 << 62),
    files=st.dictionaries(st.sampled_from(["tls.crt", "a b"]), st.text("0f", max_size=4)),
)


@given(RECORDS)
def test_a_record_is_read_back_as_it_was_written(record: Running) -> None:
    if record.choice is None or record.choice.release:
        assert Running.parse(record.render(), thing="it") == record


@pytest.mark.parametrize("content", [b"\xff", b"choice = 7", b"[", b'release = "x"', b"applied = 3"])
def test_a_broken_record_is_put_aside(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "web.toml").write_bytes(content)
    assert running.read(tmp_path, "web") == Running()
    assert (tmp_path / "web.broken").read_bytes() == content


def test_specs_are_read_again_only_when_they_change(tmp_path: Path) -> None:
    """A broken file is a complaint, not an unload; others are not concerned."""
    specs = SpecDir(tmp_path / "specs")
    assert specs.look().specs == {}
    spec = ServiceSpec(ident=Ident("t", "web"))
    specs.write(spec)
    assert specs.look().specs == {"web": spec}
    assert specs.look().specs["web"] is specs.look().specs["web"]
    (specs.path / "api.spec").write_text('ident = "t/other"\n')
    (specs.path / "x.spec").write_bytes(b"\xff")
    (specs.path / "notes.txt").write_text("not a spec")
    seen = specs.look()
    assert set(seen.specs) == {"web"}
    assert "called after another package" in seen.complaints["api"]
    assert "UTF-8" in seen.complaints["x"]
    specs.remove("web")
    assert specs.look().specs == {}


def test_what_is_no_file_is_a_complaint_and_never_waited_for(tmp_path: Path) -> None:
    """A link that leads nowhere or in a circle, a pipe, a device, a directory: none of them is "unload", and none stops the look."""
    specs = SpecDir(tmp_path / "specs")
    specs.write(ServiceSpec(ident=Ident("t", "web")))
    os.mkfifo(specs.path / "pipe.spec")
    (specs.path / "circle.spec").symlink_to("circle.spec")
    (specs.path / "nowhere.spec").symlink_to("no-such-file")
    (specs.path / "device.spec").symlink_to("/dev/zero")
    (specs.path / "directory.spec").mkdir()
    seen = specs.look()
    assert set(seen.specs) == {"web"}
    assert set(seen.complaints) == {"pipe", "circle", "nowhere", "device", "directory"}


def test_specs_beyond_the_cap_are_complaints_and_not_unloaded(tmp_path: Path) -> None:
    specs = SpecDir(tmp_path / "specs")
    specs.write(ServiceSpec(ident=Ident("t", "web")))
    for number in range(SERVICES_MAX):
        (specs.path / f"a{number:04}.spec").write_text(f'ident = "t/a{number:04}"\n')
    seen = specs.look()
    assert len(seen.specs) == SERVICES_MAX
    assert f"more than {SERVICES_MAX}" in seen.complaints["web"]


def test_a_spec_that_cannot_be_read_says_how_to_get_rid_of_it(tmp_path: Path) -> None:
    specs = SpecDir(tmp_path / "specs")
    specs.path.mkdir()
    (specs.path / "web.spec").write_text("ident =")
    with pytest.raises(FormatError) as caught:
        specs.get("web")
    assert "stead svc unload web" in caught.value.next


def test_the_journal_is_bounded_and_survives_a_disk_that_refuses(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write("service", "web", "it is so", state="up")
    assert json.loads(journal.path.read_text())["because"] == "it is so"
    journal.path.write_bytes(b"x" * JOURNAL_MAX)
    journal.write("service", "web", "after rotation")
    assert (tmp_path / "journal.jsonl.1").stat().st_size == JOURNAL_MAX
    lost = Journal(tmp_path / "no" / "such" / "journal.jsonl")
    lost.write("service", "web", "lost")
    lost.path.parent.mkdir(parents=True)
    lost.write("service", "web", "written")
    assert json.loads(lost.path.read_text())["lost_before"] == 1


def test_a_terminal_that_nobody_reads_holds_the_journal_up_in_no_way(tmp_path: Path) -> None:
    """A stopped terminal or a full pipe costs lines on it, never the supervisor's time."""
    reader, writer = os.pipe()
    with os.fdopen(reader), os.fdopen(writer, "w") as terminal:
        journal = Journal(tmp_path / "journal.jsonl", echo=terminal)
        for _ in range(100):
            journal.write("service", "web", "x" * 5000)
    assert len(journal.path.read_text().splitlines()) == 100


def test_settings_go_through_the_command_line_unchanged() -> None:
    given_ = Settings(
        root=Root(Path("/some where")), update_period_s=1.5, backoff=Backoff(min_s=0.1, max_s=7, cooldown_s=9.25), ip="10.0.0.1"
    )
    assert settings.parse(given_.arguments()) == given_
    for period in (0.0, 0.5, float("nan"), 1e8):
        with pytest.raises(UsageError):
            Settings(root=Root(Path("/x")), update_period_s=period)
