"""The tools of the assistant, and of whatever else talks for a person: typed operations over the store's own flows.

A tool runs with the caller's own rights and not one more: a visitor's with those of the session, a token's with its scopes. Whatever
changes something (`is_change`) is called only after the person said yes to what `preview` told them; who calls the tools keeps that
promise, `call_tool` asks for it.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from tradepost.accounts.types import PROFILE_SCOPE, Caller
from tradepost.assistant import results
from tradepost.assistant.types import BadArguments, NoSuchTool, NotConfirmed
from tradepost.flows import assistant_buying as buying
from tradepost.flows import assistant_orders as orders
from tradepost.flows import assistant_shopping as shopping
from tradepost.flows.store import Store

A = TypeVar("A", bound=msgspec.Struct)
R = TypeVar("R", bound=msgspec.Struct)


@dataclass(frozen=True)
class Tool(Generic[A, R]):
    """An operation. `scope`: what an API token must be made for; `needs_person`: a visitor must sign in first."""

    name: str
    description: str
    arguments: type[A]
    result: type[R]
    work: Callable[[Store, Caller, A], Awaitable[R]]
    is_change: bool = False
    scope: str = ""
    needs_person: bool = False

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the arguments, whole in itself."""
        return msgspec.json.schema(self.arguments)

    async def run(self, store: Store, caller: Caller, arguments: A) -> R:
        """Do it as the caller. Raises `SignInFirst`, `NotAllowed`, and what the flow behind it raises."""
        if self.needs_person:
            caller.check_signed_in()
        if self.scope:
            caller.check_token(self.scope)
        return await self.work(store, caller, arguments)

    def read(self, given: dict[str, Any]) -> A:
        """Return arguments from JSON. Raises `BadArguments`."""
        try:
            return msgspec.convert(given, self.arguments, strict=False)
        except msgspec.ValidationError as error:
            raise BadArguments(self.name, str(error)) from None


_BUY = "buy"
_ALL: tuple[Tool[Any, Any], ...] = (
    Tool("search_listings", "Find what the store offers by words, category, brand, price, attributes or place.",
         shopping.FindListings, results.Found, shopping.search_listings),
    Tool("get_listing", "Everything about one listing: price and stock of every option, attributes, reviews.",
         shopping.OneListing, results.ListingFacts, shopping.look_up_listing),
    Tool("compare_listings", "Two to four listings side by side, and in what they differ.",
         shopping.SeveralListings, results.Comparison, shopping.compare_listings),
    Tool("list_categories", "The store's categories, or those below one.",
         shopping.CategoriesOf, results.Categories, shopping.list_categories),
    Tool("similar_listings", "Listings that are most like one.", shopping.OneListing, results.Found, shopping.find_similar),
    Tool("made_to_order_options", "What may be chosen of a thing that is made to order, such as a custom cake.",
         shopping.OneListing, results.MadeToOrder, shopping.made_to_order_options),
    Tool("read_cart", "What is in the person's cart, at today's prices.", buying.Nothing, results.CartFacts, buying.read_cart),
    Tool("add_to_cart", "Put something in the cart.", buying.PutInCart, results.CartFacts, buying.put_in_cart,
         is_change=True, scope=_BUY),
    Tool("change_cart", "Set how many there should be of a line of the cart.", buying.ChangeCartLine, results.CartFacts,
         buying.change_cart, is_change=True, scope=_BUY),
    Tool("remove_from_cart", "Take lines out of the cart.", buying.CartLines, results.CartFacts, buying.remove_from_cart,
         is_change=True, scope=_BUY),
    Tool("use_promo_code", "Put a promo code on the cart, or take it off.", buying.PromoCode, results.CartFacts,
         buying.use_promo_code, is_change=True, scope=_BUY),
    Tool("start_checkout", "What the cart comes to, and the link of the page where the person places the order.",
         buying.Nothing, results.CheckoutStart, buying.start_checkout),
    Tool("list_orders", "The person's own orders, the newest first.", orders.OwnOrders, results.Orders, orders.list_own_orders,
         scope=_BUY),
    Tool("order_status", "One of the person's orders: items, state, delivery, and what may be asked of it.",
         orders.OneOrder, results.OrderFacts, orders.order_status, scope=_BUY),
    Tool("cancel_order", "Call one of the person's orders off, where its process allows it.", orders.CancelOrder,
         results.OrderFacts, orders.cancel_order, is_change=True, scope=_BUY),
    Tool("return_items", "Ask to give items of a delivered order back.", orders.ReturnItems, results.OrderFacts,
         orders.return_items, is_change=True, scope=_BUY),
    Tool("exchange_items", "Ask to exchange items of a delivered order for other options of the same products, all at once.",
         orders.SwapItems, results.OrderFacts, orders.exchange_items, is_change=True, scope=_BUY),
    Tool("change_order_items", "Change items of an order that is not packed for other options of the same products; once, all at once.",
         orders.SwapItems, results.OrderFacts, orders.change_items, is_change=True, scope=_BUY),
    Tool("change_order_address", "Have an order that is not packed go to another address.", orders.OrderAddress,
         results.OrderFacts, orders.change_address, is_change=True, scope=_BUY),
    Tool("change_order_payment", "Have an order that is not packed paid another way; the store settles it.", orders.OrderPayment,
         results.OrderFacts, orders.change_payment, is_change=True, scope=_BUY),
    Tool("change_own_address", "Change the address that the person's orders go to from now on.", orders.OwnAddress,
         results.AddressSaved, orders.change_own_address, is_change=True, scope=PROFILE_SCOPE, needs_person=True),
    Tool("delivery_windows", "When something could be delivered: windows that have room.", buying.WindowsFor,
         results.Windows, buying.delivery_windows),
    Tool("keep_alert", "Keep a search, so that the person hears of what is new.", buying.KeepSearch, results.AlertFacts,
         buying.keep_alert, is_change=True, scope=PROFILE_SCOPE, needs_person=True),
    Tool("list_alerts", "The person's kept searches, and how much is new.", buying.Nothing, results.Alerts,
         buying.list_alerts, scope=PROFILE_SCOPE, needs_person=True),
    Tool("store_facts", "What the store says of its hours, delivery, returns, payment, place and of itself.",
         buying.AboutStore, results.StoreFacts, buying.store_facts),
)  # fmt: skip

TOOLS: dict[str, Tool[Any, Any]] = {tool.name: tool for tool in _ALL}


async def call_tool(
    store: Store, caller: Caller, name: str, given: dict[str, Any], *, is_confirmed: bool = False
) -> msgspec.Struct:
    """Run a tool by its name with arguments as JSON has them.

    Raises `NoSuchTool`, `BadArguments`, `NotConfirmed` for a change that nobody said yes to, and what the tool raises.
    """
    tool = TOOLS.get(name)
    if tool is None:
        raise NoSuchTool(name[:60])
    arguments = tool.read(given)
    if tool.is_change and not is_confirmed:
        raise NotConfirmed
    found: msgspec.Struct = await tool.run(store, caller, arguments)
    return found
