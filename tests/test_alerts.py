"""Searches that people keep: once each, counted when looked at, renamed, removed and taken back; nobody else's business."""

import re
from uuid import UUID

import httpx
import pytest
from sqlalchemy import text

from tests.factories import Factory
from tests.visitor import Visitor, text_of
from tradepost.accounts.types import Caller, SignInFirst
from tradepost.alerts.queries import list_alerts
from tradepost.alerts.rules import criteria_hash, criteria_of
from tradepost.alerts.service import forget_removed, keep_search, remove_alert
from tradepost.alerts.types import MOST, Alert, NothingToKeep, TooManyAlerts
from tradepost.core.database import SYSTEM
from tradepost.flows.saved_searches import MOST_COUNTED, saved_searches
from tradepost.flows.store import Store
from tradepost.search.types import SearchRequest


async def keep(store: Store, caller: Caller, request: SearchRequest, name: str = "Mine") -> UUID:
    """Keep a search in a transaction of its own."""
    async with store.db.transaction(actor=caller.actor) as tx:
        return await keep_search(tx, caller, request, name)


async def kept(store: Store, caller: Caller) -> tuple[Alert, ...]:
    """Return what a person keeps."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await list_alerts(tx, caller)


async def look_back(store: Store) -> None:
    """Have everybody looked an hour ago."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(text("UPDATE alerts SET last_checked_at = now() - interval '1 hour'"))


async def test_search_is_kept_with_all_that_it_asks(store: Store, make: Factory) -> None:
    ann = await make.person()
    asked = SearchRequest(
        query="red apples", category="fruit", conditions=("good", "new"), brands=("Acme",), attributes={"organic": ("true",)},
        ranges={"size": (None, 4.0)}, max_minor=500, in_stock=True, seller_id=UUID(int=7), near=(-17.8, 31.05), radius_m=5000.0,
    )  # fmt: skip
    await keep(store, ann, asked, " Autumn  fruit ")
    (alert,) = await kept(store, ann)
    assert (alert.name, alert.request) == ("Autumn fruit", asked)


async def test_same_search_is_kept_once_however_it_is_written(store: Store, make: Factory) -> None:
    ann = await make.person()
    first = await keep(store, ann, SearchRequest(query="Red apples", conditions=("new", "good"), sort="newest"), "One")
    second = await keep(store, ann, SearchRequest(query=" red  apples", conditions=("good", "new"), limit=3), "Two")
    assert first == second
    assert [a.name for a in await kept(store, ann)] == ["One"]
    assert criteria_hash(*criteria_of(SearchRequest(query="pears"))) != criteria_hash(
        *criteria_of(SearchRequest(query="red apples"))
    )


async def test_what_asks_nothing_is_not_kept(store: Store, make: Factory) -> None:
    ann = await make.person()
    with pytest.raises(NothingToKeep):
        await keep(store, ann, SearchRequest(query="  ", near=(1.0, 2.0), sort="nearest"))
    with pytest.raises(SignInFirst):
        await keep(store, Caller(), SearchRequest(query="apples"))
    assert await kept(store, ann) == ()


async def test_person_keeps_so_many_and_no_more(store: Store, make: Factory) -> None:
    ann = await make.person()
    async with store.db.transaction(actor=ann.actor) as tx:
        for n in range(MOST):
            await keep_search(tx, ann, SearchRequest(query=f"thing {n}"), "Mine")
    with pytest.raises(TooManyAlerts):
        await keep(store, ann, SearchRequest(query="one more"))
    assert await keep(store, ann, SearchRequest(query="thing 3"))  # it is kept already
    assert len(await kept(store, ann)) == MOST


async def test_only_what_came_since_is_new_and_fits(store: Store, make: Factory) -> None:
    ann, seller = await make.person(), await make.person("seller")
    await make.listing(seller, "Old apples")
    await keep(store, ann, SearchRequest(query="apples", max_minor=300))
    assert [s.new for s in await saved_searches(store, ann)] == [0]
    await make.listing(seller, "New apples", price=200)
    await make.listing(seller, "Dear apples", price=900)
    await make.listing(seller, "New pears", price=200)
    assert [(s.new, s.is_more) for s in await saved_searches(store, ann)] == [(1, False)]


