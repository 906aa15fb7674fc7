"""Downloads against a real server on loopback."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from builder.source.https import download, filename_of
from hart.errors import DeniedError, NotFoundError, SteadError, UnavailableError

REDIRECTS = {
    "/once": "/file.tgz",
    "/loop": "/loop",
    "/to-file": "file:///etc/passwd",
    "/to-metadata": "http://169.254.169.254/latest/",
    "/to-nonsense": "https://[::1",
    "/to-umlaut": "/ü.tgz".encode().decode("latin-1"),
}


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by path; remembers the headers it saw."""

    seen: ClassVar[list[dict[str, str]]] = []

    def do_GET(self) -> None:
        self.seen.append(dict(self.headers))
        match self.path.partition("?")[0]:
            case "/file.tgz":
                self.answer(200, b"data" * 1000)
            case "/short":
                self.send_response(200)
                self.send_header("Content-Length", "100")
                self.end_headers()
                self.wfile.write(b"x" * 10)
            case "/encoded":
                self.answer(200, b"x", {"Content-Encoding": "gzip"})
            case path if path in REDIRECTS:
                self.answer(302, b"", {"Location": REDIRECTS[path]})
            case "/%C3%BC.tgz":
                self.answer(200, b"umlaut")
            case "/busy":
                self.answer(503, b"")
            case "/denied":
                self.answer(403, b"")
            case _:
                self.answer(404, b"")

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's word
        """Nothing on the test's output."""


@pytest.fixture
def server() -> Iterator[str]:
    Handler.seen.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


def get(url: str, into: Path, *, allow_private: bool = True, plain_http: bool = True) -> bytes:
    got = download(url, into, plain_http=plain_http, allow_private=allow_private, progress=lambda _done, _total, /: None)
    assert got.path is not None
    return got.path.read_bytes()


def test_a_file_is_downloaded_through_a_redirect(server: str, tmp_path: Path) -> None:
    """Whole, without credentials or encodings."""
    assert get(f"{server}/once", tmp_path) == b"data" * 1000
    assert Handler.seen[0]["Accept-Encoding"] == "identity"
    assert not {"Authorization", "Cookie"} & set(Handler.seen[0])


def test_loopback_is_refused_before_a_connection(server: str, tmp_path: Path) -> None:
    """Unless the caller allows private addresses; the server never hears of it."""
    for host in (server, server.replace("127.0.0.1", "localhost"), server.replace("127.0.0.1", "[::ffff:127.0.0.1]")):
        with pytest.raises(DeniedError, match="not a public address"):
            get(f"{host}/file.tgz", tmp_path, allow_private=False)
    assert Handler.seen == []


@pytest.mark.parametrize(
    ("path", "family"),
    [
        ("/nothing", NotFoundError),
        ("/denied", DeniedError),
        ("/busy", UnavailableError),
        ("/short", UnavailableError),
        ("/encoded", UnavailableError),
        ("/loop", UnavailableError),
        ("/to-file", DeniedError),
    ],
)
def test_what_is_no_whole_file_is_an_error(server: str, tmp_path: Path, path: str, family: type[SteadError]) -> None:
    """Of a family that says whether it may work later."""
    with pytest.raises(family):
        get(server + path, tmp_path)


def test_plain_http_needs_leave(server: str, tmp_path: Path) -> None:
    """plan.toml never gives it."""
    with pytest.raises(DeniedError, match="only https"):
        get(f"{server}/file.tgz", tmp_path, plain_http=False)
    assert Handler.seen == []


def test_every_hop_is_checked(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A public server that sends us to the cloud's metadata service: refused before the second connection."""
    import builder.source.https as module

    real = module.refusal
    monkeypatch.setattr(module, "refusal", lambda address: None if address == "127.0.0.1" else real(address))
    with pytest.raises(DeniedError, match=r"169\.254\.169\.254"):
        get(f"{server}/to-metadata", tmp_path, allow_private=False)


def test_an_unresolvable_name_may_work_later(tmp_path: Path) -> None:
    """Not found is about files; this is about the network."""
    with pytest.raises(UnavailableError, match="cannot be resolved"):
        get("https://name.invalid/x", tmp_path)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://e.org/a/web-1.0.tar.gz?x=/y#z", "web-1.0.tar.gz"),
        ("https://e.org/", "source"),
        ("https://e.org/..", "source"),
        ("https://e.org/a%2Fb c", "a_2Fb_c"),
    ],
)
def test_a_file_name_is_safe(url: str, name: str) -> None:
    """One component of plain characters."""
    assert filename_of(url) == name


def test_a_redirect_in_raw_utf8_is_followed(server: str, tmp_path: Path) -> None:
    """Some servers do not encode what they say."""
    assert get(f"{server}/to-umlaut", tmp_path) == b"umlaut"


@pytest.mark.parametrize("path", ["/to-nonsense", "/ü.tgz"])
def test_an_address_that_is_none_is_an_error_and_no_fault_of_ours(server: str, tmp_path: Path, path: str) -> None:
    """From a server, or from a plan.sh."""
    with pytest.raises((UnavailableError, DeniedError), match="address"):
        get(f"{server}{path}", tmp_path)
