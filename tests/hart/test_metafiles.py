"""hart.metafiles: tolerant reading, deterministic writing, moving to another root."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hart import limits
from hart.errors import FormatError, LimitError, NotFoundError
from hart.ident import Ident
from hart.metafiles import INDEXED, METAFILES, Metadata, parse, read, read_bounded, render, reroot
from hart.root import Root
from hart.target import Target
from tests.hart.building import names

WEB = Ident("acme", "web", "1.0", "20260102030405")
LIB = Ident("acme", "lib", "2", "20260102030405")
HERE = f"/hab/pkgs/{WEB}"
BASE = {"IDENT": f"{WEB}\n".encode(), "TARGET": b"x86_64-linux\n"}


def parsed(**files: bytes) -> Metadata:
    return parse({**BASE, **files})


def test_a_package_that_says_nothing_has_the_defaults() -> None:
    """Absent means nothing to say."""
    assert parse(BASE) == Metadata(ident=WEB, target=Target.X86_64_LINUX)


def test_everything_that_a_package_can_say_is_read() -> None:
    """Each metafile of packages 3.1 that Linux has, and our own."""
    meta = parsed(
        DEPS=f"{LIB}\n".encode(),
        TDEPS=f"  {LIB}  \r\n\n".encode(),
        PATH=f"{HERE}/bin:{HERE}/sbin\n".encode(),
        RUNTIME_PATH=f"{HERE}/bin:/hab/pkgs/{LIB}/bin\n".encode(),
        RUNTIME_ENVIRONMENT=b"PATH=/legacy\nJAVA_OPTS=-Xa=b -c\nEMPTY=\nnonsense\n",
        RUNTIME_ENVIRONMENT_PROVENANCE=f"JAVA_OPTS={LIB} {WEB}\n".encode(),
        EXPORTS=b"port=server.port\nhost = h\n",
        EXPOSES=b"80 443 none 0 70000\n",
        BINDS=b"db=port host\n",
        BINDS_OPTIONAL=b"cache=port\n",
        INTERPRETERS=f"{HERE}/bin/sh\n{HERE}/bin/bash\n".encode(),
        CFLAGS=f"-I{HERE}/include\n".encode(),
        SVC_USER=b"root\n",
        SVC_GROUP=b"hab\n",
        SHUTDOWN_SIGNAL=b"QUIT\n",
        SHUTDOWN_TIMEOUT=b"30\n",
        PACKAGE_TYPE=b"native\n",
        BUILD_ROOT=b"/hab\n",
        RELOCATABLE=b"yes\n",
        TEMPLATES=b"strict\n",
        TYPE=b"standalone",
        **{"default.toml": b"a = 1\n", "service.toml": b"[ready]\n", "config.schema.json": b"{}"},
    )
    assert meta.deps == meta.tdeps == (LIB,)
    assert meta.path == (f"{HERE}/bin", f"{HERE}/sbin")
    assert meta.runtime_environment == {"JAVA_OPTS": "-Xa=b -c", "EMPTY": ""}
    assert meta.runtime_environment_provenance == {"JAVA_OPTS": (str(LIB), str(WEB))}
    assert meta.exports["port"] == "server.port"
    assert meta.exposes == (80, 443)
    assert meta.binds == {"db": ("port", "host")}
    assert meta.binds_optional == {"cache": ("port",)}
    assert (meta.svc_user, meta.svc_group, meta.shutdown_signal, meta.shutdown_timeout_s) == ("root", "hab", "QUIT", 30.0)
    assert meta.interpreters == (f"{HERE}/bin/sh", f"{HERE}/bin/bash")
    assert meta.package_type == "native"
    assert meta.relocatable
    assert meta.strict_templates
    assert meta.is_service
    assert (meta.default_config, meta.service, meta.schema) == ("a = 1\n", "[ready]\n", "{}")


def test_an_old_path_of_one_newline_is_no_path() -> None:
    """Packages of 2016 have it."""
    assert parsed(PATH=b"\n").path == ()


def test_directories_of_others_are_dropped_from_path() -> None:
    """Own prefix only, and a prefix ends at a slash."""
    assert parsed(PATH=f"/usr/bin:{HERE}0/bin:{HERE}/bin:{HERE}:/opt{HERE}/bin".encode()).path == (f"{HERE}/bin", HERE, f"/opt{HERE}/bin")


def test_a_step_up_in_path_does_not_leave_the_package() -> None:
    """Own prefix only: what the entry means counts, not how it begins."""
    assert parsed(PATH=f"{HERE}/../../../lib/bin:{HERE}/..:{HERE}/a/../bin".encode()).path == (f"{HERE}/a/../bin",)


@pytest.mark.parametrize("name", ["PATH", "RUNTIME_PATH", "LD_RUN_PATH", "PKG_CONFIG_PATH"])
@pytest.mark.parametrize("entry", ["bin", ".", "../bin", f"{HERE}/a\nb", f"{HERE}/\x1b[2J", f"\t/x\n/{HERE}"])
def test_path_entries_that_depend_on_where_one_stands_or_break_a_line_are_dropped(name: str, entry: str) -> None:
    """`.` in PATH runs what lies in the current directory; no directory of a package has control characters."""
    meta = parsed(**{name: f"{entry}:{HERE}/bin".encode()})
    assert {"PATH": meta.path, "RUNTIME_PATH": meta.runtime_path, "LD_RUN_PATH": meta.ld_run_path}.get(name, meta.pkg_config_path) == (
        f"{HERE}/bin",
    )


def test_a_nul_is_read_as_any_other_byte_that_is_no_text() -> None:
    """The kernel takes no NUL in a variable, a path or a user's name: whoever starts the program would fall over it."""
    meta = parsed(RUNTIME_ENVIRONMENT=b"A=1\0\xff\n", RUNTIME_PATH=b"/a\0b", SVC_USER=b"ro\0ot", SHUTDOWN_SIGNAL=b"TE\0RM")
    assert meta.runtime_environment == {"A": "1\ufffd\ufffd"}
    assert (meta.runtime_path, meta.svc_user, meta.shutdown_signal) == (("/a\ufffdb",), "ro\ufffdot", "TE\ufffdRM")


