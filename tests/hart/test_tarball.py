"""hart.tarball: deterministic writing, read back by GNU tar and Python's tarfile, and what it refuses."""

from __future__ import annotations

import io
import lzma
import os
import re
import shutil
import socket
import subprocess
import tarfile
from pathlib import Path

import pytest

from hart import limits, tarball
from hart.archive import extract, pack
from hart.errors import FormatError, LimitError, NotFoundError, SteadError, UsageError
from hart.tarball import header
from tests.hart.building import ident, metadata, payload_of, write_tree

WEB = ident()
# how Habitat finds a metafile in an archive (packages 1.3)
HABITAT_LOOKUP = re.compile(r"^/?(?:opt/)?hab/pkgs/[^/]+/[^/]+/[^/]+/[^/]+/(IDENT|TARGET|TDEPS|DEPS|PATH)$")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    write_tree(
        top, {"bin/run": b"#!/bin/sh\n", "z": b"z", "lib/" + "n" * 150 + "/data": b"d" * 3000, "lib/link": "../bin/run"}, metadata(WEB)
    )
    os.link(top / "bin/run", top / "bin/twin")
    return top


def members(payload: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(lzma.decompress(payload))) as archive:
        return archive.getmembers()


def test_the_same_tree_gives_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    """Whatever the order on the disk, the times, the owners' other mode bits."""
    before = payload_of(tree, WEB)
    copy = tmp_path / "copy"
    for path in sorted(tree.rglob("*"), reverse=True):  # another order of creation
        target = copy / path.relative_to(tree)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink():
            target.symlink_to(path.readlink())
        elif path.is_file() and path.name != "twin":
            target.write_bytes(path.read_bytes())
            target.chmod(0o700 if path.stat().st_mode & 0o100 else 0o600)
    os.link(copy / "bin/run", copy / "bin/twin")
    os.utime(copy / "z", (5, 5))
    assert payload_of(copy, WEB) == before


def test_members_are_in_order_and_owned_by_root(tree: Path) -> None:
    """The release, IDENT, TARGET, the other metafiles, the rest in byte order; 0:0, one time, two modes."""
    found = members(payload_of(tree, WEB))
    names = [member.name.removeprefix(f"hab/pkgs/{WEB}").lstrip("/") for member in found]
    assert names[:4] == ["", "IDENT", "TARGET", "RELOCATABLE"]
    assert names[4:] == sorted(names[4:], key=str.encode)
    assert {(member.uid, member.gid, member.uname, member.gname, member.mtime) for member in found} == {
        (0, 0, "root", "root", 1_700_000_000)
    }
    assert {member.mode for member in found if not member.issym()} == {0o755, 0o644}
    twin = next(member for member in found if member.name.endswith("/twin"))
    assert twin.islnk()
    assert twin.linkname == f"hab/pkgs/{WEB}/bin/run"


def test_it_is_one_xz_stream_with_crc64_of_gnu_tar_records(tree: Path) -> None:
    """What Habitat's readers demand (packages 1.2, 1.3)."""
    payload = payload_of(tree, WEB)
    assert payload[:8] == b"\xfd7zXZ\x00\x00\x04"
    decoder = lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
    raw = decoder.decompress(payload)
    assert decoder.eof
    assert decoder.unused_data == b""
    assert raw[257:265] == b"ustar  \x00"
    assert len(raw) % 10_240 == 0
    assert b"PaxHeader" not in raw


def test_habitats_way_to_find_metafiles_finds_them(tree: Path) -> None:
    """Its regular expression, on the names as they stand in the archive."""
    found = {match[1] for member in members(payload_of(tree, WEB)) if (match := HABITAT_LOOKUP.match(member.name))}
    assert found == {"IDENT", "TARGET"}


@pytest.mark.skipif(shutil.which("tar") is None or shutil.which("xz") is None, reason="GNU tar and xz are the other reader of this test")
def test_gnu_tar_reads_it_without_a_word(tree: Path, tmp_path: Path) -> None:
    """Listing and content, long names and links included."""
    (tmp_path / "p.tar.xz").write_bytes(payload_of(tree, WEB))
    (tmp_path / "out").mkdir()
    listed = subprocess.run(["tar", "-tJf", tmp_path / "p.tar.xz"], check=True, capture_output=True, text=True)
    assert listed.stderr == ""
    assert f"hab/pkgs/{WEB}/lib/{'n' * 150}/data" in listed.stdout.splitlines()
    done = subprocess.run(
        ["tar", "-xJf", tmp_path / "p.tar.xz", "-C", tmp_path / "out", "--no-same-owner"], check=True, capture_output=True
    )
    assert done.stderr == b""
    again = tmp_path / "out/hab/pkgs" / str(WEB)
    assert payload_of(again, WEB) == payload_of(tree, WEB)


