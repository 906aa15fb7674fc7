"""plan.toml: what is accepted, what is refused and where the message points."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.compose import service_toml
from builder.plan import Plan, Probe, ProbeKind, Scheme, WheelOrSdist
from builder.planfile import read_plan
from hart.errors import InputError, PlanError
from hart.ident import Ident

SHA = "a" * 64
SMALL = '[package]\nname = "web"\nversion = "1.0"\n'

FULL = f"""
exposes = ["http"]
[package]
name = "web"
origin = "acme"
version = "1.0"
license = "MIT"
deps = ["core/redis/7.0.15"]
build_deps = ["core/gcc"]
bin_dirs = ["bin"]
[[source]]
url = "https://example.org/web-1.0.tar.gz"
sha256 = "{SHA.upper()}"
into = "web"
strip = 1
[[source.alternate]]
pypi = "web==1.0"
format = "sdist"
sha256 = "{SHA}"
strip = 0
[[source]]
debian = "redis=5:7.0.15-1~deb12u1"
debian_file = "redis_7.0.15.orig.tar.gz"
[steps]
build = "make"
[service]
run = "web {{{{cfg.port}}}}"
user = "www"
stop_signal = "sigint"
stop_timeout_s = 5
private_tmp = true
[service.limits]
memory = "64 MiB"
cpu = 0.5
[service.logs]
keep = "200 MiB"
rate = 0
[service.ready]
http = "http://127.0.0.1:{{{{cfg.port}}}}/"
deadline_s = 10
[service.health]
exec = "true"
failures = 2
successes = 3
splay_s = 0
[exports]
http = "http.port"
[binds]
db = ["port"]
[binds_optional]
cache = ["port"]
[environment.set]
WEB = "$prefix"
[environment.push]
PYTHONPATH = "$prefix/lib"
[config]
schema = "schemas/config.json"
"""


def read(text: str) -> Plan:
    return read_plan(text, thing="plan.toml")


@pytest.mark.parametrize(("key", "kind", "target"), [("notify = true", ProbeKind.NOTIFY, ""), ("fd = 3", ProbeKind.FD, "3")])
def test_a_service_may_say_itself_that_it_is_ready(key: str, kind: ProbeKind, target: str) -> None:
    service = read(SMALL + f"[service]\nrun = 'web'\n[service.ready]\n{key}\ndeadline_s = 5\n").service
    assert service is not None
    assert service.ready == Probe(kind=kind, target=target, numbers={"deadline_s": 5.0})
    assert service_toml(service) == f"[ready]\n{key}\ndeadline_s = 5.0\n"


def refused(text: str) -> str:
    with pytest.raises(PlanError) as caught:
        read(text)
    return f"{caught.value.thing}: {caught.value.cause}"


def test_a_small_plan_has_defaults() -> None:
    """Name and version are enough."""
    plan = read(SMALL)
    assert (plan.origin, plan.name, plan.version) == (None, "web", "1.0")
    assert plan.service is None
    assert plan.bin_dirs is None
    assert plan.sources == ()


def test_a_full_plan_is_read() -> None:
    """Every section reaches the model."""
    plan = read(FULL)
    assert plan.deps == (Ident("core", "redis", "7.0.15"),)
    assert plan.license == ("MIT",)
    url, pypi = plan.sources[0].pins
    assert (url.scheme, url.sha256, url.strip) == (Scheme.URL, SHA, 1)
    assert (pypi.scheme, pypi.format, pypi.strip) == (Scheme.PYPI, WheelOrSdist.SDIST, 0)
    assert plan.sources[1].pins[0].debian_file == "redis_7.0.15.orig.tar.gz"
    assert plan.sources[1].pins[0].sha256 is None
    service = plan.service
    assert service is not None
    assert (service.user, service.group, service.stop_signal, service.stop_timeout_s) == ("www", "www", "INT", 5)
    assert (service.private_tmp, service.new_privileges, service.limits) == (True, False, {"memory": "64 MiB", "cpu": 0.5})
    assert service.logs == {"keep": "200 MiB", "rate": 0}
    assert service.ready is not None
    assert service.ready.kind is ProbeKind.HTTP
    assert service.ready.numbers == {"deadline_s": 10.0}
    assert plan.exposes == ("http",)
    assert plan.environment_push == {"PYTHONPATH": "$prefix/lib"}
    assert (plan.schema_file, plan.schema_required) == ("schemas/config.json", True)


def test_exposes_may_stand_where_toml_puts_it() -> None:
    """Written after the [exports] header it is a key of that table."""
    assert read(SMALL + '[exports]\nhttp = "port"\nexposes = ["http"]\n').exposes == ("http",)


def test_an_alternate_unpacks_as_the_main_source_unless_it_says_otherwise() -> None:
    """strip and unpack are inherited."""
    main, alternate = f'npm = "a@1.0.0"\nsha256 = "{SHA}"\nunpack = false\n', f'url = "https://e.org/a"\nsha256 = "{SHA}"\n'
    plan = read(f"{SMALL}[[source]]\n{main}[[source.alternate]]\n{alternate}")
    assert [pin.unpack for pin in plan.sources[0].pins] == [False, False]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ('[package]\nnmae = "x"\nname = "x"\nversion = "1"\n', "plan.toml:2", "did you mean 'name'?"),
        ('[package]\nname = "x"\nversion = "1"\npkg_deps = []\n', "plan.toml:4", "here it is deps"),
        (SMALL + '[stepz]\nbuild = "x"\n', "plan.toml:4", "did you mean 'steps'?"),
        (SMALL + '[steps]\nbiuld = "x"\n', "plan.toml:5", "did you mean 'build'?"),
        ('[package]\nname = "x"\nversion = 3\n', "plan.toml:3", "must be a string, not a whole number"),
        ('[package]\nname = "x y"\nversion = "1"\n', "plan.toml:2", "not a valid name"),
        ('[package]\nname = "x"\nversion = "1/2"\n', "plan.toml:3", "not a valid version (letters"),
        ('[package]\nname = "x"\n', "plan.toml:1", "version is missing"),
        ("", "plan.toml", "[package] table is missing"),
        (SMALL + 'deps = ["zlib"]\n', "plan.toml:4", "two to four parts"),
        (SMALL + 'deps = ["core/zlib", "core/zlib/1.2"]\n', "plan.toml:4", "there twice"),
        (SMALL + 'bin_dirs = ["/usr/bin"]\n', "plan.toml:4", "not a directory relative to the prefix"),
        (SMALL + 'bin_dirs = ["bin/../.."]\n', "plan.toml:4", "not a directory relative to the prefix"),
        (SMALL + 'bin_dirs = ["a:b"]\n', "plan.toml:4", "not a directory relative to the prefix"),
        (SMALL + '[[source]]\nurl = "http://e.org/a"\n', "plan.toml:5", "is not https"),
        (SMALL + '[[source]]\nurl = "ftp://e.org/a"\n', "plan.toml:5", "is not https"),
        (SMALL + '[[source]]\nurl = "https://me:pw@e.org/a"\n', "plan.toml:5", "user name or password"),
        (SMALL + '[[source]]\nurl = "https://e.org/a b"\n', "plan.toml:5", "must be %-encoded"),
        (SMALL + '[[source]]\nfile = "../secret"\n', "plan.toml:5", "below the plan's folder"),
        (SMALL + '[[source]]\nfile = "/etc/passwd"\n', "plan.toml:5", "below the plan's folder"),
        (SMALL + '[[source]]\npypi = "six"\n', "plan.toml:5", "name==1.2.3"),
        (SMALL + '[[source]]\npypi = "six==1.0 --index-url=x"\n', "plan.toml:5", "name==1.2.3"),
        (SMALL + '[[source]]\nnpm = "git+ssh://x"\n', "plan.toml:5", "name@1.2.3"),
        (SMALL + '[[source]]\nnpm = "a@latest"\n', "plan.toml:5", "name@1.2.3"),
        (SMALL + '[[source]]\ndebian = "-o=Dir=x"\n', "plan.toml:5", "name=1:2.3-4"),
        (SMALL + '[[source]]\nnpm = "a@1.0.0"\nsha256 = "12"\n', "plan.toml:6", "not 64 hex digits"),
        (SMALL + '[[source]]\nnpm = "a@1.0.0"\npypi = "a==1"\n', "plan.toml:4", "exactly one of"),
        (SMALL + "[[source]]\nunpack = true\n", "plan.toml:4", "exactly one of"),
        (SMALL + '[[source]]\nnpm = "a@1.0.0"\nformat = "wheel"\n', "plan.toml:6", "unknown key 'format'"),
        (SMALL + '[[source]]\nnpm = "a@1.0.0"\nstrip = -1\n', "plan.toml:6", "between 0 and 16"),
        (SMALL + '[[source]]\nnpm = "a@1.0.0"\nfilename = "../x"\n', "plan.toml:6", "plain file name"),
        (SMALL + '[service]\nstop_signal = "BOO"\n', "plan.toml:5", "is not one of HUP"),
        (SMALL + "[service]\nstop_timeout_s = 1.5\n", "plan.toml:5", "a whole number, not one with a fraction"),
        (SMALL + "[service]\nstop_timeout_s = true\n", "plan.toml:5", "not true or false"),
        (SMALL + "[service.limits]\nmemory = 512\n", "plan.toml:5", "memory 512 is not between"),
        (SMALL + '[service.limits]\npids = "many"\n', "plan.toml:5", "pids 'many' is not a whole number"),
        (SMALL + "[service.logs]\nkeep = 512\n", "plan.toml:5", "keep 512 is not between"),
        (SMALL + "[service.limits]\nkeep = 512\n", "plan.toml:5", "[service.logs]"),
        (SMALL + "[service.limits]\nmem = 512\n", "plan.toml:5", "memory"),
        (SMALL + "[service]\nmemory = 512\n", "plan.toml:5", "[service.limits]"),
        (SMALL + '[service.ready]\ntcp = "a"\nhttp = "b"\n', "plan.toml:4", "exactly one of http, tcp, exec, notify, fd, not"),
        (SMALL + "[service.ready]\nnotify = false\n", "plan.toml:5", "notify is true, or left out"),
        (SMALL + "[service.ready]\nnotify = 1\n", "plan.toml:5", "true or false"),
        (SMALL + "[service.ready]\nfd = 2\n", "plan.toml:5", "between 3 and 255"),
        (SMALL + "[service.ready]\nfd = 3\nnotify = true\n", "plan.toml:4", "not notify and fd"),
        (SMALL + "[service.ready]\nfd = 3\ninterval_s = 1\n", "plan.toml:6", "the service says itself when it is ready"),
        (SMALL + '[service.health]\ntcp = "a"\nnotify = true\n', "plan.toml:6", "unknown key 'notify'"),
        (SMALL + '[service.ready]\ntcp = "a"\nfailures = 2\n', "plan.toml:6", "unknown key 'failures'"),
        (SMALL + '[service.health]\ntcp = "a"\ninterval_s = 0\n', "plan.toml:6", "more than 0"),
        (SMALL + '[exports]\n"a b" = "port"\n', "plan.toml:5", "not a valid name"),
        (SMALL + '[exports]\na = "x y"\n', "plan.toml:5", "dotted key"),
        ('exposes = ["a"]\n' + SMALL, "plan.toml:1", "not one of the exports"),
        (SMALL + '[binds]\na = ["x"]\n[binds_optional]\na = ["x"]\n', "plan.toml:7", "in [binds] as well"),
        (SMALL + '[environment.set]\nPATH = "x"\n', "plan.toml:5", "computed by the build"),
        (SMALL + '[environment.set]\nX = "a\\nb"\n', "plan.toml:5", "must be one line"),
        ("[package]\nname = \n", "plan.toml:2", "Invalid value"),
        ('[package]\nname = "web"\nversion = 1.0\n', "plan.toml:3", 'write version = "1.0"'),
        (SMALL + '[service.health]\ntcp = "a"\nfailures = 2.5\n', "plan.toml:6", "a whole number"),
        (SMALL + '[service.health]\ntcp = "a"\nsuccesses = 0\n', "plan.toml:6", "between 1 and"),
        (SMALL + '[service.health]\ntcp = "a"\nsplay_s = -1\n', "plan.toml:6", "at least 0"),
        (SMALL + '[service.health]\ntcp = "a"\ninterval_s = 5\nsplay_s = 6\n', "plan.toml:7", "at most 5"),
        (SMALL + '[service.ready]\ntcp = "a"\nsplay_s = 1\n', "plan.toml:6", "unknown key 'splay_s'"),
        (SMALL + '[service.health]\nhttp = ""\n', "plan.toml:5", "http is empty"),
        (SMALL + '[source]\nnpm = "a@1.0.0"\n', "plan.toml:4", "two brackets, [[source]]"),
        (SMALL + '[[source]]\nnpm = "a@1.0.0"\n[source.alternate]\nurl = "x"\n', "plan.toml:6", "[[source.alternate]]"),
        (SMALL + '[[source]]\nnpm = "a@1.0.0"\nshasum = "x"\n', "plan.toml:6", "here it is sha256"),
        (SMALL + '[steps]\ncompile = "make"\n', "plan.toml:5", "here it is build"),
        (SMALL + '[steps]\ndeps = ["core/x"]\n', "plan.toml:5", "belongs below [package]"),
        ('deps = ["core/x"]\n' + SMALL, "plan.toml:1", "belongs below [package]"),
        (SMALL + 'service = {run = "x"}\n', "plan.toml:4", "a table of its own, [service]"),
        (SMALL + '[exports]\na = "port"\nexposes = ["b"]\n', "plan.toml:6", "not one of the exports"),
        (SMALL + 'description = "\\u001b[31m"\n', "plan.toml:4", "control characters"),
        (SMALL + 'license = ["\\u001b[31m"]\n', "plan.toml:4", "control characters"),
        (SMALL + 'lib_dirs = ["my libs"]\n', "plan.toml:4", "in one word"),
        ('[package]\nname = "' + "x" * 900 + '"\nversion = "1"\n', "plan.toml:2", "x…' is not a valid name"),
    ],
)
def test_a_wrong_plan_is_refused_at_its_line(text: str, place: str, words: str) -> None:
    """The place is file and line; the words say what is wrong."""
    message = refused(text)
    assert message.startswith(f"{place}: ")
    assert words in message


def test_all_problems_are_reported_at_once() -> None:
    """One run shows every problem, in the order of the lines, also as data."""
    with pytest.raises(PlanError) as caught:
        read('[package]\nname = "x y"\nversion = 1\ndeps = ["zlib"]\n')
    problems = caught.value.data["problems"]
    assert isinstance(problems, list)
    assert [problem["line"] for problem in problems] == [2, 3, 4]


def test_a_toml_bomb_is_refused_before_it_costs_anything() -> None:
    """Deep dotted keys, deep nesting and size are bounded before the parser sees them (threats S20)."""
    for bomb in ("a" + ".a" * 20_000 + " = 1", "a = " + "[" * 100_000, "x = '" + "y" * 300_000 + "'", "a = " + "9" * 5000):
        with pytest.raises(InputError):
            read(bomb)


@given(st.dictionaries(st.text(max_size=8), st.recursive(st.integers() | st.text(max_size=5) | st.booleans(), st.lists, max_leaves=5)))
def test_any_toml_is_a_plan_or_a_plan_error(data: dict[str, object]) -> None:
    """Whatever the values, reading ends with a plan or with our error."""
    import tomli_w

    text = tomli_w.dumps({"package": data, "source": [data], "service": data, "exports": data})
    try:
        read(text)
    except InputError:
        return


def test_a_bundle_is_read_and_its_faults_have_lines() -> None:
    """Services by name, with the fields of a spec file; a circle of starts is found when it is built."""
    plan = read(f'{SMALL}[bundle.web]\nident = "t/web"\nafter = ["db"]\n[bundle.db]\nident = "t/db"\n')
    assert plan.bundle == {"web": {"ident": "t/web", "after": ["db"]}, "db": {"ident": "t/db"}}
    assert refused(f'{SMALL}[bundle.web]\nident = "t/web"\nbind = []\n') == "plan.toml:6: unknown key 'bind', did you mean 'binds'?"
    assert "web after web" in refused(f'{SMALL}[bundle.web]\nident = "t/web"\nafter = ["web"]\n')
    assert "bundle or a service, not both" in refused(f'{SMALL}[service]\nrun = "x"\n[bundle.web]\nident = "t/web"\n')
    assert "has 1 to" in refused(f"{SMALL}[bundle]\n")
