"""A ring's records for tests of those who only read them: real ones, with keys that sign."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from hart.ident import Ident
from hart.wire import encode
from supervisor.census import Member, Sys
from supervisor.gossip.identity import MemberKey, sign_record
from supervisor.gossip.kinds import fact_prefix
from supervisor.gossip.messages import Record, Version
from supervisor.gossip.records import Records
from supervisor.service.spec import Group

RING = bytes(8)
ME, PEER, THIRD = (MemberKey(bytes([number]) * 32) for number in (1, 2, 3))
WEB = Group("web", "default")


def shelf(records: Iterable[Record] = ()) -> Records:
    made = Records(RING)
    for record in records:
        assert made.merge(record), record.key
    return made


def put(records: Records, key: str, body: bytes | None, *, revision: int | None = None, author: MemberKey = ME) -> Record:
    """Write a document, as the ring does."""
    record = records.draft(key, body, expect=None, revision=revision, author=author)
    assert records.merge(record)
    return record


def config(records: Records, text: str, *, group: Group = WEB, revision: int | None = None, **more: Any) -> Record:
    body = encode({"text": text, "by": "ann@h1", "at": 1.5, "why": "because", **more})
    return put(records, f"group/{group}/config", body, revision=revision)


def fact(key: MemberKey, name: str, body: bytes | None, counter: int = 1) -> Record:
    return sign_record(key, ring=RING, record_key=f"{fact_prefix(key.id)}{name}", version=Version(1, counter), body=body)


def sys_of(key: MemberKey, hostname: str = "h1") -> Sys:
    return Sys(version="1", member_id=key.id.hex(), ip="10.0.0.1", hostname=hostname)


def member(key: MemberKey = PEER, service: str = "web", *, hostname: str = "h1", serving: bool = True, **more: Any) -> Member:
    return Member(
        group=Group(service, "default"),
        pkg=Ident("t", service, "1.0", "20260101000000"),
        sys=sys_of(key, hostname),
        serving=serving,
        **more,
    )
