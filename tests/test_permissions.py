"""Who may do what: every route of the API and every page as seven kinds of people, against the one table in the documentation.

A route that is not in the table fails. After a change that is meant, write the table anew and read what changed:

    TRADEPOST_WRITE_PERMISSIONS=1 python -m pytest tests/test_permissions.py
"""

import asyncio
import base64
import json
import os
import re
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from litestar import Litestar
from sqlalchemy import text

from tests.factories import Factory
from tests.people import join_as, visitor
from tests.shop import Shop
from tests.shows import plan
from tests.test_privacy import FORM, PDF
from tradepost.accounts.api_tokens import issue_token
from tradepost.accounts.types import Caller, NewToken, StartedSession
from tradepost.app import _handlers, create_app
from tradepost.core.database import ANYBODY, SYSTEM
from tradepost.core.errors import DomainError, NotFound, Refused
from tradepost.core.ids import short_id
from tradepost.flows import haggle, moderate, privacy, verify
from tradepost.flows.cart import add_to_cart
from tradepost.flows.import_listings import begin_import
from tradepost.flows.show_sales import open_auction, open_giveaway
from tradepost.flows.shows import add_to_show, go_live, pin, say, schedule_show
from tradepost.flows.store import Store
from tradepost.moderation.types import DecisionForm, ReportForm
from tradepost.offers.types import NewOffer
from tradepost.streams.types import AuctionForm, Comment, PinForm
from tradepost.web.context import LOOK_COOKIE
from tradepost.web.security import SESSION_COOKIE

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "permissions.md"
WHO = ("visitor", "stranger", "owner", "seller", "rider", "staff", "admin")
HEADING = "## Every route"
BEGIN, END = "<!-- routes -->", "<!-- end of routes -->"
ENDLESS = re.compile(r".*/events")  # streams of server-sent events
FRAMEWORK = ("/api/schema",)  # the framework's own copy of the OpenAPI document
ABSENT = UUID(int=99)
PLAIN = {"accept-encoding": "identity"}  # thousands of pages need not be packed and unpacked
# What a form or a body holds there that it holds nowhere else: enough for the doors behind its own checks to be tried.
SENT: dict[str, dict[str, Any]] = {
    "/office/money/payouts": {"seller": "seller-one", "currency": "USD", "amount": "1", "action": "pay"},
    "/office/payouts": {"currency": "USD", "decision": "paid"},
    "/orders/{number:str}/returns": {"reason": "late"},
    "/office/listings/change": {"action": "withdraw"},
    "/office/listings/import/": {"action": "cancel"},
    "/auctions/": {"max": "60", "max_minor": 6000},
    "/api/v1/listings": {"variants": [{"unit": "piece", "price_minor": 100}]},
}
QUERY = {"q": "hammer", "kind": "seller", "lat": "40", "lon": "-80"}
# What a name in an address stands for there, where it is something else than in most.
ELSEWHERE = {
    "/link/": {"kind": "reset"},
    "/shows/": {"action": "end", "position": "1"},
    "/streams/": {"position": "1"},
    "/rides/": {"action": "out"},
    "/feeds/": {"feed": "discover"},
    "/feed/": {"code": "discover"},
    "/theme/faces/": {"preset": "absent"},
    "/office/figures/": {"name": "days.csv"},
    "/office/insights/": {"name": "visits.csv"},
    "/assistant/tools/": {"name": "read_cart"},
    "/office/listings/file/": {"name": "listings.csv"},
    "/office/settings/": {"number": "0"},
    "/sources/": {"code": "hub"},
}