def test_a_dependency_that_is_listed_again_counts_once() -> None:
    """A repeat moves to the end of TDEPS, as when TDEPS is composed; elsewhere the first one counts."""
    other = Ident("acme", "other", "1", "20260102030405")
    listed = f"{LIB}\n{other}\n{LIB}\n".encode()
    meta = parsed(DEPS=listed, TDEPS=listed, BUILD_DEPS=listed, BUILD_TDEPS=listed)
    assert (meta.deps, meta.build_deps) == ((LIB, other), (LIB, other))
    assert (meta.tdeps, meta.build_tdeps) == ((other, LIB), (other, LIB))


def test_a_package_is_a_service_by_its_user_or_by_what_it_runs() -> None:
    """SVC_USER in archives; hooks/run or run on the disk."""
    assert not parsed(default_toml=b"").is_service
    assert parsed(SVC_USER=b"hab").is_service
    assert parse({**BASE, "hooks/run": b""}).is_service
    assert parse({**BASE, "run": b""}).is_service


@pytest.mark.parametrize(
    "files",
    [
        {"IDENT": b""},
        {"IDENT": b"acme/web"},
        {"IDENT": b"acme/../1/20260102030405"},
        {"IDENT": b"\xff\xfe"},
        {"TARGET": b""},
        {"TARGET": b"pdp11-unix"},
        {"DEPS": b"acme/lib\n"},
        {"TDEPS": b"acme/lib/1/2026\n"},
        {"TDEPS": f"{LIB}\n{WEB}\n".encode()},
        {"DEPS": f"{WEB}\n".encode()},
        {"BUILD_DEPS": b"not an ident\n"},
    ],
)
def test_unusable_identity_or_dependencies_are_refused(files: dict[str, bytes]) -> None:
    """Without them nothing can be decided about a package."""
    with pytest.raises(FormatError):
        parsed(**files)


def test_ident_and_target_are_required() -> None:
    """A directory without them is no package."""
    for name in BASE:
        with pytest.raises(FormatError, match=f"no metafile {name}"):
            parse({key: value for key, value in BASE.items() if key != name})


def test_windows_lists_are_split_at_semicolons() -> None:
    """The depot shows packages of all targets."""
    meta = parsed(TARGET=b"x86_64-windows\r\n", PATH=rb"\hab\pkgs\x\bin;\hab\pkgs\x\sbin")
    assert meta.path == (r"\hab\pkgs\x\bin", r"\hab\pkgs\x\sbin")


