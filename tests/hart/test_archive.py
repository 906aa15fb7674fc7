"""hart.archive against the rules of threats 3.3: each refusal with a hostile archive and a canary outside."""

from __future__ import annotations

import contextlib
import io
import lzma
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hart import limits
from hart.archive import ArchiveCaps, extract, read_metafiles
from hart.errors import ConflictError, FormatError, InputError, LimitError, SteadError
from hart.metafiles import INDEXED, parse
from hart.tarstream import MARK, MARK_AT
from tests.hart import hostile
from tests.hart.building import metadata, payload_of, write_tree
from tests.hart.hostile import HERE, IDENT, POSIX, Canary, archive, block, directory, file, hard_link, long, long_file, pax, symlink

VECTORS = Path(__file__).parent.parent / "vectors" / "hart"

Unpack = Callable[..., Path]


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Canary]:
    """Files around the target directory; whatever a test does, they are unchanged afterwards, and nothing new is beside them."""
    guard = Canary()
    for name in ("canary", "into-neighbour/canary", "1.0/canary"):
        guard.add(tmp_path / name)
    (tmp_path / "into").mkdir()
    guard.before = guard.look()
    names = hostile.everything_below(tmp_path)
    yield guard
    assert guard.look() == guard.before
    outside = {name for name in hostile.everything_below(tmp_path) if not name.startswith("into/")}
    assert outside == names


@pytest.fixture
def unpack(tmp_path: Path, canary: Canary) -> Unpack:
    def run(payload: bytes, **options: object) -> Path:
        extract(io.BytesIO(payload), tmp_path / "into", IDENT, **options)  # type: ignore[arg-type]
        return tmp_path / "into"

    return run


def refuses(unpack: Unpack, payload: bytes, why: str, *, error: type[SteadError] = FormatError, **options: object) -> None:
    with pytest.raises(error, match=why):
        unpack(payload, **options)


# --- what is allowed


def test_an_honest_archive_is_written_below_the_target(unpack: Unpack) -> None:
    """The release's content, without the path to it; modes are 0755 and 0644."""
    top = unpack(
        archive(
            directory(HERE),
            directory(HERE + "bin/"),
            file(HERE + "bin/run", b"#!", mode=b"0000711\0"),
            file(HERE + "data", b"d" * 5000, mode=b"0000600\0"),
            symlink(HERE + "bin/alias", "run"),
            hard_link(HERE + "bin/twin", HERE + "bin/run"),
        )
    )
    assert (top / "data").read_bytes() == b"d" * 5000
    assert stat.S_IMODE((top / "data").stat().st_mode) == 0o644
    assert stat.S_IMODE((top / "bin/run").stat().st_mode) == 0o755
    assert (top / "bin/twin").stat().st_ino == (top / "bin/run").stat().st_ino
    assert (top / "bin/alias").readlink() == Path("run")


def test_parents_of_the_release_and_a_leading_slash_are_tolerated(unpack: Unpack) -> None:
    """Windows archives hold the parents, some writers keep the slash (packages 1.3)."""
    top = unpack(archive(directory("hab/"), directory("/hab/pkgs"), directory("hab/pkgs/acme/"), file("/" + HERE + "f", b"1")))
    assert hostile.everything_below(top) == {"f"}


def test_ustar_prefix_gnu_long_names_and_pax_paths_are_read(unpack: Unpack) -> None:
    """The three ways to store a name of more than 100 bytes."""
    deep = HERE + "d" * 120
    top = unpack(
        archive(
            file(b"f1", b"1", magic=POSIX, prefix=HERE.rstrip("/").encode()),
            long_file(deep + "/f2", b"2"),
            pax({"path": deep + "/f3", "mtime": "17.5", "uid": "99999999999", "comment": "hello"}) + file("short", b"3"),
        )
    )
    assert hostile.everything_below(top) == {"f1", "d" * 120, "d" * 120 + "/f2", "d" * 120 + "/f3"}
    assert (top / ("d" * 120) / "f3").stat().st_mtime == 17


def test_links_may_name_their_own_release_and_stores(unpack: Unpack) -> None:
    """Inside the release by any way that stays inside; absolute only to a release in a store."""
    top = unpack(
        archive(
            directory(HERE + "a/b/"),
            symlink(HERE + "a/up", "../a/./b"),
            symlink(HERE + "a/b/top", "../.."),
            symlink(HERE + "through", "a/b/../b"),
            symlink(HERE + "glibc", "/hab/pkgs/core/glibc/2.27/20190115002733/lib"),
            symlink(HERE + "own", "/srv/root/pkgs/acme/web/1.0/20260102030405"),
            symlink(HERE + "dangling", "nowhere/at/all"),
        ),
        stores=("/hab/pkgs", "/srv/root/pkgs"),
    )
    assert (top / "through").resolve() == (top / "a" / "b").resolve()


