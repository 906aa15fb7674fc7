"""The depot's answers: values of the catalog as the JSON and headers of the Builder API.

Rules: ids are strings, times naive ISO, errors have an empty body unless the API gives them a text or the client accepts
`application/problem+json`. Field names and their presence follow the API, since Habitat's client refuses a package without them.
Source: reference: depot API 0 and 1.1 to 1.5. Not here: what is asked (depot/serve_*.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web

from depot import routes
from depot.catalog import Account, Channel, Listed, Membership, Origin, Package, Page, Version
from hart.errors import SteadError
from hart.ident import Ident


def answer(data: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """A JSON answer."""
    body = json.dumps(data, separators=(",", ":")).encode()
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


def empty(status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer that is its status. Without the framework's text and content type."""
    response = web.Response(status=status, headers=headers)
    response.headers.pop("Content-Type", None)
    return response


def refusal(error: SteadError, *, explained: bool) -> web.Response:
    """The answer to an error. `explained`: the client accepts a problem document."""
    status = routes.status_of(error)
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(checksum := error.data.get("checksum"), str):
        headers[routes.X_CHECKSUM] = checksum
    if explained:
        body = json.dumps(routes.problem(error)).encode()
        return web.Response(status=status, body=body, content_type=routes.PROBLEM_JSON, headers=headers)
    text = error.data.get("text")
    return web.Response(status=status, text=text, headers=headers) if isinstance(text, str) and text else empty(status, headers)


def package(found: Package, *, brief: bool) -> dict[str, Any]:
    """A package. `brief` blanks its long texts, as the API does outside channels."""
    new = found.new
    return {
        "id": str(found.id),
        "owner_id": str(found.owner_id),
        "name": new.ident.name,
        "ident": ident(new.ident),
        "ident_array": [new.ident.origin, new.ident.name, new.ident.version, new.ident.release],
        "checksum": new.checksum,
        "manifest": "" if brief else new.manifest,
        "config": "" if brief else new.config,
        "target": new.target,
        "deps": _idents(new.deps),
        "tdeps": _idents(new.tdeps),
        "build_deps": _idents(new.build_deps),
        "build_tdeps": _idents(new.build_tdeps),
        "exposes": list(new.exposes),
        "visibility": found.visibility,
        "created_at": routes.timestamp(found.created_us),
        "updated_at": routes.timestamp(found.updated_us),
        "origin": new.ident.origin,
        "package_type": new.package_type,
        "channels": list(found.channels),
        "is_a_service": new.is_a_service,
        "size": new.size,
    }


def ident(value: Ident) -> dict[str, str | None]:
    return {"origin": value.origin, "name": value.name, "version": value.version, "release": value.release}


def _idents(texts: Sequence[str]) -> list[dict[str, str | None]]:
    return [ident(Ident.parse(text)) for text in texts]


def paged(found: Page, *, start: int) -> web.Response:
    body = routes.page([listed(row) for row in found.rows], start=start, total=found.total)
    return answer(body, status=routes.page_status(body))


def listed(row: Listed) -> dict[str, Any]:
    return {
        "origin": row.origin,
        "name": row.name,
        "version": row.version,
        "release": row.release,
        "channels": list(row.channels),
        "platforms": list(row.platforms),
    }


def version(row: Version, origin: str, name: str) -> dict[str, Any]:
    return {
        "origin": origin,
        "name": name,
        "version": row.version,
        "release_count": str(row.release_count),
        "latest": row.latest,
        "platforms": list(row.platforms),
        "visibility": "public",
    }


def membership(place: Membership) -> dict[str, str]:
    return {
        "name": place.channel,
        "created_at": routes.timestamp(place.created_us),
        "promoted_at": routes.timestamp(place.promoted_us),
    }


def origin_made(found: Origin) -> dict[str, str]:
    return {
        "owner_id": str(found.owner_id),
        "name": found.name,
        "created_at": routes.timestamp(found.created_us),
        "updated_at": routes.timestamp(found.updated_us),
        "default_package_visibility": found.visibility,
    }


def origin_owned(found: Origin) -> dict[str, str]:
    return origin_made(found) | {"package_count": str(found.package_count)}


def origin_shown(found: Origin) -> dict[str, str | None]:
    return {
        "owner_id": str(found.owner_id),
        "name": found.name,
        "private_key_name": None,  # a depot of ours holds no secret keys
        "default_package_visibility": found.visibility,
        "owner_account": found.owner,
    }


def channel(found: Channel) -> dict[str, str]:
    return {
        "id": str(found.id),
        "owner_id": str(found.owner_id),
        "name": found.name,
        "created_at": routes.timestamp(found.created_us),
        "updated_at": routes.timestamp(found.updated_us),
        "origin": found.origin,
    }


def profile(account: Account) -> dict[str, str]:
    created = routes.timestamp(account.created_us)
    return {"id": str(account.id), "email": "", "name": account.name, "created_at": created, "updated_at": created}
