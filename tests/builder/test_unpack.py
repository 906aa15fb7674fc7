"""Source archives of strangers: what is unpacked, what is refused."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from builder.unpack import Caps, unpack
from hart.errors import BuildError, FormatError, InputError, LimitError


def member(name: str, *, data: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = "", mode: int = 0o644) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.size = kind, link, mode, len(data)
    return info


def tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


@pytest.mark.parametrize(("name", "mode"), [("a.tar", "w"), ("a.tgz", "w:gz"), ("a.tar.bz2", "w:bz2"), ("a.tar.xz", "w:xz")])
def test_tar_archives_are_unpacked_without_their_top_directory(tmp_path: Path, name: str, mode: str) -> None:
    """Of each compression; the executable bit stays, other bits go."""
    path = tar(
        tmp_path / name,
        [
            (member("web-1.0/", kind=tarfile.DIRTYPE), b""),
            (member("web-1.0/run", mode=0o6755), b"#!/bin/sh\n"),
            (member("web-1.0/lib/a.txt"), b"text"),
            (member("web-1.0/lib/link", kind=tarfile.SYMTYPE, link="../run"), b""),
            (member("web-1.0/hard", kind=tarfile.LNKTYPE, link="web-1.0/lib/a.txt"), b""),
        ],
        mode,
    )
    assert unpack(path, tmp_path / "src", name=name) == 5
    assert (tmp_path / "src/run").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "src/lib/a.txt").read_text() == "text"
    assert (tmp_path / "src/hard").read_text() == "text"
    assert (tmp_path / "src/lib/link").read_text() == "#!/bin/sh\n"


def test_zip_archives_are_unpacked(tmp_path: Path) -> None:
    """Wheels have no top directory to drop."""
    path = tmp_path / "a.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("six.py", "x = 1\n")
        info = zipfile.ZipInfo("bin/tool")
        info.external_attr = 0o100755 << 16
        archive.writestr(info, "#!/bin/sh\n")
    unpack(path, tmp_path / "lib", name="a.whl", strip=0)
    assert (tmp_path / "lib/six.py").read_text() == "x = 1\n"
    assert (tmp_path / "lib/bin/tool").stat().st_mode & 0o111


def test_strip_drops_leading_components(tmp_path: Path) -> None:
    """Members with fewer components are passed over."""
    path = tar(tmp_path / "a.tgz", [(member("a/b/c.txt"), b"c"), (member("a/d.txt"), b"d"), (member("top.txt"), b"t")])
    unpack(path, tmp_path / "src", name="a.tgz", strip=1)
    assert sorted(entry.name for entry in (tmp_path / "src").iterdir()) == ["b", "d.txt"]


def test_sources_share_a_directory_but_not_a_file(tmp_path: Path) -> None:
    """Directories merge; the second file of one name is an error, not a silent winner."""
    unpack(tar(tmp_path / "a.tgz", [(member("p/a.py"), b"a")]), tmp_path / "lib", name="a.tgz", strip=0)
    unpack(tar(tmp_path / "b.tgz", [(member("p/b.py"), b"b")]), tmp_path / "lib", name="b.tgz", strip=0)
    assert sorted(entry.name for entry in (tmp_path / "lib/p").iterdir()) == ["a.py", "b.py"]
    with pytest.raises(BuildError, match="another source"):
        unpack(tar(tmp_path / "c.tgz", [(member("p/b.py"), b"other")]), tmp_path / "lib", name="c.tgz", strip=0)


HOSTILE: dict[str, list[tuple[tarfile.TarInfo, bytes]]] = {
    "absolute name": [(member("/tmp/canary"), b"x")],
    "parent": [(member("a/../../canary"), b"x")],
    "absolute link": [(member("a", kind=tarfile.SYMTYPE, link="/etc/passwd"), b"")],
    "link out": [(member("a/b", kind=tarfile.SYMTYPE, link="../../canary"), b"")],
    "link up behind a link": [
        (member("s/d/here", kind=tarfile.SYMTYPE, link="."), b""),
        (member("s/d/out", kind=tarfile.SYMTYPE, link="here/here/../../.."), b""),
    ],
    "empty link": [(member("a", kind=tarfile.SYMTYPE, link=""), b"")],
    "hard link out": [(member("a", kind=tarfile.LNKTYPE, link="../canary"), b"")],
    "hard link to nothing": [(member("a", kind=tarfile.LNKTYPE, link="b"), b"")],
    "hard link to a link": [(member("l", kind=tarfile.SYMTYPE, link="x"), b""), (member("a", kind=tarfile.LNKTYPE, link="l"), b"")],
    "device": [(member("a", kind=tarfile.CHRTYPE), b"")],
    "pipe": [(member("a", kind=tarfile.FIFOTYPE), b"")],
    "file and directory": [(member("a"), b"x"), (member("a/b"), b"y")],
    "directory and file": [(member("a/b"), b"x"), (member("a"), b"y")],
    "file and directory member": [(member("a"), b"x"), (member("a", kind=tarfile.DIRTYPE), b"")],
    "file above a directory member": [(member("a"), b"x"), (member("a/b", kind=tarfile.DIRTYPE), b"")],
    "directory and link": [(member("a/b"), b"x"), (member("a", kind=tarfile.SYMTYPE, link="b"), b"")],
    "long name": [(member("x" * 300), b"")],
}


@pytest.mark.parametrize("attack", HOSTILE)
def test_a_hostile_archive_is_refused_and_nothing_stays(tmp_path: Path, attack: str) -> None:
    """The canary beside the directory keeps its bytes, and no temporary directory is left."""
    canary = tmp_path / "canary"
    canary.write_text("alive")
    path = tar(tmp_path / "a.tgz", HOSTILE[attack])
    with pytest.raises(FormatError):
        unpack(path, tmp_path / "deep" / "src", name="a.tgz")
    assert canary.read_text() == "alive"
    assert [entry.name for entry in (tmp_path / "deep").iterdir()] == ["src"]
    assert list((tmp_path / "deep/src").iterdir()) == []


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    """A link that comes first and a file below its name: the directory wins, and the link is refused."""
    path = tar(tmp_path / "a.tgz", [(member("d", kind=tarfile.SYMTYPE, link="e"), b""), (member("d/x"), b"x"), (member("e/y"), b"y")])
    with pytest.raises(FormatError):
        unpack(path, tmp_path / "src", name="a.tgz", strip=0)


def test_caps_hold_while_unpacking(tmp_path: Path) -> None:
    """A bomb is stopped by its real bytes and members, not by what it declares."""
    bomb = tar(tmp_path / "a.tgz", [(member("zeros"), bytes(3_000_000))])
    with pytest.raises(LimitError):
        unpack(bomb, tmp_path / "src", name="a.tgz", caps=Caps(size=1_000_000))
    many = tar(tmp_path / "b.tgz", [(member(f"f{number}"), b"") for number in range(30)])
    with pytest.raises(LimitError):
        unpack(many, tmp_path / "src", name="b.tgz", caps=Caps(members=20))


@pytest.mark.parametrize("link", ["/etc/passwd", "../../x", "a/../../x"])
def test_zip_links_follow_the_same_rules(tmp_path: Path, link: str) -> None:
    """A link in a zip is a member with a mode."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("d/link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, link)
    with pytest.raises(FormatError):
        unpack(path, tmp_path / "src", name="a.zip")


