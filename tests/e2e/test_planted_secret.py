"""Secrets are planted in configuration and in the supervisor's environment; then everything that anybody may see is searched for them."""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from hart.errors import SteadError
from hart.root import Root
from supervisor.commands import COMMANDS
from supervisor.control import UnavailableError
from supervisor.holder import procfs
from tests.e2e.witness import STEAD
from tests.ports import free_port
from tests.supervisor.workshop import Supervised, lay_package, supervised

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

MARK = f"planted-{secrets.token_hex(8)}-"
USER, RING, ENVIRONMENT, TOKEN, GATEWAY, WRONG, QUOTED = (
    f"{MARK}{word}" for word in ("user", "ring", "environment", "token", "gateway", "wrong", "quoted")
)
WEB = "t/web/1.0/20260101000000"
SECRET = {"type": "string", "secret": True, "maxLength": 60, "pattern": "^[a-z0-9-]*$"}
SCHEMA = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in ("word", "python")},
        **{name: {"type": "boolean"} for name in ("crash", "stubborn", "indiscreet")},
        "password": SECRET,
        "api": {"type": "object", "properties": {"key": SECRET, "url": {"type": "string"}}},
        "tokens": {"type": "array", "items": SECRET},
        "choice": {"enum": ["a", "b"], "secret": True},
        "list": {"type": "array", "secret": True},
    },
}
CONFIG = """{"word": {{toJson cfg.word}}, "crash": {{toJson cfg.crash}}, "stubborn": false, "secrets": [{{toJson cfg.password}},
  {{toJson cfg.api}}, {{toJson cfg.tokens}}, {{toJson cfg.list}}] }
"""
DEFAULT = (
    'crash = false\nindiscreet = false\nword = "first"\npassword = "none"\ntokens = []\nlist = []\n[api]\nkey = "none"\nurl = "none"\n'
)
# What a hook says is its own; so that it is quoted it fails with the secret in its last line, where its configuration tells it to.
HOOK = """#!/bin/sh
cat /proc/self/environ /proc/self/cmdline > {{pkg.svc_data_path}}/$(basename $0)
{{#if cfg.indiscreet}}echo "cannot log in with $(tr -d ' \\n' < {{pkg.svc_config_path}}/service.json)"; exit 3{{/if}}
"""


def web_files() -> dict[str, str]:
    files = {f"hooks/{name}": HOOK for name in ("init", "reconfigure", "health-check", "post-run", "pre-stop", "post-stop")}
    run = HOOK.replace("{{#if", "{{#if cfg.crash}}sleep 0.3; {{else}}exec sleep 1000; {{/if}}{{#if")
    default = f"python = {json.dumps(sys.executable)}\n{DEFAULT}"
    return {**files, "hooks/run": run, "config.schema.json": json.dumps(SCHEMA), "config/service.json": CONFIG, "default.toml": default}


HERE = ("svc status", "svc status web", "config show web --origins", "why web")
EVERYWHERE = (
    *HERE,
    *("sup status", "why", "doctor", "verify --report-only", "export", "ring status", "ring members", "ring records"),
    *("config show web", "config show web.default", "config history web.default", "config diff web.default"),
    *(f"config show web --why {key}" for key in ("password", "api", "api.key", "tokens", "list")),
)


