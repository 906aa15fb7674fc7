"""The depot beside nginx: the same bytes over loopback, in one run; and the memory that 300 MB cost.

    apt-get install nginx-light wrk     or another way to have nginx and wrk
    python benchmarks/depot.py [--json] [--seconds S] [--rounds N] [--megabytes M]

A depot with one package of 10 KB and one of M megabytes is served as it always is. nginx, one worker, sendfile, no log, gives out the very
same bytes: the answer to a lookup as a file, and the artifact. wrk asks both in turns (A B A B …) over the same number of kept connections,
and the medians are compared. There is no goal: nginx looks nothing up and checks nothing, so it is what the machine can do. Memory is the
peak of the server (VmHWM) and of the client (RUSAGE), over one publication and one installation of the large package.
Everything is below a temporary directory and ends with this program.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from depot import routes
from hart.archive import pack
from hart.artifact import sign_payload
from hart.ident import Ident
from hart.keys import KeyCache, SecretSigningKey, generate_signing_pair
from hart.metafiles import Metadata, render
from hart.target import host_target

HERE = Path(__file__).resolve().parent.parent
MIB = 1 << 20
SMALL, LARGE = Ident("bench", "small", "1.0", "20260101000000"), Ident("bench", "large", "1.0", "20260101000000")
CONNECTIONS = 16

NGINX = """\
daemon off; master_process off; worker_processes 1; pid {directory}/nginx.pid; error_log stderr crit;
events {{ worker_connections 256; }}
http {{
    access_log off; sendfile on; keepalive_requests 1000000; default_type application/octet-stream;
    client_body_temp_path {directory}/t1; proxy_temp_path {directory}/t2; fastcgi_temp_path {directory}/t3;
    uwsgi_temp_path {directory}/t4; scgi_temp_path {directory}/t5;
    server {{ listen 127.0.0.1:{port}; root {directory}/www; }}
}}
"""


def stead(*args: str, **environ: str) -> list[str]:
    """The output of one command, and an error that names it when it fails."""
    done = subprocess.run(
        [sys.executable, "-m", "stead", *args], cwd=HERE, env=os.environ | environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"error: stead {' '.join(args[:3])} failed ({done.returncode}):\n{done.stderr}")
    return done.stdout.splitlines()


def make(directory: Path, ident: Ident, key: SecretSigningKey, size: int) -> Path:
    """A signed artifact with `size` bytes that do not compress."""
    tree = directory / ident.name
    tree.mkdir()
    for name, data in render(Metadata(ident=ident, target=host_target(), relocatable=True, manifest="# bench\n")).items():
        (tree / name).write_bytes(data)
    chance = random.Random(size)  # noqa: S311  ballast, the same in every run
    with (tree / "ballast").open("wb") as out:
        for at in range(0, size, MIB):
            out.write(chance.randbytes(min(MIB, size - at)))
    payload, artifact = directory / "payload", directory / ident.archive_name(str(host_target()))
    with payload.open("wb") as stream:
        pack(tree, ident, stream, mtime=0, level=0)
    sign_payload(payload, artifact, key)
    payload.unlink()
    shutil.rmtree(tree)
    return artifact


@contextmanager
def running(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process for the length of the block."""
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, cwd=HERE, stdout=subprocess.PIPE, stderr=stderr)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)
        assert process.stdout is not None
        process.stdout.close()


def first_json(process: subprocess.Popen[bytes]) -> Any:
    """What a command with --json says when it is ready."""
    assert process.stdout is not None
    lines: list[bytes] = []
    while not lines or lines[-1].strip() != b"}":
        lines.append(process.stdout.readline())
        if not lines[-1]:
            raise SystemExit("error: the depot did not start")
    return json.loads(b"".join(lines))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def read(url: str) -> bytes:
    """A whole answer; waits for a server that has just been started."""
    deadline = time.monotonic() + 10
    while True:
        try:
            with urlopen(url) as answer:  # noqa: S310  our own loopback URLs
                return bytes(answer.read())
        except ConnectionRefusedError as error:
            if time.monotonic() > deadline:
                raise SystemExit(f"error: nobody answers at {url}") from error
        except OSError as error:
            if not isinstance(getattr(error, "reason", None), ConnectionRefusedError) or time.monotonic() > deadline:
                raise SystemExit(f"error: {url}: {error}") from error
        time.sleep(0.05)


