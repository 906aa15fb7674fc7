"""`stead ring …` on the supervisor's side, and the screens that people get of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from hart import wire
from hart.errors import ConflictError, LimitError, NotFoundError, UnavailableError, UsageError
from hart.limits import RING_SHOWN_BYTES
from supervisor import cli_ring, clock, ring_commands, ring_view
from supervisor.gossip import rotation
from supervisor.gossip.messages import Health
from supervisor.gossip.rotation import MISSED
from supervisor.request import Request
from tests.supervisor.gatehouse import KEYS, House, house

H1 = "192.0.2.1:9638"


@pytest_asyncio.fixture
async def found(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        yield made


async def told(found: House, command: str, **fields: Any) -> tuple[Any, list[str]]:
    """The result as it comes over the control socket, and what was said meanwhile."""
    said: list[str] = []
    result = await ring_commands.COMMANDS[f"ring {command}"](found.host, Request(fields), said.append)
    return wire.decode(wire.encode(result), thing="result"), said


# --- what is shown


@pytest.mark.asyncio
async def test_a_ring_in_which_all_is_well_is_five_lines(found: House) -> None:
    """At three in the morning nothing that is well takes a second look."""
    found.ring.meet(2, "h2")
    status, _ = await told(found, "status")
    screen = cli_ring.screen(status)
    assert list(screen) == ["this member", "ring", "encryption", "members", "records"]
    assert screen["members"] == "2 alive"
    assert screen["this member"] == f"h1 ({found.ring.key.id.hex()[:8]}) at {H1}"
    assert screen["encryption"] == f"key {found.ring.keyring.primary_id.hex()}; still opens {found.ring.keyring.key_ids[1].hex()}"


@pytest.mark.asyncio
async def test_whatever_is_wrong_has_its_reason_and_the_next_command(found: House) -> None:
    ring = found.ring
    ring.meet(2, "h2", health=Health.DEPARTED, because="it said goodbye; heard from h3")
    ring.meet(3, "h3", health=Health.DEAD, because="suspected for 4.1 s by 2 (h4, h5), and it did not object")
    ring.discovery = [
        {"source": "dns:ring.example", "trouble": "no such name", "addresses": []},
        {"source": "--peer h3", "trouble": "", "addresses": [("192.0.2.3", 9638)]},
    ]
    for reason in ("magic", "tag", "key", "plain", "ring"):
        ring.refuse(reason, 2)
    ring.drops["send ENETUNREACH"] = 1
    status, _ = await told(found, "status")
    ring.drops["connect ConnectionRefusedError"] = 9  # what a dead member looks like
    assert len(status["refused"]) == 5
    assert all(each["cause"] and each["next"] for each in [*status["refused"], *status["network"]])
    screen = cli_ring.screen({**status, "score": 3, "departed": "told to leave", "up_s": 300})
    assert screen["members"] == "1 alive, 1 dead, 1 departed, when this host left"
    dead, departed = screen["not alive"]
    assert dead.startswith("h3 (")
    assert "dead for 2 min: suspected for 4.1 s" in dead
    assert departed.startswith("h2 (")
    assert screen["discovery"] == ["dns:ring.example: no such name", "--peer h3: 1 address"]
    assert f"  next: {MISSED[1]}" in screen["refused"]
    assert any(line.startswith("2 tag in 5 min: ") for line in screen["refused"])
    assert any(line.startswith("1 send ENETUNREACH in 5 min: ") for line in screen["refused"])
    assert "ConnectionRefused" not in str(screen)
    assert screen["own health"].startswith("3 (0 is well): as long as members fail")
    assert screen["departed"][1] == "to come back: stead ring join ADDRESS"


@pytest.mark.asyncio
async def test_who_is_alone_where_somebody_should_be_is_told_why_that_may_be(found: House) -> None:
    """Members do not answer what they cannot open, so a missed change of the key looks like a network that is down."""
    found.ring.alone = True
    shown = cli_ring.screen((await told(found, "status"))[0])["alone"]
    assert shown.startswith("nobody who should be there has answered yet")
    assert shown.endswith(f"their key was changed without this host; next: {MISSED[1]}")
    found.ring.encrypted = False
    assert "key" not in (await told(found, "status"))[0]["alone"]


@pytest.mark.asyncio
async def test_the_rings_keys_are_not_among_the_bodies_that_are_revealed(found: House) -> None:
    """Who copies such a listing into a ticket has not given the ring away."""
    body = rotation.write(rotation.as_document(found.ring.keyring, {}))
    node = found.ring.node
    node.adopt(node.draft(rotation.DOCUMENT, body, expect=None, now=0.0), 0.0)
    result, _ = await told(found, "records", prefix="ring/", reveal=True)
    assert "stead ring key list" in result["rows"][0]["body"]
    sent = wire.encode(result)
    assert not any(raw in sent or raw.hex().encode() in sent for raw in KEYS)


@pytest.mark.asyncio
async def test_a_suspect_is_shown_with_those_who_accuse_it(found: House) -> None:
    """By the node's own rules: a claim of one member, confirmed by another."""
    from supervisor.gossip.messages import Claim

    ring = found.ring
    suspect, first, second = ring.meet(2, "h2"), ring.meet(3, "h3"), ring.meet(4, "h4")
    beliefs = ring.node._beliefs
    for accuser in (first, second):
        beliefs.hear_claim(Claim(Health.SUSPECT, suspect.id, 1, 0, accuser.id), clock.now(), accuser.text)
    status, _ = await told(found, "status")
    (away,) = status["away"]
    assert away["accused_by"] == sorted([first.text, second.text])
    beliefs.accuse(suspect, clock.now(), "no answer")
    assert "this member" in (await told(found, "status"))[0]["away"][0]["accused_by"]
    assert "accused by" in cli_ring.screen(status)["not alive"][0]


