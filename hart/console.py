"""What people see: data as JSON or as a table, steps, warnings, errors.

Rules: data goes to stdout, everything about it to stderr; colour and progress only on a terminal; rich is imported only when it is
needed. Every command that prints data takes `--json` and then prints exactly one JSON document. Data that could not be written is an
error; a message that could not be written is not. A stream may be closed: Python then has None for it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Protocol, TextIO

if TYPE_CHECKING:
    from hart.errors import SteadError

RED, GREEN, YELLOW, BOLD, DIM = "31", "32", "33", "1", "2"


class Progress(Protocol):
    """Told about long work: `done` of `total` units so far (`total` None when unknown)."""

    def __call__(self, done: int, total: int | None, /) -> None: ...


def colourful(stream: IO[str] | None) -> bool:
    """Whether escape codes are welcome: a terminal, and nobody said NO_COLOR."""
    return stream is not None and stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def paint(text: str, code: str, stream: IO[str] | None) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colourful(stream) else text


def harmless(text: str) -> str:
    """A text in which control characters other than newline and tab are shown, never sent to the terminal: names come from strangers."""
    return "".join(char if char.isprintable() or char in "\n\t" else repr(char)[1:-1] for char in text)


def tell(line: str) -> None:
    """A line on standard error, when anybody can be told anything there."""
    if sys.stderr is None:  # print would take standard output
        return
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        sys.stderr = None  # what it could not write it keeps, and Python would fail with it at the end


def say(text: str) -> None:
    """One line about what is happening."""
    tell(harmless(text))


def warn(text: str) -> None:
    tell(f"{paint('warning:', YELLOW, sys.stderr)} {harmless(text)}")


def standard_input() -> BinaryIO:
    """What is piped to us; UsageError when it is closed."""
    from hart.errors import UsageError

    if sys.stdin is None:
        raise UsageError("standard input", "is closed")
    return sys.stdin.buffer


@contextmanager
def standard_output() -> Iterator[TextIO]:
    """Where data goes; all of it is written at the end. StorageError when it cannot be, BrokenPipeError when the reader left."""
    from hart.errors import StorageError

    if sys.stdout is None:
        raise StorageError("standard output", "is closed")
    try:
        yield sys.stdout
        sys.stdout.flush()
    except OSError as error:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())  # else Python tries again when it ends, and complains
        os.close(null)
        if isinstance(error, BrokenPipeError) or error.errno is None:
            raise
        raise StorageError("standard output", os.strerror(error.errno).lower()) from error


def show_lines(lines: Iterable[str]) -> None:
    """Print lines as they are."""
    with standard_output() as out:
        for line in lines:
            print(line, file=out)


def show_json(data: Any) -> None:
    """Print one JSON document, ASCII-safe, keys in the order given."""
    show_lines([json.dumps(data, indent=2, default=str)])


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool, empty: str) -> None:
    """Print rows: with `--json` a list of objects, else a table with the named columns, else the sentence `empty` on stderr."""
    if as_json:
        show_json([dict(row) for row in rows])
    elif not rows:
        say(empty)
    elif sys.stdout is None or not sys.stdout.isatty():  # for grep and cut: one row a line, tabs between
        show_lines("\t".join(text(row.get(column)) for column in columns) for row in rows)
    else:
        width = shutil.get_terminal_size().columns
        shown = [{column: text(row.get(column)) for column in columns} for row in rows]
        show_lines(
            table(shown, columns, width, head=lambda word: paint(word, BOLD, sys.stdout), name=lambda word: paint(word, DIM, sys.stdout))
        )


def table(
    rows: Sequence[Mapping[str, str]],
    columns: Sequence[str],
    width: int,
    *,
    head: Callable[[str], str] = str,
    name: Callable[[str], str] = str,
) -> list[str]:
    """Rows below a header, in `width` cells: columns that have no room stand below their row, each with its name. No value is cut or
    broken, so that it can be copied. The first column is always in the table; `head` and `name` paint what is not a value.
    """
    titles = {column: column.replace("_", " ") for column in columns}
    wide = {column: max(cells(titles[column]), *(cells(row[column]) for row in rows)) for column in columns}
    beside: list[str] = []
    for column in columns:
        if not beside or sum(wide[other] + 2 for other in beside) + wide[column] <= width:
            beside.append(column)
    below = [column for column in columns if column not in beside]

    def line(values: Mapping[str, str], paint_one: Callable[[str], str] = str) -> str:
        padded = [paint_one(values[column]) + " " * (wide[column] - cells(values[column])) for column in beside]
        return "  ".join(padded).rstrip()

    lines = [line(titles, head)]
    for row in rows:
        lines.append(line(row))
        used = 0
        for column in below:
            part, size = f"{name(titles[column])} {row[column]}", cells(titles[column]) + 1 + cells(row[column])
            if used and used + 3 + size <= width:
                lines[-1] += f"   {part}"
                used += 3 + size
            else:
                lines.append(f"    {part}")
                used = 4 + size
    return lines


def cells(word: str) -> int:
    """How many cells of a terminal a text without control characters takes."""
    return sum(0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in word)


def show_facts(facts: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one thing's facts: with `--json` an object, else `name: value` lines."""
    if as_json:
        show_json(dict(facts))
        return
    width = max((len(name) for name in facts), default=0)
    lines = []
    for name, value in facts.items():
        values = value if isinstance(value, list) else [value]
        lines += [f"{name if number == 0 else '':<{width}}  {text(line)}" for number, line in enumerate(values or ["-"])]
    show_lines(lines)


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
        tell(json.dumps(shown | ({"data": error.data} if error.data else {}), default=str))
        return
    tell(f"{paint('error:', RED, sys.stderr)} {harmless(f'{error.thing}: {error.cause}')}")
    if error.next:
        tell(f"  next: {harmless(error.next)}")


def show_bug(error: Exception) -> None:
    """An exception that nobody translated: our own fault, so say so and keep the trace."""
    import traceback

    tell("".join(traceback.format_exception(error)).rstrip("\n"))
    tell(f"{paint('bug:', RED, sys.stderr)} this is a fault of stead itself, please report it with the lines above")


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
