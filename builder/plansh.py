"""plan.sh as a Plan: from the variables that our bash side reports. Pure.

Rules: names, defaults and meanings are Habitat's (reference: packages 4.2); what could not become a metafile is an error that names the
variable. Not here: running the plan (`shellrecipe`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from builder.plan import SIGNALS, Pin, Plan, Problem, Scheme, Service, Source, cross_check
from hart.errors import FormatError, PlanError
from hart.ident import NAME, ORIGIN, VERSION, Ident

UNSET_VERSION = "0.version-not-set-yet"  # stands for a version that pkg_version() will say later
NO_ACCOUNT = re.compile(r"[\s\x00-\x1f\x7f:/]")
MAPS = {"pkg_exports": "pkg_exports", "pkg_binds": "pkg_binds", "pkg_binds_optional": "pkg_binds_optional",
        "_stead_runtime": "set_runtime_env", "_stead_pushed": "push_runtime_env"}  # fmt: skip
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
OUTSIDE = re.compile(r"[\x00-\x1f\x7f:]|(?:\A|/)\.\.(?:/|\Z)")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Variables:
    """What a plan.sh has set: strings, arrays, associative arrays, and the functions it defines."""

    scalars: dict[str, str] = field(default_factory=dict)
    arrays: dict[str, tuple[str, ...]] = field(default_factory=dict)
    maps: dict[str, dict[str, str]] = field(default_factory=dict)
    functions: frozenset[str] = frozenset()

    def text(self, name: str) -> str:
        return self.scalars.get(name, "").strip()

    def words(self, name: str) -> tuple[str, ...]:
        return tuple(word for word in self.arrays.get(name, ()) if word)

    def map(self, name: str) -> dict[str, str]:
        return dict(sorted(self.maps.get(name, {}).items()))


def parse_variables(fields: Sequence[str]) -> Variables:
    """From (kind, name, count, values…) repeated; FormatError when it is not that."""
    scalars: dict[str, str] = {}
    arrays: dict[str, tuple[str, ...]] = {}
    maps: dict[str, dict[str, str]] = {}
    functions: set[str] = set()
    at = 0
    while at < len(fields):
        if at + 3 > len(fields) or not fields[at + 2].isdigit():
            raise FormatError("plan.sh", "its variables could not be read")
        kind, name, count = fields[at], fields[at + 1], int(fields[at + 2])
        values = tuple(fields[at + 3 : at + 3 + count])
        at += 3 + count
        match kind:
            case "scalar":
                scalars[name] = values[0] if values else ""
            case "array":
                arrays[name] = values
            case "map":
                maps[name] = dict(zip(values[::2], values[1::2], strict=False))
            case "function":
                functions.add(name)
            case _:
                raise FormatError("plan.sh", f"its variables could not be read: {kind!r}")
    return Variables(scalars, arrays, maps, frozenset(functions))


def plan_of(variables: Variables, *, has_run_hook: bool, thing: str) -> Plan:
    """The plan; PlanError that lists every problem."""
    problems: list[Problem] = []

    def demand(condition: bool, name: str, message: str) -> None:
        if not condition:
            problems.append(Problem((name,), message))

    text = variables.text
    origin, name, version = text("pkg_origin"), text("pkg_name"), text("pkg_version")
    demand(not text("pkg_type"), "pkg_type", f"{text('pkg_type')!r} is not built here")
    demand(not text("pkg_scaffolding"), "pkg_scaffolding", "scaffolding is not supported yet")
    demand(bool(name), "pkg_name", "is not set")
    demand(not name or NAME.fullmatch(name) is not None, "pkg_name", f"{name!r} is not valid")
    demand(not origin or ORIGIN.fullmatch(origin) is not None, "pkg_origin", f"{origin!r} is not valid")
    demand(bool(version), "pkg_version", "is not set, and there is no function pkg_version")
    demand(not version or VERSION.fullmatch(version) is not None, "pkg_version", f"{version!r} is not valid")
    signal = text("pkg_shutdown_signal").upper()
    demand(not signal or signal in SIGNALS, "pkg_shutdown_signal", f"{signal!r} is not one of {' '.join(SIGNALS)}")
    timeout = text("pkg_shutdown_timeout_sec")
    demand(not timeout or (timeout.isascii() and timeout.isdigit()), "pkg_shutdown_timeout_sec", f"{timeout!r} is not a number of seconds")
    problems += unfit(variables)
    deps = {key: idents(variables.words(key), key, problems) for key in ("pkg_deps", "pkg_build_deps")}
    plan = Plan(
        origin=origin or None,
        name=name or "unnamed",
        version=version or "0",
        description=text("pkg_description"),
        license=variables.words("pkg_license"),
        upstream_url=text("pkg_upstream_url"),
        maintainer=text("pkg_maintainer"),
        deps=deps["pkg_deps"],
        build_deps=deps["pkg_build_deps"],
        bin_dirs=variables.words("pkg_bin_dirs"),
        lib_dirs=variables.words("pkg_lib_dirs"),
        include_dirs=variables.words("pkg_include_dirs"),
        pconfig_dirs=variables.words("pkg_pconfig_dirs") or None,
        interpreters=variables.words("pkg_interpreters"),
        sources=source_of(variables),
        service=service_of(variables) if has_run_hook or text("pkg_svc_run") else None,
        exports=variables.map("pkg_exports"),
        exposes=variables.words("pkg_exposes"),
        binds={key: tuple(value.split()) for key, value in variables.map("pkg_binds").items()},
        binds_optional={key: tuple(value.split()) for key, value in variables.map("pkg_binds_optional").items()},
        environment=variables.map("_stead_runtime"),
        environment_push=variables.map("_stead_pushed"),
    )
    problems += cross_check(plan)
    if problems:
        shown = [f"{'.'.join(map(str, problem.key))} {problem.message}" for problem in problems]
        listing = shown[0] if len(shown) == 1 else f"{len(shown)} problems" + "".join(f"\n  {line}" for line in shown)
        data = [{"file": thing, "line": None, "message": message} for message in shown]
        raise PlanError(thing, listing, next="see docs/plan.md, “plan.sh”", problems=data)
    return plan


def service_of(variables: Variables) -> Service:
    """Whom a service runs as and how it stops; the run hook or the file `run` says what runs."""
    text = variables.text
    timeout = text("pkg_shutdown_timeout_sec")
    return Service(
        run=None,
        user=text("pkg_svc_user") or "hab",
        group=text("pkg_svc_group") or "hab",
        stop_signal=text("pkg_shutdown_signal").upper() or None,
        stop_timeout_s=int(timeout) if timeout.isdigit() else None,
    )


def unfit(variables: Variables) -> list[Problem]:
    """Values that the lines of a metafile cannot hold, or that lead out of the package."""
    found = [
        Problem((name,), f"{word!r} is not a path below the prefix")
        for name in ("pkg_bin_dirs", "pkg_lib_dirs", "pkg_include_dirs", "pkg_pconfig_dirs", "pkg_interpreters")
        for word in variables.words(name)
        if OUTSIDE.search(word)
    ]
    found += [
        Problem((shown,), f"[{key!r}]={value!r} is not one line, or its name holds a =")
        for name, shown in MAPS.items()
        for key, value in variables.map(name).items()
        if not key or "=" in key or CONTROL.search(key) or CONTROL.search(value)
    ]
    found += [
        Problem((name,), f"{variables.text(name)!r} is not a name")
        for name in ("pkg_svc_user", "pkg_svc_group")
        if NO_ACCOUNT.search(variables.text(name))
    ]
    return found


def idents(words: Sequence[str], key: str, problems: list[Problem]) -> tuple[Ident, ...]:
    found = []
    for word in words:
        try:
            found.append(Ident.parse(word))
        except FormatError as error:
            problems.append(Problem((key,), f"{word!r} {error.cause}"))
    return tuple(dict.fromkeys(found))


def source_of(variables: Variables) -> tuple[Source, ...]:
    """pkg_source, for the manifest; the callbacks download it. Plans that do so themselves write words into pkg_shasum."""
    shasum = variables.text("pkg_shasum").lower()
    url = variables.text("pkg_source")
    if not url or "://" not in url:
        return ()
    pin = Pin(scheme=Scheme.URL, locator=url, sha256=shasum if SHA256.fullmatch(shasum) else None, plain_http=True)
    return (Source(pins=(pin,), filename=variables.text("pkg_filename") or None),)