def test_setuid_setgid_and_sticky_are_dropped_and_reported(tmp_path: Path) -> None:
    """A publisher does not decide who becomes root on this host."""
    payload = archive(file(HERE + "sudo", mode=b"0006755\0"), file(HERE + "plain", mode=b"0001644\0"), file(HERE + "fine"))
    done = extract(io.BytesIO(payload), tmp_path, IDENT)
    assert done.stripped == ("sudo", "plain")
    assert stat.S_IMODE((tmp_path / "sudo").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "plain").stat().st_mode) == 0o644


def test_owners_come_from_the_caller_and_times_from_the_archive(unpack: Unpack) -> None:
    """uid games have no effect; times matter to compiled Python files."""
    made = (unpack(archive(file(HERE + "f", mtime=b"00000000144\0"))) / "f").stat()
    assert (made.st_uid, made.st_gid, made.st_mtime) == (os.geteuid(), os.getegid(), 100)


def test_an_unusual_umask_does_not_change_modes(tmp_path: Path) -> None:
    """Modes are a property of the package, not of who installs it."""
    before = os.umask(0o077)
    try:
        extract(io.BytesIO(archive(file(HERE + "d/f"))), tmp_path, IDENT)
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("d", "d/f")] == [0o755, 0o644]


# --- paths (S12, S15)


@pytest.mark.parametrize(
    "name",
    [
        "../canary",
        HERE + "../canary",
        HERE + "a/../../canary",
        HERE + "./f",
        "./" + HERE + "f",
        HERE + "a//f",
        "//" + HERE + "f",
        "/etc/passwd",
        "etc/passwd",
        "hab/pkgs/acme/web/1.0/20260102030406/f",
        "hab/pkgs/acme/web/1.0/202601020304050/f",
        "hab/pkgs/core/glibc/2/20200101000000/lib/libc.so",
        "hab/pkgs/acme/web/1.0/canary",
        "opt/" + HERE + "f",
        "hab/svc/web/hooks/run",
        HERE + "..",
        "hab",
        HERE.rstrip("/"),
    ],
)
def test_a_path_outside_the_release_is_refused(unpack: Unpack, name: str) -> None:
    """Every member lies under hab/pkgs/O/N/V/R/ of its own release, by its plain name."""
    refuses(unpack, archive(file(name, b"evil")), "lies outside|no plain path|in the place of a directory")


def test_a_file_with_no_name_is_refused(unpack: Unpack) -> None:
    """An empty name is no name, and no shorthand for the release."""
    refuses(unpack, archive(file(b"")), "no name")


@pytest.mark.parametrize("kind", [b"1", b"2", b"5"])
def test_a_directory_above_the_release_is_nothing_else(unpack: Unpack, kind: bytes) -> None:
    """hab/pkgs as a link would redirect everything that follows."""
    payload = archive(block("hab/pkgs/acme", kind, link="/tmp"), file(HERE + "f"))
    if kind == b"5":
        assert hostile.everything_below(unpack(payload)) == {"f"}
    else:
        refuses(unpack, payload, "in the place of a directory")


@pytest.mark.parametrize(
    ("name", "why", "error"),
    [
        (HERE.encode() + b"\xff\xfe", "not UTF-8", FormatError),
        (HERE + "a\nb", "control characters", FormatError),
        (HERE + "a\x1b[2Jb", "control characters", FormatError),
        (HERE + "a\x7f", "control characters", FormatError),
        (HERE + "a\u0085b", "control characters", FormatError),
        (HERE + "x" * 256, "component of more", LimitError),
        (HERE + "é" * 128, "component of more", LimitError),
        (HERE + "d/" * 200 + "f", "deeper than", LimitError),
        (HERE + "/".join(["x" * 200] * 8), "extended header has 1", LimitError),
    ],
)
def test_a_name_that_no_honest_writer_makes_is_refused(unpack: Unpack, name: str | bytes, why: str, error: type[SteadError]) -> None:
    """UTF-8 without control characters, components of 255, paths of 1,024 bytes, 64 levels."""
    refuses(unpack, archive(long_file(name)), why, error=error)


def test_a_realpath_chain_up_to_path_max_is_refused(unpack: Unpack) -> None:
    """CVE-2025-4517: links whose expansion passes PATH_MAX, then a `..` that is no longer checked. Each link is judged by itself here."""
    members, path = [], HERE
    for letter in "abcdefghijklmnop":
        path += letter * 60 + "/"
        members += [long(b"L", path) + directory(path)]
        if len(path) > 800:
            break
    depth = path.count("/") - HERE.count("/")
    members.append(symlink(HERE + "short", path.removeprefix(HERE).rstrip("/")))
    members.append(symlink(HERE + "escape", "short/" + "../" * (depth + 1) + "canary"))
    refuses(unpack, archive(*members), "points outside its own release")


