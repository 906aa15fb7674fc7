"""A real supervisor, a real holder, real services: the stories that a host must survive."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from hart.account import may_switch, own_account
from hart.errors import ConfigError, ConflictError, FormatError, NotFoundError, ServiceError, TemplateError
from hart.ident import Ident
from hart.root import Root
from tests.supervisor.workshop import DEFAULT, RECONFIGURE, SERVICE_TOML, config, lay_package, supervised
from tests.supervisor.workshop_depot import STEAD

pytestmark = pytest.mark.slow

WEB, WEB_2 = "t/web/1.0/20260101000000", "t/web/1.1/20260102000000"


@pytest.fixture
def root(tmp_path: Path) -> Root:
    return Root(tmp_path / "root")


def alive(pid: int) -> bool:
    """A process that has ended and that its reaper has not looked at yet is not alive."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_service_is_loaded_ready_healthy_stopped_started_and_unloaded(root: Root) -> None:
    """Each command answers when the thing is done."""
    lay_package(root, WEB, files={"service.toml": SERVICE_TOML + "[health]\nexec = 'true'\ninterval_s = 0.2\n"})
    with supervised(root) as host:
        row = host.load("t/web")
        assert (row["state"], row["ready"], row["release"]) == ("ready", True, WEB)
        host.until("it is healthy", lambda: host.row("web")["health"] == "healthy")
        with pytest.raises(ConflictError, match="is loaded already"):
            host.load("t/web")
        assert host.ask("stop", name="web")["state"] == "down"
        assert host.notes("web") == ["start first", "term"]
        assert host.ask("start", name="web")["state"] == "ready"
        host.ask("unload", name="web")
        host.until("it is forgotten", lambda: host.ask("status") == [])
        assert not (root.sup / "specs" / "web.spec").exists()
        with pytest.raises(NotFoundError):
            host.ask("stop", name="web")
        assert "hello from first" in (root.service("web") / "logs" / "run.log").read_text()
    assert host.process.returncode == 0


def test_a_crash_is_restarted_with_backoff_on_the_same_release(root: Root) -> None:
    """W6: a newer release on the disk is no reason to run it."""
    lay_package(root, WEB)
    with supervised(root) as host:
        pid = host.load("t/web")["pid"]
        lay_package(root, WEB_2)
        os.kill(pid, signal.SIGKILL)
        host.until("it runs again", lambda: host.row("web")["state"] == "ready" and host.row("web")["pid"] != pid)
        row = host.row("web")
        assert (row["release"], row["restarts"], row["failures"]) == (WEB, 1, 1)
        assert any("ended by SIGKILL" in line["because"] and line["state"] == "backoff" for line in row["why"])
        assert host.load("t/web", force=True)["release"] == WEB_2, "an explicit load does take it"


def test_a_crash_loop_says_how_often_and_what_the_service_said_last(root: Root) -> None:
    """At three in the morning the reason is in `svc status`, and no secret is."""
    run = "#!/bin/sh\necho token {{cfg.password}}; echo no route to the database >&2; exit 3\n"
    default = f'{DEFAULT}password = "hunter2-the-secret"\n'
    lay_package(root, WEB, files={"hooks/run": run, "default.toml": default, "config.schema.json": SCHEMA})
    with supervised(root) as host:
        host.load("t/web", wait_s=0)
        host.until("it crash-loops", lambda: host.row("web")["state"] == "crash-looping")
        row = host.row("web")
        assert "exited with code 3, " in row["because"]
        assert row["last_lines"][-1] == "no route to the database"
        assert "no route to the database" in row["because"]
        assert row["last_lines"][-2].startswith("token ")
        told = subprocess.run([STEAD, "why", "web", "--root", str(root.path)], capture_output=True, text=True, check=True).stdout
        assert "no route to the database" in told
        assert "hunter2" not in f"{row}{told}{host.log()}"
        logs = [STEAD, "svc", "logs", "web", "--failed", "--root", str(root.path)]
        lines = subprocess.run(logs, capture_output=True, text=True, check=True).stdout.splitlines()
        assert lines[0].endswith(f"# {WEB}: the process exited with code 3")
        assert [line.partition(" ")[2] for line in lines[1:]] == [
            "token hunter2-the-secret",
            "no route to the database",
        ]  # as run.log has it


