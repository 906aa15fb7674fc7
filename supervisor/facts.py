"""What this member tells the ring of its services and its host, and what it takes from others. Pure.

    member/<id>/service/<service.group>   one service: a map, see `write`
    member/<id>/host                      the host: what templates may know about it, and how many services it tells of

Rules: a service's values are told only where the package exports them. A fact is taken for what it says about its own author alone: id and
group come from its key. Every type and bound is checked; what does not fit is refused in words, and never raises further. Fields that are
not known are left alone: a later release may tell more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields, replace
from ipaddress import ip_address
from typing import Any, Final, Protocol

from hart.errors import FormatError, LimitError
from hart.ident import Ident
from hart.limits import FACT_BECAUSE, FACT_NAME, FACT_WORD, RING_FACT_MAX, RING_FACTS
from hart.wire import decode, encode
from supervisor.census import ConfigReport, Member, Outcome, Sys
from supervisor.gossip.kinds import fact_prefix, place
from supervisor.gossip.messages import Health, MemberId, Record
from supervisor.plain import one_line, plain
from supervisor.service.spec import Group

SERVICE: Final = "service/"
HOST: Final = "host"
ANY_MEMBER: Final = fact_prefix(bytes(16))
NUMBER_MAX: Final = 1 << 62


class Teller(Protocol):
    """Whose facts they are. `untold` has by group what could not be told."""

    untold: dict[str, str]

    @property
    def sys(self) -> Sys: ...
    @property
    def own_members(self) -> Iterable[Member]: ...


Written = dict[str, tuple[Member, bytes]]  # by key, what a fact was written from, and it


class OwnFacts:
    """All facts of this member, by key without its prefix. What did not change is not written again: with many services that is most."""

    def __init__(self, host: Teller) -> None:
        self._host = host
        self._written: Written = {}

    def __call__(self) -> dict[str, bytes]:
        facts, self._host.untold = tell(self._host.own_members, self._host.sys, self._written)
        return facts


def tell(members: Iterable[Member], sys: Sys, written: Written) -> tuple[dict[str, bytes], dict[str, str]]:
    """The facts, and by group what could not be told. `written` is what was told before, and then what is told now."""
    facts, untold, before = dict[str, bytes](), dict[str, str](), dict(written)
    written.clear()
    for member in members:
        key = f"{SERVICE}{member.group}"
        if place(f"{ANY_MEMBER}{key}") is None:
            untold[str(member.group)] = "other hosts cannot see it: its name is too long for the ring"
            continue
        known = before.get(key)
        body = known[1] if known is not None and known[0] is member else write(member)
        written[key] = member, body
        if len(body) > RING_FACT_MAX:
            untold[str(member.group)] = (
                f"other hosts cannot see its exports: with them it takes {len(body)} bytes, more than {RING_FACT_MAX}"
            )
            body = write(replace(member, exports={}))
        facts[key] = body
    facts[HOST] = encode({**asdict(sys), "services": len(facts)})
    return facts, untold


def write(member: Member) -> bytes:
    """The body of a service's fact. Dates in exports become text, as everywhere in the ring."""
    report = member.config
    return encode(
        {
            "pkg": str(member.pkg),
            "sys": asdict(member.sys),
            "exports": plain(member.exports),
            "serving": member.serving,
            "incarnation": member.incarnation,
            "state": member.state,
            "health": member.health,
            "config": {
                "revision": report.revision,
                "in_force": report.in_force,
                "outcome": str(report.outcome),
                "because": one_line(report.because, FACT_BECAUSE),
            },
        }
    )


def author(key: str) -> MemberId | None:
    """Whose fact about a service this key names; None for every other key."""
    where = place(key)
    if where is None or where.member is None or not where.kind.fact or not key.startswith(fact_prefix(where.member) + SERVICE):
        return None
    return where.member


