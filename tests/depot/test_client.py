"""The depot's client against a depot that can misbehave."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from depot import records, routes
from depot.client import Depot
from depot.download import Caps
from depot.retry import Backoff, too_slow
from depot.transport import Pace, Question, Transport
from hart.errors import (
    ConflictError,
    DeniedError,
    FormatError,
    InputError,
    LimitError,
    NotFoundError,
    SteadError,
    StorageError,
    TrustError,
    UnavailableError,
    UsageError,
)
from hart.ident import Ident
from hart.keys import KeyName
from tests.depot.simulator import RELEASE, TARGET, Simulator, ident, key_of, make_package

BRISK = Pace(
    connect_s=2, read_s=0.3, request_s=2, upload_s=0.5, backoff=Backoff(tries=3, connect_tries=2), caps=Caps(window_s=0.05, rate_min=1000)
)
APP = ident("acme/app/1.0")


@pytest_asyncio.fixture
async def simulator() -> AsyncIterator[Simulator]:
    async with Simulator() as made:
        yield made


class Clientele:
    """Clients of one simulator; they do not really wait between tries."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.waited: list[float] = []

    def client(self, *, token: str | None = None, pace: Pace = BRISK, url: str | None = None) -> Depot:
        async def sleep(wait_s: float) -> None:
            self.waited.append(wait_s)

        return Depot(url or self.simulator.url, token=token, pace=pace, chance=random.Random(7), sleep=sleep)


def artifact(directory: Path, name: str = "acme/app/1.0", **more: object) -> Path:
    return make_package(directory, name, **more)  # type: ignore[arg-type]


# --- when to try again


@given(st.integers(min_value=1, max_value=5), st.integers())
def test_waits_double_within_their_bounds(failed: int, seed: int) -> None:
    """Between half and all of the doubled first wait, never over the cap: no stampede, no endless wait."""
    wait_s = Backoff(first_s=1.0, max_s=6.0).wait_s(failed, random.Random(seed))
    assert wait_s is not None
    whole = min(6.0, 2.0 ** (failed - 1))
    assert whole / 2 <= wait_s <= whole


def test_tries_end_and_fewer_where_nobody_listens() -> None:
    """The last failure gets no wait: the caller gives up."""
    backoff, chance = Backoff(tries=3, connect_tries=2), random.Random(0)
    assert [backoff.wait_s(failed, chance) is None for failed in (1, 2, 3)] == [False, False, True]
    assert backoff.wait_s(2, chance, nobody_there=True) is None


def test_a_body_is_too_slow_only_after_the_window() -> None:
    """A stall is not a trickle; a trickle over the whole window is."""
    assert not too_slow(0, 59.0, rate_min=1000, window_s=60)
    assert too_slow(59_999, 60.0, rate_min=1000, window_s=60)
    assert not too_slow(60_000, 60.0, rate_min=1000, window_s=60)


# --- answers


@given(st.binary(max_size=200))
def test_arbitrary_answers_raise_our_error_or_nothing(raw: bytes) -> None:
    """Whatever a depot sends, no parser of ours falls over."""
    for parse in (records.package, records.page, records.channels, records.origin, records.revisions):
        with pytest.raises(FormatError):
            parse(raw, "answer")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["ident", "data", "name", "target"]), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_arbitrary_json_raises_our_error_or_nothing(value: object) -> None:
    """Well-formed JSON of a wrong shape is a FormatError too."""
    import json

    for parse in (records.package, records.page, records.channels, records.origin, records.revisions):
        try:
            parse(json.dumps(value).encode(), "answer")
        except FormatError:
            continue


def test_a_deeply_nested_answer_is_refused() -> None:
    """Recursion in the parser is not a crash."""
    with pytest.raises(FormatError):
        records.package(b"[" * 200_000, "answer")


# --- asking


