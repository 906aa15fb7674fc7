"""Install hooks: what their templates see, who runs them, and what they cannot do to us."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from depot.install_hook import run_install_hook
from hart.errors import ConfigError, InputError, ServiceError, StorageError
from hart.installed import InstalledPackage, InstalledTree
from hart.limits import INSTALL_HOOK_OUTPUT_MAX
from hart.root import Root
from tests.depot.simulator import ident, key_of, make_package

APP = ident("acme/app")
CLEAN = {"PATH": "/usr/bin:/bin"}


class Place:
    """A root with one installed package, made for each test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.root = Root(directory / "root")
        self.tree = InstalledTree(self.root)

    def install(self, hook: str, *, name: str = "acme/app", **more: Any) -> InstalledPackage:
        files = {"hooks/install": hook.encode()} | more.pop("files", {})
        path = make_package(self.directory, name, files=files, **more)
        return self.tree.install(path, lambda name: key_of(name.name, name.revision).public)

    def log(self, stream: str) -> bytes:
        return (self.root.service("app") / f"logs/install.{stream}.log").read_bytes()

    def status(self, package: InstalledPackage) -> str:
        return (package.path / "INSTALL_HOOK_STATUS").read_text().strip()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_template_sees_the_package_and_its_configuration_only(place: Place) -> None:
    """Supervisor 4.5: `pkg` and `cfg`; no `sys`, no `svc`, no `bind`."""
    package = place.install("#!/bin/sh\necho '{{cfg.a}}' '{{sys.ip}}{{svc.service}}{{bind.x}}' {{pkg.ident}}\n", default_config="a = 1\n")
    run_install_hook(package, place.tree, switch=False, environ=CLEAN)
    assert place.log("stdout") == f"1  {APP}\n".encode()


def test_a_hook_sees_files_of_config_install_rendered(place: Place) -> None:
    """config_install/ is rendered before the hook runs, with the user's configuration on top."""
    user = place.root.user_config("app")
    user.parent.mkdir(parents=True)
    user.write_text('name = "user"\n')
    package = place.install(
        "#!/bin/sh\ncat {{pkg.svc_config_install_path}}/etc/a.conf\n",
        files={"config_install/etc/a.conf": b"name={{cfg.name}} port={{cfg.port}}\n"},
        default_config='name = "default"\nport = 1\n',
    )
    run = run_install_hook(package, place.tree, switch=False, environ=CLEAN)
    assert (run.code, place.log("stdout")) == (0, b"name=user port=1\n")


def test_a_link_of_the_services_user_leads_our_writing_nowhere(place: Place) -> None:
    """config_install/ belongs to the service's user, who must not make an installing root write elsewhere."""
    canary = place.directory / "shadow"
    canary.write_text("untouched")
    theirs = place.root.service("app") / "config_install"
    theirs.mkdir(parents=True)
    (theirs / "a.conf").symlink_to(canary)
    (theirs / "sub").symlink_to(place.directory)
    evil = {"config_install/a.conf": b"evil\n", "config_install/sub/shadow": b"evil\n"}
    package = place.install("#!/bin/sh\necho ran\n", files=evil)
    with pytest.raises(StorageError):
        run_install_hook(package, place.tree, switch=False, environ=CLEAN)
    assert canary.read_text() == "untouched"
    assert (theirs / "a.conf").read_bytes() == b"evil\n"


def test_a_value_from_the_configuration_is_no_command(place: Place) -> None:
    """S56: `sh` quotes."""
    package = place.install("#!/bin/sh\necho {{sh cfg.word}}\n", default_config='word = "$(touch /tmp/x); `id`"\n', strict_templates=True)
    run_install_hook(package, place.tree, switch=False, environ=CLEAN)
    assert place.log("stdout") == b"$(touch /tmp/x); `id`\n"


def test_a_hook_gets_neither_our_token_nor_our_input(place: Place) -> None:
    """S63: what whoever installs has in the environment is no package's business, except a few names."""
    package = place.install("#!/bin/sh\nenv\ncat\n")
    run_install_hook(
        package, place.tree, switch=False, environ=CLEAN | {"STEAD_TOKEN": "canary", "AWS_SECRET": "canary", "https_proxy": "seen"}
    )
    assert b"canary" not in place.log("stdout")
    assert b"https_proxy=seen" in place.log("stdout")