@pytest.mark.parametrize(
    "make", [lambda data: data[: len(data) // 2], lambda data: data[:40] + b"\xff" * 40 + data[80:], lambda _data: b"no"]
)
def test_a_damaged_archive_is_a_format_error(tmp_path: Path, make: Callable[[bytes], bytes]) -> None:
    """Cut, overwritten, or none at all."""
    path = tar(tmp_path / "a.tar.xz", [(member("a/x"), os.urandom(5000))], "w:xz")
    path.write_bytes(make(path.read_bytes()))
    with pytest.raises(FormatError):
        unpack(path, tmp_path / "src", name="a.tar.xz")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80, deadline=None)
@given(
    names=st.lists(st.text(st.sampled_from("ab/.\\\0é "), min_size=1, max_size=12), max_size=6),
    kinds=st.lists(st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE]), min_size=6, max_size=6),
    links=st.lists(st.text(st.sampled_from("ab/."), max_size=10), min_size=6, max_size=6),
)
def test_no_archive_escapes(tmp_path_factory: pytest.TempPathFactory, names: list[str], kinds: list[bytes], links: list[str]) -> None:
    """Whatever the members: everything, links resolved, stays below the directory, or it is refused."""
    base = tmp_path_factory.mktemp("unpack")
    path = tar(base / "a.tar", [(member(name, kind=kinds[at], link=links[at]), b"") for at, name in enumerate(names)], "w")
    into = base / "inner" / "src"
    try:
        unpack(path, into, name="a.tar", strip=0)
    except InputError:
        assert not list(into.iterdir())
        return
    for directory, folders, files in os.walk(into):
        for name in [*folders, *files]:
            assert Path(os.path.realpath(Path(directory, name))).is_relative_to(os.path.realpath(into))


