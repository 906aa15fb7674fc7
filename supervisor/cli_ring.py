"""`stead ring status | members | records | join | depart`: this host's view of the ring, and coming and going."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import click

from hart.options import json_option, root_option
from supervisor.cli_options import ask, seconds

COUNTED = ("alive", "suspect", "dead", "departed")
AWAY_SHOWN = 20  # members that are not alive, on the screen of `ring status`


@click.command("status")
@root_option
@json_option
def ring_status(root: str | None, *, as_json: bool) -> None:
    """Show this member, the ring, and whatever is not as it should be."""
    from hart.console import show_facts

    found = ask(root, "ring status")
    show_facts(found if as_json else screen(found), as_json=as_json)


def screen(found: Mapping[str, Any]) -> dict[str, Any]:
    """What a person is shown: what is well in a word, what is not with its reason and the next command."""
    from supervisor.ring_view import lasted, sized

    counts, held, away = found["counts"], found["records"], found["away"]
    reached = found["advertised"] if found["advertised"] == found["address"] else f"{found['advertised']}, listens on {found['address']}"
    shown: dict[str, Any] = {
        "this member": f"{found['name']} ({found['member'][:8]}) at {reached}",
        "ring": f"{found['ring'] or 'without a name'} (id {found['ring_id']})",
        "encryption": encryption(found),
    }
    if found["departed"]:
        shown["departed"] = [f"this host takes no part: {found['departed']}", "to come back: stead ring join ADDRESS"]
    if found.get("alone"):
        shown["alone"] = found["alone"]
    counted = ", ".join(f"{counts[word]} {word}" for word in COUNTED if counts[word] or word == "alive")
    shown["members"] = f"{counted}, when this host left" if found["departed"] else counted
    if away:
        lines = [away_line(each, lasted) for each in away[:AWAY_SHOWN]]
        shown["not alive"] = [*lines, *([f"and {len(away) - AWAY_SHOWN} more: stead ring members"] if len(away) > AWAY_SHOWN else [])]
    if found["discovery"]:
        shown["discovery"] = [source_line(each) for each in found["discovery"]]
    wrong = [*found["refused"], *(each for each in found["network"] if each["reason"].startswith("send"))]
    if wrong:
        shown["refused"] = [line for each in wrong for line in refused_lines(each, f"in {lasted(found['up_s'])}")]
    if found["score"]:
        failing = counts["suspect"] or counts["dead"]
        why = "as long as members fail" if failing else "is this host overloaded?"
        shown["own health"] = f"{found['score']} (0 is well): {why}; probes fail or come late, so it accuses others more slowly"
    withdrawn = f", {held['withdrawn']} withdrawn" if held["withdrawn"] else ""
    shown["records"] = f"{many(held['documents'], 'document')}, {many(held['facts'], 'fact')}{withdrawn}, {sized(held['bytes'])}"
    return shown


def many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def encryption(found: Mapping[str, Any]) -> str:
    if not found["encrypted"]:
        return "none: without a ring key this ring is on loopback only; stead ring key generate NAME makes one"
    others = found["other_keys"]
    return f"key {found['key']}" + (f"; still opens {', '.join(others)}" if others else "")


def away_line(each: Mapping[str, Any], lasted: Callable[[float], str]) -> str:
    because = f": {each['because']}" if each["because"] else ""
    accused = f"; accused by {', '.join(each['accused_by'])}" if each["accused_by"] else ""
    return f"{each['name']} ({each['member'][:8]}) {each['health']} for {lasted(each['for_s'])}{because}{accused}"


def source_line(each: Mapping[str, Any]) -> str:
    if each["trouble"]:
        return f"{each['source']}: {each['trouble']}"
    count = len(each["addresses"])
    return f"{each['source']}: {count} address{'es' if count != 1 else ''}"


def refused_lines(each: Mapping[str, Any], while_up: str) -> Iterator[str]:
    yield f"{each['count']} {each['reason']} {while_up}" + (f": {each['cause']}" if each["cause"] else "")
    if each["next"]:
        yield f"  next: {each['next']}"


@click.command("members")
@root_option
@json_option
def ring_members(root: str | None, *, as_json: bool) -> None:
    """List the members that this one knows, and what it holds of each."""
    from hart.console import show_rows, warn
    from supervisor.ring_view import MEMBER_COLUMNS, lasted

    found = ask(root, "ring members")
    rows = found["rows"]
    if not as_json:
        rows = [{**row, "since": f"{lasted(row['for_s'])} ago", "because": "this member" if row["me"] else row["because"]} for row in rows]
    show_rows(rows, MEMBER_COLUMNS, as_json=as_json, empty="no members are known")
    if found["left_out"]:
        warn(f"{found['left_out']} more members are not shown")


@click.command("records")
@click.argument("prefix", required=False, default="")
@root_option
@click.option("--reveal", is_flag=True, help="With their bodies. These may hold secrets.")
@json_option
def ring_records(prefix: str, root: str | None, *, reveal: bool, as_json: bool) -> None:
    """List the records of the ring whose key begins with PREFIX, such as group/ or member/."""
    import json

    from hart.console import show_rows, warn
    from supervisor.ring_view import RECORD_COLUMNS

    found = ask(root, "ring records", prefix=prefix, reveal=reveal)
    rows = found["rows"]
    columns = (*RECORD_COLUMNS, "body") if reveal else RECORD_COLUMNS
    if reveal and not as_json:
        rows = [{**row, "body": row["body"] if isinstance(row["body"], str) else json.dumps(row["body"])} for row in rows]
    show_rows(rows, columns, as_json=as_json, empty=f"there are no records{f' that begin with {prefix}' if prefix else ''}")
    if found["left_out"]:
        warn(f"{found['left_out']} more records are not shown: give a longer PREFIX")


@click.command("join")
@click.argument("addresses", nargs=-1, required=True, metavar="ADDRESS…")
@root_option
@seconds("--wait", "wait_s", "How long to wait for an answer [10].")
@json_option
def ring_join(addresses: tuple[str, ...], root: str | None, wait_s: float | None, *, as_json: bool) -> None:
    """Meet the members at these addresses (HOST or HOST:PORT), and wait until one answers. A host that has left comes back with it."""
    from hart.console import show_json

    found = ask(root, "ring join", addresses=list(addresses), wait_s=wait_s)
    if as_json:
        show_json(found)


@click.command("depart")
@click.argument("member", required=False)
@root_option
@click.option("--why", metavar="TEXT", help="The reason, which all others are shown.")
@json_option
def ring_depart(member: str | None, root: str | None, why: str | None, *, as_json: bool) -> None:
    """Leave the ring: this host, whose services go on. With MEMBER: tell the ring that it is gone for good.

    MEMBER is a name, or the beginning of an id. Nothing is asked. `stead ring join` on that host brings it back.
    """
    from hart.console import show_json

    found = ask(root, "ring depart", member=member, why=why)
    if as_json:
        show_json(found)
