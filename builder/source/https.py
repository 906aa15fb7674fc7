"""Sources by https address.

Rules: names are resolved once, every address is checked (`guard`) and the connection goes to a checked one, with the certificate
checked for the name; at most five redirects, each checked alike, never from https to http; no credentials, cookies or proxies;
identity encoding only; bounded in bytes and time. Plain http is for plan.sh, where the pin alone vouches for the bytes.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import string
import time
from pathlib import Path
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from builder.plan import Pin
from builder.source.guard import refusal
from builder.source.scheme import Fetched, Surroundings
from hart.console import Progress
from hart.errors import DeniedError, LimitError, NotFoundError, UnavailableError
from hart.files import storage
from hart.limits import CHUNK, SOURCE_CONNECT_S, SOURCE_DEADLINE_S, SOURCE_MAX, SOURCE_READ_S, SOURCE_REDIRECTS_MAX

REDIRECTS = (301, 302, 303, 307, 308)
TRY_LATER = (408, 425, 429, 500, 502, 503, 504)


def fetch(pin: Pin, into: Path, around: Surroundings) -> Fetched:
    """Download the pin's address into `into`."""
    return download(pin.locator, into, plain_http=pin.plain_http, allow_private=around.allow_private, progress=around.progress)


def download(url: str, into: Path, *, plain_http: bool, allow_private: bool, progress: Progress) -> Fetched:
    """Follow redirects to a file; its name is the last part of the address that was asked for."""
    filename = filename_of(url)
    deadline = time.monotonic() + SOURCE_DEADLINE_S
    at = url
    for _ in range(SOURCE_REDIRECTS_MAX + 1):
        connection = connect(at, plain_http=plain_http, allow_private=allow_private)
        try:
            parts = urlsplit(at)
            target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
            connection.request("GET", target, headers={"Accept-Encoding": "identity", "User-Agent": "stead", "Accept": "*/*"})
            response = connection.getresponse()
            if response.status in REDIRECTS and (location := response.headers.get("Location")):
                plain_http = plain_http and urlsplit(at).scheme == "http"
                at = next_hop(at, location)
                continue
            check_status(url, response)
            path = into / "download"
            receive(url, response, path, deadline, progress)
            return Fetched(path, filename)
        except TimeoutError as error:
            raise UnavailableError(url, "did not answer in time") from error
        except (OSError, http.client.HTTPException) as error:
            raise UnavailableError(url, f"the connection broke: {error}") from error
        finally:
            connection.close()
    raise UnavailableError(url, f"redirects more than {SOURCE_REDIRECTS_MAX} times")


def next_hop(at: str, location: str) -> str:
    """Where a redirect leads; bytes beyond ASCII, which some servers send as they are, are %-encoded."""
    try:
        return urljoin(at, quote(location.encode("latin-1"), safe=string.punctuation))
    except ValueError as error:
        raise UnavailableError(at, f"redirects to what is no address: {error}") from error


def connect(url: str, *, plain_http: bool, allow_private: bool) -> http.client.HTTPConnection:
    """A connection to a checked address of the url's host."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise DeniedError(url, f"is not an address: {error}") from error
    if parts.scheme != "https" and not (plain_http and parts.scheme == "http"):
        raise DeniedError(url, f"{parts.scheme or 'no scheme'} is not fetched, only https")
    if not host or parts.username is not None or any(not char.isascii() or char.isspace() or not char.isprintable() for char in url):
        raise DeniedError(url, "is not an address of a public file")
    port = port or (443 if parts.scheme == "https" else 80)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnavailableError(url, f"the name {host} cannot be resolved: {error}") from error
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        if not allow_private and (why := refusal(address)):
            raise DeniedError(url, f"{host} is at {address}, and {why}", next="stead pkg build --allow-private-sources, if that is meant")
    connection = http.client.HTTPConnection(host, port, timeout=SOURCE_CONNECT_S)
    connection.sock = open_socket(url, addresses, port)
    if parts.scheme == "https":
        connection.default_port = 443  # or the Host header would name the port, which some stores sign over
        try:
            connection.sock = ssl.create_default_context().wrap_socket(connection.sock, server_hostname=host)
        except (OSError, ssl.SSLError) as error:
            connection.close()
            raise UnavailableError(url, f"no trusted TLS connection: {error}") from error
    connection.sock.settimeout(SOURCE_READ_S)
    return connection


def open_socket(url: str, addresses: list[str], port: int) -> socket.socket:
    """The first address that answers."""
    failure: OSError | None = None
    for address in dict.fromkeys(addresses):
        try:
            return socket.create_connection((address, port), timeout=SOURCE_CONNECT_S)
        except OSError as error:
            failure = error
    raise UnavailableError(url, f"cannot be reached: {failure}") from failure


def check_status(url: str, response: http.client.HTTPResponse) -> None:
    if response.status in (404, 410):
        raise NotFoundError(url, f"the server answers {response.status}: no such file")
    if response.status in (401, 403):
        raise DeniedError(url, f"the server answers {response.status}")
    if response.status != 200:
        later = ", it may work later" if response.status in TRY_LATER else ""
        raise UnavailableError(url, f"the server answers {response.status}{later}")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnavailableError(url, "the server sends an encoding that was not asked for")


def receive(url: str, response: http.client.HTTPResponse, path: Path, deadline: float, progress: Progress) -> None:
    """Write the body to `path`; a body shorter than its declared length is an error."""
    declared = response.headers.get("Content-Length", "")
    total = int(declared) if declared.isascii() and declared.isdigit() and len(declared) < 20 else None
    if total is not None and total > SOURCE_MAX:
        raise LimitError(url, f"is larger than {SOURCE_MAX} bytes")
    done = 0
    with storage(path):
        sink = path.open("xb")
    with sink:
        while block := response.read1(CHUNK):
            done += len(block)
            if done > SOURCE_MAX:
                raise LimitError(url, f"is larger than {SOURCE_MAX} bytes")
            if time.monotonic() > deadline:
                raise UnavailableError(url, f"was not complete after {SOURCE_DEADLINE_S:g} seconds")
            with storage(path):
                sink.write(block)
            progress(done, total)
    if total is not None and done != total:
        raise UnavailableError(url, f"the connection broke after {done} of {total} bytes")


def filename_of(url: str) -> str:
    """The last part of an address's path, made safe as a file name."""
    last = urlsplit(url).path.rsplit("/", 1)[-1]
    safe = "".join(char if char.isascii() and (char.isalnum() or char in "._+@~=,-") else "_" for char in last)[:200]
    return safe if safe.strip("._") else "source"