def test_a_killed_supervisor_leaves_the_service_alone_and_finds_it_again(root: Root) -> None:
    """kill -9 of the supervisor: the same process, known again, still ready; and nothing starts twice."""
    lay_package(root, WEB)
    with supervised(root) as host:
        pid = host.load("t/web")["pid"]
        for _ in range(2):
            host.kill_supervisor()
            host.until_state("web", "ready")
            assert host.row("web")["pid"] == pid
        assert "was found running" in str(host.row("web")["why"])
        assert host.notes("web") == ["start first"]
        host.ask("stop", name="web")
        assert not alive(pid)


def test_a_killed_holder_leaves_the_service_to_the_next_one(root: Root) -> None:
    """kill -9 of the holder: the service runs on, and the next `sup run` takes it over."""
    lay_package(root, WEB)
    with supervised(root) as host:
        pid = host.load("t/web")["pid"]
        host.process.kill()
        host.process.wait()
    assert alive(pid)
    with supervised(root) as host:
        host.until_listed("web", "ready")
        assert host.row("web")["pid"] == pid
        assert host.notes("web") == ["start first"]
    assert not alive(pid)


def test_a_process_whose_package_cannot_be_read_is_left_alone(root: Root) -> None:
    """It is taken over when the package is back."""
    lay_package(root, WEB)
    with supervised(root) as host:
        pid = host.load("t/web")["pid"]
        package = root.package(Ident.parse(WEB))
        package.rename(package.with_name("hidden"))
        host.kill_supervisor()
        host.until("it says so", lambda: "is left alone" in host.row("web")["because"])
        assert alive(pid)
        package.with_name("hidden").rename(package)
        assert host.until_listed("web", "ready")["pid"] == pid


def test_what_changed_while_the_supervisor_was_dead_is_done(root: Root) -> None:
    """A service that died meanwhile is started, and configuration that changed meanwhile is applied."""
    lay_package(root, WEB, files={"hooks/reconfigure": RECONFIGURE})
    lay_package(root, "t/api/1.0/20260101000000")
    with supervised(root) as host:
        web, api = host.load("t/web")["pid"], host.load("t/api")["pid"]
        supervisor = host.ask("sup status")["pid"]
        os.kill(supervisor, signal.SIGSTOP)
        os.kill(api, signal.SIGKILL)
        user = root.user_config("web")
        user.parent.mkdir(parents=True)
        user.write_text('word = "meanwhile"\n')
        host.kill_supervisor(supervisor)
        host.until("api runs again", lambda: host.row("api")["state"] == "ready" and host.row("api")["pid"] != api)
        host.until("web has the configuration", lambda: host.notes("web") == ["start first", "hup meanwhile"])
        assert host.row("web")["pid"] == web


def test_a_stubborn_process_is_killed_and_post_stop_comes_after(root: Root) -> None:
    """W3: post-stop runs when the process is really gone."""
    post_stop = '#!/bin/sh\nkill -0 "$(cat {{pkg.svc_data_path}}/up)" 2>/dev/null && echo alive || echo gone\n'
    lay_package(root, WEB, files={"hooks/post-stop": post_stop}, metafiles={"SHUTDOWN_TIMEOUT": "1\n"})
    (root.path / "user/web/config").mkdir(parents=True)
    root.user_config("web").write_text("stubborn = true\n")
    with supervised(root) as host:
        pid = host.load("t/web")["pid"]
        row = host.ask("stop", name="web")
        assert row["state"] == "down"
        assert not alive(pid)
        assert "SIGKILL" in row["because"]
        assert (root.service("web") / "logs" / "post-stop.log").read_text().splitlines()[0].endswith("Z gone")


def test_a_hook_that_hangs_is_killed_and_blocks_nobody(root: Root) -> None:
    """W11: while one service's hook hangs, another one is loaded, and stopping kills the hook's whole group."""
    hang = "#!/bin/sh\nsleep 1000 &\necho $! > {{pkg.svc_data_path}}/sleeper\nwait\n"
    lay_package(root, WEB, files={"hooks/init": hang})
    lay_package(root, "t/api/1.0/20260101000000")
    with supervised(root) as host:
        assert host.load("t/web", wait_s=0)["state"] in ("waiting", "initializing")
        host.until("the hook runs", (root.service("web") / "data" / "sleeper").exists)
        assert host.load("t/api")["state"] == "ready"
        assert host.row("web")["state"] == "initializing"
        sleeper = int((root.service("web") / "data" / "sleeper").read_text())
        assert host.ask("stop", name="web")["state"] == "down"
        host.until("the hook's child is gone", lambda: not alive(sleeper))