# --- links (S12)


def test_a_symlink_then_write_through_it_is_refused(unpack: Unpack, tmp_path: Path) -> None:
    """The classic: a link out, then a file through it. Links are made last, and never over what is there."""
    refuses(unpack, archive(symlink(HERE + "d", str(tmp_path)), file(HERE + "d/canary", b"evil")), "outside the store")
    assert not (tmp_path / "into" / "d").is_symlink()


def test_a_symlink_that_replaces_a_directory_is_refused(unpack: Unpack) -> None:
    """Inside the release or not: a name is used once."""
    refuses(unpack, archive(file(HERE + "d/f"), directory(HERE + "e/"), symlink(HERE + "d", "e")), "twice")


def test_a_file_below_a_symlink_inside_the_release_is_refused(unpack: Unpack) -> None:
    """`d` would have to be a link and a directory."""
    refuses(unpack, archive(directory(HERE + "e/"), symlink(HERE + "d", "e"), file(HERE + "d/f")), "twice")


def test_a_link_below_a_link_is_refused(unpack: Unpack) -> None:
    """Links are made last, but not through each other."""
    refuses(unpack, archive(directory(HERE + "e/"), symlink(HERE + "d", "e"), symlink(HERE + "d/x", "y")), "twice|something else")


@pytest.mark.parametrize(
    "target",
    [
        "/etc/passwd",
        "/hab/pkgs",
        "/hab/pkgs/core/glibc",
        "/hab/pkgs/core/glibc/2.27/../../../../../etc",
        "/hab/pkgs/../etc/a/b/c",
        "/hab/svc/web/run",
        "/hab/pkgs2/core/glibc/2/20200101000000",
        "..",
        "../canary",
        "a/../../canary",
        "../../../../../../etc/shadow",
        "../20260102030406/bin",
        "x" * 1100,
        "a\nb",
        b"\xff",
        "",
    ],
)
def test_a_symlink_that_points_outside_is_refused(unpack: Unpack, target: str | bytes) -> None:
    """Relative targets stay in the release, absolute ones name a release in a store."""
    refuses(
        unpack,
        archive(directory(HERE + "a/"), symlink(HERE + "link", target)),
        "outside|steps out|empty target|control|UTF-8|extended header has",
        error=InputError,
    )


def test_a_chain_of_symlinks_that_are_each_inside_cannot_step_out(unpack: Unpack) -> None:
    """`..` behind another link goes somewhere else than it says: only real directories may be stepped out of."""
    chain = archive(
        directory(HERE + "d/e/f/"),
        symlink(HERE + "d/e/f/s", "../../.."),  # the release itself
        symlink(HERE + "out", "d/e/f/s/../../../canary"),  # reads as d/canary, is three above the release
    )
    refuses(unpack, chain, "steps out of what is no directory")


def test_a_hard_link_to_outside_is_refused(unpack: Unpack, tmp_path: Path) -> None:
    """A hard link would hand out another file's content, and its mode."""
    for target in (str(tmp_path / "canary"), "../canary", HERE + "../canary", "/etc/passwd"):
        refuses(unpack, archive(hard_link(HERE + "h", target)), "lies outside|no plain path")


def test_a_hard_link_to_what_did_not_come_before_is_refused(unpack: Unpack) -> None:
    """Also to itself, and to what comes later."""
    refuses(unpack, archive(hard_link(HERE + "h", HERE + "later"), file(HERE + "later")), "no file that came before")
    refuses(unpack, archive(hard_link(HERE + "h", HERE + "h")), "no file that came before")


def test_a_hard_link_to_a_symlink_or_directory_is_refused(unpack: Unpack) -> None:
    """Some systems follow the link, which then leads anywhere."""
    refuses(unpack, archive(symlink(HERE + "s", "f"), hard_link(HERE + "h", HERE + "s")), "no file that came before")
    refuses(unpack, archive(directory(HERE + "d/"), hard_link(HERE + "h", HERE + "d")), "no file that came before")


def test_a_hard_link_to_the_release_or_to_nothing_is_refused(unpack: Unpack) -> None:
    """An empty target, or one that is a directory by its place."""
    refuses(unpack, archive(hard_link(HERE + "h", HERE)), "points to a directory")
    refuses(unpack, archive(hard_link(HERE + "h", "")), "no plain path")


