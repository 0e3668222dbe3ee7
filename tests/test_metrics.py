"""What Prometheus is told: who may ask, what is counted, what several processes tell together, and how little it costs."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import httpx
import msgspec
import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from tests.shop import Shop
from tradepost.app import create_app
from tradepost.core import metrics
from tradepost.core.database import SYSTEM
from tradepost.core.errors import Unavailable
from tradepost.core.jobs import enqueue, queue_state
from tradepost.core.metrics import Counted, Exchange, Timed, snapshot, written
from tradepost.core.settings import MetricsSettings
from tradepost.flows.store import Store
from tradepost.flows.upkeep import check_books
from tradepost.web.metrics import Watch

ADDRESS = "http://market.localhost"


def told(body: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return samples by their names and labels, read as Prometheus reads them."""
    return {
        (sample.name, frozenset((k, v) for k, v in sample.labels.items() if k != "process")): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def the(samples: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str, **labels: str) -> float:
    return samples.get((name, frozenset(labels.items())), 0)


def client_of(store: Store, settings: MetricsSettings, address: str = "127.0.0.1") -> httpx.AsyncClient:
    app = create_app({store.code: store}, watch=Watch(settings))
    transport = httpx.ASGITransport(app=app, client=(address, 40_000))
    return httpx.AsyncClient(transport=transport, base_url=ADDRESS)


@pytest_asyncio.fixture
async def client(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    """Ask from the machine itself."""
    async with client_of(store, MetricsSettings()) as opened:
        yield opened


async def scraped(client: httpx.AsyncClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = await client.get("/metrics")
    assert answer.status_code == 200
    return told(answer.content)


async def test_requests_and_their_statements_are_counted_by_route(client: httpx.AsyncClient) -> None:
    before = await scraped(client)
    for path in ("/api/v1/listings", "/api/v1/listings?limit=2", f"/api/v1/listings/{UUID(int=9)}", "/no/such/page"):
        await client.get(path)
    after = await scraped(client)

    def more(name: str, **labels: str) -> float:
        return the(after, name, **labels) - the(before, name, **labels)

    here = {"store": "market", "method": "GET"}
    assert more("tradepost_requests_total", **here, route="/api/v1/listings", status="200") == 2
    assert more("tradepost_requests_total", **here, route="/api/v1/listings/{listing_id}", status="404") == 1
    assert more("tradepost_request_seconds_count", route="/api/v1/listings") == 2
    assert more("tradepost_request_seconds_bucket", route="/api/v1/listings", le="+Inf") == 2
    assert more("tradepost_query_seconds_count", store="market") >= 2
    assert not any(str(UUID(int=9)) in str(labels) or "/no/such" in str(labels) for _, labels in after)


async def test_the_state_of_the_store_is_told(shop: Shop) -> None:
    await shop.buy(await shop.goods())
    await check_books(shop.store)
    async with shop.store.db.transaction(actor=SYSTEM) as tx:
        await enqueue(tx, "ops.take_sample")
    async with shop.store.db.transaction(actor=SYSTEM) as tx:
        waiting = (await queue_state(tx)).due  # more than this one where the jobs that follow an order are known
    async with client_of(shop.store, MetricsSettings()) as client:
        found = await scraped(client)
    here = {"store": "market"}
    assert the(found, "tradepost_database_up", **here) == 1
    assert the(found, "tradepost_database_bytes", **here) > 1_000_000
    assert the(found, "tradepost_queue_jobs", **here, state="due") == waiting >= 1
    assert the(found, "tradepost_ledger_checked_timestamp_seconds", **here) > 1_700_000_000
    assert the(found, "tradepost_ledger_drift", **here) == 0
    assert the(found, "tradepost_checkouts_total", **here, outcome="placed") >= 1
    assert the(found, "tradepost_payments_total", **here, gateway="sandbox", state="success") >= 1
    assert the(found, "tradepost_pool_connections", **here, state="open") >= 1
    assert the(found, "tradepost_cache_up", **here) == 1


async def test_a_ledger_that_nobody_has_added_up_is_told_as_never(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tradepost.web.metrics._KEPT_S", 0.0)
    checked = ("tradepost_ledger_checked_timestamp_seconds", frozenset({("store", "market")}))
    async with client_of(store, MetricsSettings()) as client:
        assert (await scraped(client))[checked] == 0
        await check_books(store)
        moment = (await scraped(client))[checked]
        assert moment > 1_700_000_000

        def away(**_: object) -> None:
            raise Unavailable

        monkeypatch.setattr(store.db, "transaction", away)
        found = await scraped(client)
    assert found[checked] == moment  # an alarm about the ledger does not end because the database does
    assert found["tradepost_ledger_drift", frozenset({("store", "market")})] == 0


async def test_refused_orders_are_counted_by_why(shop: Shop) -> None:
    counted = metrics.CHECKOUTS.values
    before = counted.get(("market", "CartEmpty"), 0)
    from tradepost.flows.checkout import checkout
    from tradepost.orders.types import CartEmpty

    with pytest.raises(CartEmpty):
        await checkout(shop.store, shop.buyer, shop.form(), "key-of-nothing")
    assert counted["market", "CartEmpty"] == before + 1


async def test_a_database_that_is_away_is_told_as_that(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async with client_of(store, MetricsSettings()) as client:
        await scraped(client)
        monkeypatch.setattr("tradepost.web.metrics._KEPT_S", 0.0)

        def away(**_: object) -> None:
            raise Unavailable

        monkeypatch.setattr(store.db, "transaction", away)
        found = await scraped(client)
    assert the(found, "tradepost_database_up", store="market") == 0
    assert not any(name == "tradepost_database_bytes" for name, _ in found)


@pytest.mark.parametrize(
    ("settings", "address", "headers", "status"),
    [
        (MetricsSettings(), "127.0.0.1", {}, 200),
        (MetricsSettings(), "203.0.113.9", {}, 404),
        (MetricsSettings(), "127.0.0.1", {"X-Forwarded-For": "203.0.113.9"}, 404),
        (MetricsSettings(), "127.0.0.1", {"Forwarded": "for=203.0.113.9"}, 404),
        (
            MetricsSettings(),
            "127.0.0.1",
            {"Host": "shop.example"},
            404,
        ),  # a proxy that adds no header passes the name on
        (MetricsSettings(), "127.0.0.1", {"Host": "localhost.shop.example"}, 404),
        (MetricsSettings(), "127.0.0.1", {"Host": "[1.2]"}, 404),
        (MetricsSettings(), "127.0.0.1", {"Host": "localhost:8000"}, 200),
        (MetricsSettings(), "::1", {"Host": "[::1]:8000"}, 200),
        (MetricsSettings(networks=("10.0.0.0/8",)), "10.1.2.3", {"Host": "10.1.2.4:8000"}, 200),
        (
            MetricsSettings(token="open sesame"),
            "10.1.2.3",
            {"Host": "shop.example", "Authorization": "Bearer open sesame"},
            200,
        ),
        (MetricsSettings(networks=("10.0.0.0/8",)), "10.1.2.3", {}, 200),
        (MetricsSettings(networks=()), "127.0.0.1", {}, 404),
        (MetricsSettings(token="open sesame"), "203.0.113.9", {"Authorization": "Bearer open sesame"}, 200),
        (MetricsSettings(token="open sesame"), "127.0.0.1", {"Authorization": "Bearer open"}, 404),
        (MetricsSettings(token="open sesame"), "127.0.0.1", {}, 404),
    ],
)
async def test_only_who_may_sees_them(
    store: Store, settings: MetricsSettings, address: str, headers: dict[str, str], status: int
) -> None:
    async with client_of(store, settings, address) as client:
        assert (await client.get("/metrics", headers=headers)).status_code == status


def test_processes_tell_of_each_other_and_the_dead_are_forgotten(tmp_path: Path) -> None:
    counted = Counted("tradepost_test_things_total", "Things.", "kind")
    shared = Counted("tradepost_test_state", "A state.", kind="gauge", is_shared=True)
    try:
        counted.add("red", by=3)
        shared.set(7)
        here = Exchange.here(tmp_path, "server")
        here.leave()
        sibling = tmp_path / f"worker-{os.getppid()}.json"
        sibling.write_bytes(msgspec.json.encode(snapshot("worker-1", for_others=True)))
        (tmp_path / "server-999999999.json").write_bytes(b"{}")
        (tmp_path / f"odd-{os.getppid()}.json").write_bytes(b"not json")
        text = written(here.gather()).decode()
        assert f'tradepost_test_things_total{{kind="red",process="server-{os.getpid()}"}} 3.0' in text
        assert 'tradepost_test_things_total{kind="red",process="worker-1"} 3.0' in text
        assert text.count("tradepost_test_state ") == 3  # its meaning, its type, and once the state: no process's own
        assert not (tmp_path / "server-999999999.json").exists()
        here.quit()
        assert not (tmp_path / f"server-{os.getpid()}.json").exists()
    finally:
        metrics.DECLARED.remove(counted)
        metrics.DECLARED.remove(shared)


def test_labels_cannot_grow_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "MOST_SERIES", 30)
    counted, timed = (
        Counted("tradepost_test_many_total", "Many.", "kind"),
        Timed("tradepost_test_slow", "Slow.", "kind"),
    )
    for metric in (counted, timed):
        metrics.DECLARED.remove(metric)
    for number in range(50):
        counted.add(str(number))
        timed.note(0.1, str(number))
    assert len(counted.values) == 31
    assert counted.values["other",] == 20
    assert len(timed.cells) == 4
    assert sum(timed.cells["other",].counts) == 47


def test_durations_fall_into_their_buckets() -> None:
    cell = metrics.Cell()
    for seconds in (0.001, 0.0011, 3.0, 60.0):
        cell.note(seconds)
    assert (cell.counts[0], cell.counts[1], cell.counts[-1]) == (1, 1, 1)
    assert cell.total == pytest.approx(63.0021)


async def test_statements_that_fail_are_counted_by_their_error(store: Store) -> None:
    from sqlalchemy import text

    from tradepost.core.database import NotStorable

    before = metrics.QUERY_ERRORS.values.get(("market", "NotStorable"), 0)
    with pytest.raises(NotStorable):
        async with store.db.transaction(actor=SYSTEM) as tx:
            await tx.value(text("SELECT 1 / 0"))
    assert metrics.QUERY_ERRORS.values["market", "NotStorable"] == before + 1
