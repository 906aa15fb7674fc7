"""Building a plan.sh: one bash process runs the plan's callbacks, we answer its questions (reference: packages 4.3).

Rules: the bash side asks and waits, so output belongs to the callback that was begun last and has its own log; the real prefix exists
only from the install callback to the package question, and never with metafiles, so it never looks installed; it is moved away or
removed, whatever happens. Downloads go through our cache and guards; http is taken only with a pin.
"""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from builder import process
from builder.assemble import Artifact, assemble, write_files
from builder.builddir import remove
from builder.deps import Resolved
from builder.environment import HOST_PATH, build_environment, release_epoch, search_path
from builder.layering import layer
from builder.plan import Pin, Plan, Scheme, Source
from builder.plansh import SHA256, UNSET_VERSION, Variables, parse_variables, plan_of
from builder.process import Ended, Log
from builder.recipe import discard_prefix, failed, refuse_strays
from builder.session import Session
from builder.source.fetch import obtain
from builder.steps import log_name
from builder.unpack import merge, unpack
from hart.errors import BuildError, LimitError, NotFoundError, PlanError, SteadError
from hart.files import make_dirs, storage
from hart.ident import Ident
from hart.limits import PLAN_SH_EVAL_S, PLAN_SH_RECORD_MAX
from hart.root import Root

if TYPE_CHECKING:
    from builder.context import PlanPlace

LIBRARY = Path(__file__).parent / "lib" / "plan.bash"
SILENT = ("begin", "setup_environment", "before", "verify", "clean", "prepare", "build_config", "build_service", "after", "end")
FLAG_NAMES = ("CFLAGS", "CPPFLAGS", "CXXFLAGS", "LDFLAGS", "LD_RUN_PATH", "PKG_CONFIG_PATH")


class Talk:
    """The two pipes between us and bash; a Questions for `process.run`."""

    def __init__(self, handle: Callable[[str, Sequence[str]], str]) -> None:
        self.handle = handle
        self.fd, self.ask_end = os.pipe()
        self.answer_end, self.reply_fd = os.pipe()
        self.inherited = (self.ask_end, self.answer_end)
        self.buffer = bytearray()

    def close(self) -> None:
        for fd in (self.fd, self.ask_end, self.answer_end, self.reply_fd):
            os.close(fd)

    def answer(self) -> None:
        """Read one question, have it handled, write the answer."""
        fields = self.read_record()
        reply = self.handle(fields[0], fields[1:])
        with contextlib.suppress(BrokenPipeError):
            os.write(self.reply_fd, reply.replace("\n", " ").encode() + b"\n")

    def read_record(self) -> list[str]:
        """A count, a line break, and that many fields that end with NUL."""
        while True:
            head, found, rest = bytes(self.buffer).partition(b"\n")
            if found:
                if not head.isdigit() or len(head) > 6 or int(head) == 0:
                    raise BuildError("plan.sh", "its bash process broke the protocol", next="does the plan write to a descriptor of ours?")
                parts = rest.split(b"\0", int(head))
                if len(parts) > int(head):
                    self.buffer = bytearray(parts[-1])
                    return [part.decode("utf-8", "surrogateescape") for part in parts[:-1]]
            if len(self.buffer) > PLAN_SH_RECORD_MAX:
                raise LimitError("plan.sh", f"its variables have more than {PLAN_SH_RECORD_MAX} bytes")
            if not select.select([self.fd], [], [], PLAN_SH_EVAL_S)[0]:
                raise BuildError("plan.sh", "its bash process stopped in the middle of a question")
            data = os.read(self.fd, 65536)
            if not data:
                raise BuildError("plan.sh", "its bash process closed the channel to the build")
            self.buffer += data


@contextmanager
def talking(handle: Callable[[str, Sequence[str]], str]) -> Iterator[Talk]:
    talk = Talk(handle)
    try:
        yield talk
    finally:
        talk.close()


