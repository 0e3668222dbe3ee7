"""The retail tasks of tau2-bench (`tau_retail/open`): the assistant's tools are driven through each task's expected actions.

Each task begins with the same store: catalogue, customers and 1,000 orders. It is done when every order and customer it touches ends as the
reference says. Every change is first tried by another customer, who must be refused. What the reference keeps beside orders (the balances
of gift cards) the store does not have: how a difference is settled is compared, by its name and amount, balances are not.
"""

import json
from collections.abc import Awaitable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
from sqlalchemy import text

from benchmarks.assistant_talks import caller_of, opened
from benchmarks.ground import Ground
from tradepost.accounts.types import Caller
from tradepost.core.crypto import Keyring
from tradepost.core.database import SYSTEM, Database
from tradepost.core.errors import DomainError
from tradepost.core.postal import Address
from tradepost.delivery.queries import default_address
from tradepost.flows.assistant_tools import call_tool
from tradepost.flows.preset import PRESETS
from tradepost.flows.sample_orders import SampleAddress, as_address, load_orders
from tradepost.flows.store import Store
from tradepost.orders.types import NoSuchOrder

CODE, TEMPLATE = "shop-assistant", "bench_retail"
_CHANGES = {
    "cancel_pending_order", "exchange_delivered_order_items", "modify_pending_order_items", "return_delivered_order_items",
    "modify_pending_order_address", "modify_pending_order_payment", "modify_user_address",
}  # fmt: skip
_STATES = {"paid": "pending", "items_modified": "pending (item modified)", "exchange_requested": "exchange requested"}
_LISTING = text("SELECT listing_id FROM variants WHERE sku = :sku")
_ORDER = text("""
    SELECT o.state, (SELECT jsonb_agg(jsonb_build_array(l.line_no, l.sku, l.unit_price_minor)) FROM order_lines l WHERE l.order_id = o.id) AS lines,
           (SELECT jsonb_agg(jsonb_build_array(e.kind, e.to_state, e.reason, e.data) ORDER BY e.seq) FROM order_events e WHERE e.order_id = o.id) AS events,
           (SELECT jsonb_agg(jsonb_build_array(r.lines, r.comment)) FROM returns r WHERE r.order_id = o.id AND r.state = 'requested') AS back,
           o.shipping_address_enc AS address
    FROM orders o WHERE o.number = :number
""")


class Reference:
    """What the reference says becomes of orders and customers, on plain JSON."""

    def __init__(self, db: dict[str, Any]) -> None:
        self.orders, self.users = db["orders"], db["users"]
        self.items = {i: v for p in db["products"].values() for i, v in p["variants"].items()}
        self.products = {code: next(iter(p["variants"])) for code, p in db["products"].items()}
        self.touched: dict[str, dict[str, Any]] = {}
        self.moved: dict[str, Any] = {}

    def apply(self, name: str, given: Mapping[str, Any]) -> None:
        """Do what an action of the reference does."""
        if name == "modify_user_address":
            self.moved[given["user_id"]] = _postal("", given)
            return
        known = self.orders[given["order_id"]]
        order = self.touched.setdefault(
            given["order_id"],
            {"state": known["status"], "items": [(i["item_id"], _cents(i["price"])) for i in known["items"]],
             "address": _postal("", known["address"]), "said": {}},
        )  # fmt: skip
        getattr(self, f"_{name.split('_', maxsplit=1)[0]}_{name.rsplit('_', maxsplit=1)[-1]}")(order, given)

    def _cancel_order(self, order: dict[str, Any], given: Mapping[str, Any]) -> None:
        order["state"], order["said"]["reason"] = "cancelled", given["reason"]

    def _modify_address(self, order: dict[str, Any], given: Mapping[str, Any]) -> None:
        order["address"] = _postal("", given)

    def _modify_payment(self, order: dict[str, Any], given: Mapping[str, Any]) -> None:
        order["said"]["payment"] = given["payment_method_id"]

    def _return_items(self, order: dict[str, Any], given: Mapping[str, Any]) -> None:
        order["state"] = "return requested"
        order["said"]["return"] = [sorted(given["item_ids"]), given["payment_method_id"]]

    def _exchange_items(self, order: dict[str, Any], given: Mapping[str, Any]) -> None:
        order["state"] = "exchange requested"
        order["said"]["swap"] = self._swap(order, given)

    def _modify_items(self, order: dict[str, Any], given: Mapping[str, Any]) -> None:
        order["state"] = "pending (item modified)"
        order["said"]["swap"] = self._swap(order, given)
        for old, new in zip(given["item_ids"], given["new_item_ids"], strict=True):
            place = next(n for n, (sku, _) in enumerate(order["items"]) if sku == old)
            order["items"][place] = (new, _cents(self.items[new]["price"]))

    def _swap(self, order: dict[str, Any], given: Mapping[str, Any]) -> list[Any]:
        paid, difference = dict(order["items"]), 0
        for old, new in zip(given["item_ids"], given["new_item_ids"], strict=True):
            difference += _cents(self.items[new]["price"]) - paid[old]
        return [sorted(given["item_ids"]), sorted(given["new_item_ids"]), given["payment_method_id"], difference]


