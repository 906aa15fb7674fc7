"""What every part of one build knows: the plan, what was resolved for it, where it works, who signs, whom it tells."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from builder.builddir import BuildDirectory
from builder.compose import Made
from builder.context import Folder, PlanPlace
from builder.deps import Resolved
from builder.environment import Places, build_environment
from builder.plan import Plan
from builder.process import Log
from builder.reporter import Reporter, Tee
from builder.source.scheme import Surroundings
from builder.steps import log_name
from hart.errors import SteadError
from hart.ident import Ident
from hart.keys import SecretSigningKey
from hart.root import Root
from hart.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One build. `environ` is the caller's environment: never handed to a step as it is."""

    plan: Plan
    plan_text: str
    folder: Folder
    place: PlanPlace
    ident: Ident
    target: Target
    root: Root
    directory: BuildDirectory
    resolved: Resolved
    key: SecretSigningKey
    results: Path
    environ: Mapping[str, str]
    jobs: int
    allow_private: bool
    compression: int
    reporter: Reporter
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 1000)))

    @property
    def places(self) -> Places:
        return self.directory.places(self.root.package(self.ident), self.place.directory, self.place.context)

    @property
    def around(self) -> Surroundings:
        """What fetching may use."""
        return Surroundings(plan_dir=self.place.directory, cache=self.root.sources, environ=self.environ, allow_private=self.allow_private)

    def step_environment(self) -> dict[str, str]:
        return build_environment(
            self.ident,
            self.target,
            self.places,
            self.resolved.shown(),
            host_path=self.environ.get("PATH"),
            jobs=self.jobs,
            lib_dirs=self.plan.lib_dirs or (),  # only when the plan says so: a run path of its own binds a package to its root
        )

    def made(self, tree: Path, environ: Mapping[str, str], *, strict: bool, settings: Mapping[str, str]) -> Made:
        """What is handed to `assemble`."""
        return Made(
            plan=self.plan,
            plan_text=self.plan_text,
            folder=self.folder,
            ident=self.ident,
            target=self.target,
            root=self.root,
            tree=tree,
            resolved=self.resolved,
            environ=environ,
            strict=strict,
            settings=settings,
            compression=self.compression,
        )

    @contextmanager
    def step(self, name: str) -> Iterator[Tee]:
        """A step that runs in this process: its log, its line for the person, its time."""
        log = Log(self.directory.logs / log_name(next(self.numbers), name))
        self.reporter.begin(name)
        began_s = time.monotonic()
        try:
            yield self.reporter.tee(log)
        except SteadError as error:
            log.line(f"failed: {error.thing}: {error.cause}")
            self.reporter.end(ok=False)
            error.data.setdefault("log", str(log.path))
            raise
        except BaseException:
            log.line("interrupted")
            self.reporter.end(ok=False)
            raise
        else:
            log.line(f"done in {time.monotonic() - began_s:.1f} s")
            self.reporter.end(ok=True)
        finally:
            log.close()
