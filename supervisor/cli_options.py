"""Options that the supervisor's verbs share, and the question to the supervisor."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from hart.root import Root

F = TypeVar("F", bound=Callable[..., Any])


def seconds(name: str, field: str, help_text: str, *, least: float = 0) -> Callable[[F], F]:
    """An option that takes a number of seconds."""
    return click.option(name, field, type=click.FloatRange(min=least), metavar="SECONDS", help=help_text)


def one_of(*names: str, choices: list[str], help_text: str) -> Callable[[F], F]:
    return click.option(*names, type=click.Choice(choices), help=help_text)


def load_options(command: F) -> F:
    """The options of `svc load`, which `sup run` has too."""
    folder = click.Path(exists=True, file_okay=False, resolve_path=True)
    options: list[Callable[[F], F]] = [
        click.option("--channel", metavar="CHANNEL", help="Channel to install and update from [stable]."),
        click.option("-u", "--url", metavar="URL", help="The depot (STEAD_DEPOT_URL)."),
        click.option("--name", metavar="NAME", help="Name of the service, for several of one package [the package's]."),
        click.option("--group", metavar="GROUP", help="Service group [default]."),
        one_of("-t", "--topology", choices=["standalone"], help_text="Nothing else while there are no leases."),
        one_of(
            "-s",
            "--strategy",
            choices=["none", "at-once"],
            help_text="Update when told to, or when the channel has another release [none].",
        ),
        one_of(
            "--update-condition",
            "condition",
            choices=["latest", "track-channel"],
            help_text="Only forward, or also back, with the channel [latest].",
        ),
        click.option(
            "--bind",
            "binds",
            multiple=True,
            metavar="NAME:SERVICE.GROUP",
            help="Which service group feeds the bind NAME of its plan; may be repeated.",
        ),
        one_of("--binding-mode", choices=["strict", "relaxed"], help_text="Start when all binds are fed, or at once [strict]."),
        click.option(
            "--after", multiple=True, metavar="SERVICE", help="Start after this service of the host; may be repeated, '' for none."
        ),
        click.option(
            "--requires-ready",
            multiple=True,
            metavar="SERVICE",
            help="Start when this service of the host is ready; may be repeated, '' for none.",
        ),
        click.option("--every", metavar="DURATION", help="A job: run it so often, as 15m or 1h30m; '' makes it a service again."),
        click.option("--cron", metavar="EXPRESSION", help='A job: run it when this says, as "0 3 * * *".'),
        click.option("--time-zone", metavar="ZONE", help="Of the cron expression [UTC]."),
        one_of("--overlap", choices=["skip", "queue", "replace"], help_text="When a run is due while one goes on [skip]."),
        click.option("--jitter", metavar="DURATION", help="Put each run off by chance, up to this [0s]."),
        seconds("--run-timeout", "run_timeout_s", "Stop a job's run after this.", least=0.1),
        seconds("--health-check-interval", "health_check_interval_s", "Between health checks.", least=0.1),
        seconds("--shutdown-timeout", "shutdown_timeout_s", "Between the shutdown signal and KILL."),
        click.option(
            "--limit",
            "limits",
            multiple=True,
            metavar="NAME=AMOUNT",
            help="memory=512MiB, cpu=1.5, pids=200, nofile=4096, core=0; may be repeated; NAME= for the package's own.",
        ),
        click.option(
            "--new-privileges/--no-new-privileges",
            default=None,
            help="Whether what it executes may gain privileges, as sudo [as the package says].",
        ),
        click.option("--config-from", type=folder, help="Development: take hooks and config from this folder."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def given(options: dict[str, Any]) -> dict[str, Any]:
    """The load options that were given, as the supervisor's `load` takes them."""
    chosen = {key: value for key, value in options.items() if value not in (None, ()) and key != "topology"}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in chosen.items()}


def choose_root(option: str | None) -> Root:
    return Root.choose(option, os.environ)


def ask(root: str | None, command: str, **fields: Any) -> Any:
    """Ask the supervisor of this root; its progress goes to stderr, its error is raised here."""
    from hart.console import say
    from supervisor import control
    from supervisor.settings import Settings

    path = Settings(root=choose_root(root)).control
    request = {"command": command, **{key: value for key, value in fields.items() if value is not None}}
    return control.ask(path, request, say)
