"""The install hook, a package's own last step of being installed, and the uninstall hook, its first of being removed (reference:
supervisor 3, packages 5.4 step 6 and 5.5).

Rules: the install hook runs once until it has succeeded, the uninstall hook when the last release of its name goes, with each try. Their
exit codes stand in INSTALL_HOOK_STATUS and UNINSTALL_HOOK_STATUS inside the package. They see `pkg` and `cfg` only (default < environment <
user file: there is no ring here). `config_install/` is rendered before them. They run in their own process group, as the service's user
where we may switch, without standard input, with a deadline and a cap on what they write; the whole group is killed at the deadline.
Habitat has neither deadline nor cap. Who runs them is decided in `hart/account.py`, which packages come when in `depot/fetch.py`, which
go in `hart/sweep.py`.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from hart.account import Account, account_of, clean_environment
from hart.errors import ConfigError, LimitError, ServiceError, SteadError
from hart.files import storage, write_atomic
from hart.limits import CHUNK, HOOK_SOURCE_MAX, INSTALL_HOOK_OUTPUT_MAX, INSTALL_HOOK_S
from hart.placed import Placed, pkg_view
from hart.servicedir import make_directories, put

if TYPE_CHECKING:
    from hart.ident import Ident
    from hart.installed import InstalledPackage, InstalledTree

OUR_OWN = frozenset({"STEAD_TOKEN", "HAB_AUTH_TOKEN", "STEAD_PROXY"})  # secrets, no configuration of a package called `token`
PROXIES = frozenset({"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"})  # install hooks may fetch things


@dataclass(frozen=True, slots=True, kw_only=True)
class HookRun:
    """How one run ended. `code` None: killed at the deadline; negative: ended by that signal. `dropped` bytes were over the log's cap."""

    code: int | None
    stdout: Path
    stderr: Path
    dropped: int


def run_pending_hooks(package: InstalledPackage, tree: InstalledTree, *, environ: Mapping[str, str], switch: bool) -> list[Ident]:
    """Run what has not succeeded yet among a package and all that it needs, deepest first; returns whose hooks ran. Blocking."""
    from hart.installed import install_hooks_due

    ran = []
    for each in reversed(tree.closure(package)):
        if install_hooks_due(each):
            run_install_hook(each, tree, environ=environ, switch=switch)
            ran.append(each.ident)
    return ran


def run_install_hook(
    package: InstalledPackage, tree: InstalledTree, *, environ: Mapping[str, str], switch: bool, timeout_s: float = INSTALL_HOOK_S
) -> HookRun:
    """Render and run it (blocking), store its status; `switch`: as the package's user.

    ServiceError: it failed. ConfigError, TemplateError: it cannot be rendered.
    """
    run = _run_hook("install", package, tree, environ=environ, switch=switch, timeout_s=timeout_s)
    if run.code != 0:
        raise ServiceError(
            f"install hook of {package.ident}",
            _how_it_failed(run, timeout_s),
            next=f"see {run.stderr} and {run.stdout}; the package is installed, and the hook runs again with the next install",
            code=run.code,
        )
    return run


def run_uninstall_hook(
    package: InstalledPackage, tree: InstalledTree, *, environ: Mapping[str, str], switch: bool, timeout_s: float = INSTALL_HOOK_S
) -> HookRun | None:
    """As the install hook, before the files go; None when the package has none. ServiceError: it failed or cannot be run, so that the
    package has to stay: what its install hook did outside of it could never be undone without its files."""
    if not (package.path / "hooks/uninstall").is_file():
        return None
    thing, ignore = f"uninstall hook of {package.ident}", "remove the package without it by --ignore-uninstall-hook"
    try:
        run = _run_hook("uninstall", package, tree, environ=environ, switch=switch, timeout_s=timeout_s)
    except SteadError as error:
        raise ServiceError(thing, f"cannot be run: {error.thing}: {error.cause}", next=error.next or ignore) from error
    if run.code != 0:
        cause = f"{_how_it_failed(run, timeout_s)}, so the package stays"
        raise ServiceError(thing, cause, next=f"see {run.stderr} and {run.stdout}; try again, or {ignore}", code=run.code)
    return run


