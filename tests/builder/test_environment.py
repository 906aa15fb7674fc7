"""The environment of the steps."""

from __future__ import annotations

import subprocess
from pathlib import Path

from builder.environment import Dependencies, Dependency, Places, build_environment, epoch_release, prelude, release_epoch, search_path
from hart.ident import Ident

ZLIB = Dependency(
    ident=Ident("core", "zlib", "1.3", "20260101000000"),
    path=Path("/hab/pkgs/core/zlib/1.3/20260101000000"),
    ld_run_path=("/z/lib",),
    cflags="-I/z/include",
    ldflags="-L/z/lib",
)
GCC = Dependency(ident=Ident("core", "gcc", "9", "20260101000001"), path=Path("/hab/pkgs/core/gcc/9/20260101000001"), bin_dirs=("/g/bin",))
SH = Dependency(ident=Ident("core", "bash", "5", "20260101000002"), path=Path("/b"), bin_dirs=("/b/bin", "/g/bin"))
PLACES = Places(
    prefix=Path("/hab/pkgs/me/web/1/20260101000000"),
    destdir=Path("/w/out"),
    src=Path("/w/src"),
    sources=Path("/w/sources"),
    plan_dir=Path("/plan"),
    context_dir=Path("/plan"),
    home=Path("/w/home"),
    tmp=Path("/w/tmp"),
)
WEB = Ident("me", "web", "1", "20260101000000")


def test_path_is_own_then_build_then_run_then_closures_then_host() -> None:
    """Each directory once, at its first place; host entries that are not absolute are dropped."""
    deps = Dependencies(build=(GCC,), run=(SH,), build_closure=(GCC, ZLIB), run_closure=(SH,))
    assert search_path([Path("/own/bin")], deps, "/usr/bin::.:/b/bin") == "/own/bin:/g/bin:/b/bin:/usr/bin"


def test_the_environment_holds_nothing_of_the_callers() -> None:
    """Only the host's PATH comes from outside: no token, no key, no proxy."""
    environ = build_environment(WEB, "x86_64-linux", PLACES, Dependencies(run=(ZLIB,)), host_path="/bin", jobs=3)
    assert environ["out"] == "/w/out/hab/pkgs/me/web/1/20260101000000"
    assert environ["destdir"] + environ["prefix"] == environ["out"]
    assert environ["SOURCE_DATE_EPOCH"] == "1767225600"
    assert environ["CFLAGS"] == "-I/z/include"
    assert environ["LD_RUN_PATH"] == "/z/lib"
    assert environ["HOME"] == "/w/home"
    assert not [name for name in environ if name.startswith(("STEAD", "HAB", "http"))]


def test_a_release_is_a_time() -> None:
    """14 digits and seconds convert into each other."""
    assert epoch_release(0) == "19700101000000"
    assert release_epoch("20260101000000") == 1767225600
    assert epoch_release(release_epoch("20991231235959")) == "20991231235959"


def test_pkg_path_for_finds_direct_dependencies_by_any_part_of_the_ident() -> None:
    """As in plan.sh; what is not a direct dependency is an error."""
    text = prelude(Dependencies(build=(GCC,), run=(ZLIB,)))

    def ask(name: str) -> tuple[int, str]:
        done = subprocess.run(["sh", "-c", f"{text}\npkg_path_for {name}"], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout.strip()

    for name in ("zlib", "core/zlib", "zlib/1.3", "core/zlib/1.3/20260101000000"):
        assert ask(name) == (0, str(ZLIB.path))
    assert ask("gcc") == (0, str(GCC.path))
    assert ask("lib")[0] == 1
    assert ask("bash")[0] == 1
