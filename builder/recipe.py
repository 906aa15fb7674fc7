"""Running the steps of a plan.toml, by the table in `steps`.

Rules: the shell steps get one environment, start in the source directory and end at the first error (`bash -e -u -o pipefail`, else
`sh -e -u`); files count for the package only below the prefix in the staging directory, and a step that wrote elsewhere is told so.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from builder import process
from builder.assemble import Artifact, assemble
from builder.builddir import remove
from builder.environment import prelude
from builder.reporter import Tee
from builder.session import Session
from builder.source.cache import sha256_of
from builder.source.fetch import Obtained, obtain
from builder.steps import STEPS, Step, StepKind, log_name, shell_text
from builder.unpack import unpack
from hart.errors import BuildError, ConflictError, TrustError
from hart.files import make_dirs, storage


def run(session: Session) -> Artifact:
    """All steps; the artifact of the last one."""
    session.reporter.note(f"building {session.ident} for {session.target}")
    obtained: list[Obtained] = []
    artifact: Artifact | None = None
    try:
        for step in STEPS:
            if step.kind is StepKind.SHELL:
                run_shell(session, step)
            elif step.name == "package":
                artifact = package(session)
            elif session.plan.sources:
                with session.step(step.name) as log:
                    if step.name == "fetch":
                        obtained = [obtain(source, session.around, log.line) for source in session.plan.sources]
                    elif step.name == "verify":
                        verify(obtained, log)
                    else:
                        unpack_all(session, obtained, log)
    finally:
        discard_prefix(session)
    assert artifact is not None, "the table ends with the package step"
    return artifact


def verify(obtained: list[Obtained], log: Tee) -> None:
    """Hash every source again, as the next step will read it."""
    for one in obtained:
        actual = sha256_of(one.path)
        if actual != one.sha256:
            raise TrustError(str(one.pin), f"changed in the source cache: expected {one.sha256}, got {actual}", next=f"rm {one.path}")
        log.line(f"{one.filename}: sha256 {actual}")


def unpack_all(session: Session, obtained: list[Obtained], log: Tee) -> None:
    """Every source under its name in $sources; archives unpacked, other files copied, below $src."""
    names: set[str] = set()
    for one in obtained:
        if one.filename in names:
            raise ConflictError(f"source {one.filename}", "has the name of another source", next='give one of them filename = "…"')
        names.add(one.filename)
        copy = session.places.sources / one.filename
        with storage(copy):
            shutil.copyfile(one.path, copy)
        into = session.places.src / one.source.into
        if one.pin.unpacks(one.filename):
            strip = 0 if one.pin.strip is None and one.filename.endswith(".whl") else one.pin.strip
            count = unpack(copy, into, name=one.filename, strip=strip)
            log.line(f"{one.filename}: {count} members into {one.source.into}")
        else:
            make_dirs(into)
            with storage(into):
                shutil.copyfile(copy, into / one.filename)
            log.line(f"{one.filename}: copied into {one.source.into}")


def run_shell(session: Session, step: Step) -> None:
    """One of the plan's own steps; BuildError when it fails."""
    text = shell_text(session.plan.steps, step)
    if not text.strip():
        return
    steps = session.directory.path / "steps"
    script, start = steps / f"{step.name}.sh", steps / "prelude.sh"
    with storage(script):
        script.write_text(text if text.endswith("\n") else text + "\n")
        start.write_text(prelude(session.resolved.shown()))
        session.places.out.mkdir(parents=True, exist_ok=True)
    environ = session.step_environment()
    log = process.Log(session.directory.logs / log_name(next(session.numbers), step.name))
    session.reporter.begin(step.name)
    try:
        ended = process.run(
            [*shell(environ["PATH"]), str(start), str(script)],
            cwd=session.places.src,
            environ=environ,
            log=session.reporter.tee(log),
            tick=session.reporter.tick,
            holding=(session.directory.lock,),
        )
    except BaseException:
        session.reporter.end(ok=False)
        raise
    finally:
        log.close()
    session.reporter.end(ok=ended.code == 0)
    if ended.code != 0 or ended.timed_out:
        raise failed(session, step.name, ended, log.path)


def failed(session: Session, step: str, ended: process.Ended, log: Path) -> BuildError:
    """The error of a step, after the end of its log was shown."""
    lines = process.tail(log)
    session.reporter.failed_log(lines, log)
    return BuildError(
        f"step {step} of {session.ident.origin}/{session.ident.name}",
        ended.words,
        next=f"the whole log: less {log}",
        step=step,
        log=str(log),
        exit_code=ended.code,
        tail=lines,
    )


def shell(path: str) -> list[str]:
    """How a step's text is run: prelude and text are sourced, so that line numbers in messages are the plan's."""
    bash = shutil.which("bash", path=path)
    if bash is not None:
        return [bash, "-e", "-u", "-o", "pipefail", "-c", '. "$0"; . "$1"']
    return [shutil.which("sh", path=path) or "/bin/sh", "-e", "-u", "-c", '. "$0"; . "$1"']


def package(session: Session) -> Artifact:
    """The last step."""
    with session.step("package") as log:
        refuse_strays(session)
        made = session.made(session.places.out, session.step_environment(), strict=True, settings={})
        return assemble(made, session.key, work=session.directory.path, results=session.results, say=log.line)


def refuse_strays(session: Session) -> None:
    """Everything has to be below `$destdir$prefix`."""
    places = session.places
    hint = 'install below "$destdir$prefix" (the same as "$out"), as in: make install DESTDIR="$destdir"'
    if places.prefix.exists():
        raise BuildError(f"package {session.ident}", f"a step wrote to {places.prefix} itself", next=hint)
    on_the_way = {places.out, *places.out.parents}
    for place in sorted(on_the_way):  # whatever is below a link is not this build's
        if place.is_relative_to(places.destdir) and place.is_symlink():
            raise BuildError(f"package {session.ident}", f"a step made {place} a link to {place.readlink()}", next=hint)
    with storage(places.out):
        places.out.mkdir(parents=True, exist_ok=True)
    at = places.destdir
    while at != places.out:
        strays = sorted(str(entry.relative_to(places.destdir)) for entry in at.iterdir() if entry not in on_the_way)
        if strays:
            raise BuildError(f"package {session.ident}", f"the steps put files outside of the prefix: /{', /'.join(strays[:5])}", next=hint)
        at = at / places.out.relative_to(at).parts[0]


def discard_prefix(session: Session) -> None:
    """What a step wrote to the real prefix, which was not there before the build: it must not look installed."""
    clear_prefix(session.places.prefix)


def clear_prefix(prefix: Path) -> None:
    """Remove a directory in the tree of packages that no install has made, and parents that are empty then."""
    if prefix.is_symlink() or (prefix.exists() and not (prefix / "IDENT").exists()):
        remove(prefix)
        for parent in list(prefix.parents)[:3]:
            if any(parent.iterdir()):
                break
            parent.rmdir()
