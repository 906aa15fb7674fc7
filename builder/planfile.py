"""plan.toml: from its text to a Plan, or every problem with its line (the keys are described in docs/plan.md).

Rules: a key that nobody knows is an error, with a "did you mean"; all problems are reported at once, each as `file:line`; values that
end in shell, paths or metafiles are one line and of a narrow pattern. Pure. Not here: what the plan's folder holds (`context`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar
from urllib.parse import urlsplit

from builder.keylines import KeyPath, key_lines, line_of
from builder.plan import (
    ASKED,
    SIGNALS,
    Pin,
    Plan,
    Probe,
    ProbeKind,
    Problem,
    Scheme,
    Service,
    Source,
    StepTexts,
    WheelOrSdist,
    cross_check,
)
from builder.reading import TableReader
from hart import bundle
from hart.containment import LIMITS, LOGS, amount
from hart.errors import FormatError, LimitError, PlanError
from hart.ident import NAME, ORIGIN, VERSION
from hart.limits import PLAN_MAX, PLAN_SOURCES_MAX, READY_FD
from hart.toml import loads

T = TypeVar("T")

SHA256 = re.compile(r"[0-9a-f]{64}")
DIRECTORY = re.compile(
    r"""(?!/)(?!(?:.*/)?\.\.(?:/|\Z))[^\s\x00-\x1f\x7f:;"'$`\\]{1,255}"""
)  # a word of compiler flags and of lists with colons
RELATIVE = re.compile(r"(?!/)(?!(?:.*/)?\.\.(?:/|\Z))[^\x00-\x1f\x7f:]{1,255}")
FILENAME = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._+@~=,:-]{1,200}")
PYPI = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?==[A-Za-z0-9][A-Za-z0-9.!+_-]*")
NPM = re.compile(r"(@[a-z0-9][a-z0-9._-]*/)?[a-z0-9][a-z0-9._-]*@[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
DEBIAN = re.compile(r"[a-z0-9][a-z0-9+.-]+(=([0-9]+:)?[0-9][A-Za-z0-9.+~:-]*)?")
KEY = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
ACCOUNT = re.compile(r"[a-z_][a-z0-9_-]{0,31}\$?")
WHERE = re.compile(r"\Aline [0-9]+(?=, column|:)(?:, )?(?:: )?")
FORBIDDEN_VARIABLES = ("PATH", "LD_RUN_PATH", "LDFLAGS", "CFLAGS", "CPPFLAGS", "CXXFLAGS", "PKG_CONFIG_PATH")
LOCATORS = {Scheme.FILE: (RELATIVE, "a path below the plan's folder"), Scheme.PYPI: (PYPI, "of the form name==1.2.3"),
            Scheme.NPM: (NPM, "of the form name@1.2.3"), Scheme.DEBIAN: (DEBIAN, "of the form name or name=1:2.3-4")}  # fmt: skip
FROM_PLAN_SH = {
    "pkg_name": "name", "pkg_version": "version", "pkg_origin": "origin", "pkg_deps": "deps", "pkg_build_deps": "build_deps",
    "dependencies": "deps", "build_dependencies": "build_deps", "licenses": "license", "homepage": "upstream_url", "url": "upstream_url",
}  # fmt: skip
FROM_SOURCES = {"shasum": "sha256", "sha": "sha256", "checksum": "sha256", "hash": "sha256", "path": "file", "dir": "into"}
FROM_STEPS = {"configure": "prepare", "compile": "build", "test": "check", "package": "install"}
PLACES = {
    **dict.fromkeys(
        ("name", "version", "origin", "description", "license", "upstream_url", "maintainer", "deps", "build_deps", "bin_dirs", "lib_dirs",
         "include_dirs", "pconfig_dirs", "interpreters"), "below [package]"),
    **dict.fromkeys(("prepare", "build", "check", "install"), "below [steps]"),
    **dict.fromkeys(("run", "user", "group", "stop_signal", "stop_timeout_s", "new_privileges", "private_tmp"), "below [service]"),
    **dict.fromkeys(LIMITS, "in a table of its own, [service.limits]"),
    **dict.fromkeys(LOGS, "in a table of its own, [service.logs]"),
    **dict.fromkeys(("ready", "health"), "in a table of its own, [service.ready] or [service.health]"),
    **dict.fromkeys(("url", "file", "pypi", "npm", "debian", "sha256", "unpack", "strip", "filename", "into"), "below [[source]]"),
    "format": "below a [[source]] with pypi", "debian_file": "below a [[source]] with debian", "schema": "below [config]",
    "exposes": "at the top of the plan, above the first header, or below [exports]",
    **{key: f"in a table of its own, {shown}" for key, shown in {
        "bundle": "[bundle.NAME]",
        "service": "[service]", "steps": "[steps]", "exports": "[exports]", "binds": "[binds]", "binds_optional": "[binds_optional]",
        "config": "[config]", "source": "[[source]]", "environment": "[environment.set] or [environment.push]"}.items()},
}  # fmt: skip
READY_NUMBERS = {"interval_s": 0.5, "timeout_s": 2.0, "deadline_s": 60.0}
HEALTH_NUMBERS = {"interval_s": 10.0, "timeout_s": 5.0, "failures": 3.0, "successes": 1.0, "splay_s": 10.0}
COUNTS = ("failures", "successes")


def read_plan(text: str, *, thing: str) -> Plan:
    """The plan of a text; `thing` is the file's name in messages. Raises PlanError that lists every problem."""
    if len(text.encode()) > PLAN_MAX:
        raise PlanError(thing, f"is larger than {PLAN_MAX} bytes")
    try:
        data = loads(text, thing=thing, limit=PLAN_MAX)
    except (FormatError, LimitError) as error:
        line = error.data.get("line")
        cause = WHERE.sub("", error.cause) if line else error.cause  # the line is in `thing` already
        raise PlanError(f"{thing}:{line}" if line else thing, cause, next=error.next, **error.data) from error
    problems: list[Problem] = []
    top = TableReader(data, (), problems, aliases={"sources": "[[source]]", "step": "[steps]", "svc": "[service]"}, elsewhere=PLACES)
    plan = read_top(top)
    problems += cross_check(plan)
    if problems:
        raise plan_error(thing, located(problems, key_lines(text)))
    return plan


def located(problems: Sequence[Problem], lines: dict[KeyPath, int]) -> list[tuple[int | None, str]]:
    """Problems with the line each is about, in the order of the lines."""
    other: dict[KeyPath, KeyPath] = {("exposes",): ("exports", "exposes")}  # where TOML puts it when it is written after [exports]
    found = [(line_of(lines, problem.key) or line_of(lines, other.get(problem.key, ())), problem.message) for problem in problems]
    return sorted(found, key=lambda entry: entry[0] or 0)


def plan_error(thing: str, problems: Sequence[tuple[int | None, str]]) -> PlanError:
    """One error for one or many problems."""
    shown = [(f"{thing}:{line}" if line else thing, message) for line, message in problems]
    data = [{"file": thing, "line": line, "message": message} for line, message in problems]
    if len(shown) == 1:
        return PlanError(shown[0][0], shown[0][1], next="the keys are described in docs/plan.md", problems=data)
    listing = "".join(f"\n  {place}: {message}" for place, message in shown)
    return PlanError(thing, f"{len(shown)} problems{listing}", next="the keys are described in docs/plan.md", problems=data)


def read_top(top: TableReader) -> Plan:
    package = top.take_table("package")
    package.aliases = FROM_PLAN_SH
    if not top.known & top.left.keys() and not package.left:
        top.problem(None, "the [package] table is missing")
    steps, config, environment = top.take_table("steps"), top.take_table("config"), top.take_table("environment")
    steps.aliases = FROM_STEPS
    schema = config.take_text("schema", pattern=RELATIVE, what="a path below the plan's folder")
    service = read_service(top.take_table("service")) if top.has("service") else None
    exports = top.take_table("exports")
    exposes = top.take_texts("exposes", pattern=NAME, what="the name of an export")
    if isinstance(exports.left.get("exposes"), list):  # where TOML puts it when it is written after [exports]
        exposes = (*(exposes or ()), *(exports.take_texts("exposes", pattern=NAME, what="the name of an export") or ()))
    top.known.add("service")
    bundled = top.take_table("bundle") if top.has("bundle") else None
    top.known.add("bundle")
    for path, message in bundle.problems(bundled.left) if bundled is not None else ():
        top.problems.append(Problem(("bundle", *path), message))
    plan = Plan(
        origin=package.take_text("origin", pattern=ORIGIN, what="a valid origin ([a-z0-9][a-z0-9_-]*)"),
        name=package.take_text("name", required=True, pattern=NAME, what="a valid name (letters, digits, _ and -)") or "unnamed",
        version=package.take_text(
            "version", required=True, pattern=VERSION, what="a valid version (letters, digits and . _ + ~ ^ @ = , % -)"
        )
        or "0",
        description=package.take_text("description", lines=True) or "",
        license=package.take_texts("license", single=True) or (),
        upstream_url=package.take_text("upstream_url") or "",
        maintainer=package.take_text("maintainer") or "",
        deps=package.take_idents("deps"),
        build_deps=package.take_idents("build_deps"),
        **{name: take_dirs(package, name) for name in ("bin_dirs", "lib_dirs", "include_dirs", "pconfig_dirs")},
        interpreters=take_dirs(package, "interpreters") or (),
        sources=tuple(read_source(reader) for reader in top.take_tables("source", limit=PLAN_SOURCES_MAX, aliases=FROM_SOURCES)),
        steps=StepTexts(**{name: steps.take_text(name, lines=True) or "" for name in ("prepare", "build", "check", "install")}),
        service=service,
        bundle=dict(bundled.left) if bundled is not None else {},
        exports=exports.names(take_key),
        exposes=exposes or (),
        binds=top.take_map("binds", take_bind),
        binds_optional=top.take_map("binds_optional", take_bind),
        environment=environment.take_map("set", take_variable),
        environment_push=environment.take_map("push", take_variable),
        schema_file=schema or "config.schema.json",
        schema_required=schema is not None,
    )
    for reader in (package, steps, config, environment, top):
        reader.finish()
    return plan


def take_dirs(reader: TableReader, key: str) -> tuple[str, ...] | None:
    return reader.take_texts(key, pattern=DIRECTORY, what="a directory relative to the prefix, in one word")


def take_key(reader: TableReader, name: str) -> str | None:
    return checked_name(reader, name, reader.take_text(name, pattern=KEY, what="a dotted key of default.toml, such as http.port"))


def take_bind(reader: TableReader, name: str) -> tuple[str, ...] | None:
    return checked_name(reader, name, reader.take_texts(name, pattern=NAME, what="the name of an export"))


def take_variable(reader: TableReader, name: str) -> str | None:
    value = reader.take_text(name)
    if not VARIABLE.fullmatch(name):
        reader.problem(name, f"{name!r} is not the name of an environment variable")
    elif name in FORBIDDEN_VARIABLES:
        reader.problem(name, f"{name} is computed by the build; use bin_dirs, lib_dirs, include_dirs or pconfig_dirs")
    return value


def checked_name(reader: TableReader, name: str, value: T | None) -> T | None:
    """The value, when the free name that it stands under is a plain one (it becomes a word of a metafile)."""
    if not NAME.fullmatch(name):
        reader.problem(name, f"{name!r} is not a valid name (letters, digits, _ and -)")
        return None
    return value


def read_source(reader: TableReader) -> Source:
    """One [[source]] table with its [[source.alternate]] tables."""
    pins = [read_pin(reader, None)]
    for alternate in reader.take_tables("alternate", limit=PLAN_SOURCES_MAX, aliases=FROM_SOURCES):
        pins.append(read_pin(alternate, pins[0]))
        alternate.finish()
    source = Source(
        pins=tuple(pin for pin in pins if pin is not None),
        filename=reader.take_text("filename", pattern=FILENAME, what="a plain file name"),
        into=reader.take_text("into", pattern=RELATIVE, what="a directory relative to the source directory") or ".",
    )
    reader.finish()
    return source


def read_pin(reader: TableReader, main: Pin | None) -> Pin | None:
    """The keys that say where a source comes from, what it must hash to and how it is unpacked (an alternate: as the main one)."""
    named = [scheme for scheme in Scheme if reader.has(scheme.value)]
    reader.known.update(scheme.value for scheme in Scheme)
    sha256 = reader.take_text("sha256")
    if sha256 is not None:
        sha256 = sha256.strip().lower().removeprefix("sha256:")
        if not SHA256.fullmatch(sha256):
            reader.problem("sha256", f"{sha256!r} is not 64 hex digits")
            sha256 = None
    which = reader.take_text("format") if named == [Scheme.PYPI] else None
    if which is not None and which not in tuple(WheelOrSdist):
        reader.problem("format", f"{which!r} is neither 'wheel' nor 'sdist'")
        which = None
    debian_file = reader.take_text("debian_file", pattern=FILENAME, what="a plain file name") if named == [Scheme.DEBIAN] else None
    unpack = reader.take("unpack", bool, False) if reader.has("unpack") else (main.unpack if main else None)
    strip = reader.take_whole("strip", 0, 16) if reader.has("strip") else (main.strip if main else None)
    reader.known.update(("unpack", "strip"))
    if len(named) != 1:
        choices = ", ".join(scheme.value for scheme in Scheme)
        reader.problem(None, f"a source has exactly one of {choices}, not {' and '.join(named) or 'none'}")
        for scheme in named:
            reader.left.pop(scheme.value)
        return None
    scheme = named[0]
    pattern, what = LOCATORS.get(scheme, (None, ""))
    locator = reader.take_text(scheme.value, required=True, pattern=pattern, what=what)
    if locator is None:
        return None
    if scheme is Scheme.URL and (fault := url_fault(locator)):
        reader.problem("url", fault)
        return None
    return Pin(
        scheme=scheme,
        locator=locator,
        sha256=sha256,
        format=WheelOrSdist(which or WheelOrSdist.WHEEL),
        debian_file=debian_file,
        unpack=unpack,
        strip=strip,
    )


def url_fault(url: str) -> str | None:
    """Why a source's address is not taken, or None (threats 3.4: https only, nothing of ours in it)."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError as error:
        return f"{url!r} is not an address: {error}"
    if parts.scheme != "https":
        return f"{url!r} is not https; other sources are file, pypi, npm and debian"
    if not host:
        return f"{url!r} names no host"
    if parts.username is not None or parts.password is not None:
        return "a source's address must not hold a user name or password"
    if any(not char.isascii() or char.isspace() or not char.isprintable() for char in url):
        return f"{url!r} holds a space or a character that must be %-encoded"
    return None


def read_service(reader: TableReader) -> Service:
    """The [service] table."""
    reader.aliases = {"shutdown_signal": "stop_signal", "shutdown_timeout": "stop_timeout_s", "stop_timeout": "stop_timeout_s"}
    signal = reader.take_text("stop_signal")
    if signal is not None:
        signal = signal.upper().removeprefix("SIG")
        if signal not in SIGNALS:
            reader.problem("stop_signal", f"{signal!r} is not one of {' '.join(SIGNALS)}")
            signal = None
    user = reader.take_text("user", pattern=ACCOUNT, what="a user name")
    service = Service(
        run=reader.take_text("run", lines=True),
        user=user or "hab",
        group=reader.take_text("group", pattern=ACCOUNT, what="a group name") or user or "hab",
        stop_signal=signal,
        stop_timeout_s=reader.take_whole("stop_timeout_s", 0, 86_400),
        new_privileges=reader.take("new_privileges", bool, default=False),
        private_tmp=reader.take("private_tmp", bool, default=False),
        limits=read_amounts(reader, "limits", LIMITS),
        logs=read_amounts(reader, "logs", LOGS),
        ready=read_probe(reader, "ready", READY_NUMBERS),
        health=read_probe(reader, "health", HEALTH_NUMBERS),
    )
    reader.finish()
    return service


def read_amounts(service: TableReader, key: str, names: Sequence[str]) -> dict[str, int | float | str]:
    """[service.limits] or [service.logs]: each amount as it is written, if it is one."""
    amounts: dict[str, int | float | str] = {}
    reader = service.take_table(key)
    for name in names:
        if not reader.has(name):
            reader.known.add(name)
            continue
        value = reader.take(name, object, None)
        try:
            amount(name, value, thing="", among=names)
        except FormatError as error:
            reader.problem(name, error.cause)
        else:
            assert isinstance(value, (int, float, str))
            amounts[name] = value
    reader.finish()
    return amounts


def read_probe(service: TableReader, key: str, numbers: dict[str, float]) -> Probe | None:
    """[service.ready] or [service.health]: exactly one of http, tcp and exec, for the first also notify and fd, and numbers."""
    if not service.has(key):
        service.known.add(key)
        return None
    reader = service.take_table(key)
    kinds = tuple(ProbeKind) if key == "ready" else ASKED
    named = {kind: read_target(reader, kind) for kind in kinds if reader.has(kind.value)}
    reader.known.update(kind.value for kind in kinds)
    if named and not named.keys() & set(ASKED):  # nobody asks
        for name in ("interval_s", "timeout_s"):
            if reader.has(name):
                reader.problem(name, f"{name} is for http, tcp and exec; the service says itself when it is ready, until deadline_s")
    given: dict[str, float] = {}
    for name in numbers:
        if name in COUNTS:
            whole = reader.take_whole(name, 1, 86_400)
            given |= {name: float(whole)} if whole is not None else {}
            continue
        value = reader.take(name, float, -1.0) if reader.has(name) else None
        reader.known.add(name)
        zero = name == "splay_s"  # turns it off
        if value is not None and (not 0 <= value <= 86_400 or (value == 0 and not zero)):
            reader.problem(name, f"{name} must be {'at least' if zero else 'more than'} 0 and at most 86400")
        elif value is not None:
            given[name] = value
    interval_s = given.get("interval_s", numbers["interval_s"])
    if given.get("splay_s", 0.0) > interval_s:
        reader.problem("splay_s", f"splay_s is a part of interval_s, so at most {interval_s:g}")
    reader.finish()
    if len(named) != 1:
        reader.problem(None, f"{key} has exactly one of {', '.join(kinds)}, not {' and '.join(named) or 'none'}")
        return None
    kind, target = next(iter(named.items()))
    return Probe(kind=kind, target=target, numbers=given) if target is not None else None


def read_target(reader: TableReader, kind: ProbeKind) -> str | None:
    """A probe's template, or of a service that says itself that it is ready: how. None when it is wrong."""
    if kind is ProbeKind.NOTIFY:
        if reader.take(kind.value, bool, True):
            return ""
        reader.problem(kind.value, "notify is true, or left out")
        return None
    if kind is ProbeKind.FD:
        number = reader.take_whole(kind.value, 3, READY_FD)
        return None if number is None else str(number)
    return reader.take_text(kind.value, required=True) or None
