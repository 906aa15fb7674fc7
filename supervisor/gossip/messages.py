"""What members of a ring say to each other, and what a node asks its driver to do: values only, no rules.

Hot values are NamedTuples: a node makes and reads thousands a second. Times are seconds of the caller's clock. Ids are 16 bytes
(identity.py), addresses are a host literal and a port that serves UDP and TCP. Who may send what, and what a receiver does with it, is in
members.py, records.py, detector.py and node.py; how it looks on the wire is in codec.py.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

Address = tuple[str, int]  # ("192.0.2.7" | "2001:db8::7", port)
MemberId = bytes  # 16: the fingerprint of a member's public key
ANYBODY: MemberId = b""  # as receiver: whoever listens there


class Health(IntEnum):
    """What the ring believes of a member; with the same generation and incarnation the greater one wins."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2  # Habitat's word is confirmed
    DEPARTED = 3  # it said goodbye, or was told to go


class Kind(IntEnum):
    """Of a datagram."""

    PING = 1
    ACK = 2
    PING_REQ = 3  # please ping `target` for me
    NACK = 4  # I did, and have heard nothing yet
    GOSSIP = 5  # only what it carries


class Announcement(NamedTuple):
    """What a member says of itself, signed by its own key: nobody else can say it. A later one replaces an earlier one by
    (generation, incarnation)."""

    public: bytes  # 32 bytes, Ed25519; its fingerprint is the member's id
    generation: int  # starts of this identity, counted on disk
    incarnation: int  # refutations and changes since that start
    session: bytes  # 8 random bytes of this process: two processes with one key differ here
    host: str
    port: int
    name: str  # the host's name, for people
    departing: bool  # its last words
    signature: bytes  # 64 bytes over all of the above and the ring id


class Claim(NamedTuple):
    """What one member says of another: suspect or dead. Counts only for exactly this generation and incarnation, or an earlier one."""

    health: int  # Health.SUSPECT or Health.DEAD
    subject: MemberId
    generation: int
    incarnation: int
    accuser: MemberId


class Version(NamedTuple):
    """Order of a record's bodies. Facts: (generation of the author, counter). Documents: (revision, 0)."""

    major: int
    minor: int


class Record(NamedTuple):
    """One body of one key, signed by its author."""

    key: str  # "member/<id in hex>/…" or "group/<name>/…" or "ring/…"
    version: Version
    author: bytes  # 32 bytes, the author's public key
    signature: bytes  # 64 bytes over key, version, body and the ring id
    body: bytes | None  # None: withdrawn (a tombstone)


class Notice(NamedTuple):
    """Somebody has this record; it is too large for a datagram and is fetched over TCP."""

    key: str
    version: Version
    digest: bytes  # 16 bytes, the record's content hash


class Packet(NamedTuple):
    """One datagram."""

    sender: MemberId
    generation: int
    counter: int  # of packets that this sender has sent in this generation: the replay window's number
    to: MemberId  # or ANYBODY, from one who only knows an address
    epoch: int  # the sender's protocol period (detector.py)
    kind: int
    seq: int  # of the probe that is asked or answered
    target: MemberId  # PING_REQ: whom to ping; else empty
    address: Address | None  # PING_REQ: where
    announcements: tuple[Announcement, ...]
    claims: tuple[Claim, ...]
    records: tuple[Record, ...]
    notices: tuple[Notice, ...]


# --- effects: what a driver is to do, in this order


class Send(NamedTuple):
    """A datagram."""

    to: Address
    data: bytes


class Open(NamedTuple):
    """Connect over TCP; answer with `opened` or `closed`. `stream` is the node's number for it."""

    stream: int
    to: Address


class Write(NamedTuple):
    """One frame on a stream, whole."""

    stream: int
    data: bytes


class Close(NamedTuple):
    """After what was written has gone out."""

    stream: int


class Seen(NamedTuple):
    """A member's health or announcement has changed: for census, journal and disk."""

    member: MemberId
    health: Health | None  # None: it is forgotten
    because: str


class Learned(NamedTuple):
    """A record was accepted: for census and disk. Also for a version that only joins the history."""

    record: Record


class Expired(NamedTuple):
    """Facts of a member are gone with it."""

    member: MemberId


class Cloned(NamedTuple):
    """Somebody else has this member's key (a copied state directory): this process has lost and must take a new identity."""

    because: str


class Contested(NamedTuple):
    """Another process says that it is this member, which was here first: once `generation` is on disk as used, call Node.count_on."""

    generation: int
    because: str


class Dismissed(NamedTuple):
    """The ring was told that this member has departed."""

    because: str


class Noted(NamedTuple):
    """Worth a line in the journal: who accused whom, why; `topic` is the member or record it is about."""

    topic: str
    because: str


Effect = Send | Open | Write | Close | Seen | Learned | Expired | Cloned | Contested | Dismissed | Noted