class World:
    """One store with something of everybody's in it. What is asked for in addresses and forms is the owner's, or the seller's goods."""

    def __init__(self, store: Store, make: Factory) -> None:
        self.store, self.make = store, make
        self.people: dict[str, StartedSession | None] = {"visitor": None}
        self.params: dict[str, str] = {}
        self.fields: dict[str, Any] = {}

    def caller(self, who: str) -> Caller:
        started = self.people[who]
        assert started is not None
        return started.caller

    async def value(self, sql: str, **params: Any) -> Any:
        async with self.store.db.transaction(actor=SYSTEM) as tx:
            return await tx.value(text(sql), **params)

    async def furnish(self) -> None:
        """Let the owner buy from the seller, complain, haggle, send papers; let the rider bring it."""
        roles = {
            "stranger": (),
            "owner": (),
            "seller": ("seller",),
            "rider": ("rider",),
            "staff": ("staff",),
            "admin": ("admin",),
        }
        for who, more in roles.items():
            self.people[who] = await join_as(self.store, f"{who}-one", *more)
        owner, seller = self.caller("owner"), self.caller("seller")
        shop = Shop(self.store, self.make, owner)
        listing = await self.make.listing(seller, "Hammer", category="tools", price=1000)
        haggled = await self.make.listing(seller, "Anvil", category="tools", price=9000, feed="community")
        variant = await self.make.variant_of(listing)
        placed = await shop.buy(variant, 2)
        await add_to_cart(self.store, owner, variant, Decimal(1))
        order, rider = placed.order_id, self.caller("rider").user_id
        await self.value("UPDATE fulfilments SET rider_id = :r WHERE order_id = :o RETURNING 1", r=rider, o=order)
        payment = await self.value("SELECT id FROM payments WHERE order_id = :o", o=order)
        refund = await self.value(
            "INSERT INTO refunds (payment_id, order_id, buyer_id, amount_minor, currency) VALUES (:p, :o, :b, 1, 'USD') RETURNING id",
            p=payment, o=order, b=owner.user_id,
        )  # fmt: skip
        returned = await self.value(
            "INSERT INTO returns (order_id, seller_id, buyer_id, reason, lines) VALUES (:o, :s, :b, 'late', '[]') RETURNING id",
            o=order, s=seller.user_id, b=owner.user_id,
        )  # fmt: skip
        review = await self.value(
            "INSERT INTO reviews (listing_id, user_id, rating) VALUES (:l, :u, 4) RETURNING id",
            l=listing,
            u=owner.user_id,
        )
        await moderate.report_subject(
            self.store, self.caller("stranger"), "listing", listing, ReportForm(reason="spam")
        )
        decision = await moderate.decide_case(
            self.store,
            self.caller("admin"),
            "person",
            owner.user_id,
            DecisionForm(action="warn", reason="Be kind."),  # type: ignore[arg-type]
        )
        papers = await verify.submit_verification(self.store, owner, FORM, [("id.pdf", PDF)])
        copy = await privacy.ask_for_export(self.store, owner)
        await privacy.make_export(self.store, copy)
        async with self.store.db.transaction(actor=owner.actor) as tx:
            token = await issue_token(tx, owner, NewToken(name="mine", scopes=("buy",)))
        offer = await haggle.make_offer(self.store, owner, haggled, NewOffer(amount_minor=8000, message="Cash today."))
        alert = await self.value(
            "INSERT INTO alerts (user_id, name, query, criteria_hash) VALUES (:u, 'Hammers', 'hammer', 'x') RETURNING id",
            u=owner.user_id,
        )
        await self.value(
            "INSERT INTO alert_matches (alert_id, listing_id, user_id) VALUES (:a, :l, :u) RETURNING 1",
            a=alert, l=listing, u=owner.user_id,
        )  # fmt: skip
        notice = await self.value(
            "INSERT INTO notices (user_id, kind, subject_id, title, path) VALUES (:u, 'order', :u, 'x', '/') RETURNING id",
            u=owner.user_id,
        )
        browser = await self.value(
            "INSERT INTO push_subscriptions (user_id, endpoint_hash, subscription_enc) VALUES (:u, 'x', 'x') RETURNING id",
            u=owner.user_id,
        )
        place = await self.value(
            "INSERT INTO places (country, region, name) VALUES ('US', 'Ohio', 'Springfield') RETURNING id"
        )
        synonym = await self.value("INSERT INTO search_synonyms (word, means) VALUES ('hamer', 'hammer') RETURNING id")
        market = await self.value("INSERT INTO sources (code, name, kind) VALUES ('hub', 'Hub', 'push') RETURNING id")
        reading = await self.value(
            "INSERT INTO ingest_runs (source_id, began_by) VALUES (:s, 'push') RETURNING id", s=market
        )
        table = await begin_import(self.store, self.caller("admin"), "spring.csv", b"sku,price\nN-1,1.00")
        talk = await self.value(
            "INSERT INTO assistant_talks (user_id, channel, expires_at) VALUES (:u, 'web', now() + interval '1 day') RETURNING id",
            u=owner.user_id,
        )
        await self.value(
            "INSERT INTO assistant_turns (talk_id, seq, asked, reply, is_understood, made_by, ms) "
            "VALUES (:t, 1, 'hello', '{\"texts\": [\"Hello!\"]}', true, 'engine', 1) RETURNING 1",
            t=talk,
        )
        stream = await schedule_show(self.store, seller, plan())
        await add_to_show(self.store, seller, stream.id, PinForm(listing_id=listing, price_minor=900))
        await go_live(self.store, seller, stream.id)
        await pin(self.store, seller, stream.id, 1)
        lamp = await self.make.listing(seller, "Lamp", category="tools", price=5000, stock=3)
        await add_to_show(self.store, seller, stream.id, PinForm(listing_id=lamp, price_minor=4000))
        await pin(self.store, seller, stream.id, 2)
        terms = AuctionForm(position=2, starts_minor=1000, increment_minor=100, seconds=600, soft_close_s=10)
        auction = await open_auction(self.store, seller, stream.id, terms)
        giveaway = await open_giveaway(self.store, seller, stream.id, "A lamp")
        await say(self.store, owner, stream.id, Comment(body="How nice."))
        async with self.store.db.transaction(actor=SYSTEM) as tx:
            letter = await tx.value(text("SELECT id FROM mails LIMIT 1"))
        self.params = {
            "number": placed.number, "listing_id": str(listing), "return_id": str(returned), "refund_id": str(refund),
            "payment_id": str(payment), "review_id": str(review), "decision_id": str(decision), "verification_id": str(papers),
            "export_id": str(copy), "token_id": str(token.id), "offer_id": str(offer.id), "alert_id": str(alert),
            "conversation_id": str(offer.conversation_id), "synonym_id": str(synonym), "username": "owner-one", "line_no": "1", "seq": "1",
            "position": "0", "kind": "listing", "subject_id": str(listing), "file_id": str(ABSENT), "search_id": str(ABSENT),
            "gateway": "sandbox", "slug": "tools", "code": "NONE", "action": "withdraw", "answer": "reject", "path": "absent",
            "name": f"hammer-{short_id(listing)}", "stream_id": str(stream.id), "auction_id": str(auction.id),
            "giveaway_id": str(giveaway.id), "mail_id": str(letter), "order_id": str(order), "seller_id": str(seller.user_id),
            "payout_id": str(ABSENT), "provider": "google", "promo_id": str(ABSENT),
            "place_id": str(place), "import_id": str(table), "notice_id": str(notice), "browser_id": str(browser), "token": "not.ours",
            "talk_id": str(talk), "run_id": str(reading),
        }  # fmt: skip
        self.fields = {
            "talk": str(talk), "message": "hello", "asked": "hello", "helped": 1, "choice": "no",
            f"row.{variant}": "1", "variant_id": str(variant), "quantity": "1", "listing_id": str(haggled), "rating": 5, "comment": "Good.", "to_state": "shipped",
            "reason": "Because of this.", "text": "Hello there.", "body": "Hello there.", "details": "x", "role": "seller", "answer": "Since you ask.",
            "grant": "0", "verify": "0", "word": "nail", "means": "spike", "login": "owner-one", "password": "not the one", "name": "Something",
            "query": "hammer", "amount": "50", "amount_minor": 5000, "floor_minor": 100, "username": "new-name", "email": "new@example.com", "q": "hammer",
            "scopes": ["buy"], "seq": 1, "version": 1, "code": "NONE", "accept": False, "lines": [], "restock": False, "gateway": "sandbox",
            "scheduled_at": "2030-01-01T12:00:00Z", "title": "Friday", "category": "tools", "slot_id": str(ABSENT),
            "url": "https://example.org/hook", "endpoint": "https://push.example.org/1", "auth": "BTBZMqHH6r4Tts7J_aSIgg",
            "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
            f"order.{order}": "1", "seller_id": str(seller.user_id), "id": str(ABSENT), "token": "made-up", "method": "approve", "to": "seller-one", "action": "warn", "days": "7", "kind": "government_id", "number": "42", "decision": "reject",
        }  # fmt: skip


