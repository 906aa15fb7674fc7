"""The depot's HTTP surface: URL shapes, header names, paging, and which status means which error. Shared by both ends.

Rules: paths are below a prefix (default `/v1`) and are the Builder API's; every variable part is percent-encoded as one path component.
Errors have an empty body unless the client accepts `application/problem+json`. Ids are strings, times are naive ISO with microseconds.
A refusal is final below 500, except 408 and 429 (a proxy's), and may be tried again from 500 on, except 501 (target not served) and 507
(disk full).
Source: Builder's `/v1` API (reference: depot API 0, 1.1 to 1.5). Not here: what a request does (depot/server.py), sockets, files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit, urlunsplit

from hart.errors import (
    ConflictError,
    DeniedError,
    FormatError,
    InputError,
    LimitError,
    NotFoundError,
    SteadError,
    StorageError,
    TrustError,
    UnavailableError,
    UsageError,
)

DEFAULT_PORT: Final = 9636
DEFAULT_PREFIX: Final = "/v1"
DEFAULT_TARGET: Final = "x86_64-linux"

X_FILENAME: Final = "X-Filename"  # the file's name for the client's cache; Habitat's client cannot do without it
X_CHECKSUM: Final = "X-Checksum"  # BLAKE2b-256 hex of the stored artifact: on downloads, and on a 409 to an upload
PROBLEM_JSON: Final = "application/problem+json"
OCTET_STREAM: Final = "application/octet-stream"
NO_CACHE: Final = "private, no-cache, no-store"
CACHE_YEAR: Final = "public, max-age=31536000"

PAGE: Final = 50  # rows of one answer; fixed by the API


@dataclass(frozen=True, slots=True)
class Route:
    """One method and path. `{name}` stands for one path component; `query` names the parameters that it understands."""

    method: str
    pattern: str
    query: tuple[str, ...] = ()

    def path(self, **parts: str) -> str:
        """The path below the prefix with every part percent-encoded; KeyError when a part is missing."""
        return self.pattern.format_map({name: quote(value, safe="") for name, value in parts.items()})


PAGED = ("range", "distinct")
SHOWN = ("target",)

STATUS = Route("GET", "/status")
PROFILE = Route("GET", "/profile")
USER_ORIGINS = Route("GET", "/user/origins")

ORIGIN_CREATE = Route("POST", "/depot/origins")
ORIGIN_SHOW = Route("GET", "/depot/origins/{origin}")
KEY_LIST = Route("GET", "/depot/origins/{origin}/keys")
KEY_LATEST = Route("GET", "/depot/origins/{origin}/keys/latest")
KEY_UPLOAD = Route("POST", "/depot/origins/{origin}/keys/{revision}")
KEY_DOWNLOAD = Route("GET", "/depot/origins/{origin}/keys/{revision}")

SEARCH = Route("GET", "/depot/pkgs/search/{query}", PAGED)
LIST_ORIGIN = Route("GET", "/depot/pkgs/{origin}", PAGED)
LIST_NAME = Route("GET", "/depot/pkgs/{origin}/{name}", PAGED)
VERSIONS = Route("GET", "/depot/pkgs/{origin}/{name}/versions")
LATEST = Route("GET", "/depot/pkgs/{origin}/{name}/latest", SHOWN)
LIST_VERSION = Route("GET", "/depot/pkgs/{origin}/{name}/{version}", PAGED)
LATEST_OF_VERSION = Route("GET", "/depot/pkgs/{origin}/{name}/{version}/latest", SHOWN)
PACKAGE = Route("GET", "/depot/pkgs/{origin}/{name}/{version}/{release}", SHOWN)
UPLOAD = Route("POST", "/depot/pkgs/{origin}/{name}/{version}/{release}", ("checksum", "target", "forced"))
DOWNLOAD = Route("GET", "/depot/pkgs/{origin}/{name}/{version}/{release}/download", SHOWN)
PACKAGE_CHANNELS = Route("GET", "/depot/pkgs/{origin}/{name}/{version}/{release}/channels", SHOWN)

CHANNEL_LIST = Route("GET", "/depot/channels/{origin}", ("sandbox",))
CHANNEL_CREATE = Route("POST", "/depot/channels/{origin}/{channel}")
CHANNEL_DELETE = Route("DELETE", "/depot/channels/{origin}/{channel}")
CHANNEL_PKGS = Route("GET", "/depot/channels/{origin}/{channel}/pkgs", PAGED)
CHANNEL_HEADS = Route("GET", "/depot/channels/{origin}/{channel}/pkgs/_latest", SHOWN)
CHANNEL_LIST_NAME = Route("GET", "/depot/channels/{origin}/{channel}/pkgs/{name}", PAGED)
CHANNEL_LATEST = Route("GET", "/depot/channels/{origin}/{channel}/pkgs/{name}/latest", SHOWN)
CHANNEL_LIST_VERSION = Route("GET", "/depot/channels/{origin}/{channel}/pkgs/{name}/{version}", PAGED)
CHANNEL_LATEST_OF_VERSION = Route("GET", "/depot/channels/{origin}/{channel}/pkgs/{name}/{version}/latest", SHOWN)
CHANNEL_PACKAGE = Route("GET", "/depot/channels/{origin}/{channel}/pkgs/{name}/{version}/{release}", SHOWN)
PROMOTE_ALL = Route("PUT", "/depot/channels/{origin}/{channel}/pkgs/promote", ("channel",))
DEMOTE_ALL = Route("PUT", "/depot/channels/{origin}/{channel}/pkgs/demote", ("channel",))
PROMOTE = Route("PUT", "/depot/channels/{origin}/{channel}/pkgs/{name}/{version}/{release}/promote", SHOWN)
DEMOTE = Route("PUT", "/depot/channels/{origin}/{channel}/pkgs/{name}/{version}/{release}/demote", SHOWN)

# Literal components before variable ones: the server tries them in this order.
ROUTES: Final = (
    STATUS, PROFILE, USER_ORIGINS,
    ORIGIN_CREATE, ORIGIN_SHOW, KEY_LIST, KEY_LATEST, KEY_UPLOAD, KEY_DOWNLOAD,
    SEARCH, LIST_ORIGIN, LIST_NAME, VERSIONS, LATEST, LIST_VERSION, LATEST_OF_VERSION, PACKAGE, UPLOAD, DOWNLOAD, PACKAGE_CHANNELS,
    CHANNEL_LIST, CHANNEL_CREATE, CHANNEL_DELETE, CHANNEL_PKGS, CHANNEL_HEADS, PROMOTE_ALL, DEMOTE_ALL, CHANNEL_LIST_NAME,
    CHANNEL_LATEST, CHANNEL_LIST_VERSION, CHANNEL_LATEST_OF_VERSION, CHANNEL_PACKAGE, PROMOTE, DEMOTE,
)  # fmt: skip


def base_url(url: str) -> str:
    """A depot's URL with its prefix and without a trailing slash: no path means `/v1`, any other path is kept. UsageError if not http."""
    try:
        parts = urlsplit(url)
        usable = url.isprintable() and " " not in url and parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:  # brackets that do not match
        usable = False
    if not usable:
        raise UsageError(f"depot URL {url!r}", "is not an http or https URL", next="for example http://127.0.0.1:9636")
    if parts.query or parts.fragment or parts.username or parts.password:
        raise UsageError(
            f"depot at {parts.hostname}", "its URL has a query, a fragment or a password", next="give the token in STEAD_TOKEN"
        )
    return urlunsplit((parts.scheme, parts.netloc, prefix(parts.path), "", ""))