async def test_many_new_ones_are_counted_so_far_only(store: Store, make: Factory) -> None:
    ann, seller = await make.person(), await make.person("seller")
    await keep(store, ann, SearchRequest(query="apples"))
    first = await make.listing(seller, "Apples")
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(
            text(
                "INSERT INTO listings (seller_id, kind, feed, slug, title, description, category_id, status, published_at) SELECT seller_id, "
                "kind, feed, slug, title, '', category_id, 'active', published_at FROM listings, generate_series(1, 120) WHERE id = :id"
            ),
            id=first,
        )
    (found,) = await saved_searches(store, ann)
    assert (found.new, found.is_more) == (MOST_COUNTED, True)


async def test_removed_search_is_gone_for_good_after_a_day(store: Store, make: Factory) -> None:
    ann = await make.person()
    first, second = [await keep(store, ann, SearchRequest(query=q)) for q in ("apples", "pears")]
    async with store.db.transaction(actor=ann.actor) as tx:
        for each in (first, second):
            await remove_alert(tx, ann, each)
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(text("UPDATE alerts SET removed_at = now() - interval '25 hours' WHERE id = :id"), id=first)
        assert await forget_removed(tx) == 1
        assert await tx.values(text("SELECT id FROM alerts")) == [second]


async def test_one_click_keeps_a_search_and_opening_it_ticks_off(browse: Visitor, store: Store, make: Factory) -> None:
    seller = await make.person("seller")
    await make.listing(seller, "Cheap apples", price=200)
    await browse.sign_up("ann")
    page = await browse.get("/c/fruit?q=apples&max_price=3&condition=good")
    address = re.search(r'name="address" value="([^"]+)"', page.text)
    assert address
    done = await browse.post("/me/searches", {"address": address[1].replace("&amp;", "&")})
    assert "Kept as “apples, Fruit, Good, Up to" in text_of(done.text)
    assert done.url.path == "/c/fruit"
    await make.listing(seller, "New apples", price=250, condition="good")
    await look_back(store)
    listed = await browse.get("/me/searches")
    assert "1 new" in text_of(listed.text)
    opened = await browse.get(re.findall(r'href="(/me/searches/[0-9a-f-]{36})"', listed.text)[0])
    assert str(opened.url.query.decode()) == "q=apples&condition=good&max_price=3.00&sort=newest"
    assert "New apples" in opened.text
    assert "Cheap apples" not in opened.text
    assert "Nothing new" in text_of((await browse.get("/me/searches")).text)


async def test_page_renames_removes_and_takes_back(browse: Visitor) -> None:
    await browse.sign_up("ann")
    await browse.post("/me/searches", {"address": "/search?q=apples"})
    page = await browse.get("/me/searches")
    (where,) = set(re.findall(r"/me/searches/[0-9a-f-]{36}", page.text))
    assert "Orchard days" in (await browse.post(f"{where}/rename", {"name": "Orchard days"})).text
    assert "needed" in text_of((await browse.post(f"{where}/rename", {"name": " "})).text)
    removed = await browse.post(f"{where}/remove")
    assert "Take it back" in removed.text
    assert "Orchard days" not in removed.text
    assert (await browse.get(where)).status_code == 404
    assert "Orchard days" in (await browse.post(f"{where}/restore")).text


async def test_guest_is_asked_to_sign_in_and_comes_back(browse: Visitor, make: Factory) -> None:
    await make.listing(await make.person("seller"), "Apples")
    page = await browse.get("/search?q=apples")
    assert 'href="/sign-in?next=/search%3Fq%3Dapples"' in page.text
    answer = await browse.post("/me/searches", {"address": "/search?q=apples"}, follow=False)
    assert answer.headers["location"].startswith("/sign-in")
    assert "Save this search" not in (await browse.get("/search")).text  # nothing to keep


