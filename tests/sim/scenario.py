"""Stories of rings as text: commands, `----`, and the trace that they leave.

    python -m tests.sim.scenario tests/scenarios/NAME.txt            compare
    python -m tests.sim.scenario --rewrite [tests/scenarios/*.txt]   write what happens now; read the difference before it is committed

A file is a row of blocks with a blank line between; a block is one or more commands, a line `----`, and the trace. Lines with `#` are
comments. Safety (checkers.py) holds after every event of every story. Commands:

    ring N [seed=N] [loss=P] [encrypted] [apart]   N hosts a, b, c …, each joining the one before; `apart`: none runs yet
    start X… [join=Y] · crash X [lost|silent] · pause X… · sleep X… · resume X… · depart X
    slow X SECONDS · starve X RUN_S STALL_S SECONDS [deaf]      asleep and deaf: what is sent meanwhile is lost
    copy X NAME · restore X NAME · twin NEW NAME       a copy of X's disk; X restarts from it; it starts beside X as host NEW
    stranger NEW at X                                 somebody else on X's address
    cut X… | Y… · cut X > Y · cut X - Y · heal         sides, one way, one link
    publish X KEY TEXT · withdraw X KEY · apply X KEY TEXT [expect=N] · large X KEY BYTES · remove X KEY
    dismiss X by Y
    key add NAME X… · key use NAME X… · key remove NAME X…   `old` is the first key; X… may be `all`
    faults loss=P duplication=P reorder=P · forge X KEY by Y · burst X COUNT
    run PERIODS · until CONDITION within PERIODS       conditions: `one view`, `alive X…`, `suspect X…`, `dead X…`, `departed X…`,
                                                      `forgotten X…`, `record KEY everywhere | withdrawn`, `cloned X`,
                                                      `parted X… | Y…`: each side dead to the other
    view · record KEY · history KEY · refused X        what everybody holds; why X drops packets
    accused nobody · accused X…                       nobody (else) was held suspect or dead by anybody since the last time
    unharmed X… | Y…                                  nobody was held dead by its own side since the last time
    spared X…                                         these were held dead by nobody since the last time

`run` and `until` print what members came to believe, who believed it, in the order in which the first one did; never a time, so that a
change of the timing does not touch every story: `within` is what holds the time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from hart.errors import SteadError
from supervisor.gossip.identity import sign_record
from supervisor.gossip.keyring import key_id
from supervisor.gossip.messages import Cloned, Contested, Effect, Health, Learned, Seen, Version
from tests.sim.checkers import Broken, Safety, record_differences, view_differences
from tests.sim.host import Disk, Host, Life
from tests.sim.ring import Ring

FOLDER: Final = Path(__file__).resolve().parent.parent / "scenarios"
LINE: Final = "----"
STEP: Final = 0.25  # periods between two looks at a condition


class Scenario:
    """One file's ring."""

    def __init__(self) -> None:
        self.ring: Ring = None  # type: ignore[assignment]  # the first command makes it
        self.safety: Safety = None  # type: ignore[assignment]
        self.copies: dict[str, Disk] = {}
        self.keys: dict[str, bytes] = {}
        self.names: dict[bytes, str] = {}  # of every identity that a host has had
        self.changes: dict[tuple[str, str], list[str]] = {}  # (whom, what) -> by whom, since the last print
        self.doubted: dict[str, set[str]] = {}
        self.buried: dict[str, set[str]] = {}  # as `doubted`, but held dead

    # --- blocks

    def block(self, commands: Iterable[str]) -> str:
        """The trace of some commands."""
        out: list[str] = []
        for line in commands:
            word, *args = line.split("#")[0].split()
            try:
                out += COMMANDS[word](self, args) or ()
            except SteadError as error:
                out.append(f"refused: {error}")
        return "\n".join(out + self._told())

    def _heard(self, host: Host, verb: str, what: Any, effects: list[Effect]) -> None:
        self.names[host.id] = host.name
        for effect in effects:
            match effect:
                case Seen(member, health, _) if member != host.id:
                    word = "forgotten" if health is None else health.name.lower()
                    if host.node.members.get(member) is not None or health is None:
                        self._note(self.name(member), word, host.name)
                    if health in (Health.SUSPECT, Health.DEAD):
                        self.doubted.setdefault(self.name(member), set()).add(host.name)
                    if health is Health.DEAD:
                        self.buried.setdefault(self.name(member), set()).add(host.name)
                case Seen(_, _, because) if verb != "start" and "called us" in because:
                    self._note(host.name, "objects", host.name)
                case Learned(record) if not record.key.startswith("member/"):
                    version = record.version.major
                    self._note(record.key, f"revision {version}{'' if record.body is not None else ' withdrawn'}", host.name)
                case Cloned():
                    self._note(host.name, "gives up its identity", host.name)
                case Contested():
                    self._note(host.name, "counts on", host.name)
                case _:
                    pass

    def _note(self, whom: str, what: str, by: str) -> None:
        seen = self.changes.setdefault((whom, what), [])
        if by not in seen:
            seen.append(by)

    def _told(self) -> list[str]:
        changes, self.changes = self.changes, {}
        lines = []
        for (whom, what), by in changes.items():
            lines.append(f"{whom} {what}" if by == [whom] else f"{whom} {what}: {' '.join(sorted(by))}")
        return lines

    def name(self, member: bytes) -> str:
        """Of a host, by the identity that it has or had; two identities of one host differ in a prime."""
        for name, host in self.ring.hosts.items():
            if host.node is not None and host.id == member:
                return name
        return f"{self.names[member]}'" if member in self.names else "somebody"

    def host(self, name: str) -> Host:
        return self.ring.hosts[name]

    def some(self, names: Iterable[str]) -> list[Host]:
        listed = list(names)
        return list(self.ring.hosts.values()) if listed == ["all"] else [self.host(name) for name in listed]

    # --- conditions

    def holds(self, words: list[str]) -> bool:
        up = [host for host in self.ring.up if host.life is Life.UP]
        match words:
            case ["one", "view"]:
                return not [*view_differences(up), *record_differences(up)]
            case ["record", key, "withdrawn"]:
                heads = [host.node.records.get(key) for host in up]
                return all(record is not None and record.body is None for record in heads)
            case ["record", key, "everywhere"]:
                held = [host.node.records.get(key) for host in up]
                return held[0] is not None and all(record == held[0] for record in held)
            case ["parted", *names]:
                place = names.index("|")
                sides = [{host.id for host in self.some(side)} for side in (names[:place], names[place + 1 :])]
                return all(
                    (self._held(host, other) == "alive") == any({host.id, other.id} <= side for side in sides)
                    and self._held(host, other) in ("alive", "dead")
                    for host in up
                    for other in up
                    if host is not other
                )
            case ["cloned", *names]:
                return all(host.cloned for host in self.some(names))
            case [word, *names]:
                return all(self._held(host, other) == word for other in self.some(names) for host in up if host is not other)
            case _:
                raise ValueError(f"no such condition: {' '.join(words)}")

    def _held(self, host: Host, other: Host) -> str:
        member = host.node.members.get(other.id)
        return "forgotten" if member is None else member.health.name.lower()