def test_a_hard_link_over_a_file_is_refused(unpack: Unpack) -> None:
    """A name is used once."""
    refuses(unpack, archive(file(HERE + "a"), file(HERE + "b"), hard_link(HERE + "b", HERE + "a")), "twice")


# --- kinds and headers (S13)


@pytest.mark.parametrize("kind", [b"3", b"4", b"6", b"7", b"S", b"D", b"M", b"N", b"V", b"X", b"A", b"8", b"\x80"])
def test_devices_fifos_sparse_and_unknown_members_are_refused(unpack: Unpack, kind: bytes) -> None:
    """Only files, directories and links."""
    refuses(unpack, archive(block(HERE + "dev", kind)), "only files, directories and links")


@pytest.mark.parametrize(
    "size_field",
    [
        b"\xff" * 12,  # -1 in GNU's base 256
        b"\x80" + bytes(10) + b"\x01",
        b"-0000000001\0",
        b"0x1f       \0",
        b"00000000009\0",
        b"+0000000001\0",
    ],
)
def test_negative_and_odd_sizes_are_refused(unpack: Unpack, size_field: bytes) -> None:
    """A negative offset would make a reader read a member again, or for ever."""
    refuses(unpack, archive(block(HERE + "f", size_field=size_field) + bytes(512)), "size is not an octal number")


def test_a_directory_or_link_with_content_is_refused(unpack: Unpack) -> None:
    """Readers differ in whether they skip it, and then see different archives."""
    for kind in (b"1", b"2", b"5"):
        payload = archive(block(HERE + "d", kind, size=512, link="x"), file(HERE + "hidden"))
        refuses(unpack, payload, "with content")


def test_a_file_named_as_a_directory_is_refused(unpack: Unpack) -> None:
    """`f/` with type 0 is a directory to some readers."""
    refuses(unpack, archive(block(HERE + "f/", b"0")), "name of a directory")


def test_a_damaged_header_is_refused(unpack: Unpack) -> None:
    """Checksum and magic are checked, old formats are not read."""
    refuses(unpack, archive(block(HERE + "f", checksum=b"000000\0 ")), "wrong checksum")
    refuses(unpack, archive(block(HERE + "f", magic=bytes(8))), "neither POSIX nor GNU")


def test_duplicate_names_are_refused(unpack: Unpack, tmp_path: Path) -> None:
    """The second one would replace what the first one was checked for."""
    refuses(unpack, archive(file(HERE + "f"), file(HERE + "f")), "twice")
    (tmp_path / "into" / "f").unlink()
    refuses(unpack, archive(directory(HERE + "d"), directory(HERE + "d/")), "twice")


def test_a_file_as_a_directory_is_refused(unpack: Unpack) -> None:
    """`f` and `f/g`."""
    refuses(unpack, archive(file(HERE + "f"), file(HERE + "f/g")), "as a directory and as something else")


def test_stacked_extended_headers_are_refused(unpack: Unpack) -> None:
    """300 levels of pax headers, two long names, or both kinds for one member: readers differ in which one wins."""
    refuses(unpack, archive(*[pax({"comment": str(number)}) for number in range(300)], file(HERE + "f")), "stacked")
    refuses(unpack, archive(long(b"L", HERE + "a" * 99), long(b"L", HERE + "b" * 99), file("x")), "stacked")
    refuses(unpack, archive(long(b"L", HERE + "a" * 99), pax({"path": HERE + "b"}), file("x")), "stacked")


def test_an_extended_header_for_nobody_is_refused(unpack: Unpack) -> None:
    """It belongs to the next member."""
    refuses(unpack, archive(file(HERE + "f"), pax({"path": HERE + "g"})), "no member after it")


def test_huge_extended_headers_are_refused(unpack: Unpack) -> None:
    """They are read into memory."""
    refuses(
        unpack, archive(pax({"comment": "x" * (limits.ARCHIVE_PAX_MAX + 1)}), file(HERE + "f")), "extended header has", error=LimitError
    )
    refuses(unpack, archive(block("x", b"L", size=2**30)), "extended header has", error=LimitError)


def test_pax_paths_and_links_are_judged_as_any_other(unpack: Unpack) -> None:
    """An override does not pass by the rules, and an unharmful name in the header does not help."""
    refuses(unpack, archive(pax({"path": "../canary"}), file(HERE + "f")), "no plain path")
    refuses(unpack, archive(pax({"path": HERE + "a/" * 600}), directory(HERE)), "more than 1024 bytes", error=LimitError)
    refuses(unpack, archive(pax({"linkpath": "/etc/passwd"}), block(HERE + "l", b"2", link="f")), "outside the store")
    refuses(unpack, archive(pax({"path": b"hab/pkgs/acme/web/1.0/20260102030405/a\0b"}), file(HERE + "f")), "NUL")


