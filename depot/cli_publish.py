"""`stead pkg upload | promote | demote | channels | search`, with Habitat's names and arguments (reference: depot API 2)."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from depot.cli_options import ask, depot_options, make_depot, target_text
from hart.cli_keys import key_cache
from hart.options import cache_options, json_option

if TYPE_CHECKING:
    from depot.client import Depot
    from depot.upload import Event, Published
    from hart.errors import SteadError
    from hart.ident import Ident

SEARCH_LIMIT = 50  # rows, as Habitat's client


@click.command("upload")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("-c", "--channel", metavar="CHANNEL", help="Also promote to it; it is made when missing. Every upload is in unstable.")
@click.option("--force", is_flag=True, help="Send it again although the depot has it: repairs a depot that lost the file.")
@depot_options
@cache_options
@json_option
def upload(
    files: tuple[Path, ...],
    channel: str | None,
    url: str | None,
    auth: str | None,
    root: str | None,
    cache_key_path: str | None,
    *,
    force: bool,
    as_json: bool,
) -> None:
    """Publish artifacts, after the origin's public key and those dependencies that the depot lacks."""
    from depot.upload import Publisher
    from hart.console import show_json
    from hart.root import Root

    keys = key_cache(root, cache_key_path)
    places = [Root.choose(root, os.environ).artifacts]
    depot = make_depot(url, auth)

    async def work(depot: Depot) -> list[Published]:
        with ExitStack() as stack:
            publisher = Publisher(depot, keys, places, channel=channel, force=force, watch=_Story(stack, depot.url))
            return [published for file in files for published in await publisher.publish(file)]

    published = ask(depot, work)
    if as_json:
        show_json(
            [
                {
                    "package": str(each.uploaded.ident),
                    "target": each.uploaded.target,
                    "checksum": each.uploaded.checksum,
                    "new": each.uploaded.new,
                    "channels": sorted({"unstable", *([each.channel] if each.channel else [])}),
                }
                for each in published
            ]
        )


class _Story:
    """Tells on stderr what an upload does."""

    def __init__(self, stack: ExitStack, url: str) -> None:
        self.url = url
        self._outer = stack
        self._bar: Any = None
        self._bars = ExitStack()
        stack.enter_context(self._bars)

    def __call__(self, event: Event) -> None:
        from depot import upload as uploads
        from hart.console import progress, say

        match event:
            case uploads.KeyUploaded(key=key):
                say(f"uploaded public key {key}")
            case uploads.Sending(ident=ident, done=done, total=total):
                if self._bar is None:
                    self._bar = self._bars.enter_context(progress(f"uploading {ident.family}"))
                self._bar(done, total)
            case uploads.Published(uploaded=uploaded, channel=channel):
                self._bars.close()
                self._bar = None
                done_text = "published" if uploaded.new else "already published"
                say(f"{uploaded.ident}: {done_text} at {self.url}" + (f", in channel {channel}" if channel else ""))


@click.command("promote")
@click.argument("ident", metavar="IDENT")
@click.argument("channel")
@click.argument("target", required=False)
@click.option("--create-channel", is_flag=True, help="Make the channel when it is missing.")
@depot_options
@json_option
def promote(
    ident: str, channel: str, target: str | None, url: str | None, auth: str | None, *, create_channel: bool, as_json: bool
) -> None:
    """Put the published release IDENT, fully qualified, into CHANNEL."""
    from hart.errors import NotFoundError
    from hart.ident import Ident

    release, on = Ident.parse_full(ident), target_text(target)

    async def work(depot: Depot) -> None:
        if create_channel:
            await depot.create_channel(release.origin, channel)
        try:
            await depot.promote(release, channel, on)
        except NotFoundError as error:
            raise await _what_is_missing(depot, release, channel, on) from error

    ask(make_depot(url, auth), work)
    _moved(release, channel, on, "is in", as_json=as_json)


