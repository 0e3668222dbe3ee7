"""Reading outside markets: feeds as streams, pages, servers that misbehave, runs that are interrupted."""

import asyncio
import gzip
import io
import tracemalloc
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from PIL import Image
from sqlalchemy import text

from tests.factories import Factory
from tests.visitor import Visitor
from tradepost.accounts.types import Caller
from tradepost.core.database import SYSTEM
from tradepost.core.http import Outside
from tradepost.core.jobs import Priority
from tradepost.core.settings import IngestSettings, Settings
from tradepost.flows.manage_sources import is_schedule, put_source
from tradepost.flows.preview_source import kind_of, preview_source
from tradepost.flows.read_sources import Ending, read_source, turns_of
from tradepost.flows.source_pictures import Kept, keep_pictures, requests_for_rest
from tradepost.flows.store import Store
from tradepost.flows.wanted_pictures import FetchPictures
from tradepost.sources.fetching import Fetcher, Limits, unpacked
from tradepost.sources.formats import Broken, in_memory, read_csv, read_json, read_ndjson, read_xml
from tradepost.sources.likeness import bands, is_same_thing
from tradepost.sources.pages import read_results
from tradepost.sources.queries import find_source, get_run
from tradepost.sources.service import take_run
from tradepost.sources.types import AlreadyReading, Reading, RunLost, Selectors, Source, SourceDraft, SourceUnreadable

PAGE = """<html><head><title>{0}</title></head><body><h1>{0}</h1><span class="price">${1}</span><button>Add to cart</button></body></html>"""


class Site:
    """A web server that answers as a test says: a body, or whatever a function writes."""

    def __init__(self) -> None:
        self.pages: dict[str, Any] = {}
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.base = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                path, headers = line.decode().split(" ")[1], {}
                while header := (await reader.readline()).decode().strip():
                    name, _, value = header.partition(": ")
                    headers[name.lower()] = value
                self.asked.append((path, headers))
                found = self.pages.get(path, (404, b"", {}))
                if callable(found):
                    await found(path, headers, writer)
                    break
                status, body, more = found if isinstance(found, tuple) else (200, found, {})
                if more.get("etag") and headers.get("if-none-match") == more["etag"]:
                    status, body = 304, b""
                write(writer, status, body, more)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked if path != "/robots.txt"]


def write(writer: asyncio.StreamWriter, status: int, body: bytes, headers: dict[str, str]) -> None:
    lines = [f"HTTP/1.1 {status} x", f"content-length: {len(body)}", *(f"{n}: {v}" for n, v in headers.items())]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.base = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    yield made
    listening.close()


@pytest.fixture
def installation(tmp_path: Path) -> Settings:
    return Settings(
        stores=("market",), test_payments=True, ingest=IngestSettings(folder=str(tmp_path), allow=("127.0.0.1/32",))
    )


@pytest_asyncio.fixture
async def staff(make: Factory) -> Caller:
    return await make.person("admin")


class Reader:
    """Reads a source of the test's store, without waiting between requests."""

    def __init__(self, store: Store, staff: Caller) -> None:
        self.store = store
        self.staff = staff
        self.slept: list[float] = []
        self.limits = Limits(page_s=5, idle_s=5)

    async def add(self, kind: Any, url: str, **settings: Any) -> Source:
        settings = {"category": "fruit", **settings}
        draft = SourceDraft(code="hub", name="Hub", kind=kind, url=url, settings=Reading(**settings), pause_s=2)
        await put_source(self.store, self.staff, draft)
        return await find_source(self.store.db, "hub")

    async def read(self, source: Source, **more: Any) -> Ending:
        async with Outside(allowed=["127.0.0.1/32"]) as outside:
            return await read_source(
                self.store, source.id, "command", connect=lambda s: self.fetcher(s, outside), **more
            )

    def fetcher(self, source: Source, outside: Outside) -> Fetcher:
        return Fetcher(source.name, outside, pause_s=source.pause_s, limits=self.limits, sleep=self.sleep)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds))

    async def titles(self, status: str = "active") -> list[str]:
        rows = await self.store.db.read(
            text("SELECT title FROM listings WHERE status = :status ORDER BY title"), status=status
        )
        return [row[0] for row in rows]

    async def errors(self) -> list[tuple[str, str]]:
        async with self.store.db.transaction(actor=SYSTEM) as tx:
            return [tuple(r) for r in await tx.all(text("SELECT place, reason FROM ingest_errors ORDER BY run_id, n"))]


