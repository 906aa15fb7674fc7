"""A package's templates, loaded and rendered (reference: supervisor 3, 4.3; weakness W32).

Rules: everything is rendered before anything is written, so a template that fails changes nothing. Links do not lead out of a package.
Writing is `hart/servicedir.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hart.errors import LimitError, TemplateError
from hart.files import storage
from hart.limits import TEMPLATE_FILE_MAX, TEMPLATES_MAX
from hart.template.engine import Template, compile_template
from supervisor.service.hooks import NAMES


@dataclass(frozen=True, slots=True)
class Templates:
    """A package's compiled templates by the path that they are rendered to, below the service directory; and its plain `run` file."""

    templates: Mapping[str, Template]
    run_file: bytes | None

    @property
    def hooks(self) -> frozenset[str]:
        return frozenset(path.removeprefix("hooks/") for path in self.templates if path.startswith("hooks/"))

    def render(self, context: Mapping[str, Any]) -> dict[str, bytes]:
        """Content by path; TemplateError or LimitError, and then nothing has happened."""
        rendered = {path: template.render(context).encode() for path, template in self.templates.items()}
        run = rendered.get("hooks/run", self.run_file)
        if run is None:
            raise TemplateError("service", "has neither a run hook nor a run file")
        return rendered | {"run": run}


def load(package: Path, *, config_from: Path | None, strict: bool) -> Templates:
    """Read and compile `hooks/` and `config/` of a package, or of `config_from` (a plan's folder, for development)."""
    source = config_from or package
    templates = {}
    for file in _files(source / "hooks"):
        name = file.name.split(".")[0] if config_from is not None else file.name
        if file.parent == source / "hooks" and name in NAMES - {"install", "uninstall"}:
            templates[f"hooks/{name}"] = compile_template(_read(file), name=str(file), strict=strict, hook=True)
    for file in _files(source / "config"):
        path = f"config/{file.relative_to(source / 'config')}"
        templates[path] = compile_template(_read(file), name=str(file), strict=strict)
    run = package / "run"
    return Templates(templates, run.read_bytes() if run.is_file() and run.stat().st_size <= TEMPLATE_FILE_MAX else None)


def _files(directory: Path) -> list[Path]:
    """Regular files below, sorted; links do not lead out of the package."""
    if not directory.is_dir():
        return []
    found = []
    with storage(directory):
        for path in directory.rglob("*"):
            if path.is_file() and not path.is_symlink():
                found.append(path)
            if len(found) > TEMPLATES_MAX:
                raise LimitError(str(directory), f"has more than {TEMPLATES_MAX} templates")
    return sorted(found)


def _read(file: Path) -> str:
    with storage(file), file.open("rb") as source:
        raw = source.read(TEMPLATE_FILE_MAX + 1)
    if len(raw) > TEMPLATE_FILE_MAX:
        raise LimitError(str(file), f"is larger than {TEMPLATE_FILE_MAX} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise TemplateError(str(file), "is not UTF-8 text", next="ship binary files with the package, not under config/") from None


def digests(rendered: Mapping[str, bytes]) -> dict[str, str]:
    """What change.py compares; `run` only where it is not the run hook again."""
    return {
        path: hashlib.blake2b(content, digest_size=16).hexdigest()
        for path, content in rendered.items()
        if path != "run" or "hooks/run" not in rendered
    }
