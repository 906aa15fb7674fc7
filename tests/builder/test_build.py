"""Builds from plan.toml, with real tools, under a root of one's own."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from builder.build import choose_release
from hart.errors import BuildError, NotFoundError, PlanError, TrustError, UsageError
from hart.installed import InstalledTree
from hart.keys import KeyCache
from hart.root import Root
from tests.builder.workshop import RELEASE, Workshop

TINY = """
    [package]
    name = "tiny"
    version = "1.0"
    [steps]
    install = 'mkdir -p "$out/share"; echo hello >"$out/share/x"'
"""


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def c_project(base: Path) -> tuple[Path, str]:
    """A source archive of a C program with a Makefile, and its sha256."""
    tree = base / "hello-1.0"
    tree.mkdir(parents=True)
    (tree / "hello.c").write_text('#include <stdio.h>\nint main(void) { puts("hello from C"); return 0; }\n')
    (tree / "Makefile").write_text(
        "hello: hello.c\n\tcc -O1 $(CFLAGS) -o $@ $<\ninstall: hello\n\tinstall -D hello $(DESTDIR)$(PREFIX)/bin/hello\n"
    )
    archive = base / "hello-1.0.tar.gz"
    subprocess.run(["tar", "-czf", archive, "-C", base, "hello-1.0"], check=True)
    shutil.rmtree(tree)
    return archive, hashlib.sha256(archive.read_bytes()).hexdigest()


def c_plan(workshop: Workshop, name: str = "plan") -> Path:
    archive, sha256 = c_project(workshop.base / f"{name}-source")
    folder = workshop.plan(
        f"""
        [package]
        name = "hello"
        version = "1.0"
        license = ["MIT"]
        [[source]]
        file = "hello-1.0.tar.gz"
        sha256 = "{sha256}"
        [steps]
        build = 'make -j"$jobs"'
        check = './hello | grep "hello from C"'
        install = 'make install DESTDIR="$destdir" PREFIX="$prefix"'
        """,
        name=name,
    )
    shutil.copy(archive, folder)
    return folder


@pytest.mark.slow
def test_a_c_program_becomes_a_signed_package_that_runs(workshop: Workshop) -> None:
    """Without privileges; the artifact verifies, installs and its program runs in its own environment."""
    built = workshop.build(c_plan(workshop))
    assert str(built.ident) == f"acme/hello/1.0/{RELEASE}"
    files = workshop.metafiles(built)
    prefix = f"{workshop.root.path}/pkgs/acme/hello/1.0/{RELEASE}"
    assert files["PATH"].decode().strip() == f"{prefix}/bin"
    assert files["RELOCATABLE"].strip() == b"yes"
    assert files["BUILD_ROOT"].decode().strip() == str(workshop.root.path)
    assert files["TEMPLATES"].strip() == b"strict"
    assert b"## Plan Source" in files["MANIFEST"]
    package = workshop.install(built)
    assert InstalledTree(workshop.root).verify(package, workshop.keys.public) == []
    environ = InstalledTree(workshop.root).environment(package, {})
    done = subprocess.run(["hello"], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout == "hello from C\n"


@pytest.mark.slow
def test_the_same_plan_gives_the_same_bytes_from_another_folder(tmp_path: Path) -> None:
    """Same release and root: byte for byte, whichever folder the plan is in and whatever the time (threats S23)."""
    first = Workshop(tmp_path)
    folder = c_plan(first)
    digests = []
    for number, name in enumerate(("plan", "elsewhere/deep/plan")):
        if number:
            shutil.copytree(folder, tmp_path / name)
            shutil.rmtree(first.root.artifacts)
        built = first.build(tmp_path / name, now_s=1e9 * (number + 1), results=tmp_path / f"results{number}")
        digests.append(hashlib.sha256(built.path.read_bytes()).hexdigest())
    assert digests[0] == digests[1]


@pytest.mark.slow
def test_a_failing_step_keeps_its_log_and_leaves_no_artifact(workshop: Workshop) -> None:
    """The error names the step and the log, and carries the last lines."""
    folder = workshop.plan("""
        [package]
        name = "tiny"
        version = "1.0"
        [steps]
        build = '''
        seq 1 100
        false | cat
        echo not reached
        '''
        install = "true"
    """)
    with pytest.raises(BuildError) as caught:
        workshop.build(folder)
    assert caught.value.thing == "step build of acme/tiny"
    log = Path(str(caught.value.data["log"]))
    assert log.name == "01-build.log"
    assert log.read_text().splitlines() == [str(number) for number in range(1, 101)]
    assert caught.value.data["tail"] == [str(number) for number in range(81, 101)]
    assert workshop.leftovers() == []


@pytest.mark.slow
def test_steps_see_no_secret_of_the_caller(workshop: Workshop) -> None:
    """No token, no key path, no home: S21 as far as the environment goes."""
    folder = workshop.plan("""
        [package]
        name = "tiny"
        version = "1.0"
        [steps]
        install = 'mkdir -p "$out"; env | sort >"$out/env"; ls -A "$HOME" >"$out/home"'
    """)
    secret = {"STEAD_TOKEN": "canary", "HAB_AUTH_TOKEN": "canary", "AWS_SECRET_ACCESS_KEY": "canary", "HOME": "/canary"}
    package = workshop.install(workshop.build(folder, environ=dict(workshop.options.environ) | secret))
    assert "canary" not in (package.path / "env").read_text()
    assert str(workshop.keys.path) not in (package.path / "env").read_text()
    assert (package.path / "home").read_text() == ""


@pytest.mark.slow
def test_a_package_that_names_its_prefix_is_bound_to_its_root(workshop: Workshop) -> None:
    """Also in a link. Without the mark no other root installs it."""
    folder = workshop.plan("""
        [package]
        name = "tiny"
        version = "1.0"
        [steps]
        install = 'mkdir -p "$out/share"; ln -s "$prefix/share" "$out/here"'
    """)
    built = workshop.build(folder)
    assert not built.artifact.relocatable
    assert "RELOCATABLE" not in workshop.metafiles(built)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("install", "words"),
    [
        ('mkdir -p "$prefix"; touch "$prefix/x"', "itself"),
        ('mkdir -p "$destdir/etc"; touch "$destdir/etc/x"', "outside of the prefix: /etc"),
        ('mkdir -p "$out"; touch "$out/IDENT"', "name of a metafile"),
    ],
)
def test_files_in_the_wrong_place_are_refused(workshop: Workshop, install: str, words: str) -> None:
    """And nothing that a step wrote to the real prefix stays there, where it would look installed."""
    folder = workshop.plan(f"[package]\nname = 'tiny'\nversion = '1.0'\n[steps]\ninstall = '''{install}'''\n")
    with pytest.raises(BuildError, match=words):
        workshop.build(folder)
    assert workshop.leftovers() == []
    assert not (workshop.root.pkgs / "acme").exists()


@pytest.mark.slow
def test_a_service_is_packaged_with_all_its_parts(workshop: Workshop) -> None:
    """Run hook, hooks, configuration, schema, service.toml, exports, binds, environment."""
    folder = workshop.plan(
        """
        exposes = ["http"]
        [package]
        name = "web"
        version = "2"
        [service]
        run = "web --port {{cfg.http.port}}"
        user = "www"
        stop_signal = "INT"
        stop_timeout_s = 4
        [service.ready]
        http = "http://127.0.0.1:{{cfg.http.port}}/ready"
        deadline_s = 5
        [service.health]
        tcp = "127.0.0.1:{{cfg.http.port}}"
        failures = 2
        [exports]
        http = "http.port"
        [binds]
        db = ["port", "host"]
        [environment.set]
        WEB_HOME = "$prefix/share"
        [environment.push]
        PYTHONPATH = "${prefix}/lib"
        """,
        default_dot_toml="[http]\nport = 8080\n",
        config__web_dot_conf="port = {{cfg.http.port}}\n",
        hooks__init_dot_sh="#!/bin/sh\necho {{sh pkg.name}}\n",
        config_dot_schema_dot_json='{"properties": {"http": {"properties": {"port": {"type": "integer"}}}}}',
    )
    built = workshop.build(folder)
    files = {name: data.decode() for name, data in workshop.metafiles(built).items()}
    prefix = f"{workshop.root.path}/pkgs/acme/web/2/{RELEASE}"
    assert files["SVC_USER"] == files["SVC_GROUP"] == "www\n"
    assert (files["SHUTDOWN_SIGNAL"], files["SHUTDOWN_TIMEOUT"]) == ("INT\n", "4\n")
    assert (files["EXPORTS"], files["EXPOSES"], files["BINDS"]) == ("http=http.port\n", "8080\n", "db=port host\n")
    assert files["RUNTIME_ENVIRONMENT"] == f"PYTHONPATH={prefix}/lib\nWEB_HOME={prefix}/share\n"
    assert 'http = "http://127.0.0.1:{{cfg.http.port}}/ready"' in files["service.toml"]
    assert "failures = 2\n" in files["service.toml"]
    assert files["default.toml"] == "[http]\nport = 8080\n"
    package = workshop.install(built)
    assert (package.path / "hooks/run").read_text() == "#!/bin/sh\nexec 2>&1\nexec web --port {{cfg.http.port}}\n"
    assert (package.path / "hooks/init").read_text() == "#!/bin/sh\necho {{sh pkg.name}}\n"
    assert (package.path / "config/web.conf").exists()
    assert package.metadata.is_service


@pytest.mark.slow
def test_dependencies_are_found_and_their_flags_reach_the_steps(workshop: Workshop) -> None:
    """PATH, CFLAGS and pkg_path_for; the package's own metafiles name the exact releases, closure included."""
    base = workshop.plan(
        """
        [package]
        name = "base"
        version = "1"
        [steps]
        install = '''
        mkdir -p "$out/bin" "$out/include" "$out/lib"
        printf '#!/bin/sh\\necho base tool\\n' >"$out/bin/base-tool"; chmod +x "$out/bin/base-tool"
        echo '#define BASE 1' >"$out/include/base.h"; touch "$out/lib/libbase.so"
        '''
        [environment.set]
        BASE_SAYS = "hi"
        """,
        name="base",
    )
    middle = workshop.plan(
        "[package]\nname = 'middle'\nversion = '1'\ndeps = ['acme/base']\n[steps]\ninstall = 'mkdir -p \"$out/bin\"'\n", name="middle"
    )
    top = workshop.plan(
        """
        [package]
        name = "top"
        version = "1"
        deps = ["acme/middle/1"]
        build_deps = ["acme/base"]
        [steps]
        install = '''
        mkdir -p "$out/bin"
        base-tool >"$out/said"; echo "$CFLAGS" "$LDFLAGS" >>"$out/said"; pkg_path_for base >>"$out/said"; echo "$BASE_SAYS" >>"$out/said"
        '''
        """,
        name="top",
    )
    with pytest.raises(NotFoundError, match="acme/base"):
        workshop.build(middle)
    installed = workshop.install(workshop.build(base))
    workshop.install(workshop.build(middle))
    built = workshop.build(top)
    files = {name: data.decode() for name, data in workshop.metafiles(built).items()}
    assert files["DEPS"] == f"acme/middle/1/{RELEASE}\n"
    assert files["TDEPS"] == f"acme/middle/1/{RELEASE}\nacme/base/1/{RELEASE}\n"
    assert files["BUILD_DEPS"] == f"acme/base/1/{RELEASE}\n"
    assert files["RUNTIME_ENVIRONMENT"] == "BASE_SAYS=hi\n"
    assert f"{installed.path}/bin" in files["RUNTIME_PATH"]
    said = (workshop.install(built).path / "said").read_text().splitlines()
    assert said == ["base tool", f"-I{installed.path}/include -L{installed.path}/lib", str(installed.path), "hi"]