@pytest.mark.parametrize(
    "address",
    ["https://evil.example/", "//evil.example/x", "/me", "/search", "/c/none?x=1", "\\", "/search?" + "a=1&" * 300],
)
async def test_odd_addresses_are_refused_without_leaving(browse: Visitor, address: str) -> None:
    await browse.sign_up("ann")
    answer = await browse.post("/me/searches", {"address": address}, follow=False)
    assert answer.status_code in {303, 400, 422}
    assert "evil" not in answer.headers.get("location", "")
    assert "No alerts yet" in (await browse.get("/me/searches")).text


async def test_stranger_can_neither_see_nor_change_a_search(browse: Visitor, store: Store, make: Factory) -> None:
    ann = await make.person()
    alert = await keep(store, ann, SearchRequest(query="apples"))
    await browse.sign_up("ben")
    where = f"/me/searches/{alert}"
    answers = [await browse.get(where)]
    answers += [await browse.post(f"{where}/{what}", {"name": "x"}) for what in ("rename", "remove", "restore")]
    answers += [await browse.get(f"/api/v1{where}"), await browse.client.get("/api/v1/me/searches")]
    assert [a.status_code for a in answers] == [404, 404, 404, 404, 404, 200]
    assert answers[-1].json() == []
    async with store.db.transaction(actor=(await make.person()).actor) as tx:
        assert await tx.values(text("SELECT id FROM alerts")) == []
        assert await tx.run(text("UPDATE alerts SET name = 'x'")) == 0
    assert [a.name for a in await kept(store, ann)] == ["Mine"]


async def api(browse: Visitor, method: str, path: str, body: object = None) -> httpx.Response:
    """Ask the API as the browser's person."""
    return await browse.client.request(method, f"/api/v1{path}", json=body, headers={"x-csrf-token": browse.token})


async def test_api_keeps_renames_checks_removes_and_restores(browse: Visitor, store: Store, make: Factory) -> None:
    await browse.sign_up("ann")
    body = {"name": "Fruit", "criteria": {"query": "apples", "category": "fruit", "max_minor": 500}}
    made = await api(browse, "POST", "/me/searches", body)
    assert made.status_code == 201
    where = f"/me/searches/{made.json()['id']}"
    await make.listing(await make.person("seller"), "Apples")
    (row,) = (await api(browse, "GET", "/me/searches")).json()
    assert (row["alert"]["name"], row["alert"]["request"]["max_minor"], row["new"]) == ("Fruit", 500, 1)
    assert (await api(browse, "POST", f"{where}/check")).status_code == 201
    assert (await api(browse, "GET", "/me/searches")).json()[0]["new"] == 0
    assert (await api(browse, "PATCH", where, {"name": "Apples"})).json()["name"] == "Apples"
    assert (await api(browse, "DELETE", where)).status_code == 204
    assert (await api(browse, "GET", where)).status_code == 404
    assert (await api(browse, "POST", f"{where}/restore")).json()["name"] == "Apples"


@pytest.mark.parametrize(
    "criteria",
    [
        {}, {"query": "x" * 201}, {"query": "\u0000"}, {"max_minor": -1}, {"near": [99, 0], "radius_m": 5}, {"near": [1, 1]},
        {"category": "none"}, {"attributes": {"": ["x"]}}, {"brands": ["x" * 201]}, {"ranges": {"size": [1e300, None]}}, {"sql": "x"},
    ],
)  # fmt: skip
async def test_api_refuses_bad_criteria(browse: Visitor, store: Store, criteria: dict[str, object]) -> None:
    await browse.sign_up("ann")
    answer = await api(browse, "POST", "/me/searches", {"name": "Mine", "criteria": criteria})
    assert 400 <= answer.status_code < 500, answer.text
    async with store.db.transaction(actor=SYSTEM) as tx:
        assert await tx.value(text("SELECT count(*) FROM alerts")) == 0