def _run_hook(
    hook: str, package: InstalledPackage, tree: InstalledTree, *, environ: Mapping[str, str], switch: bool, timeout_s: float
) -> HookRun:
    from hart.config import environment_layer, merge
    from hart.toml import loads

    root, meta = tree.root, package.metadata
    name = meta.ident.name
    user_file = root.user_config(name)
    layers: list[Mapping[str, Any]] = [loads(meta.default_config, thing=f"default.toml of {package.ident}")]
    layers.append(environment_layer(name, {key: value for key, value in environ.items() if key not in OUR_OWN}))
    if user_file.is_file():
        layers.append(loads(user_file.read_bytes(), thing=str(user_file)))
    account = account_of(meta.svc_user, meta.svc_group, switch=switch)
    inherited = clean_environment(environ, account, also=PROXIES)
    environment = tree.environment(package, inherited)
    own = {key: value for key, value in environment.items() if inherited.get(key) != value}
    service = root.service(name)
    placed = Placed(metadata=meta, path=package.path, svc_path=service, user=account.user, group=account.group, env=own)
    context = {"pkg": pkg_view(placed), "cfg": merge(*layers)}
    make_directories(service, account)
    put(service, _rendered(hook, package.path, context, strict=meta.strict_templates), account, before=())
    run = _run(hook, service, environment, account, timeout_s)
    status = run.code if run.code is not None else 128 + signal.SIGKILL
    write_atomic(package.path / f"{hook.upper()}_HOOK_STATUS", b"%d\n" % status)
    return run


def _how_it_failed(run: HookRun, timeout_s: float) -> str:
    if run.code is None:
        return f"was killed after {timeout_s:g} s"
    if run.code < 0:
        return f"was ended by {signal.Signals(-run.code).name}"
    return f"failed with exit code {run.code}"


def _rendered(hook: str, package: Path, context: Mapping[str, Any], *, strict: bool) -> dict[str, bytes]:
    """The hook and every file below config_install, by their place below the service's directory; links are not followed."""
    place = f"hooks/{hook}"
    found = {place: _render(package / place, context, strict=strict, hook=True)}
    for path in sorted((package / "config_install").rglob("*")):
        if path.is_file() and not path.is_symlink():
            found[str(path.relative_to(package))] = _render(path, context, strict=strict, hook=False)
    return found


def _render(source: Path, context: Mapping[str, Any], *, strict: bool, hook: bool) -> bytes:
    from hart.template.engine import compile_template

    with storage(source), source.open("rb") as file:
        raw = file.read(HOOK_SOURCE_MAX + 1)
    if len(raw) > HOOK_SOURCE_MAX:
        raise LimitError(str(source), f"is larger than {HOOK_SOURCE_MAX} bytes")
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(
            str(source), "is not UTF-8 text", next="ship binary files with the package's content, not as templates"
        ) from error
    return compile_template(text, name=str(source), strict=strict, hook=hook).render(context).encode()


def _run(hook: str, service: Path, environment: Mapping[str, str], account: Account, timeout_s: float) -> HookRun:
    """Run a rendered hook to its end or its deadline."""
    logs = {name: service / "logs" / f"{hook}.{name}.log" for name in ("stdout", "stderr")}
    try:
        process = subprocess.Popen(
            [str(service / "hooks" / hook)],
            cwd=service,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            **account.switches(),
        )
    except OSError as error:
        raise ServiceError(
            f"{hook} hook {service / 'hooks' / hook}",
            f"cannot be started: {error.strerror}",
            next="check its first line (`#!`) and that its interpreter is installed",
        ) from error
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr, logs["stdout"].open("wb") as out, logs["stderr"].open("wb") as err:
        dropped = _collect(process, {process.stdout: out, process.stderr: err}, timeout_s)
    return HookRun(
        code=process.returncode if dropped is not None else None, stdout=logs["stdout"], stderr=logs["stderr"], dropped=dropped or 0
    )


def _collect(process: subprocess.Popen[bytes], pipes: Mapping[IO[bytes], IO[bytes]], timeout_s: float) -> int | None:
    """Copy both pipes to their logs until the hook has ended; returns the bytes over the caps, None when the deadline passed first.

    A grandchild may keep a pipe open after the hook has ended: what the hook left behind is killed with its group, as at the deadline.
    """
    deadline = time.monotonic() + timeout_s
    written = dict.fromkeys(pipes, 0)
    dropped = 0
    in_time = False
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_READ)
        pidfd = os.pidfd_open(process.pid)
        try:
            selector.register(pidfd, selectors.EVENT_READ)
            ended = False
            while not ended and (left := deadline - time.monotonic()) > 0:
                ready = [key.fileobj for key, _ in selector.select(left)]
                ended = pidfd in ready
                if ended:
                    _kill_group(process.pid)  # before the last read, so that nobody writes on while we empty the pipes
                for pipe in [pipe for pipe in pipes if pipe in ready or ended]:
                    while block := _read(pipe):
                        kept = block[: INSTALL_HOOK_OUTPUT_MAX - written[pipe]]
                        pipes[pipe].write(kept)
                        written[pipe] += len(kept)
                        dropped += len(block) - len(kept)
                        if time.monotonic() > deadline:
                            break
                    if block == b"" and not ended:
                        selector.unregister(pipe)
            in_time = ended
        finally:
            os.close(pidfd)
            _kill_group(process.pid)
            process.wait()
    return dropped if in_time else None


def _read(pipe: IO[bytes]) -> bytes | None:
    """What is there now; empty at the end, None when nothing waits."""
    try:
        return os.read(pipe.fileno(), CHUNK)
    except BlockingIOError:
        return None


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