@pytest.fixture
def reader(store: Store, staff: Caller) -> Reader:
    return Reader(store, staff)


def feed(*names: str) -> bytes:
    rows = [{"id": n, "title": n, "price": 1 + i} for i, n in enumerate(names)]
    return b"\n".join(msgspec.json.encode(row) for row in rows)


async def test_a_feed_that_has_not_changed_is_not_sent_again(reader: Reader, site: Site) -> None:
    site.pages["/feed"] = (200, feed("Apples", "Pears"), {"etag": '"one"'})
    source = await reader.add("ndjson_feed", f"{site.base}/feed")
    first = await reader.read(source)
    again = await reader.read(source)
    assert (first.run.inserted, first.problem) == (2, "")
    assert (again.run.seen, again.run.message) == (0, "It has not changed since it was last read.")
    assert site.asked[-1][1]["if-none-match"] == '"one"'
    site.pages["/feed"] = (200, feed("Apples"), {"etag": '"two"'})
    assert (await reader.read(source)).run.gone == 1
    assert await reader.titles() == ["Apples"]


async def test_robots_are_asked_and_heeded(reader: Reader, site: Site) -> None:
    site.pages |= {
        "/robots.txt": b"User-agent: *\nDisallow: /private/\nCrawl-delay: 3600",
        "/private/feed": feed("Apples"),
        "/feed": feed("Apples"),
    }
    source = await reader.add("ndjson_feed", f"{site.base}/private/feed")
    assert "robots.txt does not allow /private/feed" in (await reader.read(source)).problem
    assert site.paths() == []
    await put_source(reader.store, reader.staff, SourceDraft(code="hub", name="Hub", kind="pages", url=f"{site.base}/a", settings=Reading(pages=(f"{site.base}/b",), category="fruit")), code="hub")  # fmt: skip
    site.pages |= {"/a": PAGE.format("Apples", 2).encode(), "/b": PAGE.format("Pears", 3).encode()}
    assert (await reader.read(source)).run.inserted == 2
    assert len(reader.slept) == 1
    assert 2 < reader.slept[0] <= 60
    site.pages["/robots.txt"] = (503, b"", {})
    assert "its robots.txt answers 503" in (await reader.read(source)).problem


async def test_a_busy_server_is_asked_again_later_and_later(reader: Reader, site: Site) -> None:
    site.pages["/feed"] = (503, b"", {})
    source = await reader.add("ndjson_feed", f"{site.base}/feed")
    assert "cannot be read now: it answers 503" in (await reader.read(source)).problem
    assert reader.slept == [
        2,
        2,
        4,
        4,
    ]  # what it waits for the server, and each time until its next turn, of which none really passes here
    site.pages["/feed"] = (429, b"", {"retry-after": "3600"})
    assert "it answers 429" in (await reader.read(source)).problem
    async with reader.store.db.transaction(actor=SYSTEM) as tx:
        assert await tx.value(text("SELECT failures FROM source_states")) == 2