@pytest.mark.asyncio
async def test_latest_is_the_channel_s_head_and_none_when_there_is_none(simulator: Simulator, tmp_path: Path) -> None:
    """404 is an answer, not an error."""
    simulator.add(artifact(tmp_path), "stable")
    simulator.add(artifact(tmp_path, "acme/app/2.0"), "next")
    async with Clientele(simulator).client() as depot:
        stable = await depot.latest(Ident.parse("acme/app"), channel="stable", target=TARGET)
        assert stable is not None
        assert stable.ident == APP
        assert await depot.latest(Ident.parse("acme/app/2.0"), channel="stable", target=TARGET) is None
        assert await depot.latest(Ident.parse("acme/other"), channel="stable", target=TARGET) is None
        full = await depot.package(ident("acme/app/2.0"), target=TARGET)
        assert full is not None
        assert full.channels == ("next", "unstable")


@pytest.mark.asyncio
async def test_requests_say_who_asks_and_want_no_compression(simulator: Simulator) -> None:
    """The user agent names the target; identity encoding only; the token goes along."""
    async with Clientele(simulator).client(token="secret-token") as depot:
        await depot.channels_with(APP, target=TARGET)
    (_, _, headers) = simulator.requests[0]
    assert headers["User-Agent"].startswith("stead/")
    assert f"({TARGET}; linux)" in headers["User-Agent"]
    assert headers["Accept-Encoding"] == "identity"
    assert headers["Authorization"] == "Bearer secret-token"


@pytest.mark.asyncio
async def test_a_depot_that_answers_about_another_package_is_refused(simulator: Simulator, tmp_path: Path) -> None:
    """Mix-up at the depot: the record must be about what was asked for."""
    simulator.add(artifact(tmp_path))
    simulator.faults.answer_about = "evil/app/1.0/20260101000000"
    async with Clientele(simulator).client() as depot:
        with pytest.raises(TrustError, match="evil/app"):
            await depot.latest(Ident.parse("acme/app"), channel="stable", target=TARGET)


@pytest.mark.asyncio
async def test_an_upload_that_was_refused_half_way_leaves_no_connection(tmp_path: Path) -> None:
    """The answer comes before the body has gone out, and nobody reads the rest."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await over.wait()
        writer.transport.abort()

    over = asyncio.Event()
    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(50_000_000)  # more than any buffer on the way
    question = Question(thing="it", route=routes.CHANNEL_LATEST, parts={"origin": "acme", "channel": "stable", "name": "app"}, query={})
    transport = Transport(
        f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}",
        {},
        proxy=None,
        pace=Pace(),
        chance=random.Random(1),
        sleep=asyncio.sleep,
        retrying=lambda _error, _wait_s: None,
    )
    transport.open()
    try:
        with pytest.raises(LimitError):
            await transport.send_file(question, large, lambda _sent, _size: None)
        (left,) = transport.sockets
        assert left.fileno() >= 0
    finally:
        await transport.close()
        over.set()
        server.close()
    assert left.fileno() < 0


STATUSES = [
    (401, DeniedError, "STEAD_TOKEN"),
    (403, DeniedError, ""),
    (404, NotFoundError, ""),
    (409, ConflictError, ""),
    (413, LimitError, ""),
    (422, FormatError, ""),
    (501, InputError, ""),
    (507, StorageError, ""),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("status", "family", "advice"), STATUSES)
async def test_a_refusal_is_final_and_of_its_family(simulator: Simulator, status: int, family: type[SteadError], advice: str) -> None:
    """4xx, 501 and 507 are asked once."""
    simulator.faults.statuses = [status] * 9
    clientele = Clientele(simulator)
    async with clientele.client() as depot:
        with pytest.raises(family) as caught:
            await depot.origin("acme")
    assert advice in caught.value.next
    assert len(simulator.requests) == 1
    assert clientele.waited == []


@pytest.mark.asyncio
async def test_a_busy_depot_is_asked_again(simulator: Simulator) -> None:
    """503 twice, then an answer."""
    simulator.channels["acme"] = set()
    simulator.faults.statuses = [503, 500]
    clientele = Clientele(simulator)
    async with clientele.client() as depot:
        assert (await depot.origin("acme")).owner == "ada"
    assert len(clientele.waited) == 2


@pytest.mark.asyncio
async def test_a_depot_that_stays_busy_is_unavailable(simulator: Simulator) -> None:
    """The tries end."""
    simulator.faults.statuses = [503] * 9
    async with Clientele(simulator).client() as depot:
        with pytest.raises(UnavailableError):
            await depot.origin("acme")
    assert len(simulator.requests) == BRISK.backoff.tries


@pytest.mark.asyncio
async def test_a_depot_that_says_nothing_is_unavailable(simulator: Simulator) -> None:
    """Silence ends at the read timeout, on each try."""
    simulator.faults.hang_times = 9
    async with Clientele(simulator).client() as depot:
        with pytest.raises(UnavailableError, match="no answer in time"):
            await depot.origin("acme")


@pytest.mark.asyncio
async def test_creating_an_origin_is_not_repeated_after_a_doubtful_end(simulator: Simulator) -> None:
    """A second try could not tell our own origin from somebody else's."""
    simulator.faults.statuses = [503]
    async with Clientele(simulator).client() as depot:
        with pytest.raises(UnavailableError):
            await depot.create_origin("acme")
    assert len(simulator.requests) == 1


