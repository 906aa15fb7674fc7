"""Keep asking a service whether it is ready and healthy, and try its post-run hook, until told to stop.

Rules: a probe in flight is never joined by a second one; what a probe means is in health.py. Templates of probes are rendered anew each
time, so a port that was reconfigured is asked at its new place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, assert_never

from hart.errors import SteadError
from hart.limits import PROBE_INTERVAL_MIN_S
from hart.template.engine import compile_template
from supervisor import clock
from supervisor.service import probe
from supervisor.service.checks import GOOD
from supervisor.service.events import Check, Event, Happened, State
from supervisor.service.health import Kind, Probe, first_pause_s, hook_check, http_address, pause_s, tcp_address
from supervisor.service.kit import configure_newest, view

if TYPE_CHECKING:
    from supervisor.service.driver import Service

SHELL = "/bin/sh"


class Watch:
    """The watchers of one service; each is started at most once until `stop`."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._now = asyncio.Event()

    def ready(self) -> None:
        self._begin("ready", self._ready())

    def health(self) -> None:
        self._begin("health", self._health())

    def post_run(self, work: Coroutine[None, None, None]) -> None:
        self._begin("post-run", work)

    def health_now(self) -> None:
        """Check at once, after a reconfigure."""
        self._now.set()

    def stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        self._tasks.clear()

    def _begin(self, name: str, work: Coroutine[None, None, None]) -> None:
        running = self._tasks.get(name)
        if running is not None and not running.done():
            work.close()
            return
        self._tasks[name] = self._service.host.tasks.create_task(work, name=f"{self._service.name} {name}")

    async def _ready(self) -> None:
        asked = self._probe_of("ready")
        while True:
            check, because = await self.ask(asked)
            if check is Check.OK:
                self._service.tell(Event.READY_OK, f"the ready probe passed: {because}")
                return
            self._service.waits_for = because
            self._service.host.changed.beat()
            await asyncio.sleep(max(asked.interval_s, PROBE_INTERVAL_MIN_S))

    async def _health(self) -> None:
        asked, splayed = self._probe_of("health"), False
        while True:
            self._now.clear()
            check, because = await self.ask(asked)
            life = self._service.life
            starting = life.state is State.STARTING and not (check in GOOD and life.settled(clock.now()))
            self._service.post(Happened(event=Event.HEALTH, because=because, check=check))
            pause = pause_s(asked, check, starting=starting)
            if check in GOOD and not starting and not splayed:
                pause, splayed = first_pause_s(asked, self._service.host.chance.random()), True
            try:
                async with asyncio.timeout(pause):
                    await self._now.wait()
            except TimeoutError:
                continue

    def _probe_of(self, purpose: str) -> Probe:
        assert self._service.kit is not None
        probes = self._service.kit.probes
        asked = probes.ready if purpose == "ready" else probes.health
        assert asked is not None
        return asked

    async def ask(self, asked: Probe) -> tuple[Check, str]:
        """Ask once. What cannot even be asked is unknown."""
        if asked.kind is Kind.HOOK:
            outcome = await self._service.run_hook(asked.what)
            check = hook_check(outcome.code)
            if asked.what == "ready" and check is not Check.OK:
                check = Check.CRITICAL
            return check, f"the {asked.what} hook {outcome.because}"
        try:
            what = self._rendered(asked)
            match asked.kind:
                case Kind.HTTP:
                    return await probe.ask_http(http_address(what), asked.timeout_s)
                case Kind.TCP:
                    return await probe.ask_tcp(tcp_address(what), asked.timeout_s)
                case Kind.EXEC:
                    outcome = await self._service.run([SHELL, "-c", what], "probe", asked.timeout_s)
                    check = Check.OK if outcome.ok else Check.UNKNOWN if outcome.code is None else Check.CRITICAL
                    return check, f"the probe's command {outcome.because}"
                case Kind.NOTIFY | Kind.FD:
                    raise AssertionError("nobody asks a service that says it itself")
                case _:
                    assert_never(asked.kind)
        except SteadError as error:
            return Check.UNKNOWN, self._service.without_secrets(str(error))

    def _rendered(self, asked: Probe) -> str:
        service = self._service
        kit, rendering = service.kit, service.rendering
        assert kit is not None
        if rendering is not None:
            context = rendering.context
        else:  # attached while a bind is lost: its own configuration is enough for its own address
            cfg = service.cfg or configure_newest(service.host, service.spec, kit, service.host.groups).result[0]
            context = view(service.host, service.spec, kit, cfg, census=service.host.census, binds=service.fed)
        strict = kit.package.metadata.strict_templates
        template = compile_template(asked.what, name=f"service.toml of {kit.package.ident}", strict=strict, hook=asked.kind is Kind.EXEC)
        return template.render(context)
