"""Delivery: the plan and what it opens, zones, rounds shared out, and what happens at the door."""

import io
import re
from datetime import date, time, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from PIL import Image
from sqlalchemy import text

from tests.shop import HOME, Shop
from tests.test_after_sale import browser_of
from tests.visitor import text_of
from tradepost.accounts.types import Caller, NotAllowed
from tradepost.core.clock import now
from tradepost.core.limits import TooOften
from tradepost.core.postal import Address
from tradepost.delivery.plan import BadWindow, Terms, WindowDraft, WindowTwice, Zone
from tradepost.delivery.rules import Stop, metres, route, share
from tradepost.delivery.slots import SlotFull, SlotNeeded, SlotTooSoon
from tradepost.delivery.types import ProofNeeded, WrongPin
from tradepost.flows import plan_delivery, rounds
from tradepost.flows.checkout import Placed, checkout
from tradepost.flows.hand_over import FailedForm, HandOverForm, fail_hand_over, hand_over, pin_of, set_out
from tradepost.flows.move_order import move_order
from tradepost.flows.orders import get_order
from tradepost.flows.plan_delivery import today_of
from tradepost.flows.quote import CheckoutChoice, quote_cart
from tradepost.orders.types import NoDelivery, NoSuchOrder

DAY = timedelta(days=1)


async def plan_week(shop: Shop, capacity: int = 20, hours: tuple[int, int] = (10, 12)) -> Caller:
    """Plan one window on every day of the week; return who did."""
    admin = await shop.make.person("admin")
    for weekday in range(7):
        draft = WindowDraft(weekday=weekday, starts_at=time(hours[0]), ends_at=time(hours[1]), capacity=capacity)
        await plan_delivery.save_window(shop.store, admin, draft)
    return admin


async def slot_on(shop: Shop, days: int) -> UUID:
    """Return the window so many days from now."""
    day = today_of(shop.store) + days * DAY
    return (await shop.row("SELECT id FROM delivery_slots WHERE delivery_on = :day ORDER BY starts_at", day=day))[0]


async def delivered_to(shop: Shop, slot: UUID, variant: UUID, **address: str) -> Placed:
    """Order one of something to be brought in a window."""
    where = Address(**{**{n: getattr(HOME, n) for n in HOME.__struct_fields__}, **address})
    return await shop.buy(variant, slot_id=slot, shipping="standard", shipping_address=where)


async def carried(shop: Shop) -> tuple[Placed, Caller, UUID]:
    """Sell a hammer, give it to a rider; return the order, the rider and the seller's id."""
    admin = await plan_week(shop)
    variant = await shop.goods()
    placed = await delivered_to(shop, await slot_on(shop, 2), variant)
    rider, seller = await shop.make.person("rider"), shop.sellers[variant].user_id
    assert seller is not None
    await rounds.assign_stops(shop.store, admin, [(placed.order_id, seller)], rider.user_id)
    return placed, rider, seller


async def test_a_plan_opens_the_days_ahead_once(shop: Shop) -> None:
    admin = await plan_week(shop)
    assert await shop.count("delivery_slots") == 15  # today and fourteen days
    await plan_delivery.open_slots_ahead(shop.store)
    assert await shop.count("delivery_slots") == 15
    await plan_delivery.save_terms(shop.store, admin, Terms(days_ahead=20))
    assert await shop.count("delivery_slots") == 21
    with pytest.raises(WindowTwice):
        await plan_delivery.save_window(
            shop.store, admin, WindowDraft(weekday=0, starts_at=time(10), ends_at=time(12), capacity=3)
        )
    with pytest.raises(BadWindow):
        await plan_delivery.save_window(
            shop.store, admin, WindowDraft(weekday=0, starts_at=time(12), ends_at=time(12), capacity=3)
        )
    assert await shop.count("delivery_slots") == 21


async def test_a_rider_on_a_slot_does_not_open_it_again(shop: Shop) -> None:
    admin = await plan_week(shop)
    rider = await shop.make.person("rider")
    await rounds.assign_slot(shop.store, admin, await slot_on(shop, 1), rider.user_id)
    await plan_delivery.open_slots_ahead(shop.store)
    assert await shop.count("delivery_slots") == 15
    assert await shop.count("delivery_slots", "status = 'assigned'") == 1