def test_special_bits_of_the_tree_are_not_packed(tree: Path) -> None:
    """setuid in a build directory is no wish of the package's."""
    (tree / "z").chmod(0o4755)
    assert next(member.mode for member in members(payload_of(tree, WEB)) if member.name.endswith("/z")) == 0o755


@pytest.mark.parametrize(
    ("name", "target"), [("a", "/usr/bin/python3"), ("a", "../../out"), ("lib/a", "link/../../../x"), ("a", "lib/nothing/../../b")]
)
def test_a_link_that_no_host_would_install_is_refused(tree: Path, name: str, target: str) -> None:
    """The build fails, not the installation of what was published."""
    (tree / name).symlink_to(target)
    with pytest.raises(FormatError, match=r"points outside|steps out") as caught:
        payload_of(tree, WEB)
    assert "a' →" in caught.value.cause


def test_links_into_the_store_of_the_build_root_are_packed(tree: Path, tmp_path: Path) -> None:
    """A package for another root links to what is below that root."""
    (tree / "BUILD_ROOT").write_text("/srv/stead\n")
    (tree / "a").symlink_to("/srv/stead/pkgs/acme/lib/1/20260102030405/lib")
    payload = payload_of(tree, WEB)
    (tmp_path / "out").mkdir()
    with pytest.raises(FormatError, match="outside the store"):
        extract(io.BytesIO(payload), tmp_path / "out", WEB)


def test_what_is_no_file_directory_or_link_is_refused(tree: Path) -> None:
    """Sockets, pipes and devices."""
    os.mkfifo(tree / "pipe")
    with pytest.raises(FormatError, match="no file, directory or link"):
        payload_of(tree, WEB)
    (tree / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(tree / "s") if len(str(tree)) > 90 else str(tree / "s"))
        with pytest.raises(FormatError, match="no file, directory or link"):
            payload_of(tree, WEB)


def test_names_that_no_host_would_install_are_refused(tree: Path) -> None:
    """Control characters, bytes that are no UTF-8, too deep, too long."""
    for name, error in (
        (b"a\nb", FormatError),
        (b"\xff", FormatError),
        (b"d/" * 70 + b"f", LimitError),
        (b"/".join([b"x" * 200] * 5), LimitError),
    ):
        path = tree / "odd" / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        with pytest.raises(error):
            payload_of(tree, WEB)
        shutil.rmtree(tree / "odd")


def test_a_metafile_that_is_a_link_or_huge_is_refused(tree: Path) -> None:
    """Readers of metadata take regular files of bounded size only."""
    (tree / "MANIFEST").symlink_to("z")
    with pytest.raises(FormatError, match="metafile MANIFEST"):
        payload_of(tree, WEB)
    (tree / "MANIFEST").unlink()
    (tree / "MANIFEST").write_bytes(bytes(limits.METAFILE_MAX + 1))
    with pytest.raises(FormatError, match="metafile MANIFEST"):
        payload_of(tree, WEB)


def test_a_tree_that_readers_take_for_a_bomb_is_refused(tree: Path) -> None:
    """The ratio that stops an extraction stops the build first."""
    with (tree / "zeros").open("wb") as file:
        file.truncate(20 * 2**20)
    with pytest.raises(LimitError, match="decompression bomb"):
        payload_of(tree, WEB)


def test_bad_levels_and_times_are_refused(tree: Path) -> None:
    """They come from a command line."""
    for options in ({"mtime": -1}, {"mtime": 2**40}, {"mtime": 0, "level": 10}):
        with pytest.raises(UsageError):
            pack(tree, WEB, io.BytesIO(), **options)
    with pytest.raises(NotFoundError):
        pack(tree / "nowhere", WEB, io.BytesIO(), mtime=0)


@pytest.mark.parametrize("level", range(10))
def test_every_level_is_read_back(tree: Path, tmp_path: Path, level: int) -> None:
    """No level needs more memory to unpack than a reader gives it."""
    out = io.BytesIO()
    pack(tree, WEB, out, mtime=0, level=level)
    out.seek(0)
    (tmp_path / "out").mkdir()
    assert extract(out, tmp_path / "out", WEB).files == len([path for path in tree.rglob("*") if path.is_file() and not path.is_symlink()])


def test_a_full_disk_below_the_archive_is_a_storage_error(tree: Path) -> None:
    """The device that is always full."""
    with pytest.raises(SteadError, match="no space"), Path("/dev/full").open("wb", buffering=0) as out:
        pack(tree, WEB, out, mtime=0, level=0)


def test_a_header_is_what_tarfile_writes() -> None:
    """Against another implementation of the same format, byte for byte."""
    info = tarfile.TarInfo("hab/pkgs/x")
    info.size, info.mode, info.mtime, info.uname, info.gname = 1234, 0o755, 99, "root", "root"
    theirs = info.tobuf(tarfile.GNU_FORMAT)
    assert header(b"hab/pkgs/x", b"0", size=1234, mode=0o755, mtime=99) == theirs
    assert tarball.RECORD == tarfile.RECORDSIZE