def evaluate(place: PlanPlace, *, origin: str | None, release: str, target: str, root: Root, environ: Mapping[str, str]) -> Variables:
    """Source a plan.sh (this runs its top-level code) and report its variables. PlanError when it fails."""
    import tempfile

    seen: list[Variables] = []

    def handle(verb: str, fields: Sequence[str]) -> str:
        assert verb == "loaded", verb
        seen.append(parse_variables(fields))
        return "stop"

    with tempfile.TemporaryDirectory(prefix="stead-plan-") as scratch, talking(handle) as talk:
        log = Log(Path(scratch) / "log")
        try:
            ended = process.run(
                command(talk, place, environ),
                cwd=place.directory,
                environ=base_environment(place, Path(scratch), origin=origin, release=release, target=target, root=root, environ=environ),
                log=log,
                deadline_s=PLAN_SH_EVAL_S,
                questions=talk,
            )
        finally:
            log.close()
        lines = process.tail(log.path)
    if not seen:
        shown = "".join(f"\n  | {line}" for line in lines)
        raise PlanError(str(place.file), f"could not be read: bash {ended.words}{shown}", next=f"bash -n {shlex.quote(str(place.file))}")
    return seen[0]


def command(talk: Talk, place: PlanPlace, environ: Mapping[str, str]) -> list[str]:
    bash = shutil.which("bash", path=environ.get("PATH") or HOST_PATH)
    if bash is None:
        raise NotFoundError("bash", "is not on PATH, and plan.sh is written for it", next="install bash 4.3 or newer")
    return [bash, "--noprofile", "--norc", str(LIBRARY), *map(str, talk.inherited), str(place.file)]


def base_environment(
    place: PlanPlace, work: Path, *, origin: str | None, release: str, target: str, root: Root, environ: Mapping[str, str]
) -> dict[str, str]:
    """What the bash process starts with: Habitat's names, nothing of the caller's but PATH and the documented switches."""
    switches = {name: environ[name] for name in ("DO_CHECK", "DEBUG") if environ.get(name)}
    return switches | {
        "PATH": environ.get("PATH") or HOST_PATH,
        "HOME": str(work / "home"),
        "TMPDIR": str(work / "tmp"),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "TERM": "dumb",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "SOURCE_DATE_EPOCH": str(release_epoch(release)),
        "PLAN_CONTEXT": str(place.directory),
        "STEAD_CONTEXT": str(place.context),
        "HAB_ROOT_PATH": str(root.path),
        "HAB_PKG_PATH": str(root.pkgs),
        "HAB_CACHE_SRC_PATH": str(work / "src"),
        "HAB_CACHE_ARTIFACT_PATH": str(root.artifacts),
        "pkg_release": release,
        "pkg_target": target,
        **({"HAB_ORIGIN": origin} if origin else {}),
    }


