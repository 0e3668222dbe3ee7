"""Which pages the preview knows, and what each is given."""

from collections.abc import Callable
from datetime import date, time, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from preview import samples
from preview.samples import NOW, Store, key
from tradepost.accounts.types import OwnProfile, PublicProfile, SignedInDevice
from tradepost.cart.types import CartLine, CartView, SellerGroup
from tradepost.core.postal import Address
from tradepost.flows.quote import GatewayChoice, PromoOnCart, Quote, ShippingChoice, SlotChoice
from tradepost.orders.types import (
    ExplanationLine,
    Move,
    OrderCard,
    OrderLine,
    OrderPart,
    OrderPayment,
    OrderView,
    SlotTaken,
    TimelineEntry,
)
from tradepost.payments.types import PaymentView

Context = dict[str, Any]


def home(store: Store) -> Context:
    copy, cards, shelf, sections = store.settings.copy, store.cards, 0, []
    for section in store.settings.home:
        items: list[Any] = []
        if section.kind == "hero":
            items = [c for c in cards if c.in_stock][12:16]
        elif section.kind == "categories":
            items = store.top
        elif section.kind == "listings":
            matching = [c for c in cards if section.kind_code in {None, c.kind}]
            items, shelf = matching[shelf : shelf + section.limit] or cards[: section.limit], shelf + section.limit
        is_hero = section.kind == "hero"
        sections.append(
            SimpleNamespace(
                kind=section.kind, title=section.title or copy.hero_title, text=section.text or (copy.hero_text if is_hero else ""),
                items=tuple(items), more_path="/search" if section.kind == "listings" else None,
                action_label=copy.hero_action if is_hero else None, action_path="/search" if is_hero else None,
            )
        )  # fmt: skip
    return {"sections": sections, "liked_ids": {cards[1].id, cards[5].id}}


def bare_home(store: Store) -> Context:
    """A new store: no goods at all."""
    given = home(store)
    for section in given["sections"]:
        section.items = () if section.kind in {"hero", "listings"} else section.items
    return given


def filters() -> list[Any]:
    option = SimpleNamespace
    return [
        option(key="price", label="Price", kind="range", low="", high="40", minimum=2, maximum=480, unit="$"),
        option(key="in_stock", label="In stock only", kind="switch", selected=True, count=212),
        option(
            key="colour", label="Colour", kind="choice",
            options=[option(value=c, label=c, count=31 - n * 2, selected=n == 1) for n, c in enumerate(["Red", "Green", "Blue", "Black", "White", "Yellow", "Purple", "Orange", "Grey", "A very long colour name indeed"])],
        ),
        option(
            key="place", label="Near", kind="distance", place="", places=["Harare", "Bulawayo"], lat="", lon="",
            options=[option(value=km, label=f"{km} km", selected=km == 25) for km in (5, 25, 100)],
        ),
    ]  # fmt: skip


def category(store: Store) -> Context:
    top = store.top[0]
    return {
        "title": top.name, "text": top.description, "query": "", "category": top, "breadcrumbs": [("Home", "/"), (top.name, None)],
        "children": [c for c in samples.categories(store.settings) if c.parent_id == top.id], "feeds": [], "cards": tuple(store.cards[:24]),
        "liked_ids": {store.cards[2].id}, "total": 1284, "filters": filters(), "active": [("Green", "/c/x"), ("Up to $40", "/c/x")],
        "clear_path": "/c/x", "sorts": [("newest", "Newest"), ("popular", "Most saved"), ("cheapest", "Price, low to high")], "sort": "popular",
        "view": "", "base_path": "/c/x", "hidden": [("q", "")], "next_path": "?after=abc",
    }  # fmt: skip


def nothing_found(store: Store) -> Context:
    return category(store) | {
        "title": "Results",
        "query": samples.LONG,
        "cards": (),
        "total": 0,
        "next_path": None,
        "children": [],
        "text": "",
    }


def one_found(store: Store) -> Context:
    return category(store) | {
        "cards": tuple(store.cards[:1]),
        "total": 1,
        "next_path": None,
        "filters": [],
        "active": [],
    }


def difficult(store: Store) -> Context:
    return category(store) | {"cards": tuple(samples.difficult_cards(store)), "view": "grid", "total": None}