@pytest.mark.asyncio
async def test_a_ring_without_a_key_says_so_and_how_to_get_one(tmp_path: Path) -> None:
    async with house(tmp_path, encrypted=False) as made:
        status, _ = await told(made, "status")
        assert (status["encrypted"], status["key"], status["ring"]) == (False, None, None)
        assert "stead ring key generate NAME" in cli_ring.screen(status)["encryption"]


@pytest.mark.asyncio
async def test_many_that_are_away_do_not_push_the_rest_off_the_screen(found: House) -> None:
    for number in range(2, 60):
        found.ring.meet(number, f"h{number}", health=Health.DEAD)
    status, _ = await told(found, "status")
    lines = cli_ring.screen(status)["not alive"]
    assert (len(lines), lines[-1]) == (21, "and 38 more: stead ring members")


@pytest.mark.asyncio
async def test_bodies_of_records_are_shown_only_when_they_are_asked_for(found: House) -> None:
    ring = found.ring
    for key, body in [
        ("group/web.default/config", b'password = "hunter2"'),
        ("group/web.default/file/logo.png", b"\xff\xd8binary"),
        (f"ring/departed/{ring.meet(2, 'h2').id.hex()}", wire.encode({"why": "scaled in", "by": b"\x01\x02"})),
    ]:
        ring.node.adopt(ring.node.draft(key, body, expect=None, now=clock.now()), clock.now())
    result, _ = await told(found, "records", prefix="")
    assert [row["key"].split("/")[0] for row in result["rows"]] == ["group", "group", "ring"]
    assert "hunter2" not in json.dumps(result)
    revealed, _ = await told(found, "records", prefix="", reveal=True)
    assert [row["body"] for row in revealed["rows"]] == ['password = "hunter2"', "ffd862696e617279", {"why": "scaled in", "by": "0102"}]
    assert (await told(found, "records", prefix="ring/"))[0]["rows"][0]["author"] == f"h1 ({ring.key.id.hex()[:8]})"
    assert (await told(found, "status"))[0]["records"]["documents"] == 3


@pytest.mark.asyncio
async def test_an_answer_with_many_large_bodies_stays_within_one_reply(found: House) -> None:
    ring, each = found.ring, 120 * 1024
    count = RING_SHOWN_BYTES // each + 3
    for number in range(count):
        ring.node.adopt(ring.node.draft(f"group/web.default/file/f{number:02}", b"\xff" * each, expect=None, now=clock.now()), clock.now())
    result, _ = await told(found, "records", prefix="", reveal=True)
    bodies = [row["body"] for row in result["rows"]]
    assert len(bodies) == count
    assert bodies.count(None) == 3


# --- joining


