"""A real depot of its own for tests, with an origin, its key, and releases of the test service."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hart import archive
from hart.artifact import sign_payload
from hart.ident import Ident
from hart.keyfile import generate_signing_pair
from hart.keys import KeyCache
from hart.root import Root
from hart.target import host_target
from tests.supervisor.workshop import lay_package

STEAD = str(Path(sys.executable).with_name("stead"))
KEY = generate_signing_pair("t", "20260101000000", seed=bytes(32))


@dataclass(frozen=True, slots=True)
class TestDepot:
    """`bench` is the root where packages are made; hosts have others."""

    __test__ = False
    url: str
    bench: Root
    env: Mapping[str, str]

    def stead(self, *arguments: str) -> str:
        return subprocess.run([STEAD, *arguments], env=self.env, check=True, capture_output=True, text=True, timeout=60).stdout

    def publish(self, ident: str, channel: str = "stable", *, files: Mapping[str, str] | None = None) -> None:
        """Lay the test service out, pack, sign, upload and promote it."""
        parsed = lay_package(self.bench, ident, files=files, metafiles={"RELOCATABLE": "yes\n"})
        payload = self.bench.path / "payload"
        with payload.open("wb") as out:
            archive.pack(self.bench.package(parsed), parsed, out, mtime=1_700_000_000, level=0)
        artifact = self.bench.path / parsed.archive_name(str(host_target()))
        sign_payload(payload, artifact, KEY)
        self.stead("pkg", "upload", str(artifact), "--channel", channel)

    def trusted_by(self, root: Root) -> None:
        """Put the origin's public key into a host's key cache."""
        KeyCache(root.keys).store(KEY.public)

    def demote(self, ident: str, channel: str = "stable") -> None:
        self.stead("pkg", "demote", str(Ident.parse(ident)), channel)


@contextmanager
def depot(directory: Path) -> Iterator[TestDepot]:
    """A depot with the origin `t`; ended at the end."""
    bench = Root(directory / "bench")
    bench.path.mkdir(parents=True)
    KeyCache(bench.keys).store(KEY)
    KeyCache(bench.keys).store(KEY.public)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("STEAD_", "HAB_"))}
    data = ["--data", str(directory / "data")]
    token = json.loads(
        subprocess.run(
            [STEAD, "depot", "token", "create", *data, "--account", "me", "--json"], env=clean, check=True, capture_output=True, timeout=60
        ).stdout
    )["token"]
    with subprocess.Popen(
        [STEAD, "depot", "serve", *data, "--listen", "127.0.0.1:0"], env=clean, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            url = ""
            while not url:
                line = process.stdout.readline()
                assert line, "the depot ended"
                found = re.search(r"http://127\.0\.0\.1:[1-9][0-9]*", line)
                url = found.group() if found else ""
            env = {**clean, "STEAD_ROOT": str(bench.path), "STEAD_DEPOT_URL": url, "STEAD_TOKEN": token}
            made = TestDepot(url, bench, env)
            made.stead("origin", "create", "t")
            yield made
        finally:
            process.terminate()
            process.communicate(timeout=30)
