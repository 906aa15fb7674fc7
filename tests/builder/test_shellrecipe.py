"""Builds from plan.sh, as plans of Habitat are written."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from builder.context import locate
from builder.shellrecipe import evaluate
from hart.errors import BuildError, NotFoundError, PlanError, SteadError
from tests.builder.test_build import c_project
from tests.builder.workshop import HOST, RELEASE, Workshop

pytestmark = pytest.mark.slow

SMALL = """
    pkg_name=small
    pkg_origin=acme
    pkg_version=1.0
    do_build() { return 0; }
    do_install() { echo small >"$pkg_prefix/file"; }
"""


CALLBACKS = (
    "begin", "setup_environment", "before", "download", "verify", "clean", "unpack", "prepare", "build", "check", "install",
    "build_config", "build_service", "strip",
)  # fmt: skip


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


def sh(workshop: Workshop, text: str, *, name: str = "plan", **files: str) -> Path:
    return workshop.plan(text, name=name, file="plan.sh", **files)


def cached_source(workshop: Workshop) -> str:
    """A C project in the source cache, as if it had been downloaded before; its sha256."""
    from builder.source.cache import SourceCache

    base = workshop.base / "tarball"
    archive, sha256 = c_project(base)
    configure = base / "hello-1.0"
    configure.mkdir()
    subprocess.run(["tar", "-xzf", archive, "-C", base], check=True)
    (configure / "configure").write_text('#!/bin/sh\necho "PREFIX = ${1#--prefix=}" >config.mk\nsed -i "1i include config.mk" Makefile\n')
    (configure / "configure").chmod(0o755)
    subprocess.run(["tar", "-czf", archive, "-C", base, "hello-1.0"], check=True)
    sha256 = hashlib.sha256(archive.read_bytes()).hexdigest()
    SourceCache(workshop.root.sources).add(archive, "hello-1.0.tar.gz")
    return sha256


def test_a_plan_with_default_callbacks_builds(workshop: Workshop) -> None:
    """Download, verify, clean, unpack, ./configure, make, make install, strip: none of them written by the plan."""
    sha256 = cached_source(workshop)
    folder = sh(
        workshop,
        f"""
        pkg_name=hello
        pkg_origin=acme
        pkg_version=1.0
        pkg_license=('MIT')
        pkg_source=https://downloads.invalid/${{pkg_name}}-${{pkg_version}}.tar.gz
        pkg_shasum={sha256.upper()}
        pkg_bin_dirs=(bin)
        """,
    )
    built = workshop.build(folder)
    assert str(built.ident) == f"acme/hello/1.0/{RELEASE}"
    package = workshop.install(built)
    done = subprocess.run([package.path / "bin/hello"], capture_output=True, text=True, check=True)
    assert done.stdout == "hello from C\n"
    assert b"not stripped" not in subprocess.run(["readelf", "-S", package.path / "bin/hello"], capture_output=True, check=True).stdout
    symbols = subprocess.run(["readelf", "-S", package.path / "bin/hello"], capture_output=True, text=True, check=True).stdout
    assert ".symtab" not in symbols
    files = workshop.metafiles(built)
    assert "TEMPLATES" not in files
    assert files["PATH"].decode().strip() == f"{package.path}/bin"


def test_callbacks_run_in_habitats_order_in_one_process(workshop: Workshop) -> None:
    """Variables live from one callback to the next; each callback starts where Habitat starts it; logs are per callback."""
    last = 'do_after() { printf "%s\\n" "${trace[@]}" >"$pkg_prefix/trace"; }\n'
    text = "".join(f'do_{name}() {{ trace+=("{name}"); echo "in {name}"; }}\n' for name in CALLBACKS)
    folder = sh(workshop, "pkg_name=small\npkg_origin=acme\npkg_version=1.0\ntrace=()\n" + text + last)
    built = workshop.build(folder, environ=HOST | {"DO_CHECK": "1"})
    package = workshop.install(built)
    assert (package.path / "trace").read_text().split() == list(CALLBACKS)
    assert built.logs is not None
    logs = {log.name.partition("-")[2]: log.read_text() for log in built.logs.iterdir()}
    assert logs["build.log"] == "in build\n"
    assert logs["check.log"] == "in check\n"


def test_do_check_runs_only_when_asked(workshop: Workshop) -> None:
    """DO_CHECK, as in Habitat."""
    folder = sh(workshop, SMALL + "    do_check() { return 1; }\n")
    workshop.build(folder)
    with pytest.raises(BuildError, match="do_check"):
        workshop.build(folder, environ=HOST | {"DO_CHECK": "1"}, release="20260102030406")


def test_a_service_in_habitats_words(workshop: Workshop) -> None:
    """exports, exposes, binds, hooks, config, default.toml, runtime environment, a run file from pkg_svc_run."""
    folder = sh(
        workshop,
        """
        pkg_name=web
        pkg_origin=acme
        pkg_version=1.0
        pkg_bin_dirs=(bin)
        pkg_svc_run="web -p 8080 --name @__pkg_name__@"
        pkg_svc_user=www
        pkg_exports=([port]=http.port [host]=http.host)
        pkg_exposes=(port)
        pkg_binds=([db]="port host")
        pkg_binds_optional=([cache]="port")
        pkg_shutdown_signal=INT
        pkg_shutdown_timeout_sec=3
        do_setup_environment() {
          set_runtime_env WEB_HOME "$pkg_prefix/share"
          push_runtime_env GEM_PATH "$pkg_prefix/gems"
        }
        do_build() { return 0; }
        do_install() { printf '#!/bin/sh\\n' >"$pkg_prefix/bin/web"; }
        """,
        default_dot_toml='[http]\nport = 8080\nhost = "x"\n',
        config__a_dot_conf="{{cfg.http.port}}\n",
        hooks__init="#!/bin/sh\n",
    )
    built = workshop.build(folder)
    files = {name: data.decode() for name, data in workshop.metafiles(built).items()}
    prefix = f"{workshop.root.path}/pkgs/acme/web/1.0/{RELEASE}"
    assert (files["SVC_USER"], files["SVC_GROUP"]) == ("www\n", "hab\n")
    assert (files["EXPORTS"], files["EXPOSES"]) == ("host=http.host\nport=http.port\n", "8080\n")
    assert (files["BINDS"], files["BINDS_OPTIONAL"]) == ("db=port host\n", "cache=port\n")
    assert files["RUNTIME_ENVIRONMENT"] == f"GEM_PATH={prefix}/gems\nWEB_HOME={prefix}/share\n"
    assert (files["SHUTDOWN_SIGNAL"], files["SHUTDOWN_TIMEOUT"]) == ("INT\n", "3\n")
    package = workshop.install(built)
    run = (package.path / "run").read_text()
    assert run.startswith("#!/bin/sh\n")
    assert "exec web -p 8080 --name web 2>&1" in run
    assert (package.path / "config/a.conf").read_text() == "{{cfg.http.port}}\n"
    assert (package.path / "hooks/init").exists()


def test_the_version_may_come_from_a_function(workshop: Workshop) -> None:
    """pkg_version() and update_pkg_version: prefix, names and the artifact follow."""
    folder = sh(
        workshop,
        """
        pkg_name=small
        pkg_origin=acme
        pkg_version() { echo "9.$(echo 1)"; }
        do_before() { update_pkg_version; }
        do_build() { return 0; }
        do_install() { echo "$pkg_prefix $pkg_dirname" >"$pkg_prefix/said"; }
        """,
    )
    built = workshop.build(folder)
    assert str(built.ident) == f"acme/small/9.1/{RELEASE}"
    package = workshop.install(built)
    assert (package.path / "said").read_text() == f"{package.path} small-9.1\n"


def test_dependencies_are_found_by_their_helpers(workshop: Workshop) -> None:
    """pkg_path_for, PATH, fix_interpreter through INTERPRETERS of the dependency."""
    base = sh(
        workshop,
        """
        pkg_name=base
        pkg_origin=acme
        pkg_version=1
        pkg_bin_dirs=(bin)
        pkg_interpreters=(bin/fancy)
        do_build() { return 0; }
        do_install() { printf '#!/bin/sh\\necho fancy\\n' >"$pkg_prefix/bin/fancy"; chmod +x "$pkg_prefix/bin/fancy"; }
        """,
        name="base",
    )
    top = sh(
        workshop,
        """
        pkg_name=top
        pkg_origin=acme
        pkg_version=1
        pkg_deps=(acme/base)
        do_build() { fancy; }
        do_install() {
          pkg_path_for base >"$pkg_prefix/path"
          pkg_path_for acme/base/1 >>"$pkg_prefix/path"
          printf '#!/usr/bin/env bin/fancy\\n' >"$pkg_prefix/script"
          fix_interpreter "$pkg_prefix/script" acme/base bin/fancy
          pkg_path_for other && return 1
          return 0
        }
        """,
        name="top",
    )
    with pytest.raises(NotFoundError, match="acme/base"):
        workshop.build(top)
    installed = workshop.install(workshop.build(base))
    built = workshop.build(top)
    package = workshop.install(built)
    assert (package.path / "path").read_text().splitlines() == [str(installed.path)] * 2
    assert (package.path / "script").read_text() == f"#!{installed.path}/bin/fancy\n"
    assert workshop.metafiles(built)["TDEPS"].decode() == f"{installed.ident}\n"
    assert not built.artifact.relocatable


def test_the_same_plan_gives_the_same_bytes(workshop: Workshop) -> None:
    """Associative arrays have no order in bash; packages have."""
    exports = " ".join(f"[name{number}]=key{number}" for number in range(12))
    folder = sh(workshop, f"{SMALL}    pkg_exports=({exports})\n")
    digests = set()
    for number in range(2):
        built = workshop.build(folder, now_s=1e9 + number)
        digests.add(built.artifact.blake2b)
        shutil.rmtree(workshop.root.artifacts)
    assert len(digests) == 1


def test_destdir_works_too(workshop: Workshop) -> None:
    """For those who write one install command for both kinds of plan."""
    folder = sh(workshop, SMALL.replace('"$pkg_prefix/file"', '"$pkg_prefix/file"; mkdir -p "$out/sub"; touch "$destdir$prefix/sub/x"'))
    package = workshop.install(workshop.build(folder))
    assert sorted(path.name for path in package.path.rglob("*") if path.name in ("file", "x")) == ["file", "x"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("do_build() { echo before; false; echo after; }", "do_build"),
        ("do_install() { exit_with 'no way' 3; }", "do_install"),
        ("do_after() { kill -9 $$; }", "do_after"),
        ("pkg_prefix=/usr\ndo_after() { :; }\ndo_before() { pkg_prefix=/usr; }", "has its prefix at /usr"),
        ("do_begin() { pkg_name=other; }", "changed its origin or name"),
        ("do_build() { exit 0; }", "ended before the package was made"),
        ("do_build() { download_file ftp://e.org/x x aaaa; }", "ftp is not fetched"),
        ("do_build() { download_file https://127.0.0.1/x x " + "a" * 64 + "; }", "not a public address"),
    ],
)
def test_a_failing_plan_is_an_error_and_leaves_nothing(workshop: Workshop, text: str, words: str) -> None:
    """The callback is named; the real prefix, which existed for a while, is gone."""
    with pytest.raises(SteadError) as caught:
        workshop.build(sh(workshop, SMALL + text.replace("\n", "\n    ")))
    assert words in f"{caught.value.thing} {caught.value.cause}"
    assert workshop.leftovers() == []


def test_a_failed_callback_shows_its_own_log(workshop: Workshop) -> None:
    """Only what was printed since it began."""
    with pytest.raises(BuildError) as caught:
        workshop.build(sh(workshop, SMALL + "do_prepare() { echo early; }\n    do_build() { echo broken >&2; false; }\n"))
    assert caught.value.data["tail"] == ["broken"]


def test_an_interrupted_build_leaves_no_prefix(workshop: Workshop, tmp_path: Path) -> None:
    """TERM in the middle of do_install: as if nothing had been built."""
    import os
    import signal
    import sys
    import time

    folder = sh(workshop, SMALL.replace("echo small", "mkdir -p $pkg_prefix/x; touch $PLAN_CONTEXT/started; sleep 300; echo small"))
    command = [
        sys.executable,
        "-m",
        "stead",
        "pkg",
        "build",
        str(folder),
        "--root",
        str(workshop.root.path),
        "--cache-key-path",
        str(workshop.keys.path),
    ]
    child = subprocess.Popen(command, cwd=tmp_path, env=dict(os.environ) | HOST, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not (folder / "started").exists() and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.02)
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=60)
    assert child.returncode == 130
    assert (folder / "started").exists()
    assert workshop.leftovers() == []
    assert not (workshop.root.pkgs / "acme").exists()


def test_a_killed_build_does_not_look_installed_and_the_next_one_clears_it(workshop: Workshop) -> None:
    """A prefix without metafiles is no package."""
    from hart.installed import InstalledTree

    prefix = workshop.root.pkgs / "acme/small/1.0" / RELEASE
    (prefix / "bin").mkdir(parents=True)
    assert InstalledTree(workshop.root).list() == []
    package = workshop.install(workshop.build(sh(workshop, SMALL)))
    assert not (package.path / "bin").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [("pkg_name=(", "could not be read"), ("exit 3", "exit code 3"), ("sleep 100 &\nfalse", "exit code 1")],
)
def test_a_plan_that_cannot_be_sourced_is_a_plan_error(workshop: Workshop, text: str, words: str) -> None:
    """With what bash said."""
    folder = sh(workshop, text)
    with pytest.raises(PlanError, match=words):
        evaluate(locate(folder, "x86_64-linux"), origin=None, release=RELEASE, target="x86_64-linux", root=workshop.root, environ=HOST)


def test_odd_values_reach_the_manifest_unharmed(workshop: Workshop) -> None:
    """Quotes, dollars and line breaks in variables are data."""
    folder = sh(workshop, SMALL + "pkg_description='a \"quoted\" $HOME\nsecond line'\n")
    assert b'a "quoted" $HOME\nsecond line' in workshop.metafiles(workshop.build(folder))["MANIFEST"]
