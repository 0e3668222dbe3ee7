"""Any sequence of what buyers, gateways, staff and time do: stock, points, codes and money stay what a simple model says.

The model knows nothing of reservations, journals or jobs. It keeps one word per order, and adds up.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import msgspec
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import text

from tests.conftest import MARKET, Servers
from tests.factories import Factory
from tests.shop import Shop
from tradepost.accounts.types import Caller
from tradepost.cart.types import NotEnough
from tradepost.catalog import stock
from tradepost.core.clock import now, stopped_at
from tradepost.core.crypto import Keyring
from tradepost.core.database import SYSTEM
from tradepost.core.settings import Settings
from tradepost.flows.cart import add_promo
from tradepost.flows.checkout import Placed, checkout, pay_again
from tradepost.flows.make_move import PaymentArgs
from tradepost.flows.move_order import move_order
from tradepost.flows.preset import Loyalty
from tradepost.flows.refund_order import RefundForm, refund_order
from tradepost.flows.sandbox import connect_sandbox, sandbox_outcome
from tradepost.flows.settle_payment import receive_webhook
from tradepost.flows.store import Store, open_store
from tradepost.flows.sweep import cancel_payment, sweep
from tradepost.payments.adapters.sandbox import SIGNATURE, SandboxGateway
from tradepost.payments.types import NothingToRefund, RefundTooLarge
from tradepost.promotions.types import NotEnoughPoints, PromoUsedUp

POINTS, USES, AT_ONCE = 100, 2, timedelta(0)
PAID_AT_ONCE = ("approve", "early", "duplicate")
PAID_LATER = ("delay", "lost", "down")
METHODS = (*PAID_AT_ONCE, *PAID_LATER, "decline", "page", "nothing")
_CHARGES = "SELECT payment_id, ref, state, amount_minor, currency FROM sandbox_charges"


@dataclass
class Bought:
    """What the model knows of an order. `state`: waiting, paid, sent, done, gone (never paid), back (paid and given back)."""

    placed: Placed
    variant: UUID
    quantity: int
    points: int
    with_promo: bool
    method: str
    key: str
    state: str = "waiting"
    is_refunded: bool = False

    @property
    def has_goods(self) -> bool:
        """Whether the goods are the buyer's."""
        return self.state in {"paid", "sent", "done"}


class World:
    """One store for all examples; each example has a buyer, goods and a code of its own."""

    def __init__(self, store: Store, runner: asyncio.Runner) -> None:
        loyalty = Loyalty(points_per_unit=Decimal(1), value_per_point=Decimal("0.01"))
        self.store = replace(store, settings=msgspec.structs.replace(store.settings, loyalty=loyalty))
        self.runner = runner
        self.make = Factory(self.store)
        self.examples = 0
        connect_sandbox(self.store)