def prefix(path: str) -> str:
    """A URL path as prefix: one leading slash, no trailing one; empty means the default."""
    trimmed = path.strip("/")
    return f"/{trimmed}" if trimmed else DEFAULT_PREFIX


# --- status ↔ error

EMPTY_NEXT: Final = "see `stead depot token create`, and give the token in STEAD_TOKEN"
_STATUS_OF: tuple[tuple[type[SteadError], int], ...] = (
    (UsageError, 400),
    (LimitError, 413),
    (InputError, 422),
    (TrustError, 422),
    (NotFoundError, 404),
    (ConflictError, 409),
    (UnavailableError, 503),
    (DeniedError, 403),
    (StorageError, 507),
)


def status_of(error: SteadError) -> int:
    """The status for an error. `error.data["status"]` wins where the API wants another one than the family's (401, 417, 424, 501)."""
    chosen = error.data.get("status")
    if isinstance(chosen, int):
        return chosen
    return next((status for family, status in _STATUS_OF if isinstance(error, family)), 500)


def error_of(status: int, thing: str, text: str = "") -> SteadError:
    """The error that a status above 399 means to a client; `text` is what the depot said, if it said anything."""

    def made(family: type[SteadError], cause: str, advice: str = "") -> SteadError:
        return family(thing, text or cause, next=advice, status=status)

    match status:
        case 401:
            return made(DeniedError, "the depot does not accept the token, or wants one", EMPTY_NEXT)
        case 403:
            return made(DeniedError, "the token does not allow this", EMPTY_NEXT)
        case 404:
            return made(NotFoundError, "the depot does not have it")
        case 409:
            return made(ConflictError, "the depot has it already")
        case 413:
            return made(LimitError, "is larger than the depot accepts")
        case 408 | 429:
            return made(UnavailableError, "the depot, or a proxy before it, wants us slower or later", "try again later")
        case 424:
            return made(ConflictError, "has a circular dependency")
        case 501:
            return made(InputError, "the depot does not serve this target")
        case 507:
            return made(StorageError, "the depot's disk is full")
        case _ if status >= 500:
            return made(UnavailableError, f"the depot answered {status}", "try again later")
        case _:
            return made(FormatError, f"the depot refused it with {status}")