@dataclass(slots=True)
class ShellBuild:
    """The answers to one bash process. `session` is replaced as the plan reveals more of itself."""

    session: Session
    resolve: Callable[[Plan], Resolved]
    log: Log
    phase: str = "load"
    artifact: Artifact | None = None
    claimed: bool = False
    settings: Mapping[str, str] | None = None
    began_s: float = 0.0

    def write(self, data: bytes, /) -> None:
        """Output of bash, into the log of the callback that runs."""
        self.session.reporter.tee(self.log).write(data)

    def handle(self, verb: str, fields: Sequence[str]) -> str:
        match verb:
            case "loaded" | "done":
                if verb == "done":
                    self.finish(ok=True)
                return "ok"
            case "begin":
                self.finish(ok=True)
                self.begin(fields[0])
                return "ok"
            case "resolve":
                self.learn(fields)
                return self.answer_resolve()
            case "flags":
                self.learn(fields)
                return self.answer_flags()
            case "fetch":
                return self.answer_fetch(fields[0], Path(fields[1]), fields[2])
            case "unpack":
                path = Path(fields[0])
                count = unpack(path, Path(fields[1]), name=path.name, strip=0)
                self.write(f"{path.name}: {count} members\n".encode())
                return "ok"
            case "prefix":
                return self.answer_prefix(fields[0])
            case "config":
                lay_config(self.session, Path(fields[0]))
                return "ok"
            case "package":
                self.finish(ok=True)
                self.learn(fields)
                return self.answer_package()
            case _:
                raise BuildError("plan.sh", f"its bash process asked an unknown question: {verb!r}")

    def begin(self, phase: str) -> None:
        self.phase = phase
        self.log = Log(self.session.directory.logs / log_name(next(self.session.numbers), phase))
        self.began_s = time.monotonic()
        self.session.reporter.begin(phase)

    def finish(self, *, ok: bool) -> None:
        """Close the log of the callback that has run; one that said nothing leaves none, and no line."""
        if self.log.file.closed:
            return
        self.log.close()
        reporter = self.session.reporter
        silent = self.log.path.stat().st_size == 0
        if ok and silent:
            self.log.path.unlink()
        if ok and silent and self.phase in SILENT and time.monotonic() - self.began_s < 1 and not reporter.verbose:
            reporter.clear()
            reporter.step = ""
        elif reporter.step:
            reporter.end(ok=ok)

    def learn(self, fields: Sequence[str]) -> None:
        """Take over what the plan's variables are now."""
        session = self.session
        variables = parse_variables(fields)
        plan = plan_of(variables, has_run_hook="run" in session.folder.hooks, thing=str(session.place.file))
        origin = plan.origin or session.ident.origin
        self.settings = variables.map("_stead_hab_env")
        self.session = replace(session, plan=plan, ident=Ident(origin, plan.name, plan.version, session.ident.release))
        if (origin, plan.name) != (session.ident.origin, session.ident.name):
            raise BuildError(f"package {session.ident}", "changed its origin or name while it was built")

    def answer_resolve(self) -> str:
        plan = self.session.plan
        resolved = self.resolve(plan)
        self.session = session = replace(self.session, resolved=resolved)
        paths = {
            "pkg_build_deps_resolved": [package.path for package in resolved.build],
            "pkg_deps_resolved": [package.path for package in resolved.run],
            "pkg_build_tdeps_resolved": [package.path for package in resolved.build_closure],
            "pkg_tdeps_resolved": [package.path for package in resolved.run_closure],
            "pkg_all_deps_resolved": [package.path for package in (*resolved.build, *resolved.run)],
            "pkg_all_tdeps_resolved": [package.path for package in (*resolved.build_closure, *resolved.run_closure)],
        }
        lines = [f"{name}=({' '.join(shlex.quote(str(path)) for path in found)})" for name, found in paths.items()]
        handed_on = [package.metadata.runtime_environment for package in (*resolved.build, *resolved.run)]
        exported = layer(handed_on, {}, {}, self.settings or {})
        own = [session.places.prefix / entry for entry in plan.bin_dirs or ()]
        exported["PATH"] = search_path(own, resolved.shown(), session.environ.get("PATH") or HOST_PATH)
        return self.sourced("resolve", lines + [f"export {name}={shlex.quote(value)}" for name, value in exported.items()])

    def answer_flags(self) -> str:
        environ = self.flags()
        return self.sourced("flags", [f"export {name}={shlex.quote(environ[name])}" for name in FLAG_NAMES])

    def flags(self) -> dict[str, str]:
        session = self.session
        return build_environment(
            session.ident, session.target, session.places, session.resolved.shown(), host_path=session.environ.get("PATH"),
            jobs=session.jobs, lib_dirs=session.plan.lib_dirs or (),
        )  # fmt: skip

    def sourced(self, name: str, lines: Sequence[str]) -> str:
        path = self.session.directory.path / "steps" / f"{name}.sh"
        with storage(path):
            path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        return f"source {path}"

    def answer_fetch(self, url: str, destination: Path, sha256: str) -> str:
        pinned = SHA256.fullmatch(sha256) is not None
        pin = Pin(scheme=Scheme.URL, locator=url, sha256=sha256 if pinned else None, plain_http=pinned)
        try:
            obtained = obtain(Source(pins=(pin,)), self.session.around, lambda line: self.write(f"{line}\n".encode()))
        except PlanError as error:
            actual = error.data.get("sha256")
            hint = f"if you trust what was fetched just now, write: pkg_shasum={actual}" if actual else error.next
            raise PlanError(error.thing, error.cause, next=hint) from error
        make_dirs(destination.parent)
        with storage(destination):
            destination.unlink(missing_ok=True)
            shutil.copyfile(obtained.path, destination)
        return "ok"

    def answer_prefix(self, prefix: str) -> str:
        session = self.session
        if session.plan.version == UNSET_VERSION or prefix != str(session.places.prefix):
            raise BuildError(f"package {session.ident}", f"has its prefix at {prefix}, not at {session.places.prefix}")
        self.claimed = True
        return "ok"

    def answer_package(self) -> str:
        session = self.session
        tree, prefix = session.directory.path / "tree", session.places.prefix
        with session.step("package") as log:
            refuse_link(prefix, session.ident)
            with storage(tree):
                shutil.move(prefix, tree)
            if session.places.out.is_dir():
                refuse_strays(session)
                merge(session.places.out, tree, str(session.ident))
            environ = self.flags()
            made = session.made(tree, environ, strict=False, settings=self.settings or {})
            self.artifact = assemble(made, session.key, work=session.directory.path, results=session.results, say=log.line)
        return self.sourced("package", [f"pkg_artifact={shlex.quote(str(self.artifact.path))}"])