async def test_a_redirect_loop_a_gzip_bomb_and_a_drip_end_the_reading(reader: Reader, site: Site) -> None:
    bomb = gzip.compress(b" " * 20_000_000)

    async def drip(_path: str, _headers: dict[str, str], writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 x\r\ncontent-length: 1000000\r\n\r\n{")
        await writer.drain()
        await asyncio.sleep(30)

    site.pages |= {
        "/loop": (302, b"", {"location": "/loop"}),
        "/bomb": (200, bomb, {"content-encoding": "gzip"}),
        "/drip": drip,
    }
    reader.limits = Limits(page_s=2, idle_s=0.2)
    source = await reader.add("pages", "", pages=(f"{site.base}/loop", f"{site.base}/bomb", f"{site.base}/missing"))
    ending = await reader.read(source)
    assert (ending.run.refused, ending.problem[:23]) == (3, "Every row was refused; ")
    assert [reason.partition(".")[0] for _, reason in await reader.errors()] == [
        "The answer of 127", "The answer of 127", "Hub cannot be read: http://127",
    ]  # fmt: skip
    await put_source(
        reader.store, reader.staff, SourceDraft(code="slow", name="Slow", kind="ndjson_feed", url=f"{site.base}/drip")
    )
    assert "it sent nothing for 0.2 seconds" in (await reader.read(await find_source(reader.store.db, "slow"))).problem


async def test_our_own_network_is_never_asked(reader: Reader, site: Site) -> None:
    site.pages["/feed"] = feed("Apples")
    source = await reader.add("ndjson_feed", f"{site.base}/feed")
    async with Outside() as outside:
        ending = await read_source(reader.store, source.id, "command", connect=lambda s: reader.fetcher(s, outside))
    assert ending.problem == "We do not send requests to 127.0.0.1: it is not a public address."
    assert site.asked == []


async def test_a_page_in_other_characters_than_it_says_is_still_read(reader: Reader, site: Site) -> None:
    page = PAGE.format("Äpfel", 3)
    site.pages |= {
        "/said": (200, page.encode("cp1252"), {"content-type": "text/html"}),
        "/plain": (200, page.encode(), {}),
    }
    source = await reader.add("pages", "", pages=(f"{site.base}/said", f"{site.base}/plain"))
    await reader.read(source)
    assert await reader.titles() == ["Äpfel", "Äpfel"]


async def test_a_sitemap_leads_to_its_pages(reader: Reader, site: Site) -> None:
    index = f"<sitemapindex><sitemap><loc>{site.base}/one.xml.gz</loc></sitemap></sitemapindex>"
    one = "".join(f"<url><loc>{site.base}/{n}</loc></url>" for n in ("item/1", "item/2", "about"))
    site.pages |= {"/map.xml": index.encode(), "/one.xml.gz": gzip.compress(f"<urlset>{one}</urlset>".encode())}
    site.pages |= {"/item/1": PAGE.format("Apples", 2).encode(), "/item/2": PAGE.format("Pears", 3).encode()}
    await reader.read(await reader.add("sitemap", f"{site.base}/map.xml", matching="/item/"))
    assert await reader.titles() == ["Apples", "Pears"]
    assert "/about" not in site.paths()


async def test_search_results_are_followed_until_their_layout_changes(reader: Reader, site: Site) -> None:
    item = '<li class="hit"><a href="/{0}"><b>{0}</b></a><i class="cost">{1}</i></li>'
    first = f'<ul>{item.format("Apples", "$2")}{item.format("Pears", "$3")}</ul><a class="next" href="/s?p=2">Next</a>'
    site.pages |= {"/s": first.encode(), "/s?p=2": f"<ul>{item.format('Plums', '$4')}</ul>".encode()}
    chosen = Selectors(item="li.hit", link="a@href", title="b", price=".cost", next="a.next@href")
    source = await reader.add("search_page", f"{site.base}/s", selectors=chosen)
    await reader.read(source)
    assert await reader.titles() == ["Apples", "Pears", "Plums"]
    site.pages["/s"] = b"<div>All new!</div>"
    assert "the page looks different now" in (await reader.read(source)).problem
    assert await reader.titles() == ["Apples", "Pears", "Plums"]


async def test_what_lies_behind_the_last_page_that_is_read_stays(reader: Reader, site: Site) -> None:
    pages = [f"{site.base}/{name}" for name in ("apples", "pears", "plums")]
    site.pages |= {"/apples": PAGE.format("Apples", 2).encode(), "/pears": PAGE.format("Pears", 3).encode()}
    site.pages |= {"/plums": PAGE.format("Plums", 4).encode()}
    await reader.read(await reader.add("pages", "", pages=pages, complete=True))
    draft = SourceDraft(
        code="hub", name="Hub", kind="pages", url="",
        settings=Reading(category="fruit", pages=tuple(pages), complete=True, most_pages=1),
    )  # fmt: skip
    await put_source(reader.store, reader.staff, draft, code="hub")
    ending = await reader.read(await find_source(reader.store.db, "hub"))
    assert (ending.problem, ending.run.gone, ending.run.state) == ("", 0, "done")
    assert ending.run.message == "It has more pages than are read; nothing was taken off."
    assert await reader.titles() == ["Apples", "Pears", "Plums"]


async def test_what_nobody_expected_ends_the_reading(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "feed.ndjson").write_bytes(feed("Apples"))
    source = await reader.add("ndjson_feed", "folder:feed.ndjson")

    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("tradepost.flows.read_sources.feed_rows", fail)
    with pytest.raises(ZeroDivisionError):
        await reader.read(source)
    rows = await reader.store.db.read(text("SELECT state FROM ingest_runs"))
    assert [r[0] for r in rows] == ["failed"]


async def test_a_compressed_feed_that_breaks_off_is_not_whole() -> None:
    packed = gzip.compress(b"apples " * 1000)
    assert b"".join([part async for part in unpacked(in_memory(packed * 2))]) == b"apples " * 2000
    with pytest.raises(SourceUnreadable, match="too early"):
        _ = [part async for part in unpacked(in_memory(packed[:-10]))]


def test_a_link_that_is_no_address_is_left_out() -> None:
    chosen = Selectors(item="li", link="a@href", title="a")
    rows, following = read_results('<li><a href="http://[x">Apples</a></li>', "https://hub.example.com/", chosen)
    assert (rows, following) == ([{"title": "Apples"}], "")


def test_a_day_that_never_comes_is_no_schedule() -> None:
    assert is_schedule("0 0 1 2 *")
    assert not is_schedule("0 0 31 2 *")


async def test_pages_saved_by_a_browser_are_read(reader: Reader, tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    (folder / "a.html").write_text(
        "<!-- saved from url=(0026)https://market.example.com/1 -->" + PAGE.format("Apples", 2)
    )
    mail = f"MIME-Version: 1.0\nContent-Type: text/html; charset=utf-8\nContent-Location: https://market.example.com/2\n\n{PAGE.format('Pears', 3)}"
    (folder / "b.mhtml").write_text(mail)
    (folder / "c.html").write_text("<html><body>Nothing</body></html>")
    ending = await reader.read(await reader.add("folder", "folder:saved"))
    assert (ending.run.inserted, ending.run.refused) == (2, 1)
    rows = await reader.store.db.read(text("SELECT outside_url FROM listings ORDER BY title"))
    assert [r[0] for r in rows] == ["https://market.example.com/1", "https://market.example.com/2"]
    outside = await reader.read(await _moved(reader, "folder:../../etc"))
    assert "there is no" in outside.problem


async def _moved(reader: Reader, url: str) -> Source:
    await put_source(
        reader.store, reader.staff, SourceDraft(code="hub", name="Hub", kind="folder", url=url), code="hub"
    )
    return await find_source(reader.store.db, "hub")


async def test_an_interrupted_reading_goes_on_where_it_was(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tradepost.flows.ingest.BATCH", 4)
    names = [f"Apples {n}" for n in range(12)]
    (tmp_path / "feed.ndjson").write_bytes(feed(*names))
    source = await reader.add("ndjson_feed", "folder:feed.ndjson")

    async def stop(counts: Any, _bytes: int) -> None:
        if counts.seen >= 4:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await reader.read(source, progress=stop)
    async with reader.store.db.transaction(actor=SYSTEM) as tx:
        stopped = await tx.one(text("SELECT id, at_row, state FROM ingest_runs"))
    assert (stopped["at_row"], stopped["state"]) == (4, "running")
    ending = await reader.read(source)
    assert (ending.run.id, ending.run.seen, ending.run.inserted, ending.run.unchanged, ending.run.gone) == (
        stopped["id"],
        12,
        12,
        0,
        0,
    )
    assert len(await reader.titles()) == 12


class Silent:
    """A feed that says nothing until it is told to, and the moments of a reading of it."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.is_asked, self.speaks = asyncio.Event(), asyncio.Event()
        self.moments: asyncio.Queue[None] = asyncio.Queue()
        self.sleeps: asyncio.Queue[None] = asyncio.Queue()

    async def serve(self, _path: str, _headers: dict[str, str], writer: asyncio.StreamWriter) -> None:
        self.is_asked.set()
        await self.speaks.wait()
        write(writer, 200, self.body, {})
        await writer.drain()

    async def sleep(self, _seconds: float) -> None:
        self.sleeps.put_nowait(None)
        await self.moments.get()


async def test_a_silent_reading_is_nobody_elses(reader: Reader, site: Site) -> None:
    silent = Silent(feed("Apples"))
    site.pages["/feed"] = silent.serve
    source = await reader.add("ndjson_feed", f"{site.base}/feed")
    reading = asyncio.create_task(reader.read(source, sleep=silent.sleep))
    await silent.is_asked.wait()
    await _eleven_minutes_ago(reader)
    silent.moments.put_nowait(None)
    await silent.sleeps.get()
    await silent.sleeps.get()  # and so it has said that it is there
    with pytest.raises(AlreadyReading):
        await reader.read(source)
    silent.speaks.set()
    assert (await reading).run.inserted == 1


async def _eleven_minutes_ago(reader: Reader) -> None:
    async with reader.store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(text("UPDATE ingest_runs SET moved_at = now() - interval '11 minutes'"))


@pytest.mark.parametrize("says_so_first", [True, False])
async def test_who_lost_a_reading_writes_nothing_more(reader: Reader, site: Site, says_so_first: bool) -> None:
    silent = Silent(feed("Apples"))
    site.pages["/feed"] = silent.serve
    source = await reader.add("ndjson_feed", f"{site.base}/feed")
    reading = asyncio.create_task(reader.read(source, sleep=silent.sleep))
    await silent.is_asked.wait()
    await _eleven_minutes_ago(reader)
    async with reader.store.db.transaction(actor=SYSTEM) as tx:
        claim = await take_run(tx, source.id, "schedule")
    (silent.moments.put_nowait if says_so_first else lambda _: silent.speaks.set())(None)
    with pytest.raises(RunLost):
        await reading
    silent.speaks.set()
    assert await reader.titles() == []
    async with reader.store.db.transaction(actor=SYSTEM) as tx:
        run = await get_run(tx, claim.run_id)
        assert (claim.turn, run.state, run.seen) == (1, "running", 0)
        assert await tx.value(text("SELECT failures FROM source_states WHERE source_id = :s"), s=source.id) in (0, None)


async def test_readers_of_one_server_share_its_pace(store: Store) -> None:
    turns, others = turns_of(store), turns_of(store)
    waits = [await turns("shop.example", 60), await others("shop.example", 60), await turns("else.example", 60)]
    assert waits[0] == pytest.approx(0, abs=1)
    assert waits[1] == pytest.approx(60, abs=5)
    assert waits[2] == pytest.approx(0, abs=1)
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(text("UPDATE source_hosts SET free_at = now() - interval '1 hour'"))
    assert await others("shop.example", 60) == pytest.approx(0, abs=1)


async def test_pictures_of_a_server_that_is_away_are_asked_for_again(
    reader: Reader, site: Site, tmp_path: Path
) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (40, 40), "red").save(picture, "PNG")
    names = ["a", "b", "c", "d", "e"]
    (tmp_path / "feed.ndjson").write_bytes(
        b"\n".join(
            msgspec.json.encode({"id": n, "title": n, "price": 9, "image": f"{site.base}/{n}.png"}) for n in names
        )
    )
    source = await reader.add("ndjson_feed", "folder:feed.ndjson")
    await reader.read(source)
    ((payload,),) = await reader.store.db.read(
        text("SELECT payload FROM pgqueuer WHERE entrypoint = 'sources.fetch_pictures'")
    )
    args = msgspec.json.decode(payload, type=FetchPictures)
    site.pages |= {f"/{n}.png": (503, b"", {"retry-after": "3600"}) for n in names}
    async with Outside(allowed=["127.0.0.1/32"]) as outside:

        async def keep(wanted: FetchPictures, **more: Any) -> Kept:
            connect = lambda s: reader.fetcher(s, outside)  # noqa: E731
            return await keep_pictures(reader.store, source.id, wanted.listing_ids, connect=connect, **more)

        kept = await keep(args)
        assert (kept.count, kept.left, set(kept.away)) == (0, (), set(args.listing_ids))
        assert len(site.asked) == 4  # robots.txt, and three pictures: then it is left alone
        (later,) = requests_for_rest(args, kept)
        assert (later.after, later.priority, later.args.tries) == (timedelta(minutes=15), Priority.PATIENT, 1)
        assert requests_for_rest(msgspec.structs.replace(args, tries=4), kept) == []
        site.pages |= {f"/{n}.png": picture.getvalue() for n in names}
        one = await keep(later.args, longest_s=0)
        assert (one.count, len(one.left), one.away) == (1, 4, ())
        (rest,) = requests_for_rest(later.args, one)
        assert (rest.after, (await keep(rest.args)).count) == (None, 4)


async def test_the_broken_line_of_a_long_feed_is_named_and_the_rest_is_read() -> None:
    lines = [msgspec.json.encode({"id": n}) for n in range(1, 9001)]
    lines[7012] = b'{"id": 7013, "title": "Apples'
    rows = [raw async for raw in read_ndjson(in_memory(b"\n".join(lines)))]
    assert len(rows) == 9000
    assert [r.place for r in rows if r.problem] == ["line 7,013"]


@pytest.mark.parametrize("form", ["ndjson", "json", "csv", "xml"])
async def test_memory_stays_flat_however_long_a_feed_is(form: str) -> None:
    row = {"ndjson": b'{"id": 1, "title": "%s"}\n', "json": b'{"id": 1, "title": "%s"},\n', "csv": b'1,"%s"\n', "xml": b"<item><id>1</id><title>%s</title></item>\n"}[form] % (b"x" * 400)  # fmt: skip
    start, end = {"json": (b"[", b"{}]"), "csv": (b"id,title\n", b""), "xml": (b"<rss>", b"</rss>")}.get(
        form, (b"", b"")
    )
    read = {"ndjson": read_ndjson, "json": read_json, "csv": read_csv, "xml": read_xml}[form]

    async def chunks() -> AsyncIterator[bytes]:
        yield start
        for _ in range(100):
            yield row * 100
        yield end

    tracemalloc.start()
    count = 0
    async for _ in read(chunks()):
        count += 1
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count >= 10_000
    assert peak < 3_000_000, "of a feed of more than four million bytes"


async def test_a_value_that_never_ends_is_not_kept() -> None:
    async def endless(start: bytes) -> AsyncIterator[bytes]:
        yield start
        for _ in range(200):
            yield b"x" * 65_536

    with pytest.raises(Broken):
        [raw async for raw in read_json(endless(b'[{"title": "'))]
    with pytest.raises(Broken):
        [raw async for raw in read_xml(endless(b"<rss><channel><title>"))]
    assert [r.problem for r in [raw async for raw in read_ndjson(endless(b""))]] == [
        "The line is longer than two million bytes."
    ]


async def test_tables_are_read_with_their_delimiter_quotes_and_characters() -> None:
    table = 'id;title;price\r\n1;"Äpfel; rot\n(neu)";"2,50 €"\r\n2;5" Rohr;3\r\n3;zu;viel;drin\r\n'.encode("cp1252")
    rows = [raw async for raw in read_csv(in_memory(table))]
    assert [r.data for r in rows if not r.problem] == [
        {"id": "1", "title": "Äpfel; rot\n(neu)", "price": "2,50 €"},
        {"id": "2", "title": '5" Rohr', "price": "3"},
    ]
    assert [(r.place, r.problem) for r in rows if r.problem] == [("line 5", "It has 4 cells, the head has 3.")]


async def test_feeds_of_shops_and_of_blogs_are_read_alike() -> None:
    shop = b'<rss xmlns:g="http://base.google.com/ns/1.0"><channel><item><g:id>1</g:id><title>Apples</title><g:price>3 EUR</g:price></item></channel></rss>'
    atom = b'<feed xmlns="http://www.w3.org/2005/Atom"><entry><id>1</id><title>Apples</title><link href="https://x.example.com/1"/></entry></feed>'
    assert [r.data async for r in read_xml(in_memory(shop))] == [{"id": "1", "title": "Apples", "price": "3 EUR"}]
    assert [r.data async for r in read_xml(in_memory(atom))] == [
        {"id": "1", "title": "Apples", "link": {"href": "https://x.example.com/1"}}
    ]


def test_the_same_thing_is_told_from_a_similar_one() -> None:
    camera = "Brightwater F2 35 mm film camera with 50 mm lens"
    assert is_same_thing(camera, "Brightwater F2 film camera 35 mm, 50 mm lens", prices=(19_500, 21_000))
    assert not is_same_thing(camera, "Brightwater F2 film camera 35 mm, 50 mm lens", prices=(19_500, 91_000))
    assert not is_same_thing("Kestrel phone 256 GB black", "Kestrel phone 128 GB black")
    assert is_same_thing("Old oak table, wobbly", "Oak dining table", picture_bits=2)
    assert set(bands(camera)) & set(bands("Brightwater F2 35 mm film camera, 50 mm lens"))
    assert not set(bands(camera)) & set(bands("Red apples from the valley"))


async def test_the_same_thing_at_two_sources_is_one_cluster(reader: Reader, tmp_path: Path) -> None:
    for code, title in (
        ("hub", "Brightwater F2 film camera, 50 mm lens"),
        ("bay", "Brightwater F2 film camera with 50 mm lens"),
    ):
        row = {"id": "1", "title": title, "price": 200}
        (tmp_path / f"{code}.ndjson").write_bytes(msgspec.json.encode(row) + b"\n" + msgspec.json.encode({"id": "2", "title": f"Oak {code}", "price": 9}))  # fmt: skip
        draft = SourceDraft(
            code=code, name=code, kind="ndjson_feed", url=f"folder:{code}.ndjson", settings=Reading(category="fruit")
        )
        await put_source(reader.store, reader.staff, draft)
        await reader.read(await find_source(reader.store.db, code))
    found = await reader.store.db.read(text("SELECT count(*) AS n FROM outside_items GROUP BY cluster_id ORDER BY 1"))
    assert [r["n"] for r in found] == [1, 1, 2]


async def test_an_address_is_looked_at_before_anything_is_saved(reader: Reader, site: Site, browse: Visitor) -> None:
    site.pages |= {
        "/feed": feed("Apples", "Pears") + b'\n{"id": 3, "title": "Plums", "price": "ask"}',
        "/page": PAGE.format("Kettle", 9).encode(),
    }
    found = await preview_source(reader.store, reader.staff, SourceDraft(code="", name="", kind="pages", url=f"{site.base}/feed", settings=Reading(category="fruit")), guess=True)  # fmt: skip
    assert (found.draft.kind, found.good, len(found.rows)) == ("ndjson_feed", 2, 3)
    assert found.rows[2].reason.startswith("The price “ask”")
    page = await preview_source(reader.store, reader.staff, SourceDraft(code="", name="", kind="pages", url=f"{site.base}/page", settings=Reading(category="fruit")), guess=True)  # fmt: skip
    assert (page.draft.kind, page.rows[0].listing and page.rows[0].listing.price_minor) == ("pages", 900)
    away = await preview_source(
        reader.store, reader.staff, SourceDraft(code="", name="", kind="pages", url="http://10.0.0.1/"), guess=True
    )
    assert away.problem == "We do not send requests to 10.0.0.1: it is not a public address."
    assert await reader.store.db.read(text("SELECT 1 FROM sources")) == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'[{"a": 1}]', "json_feed"), (b'{"a": 1}\n{"a": 2}\n', "ndjson_feed"), (b"\xef\xbb\xbfid,title\n1,a\n", "csv_feed"), (b"<?xml version='1.0'?><rss/>", "rss_feed"),
        (b"<?xml?><urlset></urlset>", "sitemap"), (b"<!DOCTYPE html><p>", "pages"),
    ],
)  # fmt: skip
def test_what_an_address_has_is_told_by_how_it_begins(body: bytes, kind: str) -> None:
    assert kind_of(body, "") == kind


async def test_first_pictures_are_kept_and_tell_the_same_thing(reader: Reader, site: Site, tmp_path: Path) -> None:
    picture = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").rotate(30).save(picture, "PNG")
    site.pages |= {"/a.png": picture.getvalue(), "/b.png": picture.getvalue(), "/none.png": b"not a picture"}
    rows = {"hub": [("Old oak table, wobbly", "a"), ("Kettle", "none")], "bay": [("Oak dining table, old", "b")]}
    for code, listed in rows.items():
        lines = [
            msgspec.json.encode({"id": t, "title": t, "price": 90, "image": f"{site.base}/{p}.png"}) for t, p in listed
        ]
        (tmp_path / f"{code}.ndjson").write_bytes(b"\n".join(lines))
        draft = SourceDraft(
            code=code, name=code, kind="ndjson_feed", url=f"folder:{code}.ndjson", settings=Reading(category="fruit")
        )
        await put_source(reader.store, reader.staff, draft)
        await reader.read(await find_source(reader.store.db, code))
    jobs = await reader.store.db.read(
        text("SELECT payload FROM pgqueuer WHERE entrypoint = 'sources.fetch_pictures' ORDER BY id")
    )
    kept = []
    async with Outside(allowed=["127.0.0.1/32"]) as outside:
        for job in jobs:
            args = msgspec.json.decode(job["payload"], type=FetchPictures)
            found = await keep_pictures(
                reader.store, args.source_id, args.listing_ids, connect=lambda s: reader.fetcher(s, outside)
            )
            kept.append(found.count)
    assert sorted(kept) == [1, 1]
    pictures = await reader.store.db.read(
        text(
            "SELECT format, width, bytes > 0 AS has_size, file_id IS NOT NULL AS is_kept FROM listing_images ORDER BY url"
        )
    )
    assert [(f["width"], f["has_size"], f["is_kept"]) for f in pictures] == [
        (256, True, True),
        (256, True, True),
        (None, None, False),
    ]
    clusters = await reader.store.db.read(
        text("SELECT count(*) AS n FROM outside_items GROUP BY cluster_id ORDER BY 1")
    )
    assert [c["n"] for c in clusters] == [1, 2]
