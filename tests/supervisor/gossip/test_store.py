"""The ring on disk: what a start finds after every kind of end."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hart.errors import StorageError
from hart.limits import RING_ASIDE, RING_SAVED_MEMBERS
from supervisor.gossip import statefile
from supervisor.gossip.identity import MemberKey, announce, sign_record
from supervisor.gossip.kinds import departed_key, fact_prefix
from supervisor.gossip.messages import Announcement, Record, Version
from supervisor.gossip.records import Records
from supervisor.gossip.statefile import Damaged
from supervisor.gossip.store import RingStore, superfluous

RING = b"the ring"
KEY = MemberKey(b"k" * 32)
CONFIG = "group/redis.default/config"
FILE = "group/redis.default/file/users.acl"


def document(key: str, revision: int, body: bytes | None = b"body", author: MemberKey = KEY) -> Record:
    return sign_record(author, ring=RING, record_key=key, version=Version(revision, 0), body=body)


def said(number: int) -> Announcement:
    return announce(KEY, ring=RING, generation=1, incarnation=number, session=b"session.", host="2001:db8::1", port=9638, name="web-1")


@pytest.fixture
def store(tmp_path: Path) -> RingStore:
    return RingStore(tmp_path / "sup" / "default" / "ring")


def again(store: RingStore) -> RingStore:
    """As after a restart."""
    return RingStore(store.path)


def damage(file: Path, how: str) -> None:
    raw = file.read_bytes()
    match how:
        case "empty":
            file.write_bytes(b"")
        case "cut":
            file.write_bytes(raw[: len(raw) // 2])
        case "flipped":
            file.write_bytes(raw[:-3] + bytes([raw[-3] ^ 4]) + raw[-2:])
        case "foreign":
            file.write_bytes(b"[ring]\n" * 20)
        case "longer":
            file.write_bytes(raw + b"\0")
        case _:
            raise AssertionError(how)


DAMAGE = pytest.mark.parametrize("how", ["empty", "cut", "flipped", "foreign", "longer"])


# --- one file


def test_a_value_comes_back(tmp_path: Path) -> None:
    statefile.write(tmp_path / "new" / "file", {"a": [1, b"b", None]})
    assert statefile.read(tmp_path / "new" / "file") == {"a": [1, b"b", None]}
    assert stat.S_IMODE((tmp_path / "new" / "file").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert statefile.read(tmp_path / "none") is None


def test_every_truncation_and_every_flipped_bit_is_seen(tmp_path: Path) -> None:
    """S48, W25: nothing damaged is ever taken for a value, and nothing raises but Damaged, in words."""
    file = tmp_path / "file"
    statefile.write(file, [KEY.id, 7, "text"])
    raw = file.read_bytes()
    damaged = [raw[:length] for length in range(len(raw))]
    damaged += [raw[:at] + bytes([raw[at] ^ 1 << bit]) + raw[at + 1 :] for at in range(len(raw)) for bit in range(8)]
    damaged += [raw + b"\0", raw + raw]
    for each in damaged:
        file.write_bytes(each)
        with pytest.raises(Damaged, match="it "):
            statefile.read(file)
    assert len(damaged) > 500


def test_a_good_checksum_over_something_that_is_no_value_is_damage(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for body in (b"", b"\xc1", b"\x91" * 100 + b"\0", b"\x01\x02", b"\xc7\x01\x05x"):
        digest = statefile.blake2b(body, digest_size=32).digest()
        file.write_bytes(b"STEAD-RING-1\n" + digest + body)
        with pytest.raises(Damaged):
            statefile.read(file)


def test_what_is_no_regular_file_is_damage_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    statefile.write(tmp_path / "large", bytes(1000))
    for name in ("pipe", "directory"):
        with pytest.raises((Damaged, StorageError)):
            statefile.read(tmp_path / name)
    with pytest.raises(Damaged, match="larger"):
        statefile.read(tmp_path / "large", most=999)


# --- who we are


def test_every_start_has_a_generation_of_its_own(store: RingStore) -> None:
    """W: a restart always wins over its own past."""
    first = store.identity()
    starts = [store.identity(), again(store).identity(), again(store).identity()]
    assert [first.generation, *(each.generation for each in starts)] == [1, 2, 3, 4]
    assert {each.key.id for each in starts} == {first.key.id}
    assert not any(each.complaints for each in starts)
    assert stat.S_IMODE((store.path / "member.key").stat().st_mode) == 0o600


@DAMAGE
@pytest.mark.parametrize("name", ["member.key", "member.key.copy", "generation", "generation.copy"])
def test_one_damaged_file_of_an_identity_changes_nothing(store: RingStore, name: str, how: str) -> None:
    """The copy counts, the damage is told, and by the next start it is made good."""
    before = store.identity()
    damage(store.path / name, how)
    after = again(store).identity()
    assert (after.key.id, after.generation) == (before.key.id, 2)
    assert len(after.complaints) == 1
    assert str(store.path / name) in after.complaints[0]
    assert again(store).identity().complaints == ()


def test_one_missing_file_of_an_identity_is_made_good(store: RingStore) -> None:
    before = store.identity()
    for name in ("member.key", "member.key.copy", "generation", "generation.copy"):
        (store.path / name).unlink()
        assert (again(store).identity().key.id, (store.path / name).exists()) == (before.key.id, True)
    assert again(store).identity().generation == 6


def test_of_two_counts_the_greater_one_was_used_last(store: RingStore) -> None:
    for one, two in ((7, 9), (20, 12)):
        key = store.identity().key
        statefile.write(store.path / "generation", [key.id, one])
        statefile.write(store.path / "generation.copy", [key.id, two])
        assert again(store).identity().generation == max(one, two) + 1


@pytest.mark.parametrize("how", ["missing", "empty", "cut", "flipped", "another's"])
def test_a_lost_count_never_gives_a_generation_twice(store: RingStore, how: str) -> None:
    """Nobody knows which were used, and the clock may be wrong: this host becomes a new member, and the old key is set aside."""
    before = store.identity()
    before = store.identity()
    for name in ("generation", "generation.copy"):
        if how == "missing":
            (store.path / name).unlink()
        elif how == "another's":
            statefile.write(store.path / name, [bytes(16), 1])
        else:
            damage(store.path / name, how)
    after = again(store).identity()
    assert after.key.id != before.key.id
    assert "becomes a new member" in after.complaints[-1]
    aside = statefile.read(store.path / "aside" / f"{before.key.id.hex()}.key")
    assert aside == {"seed": before.key.seed, "because": "its generation was lost"}
    assert (again(store).identity().key.id, again(store).identity().complaints) == (after.key.id, ())


def test_a_lost_key_makes_a_new_member(store: RingStore) -> None:
    before = store.identity()
    damage(store.path / "member.key", "cut")
    damage(store.path / "member.key.copy", "empty")
    after = again(store).identity()
    assert after.key.id != before.key.id
    assert len(after.complaints) == 3


def test_a_key_that_the_disk_does_not_give_is_no_reason_for_a_new_one(store: RingStore) -> None:
    """Permissions and I/O errors pass; a new identity would stay."""
    before = store.identity()
    for name in ("member.key", "member.key.copy"):
        (store.path / name).rename(store.path / f"{name}.kept")
        (store.path / name).symlink_to(name)  # as good as unreadable, also for root: too many levels
    with pytest.raises(StorageError):
        again(store).identity()
    for name in ("member.key", "member.key.copy"):
        (store.path / f"{name}.kept").replace(store.path / name)
    assert again(store).identity().key.id == before.key.id


def test_a_renewed_identity_is_a_new_member_and_the_old_key_is_kept(store: RingStore) -> None:
    before = store.identity()
    store.renew("10.0.0.7 has the same key")
    after = again(store).identity()
    assert after.key.id != before.key.id
    assert after.complaints == ()
    assert statefile.read(store.path / "aside" / f"{before.key.id.hex()}.key")["because"] == "10.0.0.7 has the same key"


def test_old_keys_are_not_kept_without_end(store: RingStore) -> None:
    for _ in range(RING_ASIDE + 3):
        store.identity()
        store.renew("again")
    assert len(list((store.path / "aside").iterdir())) == RING_ASIDE


def test_a_full_disk_is_a_storage_error_and_nothing_is_lost(store: RingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    before = store.identity()
    store.write(document(CONFIG, 1))
    store.save_members([said(1)])

    def full(fd: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    acts: list[Callable[[], Any]] = [
        store.identity,
        lambda: store.renew("full"),
        lambda: store.write(document(CONFIG, 2)),
        lambda: store.save_members([said(2)]),
    ]
    for act in acts:
        with pytest.raises(StorageError, match="no space left"):
            act()
    monkeypatch.undo()
    after, saved = again(store).identity(), again(store).load()
    assert (after.key.id, saved.complaints) == (before.key.id, [])
    assert after.generation > before.generation
    assert (saved.announcements, saved.documents) == ([said(1)], [document(CONFIG, 1)])


def test_a_file_in_the_way_of_the_directory_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "ring").write_text("a file")
    store = RingStore(tmp_path / "ring")
    for act in (store.identity, lambda: store.write(document(CONFIG, 1)), lambda: store.save_members([said(1)])):
        with pytest.raises(StorageError):
            act()
    assert len(store.load().complaints) == 5


# --- whom to ask


def test_a_host_that_has_no_state_knows_nothing_and_complains_about_nothing(store: RingStore) -> None:
    saved = store.load()
    assert (saved.announcements, saved.documents, saved.complaints) == ([], [], [])
    assert not store.path.exists()


@DAMAGE
def test_damaged_members_are_those_before(store: RingStore, how: str) -> None:
    for number in range(3):
        store.save_members([said(number)])
    damage(store.path / "members", how)
    saved = again(store).load()
    assert saved.announcements == [said(1)]
    assert len(saved.complaints) == 1
    assert "the one before is used" in saved.complaints[0]
    again(store).save_members([said(4)])
    assert again(store).load().announcements == [said(4)]
    assert statefile.read(store.path / "members.before") == [list(said(1))], "the damaged one was not made the one before"


def test_members_of_a_wrong_shape_are_damage(store: RingStore) -> None:
    for value in (7, None, [7], [[7]], [[*said(1)][:-1]], {"a": 1}, [list(said(1)._replace(port=1 << 20))]):
        statefile.write(store.path / "members", value)
        saved = store.load()
        assert saved.announcements == []
        assert len(saved.complaints) == (value is not None)


def test_only_so_many_members_are_kept(store: RingStore) -> None:
    store.save_members(said(1) for _ in range(RING_SAVED_MEMBERS + 5))
    assert len(store.load().announcements) == RING_SAVED_MEMBERS


# --- documents


def histories(store: RingStore) -> Records:
    records = Records(RING)
    for record in again(store).load().documents:
        assert records.merge(record)
    return records


def test_documents_come_back_with_their_history(store: RingStore) -> None:
    records = Records(RING)
    for revision in range(1, 15):
        for key in (CONFIG, FILE):
            records.merge(document(key, revision))
            store.write(document(key, revision))
            store.write(document(key, revision))
    assert histories(store).history(CONFIG) == records.history(CONFIG)
    assert histories(store).digest == records.digest
    assert histories(store).get(FILE) == document(FILE, 14)
    assert sum(len(list(folder.iterdir())) for folder in (store.path / "documents").iterdir()) == 11 + 2


def test_a_withdrawn_document_stays_withdrawn(store: RingStore) -> None:
    for revision, body in ((1, b"a"), (2, b"b"), (3, None)):
        store.write(document(CONFIG, revision, body))
    assert [each.body for each in histories(store).history(CONFIG)] == [None]
    (folder,) = (store.path / "documents").iterdir()
    assert len(list(folder.iterdir())) == 2


def test_what_is_bound_to_a_member_is_not_kept(store: RingStore) -> None:
    """It would be a ghost after a restart: its member may have been forgotten meanwhile (demands 9)."""
    store.write(document(departed_key(KEY.id), 1))
    store.write(document(fact_prefix(KEY.id) + "host", 1))
    assert not store.path.exists()


@DAMAGE
@pytest.mark.parametrize("key", [CONFIG, FILE])
def test_a_damaged_document_is_the_one_before(store: RingStore, key: str, how: str) -> None:
    """It is told once, with the file set aside; a better one of the same revision is written as if nothing had been."""
    for revision in (1, 2, 3):
        store.write(document(key, revision))
    (folder,) = (store.path / "documents").iterdir()
    newest = max(folder.iterdir())
    damage(newest, how)
    saved = again(store).load()
    assert max(record.version.major for record in saved.documents) == 2
    assert len(saved.complaints) == 1
    assert str(newest) in saved.complaints[0]
    assert newest.with_name(f"{newest.name}.damaged").exists()
    assert again(store).load().complaints == []
    again(store).write(document(key, 3))
    assert histories(store).get(key) == document(key, 3)


def test_a_damaged_document_is_written_anew_when_it_comes_again(store: RingStore) -> None:
    store.write(document(CONFIG, 1))
    (folder,) = (store.path / "documents").iterdir()
    damage(next(folder.iterdir()), "flipped")
    store.write(document(CONFIG, 1))
    assert histories(store).get(CONFIG) == document(CONFIG, 1)


def test_a_document_under_another_name_is_damage(store: RingStore) -> None:
    """A good file that was moved or copied by hand must not bring an old revision or another document."""
    store.write(document(CONFIG, 1))
    store.write(document(FILE, 2))
    one, two = sorted((store.path / "documents").iterdir())
    shutil.copy(next(one.iterdir()), two / next(one.iterdir()).name)
    file = next(one.iterdir())
    file.rename(one / f"{9:019}-{'0' * 32}")
    saved = store.load()
    assert len(saved.documents) == 1
    assert len(saved.complaints) == 2


def test_what_a_crash_left_behind_is_cleared_and_what_is_strange_is_left_alone(store: RingStore) -> None:
    store.write(document(CONFIG, 1))
    (folder,) = (store.path / "documents").iterdir()
    (folder / f".{next(folder.iterdir()).name}.0123456789ab.tmp").write_bytes(b"half")
    (folder / ".notes").write_text("by hand")
    (store.path / ".member.key.0123456789ab.tmp").write_bytes(b"half a secret")
    (store.path / "documents" / "stray").write_text("no directory")
    saved = store.load()
    assert saved.documents == [document(CONFIG, 1)]
    assert len(saved.complaints) == 1
    assert "stray" in saved.complaints[0]
    assert len(list(folder.iterdir())) == 2
    assert not list(store.path.glob(".*.tmp"))


@pytest.mark.parametrize(
    ("names", "kept", "gone"),
    [
        ([], 1, []),
        (["1"], 1, []),
        (["1", "2"], 1, []),
        (["1", "2", "3"], 1, ["1"]),
        (["1", "2", "3", "4"], 3, ["1"]),
        (["1", "2", "3.gone"], 3, ["1"]),
        (["1", "2.gone", "3"], 3, ["1"]),
        (["1", "2.gone", "3", "4"], 11, ["1"]),
        (["1", "2", "3", ".x.tmp", "2.damaged"], 1, ["1"]),
    ],
)
def test_files_that_nothing_needs_are_removed(names: list[str], kept: int, gone: list[str]) -> None:
    assert superfluous(names, kept) == gone


# --- killed at every point


def test_a_member_starts_on_a_full_disk_with_a_generation_of_its_own(store: RingStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its count is written over in place, also where it needs a byte more; nobody becomes somebody else for want of room."""

    def refuse(path: Path, data: bytes, **_: Any) -> None:
        raise StorageError(str(path), "no space left on the device")

    first = store.identity()
    store.count_on(126)
    monkeypatch.setattr(statefile, "write_atomic", refuse)
    found = [again(store).identity() for _ in range(5)]
    assert [each.generation for each in found] == [127, 128, 129, 130, 131]
    assert {(each.key.id, each.complaints) for each in found} == {(first.key.id, ())}
    with pytest.raises(StorageError):
        store.renew("no room for another key")
    assert again(store).identity().key.id == first.key.id
    with pytest.raises(StorageError):
        RingStore(store.path.with_name("new")).identity()