class Searched:
    """One host, and all that was seen of it."""

    def __init__(self, host: Supervised) -> None:
        self.host, self.root = host, host.root
        self.seen: dict[str, bytes] = {}

    def see(self, where: str, what: bytes) -> None:
        self.seen[where] = self.seen.get(where, b"") + what

    def command(self, *arguments: str, stdin: str = "") -> int:
        done = subprocess.run(
            [STEAD, *arguments, f"--root={self.root.path}"], input=stdin.encode(), capture_output=True, timeout=60, check=False
        )
        self.see(f"stead {' '.join(arguments)}", done.stdout + done.stderr)
        return done.returncode

    def look(self, *, everywhere: bool = False) -> None:
        """At the answers of command line, control socket and gateway, and at every process."""
        for words in EVERYWHERE if everywhere else HERE:
            for form in ((), ("--json",)):
                if words != "export" or not form:
                    self.command(*words.split(), *form)
        gateway = next(line for line in self.host.log().splitlines() if "answers at http://" in line).split("answers at ")[1].split(";")[0]
        for path in ("/v1/ring", "/v1/census", "/v1/services", "/v1/services/web", "/v1/services/web/health", "/metrics", "/nothing"):
            for token in (GATEWAY, "another"):
                request = urllib.request.Request(f"{gateway}{path}", headers={"Authorization": f"Bearer {token}"})
                try:
                    with urllib.request.urlopen(request, timeout=10) as answer:
                        self.see(path, answer.read() + str(answer.headers).encode())
                except urllib.error.HTTPError as error:
                    self.see(path, error.read() + str(error.headers).encode())
        own = {self.host.ask("sup status")[name] for name in ("pid", "holder_pid")}
        mark = str(self.root.path).encode()
        for pid in procfs.processes():
            if mark in (words := procfs.read(f"/proc/{pid}/cmdline")) or mark in procfs.read(f"/proc/{pid}/environ"):
                self.see(f"cmdline of {words!r}", words)
                if pid not in own and pid != os.getpid():
                    self.see(f"environ of {words!r}", procfs.read(f"/proc/{pid}/environ"))

    def assert_hidden(self, allowed: Iterable[str]) -> None:
        """In what was seen, and in every file but those that begin so; what is allowed is read by nobody but its owner and group."""
        allowed = tuple(allowed)
        hits = [f"{where}: {excerpt(what)}" for where, what in self.seen.items() if excerpt(what)]
        for path in self.root.path.rglob("*"):
            if not path.is_file() or path.is_symlink():
                continue
            name = str(path.relative_to(self.root.path))
            found = excerpt(path.read_bytes())
            if found and name.startswith(allowed) and not path.stat().st_mode & 0o007:
                continue
            if found:
                hits.append(f"{name} ({path.stat().st_mode & 0o777:o}): {found}")
        assert hits == []


def excerpt(what: bytes) -> str:
    """Around the first secret in it, as it is or in base64 or hex."""
    for form in (MARK.encode(), MARK.encode().hex().encode(), base64.b64encode(MARK.encode())[:24]):
        if (at := what.find(form)) >= 0:
            return repr(what[max(0, at - 120) : at + 60])
    return ""


@pytest.fixture
def searched(tmp_path: Path) -> Iterator[Searched]:
    root = Root(tmp_path / "root")
    lay_package(root, WEB, files={**web_files(), "service.toml": ""})
    user = root.user_config("web")
    user.parent.mkdir(parents=True)
    user.write_text(f'password = "{USER}"\n')
    user.chmod(0o600)
    env = {
        "STEAD_WEB": f'tokens = ["{ENVIRONMENT}"]',
        "STEAD_TOKEN": TOKEN,
        "HAB_AUTH_TOKEN": TOKEN,
        "STEAD_GATEWAY_AUTH_TOKEN": GATEWAY,
        "AWS_SECRET_ACCESS_KEY": TOKEN,
    }
    dumps = ["sh", "-c", f'cd {tmp_path} && mkdir -p root/cores && cd root/cores && ulimit -c unlimited; exec "$@"', "sh"]
    with supervised(root, f"--listen-http=127.0.0.1:{free_port()}", env=env, within=dumps) as host:
        yield Searched(host)


MEANT = ("svc/web/config/", "user/web/config/user.toml", "sup/default/ring/documents/")


