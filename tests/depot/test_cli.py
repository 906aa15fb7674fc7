"""The verbs that talk to a depot: what people type and see."""

import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import stead
from depot.cli_install import readable_size
from hart.keys import KeyCache
from tests.depot.simulator import RELEASE, Faults, Simulator, ident, key_of, make_package, trusting

APP, LIB, BASE = ident("acme/app"), ident("acme/lib"), ident("base/libc")
TOKEN = "stead-token"


@dataclass
class Done:
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


class Shell:
    """A person with a root, a key cache and a depot."""

    def __init__(self, home: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.home, self.simulator = home, simulator
        self.root = home / "root"
        self._monkeypatch, self._capsys = monkeypatch, capsys
        for name in list(os.environ):
            if name.startswith(("STEAD_", "HAB_")):
                monkeypatch.delenv(name)
        monkeypatch.setenv("STEAD_ROOT", str(self.root))
        monkeypatch.setenv("STEAD_DEPOT_URL", simulator.url)
        monkeypatch.setenv("STEAD_TOKEN", TOKEN)
        self.keys = trusting(self.root / "cache/keys", "acme", "base")

    def stead(self, *args: object) -> Done:
        argv = [str(arg) for arg in args]
        self._monkeypatch.setattr("sys.argv", ["stead", *argv])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            stead.main(argv)
        captured = self._capsys.readouterr()
        assert "Traceback" not in captured.err
        assert isinstance(stop.value.code, int)
        return Done(stop.value.code, captured.out, captured.err)

    def make(self, name: str, **more: Any) -> Path:
        return make_package(self.home / "made", name, **more)

    def publish(self, name: str, *channels: str, **more: Any) -> Path:
        path = self.make(name, **more)
        self.simulator.add(path, *channels)
        return path

    def publish_app(self) -> None:
        self.publish("base/libc")
        self.publish("acme/lib", needs=(BASE,))
        self.publish("acme/app", needs=(LIB, BASE))

    def path(self, who: Any) -> Path:
        return self.root / "pkgs" / str(who)


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    with Simulator() as simulator:
        simulator.token = TOKEN
        yield Shell(tmp_path, simulator, monkeypatch, capsys)


# --- install


def test_install_tells_what_it_chose_and_what_it_did(shell: Shell) -> None:
    """Choice, downloads and packages on stderr, nothing on stdout; the second run has nothing to do."""
    shell.publish_app()
    done = shell.stead("pkg", "install", "acme/app")
    assert done.code == 0
    assert done.out == ""
    assert f"{APP}: the newest in channel stable" in done.err
    assert f"downloaded {LIB}" in done.err
    assert done.err.index(f"installed {BASE}") < done.err.index(f"installed {APP}")
    assert f"{APP} is installed, with 2 packages that it needs" in done.err
    again = shell.stead("pkg", "install", "acme/app")
    assert (again.code, "already installed" in again.err) == (0, True)


def test_install_as_json_is_one_document(shell: Shell) -> None:
    """A row for each package asked for, with what is new because of it."""
    shell.publish_app()
    done = shell.stead("pkg", "install", "base/libc", "acme/app", "--json")
    assert [(row["package"], row["new"]) for row in done.data] == [(str(BASE), [str(BASE)]), (str(APP), [str(LIB), str(APP)])]
    assert done.data[1]["path"] == str(shell.path(APP))
    again = shell.stead("pkg", "install", "acme/app", "--json")
    assert again.data[0]["new"] == []


@pytest.mark.parametrize("name", ["STEAD_CHANNEL", "HAB_BLDR_CHANNEL"])
def test_the_channel_comes_from_option_or_environment(shell: Shell, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """An option beats the environment, the environment beats stable."""
    shell.publish("acme/app/1.0")
    shell.publish("acme/app/2.0", "next")
    monkeypatch.setenv(name, "next")
    assert shell.stead("pkg", "install", "acme/app", "-c", "stable", "--json").data[0]["package"] == f"acme/app/1.0/{RELEASE}"
    assert shell.stead("pkg", "install", "acme/app", "--json").data[0]["package"] == f"acme/app/2.0/{RELEASE}"
    done = shell.stead("pkg", "install", "acme/app", "-c", "stable", "--ignore-local", "--json")
    assert done.data[0]["package"] == f"acme/app/1.0/{RELEASE}"


def test_a_package_in_another_channel_is_pointed_at(shell: Shell) -> None:
    """The next command is one that works."""
    shell.publish("acme/app", "next")
    done = shell.stead("pkg", "install", "acme/app")
    assert done.code == 5
    assert "stead pkg install acme/app --channel next" in done.err
    assert shell.stead(*done.err.split("next: stead ")[1].split()).code == 0


def test_a_missing_key_stops_and_names_the_way(shell: Shell) -> None:
    """Exit 4; the command works and shows the fingerprint; then the install does."""
    shell.publish("acme/app")
    shell.simulator.add_key(key_of("acme"))
    empty = shell.home / "keys"
    done = shell.stead("pkg", "install", "acme/app", "--cache-key-path", empty)
    assert done.code == 4
    assert "stead origin key download acme" in done.err
    assert not list((shell.root / "pkgs").glob("*/*/*/*"))
    fetched = shell.stead("origin", "key", "download", "acme", "--cache-key-path", empty, "--json")
    assert [(row["key"], row["fingerprint"], row["new"]) for row in fetched.data] == [
        (f"acme-{RELEASE}", key_of("acme").public.fingerprint, True)
    ]
    assert shell.stead("pkg", "install", "acme/app", "--cache-key-path", empty).code == 0


def test_fetch_keys_says_whom_it_trusts(shell: Shell) -> None:
    """Trust on first use is told, as text and as JSON."""
    shell.publish("acme/app")
    shell.simulator.add_key(key_of("acme"))
    done = shell.stead("pkg", "install", "acme/app", "--fetch-keys", "--cache-key-path", shell.home / "keys", "--json")
    fingerprint = key_of("acme").public.fingerprint
    assert done.data[0]["keys_trusted"] == [{"key": f"acme-{RELEASE}", "fingerprint": fingerprint}]
    assert fingerprint in done.err


def test_a_file_is_installed_offline(shell: Shell) -> None:
    """A path that exists is a file, whatever its name."""
    path = shell.make("acme/app", file_name="some file")
    assert shell.stead("pkg", "install", path, "--offline").code == 0
    assert shell.path(APP).is_dir()
    assert shell.simulator.requests == []


def test_a_hart_that_is_no_file_is_not_taken_for_an_ident(shell: Shell) -> None:
    """As Habitat."""
    done = shell.stead("pkg", "install", "acme/app.hart")
    assert (done.code, "no such file" in done.err) == (5, True)


@pytest.mark.parametrize("name", ["app", "a/b/c/d/e", "Acme/app", "../x", ""])
def test_a_bad_ident_is_refused_before_anything_is_asked(shell: Shell, name: str) -> None:
    """Exit 3."""
    assert shell.stead("pkg", "install", name).code == 3
    assert shell.simulator.requests == []


def test_an_install_hook_runs_once_with_its_configuration(shell: Shell) -> None:
    """Dependencies first; the status is kept; a second install does not run it again."""
    hook = '#!/bin/sh\necho "{{pkg.name}} {{cfg.word}}" >> "{{pkg.svc_data_path}}/../../../ran"\n'
    said = {"default_config": 'word = "hello"\n', "svc_user": None}
    shell.publish("base/libc", files={"hooks/install": hook.encode()}, **said)
    shell.publish("acme/app", needs=(BASE,), files={"hooks/install": hook.encode()}, **said)
    done = shell.stead("pkg", "install", "acme/app", "--json")
    assert done.code == 0, done.err
    assert done.data[0]["hooks_run"] == [str(BASE), str(APP)]
    assert (shell.root / "ran").read_text() == "libc hello\napp hello\n"
    assert (shell.path(APP) / "INSTALL_HOOK_STATUS").read_text().strip() == "0"
    assert shell.stead("pkg", "install", "acme/app", "--json").data[0]["hooks_run"] == []


def test_a_failing_install_hook_names_its_log_and_runs_again(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 11; the package is there; the status is the hook's code; the next install tries again."""
    hook = b'#!/bin/sh\necho trouble >&2\n[ -z "$STEAD_TOKEN" ] || exit 99\n[ "{{cfg.works}}" = true ] || exit 7\n'
    shell.publish("acme/app", files={"hooks/install": hook}, default_config="works = false\n")
    done = shell.stead("pkg", "install", "acme/app")
    assert done.code == 11
    assert "exit code 7" in done.err
    log = shell.root / "svc/app/logs/install.stderr.log"
    assert str(log) in done.err
    assert log.read_text() == "trouble\n"
    assert (shell.path(APP) / "INSTALL_HOOK_STATUS").read_text().strip() == "7"
    monkeypatch.setenv("HAB_APP", "works = true")
    assert shell.stead("pkg", "install", "acme/app", "--json").data[0]["hooks_run"] == [str(APP)]


def test_install_hooks_can_be_ignored(shell: Shell) -> None:
    """--ignore-install-hook."""
    shell.publish("acme/app", files={"hooks/install": b"#!/bin/sh\nexit 1\n"})
    assert shell.stead("pkg", "install", "acme/app", "--ignore-install-hook").code == 0


def test_binlink_makes_links_and_leaves_others_alone(shell: Shell) -> None:
    """A wrong link stays unless forced; a file stays always."""
    prefix = f"/hab/pkgs/{APP}"
    files = {"bin/run": b"#!/bin/sh\n", "bin/other": b"#!/bin/sh\n", "bin/plain": b"#!/bin/sh\n"}
    shell.publish("acme/app", files=files, path=(f"{prefix}/bin",))
    links = shell.home / "links"
    links.mkdir()
    (links / "other").symlink_to("/bin/true")
    (links / "plain").write_text("mine")
    args = ("pkg", "install", "acme/app", "--binlink", "--binlink-dir", links, "--json")
    states = {Path(row["path"]).name: row["state"].split(":")[0] for row in shell.stead(*args).data[0]["links"]}
    assert states == {"run": "made", "other": "skipped", "plain": "skipped"}
    assert (links / "run").readlink() == shell.path(APP) / "bin/run"
    states = {Path(row["path"]).name: row["state"].split(":")[0] for row in shell.stead(*args, "--force").data[0]["links"]}
    assert states == {"run": "already there", "other": "made", "plain": "skipped"}
    assert (links / "plain").read_text() == "mine"


# --- publish


def test_upload_sends_key_then_needs_then_the_package(shell: Shell) -> None:
    """Who finds the package can install it. Then: already published."""
    shell.simulator.channels |= {"acme": {"stable", "unstable"}, "base": {"stable", "unstable"}}
    shell.make("base/libc")
    shell.make("acme/lib", needs=(BASE,))
    path = shell.make("acme/app", needs=(LIB, BASE))
    done = shell.stead("pkg", "upload", path, "-c", "stable", "--json")
    assert done.code == 0, done.err
    assert [(row["package"], row["new"]) for row in done.data] == [(str(BASE), True), (str(LIB), True), (str(APP), True)]
    assert sorted(shell.simulator.keys) == [f"acme-{RELEASE}", f"base-{RELEASE}"]
    assert shell.simulator.packages[str(APP)].channels == {"unstable", "stable"}
    again = shell.stead("pkg", "upload", path)
    assert again.code == 0
    assert f"{APP}: already published" in again.err


def test_upload_finds_needs_in_the_artifact_cache(shell: Shell) -> None:
    """As `pkg build` and `pkg install` leave them there."""
    shell.simulator.channels |= {"acme": set(), "base": set()}
    cache = shell.root / "cache/artifacts"
    cache.mkdir(parents=True)
    make_package(cache, "base/libc")
    assert shell.stead("pkg", "upload", shell.make("acme/app", needs=(BASE,))).code == 0
    assert set(shell.simulator.packages) == {str(APP), str(BASE)}


def test_upload_without_a_needed_package_sends_nothing(shell: Shell) -> None:
    """All are found before any is sent."""
    shell.simulator.channels |= {"acme": set()}
    done = shell.stead("pkg", "upload", shell.make("acme/app", needs=(LIB,)))
    assert (done.code, str(LIB) in done.err) == (5, True)
    assert shell.simulator.packages == {}


def test_upload_of_other_bytes_under_a_published_name_is_a_conflict(shell: Shell) -> None:
    """Exit 6."""
    shell.simulator.add_bytes(b"other", APP, ())
    assert shell.stead("pkg", "upload", shell.make("acme/app")).code == 6


def test_upload_into_a_missing_origin_says_how_to_make_it(shell: Shell) -> None:
    """And that command works."""
    path = shell.make("acme/app")
    done = shell.stead("pkg", "upload", path)
    assert (done.code, "stead origin create acme" in done.err) == (5, True)
    assert shell.stead("origin", "create", "acme").code == 0
    assert shell.stead("pkg", "upload", path).code == 0


@pytest.mark.parametrize("token", ["", "wrong"])
def test_upload_without_a_good_token_says_how_to_get_one(shell: Shell, monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    """Exit 8; the token is not shown."""
    monkeypatch.setenv("STEAD_TOKEN", token)
    shell.simulator.channels |= {"acme": set()}
    done = shell.stead("pkg", "upload", shell.make("acme/app"))
    assert (done.code, "STEAD_TOKEN" in done.err) == (8, True)
    assert shell.simulator.packages == {}


def test_a_damaged_artifact_is_not_uploaded(shell: Shell) -> None:
    """Exit 4, before anything is sent."""
    path = shell.make("acme/app")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    assert shell.stead("pkg", "upload", path).code == 4
    assert shell.simulator.requests == []


def test_promote_demote_and_channels(shell: Shell) -> None:
    """A release goes in and out; a missing channel is an error with the way to make it."""
    shell.publish("acme/app", "unstable")
    assert shell.stead("pkg", "promote", APP, "stable").code == 0
    assert {row["name"] for row in shell.stead("pkg", "channels", APP, "--json").data} == {"unstable", "stable"}
    assert shell.stead("pkg", "demote", APP, "stable", "--json").data["promoted"] is False
    missing = shell.stead("pkg", "promote", APP, "nowhere")
    assert (missing.code, "--create-channel" in missing.err) == (5, True)
    assert shell.stead("pkg", "promote", APP, "nowhere", "--create-channel").code == 0
    absent = shell.stead("pkg", "demote", APP, "stable")
    assert (absent.code, "it is in unstable, nowhere" in absent.err) == (5, True)
    assert shell.stead("pkg", "demote", APP, "unstable").code == 8
    assert shell.stead("pkg", "promote", LIB, "stable").code == 5
    assert shell.stead("pkg", "channels", LIB).code == 5
    assert shell.stead("pkg", "channels", "acme/app").code == 3


def test_search_shows_each_package_once(shell: Shell) -> None:
    """And says when there are more."""
    shell.publish("acme/app/1.0")
    shell.publish("acme/app/2.0")
    shell.publish("acme/apple")
    assert [row["package"] for row in shell.stead("pkg", "search", "app", "--json").data] == ["acme/app", "acme/apple"]
    cut = shell.stead("pkg", "search", "app", "--limit", "1")
    assert cut.out == "acme/app\n"
    assert "there are more" in cut.err
    none = shell.stead("pkg", "search", "nothing", "--json")
    assert (none.code, none.data) == (0, [])


# --- origins and keys


def test_an_origin_is_made_once_and_shown(shell: Shell) -> None:
    """A second time is a conflict."""
    assert shell.stead("origin", "create", "acme", "--json").data["name"] == "acme"
    assert shell.stead("origin", "create", "acme").code == 6
    assert shell.stead("origin", "create", "Not An Origin").code == 2
    assert shell.stead("origin", "key", "upload", "acme", "--json").data["new"] is True
    assert shell.stead("origin", "key", "upload", "acme", "--json").data["new"] is False
    facts = shell.stead("origin", "info", "acme", "--json").data
    assert (facts["owner"], facts["keys"]) == ("ada", [f"acme-{RELEASE}"])
    assert shell.stead("origin", "info", "nobody").code == 5


def test_a_key_file_can_be_uploaded_but_no_secret_one(shell: Shell) -> None:
    """Secret keys never leave the host."""
    shell.simulator.channels |= {"acme": set()}
    public, secret = shell.home / "a.pub", shell.home / "a.sig.key"
    public.write_text(key_of("acme").public.text())
    secret.write_text(key_of("acme").text())
    assert shell.stead("origin", "key", "upload", "--pubfile", secret).code == 2
    assert shell.simulator.requests == []
    assert shell.stead("origin", "key", "upload", "--pubfile", public).code == 0
    assert shell.stead("origin", "key", "upload", "--pubfile", shell.home / "none").code == 5


def test_a_key_that_differs_from_ours_is_an_alarm(shell: Shell) -> None:
    """Exit 4; ours stays."""
    shell.simulator.add_key(key_of("acme", seed=1))
    done = shell.stead("origin", "key", "download", "acme")
    assert done.code == 4
    assert KeyCache(shell.root / "cache/keys").latest_public("acme").raw == key_of("acme").public.raw


# --- trouble


def commands(path: Path) -> list[tuple[object, ...]]:
    return [
        ("pkg", "install", "acme/app"),
        ("pkg", "upload", path),
        ("pkg", "promote", APP, "stable"),
        ("pkg", "demote", APP, "stable"),
        ("pkg", "channels", APP),
        ("pkg", "search", "app"),
        ("origin", "create", "acme"),
        ("origin", "info", "acme"),
        ("origin", "key", "upload", "acme"),
        ("origin", "key", "download", "acme"),
    ]


def test_no_depot_there_is_said_by_every_command(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 7, the URL, and how to start one; with --json as JSON."""
    monkeypatch.setattr("depot.retry.Backoff.wait_s", lambda *_, **__: None)  # one try: the waits have their own tests
    with socket.socket() as held:  # bound, not listening: refused, and nobody else can take it
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        path = shell.make("acme/app")
        for words in commands(path):
            done = shell.stead(*words, "--url", url, "--json")
            assert done.code == 7, (words, done.err)
            error = json.loads(done.err.splitlines()[-1])
            assert url in error["thing"]
            assert "stead depot serve" in error["next"]
            assert done.out == ""


@pytest.mark.parametrize("url", ["nonsense", "ftp://x", "http://a:b@c/"])
def test_a_bad_url_is_said_by_every_command(shell: Shell, url: str) -> None:
    """Exit 2."""
    for words in commands(shell.make("acme/app")):
        assert shell.stead(*words, "--url", url).code == 2, words


def test_a_web_site_is_not_taken_for_a_depot(shell: Shell) -> None:
    """HTML with status 200: a format error that asks whether this is a depot."""
    shell.publish("acme/app")
    shell.simulator.faults = Faults(body=b"<html>hello</html>")
    for words in (("pkg", "install", "acme/app"), ("pkg", "search", "app"), ("origin", "info", "acme")):
        done = shell.stead(*words)
        assert (done.code, "is this URL a depot's?" in done.err) == (3, True), done.err


def test_a_token_over_plain_http_to_another_host_is_warned_about(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could be read on the way."""
    from depot.cli_options import make_depot

    shown: list[str] = []
    monkeypatch.setattr("hart.console.warn", shown.append)
    make_depot("http://depot.example", None)
    make_depot("https://depot.example", None)
    make_depot("http://127.0.0.1:1", None)
    assert len(shown) == 1
    assert "unencrypted" in shown[0]


@pytest.mark.parametrize(
    ("size", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_949, "999.9 kB"), (1_000_000, "1.0 MB"), (5_300_000_000, "5.3 GB")],
)
def test_sizes_are_readable(size: int, shown: str) -> None:
    """Decimal units, one digit."""
    assert readable_size(size) == shown
