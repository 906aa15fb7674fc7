"""What a package says about itself, and the documents around it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from builder.compose import run_hook, service_toml
from builder.manifest import Flags, manifest
from builder.plan import Pin, Plan, Probe, ProbeKind, Scheme, Service, Source
from builder.planfile import read_plan
from hart.ident import Ident
from hart.toml import loads

NO_FLAGS = Flags(cflags="-I/x", cppflags="", cxxflags="", ldflags="", ld_run_path="")


@pytest.mark.parametrize(
    ("run", "body"),
    [
        ("web -p {{cfg.port}}", "exec web -p {{cfg.port}}"),
        ("exec web", "exec web"),
        ("cd /x && exec web", "cd /x && exec web"),
        ("export A=1\nexec web\n", "export A=1\nexec web"),
    ],
)
def test_a_single_command_replaces_the_shell(run: str, body: str) -> None:
    """So that signals reach the service; what is a script stays one."""
    assert run_hook(run) == f"#!/bin/sh\nexec 2>&1\n{body}\n"


def test_a_run_with_its_own_interpreter_is_taken_as_it_is() -> None:
    """Whoever writes `#!` knows what they want."""
    assert run_hook("#!/usr/bin/env python3\nprint(1)\n") == "#!/usr/bin/env python3\nprint(1)\n"


def test_service_toml_holds_the_probes() -> None:
    """One of the three kinds, and the numbers that the plan gives; a count is whole."""
    service = Service(
        ready=Probe(kind=ProbeKind.TCP, target="127.0.0.1:{{cfg.port}}", numbers={"deadline_s": 5.0}),
        health=Probe(kind=ProbeKind.EXEC, target="true", numbers={"failures": 3.0}),
    )
    text = service_toml(service)
    assert text is not None
    ready, health = {"tcp": "127.0.0.1:{{cfg.port}}", "deadline_s": 5.0}, {"exec": "true", "failures": 3}
    assert loads(text, thing="t") == {"ready": ready, "health": health}
    assert service_toml(Service()) is None
    assert loads(service_toml(Service(logs={"rate": 0})) or "", thing="it") == {"logs": {"rate": 0}}
    contained = Service(private_tmp=True, limits={"memory": "64 MiB", "cpu": 0.5})
    assert loads(service_toml(contained) or "", thing="it") == {"private_tmp": True, "limits": {"memory": "64 MiB", "cpu": 0.5}}


def test_the_manifest_shows_the_plan_whole() -> None:
    """Habitat's sections; a plan that holds a fence does not break out of it."""
    plan = Plan(
        origin="acme",
        name="web",
        version="1",
        license=("MIT",),
        sources=(Source(pins=(Pin(scheme=Scheme.URL, locator="https://e.org/x", sha256="a" * 64),)),),
    )
    text = manifest(
        plan, Ident("acme", "web", "1", "20260101000000"), "x86_64-linux", "/p", deps=[Ident("a", "b", "1", "20260101000000")],
        build_deps=[], flags=NO_FLAGS, source="[package]\n# ```\nname = 'web'\n",
    )  # fmt: skip
    assert text.startswith("# acme / web\nNo description provided\n\n* __Maintainer__: No maintainer provided\n* __Version__: 1\n")
    assert "* __Dependencies__: `a/b/1/20260101000000`\n" in text
    assert f"* __SHA__: `{'a' * 64}`\n" in text
    assert text.endswith("## Plan Source\n\n````toml\n[package]\n# ```\nname = 'web'\n````\n")


def test_the_plan_of_the_documentation_is_one() -> None:
    """docs/plan.md shows every key; the reader takes them all."""
    page = (Path(__file__).parents[2] / "docs" / "plan.md").read_text()
    shown = re.search(r"```toml\n(.*?)```", page, re.DOTALL)
    assert shown is not None
    plan = read_plan(shown[1].replace('sha256 = "…"', f'sha256 = "{"a" * 64}"'), thing="docs/plan.md")
    assert plan.service is not None
    assert plan.service.ready is not None
    assert plan.exposes == ("http",)
