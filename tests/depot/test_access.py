"""Tokens, scopes and roles."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depot import access
from depot.access import Need, Role, Scope, StoredToken, Verb
from hart.errors import DeniedError, FormatError, UsageError

TOKEN = access.mint(bytes(range(10)), bytes(range(32)))


def stored(*scopes: str, expires_us: int = 1000, revoked_us: int | None = None) -> StoredToken:
    presented = access.present(TOKEN)
    assert presented is not None
    return StoredToken(
        public_id=presented.public_id,
        account_id=1,
        account="alice",
        digest=presented.digest,
        scopes=tuple(map(Scope.parse, scopes)),
        created_us=0,
        expires_us=expires_us,
        revoked_us=revoked_us,
    )


def refusal(need: Need, role: Role | None, *scopes: str, hide: bool = False) -> object:
    with pytest.raises(DeniedError) as caught:
        access.check(stored(*scopes), need, role, hide=hide)
    return caught.value.data["status"]


@given(st.binary(min_size=10, max_size=10), st.binary(min_size=32, max_size=32))
def test_a_token_is_one_word_with_a_known_beginning(identity: bytes, secret: bytes) -> None:
    """Secret scanners find it by `stead_`; its parts are found again; two secrets never share a digest."""
    token = access.mint(identity, secret)
    assert token.startswith("stead_")
    assert token.isascii()
    assert len(token) == len(TOKEN)
    presented = access.present(token)
    assert presented is not None
    assert presented.public_id in token


@given(st.integers(min_value=0, max_value=len(TOKEN) - 1), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_a_mistyped_token_is_no_token(place: int, char: str) -> None:
    """The check finds any one wrong character, without a question to the catalog."""
    wrong = TOKEN[:place] + char + TOKEN[place + 1 :]
    assert (access.present(wrong) is None) is (wrong != TOKEN)


def test_the_digest_does_not_hold_the_secret() -> None:
    """S28: what is stored cannot be turned into a token."""
    presented = access.present(TOKEN)
    assert presented is not None
    assert presented.digest.hex() not in TOKEN
    assert bytes(range(32)) not in presented.digest


@pytest.mark.parametrize("header", ["", "Bearer", "Basic x", f"bearer {TOKEN}", f"Bearer  {TOKEN}", f"Bearer {TOKEN} x", TOKEN])
def test_only_bearer_and_one_token_is_accepted(header: str) -> None:
    """Exactly two words, as the API has it."""
    assert access.bearer(header) is None


def test_a_bearer_header_gives_its_token() -> None:
    """The usual case."""
    assert access.bearer(f"Bearer {TOKEN}") == access.present(TOKEN)


def test_a_token_is_accepted_until_it_expires() -> None:
    """At its last microsecond it is expired."""
    presented = access.present(TOKEN)
    assert presented is not None
    assert access.accept(presented, stored(), 999) is not None
    assert access.accept(presented, stored(), 1000) is None


def test_a_wrong_secret_an_unknown_id_and_a_revoked_token_are_all_the_same() -> None:
    """S27: nothing tells them apart."""
    presented = access.present(TOKEN)
    other = access.present(access.mint(bytes(range(10)), bytes(32)))
    assert presented is not None
    assert other is not None
    assert access.accept(other, stored(), 1) is None
    assert access.accept(presented, None, 1) is None
    assert access.accept(presented, stored(revoked_us=5), 1) is None


@pytest.mark.parametrize("text", ["read", "admin", "publish:acme", "publish:*", "promote:acme", "promote:acme/stable", "promote:*/stable"])
def test_a_scope_reads_as_it_is_written(text: str) -> None:
    """Parsing and showing are inverse."""
    assert str(Scope.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "write", "read:acme", "admin:acme", "publish", "publish:", "publish:ACME", "publish:acme/stable", "promote:acme/", "promote:"],
)
def test_what_is_no_scope_is_refused(text: str) -> None:
    """A scope that means nothing must not look as if it allowed something."""
    with pytest.raises(UsageError):
        Scope.parse(text)


@pytest.mark.parametrize(
    ("scope", "need", "covered"),
    [
        ("publish:acme", Need(Verb.PUBLISH, "acme"), True),
        ("publish:acme", Need(Verb.PUBLISH, "evil"), False),
        ("publish:acme", Need(Verb.PROMOTE, "acme", "stable"), False),
        ("publish:*", Need(Verb.PUBLISH, "evil"), True),
        ("publish:*", Need(Verb.ADMIN, "acme"), False),
        ("promote:acme", Need(Verb.PROMOTE, "acme", "stable"), True),
        ("promote:acme/rc", Need(Verb.PROMOTE, "acme", "rc"), True),
        ("promote:acme/rc", Need(Verb.PROMOTE, "acme", "stable"), False),
        ("promote:*/rc", Need(Verb.PROMOTE, "evil", "rc"), True),
        ("admin", Need(Verb.ADMIN), True),
        ("admin", Need(Verb.PUBLISH, "acme"), True),
        ("read", Need(Verb.PUBLISH, "acme"), False),
    ],
)
def test_a_scope_covers_its_verb_origin_and_channel(scope: str, need: Need, *, covered: bool) -> None:
    """Nothing wider than what it says."""
    assert Scope.parse(scope).covers(need) is covered


def test_nobody_gets_401_and_somebody_else_403() -> None:
    """The API tells "who are you" from "not you"; channel routes say 401 for both."""
    need = Need(Verb.PUBLISH, "acme")
    with pytest.raises(DeniedError) as caught:
        access.check(None, need, None)
    assert caught.value.data["status"] == 401
    assert refusal(need, Role.OWNER, "read") == 403
    assert refusal(need, None, "publish:acme") == 403
    assert refusal(need, None, "publish:acme", hide=True) == 401


def test_scope_and_role_are_both_needed() -> None:
    """A token of a stranger to the origin is worth nothing there, whatever its scopes."""
    need = Need(Verb.PROMOTE, "acme", "stable")
    assert access.check(stored("promote:acme"), need, Role.MAINTAINER)
    assert refusal(need, Role.MEMBER, "promote:acme") == 403
    assert refusal(need, Role.OWNER, "promote:acme/rc") == 403
    assert refusal(Need(Verb.ADMIN, "acme"), Role.MAINTAINER, "admin") == 403


def test_reading_wants_no_scope() -> None:
    """Who I am may be asked with any token."""
    assert access.check(stored("publish:acme"), Need(Verb.READ), None).account == "alice"


def test_roles_are_a_ladder() -> None:
    """Each role may do what those below it may."""
    ladder = list(Role)
    for low, role in enumerate(ladder):
        assert [role.reaches(other) for other in ladder] == [place <= low for place in range(len(ladder))]


@pytest.mark.parametrize(("text", "seconds"), [("90d", 7_776_000), ("1s", 1), ("2h", 7200), ("10y", 315_360_000)])
def test_a_life_time_has_a_unit(text: str, seconds: int) -> None:
    """Seconds to years."""
    assert access.expiry_s(text) == seconds


@pytest.mark.parametrize("text", ["", "90", "0d", "-1d", "11y", "1.5d", "d", "1 d", "999999999y"])
def test_a_token_that_lives_for_ever_is_refused(text: str) -> None:
    """Every token expires, within ten years."""
    with pytest.raises(UsageError):
        access.expiry_s(text)


@pytest.mark.parametrize("name", ["", "a b", "-x", "a/b", "x" * 101, "a\n"])
def test_what_is_no_account_name_is_refused(name: str) -> None:
    """It goes into tables and logs."""
    with pytest.raises(FormatError):
        access.check_account(name)
