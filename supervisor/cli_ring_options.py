"""Options of `stead sup run` for the ring and the gateway, and the settings that they make."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from hart.root import Root
    from supervisor.settings import HttpSettings, RingSettings

F = TypeVar("F", bound=Callable[..., Any])
NAMES = (
    "ring", "listen_gossip", "peers", "watch_file", "sources", "no_mdns", "network", "local_gossip", "permanent_peer",
    "listen_http", "no_http", "http_open", "key", "certs", "ca_certs",
)  # fmt: skip


def ring_options(command: F) -> F:
    file = click.Path(exists=True, dir_okay=False, resolve_path=True)
    options: list[Callable[[F], F]] = [
        click.option("-r", "--ring", metavar="NAME", help="The ring to take part in [the one whose key is in the key cache]."),
        click.option(
            "--peer", "peers", multiple=True, metavar="HOST[:PORT]", help="A member of the ring; tried for ever, may be repeated."
        ),
        click.option(
            "--peer-watch-file", "watch_file", metavar="FILE", help="A file of members, one HOST[:PORT] a line, read when it changes."
        ),
        click.option("--join", "sources", multiple=True, metavar="SOURCE", help="dns:NAME (its addresses) or srv:NAME (its SRV records)."),
        click.option("--no-mdns", is_flag=True, help="Do not look for members on the local network."),
        click.option(
            "--network", type=click.Choice(["lan", "wan", "local"]), help="How patient the ring is with its members [lan]; the same on all."
        ),
        click.option("--listen-gossip", metavar="ADDRESS", help="Of the ring, UDP and TCP [0.0.0.0:9638; without a ring key 127.0.0.1]."),
        click.option("--local-gossip-mode", "local_gossip", is_flag=True, help="Listen for the ring on loopback only."),
        click.option("-I", "--permanent-peer", is_flag=True, hidden=True, help="Accepted for Habitat's sake: every member is tried again."),
        click.option("--listen-http", metavar="ADDRESS", help="Of the read-only HTTP gateway [127.0.0.1:9631]."),
        click.option("-D", "--http-disable", "no_http", is_flag=True, help="No HTTP gateway."),
        click.option("--http-open", is_flag=True, help="Let the gateway listen beyond loopback without a token."),
        click.option("--key", "key", type=file, help="The gateway's TLS key."),
        click.option("--certs", "certs", type=file, help="The gateway's TLS certificates."),
        click.option("--ca-certs", "ca_certs", type=file, help="Clients of the gateway must show a certificate of these authorities."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def take_ring_options(options: dict[str, Any]) -> dict[str, Any]:
    """Take these options out of all that were given."""
    return {name: options.pop(name) for name in NAMES}


def ring_settings(root: Root, environ: Mapping[str, str], **given: Any) -> RingSettings:
    """UsageError, NotFoundError or TrustError say what is wrong with ring, key or address."""
    from hart.errors import UsageError
    from hart.keys import KeyCache
    from supervisor.ring_key import choose_ring
    from supervisor.settings import EVERYWHERE, GOSSIP_PORT, LOOPBACK, RingSettings, parse_address

    name = choose_ring(KeyCache.choose(root, environ), given["ring"], environ)
    text = given["listen_gossip"] or environ.get("STEAD_LISTEN_GOSSIP") or environ.get("HAB_LISTEN_GOSSIP")
    if text and given["local_gossip"]:
        raise UsageError("--local-gossip-mode", "is an address of its own: leave --listen-gossip out")
    default = LOOPBACK if given["local_gossip"] or not name else EVERYWHERE
    return RingSettings(
        name=name,
        listen=parse_address(text, port=GOSSIP_PORT, thing="--listen-gossip") if text else (default, GOSSIP_PORT),
        listen_fixed=bool(text),
        peers=tuple(given["peers"]),
        watch_file=str(given["watch_file"] or ""),
        sources=tuple(given["sources"]),
        mdns=not given["no_mdns"],
        preset=given["network"] or "lan",
    )


def http_settings(environ: Mapping[str, str], **given: Any) -> HttpSettings:
    """UsageError: beyond loopback without a token, or half of a key pair."""
    from ipaddress import ip_address

    from hart.errors import UsageError
    from supervisor.settings import HTTP_PORT, LOOPBACK, HttpSettings, parse_address

    if given["no_http"]:
        return HttpSettings(listen=None)
    text = given["listen_http"] or environ.get("STEAD_LISTEN_HTTP") or environ.get("HAB_LISTEN_HTTP")
    listen = parse_address(text, port=HTTP_PORT, thing="--listen-http") if text else (LOOPBACK, HTTP_PORT)
    token = environ.get("STEAD_GATEWAY_AUTH_TOKEN") or environ.get("HAB_SUP_GATEWAY_AUTH_TOKEN")
    if not ip_address(listen[0]).is_loopback and not token and not given["http_open"] and not given["ca_certs"]:
        raise UsageError(
            f"--listen-http {text}",
            "would show this host's services to everybody",
            next="set STEAD_GATEWAY_AUTH_TOKEN, or ask for client certificates with --ca-certs, or say --http-open",
        )
    if bool(given["key"]) != bool(given["certs"]):
        raise UsageError("TLS", "takes both --key and --certs")
    return HttpSettings(
        listen=listen,
        listen_fixed=bool(text),
        anybody=given["http_open"],
        key=str(given["key"] or ""),
        certs=str(given["certs"] or ""),
        ca_certs=str(given["ca_certs"] or ""),
    )
