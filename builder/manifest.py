"""The MANIFEST metafile: the package as a page of Markdown (reference: packages 3.3). Pure.

Rules: the sections and the order of fields are Habitat's, since its depot shows the text; fixed words where there is nothing to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from builder.plan import Plan
from hart.ident import Ident


@dataclass(frozen=True, slots=True, kw_only=True)
class Flags:
    """Compiler flags that the steps saw."""

    cflags: str
    cppflags: str
    cxxflags: str
    ldflags: str
    ld_run_path: str


def manifest(
    plan: Plan, ident: Ident, target: str, prefix: str, *, deps: Sequence[Ident], build_deps: Sequence[Ident], flags: Flags, source: str
) -> str:
    """The text, with the plan's own text (`source`) at its end."""
    language = "toml" if source.lstrip().startswith("[") or "\n[package]" in source else "bash"
    pins = [entry.pins[0] for entry in plan.sources]
    fence = "```" if "```" not in source else "````"
    lines = [
        f"# {ident.origin} / {ident.name}",
        plan.description.strip() or "No description provided",
        "",
        f"* __Maintainer__: {plan.maintainer or 'No maintainer provided'}",
        f"* __Version__: {ident.version}",
        f"* __Release__: {ident.release}",
        f"* __Target__: {target}",
        f"* __Upstream URL__: {plan.upstream_url or 'No upstream URL provided'}",
        f"* __License__: {' '.join(plan.license) or 'No license provided'}",
        f"* __Source__: {' '.join(pin.locator for pin in pins) or 'No source provided'}",
        f"* __SHA__: {' '.join(f'`{pin.sha256}`' for pin in pins if pin.sha256) or 'No SHA provided'}",
        f"* __Path__: `{prefix}`",
        f"* __Build Dependencies__: {' '.join(f'`{dep}`' for dep in build_deps) or 'No build dependencies'}",
        f"* __Dependencies__: {' '.join(f'`{dep}`' for dep in deps) or 'No runtime dependencies'}",
        f"* __Interpreters__: {' '.join(f'`{entry}`' for entry in plan.interpreters) or 'No interpreters'}",
        "",
        "# Plan",
        "",
        "## Build Flags",
        "",
        "```bash",
        f"CFLAGS: {flags.cflags}",
        f"CPPFLAGS: {flags.cppflags}",
        f"CXXFLAGS: {flags.cxxflags}",
        f"LDFLAGS: {flags.ldflags}",
        f"LD_RUN_PATH: {flags.ld_run_path}",
        "```",
        "",
        "## Plan Source",
        "",
        f"{fence}{language}",
        source.rstrip("\n"),
        fence,
    ]
    return "\n".join(lines) + "\n"
