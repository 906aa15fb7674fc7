"""What the supervisor can be told about the ring: its side of `stead ring status | members | records | join | depart`.

Rules: as commands.py. A member is named by its name, its id, or the beginning of its id; what several members could be is refused with
their names. Joining is done when a member has answered that was not alive before, leaving when the others have been told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from hart.errors import ConflictError, FormatError, LimitError, NotFoundError, UnavailableError, UsageError
from hart.limits import RING_JOIN_S, RING_JOINS_MAX, RING_WHY_MAX
from supervisor import clock, ring_keys, ring_view
from supervisor.control import Say
from supervisor.gossip.discovery.names import resolve
from supervisor.gossip.discovery.source import parse_peer
from supervisor.gossip.members import Member
from supervisor.gossip.messages import Address, Health, MemberId
from supervisor.host import Host
from supervisor.request import Request
from supervisor.settings import show_address

GREET_S: Final = 0.5  # between two greetings of those who have not answered; packets are lost, and a peer may just be starting
RESOLVE_S: Final = 5.0  # for one name
PREFIX_MIN: Final = 4  # digits of an id: fewer are more likely a slip than a member


def at(now: float) -> float:
    """The drivers' clock as wall time."""
    return clock.wall() - clock.now() + now


async def status(host: Host, _: Request, __: Say) -> dict[str, Any]:
    return ring_view.status(host.ring, clock.now(), at)


async def members(host: Host, _: Request, __: Say) -> dict[str, Any]:
    rows = ring_view.members(host.ring, clock.now(), at)
    return {"rows": rows, "left_out": len(host.ring.node.members) - len(rows)}


async def records(host: Host, request: Request, _: Say) -> dict[str, Any]:
    rows, left_out = ring_view.records(host.ring, request.text("prefix"), reveal=request.flag("reveal"))
    return {"rows": rows, "left_out": left_out}


async def join(host: Host, request: Request, say: Say) -> dict[str, Any]:
    """Come back if this host has left, greet the addresses until somebody answers."""
    wanted = request.fields.get("addresses")
    if not isinstance(wanted, list) or not wanted or not all(isinstance(each, str) for each in wanted):
        raise FormatError("request", "addresses is not a list of texts")
    if len(wanted) > RING_JOINS_MAX:
        raise LimitError("addresses", f"are more than {RING_JOINS_MAX}", next="one that answers is enough")
    ring = host.ring
    found = await find_addresses(wanted)
    if found <= {ring.address, ring.node.members.me.address}:
        raise UsageError(", ".join(wanted), "is this host itself", next="give the address of another member")
    refused_before = ring_view.refused(ring)
    before = frozenset() if ring.departed else alive(host)
    await ring.come_back()
    deadline = clock.now() + request.number("wait_s", RING_JOIN_S)
    while not (met := met_at(host, found, before)):
        if (left := deadline - clock.now()) <= 0:
            refused = ring_view.refused(ring)
            raise UnavailableError(
                f"ring at {', '.join(wanted)}",
                f"no member has answered{hint(refused_before, refused, encrypted=ring.encrypted)}",
                next="stead ring status, here and there",
            )
        ring.join(sorted(found))
        await host.changed.until(lambda: bool(met_at(host, found, before)), min(left, GREET_S))
    say(f"in the ring with {', '.join(each.text for each in met[:5])}{' …' if len(met) > 5 else ''}")
    return {"ring": ring.name or None, "met": [each.id.hex() for each in met], "alive": len(alive(host)) + 1}


async def find_addresses(wanted: list[str]) -> frozenset[Address]:
    """Where these peers are; UsageError for one that is written wrongly, UnavailableError when no name is known."""
    peers = [parse_peer(each) for each in wanted]
    found: set[Address] = set()
    troubles = []
    for host, port in peers:
        try:
            async with asyncio.timeout(RESOLVE_S):
                found |= await resolve(host, port)
        except (OSError, TimeoutError) as error:  # a name that is not known must not keep the others from being tried
            troubles.append(f"{host}: {getattr(error, 'strerror', None) or 'its name was not found in time'}")
    if not found:
        raise UnavailableError(", ".join(wanted), "; ".join(troubles), next="give an address instead of a name")
    return frozenset(found)


