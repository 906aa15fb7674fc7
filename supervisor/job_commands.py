"""`svc run-once`: one run of a job, and how it ended.

Rules: the caller gives the run its id, so asking again, after the supervisor died under it, finds the same run and never begins another.
The run is in the job's book before its spec is written, and a process is started only for what is in both. A job that is loaded with a
schedule is run beside it; a service is not a job.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from hart.errors import ConflictError, FormatError, NotFoundError, UsageError
from hart.limits import COMMAND_WAIT_S
from supervisor import clock, loading
from supervisor.control import Say
from supervisor.host import Host
from supervisor.request import Request
from supervisor.service import job as job_files
from supervisor.service.driver import Service
from supervisor.service.events import Event, State
from supervisor.service.job import Job, told
from supervisor.service.jobs import Outcome, Run, exit_code
from supervisor.service.spec import service_name
from supervisor.services import reconcile_all, refuse_while_stopping


async def run_once(host: Host, request: Request, say: Say) -> dict[str, Any]:
    """Ask for a run, or find the one that was asked for; its outcome when it is over and its life is down."""
    run_id, text, options = request.text("id"), request.text("ident"), loading.options_of(request)
    if not (8 <= len(run_id) <= 64 and run_id.isalnum() and run_id.isascii()):
        raise FormatError("request", "id is not 8 to 64 letters and digits")
    args = tuple(request.texts("args"))
    if any("\0" in arg for arg in args):
        raise FormatError("request", "an argument has a NUL in it")
    name = service_name(options.text("name") if "name" in options.fields else text.split("/")[1] if "/" in text else text)
    service = host.services.get(name)
    if service is None or service.job is None or service.job.book.run(run_id) is None:
        done = job_files.read(host.settings.jobs, name).run(run_id) if service is None else None
        if done is not None and done.outcome is not Outcome.ASKED:  # begun and nowhere: it may have run
            return answer(name, done if not done.open else replace(done, outcome=Outcome.UNKNOWN, because="nobody saw how it ended"))
        refuse_while_stopping(host)
        if service is None:
            service = await load(host, request, name, Run(id=run_id, asked_at=clock.wall(), args=args), say)
        else:
            ask_again(service, text, options.fields, run_id, args)
    assert service.job is not None
    await over(host, service, service.job, run_id, request.number("timeout_s", 0), say)
    run = service.job.book.run(run_id)
    assert run is not None
    return answer(name, run)


async def load(host: Host, request: Request, name: str, run: Run, say: Say) -> Service:
    """Check, install, and write book and spec of a job that is there for this one run."""
    if "/" not in request.text("ident"):
        raise NotFoundError(f"job {name}", "is not loaded", next=f"stead svc run-once ORIGIN/{name}")
    spec, package = await loading.accept(host, request, say)
    if host.services.get(name) is not None:  # while it was installed
        raise ConflictError(f"job {name}", "was loaded meanwhile", next="stead svc status")
    timeout_s = request.number("timeout_s", 0)
    spec = replace(spec, run_once=run.id, schedule=None, run_timeout_s=float(timeout_s) if timeout_s else None)
    job_files.prune(host.settings.jobs, {*host.services, name})
    book = job_files.read(host.settings.jobs, name)
    for left in book.runs:
        if left.open and left.id != run.id:
            book = book.put(left.id, outcome=Outcome.UNKNOWN, because="it was given up for another run", ended_at=clock.wall())
    if book.run(run.id) is None:  # else it was asked for before, by whom this supervisor's predecessor did not answer
        book = book.add(run)
    job_files.write(host.settings.jobs, name, book)
    host.specs.write(spec)
    reconcile_all(host)
    service = host.services.get(name)
    if service is None or service.job is None:
        raise ConflictError(f"job {name}", "was taken away before it began", next="stead svc status")
    say(f"{package.ident} runs once as {name}")
    return service


def ask_again(service: Service, text: str, options: Mapping[str, Any], run_id: str, args: tuple[str, ...]) -> None:
    """A run of what is loaded already."""
    spec = service.spec
    if service.job is None:
        raise ConflictError(
            f"service {service.name}",
            "is a service, which runs all the time",
            next=f"give the job a name of its own: stead svc run-once {text} --name {service.name}-once",
        )
    if spec.schedule is None:
        raise ConflictError(f"job {service.name}", "runs already", next=f"stead svc status {service.name}, or another --name")
    if "/" in text and not text.startswith(str(spec.ident.family)):
        raise ConflictError(f"job {service.name}", f"is loaded as {spec.ident}, not as {text}", next="give the job another --name")
    if extra := sorted(set(options) - {"name"}):
        raise UsageError(f"job {service.name}", f"is loaded with its own {', '.join(extra)}", next="stead svc load --force changes it")
    service.job.ask(run_id, args)


async def over(host: Host, service: Service, job: Job, run_id: str, timeout_s: float, say: Say) -> None:
    """Wait until the run has ended and everything after it is done; say what it waits for. `timeout_s` (0: none) also bounds that."""
    until, life = clock.now() + timeout_s if timeout_s else None, service.life
    said = ""

    def look() -> object:
        return life.state, life.because, job.book

    while True:
        run = job.book.run(run_id)
        assert run is not None
        if not run.open and life.state is State.DOWN:
            return
        if life.state is State.WAITING and life.because != said:
            said = life.because
            say(f"{service.name}: {said}")
        if (
            until is not None
            and clock.now() >= until
            and run.outcome is Outcome.ASKED
            and life.state in (State.WAITING, State.INITIALIZING)
        ):
            service.tell(Event.WANTED_DOWN, f"it did not begin within {timeout_s:g} s: {life.because}")
            until = None
        left_s = COMMAND_WAIT_S if until is None else max(0.01, until - clock.now())
        seen = look()
        await host.changed.until(lambda: look() != seen, left_s)  # noqa: B023  awaited before the next look


def answer(name: str, run: Run) -> dict[str, Any]:
    return {"service": name, **told(run), "exit_code": exit_code(run)}


Command = Callable[[Host, Request, Say], Awaitable[Any]]
COMMANDS: dict[str, Command] = {"run once": run_once}