def options(args: list[str]) -> tuple[list[str], dict[str, str]]:
    """Words, and what is written as name=value."""
    return [each for each in args if "=" not in each], dict(each.split("=", 1) for each in args if "=" in each)


# --- commands: each takes the scenario and its words, and may print lines


def _ring(story: Scenario, args: list[str]) -> None:
    words, named = options(args)
    story.ring = ring = Ring(seed=int(named.get("seed", "1")), plain="encrypted" not in words)
    story.safety = Safety(ring)
    ring.listeners += [story.safety, story._heard]
    ring.network.loss = float(named.get("loss", "0"))
    before: Host | None = None
    for number in range(int(words[0])):
        host = ring.add(chr(ord("a") + number), peers=[before.address] if before is not None else [])
        if "apart" not in words:
            host.start()
        before = host


def _start(story: Scenario, args: list[str]) -> None:
    names, named = options(args)
    for host in story.some(names):
        if "join" in named:
            host.peers = {story.host(each).address for each in named["join"].split(",")}
        host.start()


def _crash(story: Scenario, args: list[str]) -> None:
    story.host(args[0]).crash(keep="lost" not in args, silent="silent" in args)


def _pause(story: Scenario, args: list[str]) -> None:
    for host in story.some(args):
        host.pause()


def _sleep(story: Scenario, args: list[str]) -> None:
    for host in story.some(args):
        host.pause(deaf=True)


def _resume(story: Scenario, args: list[str]) -> None:
    for host in story.some(args):
        host.resume()


def _slow(story: Scenario, args: list[str]) -> None:
    story.host(args[0]).slow_s = float(args[1])


def _starve(story: Scenario, args: list[str]) -> None:
    run_s, stall_s, seconds = (float(each) for each in args[1:4])
    story.host(args[0]).starve(run_s, stall_s, seconds, deaf="deaf" in args)


def _depart(story: Scenario, args: list[str]) -> None:
    story.host(args[0]).depart()


def _copy(story: Scenario, args: list[str]) -> None:
    story.copies[args[1]] = story.host(args[0]).copied_disk()


def _restore(story: Scenario, args: list[str]) -> None:
    host = story.host(args[0])
    story.safety.copied(host.node.me.public)
    host.disk = story.copies[args[1]]
    host.start()