@click.command("demote")
@click.argument("ident", metavar="IDENT")
@click.argument("channel")
@click.argument("target", required=False)
@depot_options
@json_option
def demote(ident: str, channel: str, target: str | None, url: str | None, auth: str | None, *, as_json: bool) -> None:
    """Take the release IDENT, fully qualified, out of CHANNEL. It stays published."""
    from depot.channels import UNSTABLE
    from hart.errors import DeniedError, InputError, NotFoundError
    from hart.ident import Ident

    release, on = Ident.parse_full(ident), target_text(target)
    if channel == UNSTABLE:
        raise DeniedError(f"channel {UNSTABLE}", "every published release stays in it", next=f"stead pkg channels {release}")

    async def work(depot: Depot) -> None:
        try:
            await depot.demote(release, channel, on)
        except (NotFoundError, InputError) as error:
            if isinstance(error, InputError) and error.data.get("status") != 400:
                raise
            raise await _what_is_missing(depot, release, channel, on, present=True) from error

    ask(make_depot(url, auth), work)
    _moved(release, channel, on, "is no longer in", as_json=as_json)


def _moved(release: Ident, channel: str, target: str, how: str, *, as_json: bool) -> None:
    from hart.console import say, show_json

    if as_json:
        show_json({"package": str(release), "target": target, "channel": channel, "promoted": how == "is in"})
    else:
        say(f"{release} {how} channel {channel}")


async def _what_is_missing(depot: Depot, release: Ident, channel: str, target: str, *, present: bool = False) -> SteadError:
    """Why a promotion or demotion found nothing: the release, or the channel (`present`: the release is not in it)."""
    from hart.errors import NotFoundError

    if await depot.package(release, target=target) is None:
        return NotFoundError(f"package {release}", f"{depot.url} does not have it for {target}", next="stead pkg upload FILE")
    if present:
        names = ", ".join(each.name for each in await depot.channels(release, target))
        return NotFoundError(f"package {release}", f"is not in channel {channel}; it is in {names}", next=f"stead pkg channels {release}")
    return NotFoundError(
        f"channel {channel} of {release.origin}",
        "does not exist",
        next=f"check its name, or make it: stead pkg promote {release} {channel} --create-channel",
    )


@click.command("channels")
@click.argument("ident", metavar="IDENT")
@click.argument("target", required=False)
@depot_options
@json_option
def channels(ident: str, target: str | None, url: str | None, auth: str | None, *, as_json: bool) -> None:
    """Show the channels that the release IDENT, fully qualified, is in."""
    from hart.console import show_rows
    from hart.errors import NotFoundError
    from hart.ident import Ident

    release, on = Ident.parse_full(ident), target_text(target)

    async def work(depot: Depot) -> list[dict[str, str]]:
        found = await depot.channels(release, on)
        if not found and await depot.package(release, target=on) is None:
            raise NotFoundError(f"package {release}", f"{depot.url} does not have it for {on}", next=f"stead pkg search {release.name}")
        return [{"name": each.name, "promoted_at": each.promoted_at} for each in found]

    rows = ask(make_depot(url, auth), work)
    show_rows(rows, ("name", "promoted_at"), as_json=as_json, empty=f"{release} is in no channel")


@click.command("search")
@click.argument("term")
@click.option("-l", "--limit", type=click.IntRange(min=1), default=SEARCH_LIMIT, show_default=True, help="Show at most so many.")
@depot_options
@json_option
def search(term: str, limit: int, url: str | None, auth: str | None, *, as_json: bool) -> None:
    """Find packages of a depot whose origin or name has TERM."""
    from hart.console import say, show_rows

    found = ask(make_depot(url, auth), lambda depot: depot.search(term, limit=limit + 1))
    rows = [{"package": str(ident.family)} for ident in found[:limit]]
    show_rows(rows, ("package",), as_json=as_json, empty=f"nothing has {term!r} in its origin or name")
    if len(found) > limit:
        say(f"there are more: --limit {limit * 10}")