def test_a_failing_init_hook_is_shown_and_tried_again(root: Root) -> None:
    once = "#!/bin/sh\ncd {{pkg.svc_data_path}}\ntest -e tried && exit 0\ntouch tried\necho no database yet >&2\nexit 3\n"
    lay_package(root, WEB, files={"hooks/init": once})
    with supervised(root) as host:
        row = host.load("t/web")
        assert any("the init hook exited with code 3: no database yet" in line["because"] for line in row["why"])
        assert row["hooks"]["init"] == "exited with code 0"


def test_config_with_a_reconfigure_hook_keeps_the_process_and_without_restarts_it(root: Root) -> None:
    """Reference 4.3; the command answers when the service acts on it."""
    lay_package(root, WEB, files={"hooks/reconfigure": RECONFIGURE})
    lay_package(root, "t/api/1.0/20260101000000")
    with supervised(root) as host:
        web, api = host.load("t/web")["pid"], host.load("t/api")["pid"]
        assert host.apply("web.default", 1, 'word = "second"\n')["effects"][0]["effect"] == "reconfigure"
        host.until("it was told", lambda: host.notes("web") == ["start first", "hup second"])
        assert host.row("web")["pid"] == web
        assert host.apply("api.default", 1, 'word = "second"\n')["effects"][0]["effect"] == "restart"
        assert host.notes("api") == ["start first", "term", "start second"]
        assert host.row("api")["pid"] != api
        again = host.apply("api.default", 2, 'word = "second"\n')
        assert again["effects"][0]["effect"] == "nothing"


SCHEMA = """{"type": "object", "properties": {
  "word": {"type": "string", "maxLength": 8}, "crash": {"type": "boolean"}, "stubborn": {"type": "boolean"},
  "python": {"type": "string"}, "password": {"type": "string", "secret": true}, "optional": {"type": "string"}}}"""


def test_bad_configuration_is_refused_and_nothing_changes(root: Root) -> None:
    """Not TOML, too large, not in the schema, an old version, a template that fails: the process goes on, the version stays."""
    template = config(', "extra": {{#if (lookup cfg "optional")}}"{{cfg.optional}}{{cfg.missing}}"{{else}}1{{/if}}')
    lay_package(root, WEB, files={"config.schema.json": SCHEMA, "config/service.json": template})
    with supervised(root) as host:
        pid = host.load("t/web")["pid"]
        host.apply("web.default", 5, 'word = "ok"\n')
        pid = host.row("web")["pid"]
        for text, error, named in [
            ("word = ", FormatError, "line 1"),
            ('wrod = "x"\n', ConfigError, "word"),
            ('word = "much too long"\n', ConfigError, "word"),
            ('optional = "x"\n', TemplateError, "missing"),
            ("more = {deep = [1.0, nan]}\n", ConfigError, "more.deep.1"),
        ]:
            with pytest.raises(error) as caught:
                host.apply("web.default", 6, text)
            assert named.lower() in f"{caught.value} {caught.value.next}".lower()
        with pytest.raises(ConflictError, match="is not newer than version 5"):
            host.apply("web.default", 5, 'word = "no"\n')
        shown = host.ask("config show", target="web.default")
        assert (shown["version"], shown["config"]["word"]) == (5, "ok")
        assert (host.row("web")["pid"], host.row("web")["degraded"]) == (pid, None)


def test_config_show_names_each_layer_and_hides_secrets(root: Root) -> None:
    lay_package(root, WEB, files={"config.schema.json": SCHEMA})
    root.user_config("web").parent.mkdir(parents=True)
    root.user_config("web").write_text('password = "hunter2"\n')
    with supervised(root, env={"HAB_WEB": "stubborn = true"}) as host:
        host.apply("web.default", 1, 'word = "early"\n')
        host.load("t/web")
        shown = host.ask("config show", target="web")
        assert shown["origins"]["word"] == "version 1 of web.default"
        assert shown["origins"]["stubborn"] == "environment"
        assert shown["origins"]["crash"] == "package"
        assert shown["origins"]["password"].endswith("user.toml")
        assert "hunter2" not in str(shown)
        assert host.ask("config show", target="t/web", reveal=True)["config"]["password"] == "hunter2"
        dry = host.apply("web.default", 2, 'word = "x"\npassword = "other"\n', dry_run=True)
        assert {change["key"] for change in dry["effects"][0]["changed"]} == {"word", "password"}
        assert "other" not in str(dry)
        assert host.ask("config show", target="web")["version"] == 1