@pytest.mark.slow
def test_bytecode_with_times_is_left_out_and_bytecode_with_hashes_stays(workshop: Workshop) -> None:
    """Only what is the same in every build goes into a package."""
    folder = workshop.plan("""
        [package]
        name = "tiny"
        version = "1.0"
        [steps]
        install = '''
        mkdir -p "$out/lib" "$out/hashed"
        echo x=1 >"$out/lib/a.py"; echo x=1 >"$out/hashed/a.py"
        python3 -m compileall -q --invalidation-mode timestamp "$out/lib"
        python3 -m compileall -q --invalidation-mode unchecked-hash "$out/hashed"
        '''
    """)
    package = workshop.install(workshop.build(folder, environ={"PATH": os.environ["PATH"]}))
    assert [entry.name for entry in (package.path / "lib").iterdir()] == ["a.py"]
    assert (package.path / "hashed/__pycache__").is_dir()


def test_a_wrong_source_is_refused_before_any_step_of_the_plan(workshop: Workshop) -> None:
    """TrustError; no artifact, and the log of the fetch step says why."""
    folder = workshop.plan(
        "[package]\nname='tiny'\nversion='1'\n[[source]]\nfile='a.txt'\nsha256='" + "0" * 64 + "'\n[steps]\ninstall='touch /nowhere'\n",
        a_dot_txt="text\n",
    )
    with pytest.raises(TrustError) as caught:
        workshop.build(folder)
    assert "expected sha256 000" in Path(str(caught.value.data["log"])).read_text()
    assert workshop.leftovers() == []


