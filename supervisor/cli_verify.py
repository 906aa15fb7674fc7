"""`stead verify`: compare what is on the disk with what was put there, and put it back."""

from __future__ import annotations

import click

from hart.options import json_option, root_option
from supervisor.cli_options import ask


@click.command("verify")
@click.argument("service", required=False)
@root_option
@click.option("--report-only", is_flag=True, help="Change nothing; only say what differs.")
@json_option
def verify(service: str | None, root: str | None, report_only: bool, as_json: bool) -> int:
    """Look whether rendered files, directories and packages of the services are as they were put, and put back what is not.

    No service is restarted. The supervisor does the same by itself, at an interval (stead sup run --verify-period).

    \b
    Exit codes:  0 all is as it should be, or is so again    12 something is not, and could not be repaired, or --report-only
    """
    from hart.console import say, show_json, show_rows
    from hart.errors import EXIT_DIFFERS
    from supervisor.drift import Outcome

    result = ask(root, "verify", name=service, report_only=report_only)
    rows = result["findings"]
    if as_json:
        show_json(result)
    elif rows:
        show_rows(rows, ("outcome", "subject", "kind", "path", "because"), as_json=False, empty="")
    left = sum(row["outcome"] == Outcome.LEFT for row in rows)
    repaired = sum(row["outcome"] == Outcome.REPAIRED for row in rows)
    if not as_json:
        say(f"{repaired} repaired, {left} not" if left or repaired else "all is as it was put")
    return EXIT_DIFFERS if left else 0