def _cents(price: float) -> int:
    return int((Decimal(str(price)) * 100).to_integral_value())


def _postal(name: str, given: Mapping[str, Any]) -> Address:
    fields = ("address1", "address2", "city", "country", "state", "zip")
    return as_address(name, SampleAddress(**{f: given[f] for f in fields}))


class Driver:
    """Carries out a task's actions by the assistant's tools, as the customer whom they are about."""

    def __init__(self, store: Store, reference: Reference) -> None:
        self.store, self.reference = store, reference
        self.refused = 0

    async def run(self, name: str, given: Mapping[str, Any]) -> None:
        """Do one action; a change is tried by a stranger first."""
        if name in {"get_order_details", "get_product_details", "get_item_details"} or name in _CHANGES:
            user = given.get("user_id") or self.reference.orders.get(given.get("order_id", ""), {}).get("user_id", "")
            await getattr(self, "_change" if name in _CHANGES else "_look")(name, given, user)

    async def _look(self, name: str, given: Mapping[str, Any], user: str) -> None:
        if name == "get_order_details":
            caller = await caller_of(self.store, user)
            work = call_tool(self.store, caller, "order_status", {"number": given["order_id"]})
            if user:
                await work
            else:  # the reference finds no such order either
                assert isinstance(await _refusal(work), NoSuchOrder)
            return
        sku = given.get("item_id") or self.reference.products.get(given["product_id"])
        if sku is None:  # nor such a product
            return
        async with self.store.db.transaction(actor=SYSTEM) as tx:
            listing = await tx.value(_LISTING, sku=sku)
        await call_tool(self.store, Caller(), "get_listing", {"listing_id": str(listing)})

    async def _change(self, name: str, given: Mapping[str, Any], user: str) -> None:
        caller = await caller_of(self.store, user)
        tool, arguments = await self._call(name, given, caller)
        if tool != "change_own_address":
            stranger = await caller_of(
                self.store, "noah_brown_6181" if user != "noah_brown_6181" else "ivan_santos_6635"
            )
            found = await _refusal(call_tool(self.store, stranger, tool, arguments, is_confirmed=True))
            assert isinstance(found, NoSuchOrder), f"{tool} let a stranger in"
            self.refused += 1
        await call_tool(self.store, caller, tool, arguments, is_confirmed=True)

    async def _call(self, name: str, given: Mapping[str, Any], caller: Caller) -> tuple[str, dict[str, Any]]:
        if name == "modify_user_address":
            return "change_own_address", {"address": msgspec.to_builtins(_postal(caller.display_name, given))}
        number = {"number": given["order_id"]}
        if name == "cancel_pending_order":
            return "cancel_order", {**number, "reason": given["reason"]}
        if name == "modify_pending_order_address":
            return "change_order_address", {
                **number,
                "address": msgspec.to_builtins(_postal(caller.display_name, given)),
            }
        if name == "modify_pending_order_payment":
            return "change_order_payment", {**number, "settle_by": given["payment_method_id"]}
        order: Any = await call_tool(self.store, caller, "order_status", number)
        lines = _lines_of(order, given["item_ids"])
        if name == "return_delivered_order_items":
            return "return_items", {
                **number,
                "line_nos": [i.line_no for i in lines],
                "refund_to": given["payment_method_id"],
            }
        swaps = []
        for line, new in zip(lines, given["new_item_ids"], strict=True):
            facts: Any = await call_tool(self.store, caller, "get_listing", {"listing_id": str(line.listing_id)})
            option = next(o for o in facts.options if o.sku == new)
            swaps.append({"line_no": line.line_no, "variant_id": str(option.variant_id)})
        tool = "exchange_items" if name.startswith("exchange") else "change_order_items"
        return tool, {**number, "items": swaps, "settle_by": given["payment_method_id"]}


