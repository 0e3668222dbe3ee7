"""Disputes: what both sides show while money is held, who sees it, and who decides."""

import io
from typing import Any

import pytest
import pytest_asyncio
from PIL import Image
from sqlalchemy import text

from tests.conftest import Servers
from tests.factories import Factory
from tests.people import join_as
from tests.shop import Shop
from tests.test_after_sale import browser_of
from tests.test_processes import use
from tests.visitor import text_of
from tradepost.accounts.types import Caller
from tradepost.catalog.pictures import UploadTooLarge
from tradepost.core.database import count_queries
from tradepost.core.errors import FieldErrors
from tradepost.core.limits import TooOften
from tradepost.core.pictures import NotAPicture
from tradepost.flows import disputes
from tradepost.flows.checkout import Placed
from tradepost.flows.disputes import list_evidence, show_evidence
from tradepost.flows.move_order import move_order
from tradepost.flows.notices import read_notices
from tradepost.flows.orders import get_order
from tradepost.flows.preset import PRESETS, load_processes
from tradepost.flows.store import Store
from tradepost.orders.disputes import DecisionNeedsReason, EnoughShown, EvidenceForm, NotDisputed, NothingShown
from tradepost.orders.types import MoveNotYours, NoSuchOrder


def picture() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 30), "#a33").save(out, "PNG")
    return out.getvalue()


class Case:
    """A lamp that came broken: its buyer, its seller, and who decides."""

    def __init__(self, shop: Shop, placed: Placed, seller: Caller, staff: Caller) -> None:
        self.shop, self.store, self.id, self.number = shop, shop.store, placed.order_id, placed.number
        self.buyer, self.seller, self.staff = shop.buyer, seller, staff

    async def show(self, who: Caller, body: str = "", data: bytes | None = None) -> Any:
        return await show_evidence(self.store, who, self.id, EvidenceForm(body=body), data)

    async def seen(self, who: Caller) -> list[str]:
        return [e.body for e in await list_evidence(self.store, who, self.id)]

    async def state(self) -> str:
        return (await get_order(self.store, self.buyer, self.number)).state


@pytest_asyncio.fixture
async def case(shop: Shop, servers: Servers) -> Case:
    """Have a buyer say that something is wrong with what came."""
    await use(shop, servers, next(p for p in load_processes(PRESETS / "souk-loop") if p.name == "purchase"))
    variant = await shop.goods("Brass lamp", price=1000, stock=1)
    placed = await shop.buy(variant)
    seller, staff = shop.sellers[variant], await shop.make.person("staff")
    await move_order(shop.store, seller, placed.order_id, "shipped")
    await move_order(shop.store, shop.buyer, placed.order_id, "disputed")
    return Case(shop, placed, seller, staff)


async def test_both_sides_show_and_staff_decide_with_a_reason(case: Case) -> None:
    first = await case.show(case.buyer, "The foot is broken.", picture())
    await case.show(case.seller, "It was whole when I sent it.")
    await case.show(case.staff, "Please show the parcel, too.")
    assert (first.side, first.file_id is not None) == ("buyer", True)
    for who in (case.buyer, case.seller, case.staff):
        assert await case.seen(who) == [
            "The foot is broken.", "It was whole when I sent it.", "Please show the parcel, too.",
        ]  # fmt: skip
    with pytest.raises(DecisionNeedsReason):
        await move_order(case.store, case.staff, case.id, "refunded", reason="  ")
    assert await case.state() == "disputed"
    order = await move_order(case.store, case.staff, case.id, "refunded", reason="The picture shows it.")
    decided = order.timeline[-1]
    moves = [(e.actor_role, e.to_state, e.reason) for e in order.timeline if e.to_state == "refunded"]
    assert ("staff", "refunded", "The picture shows it.") in moves, decided
    assert order.refunded_minor == order.total_minor
    with pytest.raises(NotDisputed):
        await case.show(case.buyer, "And another thing")
    assert len(await case.seen(case.buyer)) == 3


async def test_the_other_side_is_told(case: Case) -> None:
    await case.show(case.buyer, "The foot is broken.")
    told = (await read_notices(case.store, case.seller)).items
    assert [(n.kind, n.path, n.read_at) for n in told] == [("evidence", f"/orders/{case.number}#dispute", None)]
    assert (await read_notices(case.store, case.buyer)).items == ()
    await case.show(case.staff, "Thank you.")
    assert len((await read_notices(case.store, case.seller)).items) == 2
    assert len((await read_notices(case.store, case.buyer)).items) == 1


async def test_who_is_a_side_does_not_decide_as_staff(case: Case) -> None:
    admin = await join_as(case.store, "ada", "admin")
    await case.shop.run(text("UPDATE orders SET buyer_id = :me WHERE id = :id"), me=admin.caller.user_id, id=case.id)
    with pytest.raises(MoveNotYours):
        await move_order(case.store, admin.caller, case.id, "refunded", reason="Because I can.")
    assert (await case.shop.row("SELECT state FROM orders WHERE id = :id", id=case.id))[0] == "disputed"


async def test_strangers_show_nothing_and_see_nothing(case: Case) -> None:
    stranger = await case.shop.make.person("seller")
    with pytest.raises(NoSuchOrder):
        await case.show(stranger, "Me too")
    with pytest.raises(NoSuchOrder):
        await case.seen(stranger)
    assert await case.shop.count("dispute_evidence") == 0


