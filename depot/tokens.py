"""Making, listing and revoking tokens: what `stead depot token` does, in the depot's own process or through its admin socket.

Rules: the secret is shown once, when it is made; only its digest is kept. Requests and answers are JSON objects:

    {"do": "create", "account": A, "scopes": [S, …], "expires_s": N}   → {"token": T, "id": I, "account": A, "scopes": […], "expires_at": …}
    {"do": "list"}                                                     → {"tokens": [{"id", "account", "scopes", "state", …}, …]}
    {"do": "revoke", "id": I}                                          → {"id": I}

Not here: the socket (depot/admin_socket.py), what scopes mean (depot/access.py).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from depot import access, routes
from depot.access import StoredToken
from depot.catalog import Writer
from depot.store import Store, now_us
from hart import limits
from hart.errors import NotFoundError, UsageError

CONSOLE = "(console)"  # who the audit trail names for what is done on the depot's own machine


async def perform(store: Store, request: Mapping[str, Any]) -> dict[str, Any]:
    """Do what one request says; UsageError when it is malformed."""
    match request:
        case {"do": "create", "account": str(account), "scopes": list(scopes), "expires_s": int(expires_s)}:
            return await create(store, account, [str(scope) for scope in scopes], expires_s)
        case {"do": "list"}:
            now = now_us()
            return {"tokens": [_shown(token, now) for token in await store.read(lambda reader: reader.tokens())]}
        case {"do": "revoke", "id": str(public_id)}:
            return await revoke(store, public_id)
        case _:
            raise UsageError("admin request", "is not one that this depot knows", next="use the same version of stead for both")


async def create(store: Store, account: str, scopes: list[str], expires_s: int) -> dict[str, Any]:
    """A new token, and its account if that is new."""
    access.check_account(account)
    allowed = access.parse_scopes(scopes)
    if not 0 < expires_s <= limits.TOKEN_LIFE_MAX_S:
        raise UsageError("token", "has no life time that is allowed", next="--expires 90d")
    token = access.mint(secrets.token_bytes(access.ID_BYTES), secrets.token_bytes(access.SECRET_BYTES))
    presented = access.present(token)
    assert presented is not None, "we made it"
    expires_us = now_us() + expires_s * 1_000_000

    def change(writer: Writer) -> StoredToken:
        return writer.add_token(writer.ensure_account(account), presented, allowed, expires_us=expires_us)

    stored = await store.write(change, by=CONSOLE)
    return {"token": token, **_shown(stored, now_us())}


async def revoke(store: Store, token: str) -> dict[str, Any]:
    """Revoke by public id, or by the token itself; NotFoundError when there is none."""
    presented = access.present(token)
    public_id = presented.public_id if presented else token
    if not await store.write(lambda writer: writer.revoke_token(public_id), by=CONSOLE):
        raise NotFoundError(f"token {public_id[: limits.LOGGED_PATH]}", "does not exist", next="stead depot token list")
    return {"id": public_id}


def _shown(token: StoredToken, now: int) -> dict[str, Any]:
    state = "revoked" if token.revoked_us is not None else "expired" if now >= token.expires_us else "valid"
    return {
        "id": token.public_id,
        "account": token.account,
        "scopes": [str(scope) for scope in token.scopes],
        "state": state,
        "created_at": f"{routes.timestamp(token.created_us)}Z",
        "expires_at": f"{routes.timestamp(token.expires_us)}Z",
        "last_used_at": f"{routes.timestamp(token.last_used_us)}Z" if token.last_used_us is not None else None,
    }