async def test_capacity_never_falls_below_what_is_taken(shop: Shop) -> None:
    admin = await plan_week(shop, capacity=5)
    variant, slot = await shop.goods(stock=50), await slot_on(shop, 3)
    for _ in range(3):
        await delivered_to(shop, slot, variant)
    plan = await plan_delivery.get_plan(shop.store, admin)
    for window in plan.windows:
        await plan_delivery.resize_window(shop.store, admin, window.id, 2)
    assert await shop.row("SELECT capacity, taken FROM delivery_slots WHERE id = :id", id=slot) == (3, 3)
    assert await shop.row("SELECT min(capacity), count(*) FILTER (WHERE capacity = 2) FROM delivery_slots") == (2, 14)
    with pytest.raises(SlotFull):
        await delivered_to(shop, slot, variant)
    assert await shop.count("orders") == 3


async def test_days_off_are_not_offered_and_promises_stay(shop: Shop) -> None:
    admin = await plan_week(shop)
    variant, day = await shop.goods(stock=9), today_of(shop.store) + 3 * DAY
    slot = await slot_on(shop, 3)
    placed = await delivered_to(shop, slot, variant)
    await plan_delivery.close_day(shop.store, admin, day, "  Oven\n broken ")
    plan = await plan_delivery.get_plan(shop.store, admin)
    assert [(o.day, o.reason, o.booked) for o in plan.days_off] == [(day, "Oven broken", 1)]
    await shop.put(variant, 1)
    offered = {s.id for s in (await quote_cart(shop.store, shop.buyer, CheckoutChoice(shipping="standard"))).slots}
    assert slot not in offered
    with pytest.raises(SlotFull):
        await checkout(shop.store, shop.buyer, shop.form(slot_id=slot, shipping="standard"), "off")
    assert (await get_order(shop.store, shop.buyer, placed.number)).slot is not None
    await plan_delivery.open_slots_ahead(shop.store)
    assert await shop.row("SELECT is_open FROM delivery_slots WHERE id = :id", id=slot) == (False,)
    await plan_delivery.open_day(shop.store, admin, day)
    assert await shop.row("SELECT is_open FROM delivery_slots WHERE id = :id", id=slot) == (True,)


async def test_an_order_leaves_time_to_make_it(shop: Shop) -> None:
    admin = await plan_week(shop)
    cake = await shop.goods("Cake", attributes={"lead_time_hours": 72})
    await shop.put(cake, 1)
    first = (await quote_cart(shop.store, shop.buyer, CheckoutChoice(shipping="standard"))).slots[0]
    begins = (await shop.row("SELECT delivery_on + starts_at FROM delivery_slots WHERE id = :id", id=first.id))[0]
    here = now().astimezone(shop.store.zone).replace(tzinfo=None)
    assert timedelta(hours=72) < begins - here <= timedelta(hours=96)
    with pytest.raises(SlotTooSoon):
        await checkout(shop.store, shop.buyer, shop.form(slot_id=await slot_on(shop, 2), shipping="standard"), "soon")
    assert await shop.count("orders") == 0
    await plan_delivery.save_terms(shop.store, admin, Terms(lead_minutes=5 * 24 * 60))
    first = (await quote_cart(shop.store, shop.buyer, CheckoutChoice(shipping="standard"))).slots[0]
    begins = (await shop.row("SELECT delivery_on + starts_at FROM delivery_slots WHERE id = :id", id=first.id))[0]
    assert begins - here > timedelta(days=5)


@pytest.mark.parametrize(("cut_off", "days"), [("00:00:00", 2), ("23:59:59", 1)])
async def test_a_day_closes_the_evening_before(shop: Shop, cut_off: str, days: int) -> None:
    admin = await plan_week(shop, hours=(22, 23))
    await plan_delivery.save_terms(shop.store, admin, Terms(cut_off=time.fromisoformat(cut_off)))
    variant = await shop.goods()
    await shop.put(variant, 1)
    first = (await quote_cart(shop.store, shop.buyer, CheckoutChoice(shipping="standard"))).slots[0]
    on = (await shop.row("SELECT delivery_on FROM delivery_slots WHERE id = :id", id=first.id))[0]
    assert on == today_of(shop.store) + days * DAY
    if days == 2:
        with pytest.raises(SlotTooSoon):
            await checkout(
                shop.store, shop.buyer, shop.form(slot_id=await slot_on(shop, 1), shipping="standard"), "late"
            )