async def test_what_cannot_be_shown(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    await case.show(case.buyer, "Broken.")
    for body, data, error in (
        ("", None, NothingShown), (" \n ", None, NothingShown), ("x" * 2001, None, FieldErrors), ("x", b"GIF89a<script>", NotAPicture),
        ("x", b"\xff" * (13 * 1024 * 1024), UploadTooLarge),
    ):  # fmt: skip
        with pytest.raises(error):
            await case.show(case.buyer, body, data)
    monkeypatch.setattr(disputes, "MOST_PICTURES", 0)
    with pytest.raises(TooOften):
        await case.show(case.buyer, "x", picture())
    assert await case.seen(case.buyer) == ["Broken."]
    for n in range(19):
        await case.show(case.buyer, f"{n}")
    with pytest.raises(EnoughShown):
        await case.show(case.buyer, "one too many")
    assert await case.shop.count("dispute_evidence") == 20


async def test_nothing_is_shown_about_an_order_that_is_fine(shop: Shop) -> None:
    placed = await shop.buy(await shop.goods())
    with pytest.raises(NotDisputed):
        await show_evidence(shop.store, shop.buyer, placed.order_id, EvidenceForm(body="Just so"))
    assert await shop.count("dispute_evidence") == 0


async def test_evidence_is_never_changed(case: Case) -> None:
    await case.show(case.buyer, "Broken.")
    for change in ("UPDATE dispute_evidence SET body = 'whole'", "DELETE FROM dispute_evidence"):
        with pytest.raises(Exception, match=r"permission denied|refused|never|append"):
            await case.shop.run(text(change))
    assert await case.seen(case.buyer) == ["Broken."]


async def test_by_the_pages_of_all_three(case: Case) -> None:
    buyer, path = await browser_of(case.shop, case.buyer), f"/orders/{case.number}"
    page = await buyer.get(path)
    assert "What is in dispute" in text_of(page.text)
    files = {"picture": ("lamp.png", picture(), "image/png")}
    await buyer.post(f"{path}/evidence", {"evidence": "The <b>foot</b> is broken."}, files=files)
    refused = await buyer.post(f"{path}/evidence", {"evidence": ""})
    assert refused.status_code == 422
    assert "Say what happened" in text_of(refused.text)
    spoofed = {"picture": ("lamp.png", b"<svg onload=alert(1)>", "image/png")}
    assert (await buyer.post(f"{path}/evidence", {"evidence": "Look"}, files=spoofed)).status_code == 422
    seller, staff = await browser_of(case.shop, case.seller), await browser_of(case.shop, case.staff)
    await seller.post(f"{path}/evidence", {"evidence": "It was whole."})
    seen = await staff.get(path)
    assert "The &lt;b&gt;foot&lt;/b&gt; is broken." in seen.text
    assert "It was whole." in seen.text
    assert "/media/" in seen.text
    undecided = await staff.post(f"{path}/move", {"to_state": "completed", "reason": ""})
    assert "Say why you decide so" in text_of(undecided.text)
    await staff.post(f"{path}/move", {"to_state": "completed", "reason": "The picture shows another lamp."})
    after = text_of((await buyer.get(path)).text)
    assert "Decided" in after
    assert "The picture shows another lamp." in after
    assert await case.state() == "completed"


async def test_programs_show_and_read(case: Case) -> None:
    buyer = await browser_of(case.shop, case.buyer)
    await buyer.get("/")
    path = f"/api/v1/orders/{case.number}/evidence"
    sent = await buyer.client.post(path, json={"body": "Broken."}, headers={"x-csrf-token": buyer.token})
    assert sent.status_code == 201, sent.text
    assert sent.json()["side"] == "buyer"
    assert [e["body"] for e in (await buyer.client.get(path)).json()] == ["Broken."]
    shown = await buyer.client.post(
        f"{path}/pictures",
        files={"picture": ("foot.png", picture(), "image/png")},
        data={"body": "Look."},
        headers={"x-csrf-token": buyer.token},
    )
    assert (shown.status_code, shown.json()["body"], shown.json()["file_id"] is None) == (201, "Look.", False)
    spoofed = {"picture": ("foot.png", b"no picture", "image/png")}
    wrong = await buyer.client.post(f"{path}/pictures", files=spoofed, headers={"x-csrf-token": buyer.token})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "NotAPicture")
    assert len((await buyer.client.get(path)).json()) == 2
    refused = await buyer.client.post(path, json={}, headers={"x-csrf-token": buyer.token})
    assert (refused.status_code, refused.json()["code"]) == (422, "NothingShown")


async def test_one_seller_does_not_read_what_another_shows(
    store: Store, shop: Shop, servers: Servers, make: Factory
) -> None:
    await use(shop, servers, next(p for p in load_processes(PRESETS / "souk-loop") if p.name == "purchase"))
    one, two = await shop.goods("Lamp"), await shop.goods("Vase")
    await shop.put(one, 1)
    placed = await shop.buy(two)
    for variant in (one, two):
        await move_order(store, shop.sellers[variant], placed.order_id, "shipped")
    await move_order(store, shop.buyer, placed.order_id, "disputed")
    for who, body in (
        (shop.buyer, "Both broken"),
        (shop.sellers[one], "My lamp was whole"),
        (shop.sellers[two], "My vase, too"),
    ):
        await show_evidence(store, who, placed.order_id, EvidenceForm(body=body))
    assert [e.body for e in await list_evidence(store, shop.sellers[one], placed.order_id)] == [
        "Both broken",
        "My lamp was whole",
    ]
    with count_queries() as count:
        assert len(await list_evidence(store, shop.buyer, placed.order_id)) == 3
    assert count.queries <= 3
