"""Services that say themselves when they are ready, under a real supervisor and holder: by notify socket and by descriptor."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from hart.root import Root
from tests.supervisor.workshop import Supervised, lay_package, supervised

pytestmark = pytest.mark.slow

WEB = "t/web/1.0/20260101000000"
NOTIFY, FD = "[ready]\nnotify = true\ndeadline_s = 20\n", "[ready]\nfd = 3\ndeadline_s = 20\n"
HEAD = "#!/bin/sh\ncd {{sh pkg.svc_data_path}}; echo start $$ >> notes\n"
WAIT = "while ! [ -e go ]; do sleep 0.02; done\n"
# sh, and s6: a newline, and the descriptor is closed at once.
BY_FD = f"{HEAD}{WAIT}echo >&3; exec 3>&-; touch said\nexec sleep 1000\n"
# C, without a library.
BY_NOTIFY_C = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
static void tell(const char *text) {
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    strncpy(to.sun_path, getenv("NOTIFY_SOCKET"), sizeof to.sun_path - 1);
    int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    sendto(fd, text, strlen(text), 0, (struct sockaddr *)&to, sizeof to);
    close(fd);
}
int main(void) {
    tell("STATUS=reading 3 of 9 tables");
    while (access("go", F_OK)) usleep(20000);
    tell("READY=1\nMAINPID=1");
    fclose(fopen("said", "w"));
    for (;;) pause();
}
"""


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "r")


@pytest.fixture(params=["notify", "fd"])
def kind(request: pytest.FixtureRequest, root: Root, tmp_path: Path) -> str:
    """The service `web` is laid out, and says it by this."""
    kind: str = request.param
    if kind == "fd":
        lay_package(root, WEB, files={"service.toml": FD, "hooks/run": BY_FD})
        return kind
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    (tmp_path / "it.c").write_text(BY_NOTIFY_C)
    subprocess.run([compiler, "-o", str(tmp_path / "it"), str(tmp_path / "it.c")], check=True)
    lay_package(root, WEB, files={"service.toml": NOTIFY, "hooks/run": f"{HEAD}exec {tmp_path / 'it'}\n"})
    return kind


def begin(host: Supervised) -> int:
    """It runs, and has not said anything of being ready; its pid."""
    host.load("t/web", wait_s=0)
    host.until_listed("web", "starting")
    host.until("it runs", lambda: host.notes("web") == ["start"])
    pid: int = host.row("web")["pid"]
    return pid


def data(host: Supervised, name: str) -> Path:
    return host.root.service("web") / "data" / name


def test_it_is_ready_when_it_says_so_and_not_before(root: Root, kind: str) -> None:
    """What it says of itself meanwhile is shown."""
    with supervised(root) as host:
        pid = begin(host)
        expected = "reading 3 of 9 tables" if kind == "notify" else "no newline on its descriptor 3"
        host.until("the reason is shown", lambda: f"not ready yet: {expected}" in host.row("web")["because"])
        data(host, "go").touch()
        row = host.until_state("web", "ready")
        assert (row["pid"], row["because"], row["restarts"]) == (pid, "it said that it is ready", 0)
        host.kill_supervisor()
        assert host.until_listed("web", "ready")["pid"] == pid
        assert host.ask("stop", name="web")["state"] == "down"
        data(host, "go").unlink()
        host.ask("start", name="web", wait_s=0)
        assert host.until_state("web", "starting")["pid"] != pid, "the word of the former process does not count for this one"


def test_what_it_says_while_no_supervisor_lives_is_not_lost(root: Root, kind: str) -> None:
    """kill -9 between start and word: the holder has heard it."""
    with supervised(root) as host:
        pid = begin(host)
        supervisor = host.ask("sup status")["pid"]
        subprocess.run(["kill", "-STOP", str(supervisor)], check=True)  # it hears nothing any more
        data(host, "go").touch()
        host.until("it has said it", data(host, "said").exists)
        host.kill_supervisor(supervisor)
        row = host.until_listed("web", "ready")
        assert (row["pid"], row["restarts"]) == (pid, 0)
        assert host.notes("web") == ["start"]


def test_what_it_says_while_no_holder_lives_is_not_lost(root: Root, kind: str) -> None:
    """kill -9 of the holder between start and word: the next one has it all the same."""
    with supervised(root) as host:
        pid = begin(host)
        host.process.kill()
        host.process.wait()
        data(host, "go").touch()
        with supervised(root) as again:
            row = again.until_listed("web", "ready")
            assert (row["pid"], row["restarts"]) == (pid, 0)
            assert again.notes("web") == ["start"]


def test_who_never_says_it_is_stopped_at_the_deadline(root: Root, kind: str) -> None:
    """As with a probe that never passes; and it is tried again."""
    toml = root.pkgs / WEB / "service.toml"
    toml.write_text(toml.read_text().replace("deadline_s = 20", "deadline_s = 0.5"))
    with supervised(root) as host:
        host.load("t/web", wait_s=0)
        host.until("it was given up twice", lambda: host.notes("web").count("start") > 1)
        why = [line["because"] for line in host.row("web")["why"]]
        assert any("not ready within 0.5 s" in because for because in why)
        assert not any("it said that it is ready" in because for because in why)


@pytest.mark.skipif(shutil.which("systemd-notify") is None, reason="no systemd-notify")
def test_systemd_notify_in_a_script_is_heard(root: Root) -> None:
    """Its process ends at once; that of a recent systemd waits until it was heard (BARRIER=1)."""
    lay_package(root, WEB, files={"service.toml": NOTIFY, "hooks/run": f"{HEAD}systemd-notify --ready --status=up\nexec sleep 1000\n"})
    with supervised(root) as host:
        assert host.load("t/web")["state"] == "ready"