def alive(host: Host) -> frozenset[MemberId]:
    """Ids of the other members that are held alive."""
    table = host.ring.node.members
    return frozenset(each.id for each in table if each.health is Health.ALIVE and each is not table.me)


def met_at(host: Host, addresses: frozenset[Address], before: frozenset[MemberId]) -> list[Member]:
    """Members that are alive and were not before, or are at one of the addresses."""
    table = host.ring.node.members
    living = [each for each in table if each.health is Health.ALIVE and each is not table.me]
    return [each for each in living if each.id not in before or each.address in addresses]


def hint(before: dict[str, int], after: dict[str, int], *, encrypted: bool) -> str:
    """What was refused meanwhile is most likely the answer. Who cannot open what we seal says nothing."""
    rising = [reason for reason, count in after.items() if count > before.get(reason, 0)]
    causes = [ring_view.CAUSES[reason][0] for reason in rising if reason in ring_view.CAUSES]
    silent = "; a member whose ring key is another one does not: stead ring key list, here and there" if encrypted else ""
    return f", but {'; '.join(causes)}" if causes else silent


async def depart(host: Host, request: Request, say: Say) -> dict[str, Any]:
    """Without a member: this host leaves. With one: the ring is told that it is gone for good."""
    ring = host.ring
    why = request.text("why") if "why" in request.fields else ""
    if len(why) > RING_WHY_MAX:
        raise FormatError("--why", f"has more than {RING_WHY_MAX} characters")
    wanted = request.text("member") if "member" in request.fields else ""
    member = find(host, wanted) if wanted else ring.node.members.me
    label, where = member.text, show_address(member.address)
    known = {"member": member.id.hex(), "name": member.announcement.name, "ring": ring.name or None}
    if member is not ring.node.members.me:
        if member.health is Health.DEPARTED:
            say(f"{label} has departed already")
            return known
        lives = member.health is Health.ALIVE
        await ring.dismiss(member.id, why or "dismissed by hand")
        say(f"{label} is gone from the ring, and its facts with it{': it lives, and leaves when it hears of it' if lives else ''}")
        say("its services are not touched; to bring it back, on that host: stead ring join ADDRESS")
        return known
    if ring.departed:
        say(f"this host has left already: {ring.departed}")
        return known
    others = len(alive(host))
    await ring.depart(why or "told to leave")
    say(f"this host has left the ring and stays out, also after a restart; {told(others)}")
    say(f"its services go on; others no longer see them. To come back: stead ring join ADDRESS (it was at {where})")
    return known


def told(others: int) -> str:
    return "there was nobody to tell" if not others else f"{others} other{'s' if others > 1 else ''} will hear of it"


def find(host: Host, wanted: str) -> Member:
    """By name, id, or the beginning of an id. NotFoundError, or ConflictError with the candidates."""
    table = list(host.ring.node.members)
    exact = [each for each in table if wanted == each.id.hex()]
    named = [each for each in table if wanted == each.announcement.name]
    begun = [each for each in table if len(wanted) >= PREFIX_MIN and each.id.hex().startswith(wanted.lower())]
    found = exact or named or begun
    if not found:
        raise NotFoundError(f"member {wanted}", "is not known to this one", next="stead ring members")
    if len(found) > 1:
        shown = ", ".join(f"{each.announcement.name} {each.id.hex()} ({ring_view.word(each.health)})" for each in found[:10])
        raise ConflictError(
            f"member {wanted}", f"could be one of {len(found)}: {shown}", next="stead ring depart ID, with more of its digits"
        )
    return found[0]


Command = Callable[[Host, Request, Say], Awaitable[Any]]
COMMANDS: Final[dict[str, Command]] = {
    "ring status": status,
    "ring members": members,
    "ring records": records,
    "ring join": join,
    "ring depart": depart,
    **ring_keys.COMMANDS,
}