def test_a_pax_size_is_the_size(unpack: Unpack) -> None:
    """An override that readers disagree about would smuggle members inside a file's content."""
    inner = file(HERE + "smuggled")
    payload = archive(pax({"size": str(len(inner))}), block(HERE + "f", size=0), inner)
    top = unpack(payload)
    assert hostile.everything_below(top) == {"f"}
    assert (top / "f").read_bytes() == inner


@pytest.mark.parametrize("size", ["-1", "1e3", "", "99999999999999999999", str(2**60)])
def test_an_odd_pax_size_is_refused(unpack: Unpack, size: str) -> None:
    """Decimal digits within the cap."""
    refuses(unpack, archive(pax({"size": size}), block(HERE + "f")), "no valid size|more than", error=InputError)


@pytest.mark.parametrize(
    "key",
    [
        "SCHILY.xattr.security.capability",
        "LIBARCHIVE.xattr.user.x",
        "SCHILY.acl.access",
        "GNU.sparse.major",
        "GNU.sparse.map",
        "hdrcharset",
    ],
)
def test_xattrs_capabilities_and_sparse_maps_are_refused(unpack: Unpack, key: str) -> None:
    """A capability is setuid by another name."""
    refuses(unpack, archive(pax({key: "1"}), file(HERE + "f")), "are refused")


@pytest.mark.parametrize(
    "data", [b"5 a=b\n", b"6 a=b", b"0 a=b\n", b"99 path=x\n", b"7 path\n\n", b"\xff\xff", b"-6 a=b\n", b"11 path=a\n11 path=b\n"]
)
def test_malformed_pax_records_are_refused(unpack: Unpack, data: bytes) -> None:
    """Exact lengths, one `=`, one newline, each key once."""
    payload = archive(block("x", b"x", size=len(data)) + hostile.padded(data), file(HERE + "f"))
    refuses(unpack, payload, "malformed record|are refused")


def test_global_headers_may_comment_but_not_rename(unpack: Unpack) -> None:
    """git puts a commit id into one."""
    refuses(unpack, archive(pax({"path": HERE + "g"}, b"g"), file(HERE + "f")), "rename members")
    assert hostile.everything_below(unpack(archive(pax({"comment": "c0ffee"}, b"g"), file(HERE + "f")))) == {"f"}


def test_too_many_members_are_refused(unpack: Unpack) -> None:
    """Each costs an inode; long names count too."""
    caps = ArchiveCaps(members=10)
    refuses(unpack, archive(*[directory(f"{HERE}{number}/") for number in range(11)]), "more than 10 members", error=LimitError, caps=caps)


def test_a_flood_of_link_names_is_refused(unpack: Unpack) -> None:
    """They are kept in memory until the end."""
    links = [symlink(f"{HERE}{number}", "x" * 90) for number in range(100)]
    refuses(unpack, archive(*links), "names of its links", error=LimitError, caps=ArchiveCaps(links=5000))


# --- the ends


def test_a_cut_archive_is_refused_at_every_block(unpack: Unpack, tmp_path: Path) -> None:
    """No end mark, no package."""
    members = file(HERE + "a", b"a" * 600) + long_file(HERE + "b" * 120) + file(HERE + "c")
    for cut in range(0, len(members) + 512, 512):
        for path in sorted((tmp_path / "into").rglob("*"), reverse=True):
            path.unlink()
        refuses(unpack, lzma.compress((members + bytes(1024))[:cut]), "cut short")