async def test_what_is_brought_needs_a_window_and_what_is_fetched_does_not(shop: Shop) -> None:
    await plan_week(shop)
    variant = await shop.goods()
    with pytest.raises(SlotNeeded):
        await shop.buy(variant, shipping="standard")
    assert await shop.count("orders") == 0
    assert (await checkout(shop.store, shop.buyer, shop.form(shipping="pickup"), "fetch")).payment_state == "success"


async def test_a_window_in_the_past_is_refused(shop: Shop) -> None:
    variant = await shop.goods()
    yesterday = now().date() - DAY
    await shop.run(
        text(
            "INSERT INTO delivery_slots (delivery_on, starts_at, ends_at, capacity) VALUES (:day, '10:00', '12:00', 5)"
        ),
        day=yesterday,
    )
    slot = (await shop.row("SELECT id FROM delivery_slots"))[0]
    with pytest.raises((SlotFull, SlotTooSoon)):
        await delivered_to(shop, slot, variant)
    assert await shop.count("slot_bookings") == 0


async def zones(shop: Shop) -> Caller:
    """Price the standard way by distance: 5 km and 60 km around Springfield."""
    admin = await shop.make.person("admin")
    await shop.run(text("UPDATE shipping_options SET by_distance = true WHERE code = 'standard'"))
    await shop.run(text("DELETE FROM places"))
    for name, lat, people in (("Springfield", 39.92, 9000), ("Dayton", 39.76, 5000), ("Chicago", 41.88, 90000)):
        lon = {"Springfield": -83.81, "Dayton": -84.19, "Chicago": -87.63}[name]
        await shop.run(
            text("INSERT INTO places (country, region, name, location, population) "
                 "VALUES ('US', 'Ohio', :name, geo_point(:lat, :lon), :people)"), name=name, lat=lat, lon=lon, people=people,
        )  # fmt: skip
    await plan_delivery.save_zones(
        shop.store, admin,
        (Zone(radius_m=5000, name="Near", fee_minor=200), Zone(radius_m=60_000, name="Far", fee_minor=900, free_from_minor=3000)),
    )  # fmt: skip
    return admin


@pytest.mark.parametrize(("city", "quantity", "fee"), [("springfield", 1, 200), ("Dayton", 1, 900), ("Dayton", 3, 0)])
async def test_delivery_costs_by_distance(shop: Shop, city: str, quantity: int, fee: int) -> None:
    await zones(shop)
    variant = await shop.goods(price=1000)
    where = Address(name="Ann", line1="1 Main Street", city=city, country="US")
    await shop.put(variant, quantity)
    choice = CheckoutChoice(shipping="standard", shipping_address=where)
    assert (await quote_cart(shop.store, shop.buyer, choice)).shipping_minor == fee
    placed = await checkout(
        shop.store, shop.buyer, shop.form(shipping="standard", shipping_address=where), f"far{quantity}{city}"
    )
    assert placed.total_minor == 1000 * quantity + fee


@pytest.mark.parametrize("city", ["Chicago", "Atlantis"])
async def test_beyond_the_widest_zone_nothing_is_brought(shop: Shop, city: str) -> None:
    await zones(shop)
    variant = await shop.goods()
    where = Address(name="Ann", line1="1 Main Street", city=city, country="US")
    with pytest.raises(NoDelivery):
        await shop.buy(variant, shipping="standard", shipping_address=where)
    assert await shop.count("orders") == 0


async def test_zones_are_for_those_who_run_the_store(shop: Shop) -> None:
    with pytest.raises(NotAllowed):
        await plan_delivery.save_zones(shop.store, await shop.make.person("staff"), ())
    with pytest.raises(NotAllowed):
        await plan_delivery.save_terms(shop.store, await shop.make.person("rider"), Terms())


def test_a_round_goes_to_the_nearest_next_stop() -> None:
    ids = [(UUID(int=n), UUID(int=0)) for n in range(4)]
    stops = [
        Stop(ids[0], (0.0, 0.3), "d"),
        Stop(ids[1], (0.0, 0.1), "c"),
        Stop(ids[2], None, "b"),
        Stop(ids[3], (0.0, 0.2), "a"),
    ]
    assert [s.key for s in route((0.0, 0.0), stops)] == [ids[1], ids[3], ids[0], ids[2]]
    assert metres((0.0, 0.0), (0.0, 1.0)) == pytest.approx(111_195, rel=1e-3)