class Kernel(RuleBasedStateMachine):
    """Trades in `world`, and compares."""

    world: ClassVar[World]

    def __init__(self) -> None:
        super().__init__()
        self.orders: list[Bought] = []
        self.on_hand: dict[UUID, int] = {}
        self.world.examples += 1
        self.promo = f"CODE{self.world.examples}"
        self.run(self._open())

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.world.runner.run(work)

    async def _open(self) -> None:
        self.shop = await Shop.open(self.world.store, self.world.make)
        self.seller = await self.world.make.person("seller")
        self.staff = await self.world.make.person("staff")
        for price, held in ((1000, 5), (777, 8)):
            variant = await self.shop.goods(
                f"Thing {self.world.examples} {price}", self.seller, price=price, stock=held
            )
            self.on_hand[variant] = held
        await self.shop.promo(self.promo, percent=10, usage_limit=USES)
        await self.shop.run(
            text("INSERT INTO loyalty_entries (user_id, points, kind) VALUES (:id, :points, 'adjusted')"),
            id=self.buyer.user_id, points=POINTS,
        )  # fmt: skip

    @property
    def buyer(self) -> Caller:
        return self.shop.buyer

    def reserved(self, variant: UUID) -> int:
        return sum(o.quantity for o in self.orders if o.variant == variant and o.state == "waiting")

    def uses(self) -> int:
        return sum(o.with_promo for o in self.orders if o.state != "gone")

    @rule(
        which=st.integers(0, 1), quantity=st.integers(1, 3), method=st.sampled_from(METHODS),
        points=st.sampled_from((0, 0, 60)), with_promo=st.booleans(),
    )  # fmt: skip
    def buy(self, which: int, quantity: int, method: str, points: int, with_promo: bool) -> None:
        self.run(self._buy(list(self.on_hand)[which], quantity, method, points, with_promo))

    async def _buy(self, variant: UUID, quantity: int, method: str, points: int, with_promo: bool) -> None:
        await self.shop.run(text("DELETE FROM carts WHERE user_id = :id"), id=self.buyer.user_id)
        try:
            await self.shop.put(variant, quantity)
        except NotEnough:
            assert quantity > self.on_hand[variant] - self.reserved(variant)
            return
        assert quantity <= self.on_hand[variant] - self.reserved(variant)
        if with_promo:
            try:
                await add_promo(self.world.store, self.buyer, self.promo)
            except PromoUsedUp:
                assert self.uses() == USES
                return
            assert self.uses() < USES
        (had,) = await self.shop.row("SELECT points FROM loyalty_accounts WHERE user_id = :id", id=self.buyer.user_id)
        key = f"key{len(self.orders)}"
        try:
            placed = await checkout(self.world.store, self.buyer, self.shop.form(method=method, points=points), key)
        except NotEnoughPoints:
            assert points > had
            return
        assert points <= had
        bought = Bought(placed, variant, quantity, points, with_promo, method, key)
        self.orders.append(bought)
        if method in PAID_AT_ONCE:
            self._paid(bought)
        elif method == "decline":
            bought.state = "gone"

    def _paid(self, order: Bought) -> None:
        order.state = "paid"
        self.on_hand[order.variant] -= order.quantity

    def _of(self, *states: str) -> list[Bought]:
        return [o for o in self.orders if o.state in states]

    @precondition(lambda self: self.orders)
    @rule(data=st.data())
    def ask_again_with_the_same_key(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(self.orders))
        form = self.shop.form(method=order.method, points=order.points)
        again = self.run(checkout(self.world.store, self.buyer, form, order.key))
        assert (again.order_id, again.payment_id) == (order.placed.order_id, order.placed.payment_id)

    @precondition(lambda self: any(o.state == "waiting" and o.method == "page" for o in self.orders))
    @rule(data=st.data(), approve=st.booleans())
    def decide_on_the_page(self, data: st.DataObject, approve: bool) -> None:
        order = data.draw(st.sampled_from([o for o in self._of("waiting") if o.method == "page"]))
        decision = "approve" if approve else "decline"
        self.run(sandbox_outcome(self.world.store, self.buyer, order.placed.payment_id, decision))
        if approve:
            self._paid(order)
        else:
            order.state = "gone"

    @precondition(lambda self: any(o.state == "waiting" and o.method == "page" for o in self.orders))
    @rule(data=st.data())
    def pay_otherwise(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from([o for o in self._of("waiting") if o.method == "page"]))
        again = self.run(pay_again(self.world.store, self.buyer, order.placed.order_id, "sandbox", "approve"))
        assert again.payment_state == "success"
        self._paid(order)

    @rule()
    def gateway_repeats_itself(self) -> None:
        self.run(self._repeat())

    async def _repeat(self) -> None:
        gateway = self.world.store.gateways["sandbox"]
        assert isinstance(gateway, SandboxGateway)
        mine = {o.placed.payment_id for o in self.orders}
        for charge in await self.shop.rows(f"{_CHARGES} WHERE state <> 'open'"):
            payment_id, ref, state, amount, currency = charge
            if payment_id in mine:
                body = msgspec.json.encode(
                    {"id": f"{ref}:{state}", "payment_id": payment_id, "ref": ref, "state": state,
                     "amount_minor": amount, "currency": currency}
                )  # fmt: skip
                await receive_webhook(self.world.store, "sandbox", {SIGNATURE: gateway.sign(body)}, body)
        for order in self._of("waiting"):
            if order.method in {"lost", "down"}:
                self._paid(order)

    @precondition(lambda self: self._of("waiting", "paid"))
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(self._of("waiting", "paid")))
        self.run(move_order(self.world.store, self.buyer, order.placed.order_id, "cancelled"))
        if order.state == "paid":
            self.on_hand[order.variant] += order.quantity
        order.state = "back" if order.state == "paid" else "gone"

    @precondition(lambda self: self._of("paid", "sent"))
    @rule(data=st.data())
    def send_or_receive(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(self._of("paid", "sent")))
        step, to_state = ("sent", "shipped") if order.state == "paid" else ("done", "delivered")
        self.run(move_order(self.world.store, self.seller, order.placed.order_id, to_state))
        order.state = step

    @precondition(lambda self: self._of("paid", "sent", "done"))
    @rule(data=st.data(), amount=st.integers(1, 1200))
    def give_some_money_back(self, data: st.DataObject, amount: int) -> None:
        order = data.draw(st.sampled_from(self._of("paid", "sent", "done")))
        form = RefundForm(amount_minor=amount)
        try:
            self.run(refund_order(self.world.store, self.staff, order.placed.order_id, form))
        except (RefundTooLarge, NothingToRefund):
            assert order.is_refunded or amount > order.placed.total_minor
            return
        order.is_refunded = True

    @rule(which=st.integers(0, 1), more=st.integers(1, 4))
    def restock(self, which: int, more: int) -> None:
        variant = list(self.on_hand)[which]
        self.on_hand[variant] += more
        self.run(self._restock(variant, Decimal(self.on_hand[variant])))

    async def _restock(self, variant: UUID, on_hand: Decimal) -> None:
        async with self.world.store.db.transaction(actor=SYSTEM) as tx:
            await stock.set_stock(tx, variant, on_hand, reason="restock")

    @rule()
    def half_an_hour_passes(self) -> None:
        self.run(self._pass_time())

    async def _pass_time(self) -> None:
        with stopped_at(now() + timedelta(minutes=31)):
            await sweep(self.world.store, ask_after=AT_ONCE)
        for order in self._of("waiting"):
            if order.method in PAID_LATER:
                self._paid(order)
            else:
                order.state = "gone"

    @rule()
    def worker_works(self) -> None:
        self.run(self._work())

    async def _work(self) -> None:
        done = "DELETE FROM pgqueuer WHERE entrypoint = 'payments.cancel_payment' RETURNING payload"
        for (payload,) in await self.shop.rows(done):
            await cancel_payment(self.world.store, msgspec.json.decode(payload, type=PaymentArgs).payment_id)

    @invariant()
    def stock_points_and_codes_are_what_the_model_says(self) -> None:
        self.run(self._check())

    async def _check(self) -> None:
        for variant, on_hand in self.on_hand.items():
            assert await self.shop.stock(variant) == (on_hand, self.reserved(variant))
        used = await self.shop.row("SELECT used_count FROM promo_codes WHERE code = :code", code=self.promo)
        assert used == (self.uses(),)
        await self._check_spent()
        kept = await self.shop.row("SELECT points FROM loyalty_accounts WHERE user_id = :id", id=self.buyer.user_id)
        total = "SELECT coalesce(sum(points), 0) FROM loyalty_entries WHERE user_id = :id"
        assert kept == await self.shop.row(total, id=self.buyer.user_id)
        assert kept[0] >= 0
        assert await self.shop.row("SELECT coalesce(sum(amount_minor), 0) FROM ledger_entries") == (0,)

    async def _check_spent(self) -> None:
        """What was spent stays with the order; money given back brings its share of the points, all of it all of them."""
        for order in self.orders:
            sql = "SELECT coalesce(-sum(points), 0) FROM loyalty_entries WHERE order_id = :id AND kind IN ('spent', 'returned')"
            (spent,) = await self.shop.row(sql, id=order.placed.order_id)
            if order.is_refunded and order.has_goods:
                assert 0 <= spent <= order.points
            else:
                assert spent == (0 if order.state in {"gone", "back"} else order.points)

    def teardown(self) -> None:
        self.run(self._end())

    async def _end(self) -> None:
        """Let everything that is under way come to its end; then the gateway has exactly what the orders say."""
        await self._pass_time()
        await self._work()
        await sweep(self.world.store, ask_after=AT_ONCE)
        await self._check()
        for order in self.orders:
            at_gateway, refunded_here, held = await self.shop.row(_MONEY, id=order.placed.order_id)
            expected = order.placed.total_minor if order.has_goods else 0
            assert at_gateway == expected - (refunded_here if order.has_goods else 0)
            assert held == 0 or order.state in {"paid", "sent"}