@pytest.mark.asyncio
async def test_joining_ends_when_somebody_has_answered(found: House) -> None:
    found.ring.met = [(2, "h2")]
    result, said = await told(found, "join", addresses=["192.0.2.2"])
    assert found.ring.asked == [("join", ("192.0.2.2", 9638))]
    assert (result["alive"], len(result["met"])) == (2, 1)
    assert said[0].startswith("in the ring with h2 (")
    again, _ = await told(found, "join", addresses=["192.0.2.2:9638"])  # twice is once
    assert again == result


@pytest.mark.asyncio
async def test_nobody_there_is_an_error_that_names_the_likely_cause(found: House) -> None:
    ring = found.ring
    real_join = ring.join

    def join_and_refuse(addresses: Any) -> None:
        real_join(addresses)
        ring.refuse("key", 1)

    ring.join = join_and_refuse  # type: ignore[method-assign]  # a peer with another key answers with packets that are refused
    with pytest.raises(UnavailableError, match="no member has answered, but somebody seals with a key that is not here"):
        await told(found, "join", addresses=["192.0.2.2"], wait_s=0.01)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("addresses", "error"),
    [
        (["a b"], UsageError),
        (["h:99999"], UsageError),
        ([H1], UsageError),
        (["x.invalid"], UnavailableError),
        (["192.0.2.2"] * 65, LimitError),
    ],
)
async def test_an_address_that_is_none_is_refused_before_anything_is_done(
    found: House, addresses: list[str], error: type[Exception]
) -> None:
    found.ring.departed = "told to leave"
    with pytest.raises(error):
        await told(found, "join", addresses=addresses, wait_s=0.01)
    assert (found.ring.asked, found.ring.departed) == ([], "told to leave")


@pytest.mark.asyncio
async def test_a_host_that_has_left_comes_back_by_joining(found: House) -> None:
    found.ring.meet(2, "h2")
    found.ring.departed = "told to leave"
    await told(found, "join", addresses=["192.0.2.2"])
    assert found.ring.asked[0] == ("come back",)


# --- leaving


@pytest.mark.asyncio
async def test_leaving_says_what_it_means_and_how_to_come_back_and_twice_is_once(found: House) -> None:
    found.ring.meet(2, "h2")
    result, said = await told(found, "depart", why="new rack")
    assert found.ring.asked == [("depart", "new rack")]
    assert result["name"] == "h1"
    assert "1 other will hear of it" in said[0]
    assert "services go on" in said[1]
    assert "stead ring join" in said[1]
    _, said = await told(found, "depart")
    assert said == ["this host has left already: new rack"]
    assert len(found.ring.asked) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("how", ["name", "id", "prefix", "own name"])
async def test_a_member_is_named_by_name_or_id_or_the_beginning_of_its_id(found: House, how: str) -> None:
    member = found.ring.meet(2, "h2", health=Health.DEAD)
    wanted = {"name": "h2", "id": member.id.hex(), "prefix": member.id.hex()[:6].upper(), "own name": "h1"}[how]
    _, said = await told(found, "depart", member=wanted, why="it burned")
    assert found.ring.asked == [("depart", "it burned") if how == "own name" else ("dismiss", member.id.hex(), "it burned")]
    assert "stead ring join" in said[1]


@pytest.mark.asyncio
async def test_a_name_of_two_members_dismisses_neither_and_names_both(found: House) -> None:
    first, second = found.ring.meet(2, "web"), found.ring.meet(3, "web", health=Health.DEAD)
    with pytest.raises(ConflictError, match="could be one of 2") as refused:
        await told(found, "depart", member="web")
    assert f"{first.id.hex()} (alive)" in refused.value.cause
    assert f"{second.id.hex()} (dead)" in refused.value.cause
    for short in (first.id.hex()[:3], "nobody", ""):
        if short:
            with pytest.raises(NotFoundError):
                await told(found, "depart", member=short)
    assert found.ring.asked == []


@pytest.mark.asyncio
async def test_a_member_that_is_gone_already_is_not_dismissed_again(found: House) -> None:
    found.ring.meet(2, "h2", health=Health.DEPARTED)
    _, said = await told(found, "depart", member="h2")
    assert "has departed already" in said[0]
    assert found.ring.asked == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (9.94, "9.9 s"), (10, "10 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (172_800, "2 d")],
)
def test_durations_are_one_number_and_its_unit(seconds: float, text: str) -> None:
    assert ring_view.lasted(seconds) == text