def test_stops_are_shared_by_direction_among_as_few_as_can() -> None:
    around = [Stop((UUID(int=n), UUID(int=0)), ((-1) ** n * 0.1, 0.01 * n), str(n)) for n in range(1, 7)]
    shared = share((0.0, 0.0), around, ["a", "b", "c"], most=3)
    assert sorted(len(v) for v in shared.values()) == [3, 3]
    assert all(len({s.at[0] > 0 for s in stops if s.at}) == 1 for stops in shared.values())
    assert list(share((0.0, 0.0), around, ["a"], most=3)) == ["a"]
    assert share(None, [], ["a"], most=3) == {}
    assert share(None, around, [], most=3) == {}


async def test_one_click_fills_a_day(shop: Shop) -> None:
    admin = await plan_week(shop, capacity=40)
    variant, slot = await shop.goods(stock=99), await slot_on(shop, 2)
    day = today_of(shop.store) + 2 * DAY
    placed = [await delivered_to(shop, slot, variant, line1=f"{n} Main Street") for n in range(14)]
    await shop.buy(variant, slot_id=slot)  # fetched at the counter: nobody rides there
    await shop.run(text("DELETE FROM user_roles WHERE user_id = :id"), id=admin.user_id)
    with pytest.raises(rounds.NoRiders):
        await rounds.fill_slots(shop.store, admin, day)
    riders = [await shop.make.person("rider") for _ in range(3)]
    assert await rounds.fill_slots(shop.store, admin, day) == 14
    given = await shop.rows("SELECT rider_id, count(*) FROM fulfilments WHERE rider_id IS NOT NULL GROUP BY 1")
    assert sorted(n for _, n in given) == [7, 7]
    assert {r for r, _ in given} <= {r.user_id for r in riders}
    assert await shop.row("SELECT status, rider_id IS NOT NULL FROM delivery_slots WHERE id = :id", id=slot) == (
        "assigned",
        True,
    )
    assert await rounds.fill_slots(shop.store, admin, day) == 0
    first = await rounds.get_rider_day(shop.store, next(r for r in riders if r.user_id == given[0][0]), day)
    assert (first.left, first.done, [s.position for s in first.slots[0].stops]) == (7, 0, list(range(1, 8)))
    assert {p.number for p in placed} >= {s.number for s in first.slots[0].stops}


async def test_a_rider_hands_over_against_the_pin(shop: Shop) -> None:
    placed, rider, seller = await carried(shop)
    pin = pin_of(shop.store, placed.order_id, seller)
    page = (await (await browser_of(shop, shop.buyer)).get(f"/orders/{placed.number}")).text
    assert f"<strong>{pin}</strong>" in page
    assert (
        pin
        not in (await (await browser_of(shop, await shop.make.person("staff"))).get(f"/orders/{placed.number}")).text
    )
    await set_out(shop.store, rider, placed.order_id, seller)
    await set_out(shop.store, rider, placed.order_id, seller)
    assert (await get_order(shop.store, shop.buyer, placed.number)).state == "shipped"
    with pytest.raises(ProofNeeded):
        await hand_over(shop.store, rider, placed.order_id, seller, HandOverForm(key=uuid4()))
    with pytest.raises(ProofNeeded):
        await move_order(shop.store, rider, placed.order_id, "delivered")
    wrong = f"{(int(pin) + 1) % 10_000:04d}"
    with pytest.raises(WrongPin):
        await hand_over(shop.store, rider, placed.order_id, seller, HandOverForm(key=uuid4(), pin=wrong))
    key = uuid4()
    await rounds.assign_slot(shop.store, await shop.make.person("admin"), await slot_on(shop, 2), rider.user_id)
    for _ in range(2):
        await hand_over(shop.store, rider, placed.order_id, seller, HandOverForm(key=key, pin=pin))
    order = await get_order(shop.store, shop.buyer, placed.number)
    assert (order.state, order.parts[0].handed_over_at is not None) == ("delivered", True)
    assert await shop.count("delivery_attempts") == 1
    assert await shop.row("SELECT proof FROM fulfilments") == ({"kind": "pin", "file_id": None},)
    assert await shop.row("SELECT status FROM delivery_slots WHERE taken > 0") == ("completed",)


async def test_pins_cannot_be_tried_out(shop: Shop) -> None:
    placed, rider, seller = await carried(shop)
    pin = pin_of(shop.store, placed.order_id, seller)
    for n in range(5):
        with pytest.raises(WrongPin):
            await hand_over(
                shop.store,
                rider,
                placed.order_id,
                seller,
                HandOverForm(key=uuid4(), pin=f"{(int(pin) + 1 + n) % 10_000:04d}"),
            )
    with pytest.raises(TooOften):
        await hand_over(shop.store, rider, placed.order_id, seller, HandOverForm(key=uuid4(), pin=pin))
    await hand_over(shop.store, rider, placed.order_id, seller, HandOverForm(key=uuid4()), _photo())
    assert (await shop.row("SELECT proof ->> 'kind' FROM fulfilments")) == ("photo",)


