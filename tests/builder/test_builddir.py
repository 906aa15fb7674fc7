"""The working directory of a build: whose it is, and what stays of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hart.errors import ConflictError
from hart.ident import Ident
from tests.builder.workshop import RELEASE, Workshop

TINY = """
    [package]
    name = "tiny"
    version = "1.0"
    [steps]
    install = 'mkdir -p "$out/share"; echo hello >"$out/share/x"'
"""


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def test_one_build_at_a_time_for_one_release(workshop: Workshop) -> None:
    """The second process is told so; a killed build's lock is free."""

    ident = Ident("acme", "tiny", "1.0", RELEASE)
    lines = (
        "import sys", "from pathlib import Path", "from builder.builddir import claimed", "from hart.ident import Ident",
        "from hart.root import Root", "with claimed(Root(Path(sys.argv[1])), Ident.parse_full(sys.argv[2])):",
        "    print('held', flush=True)", "    sys.stdin.read()",
    )  # fmt: skip
    program = "\n".join(lines)
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(workshop.root.path), str(ident)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(ConflictError, match="running already"):
        workshop.build(workshop.plan(TINY))
    holder.kill()
    holder.communicate()
    assert workshop.build(workshop.plan(TINY)).ident == ident


@pytest.mark.slow
def test_steps_of_a_killed_build_never_write_into_the_next_one(workshop: Workshop) -> None:
    """The next build of the same release is refused while they run; it works when they have ended."""

    folder = workshop.plan(
        """
        [package]
        name = "tiny"
        version = "1.0"
        [steps]
        install = 'echo $$ >"$plan_dir/pid"; while ! test -e "$plan_dir/go"; do echo old >"$out/old"; sleep 0.05; done; echo x >"$out/x"'
        """
    )
    lines = (
        "import sys",
        "from pathlib import Path",
        "from tests.builder.workshop import Workshop",
        "Workshop(Path(sys.argv[1])).build(Path(sys.argv[2]))",
    )
    first = subprocess.Popen([sys.executable, "-c", "\n".join(lines), str(workshop.base), str(folder)])
    deadline = time.monotonic() + 60
    while not (folder / "pid").exists() or not (folder / "pid").read_text().strip():
        assert first.poll() is None
        assert time.monotonic() < deadline
        os.sched_yield()
    first.kill()
    first.wait()
    step = int((folder / "pid").read_text())
    with pytest.raises(ConflictError, match="steps of it that was killed"):
        workshop.build(folder)
    os.kill(step, signal.SIGKILL)
    (folder / "go").touch()
    while True:
        try:
            built = workshop.build(folder)
            break
        except ConflictError:
            assert time.monotonic() < deadline
    package = workshop.install(built)
    assert not (package.path / "old").exists()


def test_after_a_build_only_its_logs_stay(workshop: Workshop) -> None:
    """The working directory of a finished build is empty but for the logs."""
    built = workshop.build(workshop.plan(TINY))
    assert built.logs is not None
    assert [entry.name for entry in built.logs.parent.iterdir()] == ["logs"]
    assert sorted(entry.name for entry in built.logs.iterdir()) == ["01-install.log", "02-package.log"]
