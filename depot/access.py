"""Who may do what: tokens, scopes, roles. Pure.

Rules: a request may do what its token's scopes allow *and* its account's role in the origin allows; reading needs neither. A token is
`stead_`, a public id, 32 random bytes and a check, so that secret scanners find it and a mistyped one is told apart from a wrong one.
Only a digest is stored; an unknown id costs the same comparison as a wrong secret. Every token expires.

    scope                       allows (in origins where the account has the role)            role
    read                        nothing beyond what everybody may read; names the account     any
    publish:ORIGIN|*            upload packages                                               member
    promote:ORIGIN|*[/CHANNEL]  promote, demote, create and delete channels                   maintainer
    admin                       all that the account may: also create origins, add keys       administrator for keys

A new signing key wants `admin`, not `publish`: a stolen publishing token must not be able to bring its own key.
Source: threats 4.2; the roles and 401 against 403 are Builder's (reference: depot API 0). Not here: where tokens are kept.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from depot import channels
from hart import limits
from hart.errors import DeniedError, FormatError, UsageError
from hart.ident import ORIGIN

PREFIX: Final = "stead_"
ID_BYTES: Final = 10
SECRET_BYTES: Final = 32
_CHECK_BYTES: Final = 3
_ID_CHARS, _SECRET_CHARS, _CHECK_CHARS = 16, 52, 5  # base32 without padding
_TOKEN = re.compile(rf"{PREFIX}[a-z2-7]{{{_ID_CHARS + _SECRET_CHARS + _CHECK_CHARS}}}")
_NO_DIGEST: Final = bytes(32)  # what an unknown token is compared with; the digest of nothing


class Verb(StrEnum):
    READ = "read"
    PUBLISH = "publish"
    PROMOTE = "promote"
    ADMIN = "admin"


class Role(StrEnum):
    """Builder's ladder, lowest first."""

    READONLY_MEMBER = "readonly_member"
    MEMBER = "member"
    MAINTAINER = "maintainer"
    ADMINISTRATOR = "administrator"
    OWNER = "owner"

    def reaches(self, wanted: Role) -> bool:
        ladder = list(Role)
        return ladder.index(self) >= ladder.index(wanted)


ROLE_FOR: Final = {
    Verb.READ: Role.READONLY_MEMBER,
    Verb.PUBLISH: Role.MEMBER,
    Verb.PROMOTE: Role.MAINTAINER,
    Verb.ADMIN: Role.ADMINISTRATOR,
}


@dataclass(frozen=True, slots=True)
class Scope:
    """One permission of a token. `origin` is a name or `*`; `channel` None means every channel."""

    verb: Verb
    origin: str | None = None
    channel: str | None = None

    @classmethod
    def parse(cls, text: str) -> Scope:
        """From `read`, `admin`, `publish:ORIGIN` or `promote:ORIGIN[/CHANNEL]`; UsageError otherwise."""
        word, colon, rest = text.partition(":")
        advice = "read, admin, publish:ORIGIN, promote:ORIGIN or promote:ORIGIN/CHANNEL; `*` for every origin"
        if word not in set(Verb):
            raise UsageError(f"scope {text!r}", "is not a scope", next=advice)
        verb = Verb(word)
        if verb in (Verb.READ, Verb.ADMIN):
            if colon:
                raise UsageError(f"scope {text!r}", f"`{verb}` takes no origin", next=advice)
            return cls(verb)
        origin, slash, channel = rest.partition("/")
        if origin != "*" and not ORIGIN.fullmatch(origin):
            raise UsageError(f"scope {text!r}", "names no valid origin", next=advice)
        if slash and (verb is not Verb.PROMOTE or not channels.NAME.fullmatch(channel)):
            raise UsageError(f"scope {text!r}", "names no valid channel", next=advice)
        return cls(verb, origin, channel or None)

    def __str__(self) -> str:
        origin = f":{self.origin}" if self.origin else ""
        return f"{self.verb}{origin}" + (f"/{self.channel}" if self.channel else "")

    def covers(self, need: Need) -> bool:
        if self.verb is Verb.ADMIN:
            return True
        if self.verb is not need.verb:
            return False
        return self.origin in (None, "*", need.origin) and self.channel in (None, need.channel)


DEFAULT_SCOPES: Final = (Scope(Verb.ADMIN),)


