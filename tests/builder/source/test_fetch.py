"""Pins and alternates: which bytes are taken, which are refused."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pytest

from builder.plan import Pin, Scheme, Source
from builder.source.cache import SourceCache
from builder.source.fetch import obtain
from builder.source.scheme import Fetch, Fetched, Surroundings
from hart.errors import NotFoundError, PlanError, SteadError, TrustError, UnavailableError

GOOD = hashlib.sha256(b"good").hexdigest()
EVIL = hashlib.sha256(b"evil").hexdigest()


def around(tmp_path: Path) -> Surroundings:
    (tmp_path / "plan").mkdir(exist_ok=True)
    return Surroundings(plan_dir=tmp_path / "plan", cache=tmp_path / "src", environ={})


def serving(content: Mapping[str, bytes | SteadError]) -> Fetch:
    """A source of bytes in memory: what a locator has, or why not."""

    def fetch(pin: Pin, into: Path, _around: Surroundings, /) -> Fetched:
        found = content[pin.locator]
        if isinstance(found, SteadError):
            raise found
        (into / "f").write_bytes(found)
        return Fetched(into / "f", "fetched.tgz")

    return fetch


def pin(locator: str, sha256: str | None, scheme: Scheme = Scheme.URL) -> Pin:
    return Pin(scheme=scheme, locator=locator, sha256=sha256)


def schemes(content: Mapping[str, bytes | SteadError]) -> dict[Scheme, Fetch]:
    return dict.fromkeys(Scheme, serving(content))


def test_bytes_that_match_their_pin_are_taken(tmp_path: Path) -> None:
    """And are in the cache for the next time, which needs no network."""
    source = Source(pins=(pin("https://e.org/a-1.0.tgz", GOOD),))
    got = obtain(source, around(tmp_path), [].append, schemes=schemes({"https://e.org/a-1.0.tgz": b"good"}))
    assert (got.path.read_bytes(), got.filename) == (b"good", "a-1.0.tgz")
    again = obtain(source, around(tmp_path), [].append, schemes={})
    assert (again.path, again.filename) == (got.path, got.filename)


def test_wrong_bytes_are_refused_with_both_hashes(tmp_path: Path) -> None:
    """Treated as an attack: exit code 4."""
    source = Source(pins=(pin("https://e.org/a", GOOD),))
    with pytest.raises(TrustError) as caught:
        obtain(source, around(tmp_path), [].append, schemes=schemes({"https://e.org/a": b"evil"}))
    assert GOOD in caught.value.cause
    assert EVIL in caught.value.cause


def test_a_missing_pin_is_refused_with_the_value_to_paste(tmp_path: Path) -> None:
    """The bytes that were fetched wait in the cache."""
    source = Source(pins=(pin("https://e.org/a", None),))
    with pytest.raises(PlanError) as caught:
        obtain(source, around(tmp_path), [].append, schemes=schemes({"https://e.org/a": b"good"}))
    assert f'sha256 = "{GOOD}"' in caught.value.next
    assert SourceCache(tmp_path / "src").find(GOOD) is not None


def test_alternates_are_tried_in_order(tmp_path: Path) -> None:
    """An unreachable or wrong place does not end the build while another has the right bytes; the name stays the first one's."""
    content = {"https://a/x.tgz": UnavailableError("a", "is down"), "https://b/y.tgz": b"evil", "https://c/z.tgz": b"good"}
    source = Source(pins=tuple(pin(locator, GOOD) for locator in content))
    said: list[str] = []
    got = obtain(source, around(tmp_path), said.append, schemes=schemes(content))
    assert (got.pin.locator, got.filename) == ("https://c/z.tgz", "x.tgz")
    assert [line for line in said if line.endswith("fetching")] == [f"{locator}: fetching" for locator in content]


def test_when_nothing_worked_every_failure_is_listed(tmp_path: Path) -> None:
    """Under the gravest family: wrong bytes before missing ones before silence."""
    content = {"https://a/": UnavailableError("a", "is down"), "https://b/": b"evil", "https://c/": NotFoundError("c", "is gone")}
    source = Source(pins=tuple(pin(locator, GOOD) for locator in content))
    with pytest.raises(TrustError) as caught:
        obtain(source, around(tmp_path), [].append, schemes=schemes(content))
    for word in ("is down", EVIL, "is gone"):
        assert word in caught.value.cause


def test_a_scheme_that_only_tells_the_hash_is_enough_for_the_message(tmp_path: Path) -> None:
    """pip refuses before it keeps a file; the person still gets the value."""

    def tells(_pin: Pin, _into: Path, _around: Surroundings, /) -> Fetched:
        return Fetched(None, "x.whl", GOOD)

    with pytest.raises(PlanError, match=r"has no sha256") as caught:
        obtain(Source(pins=(pin("x==1", None, Scheme.PYPI),)), around(tmp_path), [].append, schemes={Scheme.PYPI: tells})
    assert GOOD in caught.value.next


def test_files_of_the_plans_folder_need_no_pin_and_cannot_leave_it(tmp_path: Path) -> None:
    """Links out of the folder are refused too."""
    here = around(tmp_path)
    (here.plan_dir / "app.py").write_bytes(b"good")
    (here.plan_dir / "out").symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_text("x")
    assert obtain(Source(pins=(pin("app.py", None, Scheme.FILE),)), here, [].append).sha256 == GOOD
    with pytest.raises(TrustError):
        obtain(Source(pins=(pin("app.py", EVIL, Scheme.FILE),)), here, [].append)
    with pytest.raises(SteadError, match="leads out"):
        obtain(Source(pins=(pin("out", None, Scheme.FILE),)), here, [].append)
    with pytest.raises(NotFoundError):
        obtain(Source(pins=(pin("nothing", None, Scheme.FILE),)), here, [].append)


def test_a_failed_fetch_leaves_no_temporary_directory(tmp_path: Path) -> None:
    """Only hashes below the cache."""
    with pytest.raises(TrustError):
        obtain(Source(pins=(pin("x", GOOD),)), around(tmp_path), [].append, schemes=schemes({"x": b"evil"}))
    assert [entry.name for entry in (tmp_path / "src").iterdir()] == ["sha256"]