def read(record: Record, presence: Health = Health.ALIVE) -> Member:
    """The member that a fact about a service tells of; FormatError or LimitError says what is wrong with it."""
    owner = author(record.key)
    if owner is None or record.body is None:
        raise FormatError(record.key, "tells of no service")
    fact = _Fact(decode(record.body, thing=record.key, limit=RING_FACT_MAX), record.key)
    report = fact.inner("config")
    outcome = report.word("outcome")
    return Member(
        group=Group.parse(record.key.rpartition("/")[2]),
        pkg=Ident.parse_full(fact.text("pkg", 4 * FACT_NAME)),
        sys=_sys(fact.inner("sys"), owner.hex()),
        exports=fact.exports("exports"),
        serving=fact.flag("serving"),
        incarnation=fact.number("incarnation"),
        presence=presence,
        state=fact.word("state"),
        health=fact.word("health"),
        config=ConfigReport(
            revision=report.number("revision"),
            in_force=report.number("in_force"),
            outcome=Outcome(outcome) if outcome in set(Outcome) else Outcome.PENDING,
            because=report.text("because", FACT_BECAUSE),
        ),
    )


def read_host(record: Record) -> Sys:
    """What the fact `host` of a member says; FormatError or LimitError."""
    where = place(record.key)
    if where is None or where.member is None or record.body is None:
        raise FormatError(record.key, "tells of no host")
    return _sys(_Fact(decode(record.body, thing=record.key, limit=RING_FACT_MAX), record.key), where.member.hex())


def read_services(record: Record) -> int:
    """How many services the fact `host` of a member says that it tells of; FormatError or LimitError."""
    return _Fact(decode(record.body or b"", thing=record.key, limit=RING_FACT_MAX), record.key).number("services", most=RING_FACTS)


def _sys(fact: _Fact, member_id: str) -> Sys:
    values: dict[str, Any] = {}
    for each in fields(Sys):
        if each.name.endswith("_port"):
            values[each.name] = fact.number(each.name, most=65535)
        elif each.name == "permanent":
            values[each.name] = fact.flag(each.name)
        else:
            values[each.name] = fact.text(each.name, FACT_NAME)
        if (each.name == "ip" or each.name.endswith("_ip")) and values[each.name]:
            try:
                ip_address(values[each.name])
            except ValueError:
                raise FormatError(fact.thing, f"{each.name} is not an IP address") from None
    return Sys(**(values | {"member_id": member_id}))


class _Fact:
    """Typed access to a map of another member; FormatError or LimitError."""

    def __init__(self, value: object, thing: str) -> None:
        if not isinstance(value, dict):
            raise FormatError(thing, "is not a map")
        self.value: dict[Any, Any] = value
        self.thing = thing

    def inner(self, key: str) -> _Fact:
        return _Fact(self.value.get(key), f"{self.thing} {key}")

    def text(self, key: str, most: int) -> str:
        value = self.value.get(key, "")
        if not isinstance(value, str) or not value.isprintable():
            raise FormatError(self.thing, f"{key} is not plain text")
        if len(value) > most:
            raise LimitError(self.thing, f"{key} is longer than {most} characters")
        return value

    def word(self, key: str) -> str:
        return self.text(key, FACT_WORD)

    def flag(self, key: str) -> bool:
        value = self.value.get(key)
        if not isinstance(value, bool):
            raise FormatError(self.thing, f"{key} is neither true nor false")
        return value

    def number(self, key: str, *, most: int = NUMBER_MAX) -> int:
        value = self.value.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
            raise FormatError(self.thing, f"{key} is not a number up to {most}")
        return value

    def exports(self, key: str) -> dict[str, Any]:
        value = self.value.get(key)
        if not isinstance(value, dict) or not all(isinstance(name, str) and len(name) <= FACT_NAME for name in value) or not _plain(value):
            raise FormatError(self.thing, f"{key} are not values by name")
        return value


def _plain(value: Any) -> bool:
    """Whether configuration can hold it; the depth was bounded when it was decoded."""
    if isinstance(value, Mapping):
        return all(isinstance(name, str) and _plain(item) for name, item in value.items())
    if isinstance(value, list):
        return all(_plain(item) for item in value)
    return isinstance(value, (str, bool, int, float))
