"""Bringing a plan's sources into the cache: alternates in order, every byte against its pin.

Rules: a source without a pin is refused with the value to paste (but not a file of the plan's own folder); bytes that do not match their
pin are never used; when nothing worked, every failure is listed. What is in the cache is not fetched again.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.plan import Pin, Scheme, Source
from builder.source import debian, file, https, npm, pypi
from builder.source.cache import SourceCache
from builder.source.scheme import Fetch, Fetched, Surroundings
from hart.errors import NotFoundError, PlanError, SteadError, TrustError, UnavailableError
from hart.files import make_dirs, storage

SCHEMES: Mapping[Scheme, Fetch] = {
    Scheme.URL: https.fetch,
    Scheme.FILE: file.fetch,
    Scheme.PYPI: pypi.fetch,
    Scheme.NPM: npm.fetch,
    Scheme.DEBIAN: debian.fetch,
}


@dataclass(frozen=True, slots=True)
class Obtained:
    """A source in the cache: where, what it is called, which pin it satisfied."""

    path: Path
    filename: str
    sha256: str
    pin: Pin
    source: Source


def obtain(source: Source, around: Surroundings, say: Callable[[str], None], *, schemes: Mapping[Scheme, Fetch] = SCHEMES) -> Obtained:
    """One source: from the cache, else from its pins in order. TrustError when bytes were wrong, PlanError when a pin is missing."""
    cache = SourceCache(around.cache)
    for pin in source.pins:
        if pin.sha256 is not None and (path := cache.find(pin.sha256)):
            say(f"{pin}: cached")
            return Obtained(path, file_name(source, cache.name(pin.sha256)), pin.sha256, pin, source)
    failures: list[SteadError] = []
    for pin in source.pins:
        say(f"{pin}: fetching")
        try:
            return from_pin(source, pin, cache, around, schemes)
        except SteadError as error:
            say(f"{pin}: {error.cause}")
            failures.append(error)
    raise summary(failures)


def from_pin(source: Source, pin: Pin, cache: SourceCache, around: Surroundings, schemes: Mapping[Scheme, Fetch]) -> Obtained:
    """Fetch one pin and hold it against its hash."""
    make_dirs(around.cache)
    with storage(around.cache):
        work = Path(tempfile.mkdtemp(prefix=".fetch-", dir=around.cache))
    try:
        fetched = schemes[pin.scheme](pin, work, around)
        actual = settle(pin, fetched, cache)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Obtained(cache.place(actual), file_name(source, fetched.filename), actual, pin, source)


def settle(pin: Pin, fetched: Fetched, cache: SourceCache) -> str:
    """The hash of what was fetched, once it is in the cache and equals the pin."""
    actual = cache.add(fetched.path, fetched.filename)[1] if fetched.path is not None else fetched.sha256
    assert actual is not None, fetched
    if pin.sha256 is None and pin.scheme is not Scheme.FILE:  # a file of the plan's own folder is as trusted as the plan
        raise PlanError(
            str(pin),
            "has no sha256, so nobody could tell it from something else",
            next=f'if you trust what was fetched just now, write: sha256 = "{actual}"',
            sha256=actual,
        )
    if pin.sha256 is not None and actual != pin.sha256:
        raise TrustError(
            str(pin),
            f"the bytes are not those that the plan pins: expected sha256 {pin.sha256}, got {actual}",
            next="find out why it changed before you change the plan's sha256",
            expected=pin.sha256,
            actual=actual,
        )
    assert fetched.path is not None, "a scheme keeps the bytes when the pin matches"
    return actual


def summary(failures: list[SteadError]) -> SteadError:
    """One error for all that was tried; its family is the gravest."""
    if len(failures) == 1:
        return failures[0]
    family: type[SteadError] = UnavailableError
    for kind in (NotFoundError, PlanError, TrustError):
        family = kind if any(isinstance(error, kind) for error in failures) else family
    listing = "".join(f"\n  {error.thing}: {error.cause}" for error in failures)
    hint = next((error.next for error in failures if isinstance(error, family) and error.next), "")
    return family(f"source {failures[0].thing}", f"none of its {len(failures)} places worked{listing}", next=hint)


def file_name(source: Source, fetched: str) -> str:
    """What a source's file is called: as the plan says, else as its first pin says, so that an alternate or a cache changes nothing."""
    if source.filename:
        return source.filename
    pin = source.pins[0]
    match pin.scheme:
        case Scheme.URL:
            return https.filename_of(pin.locator)
        case Scheme.FILE:
            return Path(pin.locator).name
        case Scheme.NPM:
            name, _, version = pin.locator.rpartition("@")
            return f"{name.removeprefix('@').replace('/', '-')}-{version}.tgz"
        case Scheme.PYPI | Scheme.DEBIAN:
            return fetched or "source"
