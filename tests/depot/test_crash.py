"""`stead pkg install` in its own process: killed at any moment, and measured."""

import hashlib
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from hart.artifact import sign_payload
from hart.installed import InstalledTree
from hart.limits import CHUNK
from hart.metafiles import Metadata, render
from hart.root import Root
from hart.target import host_target
from tests.depot.simulator import TARGET, Simulator, ident, key_of, make_package, trusting

APP, LIB = ident("acme/app"), ident("acme/lib")
KILLS = 50
DEADLINE_S = 60.0
SEED = 20261123
MEMORY_MAX = 120_000_000  # bytes of resident memory, whatever the package's size
MEASURED = """
import sys, stead
try:
    stead.main(sys.argv[1:])
finally:
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print(int(peak.split()[1]) * 1024, file=open({report!r}, "w"))
"""


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as made:
        yield made


def environment(root: Path, simulator: Simulator) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("STEAD_", "HAB_"))}
    return kept | {"STEAD_ROOT": str(root), "STEAD_DEPOT_URL": simulator.url}


def contents(name: str, size: int) -> dict[str, bytes]:
    """Many small files and one that takes a while; the same in every run."""
    chance = random.Random(f"{SEED} {name}")
    return {f"share/{number:03}": chance.randbytes(200) for number in range(150)} | {"lib/big": chance.randbytes(size)}


def check_store(root: Path, expected: dict[str, dict[str, bytes]]) -> set[str]:
    """Every release is whole, with all that it needs; returns their idents. What is no release is not asked about."""
    tree = InstalledTree(Root(root))
    releases = {"/".join(path.parts[-4:]): path for path in root.glob("pkgs/*/*/*/*") if not path.name.startswith(".")}
    visible = {str(package.ident): package for package in tree.list()}
    assert set(visible) == set(releases), "a release is there that the tree cannot read"
    for name, package in visible.items():
        for file, data in expected[name].items():
            assert (package.path / file).read_bytes() == data, f"{name}: {file} is not whole"
        for need in package.metadata.tdeps:
            assert str(need) in visible, f"{name} is there without {need}"
    return set(visible)


def check_cache(root: Path, checksums: dict[str, str]) -> None:
    """What has an artifact's name is that artifact."""
    for path in (root / "cache/artifacts").glob("*.hart"):
        assert hashlib.sha256(path.read_bytes()).hexdigest() == checksums[path.name]