def test_a_missing_key_is_an_error_before_anything_is_done(workshop: Workshop) -> None:
    """With the command that makes one."""
    with pytest.raises(NotFoundError) as caught:
        workshop.build(workshop.plan(TINY), origin="nobody")
    assert caught.value.next == "stead origin key generate nobody"
    with pytest.raises(NotFoundError):
        workshop.build(workshop.plan(TINY), keys=KeyCache(workshop.base / "empty"))
    assert not (workshop.root.path / "cache/build").exists()


def test_a_plan_without_an_origin_needs_one_from_outside(workshop: Workshop) -> None:
    """Option, then environment, then plan."""
    with pytest.raises(UsageError, match="names no origin"):
        workshop.build(workshop.plan(TINY), origin=None)
    built = workshop.build(workshop.plan(TINY), origin=None, environ={"PATH": os.environ["PATH"], "HAB_ORIGIN": "acme"})
    assert built.ident.origin == "acme"


def test_errors_of_the_folder_are_found_before_the_first_step(workshop: Workshop) -> None:
    """A default that the schema refuses, a template that does not parse: no build."""
    folder = workshop.plan(
        TINY,
        default_dot_toml="port = 'x'\n",
        config_dot_schema_dot_json='{"properties": {"port": {"type": "integer"}}}',
        config__a_dot_conf="{{#if cfg.port}}",
    )
    with pytest.raises(PlanError, match="2 problems"):
        workshop.build(folder)
    assert not (workshop.root.path / "cache/build").exists()


