"""Processes as data: the checker finds what is wrong with one, and every preset's runs with its books in balance."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.conftest import Servers
from tests.shop import Shop
from tradepost.accounts.types import Caller
from tradepost.core.clock import now, stopped_at
from tradepost.core.database import SYSTEM, Database
from tradepost.flows.install_store import _install_process
from tradepost.flows.move_order import move_order
from tradepost.flows.orders import get_board, get_order
from tradepost.flows.preset import PRESETS, Process, State, Transition, load_processes
from tradepost.flows.processes import course_of
from tradepost.flows.sweep import sweep
from tradepost.orders.soundness import check_process, problems
from tradepost.orders.types import (
    BadProcess,
    BookSeparately,
    DayNeeded,
    MoveNotYours,
    OrderChanged,
    PartAhead,
    PartsMoveTogether,
)

ALL = [(folder.name, process) for folder in sorted(PRESETS.iterdir()) for process in load_processes(folder)]
IDS = [f"{name}/{process.name}" for name, process in ALL]
PURCHASES = [(name, process) for name, process in ALL if process.name == "purchase"]


def state(code: str, *, final: bool = False) -> State:
    return State(code=code, name=code.title(), final=final, open=not final)


def move(start: str, end: str, *effects: str, by: str = "staff", timer: timedelta | None = None) -> Transition:
    return Transition(from_state=start, to_state=end, by=tuple(by.split()), effects=effects, timer=timer)  # type: ignore[arg-type]


SOUND = Process(
    name="purchase",
    kind="order",
    initial="new",
    states=(state("new"), state("paid"), state("done", final=True), state("dropped", final=True)),
    transitions=(
        move("new", "paid", "sell_stock", "hold_money", by="system"),
        move("new", "dropped", "release_stock", by="buyer"),
        move("paid", "done", "release_money", by="buyer system", timer=timedelta(days=7)),
        move("paid", "dropped", "restock", "refund_payment"),
    ),
)


def changed(*, drop: tuple[str, str] | None = None, add: Transition | None = None, **fields: Any) -> Process:
    moves = [t for t in SOUND.transitions if (t.from_state, t.to_state) != drop]
    return msgspec.structs.replace(SOUND, transitions=(*moves, *([add] if add else [])), **fields)


@pytest.mark.parametrize(("name", "process"), ALL, ids=IDS)
def test_every_preset_is_sound(name: str, process: Process) -> None:
    assert list(problems(course_of(process))) == []


@pytest.mark.parametrize(("name", "process"), PURCHASES, ids=[name for name, _ in PURCHASES])
def test_declined_card_may_be_followed_by_another_while_the_goods_are_held(name: str, process: Process) -> None:
    course = course_of(process)
    assert course.decline_move(course.initial) is None
    given_up = course.timed_move(course.initial)
    assert given_up is not None
    assert given_up.timer == timedelta(minutes=30)
    assert "release_stock" in given_up.effects


def test_sound_process_passes() -> None:
    check_process(course_of(SOUND))


@pytest.mark.parametrize(
    ("process", "problem"),
    [
        (changed(initial="nowhere"), "the initial state “nowhere” does not exist"),
        (changed(add=move("new", "gone")), "a move names “gone”, which is not a state"),
        (changed(add=move("new", "done", "sing")), "“new” to “done” has the unknown effect “sing”"),
        (changed(states=(*SOUND.states, state("lonely", final=True))), "nothing leads to “lonely”"),
        (
            changed(states=(*SOUND.states, state("stuck")), add=move("paid", "stuck")),
            "an order that is “stuck” can never end",
        ),
        (
            changed(drop=("paid", "done"), add=move("paid", "done")),
            "an order can end “done” with the money still held: it needs release_money or refund_payment on the way",
        ),
        (
            changed(drop=("new", "dropped"), add=move("new", "dropped")),
            "an order can end “dropped” with the stock still reserved: it needs sell_stock or release_stock on the way",
        ),
        (
            msgspec.structs.replace(
                SOUND, transitions=(*SOUND.transitions[:2], move("paid", "done", "release_money", by="buyer"))
            ),
            "money held in “paid” waits for the buyer alone: it needs a timer, or a move by the seller or staff",
        ),
        (
            changed(drop=("paid", "done"), add=move("paid", "done", "release_money", by="buyer", timer=timedelta(1))),
            "“paid” to “done” has a timer, but the system may not make it",
        ),
        (
            changed(add=move("new", "done", by="system", timer=timedelta(0))),
            "“new” to “done” has a timer that is not above zero",
        ),
    ],
)
def test_checker_finds(process: Process, problem: str) -> None:
    assert problem in list(problems(course_of(process)))
    with pytest.raises(BadProcess):
        check_process(course_of(process))


async def use(shop: Shop, servers: Servers, process: Process) -> None:
    """Have the store's purchases take another process."""
    (name,) = await shop.row("SELECT current_database()")
    owner = await Database.open(servers.dsn(name, "postgres"), size=1)
    try:
        async with owner.transaction(actor=SYSTEM) as tx:
            await _install_process(tx, process)
    finally:
        await owner.close()


