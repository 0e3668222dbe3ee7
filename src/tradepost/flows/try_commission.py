"""Which commission rule would fire for a sale, and why not the others; nothing is sold."""

from decimal import Decimal
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta

from tradepost.accounts.types import Caller, NoSuchPerson
from tradepost.catalog.listing_pages import category_tree
from tradepost.catalog.types import NoSuchCategory
from tradepost.core.database import Actor
from tradepost.core.money import to_minor
from tradepost.flows.store import Store
from tradepost.payments.queries import COMMISSION_RULES, SELLER_BY_NAME
from tradepost.payments.rules import CommissionRule, RuleVerdict, commission_on, weigh_rules


class Sale(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sale to try: `seller` is a username, `category` a slug, `price` in major units of `currency` (the store's own)."""

    price: Annotated[str, Meta(max_length=40)]
    seller: Annotated[str, Meta(max_length=64)] = ""
    category: Annotated[str, Meta(max_length=120)] = ""
    kind: Annotated[str, Meta(max_length=40)] = "product"
    currency: Annotated[str, Meta(max_length=3)] = ""


class CommissionTrial(msgspec.Struct, frozen=True, kw_only=True):
    """What the store would keep, by which rule, and what was found of every rule there is."""

    price_minor: int
    commission_minor: int
    seller_minor: int
    currency: str
    category_path: str
    rule: CommissionRule | None
    verdicts: tuple[RuleVerdict, ...]

    @property
    def percent_of_price(self) -> Decimal:
        """The share of the price that the store would keep, in percent with two decimals."""
        if not self.price_minor:
            return Decimal(0)
        return (Decimal(self.commission_minor) * 100 / self.price_minor).quantize(Decimal("0.01"))


async def try_commission(store: Store, caller: Caller, sale: Sale) -> CommissionTrial:
    """Say which rule a sale would fall under. Raises `NotAllowed` without see_reports, `NoSuchPerson`, `NoSuchCategory`, `NotAnAmount`."""
    caller.check_can("see_reports")
    currency = sale.currency.upper() or store.currency
    price = to_minor(sale.price.replace(",", "."), currency, "price")
    tree = await category_tree(store.db)
    category = next((c for c in tree.by_id.values() if c.slug == sale.category), None)
    if sale.category and category is None:
        raise NoSuchCategory(sale.category)
    async with store.db.transaction(actor=Actor("staff", caller.user_id), read_only=True) as tx:
        seller = await tx.value(SELLER_BY_NAME, username=sale.seller.strip()) if sale.seller.strip() else UUID(int=0)
        if seller is None:
            raise NoSuchPerson
        rules = await tx.all(COMMISSION_RULES, into=CommissionRule)
    path = category.path if category else ""
    verdicts = weigh_rules(rules, seller, path, sale.kind, currency)
    rule = next((v.rule for v in verdicts if v.fires), None)
    kept = commission_on(price, rule)
    return CommissionTrial(
        price_minor=price, commission_minor=kept, seller_minor=price - kept, currency=currency, category_path=path, rule=rule,
        verdicts=tuple(verdicts),
    )  # fmt: skip