def _twin(story: Scenario, args: list[str]) -> None:
    peers = [host.address for host in story.ring.up]
    disk = story.copies[args[1]]
    for host in story.ring.up:
        if host.disk.seed == disk.seed:
            story.safety.copied(host.node.me.public)
    story.ring.add(args[0], peers=peers, disk=disk).start()


def _stranger(story: Scenario, args: list[str]) -> None:
    there = story.host(args[2])
    peers = [host.address for host in story.ring.up if host.address != there.address]
    story.ring.add(args[0], peers=peers, at=there.address).start()


def _cut(story: Scenario, args: list[str]) -> None:
    network = story.ring.network
    if "|" in args:
        place = args.index("|")
        for side, names in enumerate((args[:place], args[place + 1 :])):
            for host in story.some(names):
                network.sides[host.address] = side
        return
    one, how, other = args
    pair = story.host(one).address, story.host(other).address
    network.blocked.add(pair)
    if how == "-":
        network.blocked.add((pair[1], pair[0]))


def _heal(story: Scenario, args: list[str]) -> None:
    story.ring.network.heal()


def _faults(story: Scenario, args: list[str]) -> None:
    for name, value in options(args)[1].items():
        setattr(story.ring.network, name, float(value))


def _publish(story: Scenario, args: list[str]) -> None:
    host = story.host(args[0])
    host.publish({**host.disk.facts, args[1]: " ".join(args[2:]).encode()})


def _withdraw(story: Scenario, args: list[str]) -> None:
    host = story.host(args[0])
    host.publish({key: body for key, body in host.disk.facts.items() if key != args[1]})


def _apply(story: Scenario, args: list[str]) -> None:
    expect = int(args.pop().removeprefix("expect=")) if args[-1].startswith("expect=") else None
    story.host(args[0]).apply(args[1], " ".join(args[2:]).encode(), expect=expect)


def _large(story: Scenario, args: list[str]) -> None:
    story.host(args[0]).apply(args[1], story.ring.world.chance.randbytes(int(args[2])))


def _burst(story: Scenario, args: list[str]) -> None:
    host = story.host(args[0])
    host.publish({**host.disk.facts, **{f"burst/{number}": f"{number}".encode() * 20 for number in range(int(args[1]))}})


def _dismiss(story: Scenario, args: list[str]) -> None:
    story.host(args[2]).dismiss(story.host(args[0]).id, "it does not come back")


def _forge(story: Scenario, args: list[str]) -> list[str]:
    """`forge X KEY by Y`: Y signs a fact about X and tells it to everybody whom it knows."""
    victim, forger = story.host(args[0]), story.host(args[3])
    key = f"member/{victim.id.hex()}/{args[1]}"
    record = sign_record(forger.key, ring=story.ring.id, record_key=key, version=Version(1 << 20, 1), body=b"forged")
    taken = [host.name for host in story.ring.up if host.node.records.merge(record)]
    if taken:
        raise Broken("records are their author's", f"{' '.join(taken)} took what {forger.name} says about {victim.name}")
    return ["refused by all"]


def _key(story: Scenario, args: list[str]) -> None:
    change, name, *names = args
    ring = story.ring
    raw = story.keys.setdefault(name, ring.world.chance.randbytes(32))
    known = ring.first_key if name == "old" else raw
    assert known is not None
    for host in story.some(names):
        keyring = host.codec.keyring
        match change:
            case "add":
                host.codec.keyring = keyring.with_key(known)
            case "use":
                host.codec.keyring = keyring.using(key_id(known))
            case _:
                host.codec.keyring = keyring.without(key_id(known))


def _run(story: Scenario, args: list[str]) -> None:
    story.ring.periods(float(args[0]))
    story.safety.sweep()


def _until(story: Scenario, args: list[str]) -> list[str]:
    place = args.index("within")
    end = story.ring.world.now + float(args[place + 1]) * story.ring.preset.period_s
    while not story.holds(args[:place]):
        if story.ring.world.now >= end:
            up = [host for host in story.ring.up if host.life is Life.UP]
            why = [*view_differences(up), *record_differences(up)][:3]
            return [f"NOT {' '.join(args[:place])} within {args[place + 1]} periods: {'; '.join(why)}"]
        story.ring.periods(STEP)
    story.safety.sweep()
    return [f"{' '.join(args[:place])}"]


def _view(story: Scenario, args: list[str]) -> list[str]:
    lines = []
    for host in story.ring.up:
        held = sorted(f"{story.name(each.id)} {each.health.name.lower()}" for each in host.node.members if each.id != host.id)
        lines.append(f"{host.name} holds {', '.join(held) or 'nobody'}")
    return lines