async def assert_sane(shop: Shop) -> None:
    """The books balance, stock is where its reservations say, and nothing is left of what has ended."""
    assert await shop.row("SELECT coalesce(sum(amount_minor), 0) FROM ledger_entries") == (0,)
    assert (
        await shop.rows("""
        SELECT v.id FROM variants v LEFT JOIN (
            SELECT variant_id, sum(quantity) AS held FROM reservations WHERE state IN ('held', 'owed') GROUP BY variant_id
        ) r ON r.variant_id = v.id WHERE v.reserved <> coalesce(r.held, 0)
    """)
        == []
    )
    assert (
        await shop.rows("""
        SELECT v.id FROM variants v WHERE v.on_hand <> 10 + (
            SELECT coalesce(sum(quantity), 0) FROM stock_movements m WHERE m.variant_id = v.id)
    """)
        == []
    )
    assert (
        await shop.rows("""
        SELECT o.number FROM orders o JOIN order_states s ON (s.process, s.code) = (o.process, o.state)
        JOIN reservations r ON r.order_id = o.id WHERE s.is_final AND r.state = 'held'
    """)
        == []
    )
    assert (
        await shop.rows("""
        SELECT o.number FROM orders o JOIN order_states s ON (s.process, s.code) = (o.process, o.state)
        JOIN ledger_journals j ON j.order_id = o.id JOIN ledger_entries e ON e.journal_id = j.id
        JOIN ledger_accounts a ON a.id = e.account_id WHERE s.is_final AND a.kind = 'held'
        GROUP BY o.number HAVING sum(e.amount_minor) <> 0
    """)
        == []
    )