_MONEY = """
    SELECT (SELECT coalesce(sum(c.amount_minor - c.refunded_minor), 0) FROM sandbox_charges c JOIN payments p ON p.id = c.payment_id
            WHERE p.order_id = o.id AND c.state = 'approved'),
           (SELECT coalesce(sum(r.amount_minor), 0) FROM refunds r JOIN payments p ON p.id = r.payment_id
            WHERE r.order_id = o.id AND p.purpose <> 'late'),
           (SELECT coalesce(sum(e.amount_minor), 0) FROM ledger_journals j JOIN ledger_entries e ON e.journal_id = j.id
            JOIN ledger_accounts a ON a.id = e.account_id WHERE j.order_id = o.id AND a.kind = 'held')
    FROM orders o WHERE o.id = :id
"""


def test_kernel_does_what_a_simple_model_says(servers: Servers, market: str, tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        name = runner.run(servers.clone(market))
        opened = open_store(
            "market", Settings(stores=("market",), test_payments=True), dsn=servers.dsn(name, "tradepost_app"),
            cache_url=servers.cache_url, files_url=str(tmp_path / "files"), keys=Keyring.from_secret("test", b"0" * 32),
            preset_folder=MARKET,
        )  # fmt: skip
        store = runner.run(opened.__aenter__())
        try:
            Kernel.world = World(store, runner)
            run_state_machine_as_test(  # to shrink a sequence takes minutes
                Kernel,
                settings=settings(
                    max_examples=15, stateful_step_count=20, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate),
                    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
                ),
            )  # fmt: skip
        finally:
            runner.run(opened.__aexit__(None, None, None))
            runner.run(servers.drop(name))