@pytest.mark.asyncio
async def test_no_depot_there_names_the_url_and_how_to_start_one(unused_tcp_port: int) -> None:
    """Connection refused: fewer tries, and the command."""
    url = f"http://127.0.0.1:{unused_tcp_port}"
    clientele = Clientele(Simulator())
    async with clientele.client(url=url) as depot:
        with pytest.raises(UnavailableError) as caught:
            await depot.create_origin("acme")
    assert url in caught.value.thing
    assert "stead depot serve" in caught.value.next
    assert len(clientele.waited) == 1


@pytest.mark.asyncio
async def test_a_redirect_is_not_followed(simulator: Simulator) -> None:
    """A token must not travel where somebody points."""
    simulator.faults.location = "http://169.254.169.254/latest"
    async with Clientele(simulator).client(token="t") as depot:
        with pytest.raises(FormatError, match="redirects"):
            await depot.origin("acme")
    assert len(simulator.requests) == 1


@pytest.mark.asyncio
async def test_a_compressed_answer_is_refused_unread(simulator: Simulator) -> None:
    """S14: no bomb gets to a decompressor."""
    simulator.channels["acme"] = set()
    simulator.faults.encoding = "gzip"
    async with Clientele(simulator).client() as depot:
        with pytest.raises(FormatError, match="compressed"):
            await depot.origin("acme")


@pytest.mark.asyncio
async def test_a_huge_answer_is_cut(simulator: Simulator) -> None:
    """JSON has a cap."""
    simulator.channels["acme"] = set()
    simulator.faults.body = b" " * (5 * 1024 * 1024)
    async with Clientele(simulator).client() as depot:
        with pytest.raises(LimitError):
            await depot.origin("acme")