async def _refusal(work: Awaitable[Any]) -> DomainError | None:
    try:
        await work
    except DomainError as error:
        return error
    return None


def _lines_of(order: Any, skus: list[str]) -> list[Any]:
    left = list(order.items)
    found = []
    for sku in skus:
        line = next(i for i in left if i.sku == sku)
        left.remove(line)
        found.append(line)
    return found


async def _actual(store: Store, number: str) -> dict[str, Any]:
    async with store.db.transaction(actor=SYSTEM) as tx:
        row = await tx.one(_ORDER, number=number.lstrip("#"))
    said: dict[str, Any] = {}
    prices = {no: (sku, price) for no, sku, price in row["lines"]}
    state = _STATES.get(row["state"], row["state"])
    for kind, to_state, reason, data in row["events"]:
        if kind in {"items_changed", "exchange_asked"}:
            lines = data["lines"]
            said["swap"] = [
                sorted(x["from_sku"] for x in lines),
                sorted(x["to_sku"] for x in lines),
                data["settle_by"],
                data["difference_minor"],
            ]
            if kind == "items_changed":
                prices |= {x["line_no"]: (x["to_sku"], x["price_minor"]) for x in lines}
        elif kind == "payment_changed":
            said["payment"] = data["settle_by"]
        elif to_state == "cancelled" and kind == "moved":
            said["reason"] = reason
    for lines, comment in row["back"] or ():
        state = "return requested"
        said["return"] = [sorted(prices[x["line_no"]][0] for x in lines), comment.removeprefix("Refund to: ")]
    address = msgspec.json.decode(store.keys.decrypt(row["address"], "order-address"), type=Address)
    return {
        "state": state,
        "items": sorted(prices.values()),
        "address": msgspec.structs.replace(address, name=""),
        "said": said,
    }


async def _prepare(on: Ground) -> None:
    base = await on.store(CODE, 0)
    server = await asyncpg.connect(on.dsn("postgres", "postgres"))
    await server.execute(f'DROP DATABASE IF EXISTS "{TEMPLATE}" WITH (FORCE)')
    await server.execute(f'CREATE DATABASE "{TEMPLATE}" TEMPLATE "{base}"')
    await server.close()
    owner = await Database.open(on.dsn(TEMPLATE, "postgres"), size=1)
    async with owner.transaction(actor=SYSTEM) as tx:
        await tx.run(text("DELETE FROM addresses"))  # conversations held in this store may have left one
        await load_orders(tx, PRESETS / CODE / "sample", Keyring.from_secret("bench", b"0" * 32), "USD")
    await owner.close()


async def measure(on: Ground, data: Path) -> tuple[int, int, int]:
    """Return how many tasks are done, how many there are, and how many wrong requests were refused."""
    tasks = json.loads((data / "tau_retail" / "open" / "tasks.json").read_text("utf-8"))
    catalogue = (data / "tau_retail" / "catalog" / "db.json").read_bytes()
    await _prepare(on)
    server = await asyncpg.connect(on.dsn("postgres", "postgres"))
    done = refused = 0
    for task in tasks:
        name = f"{TEMPLATE}_task"
        await server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}"')
        async with opened(on, CODE, name) as store:
            problem, strangers = await _task(store, task, Reference(json.loads(catalogue)))
        done, refused = done + (not problem), refused + strangers
        if problem:
            print(f"  task {task['id']}: {problem}", flush=True)
    await server.close()
    return done, len(tasks), refused


async def _task(store: Store, task: dict[str, Any], reference: Reference) -> tuple[str, int]:
    driver = Driver(store, reference)
    for action in task["evaluation_criteria"]["actions"]:
        try:
            await driver.run(action["name"], action["arguments"])
        except (DomainError, AssertionError, StopIteration) as error:
            return f"{action['name']}: {error!r}", driver.refused
        if action["name"] in _CHANGES:
            reference.apply(action["name"], action["arguments"])
    for number, wanted in reference.touched.items():
        found = await _actual(store, number)
        if found != {**wanted, "items": sorted(wanted["items"])}:
            return f"{number} is {found}, not {wanted}", driver.refused
    for user, address in reference.moved.items():
        caller = await caller_of(store, user)
        async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
            saved = await default_address(tx, store.keys, caller)
        if saved is None or msgspec.structs.replace(saved.address, name="") != address:
            return f"{user} lives at {saved}", driver.refused
    return "", driver.refused
