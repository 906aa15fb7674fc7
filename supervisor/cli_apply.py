"""`stead apply` and `stead export`: a host as a document.

Rules: the plan is shown before anything is changed, and everything that can be found wrong is found before, too. Each step is the request
that `svc load`, `config apply`, `svc start`, `svc stop` or `svc unload` would send. The first step that fails ends it: what was done and
what was not is said, and the same command goes on from there. Secrets are written to a file of mode 0600, or nowhere, unless asked for.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hart.options import json_option, root_option
from supervisor.cli_config import NO_SCHEMA, login, shown
from supervisor.cli_options import ask, seconds

if TYPE_CHECKING:
    from supervisor.desired import Desired, Plan, Present, Step


@click.command("apply")
@click.argument("file", metavar="FILE|-")
@root_option
@click.option("--dry-run", is_flag=True, help="Show the plan and change nothing; exit code 12 when there is something to do.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask. Without a terminal nobody is asked anyway.")
@click.option("--prune", is_flag=True, help="Unload services that the file does not have; their data and logs stay.")
@seconds("--wait", "wait_s", "Wait until all services are ready and all configuration is rendered, at most so long [0].")
@json_option
def apply(file: str, root: str | None, dry_run: bool, yes: bool, prune: bool, wait_s: float | None, as_json: bool) -> int:
    """Make this host what FILE says: services, their binds, channels and order, and the configuration of their groups.

    Applied twice, the second time changes nothing. What FILE does not have is left alone; stead export writes one.

    \b
    Exit codes:  0 it is as FILE says    12 --dry-run, and it is not    3 FILE, a bind or a configuration is wrong: nothing was changed
                 6 somebody else changed the same, or you said no    11 a service is not ready in time    others as everywhere

    \b
    [service.web]                              as in a spec file; stead export shows more
    ident = "acme/web"
    binds = ["redis:redis.default"]
    [config."web.default"]                     the whole of it
    port = 8080
    """
    from hart.console import say, show_json, warn
    from hart.errors import EXIT_DIFFERS
    from supervisor.desired import parse, plan

    desired = parse(read(file), thing="standard input" if file == "-" else file)
    before = present(root)
    found = plan(desired, before, prune=prune)
    if not as_json:
        show(found)
    for note in found.notes:
        warn(note)
    prepare(root, desired, found, dry_run=dry_run)
    result = {"steps": [step.row() for step in found.steps], "untouched": list(found.untouched), "notes": list(found.notes)}
    if dry_run:
        if as_json:
            show_json({**result, "applied": False})
        return EXIT_DIFFERS if found.steps else 0
    if found.steps and not yes and not as_json and file != "-":
        consent(len(found.steps))
    carry_out(root, found, file)
    if wait_s:
        configured = [str(group) for group in desired.config if group in before.config and before.config[group].version]
        await_ready(root, desired, {*configured, *(step.subject for step in found.steps if step.table is not None)}, wait_s)
    if as_json:
        show_json({**result, "applied": True})
    elif found.steps:
        say(f"done: {len(found.steps)} steps" if len(found.steps) > 1 else "done")
    return 0


def read(file: str) -> bytes:
    from hart.console import standard_input
    from hart.files import open_regular
    from hart.limits import TOML_MAX

    if file == "-":
        return standard_input().read(TOML_MAX + 1)
    with open_regular(Path(file)) as stream:
        return stream.read(TOML_MAX + 1)


def present(root: str | None) -> Present:
    """What the host has, and a warning for each spec file that cannot be read."""
    from hart.console import warn
    from hart.toml import loads
    from supervisor.desired import Applied, Present
    from supervisor.service.spec import Group, ServiceSpec

    found = ask(root, "present")
    for name, complaint in found["complaints"].items():
        warn(f"{name}: {complaint}")
    config = {}
    for name, each in found["config"].items():
        table = loads(each["text"], thing=f"configuration of {name}") if each["text"] is not None else None
        config[Group.parse(name)] = Applied(
            version=each["version"], table=table, secrets=frozenset(each["secrets"]), known=each["known"], schema=each["schema"]
        )
    services = {name: ServiceSpec.parse(text, thing=f"service {name}") for name, text in found["services"].items()}
    return Present(services=services, config=config)


def show(found: Plan) -> None:
    """The plan on standard output, one line a step, and what it changes below."""
    from hart.console import say, show_lines, text

    marks = {"load": "+", "unload": "-"}
    for step in found.steps:
        below = [f"    {change['key']}: {text(shown(change['before']))} → {text(shown(change['after']))}" for change in step.changes]
        show_lines([f"{marks.get(step.act, '~')} {step.act} {step.subject}: {text(step.because)}", *below])
    for name in found.untouched:
        say(f"{name} is here and not in the file: left alone; --prune would unload it")
    if not found.steps:
        say("nothing to do: it is as the file says")


def consent(steps: int) -> None:
    """Ask, where somebody is there to answer. ConflictError when the answer is no."""
    from hart.errors import ConflictError

    if sys.stdin is not None and sys.stdin.isatty() and sys.stderr is not None and sys.stderr.isatty():
        what = "this step" if steps == 1 else f"these {steps} steps"
        if not click.confirm(f"carry out {what}?", err=True):
            raise ConflictError("apply", "you said no; nothing was changed")


def request(step: Step) -> tuple[str, dict[str, Any]]:
    """The command that a step is, and its fields."""
    from hart.toml import dumps
    from supervisor.desired import Act

    match step.act:
        case Act.CONFIGURE:
            assert step.table is not None
            fields = {"group": step.subject, "body": dumps(step.table).encode(), "replace": True, "expect": step.expect, "by": login()}
            return "config apply", {**fields, "why": "stead apply", "wait_s": 0}
        case Act.LOAD | Act.CHANGE:
            assert step.spec is not None
            return "load", {"spec": step.spec.render(), "wait_s": 0}
        case Act.START | Act.STOP:
            return str(step.act), {"name": step.subject, "wait_s": 0}
        case Act.UNLOAD:
            return "unload", {"name": step.subject, "wait_s": 0}


def prepare(root: str | None, desired: Desired, found: Plan, *, dry_run: bool) -> None:
    """Find what is wrong, and install what is missing, before anything is changed."""
    from hart.console import say
    from supervisor.desired import Act

    wanted = {step.subject: request(step)[1] for step in found.steps if step.act is Act.CONFIGURE}
    for step in found.steps:
        command, fields = request(step)
        if step.spec is not None:
            config = wanted.get(str(step.spec.service_group), {}).get("body")
            checked = ask(root, "load check", spec=fields["spec"], config=config, dry_run=dry_run)
            if checked["release"] is None:
                say(f"{step.subject}: {step.spec.ident} would be installed from channel {step.spec.channel}; not checked any further")
        elif step.act is Act.CONFIGURE and not any(step.subject == str(other.spec.service_group) for other in found.steps if other.spec):
            for effect in ask(root, command, **fields, dry_run=True)["effects"]:
                say(f"{effect['service']}: {effect['effect']}: {effect['because']}")


def carry_out(root: str | None, found: Plan, file: str) -> None:
    """Step by step; the first failure ends it, told with what was done and what was not."""
    from hart.console import say
    from hart.errors import SteadError

    for number, step in enumerate(found.steps):
        command, fields = request(step)
        try:
            ask(root, command, **fields)
        except SteadError as error:
            done, left = ([f"{each.act} {each.subject}" for each in part] for part in (found.steps[:number], found.steps[number + 1 :]))
            say(f"done: {', '.join(done) or 'nothing'}")
            say(f"failed: {step.act} {step.subject}" + (f"; not done: {', '.join(left)}" if left else ""))
            error.data |= {"done": done, "failed": f"{step.act} {step.subject}", "not_done": left}
            again = f"stead apply {file} goes on from here"
            error.next = f"{error.next}; then {again}" if error.next else again
            raise
        if str(step.act) not in ("load", "change"):  # these are told by the supervisor
            say(f"{step.act} {step.subject}")


def await_ready(root: str | None, desired: Desired, groups: set[str], wait_s: float) -> None:
    """Until every service that is to be up is ready, and every member of these groups has rendered its configuration."""
    deadline = time.monotonic() + wait_s
    for group in sorted(groups):  # nothing is merged in, so nothing is new, and who has not answered yet is waited for
        ask(root, "config apply", group=group, body=b"", wait_s=max(0.1, deadline - time.monotonic()), by=login())
    for name, spec in sorted(desired.services.items()):
        if spec.wanted:
            ask(root, "status", name=name, wait_s=max(0.1, deadline - time.monotonic()))


@click.command("export")
@root_option
@click.option("-o", "--output", type=click.Path(dir_okay=False), metavar="FILE", help="Write it to FILE, mode 0600, with the secrets.")
@click.option("--with-secrets", is_flag=True, help="Write secrets to standard output too.")
@json_option
def export(root: str | None, output: str | None, with_secrets: bool, as_json: bool) -> None:
    """Write what this host has, as a file that stead apply takes: services, and the configuration that was applied to their groups.

    Values that a package's schema calls secret are left out, and named in [keep], so that applying it leaves them as they are.
    The environment and user.toml are this host's own and are not in it.

    Example:  stead export > host.toml
    """
    from hart.console import say, show_json, show_lines, warn
    from hart.files import write_atomic
    from hart.toml import loads
    from supervisor.desired import render

    found = present(root)
    text, left_out = render(found, secrets=with_secrets or output is not None)
    own = {spec.service_group for spec in found.services.values()}
    for group in sorted(own & found.config.keys()):
        if found.config[group].table and not found.config[group].schema:
            warn(f"{group}: {NO_SCHEMA}")
    if output is not None:
        write_atomic(Path(output), text.encode(), mode=0o600)
        say(f"written to {output}, which only you may read")
    elif as_json:
        show_json(loads(text, thing="export"))
    else:
        show_lines(text.splitlines())
    if left_out:
        warn(f"left out as secret, and kept when it is applied: {', '.join(left_out)}; --with-secrets or --output FILE write them")