def test_rendering_is_sorted_and_says_nothing_when_there_is_nothing() -> None:
    """The same metadata gives the same bytes."""
    assert list(render(parse(BASE))) == ["IDENT", "TARGET"]
    meta = replace(parse(BASE), runtime_environment={"B": "2", "A": "1"}, exposes=(443, 80), shutdown_timeout_s=8.0)
    files = render(meta)
    assert files["RUNTIME_ENVIRONMENT"] == b"A=1\nB=2\n"
    assert files["EXPOSES"] == b"443 80\n"
    assert files["SHUTDOWN_TIMEOUT"] == b"8\n"
    assert list(files) == sorted(files)


def test_what_the_format_cannot_hold_is_refused() -> None:
    """Line breaks in values, names with `=`, parts of seconds."""
    for fields in (
        {"runtime_environment": {"A": "1\nB=2"}},
        {"runtime_environment": {"A=B": "1"}},
        {"runtime_environment": {"": "1"}},
        {"interpreters": ("/a\n/b",)},
        {"svc_user": "root\nhab"},
        {"shutdown_timeout_s": 1.5},
    ):
        with pytest.raises(FormatError):
            render(replace(parse(BASE), **fields))  # type: ignore[arg-type]


WORD = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
LINE = st.from_regex(r"[!-~]([ -~]{0,30}[!-~])?", fullmatch=True)
DIRECTORIES = st.lists(WORD.map(lambda word: f"{HERE}/{word}"), max_size=4).map(tuple)
IDENTS = st.lists(
    st.builds(lambda name, number: Ident("acme", name, "1.0", f"{number:014}"), st.sampled_from("abc"), st.integers(0, 99)),
    max_size=4,
    unique=True,
).map(tuple)
METADATA = st.builds(
    Metadata,
    ident=st.just(WEB),
    target=st.just(Target.X86_64_LINUX),
    deps=IDENTS,
    tdeps=IDENTS,
    build_deps=IDENTS,
    path=DIRECTORIES,
    runtime_path=DIRECTORIES,
    interpreters=DIRECTORIES,
    ldflags=st.one_of(st.just(""), LINE),
    runtime_environment=st.dictionaries(WORD.filter(lambda word: word != "PATH"), LINE, max_size=4),
    exports=st.dictionaries(WORD, WORD, max_size=4),
    binds=st.dictionaries(WORD, st.lists(WORD, max_size=3).map(tuple), max_size=3),
    exposes=st.lists(st.integers(1, 65535), max_size=3).map(tuple),
    svc_user=st.just("hab"),
    svc_group=st.one_of(st.none(), WORD),
    shutdown_timeout_s=st.one_of(st.none(), st.integers(0, 10**6).map(float)),
    package_type=st.sampled_from(["standard", "native"]),
    manifest=st.text(st.characters(codec="utf-8")),
    default_config=st.text(st.characters(codec="utf-8")),
    schema=st.one_of(st.none(), st.text(st.characters(codec="utf-8"))),
    service=st.one_of(st.none(), st.text(st.characters(codec="utf-8"))),
    relocatable=st.booleans(),
    strict_templates=st.booleans(),
    is_service=st.just(True),
)


@given(METADATA)
def test_parsing_what_was_rendered_gives_it_back(meta: Metadata) -> None:
    """Everything that can be said is said; only names that are known are written."""
    files = render(meta)
    assert parse(files) == meta
    assert set(files) <= INDEXED
    assert {"default.toml", "service.toml", "config.schema.json", "bundle.toml"} == INDEXED - METAFILES
    assert {"FILES"} == METAFILES - INDEXED


@given(st.dictionaries(st.sampled_from(sorted(INDEXED)), st.binary(max_size=200)))
def test_reading_anything_raises_our_error_or_nothing(files: dict[str, bytes]) -> None:
    """Metafiles come from others."""
    with contextlib.suppress(FormatError):
        assert parse({**BASE, **files}).ident.is_full


