"""Whatever people and programs send to search: a result or a clear refusal, in time, never a failure of ours."""

import base64
import time
from urllib.parse import quote, urlencode

import msgspec
import pytest
from sqlalchemy import text

from tests.factories import Factory
from tests.test_search import NASTY
from tests.visitor import Visitor
from tradepost.core.database import SYSTEM
from tradepost.flows.store import Store
from tradepost.search.counting import count_terms
from tradepost.search.service import forget_facts

IN_TIME_S = 5.0
MORE = [
    "the", "a b c d e f g h i j k l m n o p q r s t u v w x y z " * 10, "(" * 500, "apple <-> " * 100, "!" * 5_000, "\u202eselppa",
    "שלום עולם", "👩‍👩‍👧‍👦 " * 200, "apples:*", "apples & !pears | (plums)", "' OR 1=1 --", "%' UNION SELECT password_hash FROM users --",
    "$$; SELECT pg_sleep(10); $$", "\\u0000", "apples\r\nSet-Cookie: x=1", "{{7*7}}", "../../etc/passwd", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaab" * 6,
    "over 0 under 0", "between 9 and 1", "within 99999 km", "size", "-" * 300, '"' * 301, "appel pare plmu haedphone wirlees " * 8,
]  # fmt: skip
EVERYTHING = [*NASTY, *MORE]
FILTERS = [
    "min_price=1e400", "max_price=-0", "min_price=" + "9" * 400, "lat=nan&lon=nan&within=5", "lat=0&lon=0&within=1e-300", "within=1e308&lat=1&lon=1",
    "lat=90&lon=180&within=20000", "lat=-90&lon=-180&within=0.001", "days=1e9", "days=-1", "brand=" + "x" * 5_000, "brand=%00", "a_size=%00",
    "min_a_size=-1e300&max_a_size=1e300", "a_colour=" + quote("'; --"), "seller=%00", "place=%00", "place=" + "x" * 3_000, "feed=%FF%FE", "sort=best",
    "&".join(f"condition=c{n}" for n in range(500)), "&".join(f"x{n}=1" for n in range(800)), "category=%00", "view=%00", "q=a&q=b&q=c",
]  # fmt: skip


@pytest.fixture
async def stocked(store: Store, make: Factory) -> Store:
    """Fill a store with some hundred listings whose words are counted."""
    first = await make.listing(await make.person("seller"), "Red apples", place=(-17.0, 31.0))
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(
            text(
                "INSERT INTO listings (seller_id, kind, feed, slug, title, description, category_id, status, published_at, location) "
                "SELECT seller_id, kind, feed, slug, 'Apple ' || substr(md5(n::text), 1, 6) || ' headphones', 'Wireless plums', category_id, "
                "'active', published_at, location FROM listings, generate_series(1, 300) n WHERE id = :id"
            ),
            id=first,
        )
    await count_terms(store.db)
    forget_facts(store.db)
    return store


async def refusal(browse: Visitor, path: str) -> str | None:
    """Ask; return what was wrong with the answer, or None for a result or a clear refusal in time."""
    started = time.perf_counter()
    answer = await browse.client.get(path)
    took = time.perf_counter() - started
    if answer.status_code >= 500 or took > IN_TIME_S:
        return f"{path[:120]}: {answer.status_code} after {took:.1f} s"
    if answer.status_code >= 400 and path.startswith("/api/") and not answer.json().get("detail", answer.json()):
        return f"{path[:120]}: {answer.status_code} without a word"
    return None


def queries() -> list[str]:
    """Return every text as it goes into an address; halves of surrogates go as their bytes would."""
    return [quote(q, errors="surrogatepass") for q in EVERYTHING]


@pytest.mark.parametrize(
    "surface",
    [
        "/search?q={}",
        "/c/fruit?sort=best&q={}",
        "/search/suggest?q={}",
        "/api/v1/search?facets=true&explain=true&q={}",
        "/api/v1/search/suggest?q={}",
    ],
)
async def test_any_text_is_answered_everywhere(stocked: Store, browse: Visitor, surface: str) -> None:
    assert stocked
    problems = [await refusal(browse, surface.format(query)) for query in queries()]
    assert [p for p in problems if p] == []


async def test_absurd_filters_are_answered_by_the_page_and_refused_by_the_api(stocked: Store, browse: Visitor) -> None:
    assert stocked
    pages = [await refusal(browse, f"/search?q=apple&{f}") for f in FILTERS]
    absurd = [
        "limit=-1", "limit=99999999999999999999", "lat=1e400&lon=0", "lat=nan&lon=nan", "within_m=inf&lat=1&lon=1", "max_age_days=99999999999",
        "min_price=99999999999999999999999", "category=%00", "category=" + "x" * 101, "brand=%00", "attribute=%00:%00", "attribute=a:" + "b" * 9_000,
        "kind=%00", "feed=" + quote("' OR 1=1"), "seller=1", "after=" + "A" * 399, "after=%00", "q=" + "a" * 1_001, "sort=%00", "facets=maybe",
        "&".join(f"condition=c{n}" for n in range(50)), "&".join(f"attribute=k{n}:v" for n in range(20)), "min_price=5&max_price=1",
        "lat=89.999&lon=179.999&within_m=20000000", "lat=-90&lon=0&within_m=1",
    ]  # fmt: skip
    programs = [await refusal(browse, f"/api/v1/search?{f}") for f in absurd]
    assert [p for p in (*pages, *programs) if p] == []


def cursor(*values: object) -> str:
    """Return a cursor as somebody might forge it."""
    return base64.urlsafe_b64encode(msgspec.json.encode(values)).rstrip(b"=").decode()


async def test_forged_cursors_are_refused(stocked: Store, browse: Visitor) -> None:
    assert stocked
    some = "00000000-0000-0000-0000-000000000001"
    forged = [
        cursor(), cursor("best"), cursor("best", 1e308, some, None), cursor("best", "x", some, None), cursor("newest", "9999-12-31T23:59:59Z", some, None),
        cursor("cheapest", 2**70, some, None), cursor("best", 1, "x", None), cursor("best", 1, some, "0001-01-01T00:00:00Z"),
        cursor("best", 1, some, "9999-12-31T23:59:59Z"), cursor({"a": 1}), cursor(["best"] * 50), "%F0%9F%8D%8E",
    ]  # fmt: skip
    problems = [
        await refusal(browse, f"{base}{urlencode({'sort': sort})}&after={quote(after)}")
        for base in ("/search?q=apple&", "/api/v1/search?q=apple&")
        for sort in ("best", "newest", "cheapest")
        for after in forged
    ]
    assert [p for p in problems if p] == []


async def test_position_cookie_may_hold_anything(stocked: Store, browse: Visitor) -> None:
    assert stocked
    for value in ("nan,nan", "1e999,0", "x", "91,0", "-90,180", "1,2,3", ""):
        browse.client.cookies.set("position", value)
        assert await refusal(browse, "/search?q=apple&sort=nearest&within=5") is None, value
