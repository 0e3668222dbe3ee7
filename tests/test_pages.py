"""The storefront as people use it, without scripts: looking, buying, selling, and everything that can be wrong with a form."""

import io
import re

import pytest
from PIL import Image
from sqlalchemy import text

from tests.factories import Factory
from tests.people import join_as
from tests.visitor import Visitor, text_of
from tradepost.core.database import SYSTEM
from tradepost.core.ids import short_id
from tradepost.flows.store import Store
from tradepost.web.security import SESSION_COOKIE, security_headers


def photo(colour: str = "tomato", kind: str = "JPEG") -> bytes:
    """Return a small picture file."""
    data = io.BytesIO()
    Image.new("RGB", (640, 480), colour).save(data, kind)
    return data.getvalue()


DRAFT = {
    "kind": "product", "feed": "discover", "title": "Green pears", "description": "Firm and sweet.", "category": "fruit",
    "condition": "new", "attribute.colour": "green", "attribute.organic": "true", "variant.0.unit": "kg",
    "variant.0.sale_step": "0.25", "variant.0.on_hand": "12.5", "variant.0.price": "3.20", "action": "publish",
}  # fmt: skip


async def test_front_page_shows_the_newest_listings(browse: Visitor, make: Factory) -> None:
    seller = await make.person("seller")
    await make.listing(seller, "Red apples", price=1250)
    answer = await browse.get("/")
    assert answer.status_code == 200
    assert "Red apples" in answer.text
    assert "$12.50" in answer.text


async def test_category_page_takes_at_most_three_queries(browse: Visitor, make: Factory) -> None:
    seller = await make.person("seller")
    for n in range(30):
        await make.listing(seller, f"Apple number {n}")
    await browse.get("/c/food")
    answer = await browse.get("/c/food")
    assert answer.status_code == 200
    assert int(answer.headers["x-query-count"]) <= 3
    assert len(answer.content) < 100_000
    assert answer.text.count("Apple number") >= 24


async def test_paging_shows_every_listing_once(browse: Visitor, make: Factory) -> None:
    seller = await make.person("seller")
    titles = {f"Plum {n:02d}" for n in range(55)}
    for title in titles:
        await make.listing(seller, title)
    seen: list[str] = []
    after = ""
    while after is not None:
        page = (await browse.get(f"/api/v1/listings?limit=24{f'&after={after}' if after else ''}")).json()
        seen += [item["title"] for item in page["items"]]
        after = page["after"]
    assert len(seen) == 55
    assert set(seen) == titles


async def test_listing_page_says_what_machines_want_to_know(browse: Visitor, make: Factory) -> None:
    seller = await make.person("seller", "orchard", business_name="Hill Orchard")
    listing = await make.listing(seller, "Red </script> apples", price=250)
    answer = await browse.get(f"/l/red-apples-{short_id(listing)}")
    assert answer.status_code == 200
    assert "Hill Orchard" in answer.text
    assert '"priceCurrency":"USD"' in answer.text
    assert "</script> apples" not in answer.text
    assert "\\u003c/script> apples" in answer.text
    assert "og:title" in answer.text


async def test_unknown_addresses_get_a_page_of_the_store(browse: Visitor) -> None:
    answer = await browse.get("/nothing/here")
    assert answer.status_code == 404
    assert "Market" in answer.text
    assert (await browse.get("/l/x-0000000000000000000000")).status_code == 404
    assert (await browse.get("/c/nothing")).status_code == 404
    assert (await browse.get("/u/nobody")).status_code == 404


async def test_private_pages_send_visitors_to_sign_in(browse: Visitor) -> None:
    for path in ("/me", "/saved", "/me/listings", "/me/listings/new"):
        answer = await browse.get(path, follow=False)
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith("/sign-in?next=")


async def test_a_visitors_cart_comes_along_at_sign_up(browse: Visitor, make: Factory) -> None:
    listing = await make.listing(await make.person("seller"), "Red apples")
    variant = await make.variant_of(listing)
    answer = await browse.post("/cart/add", {"variant_id": str(variant), "quantity": "2"})
    assert answer.status_code == 200
    assert "Red apples" in text_of(answer.text)
    assert (await browse.sign_up("wanda")).status_code == 200
    assert "Red apples" in text_of((await browse.get("/cart")).text)