def test_what_is_secret_is_nowhere_but_where_it_is_meant_to_be(searched: Searched) -> None:
    """Start, reconfigure, refused values, a crash loop, requests of wrong shapes, a killed, an aborted and a crashed supervisor."""
    host = searched.host
    host.load("t/web")
    assert searched.command("config", "apply", "web.default", "-m", "rotated", stdin=f'list = ["{RING}"]\n[api]\nkey = "{RING}"\n') == 0
    rendered = (searched.root.service("web") / "config/service.json").read_text()
    assert [text in rendered for text in (USER, RING, ENVIRONMENT)] == [True] * 3, "they are in force"
    assert searched.command("config", "apply", "web.default", "--dry-run", stdin=f'password = "{RING}-next"\n') == 0
    searched.look(everywhere=True)
    for wrong in refused():
        assert searched.command("config", "apply", "web.default", stdin=wrong) != 0, wrong
        searched.command("config", "apply", "web.default", "--dry-run", "--json", stdin=wrong)
    searched.root.user_config("web").write_text(f'password = "{USER}-{"x" * 60}"\n')
    host.until("it cannot be taken", lambda: host.row("web")["degraded"])
    searched.look()
    searched.root.user_config("web").write_text(f"password = {USER}\n")
    host.until("it cannot be read", lambda: "user.toml" in host.row("web")["degraded"])
    searched.look()
    searched.root.user_config("web").write_text(f'password = "{USER}"\n')
    host.until("it can again", lambda: not host.row("web")["degraded"])
    ask_in_wrong_shapes(host)
    assert searched.command("config", "apply", "web.default", "--no-wait", stdin="crash = true\n") == 0
    host.until_state("web", "crash-looping")
    searched.look()
    for number in (signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV, signal.SIGINT):
        pid = host.ask("sup status")["pid"]
        os.kill(pid, number)
        host.until("another supervisor answers", lambda pid=pid: host.ask("sup status")["pid"] != pid)
    host.until("the service is there", lambda: host.row("web"))
    searched.look(everywhere=True)
    searched.command("svc", "logs", "web", "--all")
    searched.command("svc", "stop", "web")
    searched.assert_hidden(MEANT)


def refused() -> list[str]:
    """Configurations that cannot be right, each with a secret at the place that is wrong."""
    return [
        f'password = "{WRONG}',
        f"password = {WRONG}",
        f'password = "{WRONG}"\npassword = "{WRONG}"\n',
        f'password = "{WRONG}{"x" * 60}"\n',
        f'password = ["{WRONG}"]\n',
        f'password = {{ value = "{WRONG}" }}\n',
        f'pasword = "{WRONG}"\n',
        f'api = "{WRONG}"\n',
        f'api = {{ kye = "{WRONG}" }}\n',
        f'tokens = ["{WRONG}", 5]\n',
        f'tokens = ["{WRONG}{"x" * 60}"]\n',
        f'tokens = "{WRONG}"\n',
        f'choice = "{WRONG}"\n',
        f'list = "{WRONG}"\n',
        f'list = [nan, "{WRONG}"]\n',
    ]


def ask_in_wrong_shapes(host: Supervised) -> None:
    """Whatever a request breaks, its values are not told on the terminal."""
    for command in sorted(set(COMMANDS) - {"term"}):
        for field in ("group", "target", "name", "body", "document", "options", "ident", "limits", "versions", "unset", "why", "args"):
            for value in (f'password = "{QUOTED}"', [QUOTED], {"password": QUOTED}, QUOTED.encode()):
                fields: dict[str, Any] = {"group": "web.default", "name": "web", "target": "web", "dry_run": True, field: value}
                if command in ("stop", "unload", "start") and fields["name"] == "web":
                    continue
                with suppress(SteadError, UnavailableError):
                    host.ask(command, **fields)


def test_what_a_service_says_of_its_secrets_is_quoted_without_them(searched: Searched) -> None:
    """Its own log has what it says. What is quoted of it, in states, reasons, journal, ring and on the terminal, has not."""
    host = searched.host
    host.load("t/web")
    text = f'indiscreet = true\nlist = ["{RING}"]\n[api]\nkey = "{RING}"\n'
    host.apply("web.default", 1, text, wait_s=0)
    host.until("a hook has spoken", lambda: "exited with code 3" in str(host.row("web")))
    searched.look()
    host.apply("web.default", 2, f"crash = true\n{text}", wait_s=0)
    host.until("it crashes", lambda: host.row("web")["failures"] > 2)
    searched.look()
    host.kill_supervisor()
    host.until("the service is there", lambda: host.row("web"))
    searched.look()
    searched.command("svc", "stop", "web")
    searched.look(everywhere=True)
    searched.assert_hidden((*MEANT, "svc/web/logs/"))