@dataclass(frozen=True, slots=True)
class Need:
    """What a request wants to do. `origin` None: nothing of any origin (create one, ask who I am)."""

    verb: Verb
    origin: str | None = None
    channel: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredToken:
    """A token as the catalog knows it: everything but the secret. Times are microseconds since 1970."""

    public_id: str
    account_id: int
    account: str
    digest: bytes
    scopes: tuple[Scope, ...]
    created_us: int
    expires_us: int
    last_used_us: int | None = None
    revoked_us: int | None = None


@dataclass(frozen=True, slots=True)
class Presented:
    """A well-formed token from a request: what to look up, and what to compare."""

    public_id: str
    digest: bytes


def mint(identity: bytes, secret: bytes) -> str:
    """The token for 10 random bytes of public id and 32 of secret."""
    assert len(identity) == ID_BYTES, len(identity)
    assert len(secret) == SECRET_BYTES, len(secret)
    body = PREFIX + _base32(identity) + _base32(secret)
    return body + _check(body)


def present(token: str) -> Presented | None:
    """Take a token apart; None when it is none (its shape or its check is wrong)."""
    if not _TOKEN.fullmatch(token):
        return None
    body, check = token[:-_CHECK_CHARS], token[-_CHECK_CHARS:]
    if not hmac.compare_digest(_check(body), check):
        return None
    digest = hashlib.blake2b(token.encode(), digest_size=32, person=b"stead-token").digest()
    return Presented(body[len(PREFIX) : len(PREFIX) + _ID_CHARS], digest)


def bearer(header: str) -> Presented | None:
    """The token of an `Authorization` header; None unless it is exactly `Bearer TOKEN` with a well-formed token."""
    words = header.split(" ")
    return present(words[1]) if len(words) == 2 and words[0] == "Bearer" else None


def accept(presented: Presented, stored: StoredToken | None, now_us: int) -> StoredToken | None:
    """The stored token when the secret is right and it is neither expired nor revoked."""
    right = hmac.compare_digest(presented.digest, stored.digest if stored else _NO_DIGEST)
    if stored is None or not right or stored.revoked_us is not None or now_us >= stored.expires_us:
        return None
    return stored


def check(token: StoredToken | None, need: Need, role: Role | None, *, hide: bool = False) -> StoredToken:
    """The token when it may do what is needed; DeniedError with status 401 (nobody) or 403 (not this one; 401 when `hide`).

    `role` is the account's role in `need.origin`. `hide` is the Builder routes' rule for channels: 401 for both.
    """
    if token is None:
        raise DeniedError("this request", "needs a token", next="see `stead depot token create`", status=401)
    refused = 401 if hide else 403
    if need.verb is not Verb.READ and not any(scope.covers(need) for scope in token.scopes):
        wanted = Scope(need.verb, need.origin if need.verb in (Verb.PUBLISH, Verb.PROMOTE) else None, need.channel)
        raise DeniedError("this token", f"lacks the scope {wanted}", next="see `stead depot token create`", status=refused)
    if need.origin is not None and (role is None or not role.reaches(ROLE_FOR[need.verb])):
        raise DeniedError(f"account {token.account}", f"is not {ROLE_FOR[need.verb]} of origin {need.origin}", status=refused)
    return token


def check_account(name: str) -> str:
    """The name itself when it can be an account's; FormatError otherwise."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,99}", name):
        raise FormatError(f"account {name!r}", "is not an account name", next="use letters, digits and _ . @ + -")
    return name


def parse_scopes(texts: Sequence[str]) -> tuple[Scope, ...]:
    """Scopes from the command line; none given means everything that the account itself may do."""
    return tuple(dict.fromkeys(Scope.parse(text) for text in texts)) or DEFAULT_SCOPES


_UNIT_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_536_000}


def expiry_s(text: str) -> int:
    """A life time such as `90d` or `12h` in seconds; UsageError when malformed, zero or above the limit."""
    found = re.fullmatch(r"([0-9]{1,9})([smhdwy])", text)
    seconds = int(found[1]) * _UNIT_S[found[2]] if found else 0
    if not 0 < seconds <= limits.TOKEN_LIFE_MAX_S:
        raise UsageError(f"life time {text!r}", "is not a time from 1s to 10y", next="for example 90d or 12h")
    return seconds


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=").lower()


def _check(body: str) -> str:
    return _base32(hashlib.blake2b(body.encode(), digest_size=_CHECK_BYTES, person=b"stead-check").digest())
