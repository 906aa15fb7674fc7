"""Look for updates of services that follow a channel at once: ask, install beside, rehearse, switch (reference: supervisor 6.1).

Rules: everything that can fail without a restart is tried while the old release still serves: the installation with its closure and the
rendering of the new release with this host's configuration. What fails there is in quarantine and nothing was touched. What fails after
the switch goes back (driver.py). What is decided is in service/update.py; a service whose ident is full or whose strategy is none
is never asked for.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from hart.errors import InputError, ServiceError, SteadError
from hart.ident import Ident
from supervisor import clock
from supervisor.host import Host
from supervisor.service import update
from supervisor.service.binds import NotFedError
from supervisor.service.driver import Service
from supervisor.service.events import PAUSED, State
from supervisor.service.kit import open_kit
from supervisor.service.spec import Strategy


@dataclass(slots=True)
class Question:
    """When one service's depot is asked next."""

    due: float
    unanswered: int = 0  # in a row
    asking: bool = False


async def follow(host: Host) -> None:
    """For ever: each service on its own time, so that hosts and services do not ask together, and a slow depot is nobody else's."""
    questions: dict[str, Question] = {}
    period_s = host.settings.update_period_s
    while True:
        now = clock.now()
        questions = {name: questions.get(name) or Question(now + period_s * host.chance.random()) for name in host.services}
        for name, question in questions.items():
            service = host.services[name]
            if not question.asking and question.due <= now and not host.stopping and follows(service):
                question.asking = True
                host.tasks.create_task(ask(host, service, question), name=f"{name} update")
        await asyncio.sleep(min(1.0, period_s / 2))


async def ask(host: Host, service: Service, question: Question) -> None:
    question.unanswered = 0 if await look(host, service) else question.unanswered + 1
    question.due = clock.now() + update.next_question_s(host.settings.update_period_s, question.unanswered, host.chance.random())
    question.asking = False


def follows(service: Service) -> bool:
    spec, life = service.spec, service.life
    at_rest = (State.DOWN,) if service.job is not None and spec.wanted else (State.READY, *PAUSED, State.STARTING)
    settled = life.state in at_rest and service.memory.record.choice is not None
    return spec.strategy is Strategy.AT_ONCE and not spec.ident.is_full and settled and not service.gone


async def look(host: Host, service: Service) -> bool:
    """Ask the depot about one service and begin what it decides; False when depot or disk did not do their part."""
    spec, choice = service.spec, service.memory.record.choice
    assert choice is not None
    try:
        head = await host.depots.newest(spec.url, spec.ident, channel=spec.channel)
        verdict = update.decide(spec, choice, head)
        note(host, service, verdict.because)
        if verdict.target is None:
            return True
        await host.depots.install(spec.url, verdict.target, channel=spec.channel)
        if service.memory.record.choice == choice and service.spec is spec:
            await switch(host, service, verdict.target, verdict.because)
    except (SteadError, OSError) as error:
        note(host, service, f"no update: {error}")
        return False
    return True


async def switch(host: Host, service: Service, target: Ident, because: str) -> None:
    """Rehearse the target, then switch, or put it in quarantine."""
    try:
        package = host.tree.get(target)
        await host.depots.run_install_hooks(package)
        service.rehearse(open_kit(host, service.spec, package))
    except NotFedError:
        pass  # a lost bind says nothing about the release
    except (InputError, ServiceError) as error:
        service.memory.quarantine(target)
        note(host, service, f"{target} is not taken: {error}; it is in quarantine until channel {service.spec.channel} moves")
        return
    host.journal.write("update", service.name, f"{because}: switching", target=str(target))
    service.switch_to(target, f"update to {target}: {because}")


def note(host: Host, service: Service, text: str) -> None:
    """The last word about updates; journalled when it is a new one."""
    if service.memory.note(text):
        host.changed.beat()