def routes(app: Litestar) -> Iterator[tuple[str, str]]:
    """Yield method and path of everything that answers."""
    for route in app.routes:
        for handler in getattr(route, "route_handlers", []):
            for method in sorted(handler.http_methods):
                if method != "OPTIONS" and not route.path.startswith(FRAMEWORK):
                    yield str(method), route.path


def address(world: World, path: str) -> str:
    """Return a route's path with the world's things in it."""
    params = dict(world.params)
    if path.startswith(("/media", "/theme")):
        params["name"] = "absent.webp"
    if path.startswith("/live/"):
        params["name"] = f"show-{short_id(UUID(params['stream_id']))}"
    for start, more in ELSEWHERE.items():
        if start in path:
            params |= more
    return re.sub(r"\{(\w+):\w+\}", lambda found: params[found[1]], path)


def example(schema: dict[str, Any], known: dict[str, Any], parts: dict[str, Any], name: str = "") -> Any:
    """Return a value that a schema allows: what the world knows by that name, else the plainest."""
    while "$ref" in schema:
        schema = parts[schema["$ref"].rsplit("/", 1)[-1]]
    options = [s for key in ("oneOf", "anyOf", "allOf") for s in schema.get(key, []) if s.get("type") != "null"]
    if schema.get("type") == "object" or "properties" in schema:
        wanted = set(schema.get("required", ()))
        return {n: example(s, known, parts, n) for n, s in schema.get("properties", {}).items() if n in wanted}
    if name in known:
        return known[name]
    if options or "enum" in schema:
        return schema["enum"][0] if "enum" in schema else example(options[0], known, parts, name)
    kind = schema.get("type", "string")
    kind = kind[0] if isinstance(kind, list) else kind
    plain = {"integer": max(1, schema.get("minimum", 1)), "number": 1, "boolean": False, "array": [], "object": {}}
    if kind in plain:
        return plain[kind]
    return str(ABSENT) if schema.get("format") == "uuid" else "x" * max(3, schema.get("minLength", 0))


