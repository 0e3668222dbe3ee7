"""Traces: what is sent to a collector, what never is, and that a collector that is away costs nothing but spans."""

import asyncio
import gzip
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from sqlalchemy import text
from structlog.testing import LogCapture

from tests.conftest import Servers
from tests.factories import Factory
from tests.loopback import Answer, Asked, Loopback, serving
from tradepost.app import create_app
from tradepost.cli.serve import _Application, traced
from tradepost.core import trace_sending
from tradepost.core.database import SYSTEM, NotStorable
from tradepost.core.job_runner import Pace, run_jobs
from tradepost.core.jobs import Registry, enqueue
from tradepost.core.settings import Settings, TracingSettings, load_settings
from tradepost.core.trace_sending import Careful
from tradepost.core.tracing import (
    MOST_STATEMENTS,
    BadTracing,
    Recorder,
    check_tracing,
    named,
    recording,
)
from tradepost.flows.store import Store
from tradepost.web.proxies import networks_of

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


class Span(msgspec.Struct):
    """A span as the collector got it."""

    name: str
    kind: int
    trace: str
    id: str
    parent: str
    failed: bool
    said: dict[str, Any]


class Collector(Loopback):
    """Takes traces as a collector does."""

    slowness = 0.5

    async def answer(self, asked: Asked) -> Answer:
        """Take what comes."""
        assert asked.method == "POST"
        return Answer(200, b"", {"content-type": "application/x-protobuf"})

    @property
    def bodies(self) -> bytes:
        """Everything that came, to look for what must not be in it."""
        return b"".join(gzip.decompress(asked.body) for asked in self.asked)

    @property
    def spans(self) -> list[Span]:
        """Return the spans that came, in the order in which they ended."""
        found = []
        for asked in self.asked:
            sent = ExportTraceServiceRequest.FromString(gzip.decompress(asked.body))
            found += [s for resource in sent.resource_spans for scope in resource.scope_spans for s in scope.spans]
        return [
            Span(
                s.name, s.kind, s.trace_id.hex(), s.span_id.hex(), s.parent_span_id.hex(), s.status.code == 2,
                {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in s.attributes},
            )
            for s in found
        ]  # fmt: skip


@asynccontextmanager
async def collecting(store: Store, **settings: Any) -> AsyncIterator[tuple[Collector, Recorder]]:
    """Trace a store within the block; what was traced is sent at its end."""
    collector = Collector()
    async with serving(collector):
        chosen = Settings(tracing=TracingSettings(endpoint=collector.base, **settings))
        async with traced(chosen, {store.code: store}, "server") as recorder:
            assert recorder is not None
            yield collector, recorder
        assert store.db.recorder is None


