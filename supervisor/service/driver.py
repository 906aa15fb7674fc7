"""The driver of one service: feeds its life with what happens, and carries the effects out.

Rules: one mailbox, one reader; what takes time runs beside it and answers by mail. Answers to what was called off are dropped. Only the
holder has processes; what is recorded of them is written before and after each start (running.py), so that the next supervisor finds them.
Which state follows which event is in state.py, what a change of files asks for in change.py, which release runs in update.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, assert_never

from hart import servicedir
from hart.errors import InputError, NotFoundError, SteadError
from hart.ident import Ident
from hart.limits import HOOK_S, LOG_WORDS_LINE, SHUTDOWN_TIMEOUT_S
from supervisor import clock
from supervisor.attach import Exited, exit_of
from supervisor.census import Census, ConfigReport, Member
from supervisor.gateway_view import clean, secret_texts
from supervisor.groups import NONE_YET
from supervisor.holder.protocol import Held
from supervisor.logfile import last_words
from supervisor.plain import one_line
from supervisor.service import change, failed_start, hooks, order
from supervisor.service.backoff import wait_s
from supervisor.service.binds import feed, outlook
from supervisor.service.change import Act
from supervisor.service.configured import Standing, report_of
from supervisor.service.events import (
    PAUSED,
    UP,
    BecameReady,
    CallOff,
    Effect,
    Event,
    Failed,
    Happened,
    KillProcess,
    Plan,
    Prepare,
    Proved,
    Report,
    RunHook,
    SignalProcess,
    StartProcess,
    State,
    StopWatching,
    WatchHealth,
    WatchReady,
)
from supervisor.service.fallback import newest_taken
from supervisor.service.files import Files
from supervisor.service.job import Job
from supervisor.service.kit import Kit, Rendering, configure_newest, hook_environment, member_of, open_kit, render_kit
from supervisor.service.memory import Memory
from supervisor.service.preparation import Preparation
from supervisor.service.process import KILL, TERM, Process
from supervisor.service.spec import ServiceSpec
from supervisor.service.state import Life
from supervisor.service.watch import Watch
from supervisor.service.work import Work
from supervisor.view import no_check, told_of

if TYPE_CHECKING:
    from supervisor.host import Host

SAID = "it said that it is ready"
ANSWERS = {"pre-stop": Event.PRE_STOP_ENDED, "post-stop": Event.POST_STOP_ENDED}


@dataclass(frozen=True, slots=True)
class Mail:
    """`work` is the number of the work that answers; None for everybody else. No event: look whether anything has changed."""

    happened: Happened | None
    work: int | None = None


@dataclass(frozen=True, slots=True)
class Sight:
    """What a service can see of the ring; equal while there is no difference for it."""

    others: object
    documents: object
    files: object
    order: object


class Service:
    """One service of this host."""

    def __init__(self, host: Host, spec: ServiceSpec) -> None:
        self.host, self.spec, self.name = host, spec, spec.name
        now = clock.now()
        self.life = Life(backoff=host.settings.backoff, chance=host.chance, now=now, since=now)
        self.memory = Memory(host.settings.running, host.journal, spec.name)
        self.kit: Kit | None = None
        self.rendering: Rendering | None = None
        self.cfg: Mapping[str, Any] | None = None  # of the last rendering; of a process that was found running, before there is one
        self.fed: dict[str, tuple[Member, ...]] = {}  # the last good feeders of each bind
        self.degraded = ""  # why what runs is not what it should be
        self.last_lines: list[str] = []  # of the log of what failed, while it waits to be started again
        self._last_log = ""  # of what was started last
        self._began = 0.0  # when: wall time
        self.hook_trouble = ""  # how the last reconfigure of this process failed
        self.waits_for = ""  # what the ready probe last said, or it itself
        self.process = Process(host, spec.name)
        self.hook_results: dict[str, str] = {}
        self.gone = False  # its spec is gone: forget it when it is down
        self.watch = Watch(self)
        self.preparation = Preparation(self)
        self.files = Files(self)
        self.standing = Standing()
        self._sight: Sight | None = None  # when it last rendered, or was told to look
        self._mail: asyncio.Queue[Mail] = asyncio.Queue()
        self._handling = self._reconfiguring = False
        self._telling: asyncio.Task[None] | None = None  # the reconfigure hook
        self.work = Work(host.tasks, spec.name)
        self.told: Member | None = None  # what others were last told of it
        self._found = False  # the process is an earlier supervisor's
        self.job: Job | None = None  # its runs, when it is a job

    def carry(self, spec: ServiceSpec) -> None:
        """This spec is carried out from now on, also by a later supervisor that cannot read its file."""
        self.spec = spec
        self.memory.save(spec=spec.render())
        if self.job is not None and not spec.job:
            self.job.end()
            self.job = None
        if spec.job:
            self.job = self.job or Job(self)
            self.job.carry()

    # --- mail

    def want_up(self, because: str) -> None:
        """It is wanted, and nothing of it runs: a job then waits until it is due."""
        if self.job is not None:
            self.job.want_up(because)
        else:
            self.tell(Event.WANTED_UP, because)

    def begin_anew(self, because: str) -> None:
        """Its spec is another one. What has become a job is down until it is due; what was one may be between two runs."""
        self.tell(Event.RESTART if self.job is None else Event.WANTED_DOWN, because)
        self.want_up(because)

    def tell(self, event: Event, because: str = "") -> None:
        if event is Event.RESTART and self.job is not None:
            return  # what is new is for its next run
        self._mail.put_nowait(Mail(Happened(event=event, because=because)))

    def post(self, happened: Happened) -> None:
        self._mail.put_nowait(Mail(happened))

    def look_around(self, census: Census) -> None:
        """The census or the ring's documents may have changed: it looks again where it can see that."""
        before, self._sight = self._sight, self._see(census)
        if self._sight == before:
            return
        if before is not None and before.documents != self._sight.documents and self.life.state in PAUSED:
            self.tell(Event.RESTART, f"version {self.host.groups.version(self.spec.service_group)} of its configuration is tried at once")
        self.look_again()

    def _see(self, census: Census) -> Sight:
        host, group = self.host, self.spec.service_group
        others = order.missing(self.spec, self.others)
        return Sight(outlook(self.spec, census, host.sys.member_id), host.groups.mark(group), host.files.records(group), others)

    def look_again(self) -> None:
        """What it renders may have changed."""
        self.preparation.look_again()
        if self.life.state in UP:
            self._mail.put_nowait(Mail(None))

    @property
    def settled(self) -> bool:
        """Whether everything that it was told has been heard."""
        return self._mail.empty() and not self._handling

    @property
    def at_rest(self) -> bool:
        """Whether it is up with exactly what was rendered last, and nothing is being written or told."""
        applied = self.rendering is not None and dict(self.memory.record.applied) == dict(self.rendering.digests)
        return self.life.state in UP and applied and not self._reconfiguring

    async def live(self) -> None:
        """Read mail and watch the clock until the service is gone."""
        while not (self.gone and self.life.state is State.DOWN and self._mail.empty() and self.name not in self.host.unread):
            self._handling = False
            if self.job is not None:
                self.job.settle()
            self.host.changed.beat()
            mail = await self._next_mail()
            self._handling = True
            if mail is None:
                await self._carry_out(self.life.tick(clock.now()))
            elif mail.work is not None and mail.work != self.work.number:
                continue
            elif mail.happened is None:
                await self._refresh()
            else:
                await self._feed(mail.happened)
        self._handling = False
        self.work.call_off()
        if self.job is not None:
            self.job.forget()

    async def _next_mail(self) -> Mail | None:
        left = None if self.life.deadline is None else max(0.0, self.life.deadline - clock.now())
        try:
            async with asyncio.timeout(left):
                return await self._mail.get()
        except TimeoutError:
            return None

    async def _feed(self, happened: Happened) -> None:
        await self._carry_out(self.life.handle(happened, clock.now()))

    async def _carry_out(self, effects: Sequence[Effect]) -> None:
        self._tell()  # first: nobody is to be sent here while it goes down
        for effect in effects:
            await self._act(effect)
        self._tell()

    def _tell(self) -> None:
        """Tell the others what has changed of it."""
        if (member := self.member) != self.told:
            self.told = member
            if self.kit is not None:
                self.memory.save(serving=member is not None and member.serving)
            self.host.publish()
            self.host.announce()

    async def _act(self, effect: Effect) -> None:  # noqa: C901  one case for each effect, nothing else
        match effect:
            case Prepare():
                self.work.begin(self.preparation.run())
            case RunHook(name="reconfigure"):
                self._telling = self.host.tasks.create_task(self._reconfigure(), name=f"{self.name} reconfigure")
            case RunHook(name="post-run"):
                self.watch.post_run(self._post_run())
            case RunHook(name=name):
                self.work.begin(self._hook_work(name))
            case CallOff():
                self.work.call_off()
            case StartProcess():
                self.host.tasks.create_task(self._start(), name=f"{self.name} start")
            case SignalProcess():
                await self.process.signal(self.kit.stop_signal if self.kit is not None else TERM)
            case KillProcess():
                await self.process.signal(KILL)
            case WatchReady():
                self.watch.ready()
            case WatchHealth():
                self.watch.health()
            case StopWatching():
                self.watch.stop()
                self.files.call_off()
                self._call_off_reconfigure()
            case Failed(because, starting):
                self._on_failure(because, starting=starting)
            case BecameReady():
                self.memory.save(was_ready=True)
            case Proved():
                self.memory.prove()
            case Report(state, because):
                self.last_lines = self._read_last_lines() if state in PAUSED else []
                self.host.journal.write(
                    "service", self.name, "; ".join([because, *told_of(self.last_lines)]), state=str(state), release=str(self.release or "")
                )
            case _:
                assert_never(effect)

    def answer(self, number: int, event: Event, because: str = "", kit: Kit | None = None) -> None:
        self._mail.put_nowait(Mail(Happened(event=event, because=because, plan=kit.plan if kit is not None else None), number))

    # --- what it renders

    def render(self, kit: Kit, *, waiting: bool) -> Rendering:
        """With the newest configuration that it can take, and the binds as they are now. `waiting`: a strict bind that is not there is an
        error; else the last good members stay in, and no configuration is taken that is older than the one in force."""
        host, spec = self.host, self.spec
        census = host.census
        self._sight = self._see(census)
        feeders, lost = feed(spec, kit.package.metadata, census, {} if waiting else self.fed, waiting=waiting)
        taken = newest_taken(
            host.groups.candidates(spec.service_group, NONE_YET if waiting else self.standing.in_force),
            lambda document: render_kit(host, spec, kit, document=document, census=census, binds=feeders),
        )
        self.standing = Standing(newest=taken.newest, document=taken.document, refused=taken.refused)
        self.fed, self.degraded = feeders, "; ".join(filter(None, (lost, taken.refused)))
        return taken.result

    def rehearse(self, kit: Kit) -> Rendering:
        """What another release would render here and now, with the configuration that is in force; it raises what is wrong."""
        host, spec = self.host, self.spec
        feeders, _ = feed(spec, kit.package.metadata, host.census, self.fed, waiting=False)
        return render_kit(host, spec, kit, document=self.standing.document, census=host.census, binds=feeders)

    def cannot_render(self, error: Exception) -> None:
        """Nothing that it might run with can be rendered: what there was stays, and this is said."""
        newest, told = self.host.groups.version(self.spec.service_group), str(error)
        unfit = isinstance(error, InputError)
        self.standing = replace(self.standing, newest=newest, refused=told if unfit else "", waits="" if unfit else told)
        if self.life.state in UP:  # else it is why it waits
            self.degraded = f"the new configuration is not in force: {told}" if unfit else told

    def put(self, kit: Kit, rendering: Rendering) -> None:
        servicedir.put(kit.service_dir, rendering.files, kit.account, before=self.memory.record.rendered)
        self.memory.save(rendered=tuple(sorted(rendering.files)))

    # --- while it runs

    async def _refresh(self) -> None:
        """Render again and do what the difference asks for. What cannot be rendered leaves everything as it is, and says so."""
        if self.life.state not in UP or self.kit is None or self._reconfiguring:
            return  # after a reconfigure it looks again
        if self._found and not self.host.acquainted:
            return  # what would be rendered now has lost what it knew of others; it looks again when that is back
        self.files.refresh(self.kit)
        try:
            rendering = self.render(self.kit, waiting=False)
            verdict = change.decide(self.memory.record.applied, rendering.digests)
            if verdict.act in (Act.REWRITE, Act.RECONFIGURE):
                self.put(self.kit, rendering)
        except (SteadError, OSError) as error:
            self.cannot_render(error)
            self._tell()
            self.host.changed.beat()
            return
        self.rendering, self.cfg = rendering, rendering.cfg
        match verdict.act:
            case Act.NOTHING:
                self.memory.save(revision=self.standing.in_force)
            case Act.RESTART:
                await self._feed(Happened(event=Event.RESTART, because=verdict.because))
                return
            case Act.REWRITE:
                self.memory.save(applied=rendering.digests, revision=self.standing.in_force)
            case Act.RECONFIGURE:
                self._reconfiguring = True
                await self._feed(Happened(event=Event.RECONFIGURE, because=verdict.because))
                return
            case _:
                assert_never(verdict.act)
        await self._carry_out([])

    async def _reconfigure(self) -> None:
        """The hook is told once of each state of the files; it failed or not, what it was told is what applies to that process."""
        assert self.rendering is not None
        told, revision, start_id = self.rendering.digests, self.standing.in_force, self.process.start_id
        try:
            outcome = await self.run_hook("reconfigure")
        finally:
            if self._telling is asyncio.current_task():
                self._reconfiguring = False
        if self.process.start_id == start_id and self.life.state in UP:
            self.memory.save(applied=told, revision=revision)
            self.hook_trouble = "" if outcome.ok else f"the reconfigure hook {outcome.because}"
        self.watch.health_now()
        self._mail.put_nowait(Mail(None))

    def _call_off_reconfigure(self) -> None:
        """Its process goes: the next one starts with the newest files, and a hook that hangs holds nobody up."""
        if self._telling is not None:
            self._telling.cancel()
            self._telling, self._reconfiguring = None, False

    async def _post_run(self) -> None:
        failures = 0
        while not (await self.run_hook("post-run")).ok:
            failures += 1
            await asyncio.sleep(wait_s(self.host.settings.backoff, failures, self.host.chance.random()))

    async def _hook_work(self, name: str) -> None:
        number = self.work.number
        if name == "init":
            self._last_log, self._began = name, clock.wall()
        outcome = await self.run_hook(name)
        event = ANSWERS.get(name) or (Event.INIT_OK if outcome.ok else Event.INIT_FAILED)
        self.answer(number, event, f"the {name} hook {outcome.because}")

    async def run_hook(self, name: str) -> hooks.Outcome:
        """Run a rendered hook and remember how it ended."""
        assert self.kit is not None
        path = self.kit.service_dir / "hooks" / name
        outcome = await self.run([str(path)], name, HOOK_S[name])
        self.hook_results[name] = outcome.because
        return outcome

    async def run(self, argv: list[str], name: str, timeout_s: float) -> hooks.Outcome:
        """Run a command as the service's hooks are run."""
        assert self.kit is not None
        kit = self.kit
        log = kit.service_dir / "logs" / f"{name}.log"
        return await hooks.run(
            argv,
            name=name,
            account=kit.account,
            env=hook_environment(kit),
            cwd=kit.service_dir,
            log=log,
            timeout_s=timeout_s,
            hide=self.without_secrets,
        )

    def without_secrets(self, text: str) -> str:
        """What is quoted of it."""
        cleaned: str = clean(text, secret_texts(self))
        return cleaned

    # --- the process

    async def _start(self) -> None:
        """Ask the holder, and answer. The record says what is being started before it is."""
        kit, rendering = self.kit, self.rendering
        assert kit is not None
        assert rendering is not None
        self.process.expect()
        self.hook_trouble, self._found = "", False
        self._last_log, self._began = "run", clock.wall()
        self.waits_for = kit.probes.awaited
        self.memory.save(release=kit.package.ident, applied=rendering.digests, revision=self.standing.in_force)
        if self.memory.trouble:  # the next supervisor would not know what runs
            self.tell(Event.START_REFUSED, f"the process is not started: {self.memory.trouble}")
            return
        try:
            pid = await self.process.start(kit, self.job.begin() if self.job is not None else ())
        except SteadError as error:
            self.tell(Event.START_REFUSED, f"the process could not be started: {error.cause}")
            return
        self.memory.save(start_id=self.process.start_id, was_ready=False)
        if self.job is not None:
            self.job.began(self.process.start_id)
        self.tell(Event.STARTED, f"process {pid} of {kit.package.ident} is up")
        if self.process.said_ready:
            self.tell(Event.READY_OK, SAID)
        self._mail.put_nowait(Mail(None))  # what changed while it started

    async def on_exit(self, event: Exited) -> None:
        """The holder says that a process has ended."""
        if self.job is not None:
            self.job.exited(event)
        life = self.life
        crashed = life.wanted and life.state in (State.STARTING, State.READY) and not life.plan.post_stop  # all that follows is a start
        if await self.process.ended(event, wait=not crashed):
            self.tell(Event.EXITED, f"the process {hooks.how_it_ended(event.code, event.signal, event.cause)}")

    def on_ready(self, start_id: str) -> None:
        """The holder says that a process has said that it is ready."""
        if self.process.ready(start_id):
            self.tell(Event.READY_OK, SAID)

    def on_status(self, start_id: str, text: str) -> None:
        """What the process says of itself before it is ready; it may quote a secret, which is cut out."""
        if start_id == self.process.start_id:
            self.waits_for = clean(text, secret_texts(self))
            self.host.changed.beat()

    async def attach(self, held: Held) -> None:
        """Take over a process that an earlier supervisor had started; it is not touched. SteadError: its package cannot be read."""
        release = self.memory.record.release
        if release is None:
            raise NotFoundError(f"service {self.name}", "runs, but nothing is recorded of its release")
        self.kit = open_kit(self.host, self.spec, self.host.tree.get(release))
        self._found = True
        if held.start_id != self.memory.record.start_id:  # that supervisor died between the start and its record
            self.memory.save(start_id=held.start_id, was_ready=False)
        self.process.adopt(held)
        self.waits_for = self.kit.probes.awaited
        if self.job is not None:
            self.job.attached(held.start_id)
        try:
            taken = configure_newest(self.host, self.spec, self.kit, self.host.groups, least=self.memory.record.revision)
            self.cfg, _ = taken.result
            self.standing = Standing(newest=taken.newest, document=taken.document, refused=taken.refused)
        except SteadError as error:
            self.degraded = str(error)
        self.post(
            Happened(
                event=Event.ATTACHED,
                because=f"process {held.pid} of {release} was found running",
                plan=self.kit.plan if self.job is None else self.job.left(self.kit.plan),
                was_ready=self.memory.record.was_ready or held.ready,
            )
        )
        self._mail.put_nowait(Mail(None))
        choice = self.memory.record.choice
        if choice is not None and choice.release != release:
            self.tell(Event.RESTART, f"{choice.release} is to run")
        if not held.running:
            await self.on_exit(exit_of(held))

    def attach_unread(self, held: Held, because: str) -> None:
        """Take over a process whose package cannot be read, so that it can be stopped: without its hooks, by TERM and KILL."""
        self.process.adopt(held)
        self.post(
            Happened(event=Event.ATTACHED, because=because, plan=Plan(stop_timeout_s=self.spec.shutdown_timeout_s or SHUTDOWN_TIMEOUT_S))
        )

    # --- releases

    @property
    def release(self) -> Ident | None:
        """What runs, or would be started."""
        choice = self.memory.record.choice
        return self.kit.package.ident if self.kit is not None else choice.release if choice is not None else None

    def switch_to(self, target: Ident, because: str) -> None:
        """Begin an update: the next start takes the target, on trial."""
        self.memory.begin_trial(target)
        self.tell(Event.RESTART, because)

    def _read_last_lines(self) -> list[str]:
        """Of the process or init hook that failed; what they quote of a secret is cut out."""
        if self.kit is None or not self._last_log:
            return []
        lines = last_words(self.kit.service_dir / "logs" / f"{self._last_log}.log")
        return [one_line(line, LOG_WORDS_LINE) for line in clean(lines, secret_texts(self))]

    def _on_failure(self, because: str, *, starting: bool) -> None:
        if starting and self.kit is not None and self._last_log:
            logs, release = self.kit.service_dir / "logs", str(self.kit.package.ident)
            failed_start.keep(logs, self._last_log, began=self._began, at=clock.wall(), release=release, because=because)
        if self.memory.give_up_trial(because):
            self.tell(Event.RESTART, self.memory.update_note)

    # --- book-keeping

    @property
    def member(self) -> Member | None:
        """What others are told of it."""
        if self.kit is None or self.cfg is None or self.life.state is State.DOWN:
            return None
        health = self.life.health if self.life.plan.health_check else no_check(self.life.state)
        return member_of(
            self.host,
            self.spec,
            self.kit,
            self.cfg,
            serving=self.serving,
            state=str(self.life.state),
            health=str(health),
            config=self.report,
        )

    @property
    def serving(self) -> bool:
        """Whether others may be sent here. Of a process that was found running, and was not checked since, what they were told before."""
        life = self.life
        if self._found and life.state is State.READY and life.last_check is None:
            return self.memory.record.serving
        return life.serving

    @property
    def others(self) -> dict[str, order.Standing]:
        """The services of this host, as far as this one's start may depend on them."""
        names = {*self.spec.after, *self.spec.requires_ready}
        return {name: each.stands for name, each in self.host.services.items() if name in names}

    @property
    def stands(self) -> order.Standing:
        """For those that start after it."""
        return order.Standing(
            state=self.life.state,
            wanted=self.spec.wanted and not self.gone,
            serving=self.serving,
            job=self.job is not None,
            done_well=self.job is not None and self.job.done_well,
        )

    @property
    def report(self) -> ConfigReport:
        """What it made of its group's configuration; a hook's last words may quote a secret, which is cut out."""
        report = report_of(
            self.standing,
            self.life.state,
            self.life.because,
            applied=self.memory.record.revision,
            acted_on=self.rendering is not None and dict(self.memory.record.applied) == dict(self.rendering.digests),
            blocked=self.preparation.blocked,
            trouble=self.hook_trouble,
        )
        return replace(report, because=clean(report.because, secret_texts(self))) if report.because else report