def operation(document: dict[str, Any], method: str, path: str) -> dict[str, Any]:
    """Return what the OpenAPI document says of a route; nothing of a page."""
    found: dict[str, Any] = document["paths"].get(re.sub(r"\{(\w+):\w+\}", r"{\1}", path), {}).get(method.lower(), {})
    return found


def query_of(document: dict[str, Any], method: str, path: str) -> dict[str, str]:
    """Return the parameters that an operation cannot do without."""
    asked = operation(document, method, path).get("parameters", ())
    return {p["name"]: QUERY[p["name"]] for p in asked if p["in"] == "query" and p.get("required")}


def body_of(document: dict[str, Any], method: str, path: str, known: dict[str, Any]) -> Any:
    """Return a JSON body that an operation of the OpenAPI document takes, or None."""
    content = operation(document, method, path).get("requestBody", {}).get("content", {})
    if "application/json" not in content:
        return None
    return example(content["application/json"]["schema"], known, document["components"]["schemas"])


def every(kind: type[DomainError]) -> list[type[DomainError]]:
    return [
        c for child in kind.__subclasses__() for c in (child, *every(child)) if c.__module__.startswith("tradepost.")
    ]


def outcome(answer: httpx.Response) -> str:
    """Return what an answer means: yes (past every door), sign in, no, or hidden (as if it were not there)."""
    assert answer.status_code < 500 or answer.status_code == 503, f"{answer.request.url}: {answer.text[:2000]}"
    assert answer.status_code != 400, (
        f"{answer.request.url} was not understood, so no door was tried: {answer.text[:500]}"
    )
    said = flash_of(answer) if answer.status_code in {302, 303} else answer.text
    leads = answer.headers.get("location", "").partition("?")[0]
    if answer.status_code == 401 or leads == "/sign-in":
        return "sign in"
    if answer.status_code == 404:
        return "hidden"
    if answer.status_code == 403:
        return "sign in" if "Please sign in first" in said else "no"
    if answer.status_code in {302, 303, 422}:
        if "Please sign in first" in said:
            return "sign in"
        for error, word in ((NotFound, "hidden"), (Refused, "no")):
            if any(sentence.search(said) for sentence in sentences(error)):
                return word
    return "yes"