def stored_xz(source: BinaryIO, out: BinaryIO) -> None:
    """One xz stream that holds its input uncompressed (LZMA2 chunks of kind 1 and 2): large artifacts in seconds instead of minutes."""

    def sealed(data: bytes) -> bytes:
        return data + zlib.crc32(data).to_bytes(4, "little")

    def number(value: int) -> bytes:
        return bytes([value & 127 | 128]) + number(value >> 7) if value > 127 else bytes([value])

    flags, size, check, lead = b"\0\1", 0, 0, b"\1"  # CRC32; the first chunk resets the dictionary
    out.write(b"\xfd7zXZ\0" + flags + zlib.crc32(flags).to_bytes(4, "little"))
    out.write(sealed(b"\2\0\x21\1\x08\0\0\0"))
    packed = 12
    while chunk := source.read(65536):
        out.write(lead + (len(chunk) - 1).to_bytes(2, "big") + chunk)
        packed, size, check, lead = packed + 3 + len(chunk), size + len(chunk), zlib.crc32(chunk, check), b"\2"
    out.write(b"\0" + bytes(-(packed + 1) % 4) + check.to_bytes(4, "little"))
    index = b"\0\1" + number(packed + 1 + 4) + number(size)
    index += bytes(-len(index) % 4)
    out.write(sealed(index))
    tail = (len(index) // 4).to_bytes(4, "little") + flags
    out.write(zlib.crc32(tail).to_bytes(4, "little") + tail + b"YZ")


def large_artifact(directory: Path, size: int) -> tuple[bytes, Path]:
    """acme/app with one file `data` of so many random bytes: its sha256, and the artifact."""
    chance, digest = random.Random(SEED), hashlib.sha256()
    with (directory / "data").open("wb") as out:
        for at in range(0, size, CHUNK):
            block = chance.randbytes(min(CHUNK, size - at))
            digest.update(block)
            out.write(block)
    top = f"hab/pkgs/{APP}"
    with tarfile.open(directory / "tar", "w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in render(Metadata(ident=APP, target=host_target(), relocatable=True)).items():
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        tar.add(directory / "data", f"{top}/data")
    with (directory / "tar").open("rb") as source, (directory / "payload").open("wb") as out:
        stored_xz(source, out)
    sign_payload(directory / "payload", directory / "big.hart", key_of("acme"))
    return digest.digest(), directory / "big.hart"


def stages(root: Path) -> list[Callable[[], bool]]:
    """What can be seen of an install from outside, in order. Once true, each stays true, so none is missed by looking late."""
    cache = root / "cache/artifacts"
    lib, app = root / "pkgs" / str(LIB), root / "pkgs" / str(APP)

    def staged(release: Path, files: int) -> bool:
        try:
            inside = [sum(1 for _ in each.rglob("*")) for each in release.parent.glob(".hab-pkg-install-*")]
        except FileNotFoundError:  # it was renamed while we looked
            inside = []
        return release.exists() or any(count >= files for count in inside)

    return [
        lambda: True,
        lambda: any(cache.glob(f".{APP.archive_name(TARGET)}.part")) or stages(root)[2](),
        (cache / APP.archive_name(TARGET)).exists,
        lambda: any(cache.glob(f".{LIB.archive_name(TARGET)}.part")) or stages(root)[4](),
        (cache / LIB.archive_name(TARGET)).exists,
        lambda: staged(lib, 1),
        lambda: staged(lib, 100),
        lib.exists,
        lambda: staged(app, 1),
        lambda: staged(app, 100),
        app.exists,
    ]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_install_that_is_killed_leaves_whole_packages_only(tmp_path: Path, simulator: Simulator) -> None:
    """S16: kill -9 at fifty moments; a package is absent or complete, and never without what it needs. Each next run goes on from there."""
    expected = {str(LIB): contents("lib", 8_000_000), str(APP): contents("app", 8_000_000)}
    paths = [
        make_package(tmp_path / "made", "acme/lib", files=expected[str(LIB)]),
        make_package(tmp_path / "made", "acme/app", needs=(LIB,), files=expected[str(APP)]),
    ]
    for path in paths:
        simulator.add(path)
    checksums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    command = [sys.executable, "-m", "stead", "pkg", "install", "acme/app"]

    def start(root: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen(command, env=environment(root, simulator), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def kill_when(root: Path, stage: Callable[[], bool]) -> None:
        child = start(root)
        deadline = time.monotonic() + DEADLINE_S
        while not stage() and child.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(chance.choice((0.0, chance.uniform(0.0, 0.6))))
        child.send_signal(signal.SIGKILL)
        child.communicate()

    chance = random.Random(SEED)
    seen: set[frozenset[str]] = set()
    root = tmp_path / "root-0"
    trusting(root / "cache/keys", "acme")
    for number in range(1, KILLS + 1):
        places = stages(root)
        kill_when(root, places[number % len(places)])
        found = check_store(root, expected)
        check_cache(root, checksums)
        seen.add(frozenset(found))
        if number % 2 == 0 or len(found) == 2:
            last = start(root)
            _, said = last.communicate(timeout=DEADLINE_S)
            assert last.returncode == 0, said
            assert check_store(root, expected) == {str(LIB), str(APP)}
            assert not list(root.glob("pkgs/*/*/*/.hab-pkg-install-*")), "what a killed install left was not swept"
            assert not list((root / "cache/artifacts").glob(".*")), "a part was left behind"
            shutil.rmtree(root)
            root = tmp_path / f"root-{number}"
            trusting(root / "cache/keys", "acme")
    assert {frozenset(), frozenset({str(LIB)})} <= seen, f"kills came too late to matter: {seen}"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_installing_a_large_package_takes_little_memory(tmp_path: Path, simulator: Simulator) -> None:
    """300 MB go through download, verification and unpacking in constant memory."""
    digest, path = large_artifact(tmp_path, 300_000_000)
    simulator.add_file(path, APP)
    root, report = tmp_path / "root", tmp_path / "peak"
    trusting(root / "cache/keys", "acme")
    done = subprocess.run(
        [sys.executable, "-c", MEASURED.format(report=str(report)), "pkg", "install", "acme/app"],
        env=environment(root, simulator),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with (root / "pkgs" / str(APP) / "data").open("rb") as file:
        assert hashlib.file_digest(file, "sha256").digest() == digest
    assert int(report.read_text()) < MEMORY_MAX
