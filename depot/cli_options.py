"""What the verbs that talk to a depot have in common: `--url`, `--auth`, and how a depot is opened.

Rules: an option beats the environment, Stead's variable beats Habitat's, an empty variable counts as absent. A token that would travel
unencrypted to another host is warned about.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from depot.client import Depot
    from hart.errors import SteadError

DEFAULT_URL = "http://127.0.0.1:9636"
Command = TypeVar("Command", bound=Callable[..., Any])
T = TypeVar("T")


def depot_options(command: Command) -> Command:
    """`--url` and `--auth`."""
    url_help = f"The depot; default STEAD_DEPOT_URL, HAB_BLDR_URL, else {DEFAULT_URL}. A proxy is named with STEAD_PROXY."
    command = click.option("-z", "--auth", metavar="TOKEN", help="Access token; better in STEAD_TOKEN (or HAB_AUTH_TOKEN).")(command)
    return click.option("-u", "--url", metavar="URL", help=url_help)(command)


def chosen(given: str | None, *names: str) -> str | None:
    """An option, else the first of some environment variables that is not empty."""
    return given or next((os.environ[name] for name in names if os.environ.get(name)), None)


def make_depot(url: str | None, auth: str | None) -> Depot:
    """The depot that options and environment choose, not open yet; raises UsageError for a URL or token that cannot be one."""
    from urllib.parse import urlsplit

    from depot.client import Depot
    from hart.console import warn

    def retrying(error: SteadError, wait_s: float) -> None:
        warn(f"{error.thing}: {error.cause}; trying again in {wait_s:.1f} s")

    depot = Depot(
        chosen(url, "STEAD_DEPOT_URL", "HAB_BLDR_URL") or DEFAULT_URL,
        token=chosen(auth, "STEAD_TOKEN", "HAB_AUTH_TOKEN"),
        proxy=chosen(None, "STEAD_PROXY"),
        retrying=retrying,
    )
    parts = urlsplit(depot.url)
    if depot.has_token and parts.scheme == "http" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        warn(f"the token goes to {parts.hostname} unencrypted; use https")
    return depot


def ask(depot: Depot, work: Callable[[Depot], Coroutine[Any, Any, T]]) -> T:
    """Run one conversation with a depot."""

    async def talk() -> T:
        async with depot:
            return await work(depot)

    return asyncio.run(talk())


def target_text(given: str | None) -> str:
    """A target by name, else this host's; raises FormatError."""
    from hart.target import Target, host_target

    return str(Target.parse(given) if given else host_target())