def problem(error: SteadError) -> dict[str, Any]:
    """The body for a client that accepts `application/problem+json` (RFC 9457)."""
    shown = {"type": "about:blank", "title": type(error).__name__, "status": status_of(error), "detail": f"{error.thing}: {error.cause}"}
    return shown | ({"next": error.next} if error.next else {})


def problem_text(body: Mapping[str, Any]) -> str:
    """What a problem document says, for `error_of`; empty when it is not one."""
    detail = body.get("detail")
    return detail if isinstance(detail, str) else ""


# --- headers

_AGENT = re.compile(r"\((?P<target>\w+-\w+(?:-\w+)?);")


def user_agent(version: str, target: str, kernel: str) -> str:
    """What a Stead client calls itself; the depot reads the target from it."""
    return f"stead/{version} ({target}; {kernel})"


def target_of_user_agent(agent: str) -> str | None:
    """The target that a client runs on, from `name/version (target; kernel)`; None when it does not say. Not validated."""
    found = _AGENT.search(agent)
    return found["target"] if found else None


def etag(checksum: str) -> str:
    """A strong ETag: the artifact's checksum, since content under one name never changes."""
    return f'"{checksum}"'


# --- bodies


def timestamp(at_us: int) -> str:
    """Microseconds since 1970 as naive ISO, always with microseconds: Habitat's client fails on a zone."""
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{at_us % 1_000_000:06d}"


def page(data: Sequence[Any], *, start: int, total: int) -> dict[str, Any]:
    """A paged body. `range_end` is the index of the last row, or `total` when there is none."""
    end = start + len(data) - 1 if data else total
    return {"range_start": start, "range_end": end, "total_count": total, "data": list(data)}


def page_status(body: Mapping[str, Any]) -> int:
    """206 while rows are left behind this page, else 200."""
    return 206 if body["total_count"] > body["range_end"] + 1 else 200


def next_start(body: Mapping[str, Any]) -> int | None:
    """Where the page after this one starts; None after the last. Tolerates a depot that counts wrong: an empty page is the last."""
    if not body.get("data") or page_status(body) == 200:
        return None
    return int(body["range_end"]) + 1