def test_a_cut_or_damaged_stream_is_refused(unpack: Unpack, tmp_path: Path) -> None:
    """xz has its own checks; every prefix is cut short."""
    payload = archive(file(HERE + "a", os.urandom(2000)))
    for cut in (0, 1, 12, len(payload) // 2, len(payload) - 1):
        (tmp_path / "into" / "a").unlink(missing_ok=True)
        refuses(unpack, payload[:cut], "cut short|damaged")
    (tmp_path / "into" / "a").unlink(missing_ok=True)
    refuses(unpack, b"not xz at all", "damaged")


def test_something_after_the_archive_is_refused(unpack: Unpack, tmp_path: Path) -> None:
    """A second archive behind the end mark, a second stream behind the first, a lone zero block."""
    tail = file(HERE + "late")
    for payload, why in (
        (archive(file(HERE + "a"), end=bytes(1024) + tail + bytes(1024)), "follows the end"),
        (archive(file(HERE + "a")) + archive(tail), "follows the compressed data"),
        (archive(file(HERE + "a"), tail=b"\0" * 4), "follows the compressed data"),
        (archive(file(HERE + "a"), bytes(512), tail), "lone zero block"),
    ):
        refuses(unpack, payload, why)
        (tmp_path / "into" / "a").unlink()


def test_a_directory_that_is_not_empty_is_refused(unpack: Unpack, tmp_path: Path) -> None:
    """The caller gives a new one."""
    (tmp_path / "into" / "there").touch()
    refuses(unpack, archive(file(HERE + "a")), "not empty", error=ConflictError)
    (tmp_path / "into" / "there").unlink()


# --- bombs (S14)


def disk_use(top: Path) -> int:
    return sum(path.stat().st_size for path in top.rglob("*") if path.is_file())


def test_a_bomb_of_zeros_stops_at_the_ratio(unpack: Unpack, tmp_path: Path) -> None:
    """1 GiB of zeros in 150 KB: what has been written when it stops is bounded."""
    compressor = lzma.LZMACompressor(preset=0)
    parts = [compressor.compress(block(HERE + "zeros", size=2**30))]
    parts += [compressor.compress(bytes(2**20)) for _ in range(64)]  # cut later: it must stop before
    refuses(unpack, b"".join(parts) + compressor.flush(), "decompression bomb", error=LimitError)
    assert disk_use(tmp_path / "into") <= limits.ARCHIVE_RATIO_FREE + limits.CHUNK


def test_a_bomb_behind_the_end_mark_stops_at_the_ratio(unpack: Unpack) -> None:
    """Padding is read too."""
    refuses(unpack, archive(file(HERE + "a"), end=bytes(64 * 2**20)), "decompression bomb", error=LimitError)


def test_more_than_the_cap_of_output_is_refused(unpack: Unpack, tmp_path: Path) -> None:
    """Whatever the ratio; a member that announces more is refused before it is written."""
    caps = ArchiveCaps(output=1_000_000)
    refuses(unpack, archive(file(HERE + "a", bytes(2_000_000))), "more than 1000000 bytes", error=LimitError, caps=caps)
    assert disk_use(tmp_path / "into") == 0
    many = [file(f"{HERE}{number}", os.urandom(100_000)) for number in range(20)]
    refuses(unpack, archive(*many), "more than 1000000 bytes", error=LimitError, caps=caps)
    assert disk_use(tmp_path / "into") <= 1_000_000


def test_a_dictionary_that_takes_gigabytes_is_refused(unpack: Unpack) -> None:
    """The decoder would allocate it before the first byte."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 2**20}]
    payload = bytearray(lzma.compress(file(HERE + "a") + bytes(1024), filters=filters))
    # block header: size, flags, filter id 0x21, properties size 1, dictionary; then padding and a CRC32
    at = 12
    assert payload[at + 2 : at + 4] == b"\x21\x01"
    payload[at + 4] = 40  # 4 GiB - 1
    size = (payload[at] + 1) * 4
    payload[at + size - 4 : at + size] = zlib.crc32(bytes(payload[at : at + size - 4])).to_bytes(4, "little")
    refuses(unpack, bytes(payload), "bytes of memory", error=LimitError)


def test_the_strongest_preset_of_xz_is_read(unpack: Unpack) -> None:
    """Habitat's HAB_HART_COMPRESSION_LEVEL goes up to 9, with a dictionary of 64 MiB."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 64 * 2**20}]
    top = unpack(lzma.compress(file(HERE + "a") + bytes(1024), filters=filters))
    assert (top / "a").read_bytes() == b"x"


# --- metafiles


def test_metafiles_are_read_wherever_they_are(tmp_path: Path) -> None:
    """Foreign archives are in any order, and may hold parents, a slash, or macOS's prefix."""
    for prefix in (HERE, "/" + HERE, "opt/" + HERE):
        payload = archive(
            directory("hab/"),
            file(prefix + "bin/x"),
            file(prefix + "TARGET", b"x86_64-linux\n"),
            file(prefix + "deep/TDEPS", b"not me"),
            file(prefix + "IDENT", f"{IDENT}\n".encode()),
            file(prefix + "FILES", b"HART-1"),
            file(prefix + "default.toml", b"port = 1\n"),
        )
        found = read_metafiles(io.BytesIO(payload))
        assert set(found) == {"TARGET", "IDENT", "default.toml"}
        assert parse(found).ident == IDENT


def test_a_dot_slash_archive_has_no_metafiles() -> None:
    """Habitat's readers do not see them either (packages 1.3)."""
    assert read_metafiles(io.BytesIO(archive(file("./" + HERE + "IDENT", b"x")))) == {}


def test_metafiles_of_two_releases_are_refused() -> None:
    """And a metafile that comes twice, and an IDENT that says something else than the path."""
    other = HERE.replace("20260102030405", "20260102030406")
    for members, why in (
        ([file(HERE + "IDENT", str(IDENT).encode()), file(other + "TARGET")], "second metafile"),
        ([file(HERE + "TARGET"), file(HERE + "TARGET")], "second metafile"),
        ([file(HERE + "IDENT", b"acme/web/1.0/20260102030406")], "IDENT says"),
    ):
        with pytest.raises(FormatError, match=why):
            read_metafiles(io.BytesIO(archive(*members)))


def test_a_huge_metafile_is_refused() -> None:
    """They are read into memory."""
    with pytest.raises(LimitError):
        read_metafiles(io.BytesIO(archive(file(HERE + "MANIFEST", bytes(limits.METAFILE_MAX + 1)))))


def test_reading_stops_after_the_metafiles_of_our_own_archives(tmp_path: Path) -> None:
    """The rest is neither read nor unpacked: metadata of a large package is cheap."""
    meta = metadata(IDENT)
    write_tree(tmp_path, {"data": os.urandom(3_000_000)}, meta)
    payload = io.BytesIO(payload_of(tmp_path, IDENT))
    assert parse(read_metafiles(payload)) == meta
    assert payload.tell() < 300_000


def test_a_metafile_that_comes_late_in_a_marked_archive_is_refused(unpack: Unpack) -> None:
    """A reader that stops early would not have seen it: the depot would show other dependencies than the host has."""
    marked = block(HERE, b"5", prefix=bytes(MARK_AT - 345) + MARK)
    ident, late = file(HERE + "IDENT", str(IDENT).encode()), file(HERE + "TDEPS", b"evil/lib/1/20260102030405")
    assert set(read_metafiles(io.BytesIO(archive(marked, ident, file(HERE + "a"), late)))) == {"IDENT"}
    refuses(unpack, archive(marked, ident, file(HERE + "a"), late), "TDEPS comes late")


@pytest.mark.parametrize("between", [directory("hab/"), directory(HERE), directory("hab/pkgs/acme/")])
def test_a_directory_between_metafiles_ends_them_for_every_reader(unpack: Unpack, between: bytes) -> None:
    """The early reader stops there, so what follows must not be a metafile either."""
    marked = block(HERE, b"5", prefix=bytes(MARK_AT - 345) + MARK)
    ident, late = file(HERE + "IDENT", str(IDENT).encode()), file(HERE + "TDEPS", b"evil/lib/1/20260102030405")
    if between == directory(HERE):
        marked = block("hab/", b"5", prefix=bytes(MARK_AT - 345) + MARK)
    payload = archive(marked, ident, between, late)
    assert set(read_metafiles(io.BytesIO(payload))) == {"IDENT"}
    refuses(unpack, payload, "TDEPS comes late")


@pytest.mark.parametrize("marked", [True, False], ids=["metafiles-first", "foreign"])
@pytest.mark.parametrize(
    "member",
    [
        hard_link(HERE + "TDEPS", HERE + "IDENT"),
        symlink(HERE + "TDEPS", "IDENT"),
        directory(HERE + "TDEPS/"),
        directory(HERE + "TDEPS"),
        file(HERE + "TDEPS/x"),
        symlink(HERE + "TDEPS/x", "y"),
    ],
    ids=["hard-link", "symlink", "directory/", "directory", "file-below", "link-below"],
)
def test_a_metafile_is_a_regular_file_for_every_reader(unpack: Unpack, member: bytes, *, marked: bool) -> None:
    """Who unpacks and who only reads would see different dependencies."""
    first = block(HERE, b"5", prefix=bytes(MARK_AT - 345) + MARK if marked else b"")
    payload = archive(first, file(HERE + "IDENT", str(IDENT).encode()), member)
    with pytest.raises(FormatError, match="metafile TDEPS is no regular file"):
        read_metafiles(io.BytesIO(payload))
    refuses(unpack, payload, "metafile TDEPS is no regular file")


def test_something_behind_the_stream_is_seen_wherever_reading_stopped(unpack: Unpack) -> None:
    """Also when the stream ends exactly where one read of the reader ends."""
    whole = archive(file(HERE + "f"))
    with pytest.raises(FormatError, match="something follows the compressed data"):
        extract(Pieces([whole, b"x"]), unpack(archive(directory(HERE))), IDENT)


class Pieces:
    """A source whose reads end where it likes."""

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = pieces

    def read(self, size: int, /) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""


def test_many_large_metafiles_are_refused() -> None:
    """Each is within its cap, all together would fill the memory."""
    members = [file(HERE + name, os.urandom(limits.METAFILE_MAX)) for name in sorted(INDEXED)[:9]]
    with pytest.raises(LimitError, match="metafile"):
        read_metafiles(io.BytesIO(archive(*members)))


@pytest.mark.parametrize("member", [hard_link(HERE + "FILES", HERE + "IDENT"), symlink(HERE + "FILES", "IDENT"), directory(HERE + "FILES")])
def test_the_signed_list_is_a_regular_file(unpack: Unpack, member: bytes) -> None:
    """Else the package could never be verified."""
    refuses(unpack, archive(file(HERE + "IDENT", b""), member), "metafile FILES is no regular file")


@pytest.mark.parametrize("path", sorted(VECTORS.glob("*.hart")), ids=lambda path: path.name)
def test_habitats_own_packages_are_read(path: Path, tmp_path: Path) -> None:
    """Real files: metadata and extraction agree."""
    from hart.artifact import read_header

    with path.open("rb") as stream:
        if path.name.startswith("bogus"):
            with pytest.raises(FormatError):
                read_header(stream)
            return
        offset = read_header(stream).payload_offset
        meta = parse(read_metafiles(stream))
        stream.seek(offset)
        extract(stream, tmp_path, meta.ident)
    assert (tmp_path / "IDENT").read_text().strip() == str(meta.ident)
    assert "IDENT" in hostile.everything_below(tmp_path)


# --- properties

NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="/"), min_size=1, max_size=40).filter(
    lambda name: name not in {".", "..", *INDEXED}  # a directory in the place of a metafile is refused
)
TREES = st.recursive(
    st.one_of(st.binary(max_size=3000), st.just("link")), lambda inner: st.dictionaries(NAMES, inner, max_size=5), max_leaves=20
)