def test_paths_of_a_relocatable_package_move_with_the_root() -> None:
    """Only where a path begins, and only when the package says that nothing else names its root."""
    meta = parsed(
        RELOCATABLE=b"yes",
        PATH=f"{HERE}/bin".encode(),
        RUNTIME_PATH=f"{HERE}/bin:/usr/hab/pkgs/x".encode(),
        INTERPRETERS=f"{HERE}/bin/sh".encode(),
        CFLAGS=f"-I{HERE}/include -I/opt/hab/pkgs/y".encode(),
        LDFLAGS=f"-L{HERE}/lib".encode(),
        RUNTIME_ENVIRONMENT=f"A={HERE}/a:{HERE}/b\nB=--x={HERE} /x{HERE}".encode(),
    )
    there = f"/srv/x/pkgs/{WEB}"
    moved = reroot(meta, Path("/srv/x"))
    assert moved.path == (f"{there}/bin",)
    assert moved.runtime_path == (f"{there}/bin", "/usr/hab/pkgs/x")
    assert moved.interpreters == (f"{there}/bin/sh",)
    assert moved.cflags == f"-I{there}/include -I/opt/hab/pkgs/y"
    assert moved.ldflags == f"-L{there}/lib"
    assert moved.runtime_environment == {"A": f"{there}/a:{there}/b", "B": f"--x={there} /x{HERE}"}
    assert reroot(meta, Path("/hab")) == meta
    assert reroot(replace(meta, relocatable=False), Path("/srv/x")) == replace(meta, relocatable=False)


def test_paths_of_a_package_for_another_root_move_from_that_root() -> None:
    """BUILD_ROOT says where they begin."""
    meta = parsed(RELOCATABLE=b"yes", BUILD_ROOT=b"/tmp/r\n", PATH=f"/tmp/r/pkgs/{WEB}/bin:{HERE}/bin".encode())
    assert meta.path == (f"/tmp/r/pkgs/{WEB}/bin",)
    assert reroot(meta, Path("/hab")).path == (f"{HERE}/bin",)


def test_reading_a_directory(tmp_path: Path) -> None:
    """Metafiles from the disk, moved to the root; a service by its hook."""
    release = tmp_path / "r"
    (release / "hooks").mkdir(parents=True)
    (release / "hooks/run").write_text("exec x")
    for name, data in {**BASE, "RELOCATABLE": b"yes", "PATH": f"{HERE}/bin".encode()}.items():
        (release / name).write_bytes(data)
    assert read(release).path == (f"{HERE}/bin",)
    assert read(release, Root(tmp_path)).path == (f"{tmp_path}/pkgs/{WEB}/bin",)
    assert read(release).is_service


def test_a_release_that_is_removed_while_it_is_read_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers take no lock: a removed release has no IDENT, and what was read before it was gone is not half of a package."""
    release, gone = tmp_path / "r", tmp_path / "gone"
    release.mkdir()
    for name, data in {**BASE, "DEPS": f"{LIB}\n".encode(), "TDEPS": f"{LIB}\n".encode(), "SVC_USER": b"web\n"}.items():
        (release / name).write_bytes(data)
    whole = read(release)
    reads = len(INDEXED)
    for removed_before in range(reads):
        count = iter(range(reads))

        def watched(
            path: Path, limit: int = limits.METAFILE_MAX, *, at: int = removed_before, count: Iterator[int] = count
        ) -> bytes | None:
            if next(count) == at:
                release.rename(gone)
            return read_bounded(path, limit)

        monkeypatch.setattr("hart.metafiles.read_bounded", watched)
        with pytest.raises(FormatError, match="no metafile IDENT"):
            read(release)
        gone.rename(release)
    monkeypatch.undo()
    assert read(release) == whole


def test_reading_what_is_not_there_or_too_large(tmp_path: Path) -> None:
    """A missing directory, and a metafile that would fill the memory."""
    with pytest.raises(NotFoundError):
        read(tmp_path / "nowhere")
    (tmp_path / "IDENT").write_bytes(bytes(limits.METAFILE_MAX + 1))
    with pytest.raises(LimitError):
        read(tmp_path)
    (tmp_path / "IDENT").unlink()
    (tmp_path / "IDENT").symlink_to("/etc/hostname")
    with pytest.raises(FormatError, match="is a link"):
        read(tmp_path)
    (tmp_path / "IDENT").unlink()
    (tmp_path / "IDENT").mkdir()
    before = names(Path("/proc/self/fd"))
    with pytest.raises(FormatError, match="is a directory"):
        read(tmp_path)
    assert names(Path("/proc/self/fd")) == before