def _photo() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (640, 480), "peru").save(data, "JPEG")
    return data.getvalue()


async def test_a_move_that_arrives_late_catches_up(shop: Shop) -> None:
    """The phone was offline the whole time: it says “handed over” before anything was sent out."""
    placed, rider, seller = await carried(shop)
    form = HandOverForm(key=uuid4(), pin=pin_of(shop.store, placed.order_id, seller))
    await hand_over(shop.store, rider, placed.order_id, seller, form)
    order = await get_order(shop.store, shop.buyer, placed.number)
    assert [e.to_state for e in order.timeline if e.kind == "moved"][-2:] == ["shipped", "delivered"]
    assert await shop.balances() != {}


async def test_a_failed_try_says_why_and_stays_on_the_round(shop: Shop) -> None:
    placed, rider, seller = await carried(shop)
    form = FailedForm(key=uuid4(), reason="nobody_home", note="Rang twice.")
    for _ in range(2):
        await fail_hand_over(shop.store, rider, placed.order_id, seller, form)
    order = await get_order(shop.store, shop.buyer, placed.number)
    assert [(e.title, e.reason) for e in order.timeline if e.kind == "delivery_failed"] == [
        ("Could not be handed over", "Nobody opened. Rang twice.")
    ]
    seen = text_of((await (await browser_of(shop, shop.buyer)).get(f"/orders/{placed.number}")).text)
    assert "Nobody opened" in seen
    day = await rounds.get_rider_day(shop.store, rider, today_of(shop.store) + 2 * DAY)
    assert (day.left, day.slots[0].stops[0].failed) == (1, 1)
    staff = await browser_of(shop, await shop.make.person("staff"))
    other = await slot_on(shop, 4)
    await staff.get(f"/orders/{placed.number}")
    moved = await staff.post(f"/office/orders/{placed.number}/slot", {"slot_id": str(other)})
    assert "other window" in moved.text
    assert await shop.row("SELECT slot_id FROM slot_bookings WHERE state = 'booked'") == (other,)
    assert await shop.row("SELECT sum(taken), count(*) FILTER (WHERE taken = 1) FROM delivery_slots") == (1, 1)


async def test_strangers_and_other_riders_carry_nothing(shop: Shop) -> None:
    placed, _, seller = await carried(shop)
    form = HandOverForm(key=uuid4(), pin=pin_of(shop.store, placed.order_id, seller))
    with pytest.raises(NoSuchOrder):
        await hand_over(shop.store, await shop.make.person("rider"), placed.order_id, seller, form)
    with pytest.raises(NotAllowed):
        await hand_over(shop.store, shop.buyer, placed.order_id, seller, form)
    with pytest.raises(NotAllowed):
        await rounds.fill_slots(shop.store, await shop.make.person("rider"), date(2030, 1, 1))
    with pytest.raises(rounds.NoSuchRider):
        await rounds.assign_stops(
            shop.store, await shop.make.person("staff"), [(placed.order_id, seller)], shop.buyer.user_id
        )
    assert await shop.count("fulfilments", "handed_over_at IS NOT NULL") == 0


async def test_the_page_of_a_round_works_without_scripts(shop: Shop) -> None:
    placed, rider, seller = await carried(shop)
    day = today_of(shop.store) + 2 * DAY
    phone = await browser_of(shop, rider)
    shown = await phone.get(f"/rides?day={day}")
    assert "1 Main Street" in shown.text
    assert "1 to bring" in text_of(shown.text)
    key = re.findall(r'name="key" value="([0-9a-f-]{36})"', shown.text)[0]
    refused = await phone.post(f"/rides/{placed.order_id}/{seller}/hand-over", {"key": key})
    assert "Ask for the PIN" in refused.text
    pin = pin_of(shop.store, placed.order_id, seller)
    done = await phone.post(f"/rides/{placed.order_id}/{seller}/hand-over", {"key": key, "pin": pin})
    assert "Handed over" in done.text
    assert (await shop.row("SELECT state FROM orders"))[0] == "delivered"