def refuse_link(prefix: Path, ident: Ident) -> None:
    """Through a link the package would be written to, and made of, a directory of somebody else's."""
    if prefix.is_symlink() or not prefix.is_dir():
        raise BuildError(f"package {ident}", "the plan left no directory where the package has to be", next=f"ls -ld {prefix}")


def lay_config(session: Session, prefix: Path) -> None:
    """The default do_build_config: hooks, templates and default.toml into the prefix."""
    folder = session.folder
    write_files(prefix, {f"hooks/{name}": data for name, data in folder.hooks.items()})
    write_files(prefix, {f"config/{name}": data for name, data in folder.config.items()})
    write_files(prefix, {f"config_install/{name}": data for name, data in folder.config_install.items()})
    if folder.default_toml is not None:
        write_files(prefix, {"default.toml": folder.default_toml.encode()})


def run(session: Session, resolve: Callable[[Plan], Resolved]) -> tuple[Ident, Artifact]:
    """All callbacks of a plan.sh; the ident (its version may have been computed) and the artifact."""
    session.reporter.note(f"building {session.ident} for {session.target}")
    work = ShellBuild(session, resolve, Log(session.directory.logs / log_name(next(session.numbers), "load")))
    work.began_s = time.monotonic()
    base = base_environment(
        session.place, session.directory.path, origin=session.ident.origin, release=str(session.ident.release), target=session.target,
        root=session.root, environ=session.environ,
    )  # fmt: skip
    places = session.places
    extra = {"destdir": str(places.destdir), "out": str(places.out), "jobs": str(session.jobs), "plan_dir": str(places.plan_dir)}
    try:
        with talking(work.handle) as talk:
            refuse_failure(start(talk, session, base | extra, work), work)
    except SteadError as error:
        work.finish(ok=False)
        error.data.setdefault("log", str(work.log.path))
        raise
    except BaseException:
        work.finish(ok=False)
        raise
    finally:
        work.finish(ok=True)
        if work.claimed:
            discard_prefix(work.session)
        if (tree := session.directory.path / "tree").exists() and work.artifact is not None:
            remove(tree)
    if work.artifact is None:
        raise BuildError(f"package {session.ident}", "its plan ended before the package was made", next=f"less {work.log.path}")
    return work.session.ident, work.artifact


def refuse_failure(ended: Ended, work: ShellBuild) -> None:
    """The error of a callback that failed, with the end of its log."""
    if ended.code != 0 or ended.timed_out:
        work.finish(ok=False)
        raise failed(work.session, f"do_{work.phase}", ended, work.log.path)


def start(talk: Talk, session: Session, environ: Mapping[str, str], work: ShellBuild) -> Ended:
    return process.run(
        command(talk, session.place, session.environ),
        cwd=session.place.directory,
        environ=environ,
        log=work,
        tick=session.reporter.tick,
        questions=talk,
        holding=(session.directory.lock,),
    )