def plant(top: Path, tree: object) -> None:
    if isinstance(tree, dict):
        top.mkdir(exist_ok=True)
        for name, inner in tree.items():
            plant(top / name, inner)
    elif isinstance(tree, bytes):
        top.write_bytes(tree)
        top.chmod(0o755 if tree[:1] < b"\x80" else 0o644)
    else:
        top.symlink_to("./" + top.name)


def seen(top: Path) -> dict[str, object]:
    found: dict[str, object] = {}
    for path in top.rglob("*"):
        name = str(path.relative_to(top))
        if path.is_symlink():
            found[name] = ("link", str(path.readlink()))
        elif path.is_dir():
            found[name] = "directory"
        else:
            found[name] = (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tree=st.dictionaries(NAMES, TREES, max_size=6))
def test_pack_then_extract_is_the_identity(tmp_path_factory: pytest.TempPathFactory, tree: dict[str, object]) -> None:
    """Any tree of files, directories and links with names that a file system can store; packing it again gives the same bytes."""
    top = tmp_path_factory.mktemp("property")
    before, after = top / "before", top / "after"
    plant(before, tree)
    after.mkdir()
    payload = payload_of(before, IDENT)
    done = extract(io.BytesIO(payload), after, IDENT)
    assert seen(after) == seen(before)
    assert done.files == sum(isinstance(kind, tuple) and kind[0] != "link" for kind in seen(before).values())
    assert payload_of(after, IDENT) == payload


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_mutated_archive_never_escapes_and_only_our_errors_are_raised(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Bytes of an archive changed at random, checksums made right again so that the change is met deeper."""
    top = tmp_path_factory.mktemp("mutated")
    guard = Canary()
    guard.add(top / "canary")
    guard.before = guard.look()
    (top / "into").mkdir()
    raw = bytearray(
        directory(HERE)
        + file(HERE + "a", b"a" * 700)
        + long_file(HERE + "b" * 120, b"b")
        + pax({"path": HERE + "c", "size": "3"})
        + file("x", b"ccc")
        + symlink(HERE + "d", "a")
        + hard_link(HERE + "e", HERE + "a")
        + bytes(1024)
    )
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at] = data.draw(st.sampled_from([0, 0x2E, 0x2F, 0x30, 0x31, 0x32, 0x35, 0x78, 0x80, 0xFF]))
        head = at // 512 * 512
        if raw[head + 257 : head + 262] == b"ustar":
            raw[head + 148 : head + 156] = b" " * 8
            raw[head + 148 : head + 156] = b"%06o\0 " % sum(raw[head : head + 512])
    with contextlib.suppress(SteadError):
        extract(io.BytesIO(lzma.compress(bytes(raw), preset=0)), top / "into", IDENT)
    assert guard.look() == guard.before
    assert {path.name for path in top.iterdir()} == {"canary", "into"}


@settings(max_examples=100, deadline=None)
@given(noise=st.binary(max_size=2000), wrap=st.booleans())
def test_arbitrary_bytes_raise_our_error(noise: bytes, wrap: bool) -> None:
    """As a payload, and as what a payload unpacks to."""
    with pytest.raises(InputError):
        read_metafiles(io.BytesIO(lzma.compress(noise, preset=0) if wrap else noise))