async def test_a_script_is_answered_in_words(shop: Shop) -> None:
    placed, rider, seller = await carried(shop)
    phone = await browser_of(shop, rider)
    await phone.get("/rides")

    async def send(action: str, **fields: str) -> httpx.Response:
        return await phone.client.post(
            f"/rides/{placed.order_id}/{seller}/{action}",
            data={"csrf_token": phone.token, **fields},
            headers={"x-sent-by": "script"},
        )

    answer = await send("hand-over", key=str(uuid4()), pin="x")
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (422, "text/plain")
    assert (await send("failed", key=str(uuid4()), reason="bored")).status_code == 422
    assert (await send("out")).text == "On the way. The buyer sees it."
    assert await shop.count("delivery_attempts") == 0


async def test_staff_share_out_a_day_by_forms(shop: Shop) -> None:
    placed, rider, seller = await carried(shop)
    day = today_of(shop.store) + 2 * DAY
    staff = await browser_of(shop, await shop.make.person("staff"))
    shown = (await staff.get(f"/office/delivery?day={day}")).text
    assert placed.number in shown
    part = {"day": str(day), "part.1": f"{placed.order_id}:{seller}"}
    taken = await staff.post("/office/delivery/assign", {**part, "rider_id": ""})
    assert "Done." in taken.text, text_of(taken.text)[:3000]
    assert await shop.row("SELECT rider_id FROM fulfilments") == (None,)
    filled = await staff.post("/office/delivery/fill", {"day": str(day)})
    assert "One stop given out" in filled.text
    assert await shop.row("SELECT rider_id FROM fulfilments") == (rider.user_id,)
    for path in ("/office/delivery?day=nonsense", "/office/delivery?day=9999-12-31", "/office/delivery/plan"):
        assert (await staff.get(path)).status_code == 200


async def test_the_plan_is_changed_by_forms_and_says_what_is_wrong(shop: Shop) -> None:
    desk = await browser_of(shop, await shop.make.person("admin"))
    await desk.get("/office/delivery/plan")
    window = {"action": "add_window", "starts_at": "10:00", "ends_at": "12:00", "capacity": "8"}

    async def change(**fields: Any) -> httpx.Response:
        return await desk.post("/office/delivery/plan", {k.replace("_dot_", "."): v for k, v in fields.items()})

    assert "Choose at least one day" in (await change(**window)).text
    assert (await change(**window, weekday_dot_1="1", weekday_dot_4="1")).status_code == 200
    assert await shop.count("delivery_windows", "capacity = 8") == 2
    assert (await change(**{**window, "ends_at": "09:00", "weekday_dot_1": "1"})).status_code == 422
    assert (await change(**{**window, "starts_at": "late", "weekday_dot_1": "1"})).status_code == 422
    await change(action="terms", lead_hours="1.5", cut_off="18:30", days_ahead="7")
    assert await shop.row("SELECT lead_minutes, cut_off, days_ahead FROM delivery_terms") == (90, time(18, 30), 7)
    assert (await change(action="terms", lead_hours="-1", days_ahead="7")).status_code == 422
    zone = {"zone_dot_0_dot_name": "Near", "zone_dot_0_dot_km": "2.5", "zone_dot_0_dot_fee": "4,50"}
    await change(action="zones", **zone)
    assert await shop.rows("SELECT radius_m, name, fee_minor, free_from_minor FROM delivery_zones") == [
        (2500, "Near", 450, None)
    ]
    assert (await change(action="zones", **{**zone, "zone_dot_0_dot_km": "far"})).status_code == 422
    assert (await change(action="close_day", day="2020-01-01")).status_code == 422
    assert (await change(action="nonsense")).status_code == 422
    assert await shop.count("delivery_zones") == 1


async def test_a_slot_is_worth_what_its_row_says(shop: Shop) -> None:
    """A quantity of places is a count: bookings given back make room again."""
    await plan_week(shop, capacity=1)
    variant, slot = await shop.goods(stock=5), await slot_on(shop, 2)
    placed = await delivered_to(shop, slot, variant)
    with pytest.raises(SlotFull):
        await delivered_to(shop, slot, variant)
    await move_order(shop.store, shop.buyer, placed.order_id, "cancelled")
    assert await shop.row("SELECT taken FROM delivery_slots WHERE id = :id", id=slot) == (0,)
    again = await checkout(shop.store, shop.buyer, shop.form(slot_id=slot, shipping="standard"), "again")
    assert again.total_minor == 1500