@settings(
    max_examples=6,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # to shrink a walk takes minutes
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
@pytest.mark.parametrize(("name", "process"), PURCHASES, ids=[name for name, _ in PURCHASES])
async def test_any_walk_through_a_presets_process_keeps_books_and_stock_right(
    shop: Shop, servers: Servers, name: str, process: Process, data: st.DataObject
) -> None:
    await use(shop, servers, process)
    sellers = [await shop.make.person("seller") for _ in range(data.draw(st.integers(1, 2)))]
    for seller in sellers:
        variant = await shop.goods("Thing", seller, price=data.draw(st.integers(1, 5000)), stock=10)
        await shop.put(variant, data.draw(st.integers(1, 5)))
    staff = await shop.make.person("staff")
    method = data.draw(st.sampled_from(["approve", "page", "decline"]))
    last = await shop.goods("Last", sellers[0], price=777, stock=10)
    placed = await shop.buy(last, 1, method="" if method == "page" else method, shipping="standard")
    course = course_of(process)
    callers: dict[str, list[Caller]] = {"buyer": [shop.buyer], "seller": sellers, "staff": [staff]}
    for _ in range(12):
        await assert_sane(shop)
        found = await get_order(shop.store, staff, placed.number)
        choices: list[tuple[Any, ...]] = [
            (caller, m.to_state, m.seller_id)
            for callers_of in callers.values()
            for caller in callers_of
            for view in [await get_order(shop.store, caller, placed.number)]
            for m in (*view.moves, *(m for p in view.parts for m in p.moves))
        ]
        if any(course.timed_move(p.state) for p in found.parts):
            choices.append(("timer",))
        if not choices:
            break
        chosen = data.draw(st.sampled_from(choices))
        try:
            if chosen == ("timer",):
                with stopped_at(now() + timedelta(days=40)):
                    await sweep(shop.store)
            else:
                caller, to_state, seller_id = chosen
                await move_order(shop.store, caller, placed.order_id, to_state, seller_id=seller_id, reason="As agreed")
        except (PartAhead, OrderChanged, MoveNotYours):
            continue
    await sweep(shop.store, ask_after=timedelta(0))
    await assert_sane(shop)


async def booking(shop: Shop, **options: Any) -> Any:
    return await shop.goods("Ploughing", kind="service", unit="hour", step="0.5", price=1500, stock=None, **options)


async def test_service_is_booked_accepted_and_then_paid(shop: Shop) -> None:
    from tradepost.flows.checkout import pay_again

    variant = await booking(shop)
    day = (now() + timedelta(days=3)).date()
    placed = await shop.buy(variant, "2.5", requested_on=day)
    assert (placed.state, placed.payment_state, placed.payment_id, placed.total_minor) == (
        "requested",
        "none",
        None,
        3750,
    )
    seller = shop.sellers[variant]
    columns = {c.state: c for c in (await get_board(shop.store, seller)).columns if c.process == "service"}
    (card,) = columns["requested"].cards
    assert (card.requested_on, [m.to_state for m in card.moves]) == (day, ["accepted", "declined"])
    assert not (await get_order(shop.store, shop.buyer, placed.number)).can_pay
    await move_order(shop.store, seller, placed.order_id, "accepted")
    assert (await get_order(shop.store, shop.buyer, placed.number)).can_pay
    paid = await pay_again(shop.store, shop.buyer, placed.order_id, "sandbox", "approve")
    assert (paid.state, paid.payment_state) == ("booked", "success")
    for step in ("under_way", "done"):
        await move_order(shop.store, seller, placed.order_id, step)
    with stopped_at(now() + timedelta(days=4)):
        await sweep(shop.store)
    assert (await get_order(shop.store, shop.buyer, placed.number)).state == "confirmed"
    assert "held" not in await shop.balances()


async def test_same_key_books_once(shop: Shop) -> None:
    from tradepost.flows.checkout import checkout

    await shop.put(await booking(shop), "1")
    form = shop.form(requested_on=now().date())
    first = await checkout(shop.store, shop.buyer, form, "key")
    assert await checkout(shop.store, shop.buyer, form, "key") == first
    assert await shop.count("orders") == 1


async def test_declined_booking_costs_nothing(shop: Shop) -> None:
    variant = await booking(shop)
    placed = await shop.buy(variant, 1, requested_on=now().date())
    await move_order(shop.store, shop.sellers[variant], placed.order_id, "declined", reason="Rain")
    order = await get_order(shop.store, shop.buyer, placed.number)
    assert (order.state, order.payments, order.timeline[-1].reason) == ("declined", (), "Rain")


async def test_booking_needs_a_day_and_stands_alone(shop: Shop) -> None:
    await shop.put(await booking(shop), 1)
    for day in (None, now().date() - timedelta(days=1)):
        with pytest.raises(DayNeeded):
            await shop.buy(await booking(shop, seller=next(iter(shop.sellers.values()))), 1, requested_on=day)
    with pytest.raises(BookSeparately):
        await shop.buy(await shop.goods(), 1, requested_on=now().date())
    assert await shop.count("orders") == 0


async def test_request_nobody_answers_ends_by_itself(shop: Shop) -> None:
    placed = await shop.buy(await booking(shop), 1, requested_on=now().date())
    with stopped_at(now() + timedelta(days=4)):
        await sweep(shop.store)
    assert (await get_order(shop.store, shop.buyer, placed.number)).state == "cancelled"


async def test_a_part_moves_alone_only_once_the_order_is_paid(shop: Shop, servers: Servers) -> None:
    """One payment pays for all parts; a part that went ahead was left behind when the order expired."""
    await use(shop, servers, next(process for name, process in PURCHASES if name == "shop-assistant"))
    sellers = [await shop.make.person("seller") for _ in range(2)]
    await shop.put(await shop.goods("First", sellers[0], price=500, stock=10), 1)
    placed = await shop.buy(await shop.goods("Second", sellers[1], price=700, stock=10), 1, method="")
    staff = await shop.make.person("staff")
    view = await get_order(shop.store, staff, placed.number)
    assert [m.to_state for p in view.parts for m in p.moves] == []
    with pytest.raises(PartsMoveTogether):
        await move_order(shop.store, staff, placed.order_id, "paid", seller_id=sellers[0].user_id)
    await move_order(shop.store, staff, placed.order_id, "paid")
    await move_order(shop.store, sellers[0], placed.order_id, "processed")
    view = await get_order(shop.store, staff, placed.number)
    assert {p.state for p in view.parts} == {"paid", "processed"}