def rate(url: str, seconds: float) -> float:
    """Requests a second, as wrk counts them; an answer that is no 2xx ends the run."""
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec:\s+([0-9.]+)", said)
    if found is None or "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"error: {url} did not stand the load:\n{said}")
    return float(found[1])


def compare(what: str, ours: str, theirs: str, options: argparse.Namespace) -> dict[str, Any]:
    """Both in turns; they must say the same before anything is measured."""
    if read(ours) != read(theirs):
        raise SystemExit(f"error: {ours} and {theirs} differ")
    pairs = [(rate(ours, options.seconds), rate(theirs, options.seconds)) for _ in range(options.rounds)]
    a, b = statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)
    return {"what": what, "depot_per_s": round(a), "nginx_per_s": round(b), "ratio": round(a / b, 3)}


def peak_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))) / 1024


def timed(*args: str, **environ: str) -> float:
    start = time.monotonic()
    stead(*args, **environ)
    return time.monotonic() - start


def measure(directory: Path, options: argparse.Namespace) -> dict[str, Any]:
    data, keys = directory / "depot", directory / "keys"
    key = generate_signing_pair("bench", "20260101000000")
    KeyCache(keys).store(key)
    KeyCache(keys).store(key.public)
    small, large = make(directory, SMALL, key, 10_000), make(directory, LARGE, key, options.megabytes * 1_000_000)
    with ExitStack() as stack:
        server = stack.enter_context(
            running([sys.executable, "-m", "stead", "depot", "serve", "--data", str(data), "--port", "0", "--json"], directory / "log")
        )
        url = first_json(server)["url"]
        token = stead("depot", "token", "create", "--data", str(data), "--account", "bench")[-1]
        root = directory / "root"
        environ = {"STEAD_DEPOT_URL": url, "STEAD_TOKEN": token, "STEAD_KEYS": str(keys), "STEAD_ROOT": str(root)}
        stead("origin", "create", "bench", **environ)
        stead("pkg", "upload", str(small), **environ)
        upload_s = timed("pkg", "upload", str(large), **environ)
        upload_peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        install_s = timed("pkg", "install", str(LARGE), **environ)
        children_peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        size = large.stat().st_size / 1e6
        memory = {
            "megabytes": round(size), "server_peak_mib": round(peak_mib(server.pid), 1), "upload_s": round(upload_s, 2),
            "upload_client_peak_mib": round(upload_peak, 1), "install_s": round(install_s, 2),
            "largest_client_peak_mib": round(children_peak, 1),
        }  # fmt: skip
        where = {"origin": SMALL.origin, "name": SMALL.name, "version": str(SMALL.version), "release": str(SMALL.release)}
        lookup = f"{url}/v1{routes.CHANNEL_LATEST.path(channel='unstable', **where)}"
        download = f"{url}/v1{routes.DOWNLOAD.path(**where)}"
        www, port = directory / "www", free_port()
        www.mkdir(mode=0o755)
        directory.chmod(0o755)  # started as root, nginx reads as nobody
        (www / "lookup").write_bytes(read(lookup))
        shutil.copy(small, www / "download")
        config = directory / "nginx.conf"
        config.write_text(NGINX.format(directory=directory, port=port))
        stack.enter_context(running(["nginx", "-p", str(directory), "-c", str(config)], directory / "nginx.log"))
        read(f"http://127.0.0.1:{port}/lookup")
        rows = [
            compare("lookup of a package", lookup, f"http://127.0.0.1:{port}/lookup", options),
            compare("download of 10 KB", download, f"http://127.0.0.1:{port}/download", options),
        ]
    return {"connections": CONNECTIONS, "rows": rows, "memory": memory}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--seconds", type=float, default=2, help="of each turn (default 2)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each side (default 3)")
    parser.add_argument("--megabytes", type=int, default=300, help="size of the large package (default 300)")
    options = parser.parse_args()
    missing = [name for name in ("nginx", "wrk") if shutil.which(name) is None]
    if missing:
        print(f"error: {' and '.join(missing)} not found; for example: apt-get install nginx-light wrk", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="stead-bench-") as name:
        found = measure(Path(name), options)
    if options.json:
        print(json.dumps(found, indent=2))
        return 0
    for row in found["rows"]:
        print(f"{row['what']:20} {row['depot_per_s']:7} /s   nginx {row['nginx_per_s']:7} /s   ratio {row['ratio']}")
    for name, value in found["memory"].items():
        print(f"{name:25} {value}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