def test_a_bind_is_waited_for_and_its_producers_restart_restarts_nobody(root: Root) -> None:
    template = config(', "redis": "{{bind.redis.first.cfg.word}}"')
    lay_package(root, WEB, files={"config/service.json": template}, metafiles={"BINDS": "redis=word\n"})
    lay_package(root, "t/redis/1.0/20260101000000", metafiles={"EXPORTS": "word=word\n"})
    with supervised(root) as host:
        with pytest.raises(ConfigError, match="needs the bind redis"):
            host.load("t/web")
        host.load("t/web", wait_s=0, binds=["redis:redis.default"])
        host.until("it waits", lambda: "nobody runs redis.default" in host.row("web")["because"])
        redis = host.load("t/redis")["pid"]
        web = host.until_state("web", "ready")["pid"]
        os.kill(redis, signal.SIGKILL)
        host.until("redis is back", lambda: host.row("redis")["state"] == "ready" and host.row("redis")["pid"] != redis)
        host.until("web is whole again", lambda: host.row("web")["degraded"] is None)
        assert host.row("web")["pid"] == web
        host.apply("redis.default", 1, 'word = "moved"\n')
        host.until("web has what redis exports now", lambda: host.row("web")["pid"] != web and host.row("web")["state"] == "ready")
        assert '"redis": "moved"' in (root.service("web") / "config" / "service.json").read_text()
        host.ask("stop", name="redis")
        host.until("web says what it lost", lambda: "redis.default" in (host.row("web")["degraded"] or ""))
        assert host.row("web")["state"] == "ready"


def test_specs_edited_by_hand_are_the_desired_state(root: Root) -> None:
    """Written, broken, mended, removed with an editor; a broken file is reported and changes nothing."""
    lay_package(root, WEB)
    with supervised(root) as host:
        specs = root.sup / "specs"
        specs.mkdir(exist_ok=True)
        (specs / "web.spec").write_text('ident = "t/web"\n')
        pid = host.until_listed("web", "ready")["pid"]
        (specs / "web.spec").write_text('ident = "t/we')
        host.until("it is reported", lambda: "spec file is ignored" in host.row("web")["because"])
        assert host.row("web")["pid"] == pid
        (specs / "web.spec").write_text('ident = "t/web"\nchannel = "dev"\n')
        host.until("it is taken", lambda: host.row("web")["channel"] == "dev")
        assert host.row("web")["pid"] == pid
        (specs / "web.spec").unlink()
        host.until("it is gone", lambda: host.ask("status") == [])
        assert not alive(pid)


def test_a_service_that_never_gets_up_says_why_and_the_command_fails(root: Root) -> None:
    lay_package(root, WEB)
    root.user_config("web").parent.mkdir(parents=True)
    root.user_config("web").write_text("crash = true\n")
    with supervised(root) as host:
        with pytest.raises(ServiceError, match="exited with code 7") as caught:
            host.load("t/web")
        assert caught.value.next == "stead svc logs web"
        assert (root.sup / "specs" / "web.spec").exists(), "W8: a failure never deletes a spec"


def test_services_inherit_no_secrets(root: Root) -> None:
    """W31: neither the process nor its hooks see the supervisor's environment."""
    lay_package(
        root,
        WEB,
        files={
            "hooks/init": "#!/bin/sh\nenv > {{pkg.svc_data_path}}/init-env\n",
            "hooks/run": "#!/bin/sh\nenv > {{pkg.svc_data_path}}/run-env\nexec sleep 1000\n",
            "service.toml": "",
        },
    )
    secrets = {"STEAD_TOKEN": "canary-1", "HAB_AUTH_TOKEN": "canary-2", "AWS_SECRET_ACCESS_KEY": "canary-3", "LC_ALL": "C"}
    with supervised(root, env=secrets) as host:
        host.load("t/web")
        for name in ("init-env", "run-env"):
            seen = (root.service("web") / "data" / name).read_text()
            assert "canary" not in seen
            assert "LC_ALL=C" in seen


def test_term_stops_everything_consumers_first(root: Root) -> None:
    lay_package(root, WEB, metafiles={"BINDS": "redis=word\n"})
    lay_package(root, "t/redis/1.0/20260101000000", metafiles={"EXPORTS": "word=word\n"})
    with supervised(root) as host:
        pids = [host.load("t/redis")["pid"], host.load("t/web", binds=["redis:redis.default"])["pid"]]
        assert host.ask("term") == {"stopped": ["redis", "web"]}
        assert host.process.wait(timeout=30) == 0
        assert not any(alive(pid) for pid in pids)
        log = host.log()
        assert log.index("web: down") < log.index("redis: stopping")
    with supervised(root) as host:  # the specs still say up
        host.until_state("web", "ready")