def test_a_package_called_token_does_not_get_our_token(place: Place) -> None:
    """STEAD_TOKEN would be its configuration by name."""
    package = place.install("#!/bin/sh\necho {{cfg.secret}}\n", name="acme/token")
    run_install_hook(package, place.tree, switch=False, environ=CLEAN | {"STEAD_TOKEN": 'secret = "canary"'})
    assert (place.root.service("token") / "logs/install.stdout.log").read_bytes() == b"\n"


def test_a_hook_that_hangs_is_killed_with_its_children(place: Place) -> None:
    """S53: at the deadline the whole group ends; the status says that it did not succeed."""
    package = place.install(f"#!/bin/sh\nsleep 1000 & echo $! > {place.directory}/child\nsleep 1000\n")
    with pytest.raises(ServiceError, match="killed after"):
        run_install_hook(package, place.tree, switch=False, environ=CLEAN, timeout_s=0.5)
    assert place.status(package) == "137"
    child = int((place.directory / "child").read_text())
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] in "ZX"


def test_a_hook_that_floods_fills_no_disk(place: Place) -> None:
    """S53: each log has a cap; the hook itself goes on and ends well."""
    package = place.install(f"#!/bin/sh\nhead -c {3 * INSTALL_HOOK_OUTPUT_MAX} /dev/zero\nhead -c 10 /dev/zero >&2\n")
    run = run_install_hook(package, place.tree, switch=False, environ=CLEAN)
    assert (run.code, run.dropped) == (0, 2 * INSTALL_HOOK_OUTPUT_MAX)
    assert (len(place.log("stdout")), len(place.log("stderr"))) == (INSTALL_HOOK_OUTPUT_MAX, 10)


def test_a_hook_that_leaves_a_child_with_our_pipe_does_not_hold_us(place: Place) -> None:
    """The hook has ended: what it left in its group ends too."""
    package = place.install("#!/bin/sh\necho done\nsleep 1000 &\n")
    assert run_install_hook(package, place.tree, switch=False, environ=CLEAN, timeout_s=30).code == 0
    assert place.log("stdout") == b"done\n"


def test_a_hook_that_dies_by_a_signal_says_so(place: Place) -> None:
    """Not as an exit code."""
    package = place.install("#!/bin/sh\nkill -TERM $$\n")
    with pytest.raises(ServiceError, match="SIGTERM") as caught:
        run_install_hook(package, place.tree, switch=False, environ=CLEAN)
    assert caught.value.data["code"] == -signal.SIGTERM


def test_a_hook_without_interpreter_is_a_service_error(place: Place) -> None:
    """The first line names a program that is not there."""
    package = place.install("#!/no/such/program\n")
    with pytest.raises(ServiceError, match="cannot be started"):
        run_install_hook(package, place.tree, switch=False, environ=CLEAN)


def test_a_hook_that_cannot_be_rendered_does_not_run(place: Place) -> None:
    """Undefined value in a strict package; text that is not UTF-8; configuration that is no TOML."""
    strict = place.install(f"#!/bin/sh\ntouch {place.directory}/ran {{{{cfg.nothing}}}}\n", strict_templates=True)
    with pytest.raises(InputError):
        run_install_hook(strict, place.tree, switch=False, environ=CLEAN)
    (strict.path / "hooks/install").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        run_install_hook(strict, place.tree, switch=False, environ=CLEAN)
    user = place.root.user_config("app")
    user.parent.mkdir(parents=True)
    user.write_text("= broken")
    with pytest.raises(InputError):
        run_install_hook(strict, place.tree, switch=False, environ=CLEAN)
    assert not (place.directory / "ran").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may switch users")
def test_a_hook_runs_as_the_service_s_user(place: Place) -> None:
    """Owner of its directories, and nothing more."""
    for path in (place.directory, *place.directory.parents):
        if str(path).startswith("/tmp/pytest"):
            path.chmod(0o755)
    package = place.install("#!/bin/sh\nid -un\ntouch {{pkg.svc_data_path}}/mine\n", svc_user="nobody", svc_group="nogroup")
    run_install_hook(package, place.tree, switch=True, environ=CLEAN)
    assert place.log("stdout") == b"nobody\n"
    assert (place.root.service("app") / "data/mine").stat().st_uid != 0