async def test_something_new_with_a_photo_is_found_at_once(browse: Visitor, make: Factory) -> None:
    await browse.sign_up("petra", "seller")
    page = await browse.get("/me/listings/new")
    assert page.status_code == 200
    answer = await browse.post("/me/listings/new", DRAFT, files={"pictures": ("pears.jpg", photo(), "image/jpeg")})
    assert answer.status_code == 200, text_of(answer.text)[:500]
    assert "Green pears" in answer.text
    assert "/media/" in answer.text
    assert "Green pears" in (await browse.get("/c/fruit")).text


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"variant.0.price": "-3"}, "variant.0.price"),
        ({"variant.0.price": "a lot"}, "variant.0.price"),
        ({"variant.0.price": "1.234"}, "variant.0.price"),
        ({"variant.0.on_hand": "1e999999999"}, "variant.0.on_hand"),
        ({"attribute.weight": "-1e999999999"}, "attribute.weight"),
        ({"title": ""}, "title"),
        ({"title": "x" * 300}, "title"),
        ({"category": "no-such"}, "category"),
        ({"kind": "spaceship"}, "kind"),
        ({"attribute.colour": "plaid"}, "attribute.colour"),
        ({"variant.0.on_hand": "-1"}, "variant.0.on_hand"),
        ({"variant.0.sale_step": "0"}, "variant.0.sale_step"),
        ({"place": "Atlantis"}, "place"),
    ],
)
async def test_a_bad_field_is_named_and_nothing_is_kept(
    browse: Visitor, make: Factory, store: Store, change: dict[str, str], field: str
) -> None:
    await browse.sign_up("petra", "seller")
    answer = await browse.post("/me/listings/new", DRAFT | change)
    assert answer.status_code == 422
    assert "error" in answer.text
    async with store.db.transaction(actor=SYSTEM) as tx:
        assert await tx.value(text("SELECT count(*) FROM listings")) == 0
    assert field in answer.text


async def test_a_file_that_is_no_picture_is_refused(browse: Visitor, make: Factory, store: Store) -> None:
    await browse.sign_up("petra", "seller")
    for content in (
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"GIF89a" + b"\0" * 30,
        b"\xff\xd8\xff" + b"junk" * 99,
    ):
        answer = await browse.post("/me/listings/new", DRAFT, files={"pictures": ("pears.jpg", content, "image/jpeg")})
        assert answer.status_code == 422
    async with store.db.transaction(actor=SYSTEM) as tx:
        assert await tx.value(text("SELECT count(*) FROM listings")) == 0


async def test_a_huge_upload_is_refused(browse: Visitor, make: Factory) -> None:
    await browse.sign_up("petra", "seller")
    answer = await browse.post(
        "/me/listings/new", DRAFT, files={"pictures": ("big.jpg", b"\xff" * 50_000_000, "image/jpeg")}
    )
    assert answer.status_code == 413


async def test_a_stale_form_does_not_overwrite(browse: Visitor, make: Factory, store: Store) -> None:
    await browse.sign_up("petra", "seller")
    await browse.post("/me/listings/new", DRAFT)
    async with store.db.transaction(actor=SYSTEM) as tx:
        listing = await tx.one(text("SELECT id, version FROM listings"))
    path = f"/me/listings/{listing['id']}"
    first = await browse.post(
        path, DRAFT | {"version": str(listing["version"]), "title": "Yellow pears", "action": "save"}
    )
    assert first.status_code == 200
    second = await browse.post(
        path, DRAFT | {"version": str(listing["version"]), "title": "Blue pears", "action": "save"}
    )
    assert second.status_code == 422
    assert "changed while you were editing" in second.text
    async with store.db.transaction(actor=SYSTEM) as tx:
        assert await tx.value(text("SELECT title FROM listings")) == "Yellow pears"


async def test_a_form_without_its_token_changes_nothing(browse: Visitor, make: Factory, store: Store) -> None:
    await browse.sign_up("petra", "seller")
    browse.token = "0" * 64
    answer = await browse.client.post("/me/listings/new", data=DRAFT | {"csrf_token": "0" * 64})
    assert answer.status_code == 403
    async with store.db.transaction(actor=SYSTEM) as tx:
        assert await tx.value(text("SELECT count(*) FROM listings")) == 0


