"""What people see: data as JSON or as a table, steps, warnings, errors.

Rules: data goes to stdout, everything about it to stderr; colour and progress only on a terminal; rich is imported only when it is
needed. Every command that prints data takes `--json` and then prints exactly one JSON document.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from hart.errors import SteadError

RED, GREEN, YELLOW, BOLD, DIM = "31", "32", "33", "1", "2"


class Progress(Protocol):
    """Told about long work: `done` of `total` units so far (`total` None when unknown)."""

    def __call__(self, done: int, total: int | None, /) -> None: ...


def colourful(stream: IO[str]) -> bool:
    """Whether escape codes are welcome: a terminal, and nobody said NO_COLOR."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, code: str, stream: IO[str]) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colourful(stream) else text


def harmless(text: str) -> str:
    """A text in which control characters other than newline and tab are shown, never sent to the terminal: names come from strangers."""
    return "".join(char if char.isprintable() or char in "\n\t" else repr(char)[1:-1] for char in text)


def say(text: str) -> None:
    """One line about what is happening."""
    print(harmless(text), file=sys.stderr, flush=True)


def warn(text: str) -> None:
    print(f"{paint('warning:', YELLOW, sys.stderr)} {harmless(text)}", file=sys.stderr, flush=True)


def show_json(data: Any) -> None:
    """Print one JSON document, ASCII-safe, keys in the order given."""
    print(json.dumps(data, indent=2, default=str))


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool, empty: str) -> None:
    """Print rows: with `--json` a list of objects, else a table with the named columns, else the sentence `empty` on stderr."""
    if as_json:
        show_json([dict(row) for row in rows])
    elif not rows:
        say(empty)
    elif not sys.stdout.isatty():  # for grep and cut: one row a line, tabs between
        for row in rows:
            print("\t".join(text(row.get(column)) for column in columns))
    else:
        from rich.console import Console
        from rich.table import Table

        table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for column in columns:
            table.add_column(column.replace("_", " "), overflow="fold")
        for row in rows:
            table.add_row(*(text(row.get(column)) for column in columns))
        Console(highlight=False, markup=False).print(table)


def show_facts(facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one thing's facts: with `--json` an object, else `name: value` lines."""
    if as_json:
        show_json(dict(facts))
        return
    width = max((len(name) for name in facts), default=0)
    for name, value in facts.items():
        lines = value if isinstance(value, list) else [value]
        for number, line in enumerate(lines or ["-"]):
            print(f"{name if number == 0 else '':<{width}}  {text(line)}")


def text(value: Any) -> str:
    """A value in a table's cell. Control characters are shown, never sent to the terminal."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(text(item) for item in value) or "-"
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in str(value))


def show_error(error: SteadError) -> None:
    """The thing, the cause, the next command; as JSON on stderr when `--json` was asked for."""
    if "--json" in sys.argv:
        shown = {
            "error": type(error).__name__,
            "thing": error.thing,
            "cause": error.cause,
            "next": error.next,
            "exit_code": error.exit_code,
        }
        print(json.dumps(shown | ({"data": error.data} if error.data else {}), default=str), file=sys.stderr)
        return
    print(f"{paint('error:', RED, sys.stderr)} {harmless(f'{error.thing}: {error.cause}')}", file=sys.stderr)
    if error.next:
        print(f"  next: {harmless(error.next)}", file=sys.stderr)


def show_bug(error: Exception) -> None:
    """An exception that nobody translated: our own fault, so say so and keep the trace."""
    import traceback

    traceback.print_exception(error)
    print(
        f"{paint('bug:', RED, sys.stderr)} this is a fault of stead itself, please report it with the lines above",
        file=sys.stderr,
    )


@contextmanager
def progress(label: str) -> Iterator[Progress]:
    """A progress bar on a terminal, silence elsewhere. Units are bytes."""
    if not colourful(sys.stderr):
        yield lambda _done, _total, /: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(label, total=None)
        yield lambda done, total, /: bars.update(task, completed=done, total=total)