def life(store: RingStore, tell: Callable[[str], None]) -> None:
    """One life of a supervisor: every kind of write, each told when it has returned."""
    identity = store.identity()
    tell(f"generation {identity.key.id.hex()} {identity.generation}")
    for revision in (1, 2, 3):
        store.write(document(CONFIG, revision))
        tell(f"config {revision}")
        store.write(document(FILE, revision, None if revision == 3 else b"acl"))
        tell(f"file {revision}")
        store.save_members([said(revision)])
        tell(f"members {revision}")
    store.renew("killed in the middle of it")
    tell("renewed")
    identity = store.identity()
    tell(f"generation {identity.key.id.hex()} {identity.generation}")


def killed_after(path: Path, acts: int) -> tuple[list[str], bool]:
    """Run `life` in a process of its own that dies, as of kill -9, before its n-th change of the file system; what it had told by then."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the test runner may have threads; the child only touches files
        child = os.fork()
    if child == 0:
        left = acts

        def count(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal left
            changes = event in ("os.rename", "os.remove", "os.mkdir", "os.link", "os.chmod") or (
                event == "open" and isinstance(arguments[2], int) and bool(arguments[2] & os.O_WRONLY)
            )
            left -= changes
            if changes and left < 0:
                os._exit(9)

        sys.addaudithook(count)
        try:
            life(RingStore(path), lambda line: os.write(writing, f"{line}\n".encode()) and None)
        except Exception:  # noqa: BLE001  the parent's asserts see the code
            os._exit(1)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        told = stream.read().splitlines()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, 9)
    return told, code == 0


@pytest.mark.slow
def test_a_kill_at_any_point_loses_nothing_that_was_told_and_reuses_no_generation(tmp_path: Path) -> None:
    """Every prefix of the writes: what had returned is there, what had not is there whole or not at all, and nobody complains."""
    acts, finished = 0, False
    while not finished:
        path = tmp_path / str(acts)
        told, finished = killed_after(path, acts)
        used = [tuple(line.split()[1:]) for line in told if line.startswith("generation")]
        saved = RingStore(path).load()
        assert saved.complaints == []
        records = Records(RING)
        for record in saved.documents:
            assert records.merge(record)
        for word, key in (("config", CONFIG), ("file", FILE)):
            last = max((int(line.split()[1]) for line in told if line.startswith(word)), default=0)
            held = records.get(key)
            assert (held.version.major if held is not None else 0) in (last, last + 1)
        last = max((int(line.split()[1]) for line in told if line.startswith("members")), default=0)
        assert (saved.announcements[0].incarnation if saved.announcements else 0) in (last, last + 1)
        identity = RingStore(path).identity()
        assert (identity.key.id.hex(), str(identity.generation)) not in used
        if "renewed" in told or not used or told[-1] != "members 3":
            assert identity.complaints == (), "a new identity that was never used is no lost one"
        if len(used) == 1 and "renewed" not in told and told[-1] != "members 3":
            assert identity.key.id.hex() == used[0][0], "only a renewal changes who we are"
            assert identity.generation == int(used[0][1]) + 1
        if "renewed" in told:
            assert identity.key.id.hex() != used[0][0]
        acts += 1
    assert acts > 60


def test_a_start_can_count_on_and_the_next_start_comes_after_it(tmp_path: Path) -> None:
    store = RingStore(tmp_path / "ring")
    first = store.identity()
    store.count_on(first.generation + 6)
    after = RingStore(tmp_path / "ring").identity()
    assert (after.key.id, after.generation) == (first.key.id, first.generation + 7)