def listing(store: Store) -> Context:
    richest = max(range(len(store.rows)), key=lambda n: (len(store.rows[n]["variants"]), len(store.rows[n]["images"])))
    shown = store.shown(richest)
    chosen = shown.offered[0] if shown.offered else None
    review = {
        "author_name": "Tendai M.",
        "author_username": "tendai",
        "author_avatar_file_id": None,
        "created_at": NOW - timedelta(days=9),
    }
    reviews = [
        SimpleNamespace(
            **review, rating=5, comment="Exactly as described, and the driver rang before he came.", reply=None
        ),
        SimpleNamespace(
            **review,
            rating=3,
            comment="Good, but smaller than I thought.",
            reply="Thank you. We now show the size in the second picture.",
        ),
    ]
    attributes = [
        (name.replace("_", " ").capitalize(), "Yes" if value is True else str(value))
        for name, value in shown.attributes.items()
        if value not in (None, False)
    ]
    return {
        "listing": shown, "variant": chosen, "variants": shown.offered, "attributes": attributes,
        "breadcrumbs": [("Home", "/"), (store.top[0].name, f"/c/{store.top[0].slug}"), (shown.title, None)], "category": store.top[0],
        "reviews": reviews, "rating_counts": {5: 8, 4: 2, 3: 1, 1: 1}, "related": tuple(store.cards[:5]), "liked_ids": set(),
        "is_owner": False, "may_review": True, "seller_share": (95, chosen.price_minor * 95 // 100) if chosen and chosen.price_minor and store.settings.store.code == "tese" else None,
        "price_history": (8200, 8200, 7900, 7900, 7400, 7650, 7200), "json_ld": '{"@context": "https://schema.org"}', "form": {}, "errors": {},
    }  # fmt: skip


def cart_lines(store: Store) -> tuple[CartLine, ...]:
    made = []
    for n, row in enumerate(store.rows[:4]):
        shown, sold = samples.card(store, row, n), samples.variant(store.settings, row, 0)
        price = sold.price_minor or 100
        quantity = Decimal("1.25") if sold.sale_step < 1 else Decimal(n + 1)
        made.append(
            CartLine(
                line_no=n + 1, variant_id=sold.id, listing_id=shown.id, path=shown.path, title=shown.title if n != 2 else samples.LONG, kind=shown.kind,
                category_id=key("c"), image_id=shown.image_id if n != 1 else None, options=sold.options, sku=sold.sku,
                configuration={"message": "Happy birthday, Ada"} if n == 3 else {}, unit=sold.unit, unit_short=sold.unit_short, sale_step=sold.sale_step,
                quantity=quantity, unit_price_minor=price, price_when_added_minor=price - 5 * (n == 0), compare_at_minor=None, price_changed=n == 0,
                total_minor=int(price * quantity), available=Decimal(1 if n == 2 else 20), stock="short" if n == 2 else "available", expected_on=None,
                seller_id=key("u", "a" if n < 3 else "b"),
            )
        )  # fmt: skip
    return tuple(made)


def cart_view(store: Store) -> CartView:
    lines = cart_lines(store)
    groups = tuple(
        SellerGroup(
            seller_id=seller,
            seller_name=name,
            seller_username=name.lower(),
            lines=tuple(x for x in lines if x.seller_id == seller),
            subtotal_minor=1,
        )
        for seller, name in ((key("u", "a"), "Green Valley"), (key("u", "b"), "Chipo Moyo"))
    )
    return CartView(
        id=key("cart"), currency=store.settings.store.currency, groups=groups, line_count=4, subtotal_minor=sum(x.total_minor for x in lines),
        promo_codes=("WELCOME10",), slot_id=None, has_changed_prices=True, has_problems=True,
    )  # fmt: skip


def quote(store: Store) -> Quote:
    view = cart_view(store)
    goods = view.subtotal_minor
    steps = [
        ("goods", "4 things", goods),
        ("discount", "WELCOME10, 10 % off", -goods // 10),
        ("shipping", "Courier, two sellers", 800),
        ("included_tax", "VAT 15 %, included", goods // 8),
    ]
    total = goods - goods // 10 + 800
    ways = [
        ("courier", "Courier to the door", "Two to three days", 800),
        ("pickup", "Collect at the market", "Saturday, 7 to 12", 0),
    ]
    return Quote(
        cart=view, currency=view.currency, tax_inclusive=True, lines=(), subtotal_minor=goods, discount_minor=0, points_minor=0, shipping_minor=800, tax_minor=0,
        included_tax_minor=0, total_minor=total, explanation=(*(ExplanationLine(kind=k, text=t, amount_minor=a) for k, t, a in steps), ExplanationLine(kind="total", text="Total", amount_minor=total)),
        promos=(PromoOnCart(code="WELCOME10", description="10 % off your first basket", discount_minor=goods // 10, problem=None),),
        shipping=tuple(ShippingChoice(code=c, name=n, description=d, price_minor=p, pickup=c == "pickup", is_chosen=c == "courier") for c, n, d, p in ways),
        slots=tuple(SlotChoice(id=key("s", str(n)), label=f"Sat {21 + n} Nov, 10:00–12:00", left=n, is_chosen=n == 2) for n in range(1, 6)),
        gateways=(
            GatewayChoice(code="sandbox", name="Test card", description="Approve or decline it yourself.", methods=(), needs_phone=False, is_test=True),
            GatewayChoice(code="paynow", name="Mobile money", description="EcoCash or OneMoney.", methods=(("ecocash", "EcoCash"), ("onemoney", "OneMoney")), needs_phone=True, is_test=False),
            GatewayChoice(code="cash", name="Cash on delivery", description="", methods=(), needs_phone=False, is_test=False),
        ),
        points_available=340, points_usable=300, points_spent=0, points_earned=42, needs_address=True,
    )  # fmt: skip


def cart(store: Store) -> Context:
    return {
        "cart": cart_view(store),
        "quote": quote(store),
        "form": {"code": "SUMMER"},
        "errors": {"code": "There is no promo code “SUMMER” here."},
        "suggestions": (),
        "liked_ids": set(),
    }


def empty_cart(store: Store) -> Context:
    empty = CartView(
        id=None,
        currency="USD",
        groups=(),
        line_count=0,
        subtotal_minor=0,
        promo_codes=(),
        slot_id=None,
        has_changed_prices=False,
        has_problems=False,
    )
    return {
        "cart": empty,
        "quote": None,
        "form": {},
        "errors": {},
        "suggestions": tuple(store.cards[:5]),
        "liked_ids": set(),
    }


def checkout(store: Store) -> Context:
    wrong = {"shipping_address.line1": "Please fill in the street or farm.", "email": "This is not an e-mail address."}
    return {
        "quote": quote(store), "form": {"email": "rudo@example", "shipping_address.name": "Rudo Moyo", "gateway": "sandbox"}, "errors": wrong,
        "countries": [("ZW", "Zimbabwe"), ("ZM", "Zambia")], "idempotency_key": "k", "test_only": True,
    }  # fmt: skip


def sandbox_pay(store: Store) -> Context:
    payment = PaymentView(
        id=key("p"), purpose="order", gateway="sandbox", method="page", amount_minor=48250, refunded_minor=0, currency=store.settings.store.currency,
        state="initiated", redirect_url=None, instructions="", error=None, created_at=NOW, settled_at=None,
    )  # fmt: skip
    return {"payment": payment, "order_number": "TS-4K7M2P", "order_path": "/orders/TS-4K7M2P"}


def order(store: Store) -> Context:
    asked, currency = quote(store), store.settings.store.currency
    lines = tuple(
        OrderLine(
            line_no=x.line_no, seller_id=x.seller_id, listing_id=x.listing_id, variant_id=x.variant_id, slug="x", title=x.title, sku=x.sku, image_id=x.image_id, options=x.options,
            configuration=x.configuration, unit=x.unit, quantity=x.quantity, unit_price_minor=x.unit_price_minor, gross_minor=x.total_minor, discount_minor=0, points_minor=0, tax_minor=0,
            included_tax_minor=0, total_minor=x.total_minor, refunded_minor=0, returned_quantity=Decimal(0),
        )
        for x in asked.cart.lines
    )  # fmt: skip
    moves = (
        Move(to_state="delivered", label="I have it", tone="good", seller_id=key("u", "a")),
        Move(to_state="cancelled", label="Cancel", tone="bad", refunds=True),
    )
    parts = tuple(
        OrderPart(
            seller_id=group.seller_id, seller_name=group.seller_name, seller_username="x", state="shipped", state_name=("On its way", "Being packed")[n], tone=("info", "warn")[n], is_open=True,
            shipping_minor=400, shipping_method="Courier", carrier="Swift", tracking="SW123456789ZW", rider_id=None, opened_at=NOW, shipped_at=NOW, handed_over_at=None, due_at=None, moves=moves if n == 0 else (),
        )
        for n, group in enumerate(asked.cart.groups)
    )  # fmt: skip
    happened = [
        ("Order placed", 70, None),
        ("Paid by test card", 69, None),
        ("Packed", 20, "Green Valley"),
        ("On its way with Swift", 3, "Green Valley"),
    ]
    timeline = tuple(
        TimelineEntry(
            seq=n,
            at=NOW - timedelta(hours=h),
            kind="state",
            title=t,
            actor_role="seller",
            actor_name=a,
            from_state=None,
            to_state="x",
            seller_id=None,
            reason="The driver is Blessing." if n == 3 else "",
        )
        for n, (t, h, a) in enumerate(happened)
    )
    payment = OrderPayment(
        id=key("p"), purpose="order", gateway="sandbox", method="page", amount_minor=asked.total_minor, refunded_minor=0, state="initiated", redirect_url="/pay/sandbox/x", instructions="", error=None, created_at=NOW, settled_at=None,
    )  # fmt: skip
    shown = OrderView(
        id=key("o"), number="TS-4K7M2P", viewer="buyer", process="purchase", state="shipped", state_name="On its way", tone="info", is_open=True, is_final=False, payment_state="success", payment_method="sandbox",
        shipping_method="Courier", currency=currency, tax_inclusive=True, subtotal_minor=1, discount_minor=0, points_minor=0, shipping_minor=0, tax_minor=0, included_tax_minor=0, total_minor=asked.total_minor,
        refunded_minor=250, points_spent=0, placed_at=NOW - timedelta(days=3), due_at=NOW + timedelta(minutes=22), note="Please leave it with the neighbour.", buyer_id=key("b"), buyer_name="Rudo Moyo", email="rudo@example.com",
        shipping_address=Address(name="Rudo Moyo", line1="14 Samora Machel Avenue", city="Harare", country="ZW", phone="+263 77 123 4567"), billing_address=None,
        slot=SlotTaken(id=key("s"), delivery_on=date(2026, 11, 21), starts_at=time(10), ends_at=time(12)), explanation=asked.explanation, lines=lines, parts=parts, timeline=timeline, payments=(payment,),
        refunds=(), moves=moves[1:], can_pay=True,
    )  # fmt: skip
    return {"order": shown, "is_new": True, "form": {}, "errors": {}, "gateways": asked.gateways[1:]}


def orders(store: Store) -> Context:
    states = [("Waiting for payment", "warn"), ("On its way", "info"), ("Delivered", "good"), ("Cancelled", "bad")]
    cards = tuple(
        OrderCard(
            id=key("o", str(n)), number=f"TS-4K7M2{n}", state="x", state_name=states[n][0], tone=states[n][1], is_open=n < 2, payment_state="success", currency=store.settings.store.currency, total_minor=4825 * (n + 1) ** 4,
            placed_at=NOW - timedelta(days=n * 11), buyer_name="Rudo", line_count=n + 1, titles=tuple(c.title for c in store.cards[n : n + n + 1]), image_ids=tuple(c.image_id for c in store.cards[n : n + n + 1] if c.image_id),
        )
        for n in range(4)
    )  # fmt: skip
    return {"orders": cards, "next_path": "?after=1"}


def sign_in(store: Store) -> Context:
    return {
        "form": {"login": "rudo"},
        "errors": {"": "The name or the password is not right."},
        "next": "/cart",
        "sign_ins": store.settings.sample.sign_ins,
        "sample_password": store.settings.sample.password,
    }


def sign_up(store: Store) -> Context:
    return {
        "form": {"username": "r"},
        "errors": {"username": "Somebody has this name already."},
        "next": "",
        "roles": [role for role in store.settings.roles if role.self_service],
    }


def profile(_store: Store) -> Context:
    shown = OwnProfile(
        id=key("me"), username="rudo", email="rudo@example.com", email_verified_at=None, first_name="Rudo", last_name="Moyo", display_name="Rudo Moyo", bio="", business_name=None, service_type=None,
        place="Harare", locale=None, timezone=None, avatar_file_id=None, has_password=True, roles=("buyer",), last_login_at=NOW, created_at=NOW - timedelta(days=400),
    )  # fmt: skip
    devices = [
        SignedInDevice(
            id=str(n),
            ip="127.0.0.1",
            user_agent="Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140",
            created_at=NOW,
            last_seen_at=NOW,
        )
        for n in range(2)
    ]
    return {
        "profile": shown,
        "form": {"display_name": "Rudo Moyo", "place": "Harare"},
        "errors": {},
        "devices": devices,
        "this_device": "0",
        "timezones": [],
    }


def seller_listings(store: Store) -> Context:
    links = [
        ("All", 9, True),
        ("On sale", 4, False),
        ("Drafts", 2, False),
        ("Taken down", 2, False),
        ("Sold", 1, False),
    ]
    return {
        "rows": tuple(samples.seller_rows(store)),
        "statuses": [
            SimpleNamespace(label=label, path="?", current=current, count=count) for label, count, current in links
        ],
        "next_path": "?after=1",
    }


def listing_edit(store: Store) -> Context:
    shown = store.shown(0)
    rows = [
        {
            "id": str(v.id),
            "sku": v.sku,
            "unit": v.unit,
            "sale_step": str(v.sale_step),
            "on_hand": "" if v.on_hand is None else str(v.on_hand),
            "price": "12.50",
            "compare_at": "",
            "options": v.options,
        }
        for v in shown.variants[:3]
    ]
    names = list(shown.variants[0].options)[:3]
    return {
        "listing": shown, "kind": store.settings.kinds[0], "form": {"title": shown.title, "description": shown.description}, "errors": {"variant.0.price": "A price has at most two decimals."},
        "category_options": [(c.slug, ("– " if c.parent_id else "") + c.name) for c in samples.categories(store.settings)], "option_names": names, "variants": rows, "images": shown.images,
        "places": ["Harare", "Mutoko"], "currency": store.settings.store.currency,
    }  # fmt: skip


def person(store: Store) -> Context:
    shown = PublicProfile(
        id=key("u"), username="chipo", display_name="Chipo Moyo", business_name="Green Valley Farm", bio="Tomatoes, onions and opinions since 1998.", location_text="Mutoko", avatar_file_id=None,
        created_at=NOW - timedelta(days=900), service_type="Vegetables", followers=214, following=3, is_followed=False,
    )  # fmt: skip
    return {
        "profile": shown,
        "is_self": False,
        "cards": tuple(store.cards[:7]),
        "liked_ids": set(),
        "next_path": None,
        "rating": 4.7,
        "rating_count": 88,
    }


def index(store: Store) -> Context:
    one = store.settings.store
    return {
        "stores": [
            SimpleNamespace(
                code=one.code,
                name=one.name,
                tagline=one.tagline,
                description=one.description,
                url=f"http://{one.code}.localhost:8000",
                sign_ins=store.settings.sample.sign_ins,
            )
        ]
        * 5
    }


def components(store: Store) -> Context:
    message = SimpleNamespace
    at = NOW - timedelta(minutes=14)
    plain = {"at": at, "edited_at": None, "deleted_at": None, "file_id": None}
    return {
        "cards": store.cards, "odd": samples.difficult_cards(store), "now": NOW, "shown": store.shown(0), "filters": filters(),
        "talk": [
            (message(kind="system", body="You asked about this listing.", **plain), False),
            (message(kind="text", body="Good morning! Are they still there?", **plain), True),
            (message(kind="text", body="Yes, picked at five. Two crates left, I can keep one until noon for you.", **plain), False),
            (message(kind="image", body="", **{**plain, "file_id": store.cards[0].image_id}), False),
        ],
        "cart": cart_view(store), "quote": quote(store), "timeline": order(store)["order"].timeline,
    }  # fmt: skip


Page = tuple[str, Callable[[Store], Context]]
PAGES: dict[str, Page] = {
    "home": ("pages/home.html", home),
    "home-empty": ("pages/home.html", bare_home),
    "category": ("pages/category.html", category),
    "category-rows": ("pages/category.html", lambda store: category(store) | {"view": "rows"}),
    "category-one": ("pages/category.html", one_found),
    "category-none": ("pages/category.html", nothing_found),
    "category-difficult": ("pages/category.html", difficult),
    "listing": ("pages/listing.html", listing),
    "cart": ("pages/cart.html", cart),
    "cart-empty": ("pages/cart.html", empty_cart),
    "checkout": ("pages/checkout.html", checkout),
    "sandbox-pay": ("pages/sandbox_pay.html", sandbox_pay),
    "order": ("pages/order.html", order),
    "orders": ("pages/orders.html", orders),
    "saved": (
        "pages/saved.html",
        lambda store: {"cards": tuple(store.cards[:3]), "liked_ids": {c.id for c in store.cards[:3]}},
    ),
    "sign-in": ("pages/sign_in.html", sign_in),
    "sign-up": ("pages/sign_up.html", sign_up),
    "profile": ("pages/profile.html", profile),
    "seller-listings": ("pages/seller_listings.html", seller_listings),
    "listing-edit": ("pages/listing_edit.html", listing_edit),
    "person": ("pages/person.html", person),
    "error": (
        "pages/error.html",
        lambda _: {
            "status": 404,
            "title": "Nothing here",
            "message": "The address may be mistyped, or the page has moved.",
            "request_id": "7K2MPX4QAB",
        },
    ),
    "index": ("pages/index.html", index),
    "components": ("components_page.html", components),
}