async def test_a_stranger_cannot_see_or_change_a_draft(browse: Visitor, make: Factory, store: Store) -> None:
    owner = await make.person("seller")
    listing = await make.listing(owner, "Secret pears", status="draft", published_at=None)
    await browse.sign_up("mallory", "seller")
    assert (await browse.get(f"/l/secret-pears-{short_id(listing)}")).status_code == 404
    assert (await browse.get(f"/me/listings/{listing}")).status_code == 404
    assert (await browse.post(f"/me/listings/{listing}", DRAFT | {"title": "Mine now"})).status_code == 404
    assert (await browse.post(f"/me/listings/{listing}/publish")).status_code == 404
    async with store.db.transaction(actor=SYSTEM) as tx:
        assert await tx.value(text("SELECT title || status FROM listings")) == "Secret pearsdraft"


async def test_a_buyer_may_not_sell(browse: Visitor, make: Factory) -> None:
    await browse.sign_up("bert", "buyer")
    assert (await browse.get("/me/listings/new")).status_code == 403
    assert (await browse.post("/me/listings/new", DRAFT)).status_code == 403


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)"]
)
async def test_signing_in_leads_nowhere_else(browse: Visitor, make: Factory, target: str) -> None:
    await browse.sign_up("wanda")
    await browse.post("/sign-out")
    fields = {"login": "wanda", "password": "a-walnut-tree-in-may", "next": target}
    answer = await browse.post("/sign-in", fields, follow=False)
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"


async def test_every_page_forbids_inline_script(browse: Visitor, make: Factory) -> None:
    answer = await browse.get("/")
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe-inline" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert " style=" not in answer.text
    assert "onclick" not in answer.text


async def test_broken_utf8_and_odd_bodies_are_client_errors(browse: Visitor, make: Factory) -> None:
    await browse.get("/")
    for body, kind in (
        (b"\xff\xfe\x00title=", "application/x-www-form-urlencoded"),
        (b"{not json", "application/json"),
        (b"[]", "application/json"),
    ):
        answer = await browse.client.post(
            "/api/v1/accounts", content=body, headers={"content-type": kind, "x-csrf-token": browse.token}
        )
        assert 400 <= answer.status_code < 500, (body, answer.status_code)
        assert answer.headers["content-type"] == "application/problem+json"


async def test_saving_a_listing_counts_once_a_person(browse: Visitor, make: Factory, store: Store) -> None:
    listing = await make.listing(await make.person("seller"))
    await browse.sign_up("wanda")
    for saved in (1, 0, 1):
        await browse.post(f"/listings/{listing}/like", {"next": "/"})
        async with store.db.transaction(actor=SYSTEM) as tx:
            assert await tx.value(text("SELECT likes FROM listing_stats")) == saved
    assert "Red apples" in (await browse.get("/saved")).text