@cache
def sentences(kind: type[DomainError]) -> tuple[re.Pattern[str], ...]:
    """Return what the errors of a kind say, each with room for what it names."""
    said = ((error.__doc__ or "").strip().splitlines()[0] for error in every(kind))
    return tuple(re.compile(re.sub(r"\\\{\w+\\\}", ".*?", re.escape(words))) for words in said)


def flash_of(answer: httpx.Response) -> str:
    raw = next((c for c in answer.headers.get_list("set-cookie") if c.startswith("flash=")), "")
    value = raw.removeprefix("flash=").partition(";")[0].strip('"')
    if not value:
        return ""
    return " ".join(f["text"] for f in json.loads(base64.urlsafe_b64decode(value)) if f["tone"] in {"bad", "warn"})


class Walker:
    """Sends requests as one kind of person; nothing that they do is kept."""

    def __init__(self, world: World, client: httpx.AsyncClient, document: dict[str, Any], began: asyncio.Event) -> None:
        self.world, self.client, self.document, self.began = world, client, document, began

    async def as_person(self, who: str) -> dict[str, str]:
        """Return the cookies and the form token of a person, fresh from a page."""
        started = self.world.people[who]
        cookies = {SESSION_COOKIE: started.token} if started else {}
        self.client.cookies.clear()
        page = await self.client.get("/", headers=_cookie(cookies))
        found = re.search(r'name="csrf_token" value="([0-9a-f]+)"', page.text)
        assert found is not None
        cookies |= dict(page.cookies.items())
        self.client.cookies.clear()
        return _cookie(cookies) | {"x-csrf-token": found[1]}

    async def ask(self, method: str, path: str, headers: dict[str, str]) -> str:
        """Send one request and return its outcome; the transaction around it is rolled back."""
        where = address(self.world, path)
        if ENDLESS.fullmatch(path):
            return await self._listen(where, headers)
        db = self.world.store.db
        async with db.transaction(actor=ANYBODY) as tx:
            with db.joined_by(tx):
                answer = await self._send(method, path, where, headers)
            await tx.control("ROLLBACK; BEGIN")
            tx.reactions.clear()
        self.client.cookies.clear()
        return outcome(answer)

    async def _send(self, method: str, path: str, where: str, headers: dict[str, str]) -> httpx.Response:
        known = dict(self.world.fields)
        for start, more in SENT.items():
            if start in path:
                known |= more
        body, query = body_of(self.document, method, path, known), query_of(self.document, method, path)
        if path == "/api/v1/checkout":
            headers = headers | {"idempotency-key": "once-only"}
        if body is not None:
            return await self.client.request(method, where, json=body, headers=headers, params=query)
        if method in {"GET", "DELETE", "HEAD"}:
            return await self.client.request(method, where, headers=headers, params=query)
        if path.endswith("/pictures"):
            return await self.client.post(where, files={"picture": ("a.txt", b"x")}, headers=headers)
        fields = {name: str(value) for name, value in known.items()}
        return await self.client.request(method, where, data=fields, headers=headers)

    async def _listen(self, where: str, headers: dict[str, str]) -> str:
        """An endless answer is a yes as soon as it begins; one that ends is what it says."""
        self.began.clear()
        asked = asyncio.create_task(self.client.get(where, headers=headers))
        waited = asyncio.create_task(self.began.wait())
        await asyncio.wait({asked, waited}, return_when=asyncio.FIRST_COMPLETED)
        for task in (asked, waited):
            task.cancel()
        answer, _ = await asyncio.gather(asked, waited, return_exceptions=True)
        return outcome(answer) if isinstance(answer, httpx.Response) else "yes"


def telling(app: Any, began: asyncio.Event) -> Any:
    """Return an application that sets `began` whenever a stream of events begins."""

    async def call(scope: Any, receive: Any, send: Any) -> None:
        async def told(message: Any) -> None:
            await send(message)
            if (b"content-type", b"text/event-stream") in [
                (n, v.split(b";")[0]) for n, v in message.get("headers", ())
            ]:
                began.set()

        await app(scope, receive, told)

    return call