def _record(story: Scenario, args: list[str]) -> list[str]:
    key = args[0]
    if key.startswith("member/"):
        _, name, rest = key.split("/", 2)
        key = f"member/{story.host(name).id.hex()}/{rest}"
    held: dict[str, list[str]] = {}
    for host in story.ring.up:
        record = host.node.records.get(key)
        if record is None:
            text = "nothing"
        else:
            body = "withdrawn" if record.body is None else record.body.decode() if len(record.body) < 60 else f"{len(record.body)} bytes"
            text = body if args[0].startswith("member/") else f"revision {record.version.major}, {body}"
        held.setdefault(text, []).append(host.name)
    return [f"{' '.join(names)} hold{'s' if len(names) == 1 else ''} {text}" for text, names in held.items()]


def _history(story: Scenario, args: list[str]) -> list[str]:
    held: dict[str, list[str]] = {}
    for host in story.ring.up:
        history = [record.version.major for record in host.node.records.history(args[0])]
        held.setdefault(" ".join(map(str, history)), []).append(host.name)
    return [f"{' '.join(names)}: {text}" for text, names in held.items()]


def _refused(story: Scenario, args: list[str]) -> list[str]:
    counted = story.host(args[0]).node.counters
    words = sorted(name.removeprefix("refused ") for name, count in counted.items() if name.startswith("refused ") and count)
    return [f"{args[0]} has refused: {', '.join(words) or 'nothing'}"]


def _accused(story: Scenario, args: list[str]) -> list[str]:
    """Who was held suspect or dead by anybody since the last time; nobody else than the named ones may have been."""
    doubted, story.doubted = story.doubted, {}
    others = sorted(f"{name} by {' '.join(sorted(by))}" for name, by in doubted.items() if name not in args)
    if others:
        return [f"NOT accused {' '.join(args)}: doubted was {', '.join(others)}"]
    return [f"doubted: {', '.join(sorted(doubted)) or 'nobody'}"]


def _unharmed(story: Scenario, args: list[str]) -> list[str]:
    """`unharmed X… | Y…`: nobody was held dead by its own side since the last time."""
    buried, story.buried = story.buried, {}
    place = args.index("|")
    sides = (set(args[:place]), set(args[place + 1 :]))
    wrong = [f"{name} by {by}" for name in sorted(buried) for by in sorted(buried[name]) if any({name, by} <= side for side in sides)]
    return [f"NOT unharmed: dead was {', '.join(wrong)}"] if wrong else ["unharmed"]


def _spared(story: Scenario, args: list[str]) -> list[str]:
    """`spared X…`: nobody has held these dead since the last time."""
    buried, story.buried = story.buried, {}
    wrong = [f"{name} by {' '.join(sorted(buried[name]))}" for name in args if name in buried]
    return [f"NOT spared: dead was {', '.join(wrong)}"] if wrong else ["spared"]


def _remove(story: Scenario, args: list[str]) -> None:
    story.host(args[0]).apply(args[1], None)


COMMANDS: Final[dict[str, Callable[[Scenario, list[str]], list[str] | None]]] = {
    "ring": _ring, "start": _start, "crash": _crash, "pause": _pause, "sleep": _sleep, "resume": _resume, "slow": _slow, "starve": _starve,
    "depart": _depart, "copy": _copy, "restore": _restore, "twin": _twin, "stranger": _stranger, "cut": _cut, "heal": _heal,
    "faults": _faults, "publish": _publish, "withdraw": _withdraw, "apply": _apply, "large": _large, "burst": _burst,
    "dismiss": _dismiss, "forge": _forge, "key": _key, "run": _run, "until": _until, "view": _view, "record": _record,
    "history": _history, "refused": _refused, "accused": _accused, "remove": _remove, "unharmed": _unharmed, "spared": _spared,
}  # fmt: skip


def play(text: str) -> str:
    """The whole file with the traces that its commands leave now."""
    story = Scenario()
    blocks = []
    for block in text.strip().split("\n\n"):
        commands = block.split(f"\n{LINE}")[0]
        lines = [line for line in commands.splitlines() if line.strip() and not line.startswith("#")]
        blocks.append(f"{commands}\n{LINE}\n{story.block(lines)}".rstrip() if lines else commands)
    return "\n\n".join(blocks) + "\n"


def main(args: list[str]) -> int:
    """Compare, or rewrite; the number of files that differ."""
    paths = [Path(arg) for arg in args if arg != "--rewrite"] or sorted(FOLDER.glob("*.txt"))
    different = 0
    for path in paths:
        before = path.read_text()
        after = play(before)
        if before != after:
            different += 1
            print(f"{path.name} differs" if "--rewrite" not in args else f"{path.name} is rewritten")
            if "--rewrite" in args:
                path.write_text(after)
    return 0 if "--rewrite" in args else different


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