async def test_documentation_is_served_from_the_package(browse: Visitor) -> None:
    answer = await browse.get("/api")
    assert answer.status_code == 200
    assert "/api/v1/listings" in answer.text
    document = (await browse.get("/api/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    for page in (answer.text, (await browse.get("/")).text):
        assert "cdn." not in page
        assert 'src="http' not in page


async def test_what_is_sold_while_its_form_is_open_stays_sold(browse: Visitor, make: Factory, store: Store) -> None:
    await browse.sign_up("petra", "seller")
    await browse.post("/me/listings/new", DRAFT)
    async with store.db.transaction(actor=SYSTEM) as tx:
        listing = await tx.one(text("SELECT id, version FROM listings"))
    form = await browse.get(f"/me/listings/{listing['id']}")
    fields = dict(re.findall(r'name="(variant\.0\.(?:id|on_hand_before))" value="([^"]+)"', form.text))
    assert fields["variant.0.on_hand_before"] == "12.5"
    async with store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(text("UPDATE variants SET on_hand = 10"))
    await browse.post(
        f"/me/listings/{listing['id']}", DRAFT | fields | {"version": str(listing["version"]), "action": "save"}
    )
    async with store.db.transaction(actor=SYSTEM) as tx:
        assert await tx.value(text("SELECT on_hand FROM variants")) == 10


async def test_a_ticked_field_is_kept_and_shown_ticked(browse: Visitor, store: Store) -> None:
    await browse.sign_up("petra", "seller")
    box = re.compile(r'<input type="checkbox" name="attribute.organic" value="([^"]+)"[^>]*?( checked)?>')
    fresh = box.search((await browse.get("/me/listings/new")).text)
    assert fresh is not None
    assert fresh[2] is None
    await browse.post("/me/listings/new", DRAFT | {"attribute.organic": fresh[1]})
    listing = (await store.db.read(text("SELECT id, attributes FROM listings")))[0]
    assert listing["attributes"]["organic"] is True
    shown = box.search((await browse.get(f"/me/listings/{listing['id']}")).text)
    assert shown is not None
    assert shown[2] == " checked"


@pytest.mark.parametrize(
    "host", ["market.localhost:99999", "market.localhost:x", "market.localhost, evil.example", "[::1"]
)
async def test_a_host_that_is_none_is_a_client_error(browse: Visitor, host: str) -> None:
    assert (await browse.client.get("/", headers={"host": host})).status_code == 400


async def test_guessing_passwords_is_too_many_requests(browse: Visitor) -> None:
    tries = [await browse.post("/sign-in", {"login": "nobody", "password": f"guess {n}"}) for n in range(11)]
    assert [answer.status_code for answer in tries] == [422] * 10 + [429]
    assert "quarter of an hour" in text_of(tries[-1].text)


@pytest.mark.parametrize("change", [{"action": "add_variant"}, {"title": ""}])
async def test_pictures_that_a_browser_forgets_are_asked_for_again(browse: Visitor, change: dict[str, str]) -> None:
    await browse.sign_up("petra", "seller")
    pictures = {"pictures": ("pears.jpg", photo(), "image/jpeg")}
    answer = await browse.post("/me/listings/new", DRAFT | change, files=pictures)
    assert "choose your pictures again" in text_of(answer.text)
    assert "choose your pictures again" not in text_of((await browse.post("/me/listings/new", DRAFT | change)).text)


async def test_goods_are_sold_by_the_whole_unit_unless_their_seller_says_so(browse: Visitor, store: Store) -> None:
    await browse.sign_up("petra", "seller")
    form = (await browse.get("/me/listings/new?kind=service")).text
    step = re.findall(r'name="variant.0.sale_step" value="([^"]*)"', form)
    await browse.post("/me/listings/new", DRAFT | {"variant.0.sale_step": step[0]})
    assert (await store.db.read(text("SELECT sale_step FROM variants")))[0][0] == 1


async def test_staff_are_led_to_their_pages(browse: Visitor, store: Store) -> None:
    started = await join_as(store, "stella", "staff")
    browse.client.cookies.set(SESSION_COOKIE, started.token)
    menu = set(re.findall(r'class="menu__item" href="([^"]+)"', (await browse.get("/")).text))
    assert "/office" in menu
    seen: dict[str, int] = {}
    waiting = list(menu)
    while waiting:
        path = waiting.pop()
        answer = await browse.get(path)
        seen[path] = answer.status_code
        waiting += set(re.findall(r'href="(/office[a-z/]*)"', answer.text)) - set(seen) - set(waiting)
    assert {"/office/search", "/office/orders"} <= set(seen)
    assert seen == dict.fromkeys(seen, 200)


async def test_what_just_happened_is_not_said_to_come(browse: Visitor, make: Factory) -> None:
    await make.listing(await make.person("seller"), "Red apples", price=1250)
    listing = await browse.get("/")
    page = await browse.get(re.findall(r'href="(/l/[^"]+)"', listing.text)[0])
    assert "in 0 seconds" not in text_of(page.text)


async def test_forms_lead_to_the_store_and_to_its_gateways_only() -> None:
    policy = dict(security_headers(["https://pay.example"]))[b"content-security-policy"].decode()
    assert "form-action 'self' https://pay.example;" in policy
    assert "form-action 'self';" in dict(security_headers())[b"content-security-policy"].decode()
