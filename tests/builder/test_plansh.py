"""plan.sh's variables as a plan."""

from __future__ import annotations

import pytest

from builder.plan import Plan
from builder.plansh import Variables, parse_variables, plan_of
from hart.errors import FormatError, PlanError
from hart.ident import Ident

NEEDED = {"pkg_name": "web", "pkg_origin": "acme", "pkg_version": "1.0", "pkg_svc_user": "hab", "pkg_svc_group": "hab"}


def plan(variables: Variables, *, run: bool = False) -> Plan:
    return plan_of(variables, has_run_hook=run, thing="plan.sh")


def test_variables_are_read_as_bash_sends_them() -> None:
    """Kind, name, count, values; values may hold anything."""
    fields = ["scalar", "pkg_name", "1", "web\nx", "array", "pkg_deps", "2", "a/b", "", "map", "pkg_exports", "4", "k", "v", "a", "b"]
    variables = parse_variables([*fields, "function", "do_check", "0"])
    assert variables.scalars == {"pkg_name": "web\nx"}
    assert variables.words("pkg_deps") == ("a/b",)
    assert list(variables.map("pkg_exports")) == ["a", "k"]
    assert "do_check" in variables.functions


@pytest.mark.parametrize("fields", [["scalar"], ["scalar", "x", "many"], ["thing", "x", "0"]])
def test_what_bash_never_sends_is_an_error(fields: list[str]) -> None:
    """Not a crash."""
    with pytest.raises(FormatError):
        parse_variables(fields)


def test_habitats_variables_become_a_plan() -> None:
    """Names and defaults of 4.2."""
    made = plan(
        Variables(
            NEEDED | {"pkg_shutdown_signal": "term", "pkg_shutdown_timeout_sec": "12", "pkg_svc_run": "web -x"},
            {"pkg_deps": ("core/glibc", "core/zlib/1.2"), "pkg_bin_dirs": ("bin",), "pkg_exposes": ("http",)},
            {"pkg_exports": {"http": "port"}, "pkg_binds": {"db": "port host"}, "_stead_runtime": {"A": "1"}},
        )
    )
    assert made.deps == (Ident("core", "glibc"), Ident("core", "zlib", "1.2"))
    assert made.binds == {"db": ("port", "host")}
    assert made.lib_dirs == ()
    assert made.service is not None
    assert (made.service.stop_signal, made.service.stop_timeout_s, made.service.user) == ("TERM", 12, "hab")
    assert made.environment == {"A": "1"}


def test_a_word_in_place_of_a_checksum_is_no_pin() -> None:
    """Plans with a do_download of their own write such words; the manifest then names none."""
    source = NEEDED | {"pkg_source": "https://e.org/x.tgz"}
    assert plan(Variables(source | {"pkg_shasum": "noshasum"})).sources[0].pins[0].sha256 is None
    assert plan(Variables(source | {"pkg_shasum": "AB" * 32})).sources[0].pins[0].sha256 == "ab" * 32


def test_a_run_hook_alone_makes_a_service() -> None:
    """SVC_USER says that a package is one."""
    assert plan(Variables(NEEDED)).service is None
    assert plan(Variables(NEEDED), run=True).service is not None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pkg_name": ""}, "pkg_name is not set"),
        ({"pkg_name": "a b"}, "pkg_name 'a b' is not valid"),
        ({"pkg_version": ""}, "pkg_version is not set"),
        ({"pkg_origin": "Acme"}, "pkg_origin 'Acme' is not valid"),
        ({"pkg_type": "composite"}, "not built here"),
        ({"pkg_scaffolding": "core/scaffolding-go"}, "not supported yet"),
        ({"pkg_shutdown_signal": "BOO"}, "is not one of"),
        ({"pkg_shutdown_timeout_sec": "soon"}, "not a number of seconds"),
    ],
)
def test_a_wrong_variable_is_named(change: dict[str, str], words: str) -> None:
    """Which variable, and why."""
    with pytest.raises(PlanError) as caught:
        plan(Variables(NEEDED | change))
    assert words in caught.value.cause


@pytest.mark.parametrize(
    ("arrays", "maps", "words"),
    [
        ({"pkg_bin_dirs": ("../../other/bin",)}, {}, "pkg_bin_dirs '../../other/bin' is not a path below the prefix"),
        ({"pkg_lib_dirs": ("a:b",)}, {}, "pkg_lib_dirs 'a:b'"),
        ({"pkg_interpreters": ("bin/a\nb",)}, {}, "pkg_interpreters 'bin/a\\nb'"),
        ({}, {"pkg_exports": {"port": "a\nb"}}, "pkg_exports ['port']='a\\nb' is not one line"),
        ({}, {"pkg_binds": {"a=b": "port"}}, "pkg_binds ['a=b']"),
        ({}, {"_stead_runtime": {"A": "x\nPATH=/evil"}}, "set_runtime_env"),
    ],
)
def test_what_no_metafile_could_hold_is_refused_before_the_steps(
    arrays: dict[str, tuple[str, ...]], maps: dict[str, dict[str, str]], words: str
) -> None:
    """Lines that would be two, and directories of other packages."""
    with pytest.raises(PlanError) as caught:
        plan(Variables(NEEDED, arrays, maps))
    assert words in caught.value.cause
    assert plan(Variables(NEEDED, {"pkg_bin_dirs": ("/bin", "lib/..a")}, {"pkg_binds": {"db": "port\thost"}})).bin_dirs == (
        "/bin",
        "lib/..a",
    )


@pytest.mark.parametrize("name", ["pkg_svc_user", "pkg_svc_group"])
def test_an_account_is_one_word(name: str) -> None:
    """It becomes a line of a metafile and an argument of chown."""
    with pytest.raises(PlanError, match=rf"{name} .* is not a name"):
        plan(Variables(NEEDED | {name: "a\tb"}))
