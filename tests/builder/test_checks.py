"""What is said about a plan's folder before anything is built."""

from __future__ import annotations

from builder.checks import Finding, Severity, check_folder, check_sources
from builder.context import Folder
from builder.plan import Pin, Plan, Scheme, Service, Source

PLAN = Plan(origin="acme", name="web", version="1")


def folder(
    default: str | None = None, schema: str | None = None, hooks: dict[str, str] | None = None, config: dict[str, str] | None = None
) -> Folder:
    return Folder(
        default_toml=default,
        schema=schema,
        hooks={name.partition(".")[0]: text.encode() for name, text in (hooks or {}).items()},
        hook_files={name.partition(".")[0]: name for name in hooks or {}},
        config={name: text.encode() for name, text in (config or {}).items()},
        config_install={},
    )


def told(findings: list[Finding], severity: Severity = Severity.ERROR) -> list[str]:
    return [str(finding) for finding in findings if finding.severity is severity]


def test_an_empty_folder_is_fine() -> None:
    """Nothing to say about nothing."""
    assert check_folder(PLAN, folder(), strict=True) == []


def test_default_toml_must_parse_and_fit_the_schema() -> None:
    """With the key that is wrong, and a hint for a misspelt one."""
    assert any(entry.startswith("default.toml:2") for entry in told(check_folder(PLAN, folder(default="a = 1\nb = \n"), strict=True)))
    schema = '{"properties": {"port": {"type": "integer"}}}'
    (wrong,) = told(check_folder(PLAN, folder(default='port = "x"\n', schema=schema), strict=True))
    assert wrong.startswith("default.toml: port")
    (unknown,) = told(check_folder(PLAN, folder(default="prot = 1\n", schema=schema), strict=True))
    assert "port" in unknown
    assert told(check_folder(PLAN, folder(schema="{"), strict=True))


def test_exposed_exports_must_be_ports() -> None:
    """Since EXPOSES is made of them."""
    from dataclasses import replace

    plan = replace(PLAN, exports={"http": "http.port", "host": "host"}, exposes=("http",))
    assert told(check_folder(plan, folder(default="host = 'x'\n[http]\nport = 80\n"), strict=True)) == []
    for value in ("0", "70000", "true", "'x'", "1.5"):
        (wrong,) = told(check_folder(plan, folder(default=f"host = 'x'\n[http]\nport = {value}\n"), strict=True))
        assert "must be a port" in wrong
    missing = check_folder(plan, folder(default="[http]\nport = 80\n"), strict=True)
    assert told(missing, Severity.WARNING) == ["default.toml: has no host, which is exported as host"]


def test_a_service_says_once_how_it_runs() -> None:
    """In the plan or in hooks/run, not in both, not in neither."""
    from dataclasses import replace

    in_plan, silent = replace(PLAN, service=Service(run="web")), replace(PLAN, service=Service())
    hook = folder(hooks={"run": "#!/bin/sh\nexec web\n"})
    assert told(check_folder(in_plan, folder(), strict=True)) == []
    assert told(check_folder(silent, hook, strict=True)) == []
    assert "keep one" in told(check_folder(in_plan, hook, strict=True))[0]
    assert "neither" in told(check_folder(silent, folder(), strict=True))[0]


def test_unknown_hooks_get_a_hint() -> None:
    """An error in a plan.toml, a warning in a plan.sh, where old names are still about."""
    odd = folder(hooks={"helth-check.sh": "#!/bin/sh\n"})
    (wrong,) = told(check_folder(PLAN, odd, strict=True))
    assert wrong.startswith("hooks/helth-check.sh: ")
    assert "did you mean 'health-check'?" in wrong
    old = check_folder(PLAN, folder(hooks={"health_check": "#!/bin/sh\n"}), strict=False)
    assert told(old) == []
    assert "health-check" in told(old, Severity.WARNING)[0]


def test_templates_must_compile_and_values_in_hooks_be_quoted() -> None:
    """With file and line."""
    broken = folder(config={"a.conf": "x\n{{#if cfg.a}}\n"}, hooks={"init": "#!/bin/sh\necho {{cfg.name}}\n"})
    findings = check_folder(PLAN, broken, strict=True)
    assert told(findings)[0].startswith("config/a.conf:")
    (unquoted,) = told(findings, Severity.WARNING)
    assert unquoted.startswith("hooks/init:2: ")
    assert told(check_folder(PLAN, folder(hooks={"init": "#!/bin/sh\necho {{sh cfg.name}}\n"}), strict=True), Severity.WARNING) == []


def test_a_missing_pin_is_a_warning_until_the_build() -> None:
    """But not for a file of the folder itself."""
    from dataclasses import replace

    pins = (Pin(scheme=Scheme.NPM, locator="a@1.0.0", sha256=None), Pin(scheme=Scheme.FILE, locator="a", sha256=None))
    (warned,) = check_sources(replace(PLAN, sources=(Source(pins=pins),)))
    assert "npm a@1.0.0 has no sha256" in warned.message