async def asked(
    store: Store, recorder: Recorder, path: str, address: str = "203.0.113.9", **headers: str
) -> httpx.Response:
    app = create_app({store.code: store}, proxies=networks_of(("10.0.0.1",)), show_costs=True, recorder=recorder)
    transport = httpx.ASGITransport(app=app, client=(address, 40_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://market.localhost", headers=headers) as client:
        return await client.get(path)


async def test_a_request_is_a_span_with_its_statements_below_it_and_no_value_of_anybody(
    store: Store, make: Factory
) -> None:
    listing = await make.listing(await make.person("seller"), "Unmistakable teapot")
    path = f"/api/v1/listings/{listing}?note=unmistakable"
    async with collecting(store, headers=("authorization=Bearer open sesame",)) as (collector, recorder):
        await asked(store, recorder, path, Cookie="id=unmistakable", traceparent=PARENT, **{"User-Agent": "Unmistaken"})
    request = collector.spans[-1]
    assert (request.name, request.kind, request.parent) == ("GET /api/v1/listings/{listing_id}", 2, "")
    assert request.trace != TRACE, "a stranger does not choose the trace"
    assert request.said.pop("tradepost.request_id")
    assert request.said == {
        "http.request.method": "GET",
        "http.route": "/api/v1/listings/{listing_id}",
        "http.response.status_code": 200,
        "url.scheme": "http",
        "tradepost.store": "market",
    }
    statements = collector.spans[:-1]
    assert statements
    assert {(s.trace, s.parent, s.kind, s.failed) for s in statements} == {(request.trace, request.id, 3, False)}
    assert all(s.said["db.system.name"] == "postgresql" and s.said["db.namespace"] == "market" for s in statements)
    assert [(s.name, s.said["db.collection.name"]) for s in statements] == [("SELECT likes", "likes")]
    for value in (b"nmistak", str(listing).encode(), b"203.0.113.9"):
        assert value not in collector.bodies
    assert {a.headers["authorization"] for a in collector.asked} == {"Bearer open sesame"}
    assert {a.path for a in collector.asked} == {"/v1/traces"}


async def test_a_page_has_a_span_for_each_of_its_statements(store: Store, make: Factory) -> None:
    await make.listing(await make.person("seller"), "Unmistakable teapot")
    async with collecting(store) as (collector, recorder):
        page = await asked(store, recorder, "/search?q=unmistakable+teapot")
    assert "Unmistakable teapot" in page.text
    *statements, request = collector.spans
    assert (request.name, len(statements)) == ("GET /search", int(page.headers["x-query-count"]))
    assert len(statements) > 1
    assert {statement.parent for statement in statements} == {request.id}
    assert b"nmistakable" not in collector.bodies
    assert b"teapot" not in collector.bodies


async def test_a_trusted_proxy_says_which_trace_it_is_and_whether(store: Store) -> None:
    async with collecting(store, share=0.0) as (collector, recorder):
        await asked(store, recorder, "/api/v1/listings")
        await asked(store, recorder, "/api/v1/listings", address="10.0.0.1", traceparent=PARENT)
        await asked(store, recorder, "/api/v1/listings", address="10.0.0.1", traceparent=PARENT[:-1] + "0")
        await asked(store, recorder, "/api/v1/listings", address="10.0.0.1", traceparent="nonsense")
    requests = [span for span in collector.spans if span.kind == 2]
    assert [(s.trace, s.parent) for s in requests] == [(TRACE, "00f067aa0ba902b7")]
    assert {s.trace for s in collector.spans} == {TRACE}


async def test_a_page_that_is_not_there_has_no_address_in_its_span(store: Store) -> None:
    async with collecting(store) as (collector, recorder):
        await asked(store, recorder, "/no/such/person")
    request = next(span for span in collector.spans if span.kind == 2)
    assert request.name == "GET"
    assert request.said["http.response.status_code"] == 404
    assert b"no/such" not in collector.bodies


async def test_a_statement_that_fails_says_by_what_sort_of_error(store: Store) -> None:
    async with collecting(store) as (collector, recorder):
        with pytest.raises(NotStorable), recorder.request("GET", {}):
            async with store.db.transaction(actor=SYSTEM) as tx:
                await tx.value(text("SELECT CAST(:word AS int) FROM users"), word=10**30)
    statement, request = collector.spans
    assert (statement.name, statement.failed, statement.said["error.type"]) == ("SELECT users", True, "NotStorable")
    assert (request.failed, request.said["error.type"]) == (True, "NotStorable")
    assert b"00000000" not in collector.bodies


async def test_a_job_belongs_to_the_trace_of_what_enqueued_it(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry()
    stop = asyncio.Event()
    done: list[str] = []

    class Word(msgspec.Struct, frozen=True):
        word: str

    @registry.job("tea.pour", args=Word)
    async def pour(store: Store, args: Word) -> None:
        async with store.db.transaction(actor=SYSTEM) as tx:
            await tx.value(text("SELECT count(*) FROM users"))
        done.append(args.word)
        if len(done) == 2:
            stop.set()
        raise ValueError(args.word)

    monkeypatch.setattr("tradepost.core.job_runner._log", structlog.wrap_logger(None, processors=[LogCapture()]))
    async with collecting(store) as (collector, recorder):
        with recorder.request("POST", {}):
            async with store.db.transaction(actor=SYSTEM) as tx:
                await enqueue(tx, "tea.pour", Word("unmistakable"))
        async with store.db.transaction(actor=SYSTEM) as tx:
            await enqueue(tx, "tea.pour", Word("alone"))
        await run_jobs(store, registry, stop, pace=Pace(concurrency=1))
    assert done == ["unmistakable", "alone"]
    request = next(span for span in collector.spans if span.kind == 2)
    job, alone = [span for span in collector.spans if span.kind == 5]
    assert (job.name, job.trace, job.parent) == ("process tea.pour", request.trace, request.id)
    assert (job.failed, job.said["error.type"], job.said["tradepost.job.outcome"]) == (True, "ValueError", "failed")
    assert 0 <= job.said["tradepost.job.wait_seconds"] < timedelta(minutes=5).total_seconds()
    assert job.said["messaging.destination.name"] == "tea.pour"
    assert alone.parent == ""
    assert alone.trace != request.trace
    below = [span for span in collector.spans if span.parent == job.id]
    assert [span.name for span in below] == ["SELECT users"]
    assert b"unmistakable" not in collector.bodies


async def test_only_so_many_statements_of_one_request_have_spans(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_STATEMENTS == 500
    monkeypatch.setattr("tradepost.core.tracing.MOST_STATEMENTS", 3)
    async with collecting(store) as (collector, recorder):
        with recorder.request("GET", {}):
            for _ in range(5):
                await store.db.read(text("SELECT 1"))
        await store.db.read(text("SELECT 2"))
    assert [span.name for span in collector.spans] == ["SELECT"] * 3 + ["GET"]
    assert collector.spans[-1].said["tradepost.statements_left_out"] == 2


async def test_without_a_collector_nothing_is_made(store: Store) -> None:
    async with recording(TracingSettings(), "server") as recorder:
        assert recorder is None
    assert store.db.recorder is None
    async with store.db.transaction(actor=SYSTEM) as tx:
        await enqueue(tx, "ops.take_sample")
        assert await tx.values(text("SELECT headers FROM pgqueuer")) == [None]


def test_without_a_collector_nothing_of_opentelemetry_is_imported() -> None:
    program = (
        "import asyncio, sys\n"
        "from tradepost.core import database, job_runner\n"
        "from tradepost.core.settings import TracingSettings\n"
        "from tradepost.core.tracing import recording\n"
        "async def run():\n"
        "    async with recording(TracingSettings(), 'server') as recorder: assert recorder is None\n"
        "asyncio.run(run())\n"
        "assert not [name for name in sys.modules if name.startswith(('opentelemetry', 'google.protobuf'))]\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)  # noqa: S603  # this Python


class Away(SpanExporter):
    """A collector that does not answer, until it does."""

    def __init__(self) -> None:
        self.tries = 0
        self.is_back = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Fail."""
        assert spans
        self.tries += 1
        return SpanExportResult.SUCCESS if self.is_back else SpanExportResult.FAILURE


def test_a_collector_that_is_away_is_told_of_once_a_minute_and_asked_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 1000.0
    log = LogCapture()
    away = Away()
    monkeypatch.setattr(trace_sending, "_log", structlog.wrap_logger(None, processors=[log]))
    monkeypatch.setattr(trace_sending.time, "monotonic", lambda: now)
    careful = Careful(away, "http://collector:4318")
    for second in range(65):
        now = 1000.0 + second
        careful.export([ReadableSpan("GET")] * 3)
    assert away.tries == 13
    assert [(e["event"], e["spans"]) for e in log.entries] == [("traces.not_sent", 3), ("traces.not_sent", 180)]
    away.is_back = True
    now += 60
    assert careful.export([ReadableSpan("GET")]) is SpanExportResult.SUCCESS
    assert len(log.entries) == 2


@pytest.mark.parametrize("fault", ["broken", "slow", "gone"])
async def test_ending_does_not_wait_for_a_collector(store: Store, monkeypatch: pytest.MonkeyPatch, fault: Any) -> None:
    log = LogCapture()
    monkeypatch.setattr(trace_sending, "_log", structlog.wrap_logger(None, processors=[log]))
    monkeypatch.setattr(trace_sending, "FLUSH_S", 0.05)
    monkeypatch.setattr(trace_sending, "TRY_S", 0.3)
    collector = Collector()
    async with serving(collector):
        if fault != "gone":
            collector.fail("/v1/traces", fault, times=9)
        endpoint = "http://127.0.0.1:1" if fault == "gone" else collector.base
        async with asyncio.timeout(30), recording(TracingSettings(endpoint=endpoint), "server") as recorder:
            assert recorder is not None
            await asked(store, recorder, "/api/v1/listings")
    assert all(entry["event"] == "traces.not_sent" for entry in log.entries)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (TracingSettings(endpoint="collector:4318"), "endpoint is not right"),
        (TracingSettings(endpoint="http://collector:99999"), "endpoint is not right"),
        (
            TracingSettings(endpoint="http://collector:4318", headers=("a=b", "open sesame")),
            "number 2 is not name=value",
        ),
    ],
)
def test_settings_that_are_wrong_are_named_and_secrets_are_not(settings: TracingSettings, problem: str) -> None:
    with pytest.raises(BadTracing, match=problem) as refused:
        check_tracing(settings)
    assert "sesame" not in refused.value.message + repr(settings)


async def test_packages_that_are_missing_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradepost.core.tracing.is_installed", lambda: False)
    log = LogCapture()
    monkeypatch.setattr("tradepost.core.tracing._log", structlog.wrap_logger(None, processors=[log]))
    async with recording(TracingSettings(endpoint="http://127.0.0.1:4318"), "server") as recorder:
        assert recorder is None, "a store does not stay shut for its traces"
    (entry,) = log.entries
    assert entry["event"] == "traces.not_made"
    assert 'pip install "tradepost[tracing]"' in entry["reason"]
    async with recording(TracingSettings(), "server"):
        assert len(log.entries) == 1


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("SELECT a, 'x' FROM listings WHERE id = $1", ("SELECT", "listings")),
        ("\n  SELECT extract(epoch FROM now() - a) FROM pgqueuer", ("SELECT", "pgqueuer")),
        ("SELECT 'Tea from China'", ("SELECT", "")),
        ("SELECT * FROM unnest(CAST($1 AS int[])) AS u JOIN users", ("SELECT", "")),
        ("INSERT INTO orders (id) VALUES ($1)", ("INSERT", "orders")),
        ("UPDATE orders SET total_minor = $1", ("UPDATE", "orders")),
        ("DELETE FROM carts", ("DELETE", "carts")),
        ("WITH RECURSIVE above AS (SELECT 1) SELECT 2 FROM above", ("WITH", "above")),
        ("NOTIFY tradepost_jobs", ("NOTIFY", "")),
        ("", ("statement", "")),
    ],
)
def test_statements_are_named_by_what_they_do(sql: str, name: tuple[str, str]) -> None:
    assert named(sql) == name


async def test_the_doctor_says_whether_traces_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    from tradepost.cli.doctor import _tracing

    collector = Collector()
    async with serving(collector):
        found = await _tracing(TracingSettings(endpoint=collector.base))
        assert (found.state, found.said.rpartition(" ")[2]) == ("good", "answers")
    assert (await _tracing(TracingSettings(endpoint="http://127.0.0.1:1"))).state == "warn"
    monkeypatch.setattr("tradepost.cli.doctor.is_installed", lambda: False)
    missing = await _tracing(TracingSettings(endpoint="http://127.0.0.1:4318"))
    assert missing.state == "bad"
    assert "tradepost[tracing]" in missing.said


async def test_a_server_is_traced_as_the_settings_say(
    store_dsn: str, servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = Collector()
    async with serving(collector):
        for key, value in {
            "SETTINGS_FILE": str(tmp_path / "none.toml"), "STORES": "market", "HOME": str(tmp_path / "home"),
            "PRESETS": str(Path(__file__).parent / "presets"), "DATABASE__URL": store_dsn, "CACHE__URL": servers.cache_url,
            "TRACING__ENDPOINT": f"{collector.base}/", "TRACING__SERVICE": "stalls",
        }.items():  # fmt: skip
            monkeypatch.setenv(f"TRADEPOST_{key}", value)
        # A server composes who reacts to what; the other tests of this process do not.
        monkeypatch.setattr("tradepost.core.events._subscriptions", {})
        server = _Application(load_settings(None, os.environ))
        asked_of: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        told: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        living = asyncio.create_task(server({"type": "lifespan"}, asked_of.get, told.put))
        await asked_of.put({"type": "lifespan.startup"})
        assert (await told.get())["type"] == "lifespan.startup.complete"
        transport = httpx.ASGITransport(app=server)
        async with httpx.AsyncClient(transport=transport, base_url="http://market.localhost") as client:
            assert (await client.get("/api/v1/listings")).status_code == 200
        await asked_of.put({"type": "lifespan.shutdown"})
        await living
    assert collector.spans[-1].name == "GET /api/v1/listings"
    assert b"stalls" in collector.bodies