@pytest.mark.asyncio
async def test_the_environment_s_proxy_is_not_used(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Threats 3.4: a variable that some other program wanted must not see our token."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    simulator.channels["acme"] = set()
    async with Clientele(simulator).client() as depot:
        assert (await depot.origin("acme")).name == "acme"


@pytest.mark.parametrize("url", ["ftp://host", "host:9636", "http://user:pw@host", "http://host:99999", "http://"])
def test_a_bad_url_is_the_caller_s_fault(url: str) -> None:
    """Found before anything is sent."""
    with pytest.raises(UsageError):
        Depot(url)


@pytest.mark.parametrize("token", ["a b", "a\nb", "ä"])
def test_a_token_that_would_break_the_header_is_refused(token: str) -> None:
    """No header injection; the token is not in the message."""
    with pytest.raises(UsageError) as caught:
        Depot("http://127.0.0.1", token=token)
    assert token not in str(caught.value)


@pytest.mark.parametrize("proxy", ["junk", "ftp://host", "http://user:secret@host:99999"])
def test_a_bad_proxy_is_named_without_its_password(proxy: str) -> None:
    """It may have one."""
    with pytest.raises(UsageError) as caught:
        Depot("http://127.0.0.1", proxy=proxy)
    assert "proxy" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.asyncio
async def test_a_proxy_that_is_named_is_used(simulator: Simulator, unused_tcp_port: int) -> None:
    """And blamed when it does not answer."""
    async with Depot(simulator.url, proxy=f"http://127.0.0.1:{unused_tcp_port}", pace=BRISK) as depot:
        with pytest.raises(UnavailableError, match="STEAD_PROXY"):
            await depot.origin("acme")
    assert simulator.requests == []


@pytest.mark.asyncio
async def test_https_to_a_plain_port_is_no_matter_of_trust(simulator: Simulator) -> None:
    """A wrong URL, asked once."""
    async with Clientele(simulator).client(url=simulator.url.replace("http:", "https:")) as depot:
        with pytest.raises(FormatError, match="TLS"):
            await depot.origin("acme")


@pytest.mark.asyncio
async def test_a_wrong_prefix_is_no_depot(simulator: Simulator) -> None:
    """404 where a depot always has an answer."""
    async with Clientele(simulator).client(url=f"{simulator.url}/nope") as depot:
        with pytest.raises(FormatError, match="there is no depot at"):
            await depot.search("app")
        with pytest.raises(FormatError, match="there is no depot at"):
            await depot.channels_with(APP, target=TARGET)


# --- lists


@pytest.mark.asyncio
async def test_search_reads_every_page(simulator: Simulator) -> None:
    """120 packages are three pages."""
    for number in range(120):
        simulator.add_bytes(b"x", ident(f"acme/tool{number:03}/1.0"), ())
    async with Clientele(simulator).client() as depot:
        assert len(await depot.search("tool")) == 120
        assert len(simulator.asked("/search/")) == 3
        assert len(await depot.search("tool", limit=10)) == 10


@pytest.mark.asyncio
@pytest.mark.parametrize("text", [" ", "..", "\udcff", "x" * 600])
async def test_what_nothing_can_be_called_is_not_searched_for(simulator: Simulator, text: str) -> None:
    """Also bytes of a command line that are no text, and what is longer than any name: a usage error that does not repeat all of it."""
    async with Clientele(simulator).client() as depot:
        with pytest.raises(UsageError) as caught:
            await depot.search(text)
    assert len(str(caught.value)) < 300
    assert simulator.requests == []


@pytest.mark.asyncio
async def test_pages_that_go_in_circles_end(simulator: Simulator) -> None:
    """A depot that always says 206 does not hold us for ever."""
    for number in range(120):
        simulator.add_bytes(b"x", ident(f"acme/tool{number:03}/1.0"), ())
    simulator.faults.circular_pages = True
    async with Clientele(simulator).client() as depot:
        with pytest.raises(FormatError, match="circles"):
            await depot.search("tool")


@pytest.mark.asyncio
@pytest.mark.parametrize("channel", ["", ".", "..", "a/b", "a b", "-x"])
async def test_a_channel_s_name_cannot_change_the_path(simulator: Simulator, channel: str) -> None:
    """Nothing is asked for a name that is none."""
    async with Clientele(simulator).client() as depot:
        with pytest.raises(UsageError):
            await depot.promote(APP, channel, TARGET)
    assert simulator.requests == []


# --- download


async def fetch(depot: Depot, into: Path, who: Ident = APP) -> Path:
    return await depot.download(who, target=TARGET, into=into)


def parts(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@pytest.mark.asyncio
async def test_a_download_gets_the_name_that_the_ident_gives(simulator: Simulator, tmp_path: Path) -> None:
    """The bytes, the mode, and nothing left beside."""
    stored = simulator.add(artifact(tmp_path / "made"))
    into = tmp_path / "cache"
    seen: list[tuple[int, int | None]] = []
    async with Clientele(simulator).client() as depot:
        path = await depot.download(APP, target=TARGET, into=into, progress=lambda done, total, /: seen.append((done, total)))
    assert path.read_bytes() == stored.data
    assert parts(into) == [APP.archive_name(TARGET)]
    assert path.stat().st_mode & 0o777 == 0o644
    assert seen[-1] == (len(stored.data), len(stored.data))


@pytest.mark.asyncio
async def test_a_file_that_is_there_is_not_sent_again(simulator: Simulator, tmp_path: Path) -> None:
    """One download, two calls."""
    simulator.add(artifact(tmp_path / "made"))
    async with Clientele(simulator).client() as depot:
        await fetch(depot, tmp_path / "cache")
        await fetch(depot, tmp_path / "cache")
    assert len(simulator.asked("/download")) == 1


@pytest.mark.asyncio
async def test_a_cut_download_goes_on_where_it_was_cut(simulator: Simulator, tmp_path: Path) -> None:
    """Range with If-Range: no byte twice."""
    stored = simulator.add(artifact(tmp_path / "made"))
    simulator.faults.cut_at, simulator.faults.cut_times = 100, 2
    async with Clientele(simulator).client() as depot:
        path = await fetch(depot, tmp_path / "cache")
    assert path.read_bytes() == stored.data
    ranges = [headers.get("Range") for _, path_, headers in simulator.requests if "/download" in path_]
    assert ranges == [None, "bytes=100-", "bytes=200-"]


@pytest.mark.asyncio
async def test_a_later_run_resumes_what_an_earlier_one_left(simulator: Simulator, tmp_path: Path) -> None:
    """The part survives the process."""
    stored = simulator.add(artifact(tmp_path / "made"))
    into = tmp_path / "cache"
    simulator.faults.cut_at, simulator.faults.cut_times = 50, 3
    async with Clientele(simulator).client() as depot:
        with pytest.raises(UnavailableError, match=r"closed the connection|cut"):
            await fetch(depot, into)
        assert parts(into) == [f".{APP.archive_name(TARGET)}.part"]
        path = await fetch(depot, into)
    assert path.read_bytes() == stored.data
    assert simulator.requests[-1][2]["Range"] == "bytes=150-"


@pytest.mark.asyncio
async def test_a_whole_part_needs_no_request(simulator: Simulator, tmp_path: Path) -> None:
    """Killed between the last byte and the name: only the name is missing."""
    stored = simulator.add(artifact(tmp_path / "made"))
    into = tmp_path / "cache"
    into.mkdir()
    (into / f".{APP.archive_name(TARGET)}.part").write_bytes(stored.data)
    async with Clientele(simulator).client() as depot:
        assert (await fetch(depot, into)).read_bytes() == stored.data
    assert simulator.asked("/download") == []


@pytest.mark.asyncio
@pytest.mark.parametrize("left", [b"rubbish", bytes(10_000_000)], ids=["short", "longer than the file"])
@pytest.mark.parametrize("no_range", [False, True])
async def test_a_wrong_part_is_thrown_away(simulator: Simulator, tmp_path: Path, left: bytes, no_range: bool) -> None:
    """Bytes of an earlier try may be anything: the checksum decides, and then everything is fetched anew."""
    stored = simulator.add(artifact(tmp_path / "made"))
    simulator.faults.no_range = no_range
    into = tmp_path / "cache"
    into.mkdir()
    (into / f".{APP.archive_name(TARGET)}.part").write_bytes(left)
    async with Clientele(simulator).client() as depot:
        assert (await fetch(depot, into)).read_bytes() == stored.data
    assert parts(into) == [APP.archive_name(TARGET)]


@pytest.mark.asyncio
async def test_a_depot_without_ranges_serves_the_whole_again(simulator: Simulator, tmp_path: Path) -> None:
    """Builder knows neither Range nor length."""
    stored = simulator.add(artifact(tmp_path / "made"))
    simulator.faults.no_range = True
    simulator.faults.cut_at, simulator.faults.cut_times = 60, 1
    async with Clientele(simulator).client() as depot:
        assert (await fetch(depot, tmp_path / "cache")).read_bytes() == stored.data


@pytest.mark.asyncio
async def test_fetch_refuses_other_bytes_than_the_record_names(simulator: Simulator, tmp_path: Path) -> None:
    """S01: one flipped bit; nothing gets the artifact's name, nothing is left."""
    simulator.add(artifact(tmp_path / "made"))
    simulator.faults.flip = True
    async with Clientele(simulator).client() as depot:
        with pytest.raises(TrustError, match="checksum"):
            await fetch(depot, tmp_path / "cache")
    assert parts(tmp_path / "cache") == []


@pytest.mark.asyncio
async def test_fetch_refuses_a_body_that_never_ends(simulator: Simulator, tmp_path: Path) -> None:
    """S09: cut at the cap; the disk gets its room back."""
    simulator.add(artifact(tmp_path / "made"))
    simulator.faults.endless = True
    pace = Pace(read_s=1, backoff=BRISK.backoff, caps=Caps(size=1_000_000))
    async with Clientele(simulator).client(pace=pace) as depot:
        with pytest.raises(LimitError):
            await fetch(depot, tmp_path / "cache")
    assert parts(tmp_path / "cache") == []


@pytest.mark.asyncio
async def test_fetch_cuts_an_endless_body_at_the_record_s_size(simulator: Simulator, tmp_path: Path) -> None:
    """S09: no byte beyond what was declared is written."""
    stored = simulator.add(artifact(tmp_path / "made"))
    simulator.faults.endless, simulator.faults.size = True, len(stored.data)
    async with Clientele(simulator).client() as depot:
        with pytest.raises(LimitError, match=str(len(stored.data))):
            await fetch(depot, tmp_path / "cache")


@pytest.mark.asyncio
async def test_fetch_refuses_a_length_that_contradicts_the_record(simulator: Simulator, tmp_path: Path) -> None:
    """Two sizes from one depot: one is a lie."""
    simulator.add(artifact(tmp_path / "made"))
    simulator.faults.size = 10**6
    async with Clientele(simulator).client() as depot:
        with pytest.raises(TrustError, match="1000000"):
            await fetch(depot, tmp_path / "cache")


@pytest.mark.asyncio
async def test_fetch_refuses_a_length_over_the_cap_at_once(simulator: Simulator, tmp_path: Path) -> None:
    """Nothing is written for a file that may not be."""
    simulator.add(artifact(tmp_path / "made"))
    async with Clientele(simulator).client(pace=Pace(caps=Caps(size=10))) as depot:
        with pytest.raises(LimitError):
            await fetch(depot, tmp_path / "cache")
    assert parts(tmp_path / "cache") == []


@pytest.mark.asyncio
async def test_fetch_gives_up_on_a_trickle(simulator: Simulator, tmp_path: Path) -> None:
    """S09: a byte now and then keeps no connection alive; what came is kept for the next run."""
    simulator.add(artifact(tmp_path / "made"))
    simulator.faults.trickle = True
    async with Clientele(simulator).client() as depot:
        with pytest.raises(UnavailableError, match="slower"):
            await fetch(depot, tmp_path / "cache")


@pytest.mark.asyncio
@pytest.mark.parametrize("head", [b"HTTP/1.1 102 Processing\r\n\r\n", b"x"])
async def test_fetch_gives_up_on_an_answer_that_never_begins(simulator: Simulator, tmp_path: Path, head: bytes) -> None:
    """S09: neither interim answers nor a header byte now and then put off the deadline for the answer's head."""
    simulator.add(artifact(tmp_path / "made"))
    simulator.faults.instead_of_head = head
    async with asyncio.timeout(20), Clientele(simulator).client(pace=replace(BRISK, request_s=0.3)) as depot:
        with pytest.raises(UnavailableError, match="no answer in time"):
            await fetch(depot, tmp_path / "cache")


@pytest.mark.asyncio
async def test_an_origin_of_another_name_is_refused(simulator: Simulator) -> None:
    """As with packages: an answer about something else is no answer."""
    simulator.channels["acme"] = set()
    simulator.faults.body = b'{"name": "evil", "owner_account": "eve"}'
    async with Clientele(simulator).client() as depot:
        with pytest.raises(TrustError, match="evil"):
            await depot.origin("acme")


@pytest.mark.asyncio
async def test_fetch_never_uses_the_depot_s_file_name(simulator: Simulator, tmp_path: Path) -> None:
    """X-Filename with a path in it is refused, not followed."""
    simulator.add(artifact(tmp_path / "made"))
    simulator.faults.file_name = "../../etc/passwd"
    async with Clientele(simulator).client() as depot:
        with pytest.raises(TrustError, match="another file"):
            await fetch(depot, tmp_path / "cache")
    assert parts(tmp_path / "cache") == []


@pytest.mark.asyncio
async def test_fetch_refuses_a_compressed_body(simulator: Simulator, tmp_path: Path) -> None:
    """S14."""
    simulator.add(artifact(tmp_path / "made"))
    async with Clientele(simulator).client() as depot:
        record = await depot.package(APP, target=TARGET)
        assert record is not None
        simulator.faults.encoding = "br"
        with pytest.raises(FormatError, match="compressed"):
            await depot.download_record(record, into=tmp_path / "cache")


@pytest.mark.asyncio
async def test_a_range_that_starts_elsewhere_is_not_glued_on(simulator: Simulator, tmp_path: Path) -> None:
    """The part starts over instead."""
    stored = simulator.add(artifact(tmp_path / "made"))
    simulator.faults.wrong_range = True
    simulator.faults.cut_at, simulator.faults.cut_times = 40, 1
    async with Clientele(simulator).client() as depot:
        assert (await fetch(depot, tmp_path / "cache")).read_bytes() == stored.data


@pytest.mark.asyncio
async def test_downloads_of_one_file_at_once_do_not_mix(simulator: Simulator, tmp_path: Path) -> None:
    """S17: eight at once, one download, eight right answers."""
    data = random.Random(1).randbytes(2_000_000)
    simulator.add_bytes(data, APP, ())
    async with Clientele(simulator).client() as depot:
        paths = await asyncio.gather(*(fetch(depot, tmp_path / "cache") for _ in range(8)))
    assert {hashlib.sha256(path.read_bytes()).digest() for path in paths} == {hashlib.sha256(data).digest()}
    assert len(simulator.asked("/download")) == 1
    assert parts(tmp_path / "cache") == [APP.archive_name(TARGET)]


@pytest.mark.asyncio
async def test_a_cancelled_download_leaves_a_part_that_can_go_on(simulator: Simulator, tmp_path: Path) -> None:
    """Ctrl-C keeps what came, and frees the lock."""
    data = random.Random(2).randbytes(500_000)
    simulator.add_bytes(data, APP, ())
    simulator.faults.cut_at, simulator.faults.cut_times = 300_000, 1
    started = asyncio.Event()

    async def sleep(_wait_s: float) -> None:
        started.set()
        await asyncio.Event().wait()

    async with Depot(simulator.url, pace=BRISK, sleep=sleep) as depot:
        task = asyncio.ensure_future(fetch(depot, tmp_path / "cache"))
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await fetch(depot, tmp_path / "cache")).read_bytes() == data
    assert simulator.requests[-1][2]["Range"] == "bytes=300000-"


@pytest.mark.asyncio
async def test_a_symbolic_link_in_place_of_the_part_is_refused(simulator: Simulator, tmp_path: Path) -> None:
    """S18: nobody makes us write through a link."""
    simulator.add(artifact(tmp_path / "made"))
    victim = tmp_path / "victim"
    victim.write_text("precious")
    into = tmp_path / "cache"
    into.mkdir()
    (into / f".{APP.archive_name(TARGET)}.part").symlink_to(victim)
    async with Clientele(simulator).client() as depot:
        with pytest.raises(StorageError):
            await fetch(depot, into)
    assert victim.read_text() == "precious"


@pytest.mark.asyncio
async def test_a_release_that_the_depot_lacks_is_not_found(simulator: Simulator, tmp_path: Path) -> None:
    """Record missing, and file missing."""
    async with Clientele(simulator).client() as depot:
        with pytest.raises(NotFoundError, match="no such release"):
            await fetch(depot, tmp_path / "cache")
        simulator.add(artifact(tmp_path / "made"))
        simulator.faults.lost = {str(APP)}
        with pytest.raises(NotFoundError):
            await fetch(depot, tmp_path / "cache")
    assert parts(tmp_path / "cache") == []


# --- publish


@pytest.mark.asyncio
async def test_an_upload_is_streamed_with_its_length_and_promoted(simulator: Simulator, tmp_path: Path) -> None:
    """The channel is made when it is missing; progress reaches the end."""
    path = artifact(tmp_path)
    seen: list[tuple[int, int | None]] = []
    async with Clientele(simulator).client() as depot:
        done = await depot.upload(path, channel="next", progress=lambda so_far, total, /: seen.append((so_far, total)))
        assert done.new
        names = {each.name for each in await depot.channels(APP, TARGET)}
    assert names == {"unstable", "next"}
    assert simulator.packages[str(APP)].data == path.read_bytes()
    size = path.stat().st_size
    assert seen[-1] == (size, size)
    posted = next(headers for method, where, headers in simulator.requests if method == "POST" and "checksum=" in where)
    assert posted["Content-Length"] == str(size)


@pytest.mark.asyncio
async def test_an_upload_of_the_same_bytes_is_no_error(simulator: Simulator, tmp_path: Path) -> None:
    """Idempotent: the second answer says that it was there."""
    path = artifact(tmp_path)
    async with Clientele(simulator).client() as depot:
        assert (await depot.upload(path)).new
        assert not (await depot.upload(path)).new


@pytest.mark.asyncio
async def test_an_upload_of_other_bytes_is_a_conflict(simulator: Simulator, tmp_path: Path) -> None:
    """A published release never changes."""
    simulator.add_bytes(b"other", APP, ())
    async with Clientele(simulator).client() as depot:
        with pytest.raises(ConflictError, match="never changes"):
            await depot.upload(artifact(tmp_path))


@pytest.mark.asyncio
async def test_an_upload_starts_over_when_the_depot_is_busy(simulator: Simulator, tmp_path: Path) -> None:
    """The body is read again from its start."""
    path = artifact(tmp_path)
    simulator.faults.statuses = [503]
    async with Clientele(simulator).client() as depot:
        assert (await depot.upload(path)).new
    assert simulator.packages[str(APP)].data == path.read_bytes()


@pytest.mark.asyncio
async def test_an_upload_that_nobody_answers_ends(simulator: Simulator, tmp_path: Path) -> None:
    """Silence after the last byte ends at the deadline."""
    simulator.faults.hang_times = 9
    async with Clientele(simulator).client() as depot:
        with pytest.raises(UnavailableError):
            await depot.upload(artifact(tmp_path, files={"big": random.Random(3).randbytes(3_000_000)}))


# --- keys


@pytest.mark.asyncio
async def test_a_public_key_goes_up_and_comes_down(simulator: Simulator) -> None:
    """The second upload finds it there; another key under its name is a conflict."""
    key = key_of("acme")
    simulator.channels["acme"] = set()
    async with Clientele(simulator).client() as depot:
        assert await depot.upload_public_key(key.public.text())
        assert not await depot.upload_public_key(key.public.text())
        assert await depot.public_keys("acme") == [KeyName("acme", RELEASE)]
        assert await depot.public_key(KeyName("acme", RELEASE)) == key.public.text()
        with pytest.raises(ConflictError, match="another key"):
            await depot.upload_public_key(key_of("acme", seed=1).public.text())


@pytest.mark.asyncio
async def test_a_secret_key_is_never_sent(simulator: Simulator) -> None:
    """Whatever text is given: only a public signing key leaves this host."""
    async with Clientele(simulator).client() as depot:
        with pytest.raises(UsageError):
            await depot.upload_public_key(key_of("acme").text())
    assert simulator.requests == []