def _cookie(cookies: dict[str, str]) -> dict[str, str]:
    return {"cookie": "; ".join(f"{n}={v}" for n, v in cookies.items())} if cookies else {}


def written() -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the table of the documentation."""
    section = PAGE.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]
    rows = [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("| `")
    ]
    return {(row[0], row[1]): tuple(row[2:]) for row in rows}


def write(found: dict[tuple[str, str], tuple[str, ...]]) -> None:
    lines = ["| | Route | " + " | ".join(w.capitalize() for w in WHO) + " |", "| --- " * (len(WHO) + 2) + "|"]
    lines += [
        f"| `{method}` | `{path}` | " + " | ".join(found[method, path]) + " |"
        for method, path in sorted(found, key=lambda r: (r[1].startswith("/api"), r[1], r[0]))
    ]
    text_now = PAGE.read_text("utf-8")
    before, after = text_now.partition(BEGIN)[0], text_now.partition(END)[2]
    PAGE.write_text(before + BEGIN + "\n\n" + "\n".join(lines) + "\n\n" + END + after, "utf-8")


@pytest.mark.slow
async def test_every_route_answers_everybody_as_the_table_says(store: Store, make: Factory) -> None:
    world = World(store, make)
    await world.furnish()
    app = create_app({store.code: store})
    document = _handlers().openapi_schema.to_schema()
    began = asyncio.Event()
    transport = httpx.ASGITransport(app=telling(app, began), client=(visitor().address, 40_000))
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    async with httpx.AsyncClient(
        transport=transport, base_url="http://market.localhost", timeout=30, headers=PLAIN
    ) as client:
        walker = Walker(world, client, document, began)
        cells: dict[tuple[str, str], list[str]] = {route: [] for route in routes(_handlers())}
        for who in WHO:
            headers = await walker.as_person(who)
            for route, row in cells.items():
                row.append(await walker.ask(*route, headers))
        found = {route: tuple(row) for route, row in cells.items()}
    if os.environ.get("TRADEPOST_WRITE_PERMISSIONS"):
        write(found)
    table = written()
    assert sorted(found.keys() - table.keys()) == [], "routes that are not in docs/reference/permissions.md"
    assert sorted(table.keys() - found.keys()) == [], "routes in docs/reference/permissions.md that do not exist"
    wrong = {
        f"{m} {p}": dict(zip(WHO, zip(table[m, p], row, strict=True), strict=True))
        for (m, p), row in found.items()
        if table[m, p] != row
    }
    assert wrong == {}


def test_every_route_is_in_the_table() -> None:
    """The quick half of the walk: who adds a route says who may use it."""
    assert sorted(set(routes(_handlers())) ^ written().keys()) == []


def test_the_back_office_is_for_staff_and_ones_own_pages_for_nobody_else() -> None:
    """The table itself keeps a few rules, whoever writes it."""
    for (method, path), row in written().items():
        cells = dict(zip(WHO, row, strict=True))
        assert set(row) <= {"yes", "no", "sign in", "hidden"}, path
        if path.startswith("/office") and path != "/office/look/end":
            assert not {cells[w] for w in ("visitor", "stranger", "owner", "seller", "rider")} & {"yes"}, (
                f"{method} {path}"
            )
        if re.match(r"(/api/v1)?/me(/|$)", path):
            assert cells["visitor"] in {"sign in", "hidden"}, f"{method} {path}"


async def test_a_look_is_not_a_way_around_the_table(store: Store, make: Factory) -> None:
    """A made-up look cookie changes nothing for anybody."""
    world = World(store, make)
    await world.furnish()
    transport = httpx.ASGITransport(app=create_app({store.code: store}), client=(visitor().address, 40_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://market.localhost") as client:
        for who in ("stranger", "staff"):
            started = world.people[who]
            assert started is not None
            headers = _cookie({SESSION_COOKIE: started.token, LOOK_COOKIE: str(uuid4())})
            assert (await client.get("/api/v1/me", headers=headers)).json()["username"] == f"{who}-one"