def test_files_keep_the_time_that_the_archive_says(tmp_path: Path) -> None:
    """Or make would remake what a release brought ready-made, with tools that are not there; times that no disk can hold are the first."""
    members = []
    for name, mtime in (("configure.ac", 1_000), ("configure", 2_000), ("old", -5), ("far", 2**40)):
        info = member(name)
        info.mtime = mtime
        members.append((info, b"x"))
    unpack(tar(tmp_path / "a.tar", members, "w"), tmp_path / "src", name="a.tar")
    assert {path.name: path.stat().st_mtime for path in (tmp_path / "src").iterdir()} == {
        "configure.ac": 1_000, "configure": 2_000, "old": 0, "far": 0,
    }  # fmt: skip
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(zipfile.ZipInfo("a", (2001, 9, 9, 1, 46, 40)), "x")
        archive.writestr(zipfile.ZipInfo("b", (1980, 0, 0, 0, 0, 0)), "x")
    unpack(tmp_path / "a.zip", tmp_path / "zip", name="a.zip")
    assert (tmp_path / "zip/a").stat().st_mtime == 1_000_000_000
    assert (tmp_path / "zip/b").stat().st_mtime == 0


def test_damage_that_a_compressor_reports_in_its_own_way_is_a_format_error(tmp_path: Path) -> None:
    """bzip2 raises an error of the system without a number."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("a", os.urandom(4096))
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[2000] ^= 0x55
    (tmp_path / "a.zip").write_bytes(data)
    with pytest.raises(FormatError, match="damaged"):
        unpack(tmp_path / "a.zip", tmp_path / "src", name="a.zip")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "src"]


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_a_header_that_would_fill_the_memory_is_refused(tmp_path: Path, kind: bytes) -> None:
    """tarfile reads such headers whole, and two hundred megabytes of zeros are two hundred kilobytes of gzip."""
    import gzip
    import tracemalloc

    head = member("p", kind=kind)
    head.size = 64 * 2**20
    with gzip.open(tmp_path / "a.tgz", "wb", compresslevel=1) as out:
        out.write(member("before").tobuf() + head.tobuf(tarfile.USTAR_FORMAT))
        for _ in range(64):
            out.write(bytes(2**20))
    tracemalloc.start()
    try:
        with pytest.raises(LimitError, match="header of more than"):
            unpack(tmp_path / "a.tgz", tmp_path / "src", name="a.tgz")
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()