def test_the_service_is_run_as_its_user_when_that_is_possible() -> None:
    """With the capabilities: the package's user, and its directories are that user's. Without: our own user."""
    with TemporaryDirectory() as directory:
        root = Root(Path(directory))
        root.path.chmod(0o755)
        privileged = may_switch()
        user = "nobody" if privileged else "no-such-user"
        who = "#!/bin/sh\nid -un > {{pkg.svc_data_path}}/who\n"
        default = DEFAULT.replace(sys.executable, shutil.which("python3", path="/usr/bin:/bin") or sys.executable)
        files = {"hooks/init": who, "default.toml": default}
        lay_package(root, WEB, metafiles={"SVC_USER": user, "SVC_GROUP": "nogroup" if privileged else user}, files=files)
        with supervised(root) as host:
            host.load("t/web")
            expected = "nobody" if privileged else own_account().user
            assert (root.service("web") / "data" / "who").read_text().strip() == expected
            status = Path(f"/proc/{host.row('web')['pid']}/status").read_text()
            uid = int(re.search(r"^Uid:\s+(\d+)", status, re.MULTILINE)[1])  # type: ignore[index]
            assert pwd.getpwuid(uid).pw_name == expected
            assert (root.service("web") / "config").stat().st_uid == uid


def test_a_spec_that_is_broken_while_the_supervisor_dies_changes_nothing(root: Root) -> None:
    """What was wanted before is still wanted: of a process that runs, of one that died meanwhile, and of one that was down."""
    for name in ("web", "api", "db"):
        lay_package(root, f"t/{name}/1.0/20260101000000")
    with supervised(root) as host:
        web, api = host.load("t/web", group="blue")["pid"], host.load("t/api")["pid"]
        host.load("t/db")
        host.ask("stop", name="db")
        supervisor = host.ask("sup status")["pid"]
        os.kill(supervisor, signal.SIGSTOP)
        for name in ("web", "api", "db"):
            (root.sup / "specs" / f"{name}.spec").write_text('ident = "t/')
        os.kill(api, signal.SIGKILL)
        host.kill_supervisor(supervisor)
        host.until("api runs again", lambda: host.row("api")["state"] == "ready" and host.row("api")["pid"] != api)
        assert (host.until_state("web", "ready")["pid"], host.row("web")["group"]) == (web, "web.blue")
        assert "its spec file is ignored" in host.row("web")["because"]
        assert host.row("db")["state"] == "down"
        (root.sup / "specs" / "web.spec").write_text('ident = "t/web"\ngroup = "blue"\nchannel = "dev"\n')
        host.until("it is mended", lambda: host.row("web")["channel"] == "dev")
        assert host.row("web")["pid"] == web


@pytest.mark.parametrize("command", ["stop", "unload"])
def test_what_cannot_be_taken_over_can_still_be_stopped(root: Root, command: str) -> None:
    """`down` is only said of a process that is gone."""
    lay_package(root, WEB)
    with supervised(root) as host:
        pid = host.load("t/web")["pid"]
        (root.sup / "running" / "web.toml").write_text("broken")
        host.kill_supervisor()
        host.until("it says so", lambda: "is left alone" in host.row("web")["because"])
        assert (host.row("web")["pid"], alive(pid)) == (pid, True)
        assert host.ask(command, name="web")["state"] == "down"
        assert not alive(pid)
        assert host.notes("web") == ["start first", "term"]
        assert host.load("t/web", force=True)["state"] == "ready"


def test_a_service_that_puts_a_directory_where_its_pid_was_stops_nobody_else(root: Root) -> None:
    """The service directory may belong to the service's user when nobody is switched."""
    lay_package(root, WEB)
    with supervised(root) as host:
        pid, supervisor = host.load("t/web")["pid"], host.ask("sup status")["pid"]
        (root.service("web") / "PID").unlink()
        (root.service("web") / "PID").mkdir()
        os.kill(pid, signal.SIGKILL)
        host.until("it was started again", lambda: host.row("web")["restarts"] > 0)
        assert host.ask("sup status")["pid"] == supervisor
        (root.service("web") / "PID").rmdir()


def test_better_configuration_ends_the_wait_of_a_service_that_crashes(root: Root) -> None:
    """What made it fail is named, and its cure is tried at once, not after the wait."""
    lay_package(root, WEB)
    with supervised(root, "--service-min-backoff-period=1000", "--service-max-backoff-period=1000") as host:
        host.load("t/web")
        with pytest.raises(ServiceError, match=r"failed on .* because it is backoff: the process exited with code 7"):
            host.apply("web.default", 1, "crash = true\n")
        assert host.apply("web.default", 2, "crash = false\n")["effects"][0]["effect"] == "restart"
        assert host.row("web")["state"] == "ready"
