"""The depot's HTTP surface as values: paths, statuses, pages."""

from __future__ import annotations

import pytest

from depot import routes
from depot.routes import Route
from hart import errors
from hart.errors import DeniedError, FormatError, SteadError, StorageError, TrustError, UnavailableError, UsageError


def test_every_route_is_listed_once() -> None:
    """The server registers ROUTES: a route that is missing there does not exist."""
    named = [value for value in vars(routes).values() if isinstance(value, Route)]
    assert sorted(named, key=repr) == sorted(routes.ROUTES, key=repr)
    assert len(set(routes.ROUTES)) == len(routes.ROUTES)


def test_literal_components_come_before_variable_ones() -> None:
    """The first match wins, so a pattern that could swallow a later literal one must not stand before it."""

    def swallows(first: Route, second: Route) -> bool:
        ours, theirs = first.pattern.split("/"), second.pattern.split("/")
        fits = len(ours) == len(theirs) and all(a == b or a.startswith("{") for a, b in zip(ours, theirs, strict=True))
        return fits and first.method == second.method and first.pattern != second.pattern

    for place, route in enumerate(routes.ROUTES):
        for later in routes.ROUTES[place + 1 :]:
            assert not swallows(route, later), (route, later)


def test_parts_of_a_path_are_encoded_as_one_component() -> None:
    """A version may hold any printable character; none of them makes a path of its own."""
    path = routes.DOWNLOAD.path(origin="core", name="x", version="1 ../?#%2f", release="20260101000000")
    assert path == "/depot/pkgs/core/x/1%20..%2F%3F%23%252f/20260101000000/download"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("http://depot", "http://depot/v1"),
        ("http://depot:9636/", "http://depot:9636/v1"),
        ("https://depot/bldr/v1/", "https://depot/bldr/v1"),
        ("http://[::1]:80", "http://[::1]:80/v1"),
    ],
)
def test_a_url_without_path_means_v1_and_any_other_is_kept(given: str, meant: str) -> None:
    """As Habitat's client does."""
    assert routes.base_url(given) == meant


@pytest.mark.parametrize(
    "given", ["ftp://depot", "depot", "http://", "http://u:p@depot", "http://depot?x=1", "http://[::1", "http://a b", "http://\x1b[31m/"]
)
def test_what_is_no_depot_url_is_refused(given: str) -> None:
    """Also one that carries a password: it would end in logs."""
    with pytest.raises(UsageError):
        routes.base_url(given)


def test_every_family_of_errors_has_a_status() -> None:
    """A new family must say what it means to a client."""
    for name, family in vars(errors).items():
        if isinstance(family, type) and issubclass(family, SteadError) and name not in ("SteadError", "BuildError", "ServiceError"):
            assert routes.status_of(family("it", "is wrong")) in {400, 403, 404, 409, 413, 422, 503, 507}, name


def test_a_status_in_the_error_wins_over_its_family() -> None:
    """The API wants 401 and 403, 417 and 501 where the family alone cannot know."""
    assert routes.status_of(DeniedError("it", "no", status=401)) == 401


@pytest.mark.parametrize(
    ("status", "family", "again"),
    [
        (400, FormatError, False),
        (401, DeniedError, False),
        (403, DeniedError, False),
        (404, errors.NotFoundError, False),
        (409, errors.ConflictError, False),
        (413, errors.LimitError, False),
        (422, FormatError, False),
        (424, errors.ConflictError, False),
        (408, UnavailableError, True),
        (429, UnavailableError, True),
        (500, UnavailableError, True),
        (501, errors.InputError, False),
        (503, UnavailableError, True),
        (507, StorageError, False),
    ],
)
def test_a_status_is_an_error_and_says_whether_to_try_again(status: int, family: type[SteadError], *, again: bool) -> None:
    """5xx may pass, except an unserved target and a full disk; everything else is final."""
    error = routes.error_of(status, "package core/x")
    assert type(error) is family
    assert routes.status_of(error) == status
    assert isinstance(error, UnavailableError) is again  # what depot/transport.py asks again after


def test_a_problem_document_carries_thing_cause_and_next() -> None:
    """RFC 9457, for clients that ask for it."""
    body = routes.problem(TrustError("upload of acme/web", "is not signed", next="sign it"))
    assert (body["status"], body["title"], body["next"]) == (422, "TrustError", "sign it")
    assert routes.problem_text(body) == "upload of acme/web: is not signed"


def test_the_user_agent_names_the_target() -> None:
    """Habitat's clients and ours say what they run on."""
    assert routes.target_of_user_agent("hab/1.6.1/20260101 (x86_64-linux; 6.1.0)") == "x86_64-linux"
    assert routes.target_of_user_agent(routes.user_agent("0.1", "x86_64-linux-kernel2", "2.6")) == "x86_64-linux-kernel2"
    assert routes.target_of_user_agent("curl/8.0") is None


def test_an_etag_is_the_checksum() -> None:
    """So a client can bind a download to what it was told."""
    assert routes.etag("ab" * 32) == f'"{"ab" * 32}"'


def test_times_are_naive_iso_with_six_digits_of_microseconds() -> None:
    """Habitat's client fails on a zone."""
    assert routes.timestamp(1_577_836_800_000_000) == "2020-01-01T00:00:00.000000"
    assert routes.timestamp(1_577_836_800_123_456) == "2020-01-01T00:00:00.123456"


@pytest.mark.parametrize(
    ("start", "count", "total", "end", "status", "following"),
    [
        (0, 50, 120, 49, 206, 50),
        (50, 50, 120, 99, 206, 100),
        (100, 20, 120, 119, 200, None),
        (0, 0, 0, 0, 200, None),
        (500, 0, 120, 120, 200, None),
        (0, 50, 50, 49, 200, None),
    ],
)
def test_a_page_says_where_it_ends_and_whether_more_follows(
    start: int, count: int, total: int, end: int, status: int, following: int | None
) -> None:
    """`range_end` is the last row's index, `total` when there is none; 206 while rows are left."""
    body = routes.page(list(range(count)), start=start, total=total)
    assert (body["range_end"], routes.page_status(body), routes.next_start(body)) == (end, status, following)
