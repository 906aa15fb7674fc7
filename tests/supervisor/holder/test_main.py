"""The holder's command line, and what it loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hart.errors import UsageError
from supervisor.holder.main import arguments


@pytest.mark.parametrize("supervisor", [["/bin/sup", "run", "[x"], ['["/bin/sup", "run", "[x"]']])
def test_the_supervisor_is_given_as_words_or_as_one_json_list(supervisor: list[str]) -> None:
    """Both forms mean the same."""
    assert arguments(["--state", "/s", "--supervisor", *supervisor]) == ("/s", ["/bin/sup", "run", "[x"])


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["--state", "/s"],
        ["--state", "/s", "--supervisor"],
        ["--state", "/s", "--supervisor", "sup"],
        ["--state", "/s", "--supervisor", "[1]"],
    ],
)
def test_anything_else_is_a_usage_error(argv: list[str]) -> None:
    """Exit code 2, not a traceback."""
    with pytest.raises(UsageError):
        arguments(argv)


def test_the_holder_loads_the_standard_library_and_nothing_heavy_of_it() -> None:
    """It must stay small: no asyncio, no TLS, no subprocess, no package of others."""
    script = "import sys; sys.path.insert(0, sys.argv[1]); import supervisor.holder.main; print(*{m.split('.')[0] for m in sys.modules})"
    project = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script, project], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"asyncio", "ssl", "_ssl", "hashlib", "subprocess", "threading", "pathlib", "logging", "argparse"}
    assert loaded - set(sys.stdlib_module_names) <= {"supervisor", "hart", "__main__"}