@pytest.mark.parametrize(
    ("release", "epoch", "expected"),
    [(None, None, "20270115080000"), (None, "0", "19700101000000"), ("20260101000000", "0", "20260101000000")],
)
def test_the_release_is_given_or_the_time(workshop: Workshop, release: str | None, epoch: str | None, expected: str) -> None:
    """Option, then SOURCE_DATE_EPOCH, then now."""
    from dataclasses import replace

    environ = {"SOURCE_DATE_EPOCH": epoch} if epoch is not None else {}
    assert choose_release(replace(workshop.options, release=release, environ=environ)) == expected


@pytest.mark.parametrize("release", ["2026", "20261301000000", "x" * 14])
def test_a_release_that_is_no_time_is_refused(workshop: Workshop, release: str) -> None:
    """14 digits of a time in UTC."""
    with pytest.raises(UsageError):
        workshop.build(workshop.plan(TINY), release=release)


def test_another_root_installs_a_relocatable_package(workshop: Workshop, tmp_path: Path) -> None:
    """Its metafiles speak of the new root then."""
    built = workshop.build(workshop.plan(TINY))
    other = InstalledTree(Root(tmp_path / "other"))
    package = other.install(built.path, workshop.keys.public)
    assert package.path.is_relative_to(tmp_path / "other")


@pytest.mark.slow
def test_a_dependency_that_was_built_here_is_installed_from_the_artifact_cache(workshop: Workshop) -> None:
    """Two plans in a row need no depot; the signature is checked as always."""
    workshop.build(workshop.plan(TINY))
    top = workshop.plan(
        "[package]\nname = 'top'\nversion = '1'\ndeps = ['acme/tiny']\n[steps]\ninstall = 'mkdir \"$out/bin\"'\n", name="top"
    )
    built = workshop.build(top)
    assert workshop.metafiles(built)["DEPS"].decode() == f"acme/tiny/1.0/{RELEASE}\n"
    assert [str(package.ident) for package in InstalledTree(workshop.root).list()] == [f"acme/tiny/1.0/{RELEASE}"]
