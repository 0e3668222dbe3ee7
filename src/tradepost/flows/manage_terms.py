"""Taxes and delivery in the back office: seen, changed, tried out on an order that nobody places."""

import re
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

from tradepost.accounts.types import Caller
from tradepost.catalog.listing_pages import category_tree
from tradepost.core.errors import FieldErrors
from tradepost.core.fields import broken_limits, check_fields
from tradepost.core.money import NotAnAmount, to_minor
from tradepost.core.text import is_plain, one_line, slugify
from tradepost.flows.orders import reading
from tradepost.flows.store import Store
from tradepost.orders import queries, terms
from tradepost.orders.rules import ShippingOption, TaxRule, delivers_to, shipping_price, tax_on, tax_rule
from tradepost.orders.terms import OfficeTax, OfficeWay, TaxDraft, WayDraft

PERMISSION: Final = "manage_store"
_COUNTRY = re.compile(r"[A-Z]{2}")


class TaxForm(msgspec.Struct, frozen=True, kw_only=True):
    """A rate as somebody types it: `category` is a slug, `country` two letters."""

    name: str = ""
    percent: str = ""
    category: str = ""
    country: str = ""
    region: str = ""


class WayForm(msgspec.Struct, frozen=True, kw_only=True):
    """A way of delivery as somebody types it: amounts in the store's currency, countries as two letters each."""

    name: str = ""
    description: str = ""
    price: str = ""
    free_from: str = ""
    countries: str = ""
    is_pickup: bool = False
    by_distance: bool = False
    position: str = ""


class Terms(msgspec.Struct, frozen=True):
    """All rates and ways, ended ones too."""

    taxes: tuple[OfficeTax, ...]
    ways: tuple[OfficeWay, ...]


class TriedWay(msgspec.Struct, frozen=True):
    """What a way of delivery would cost, or that its zones say so; `is_offered` False: not to that country."""

    name: str
    price_minor: int
    is_offered: bool
    by_distance: bool


class TermsTrial(msgspec.Struct, frozen=True, kw_only=True):
    """What an order of one thing would carry."""

    amount_minor: int
    rule: TaxRule | None
    tax_minor: int
    is_included: bool
    ways: tuple[TriedWay, ...]


async def get_terms(store: Store, caller: Caller) -> Terms:
    """Return the rates and the ways of delivery. Raises `NotAllowed`."""
    caller.check_can(PERMISSION)
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        return Terms(tuple(await terms.list_taxes(tx)), tuple(await terms.list_ways(tx)))


async def put_tax(store: Store, caller: Caller, form: TaxForm) -> None:
    """Put a rate in force, in place of the one for the same goods and places. Raises `NotAllowed`, `FieldErrors`."""
    caller.check_can(PERMISSION)
    tree = await category_tree(store.db)
    category, percent = tree.by_slug.get(form.category), _percent(form.percent)
    draft = TaxDraft(
        name=one_line(form.name), percent=percent or Decimal(0), category_id=category.id if category else None,
        country=form.country.strip().upper() or None, region=one_line(form.region)[:100] or None,
    )  # fmt: skip
    check_fields({
        **broken_limits(draft), "percent": None if percent is not None else "0 to less than 100 percent, with at most four decimals.",
        "category": None if category or not form.category else "Choose one of the categories.",
        "country": None if draft.country is None or _COUNTRY.fullmatch(draft.country) else "Two letters, such as ZW.",
        "region": None if is_plain(form.region) else "There is a character in it that cannot be shown.",
    })  # fmt: skip
    async with store.db.transaction(actor=caller.actor) as tx:
        await terms.put_tax(tx, draft)


async def switch_tax(store: Store, caller: Caller, tax_id: UUID, *, is_active: bool) -> None:
    """End a rate, or put it in force again. Raises `NotAllowed`, `NoSuchTerm`."""
    caller.check_can(PERMISSION)
    async with store.db.transaction(actor=caller.actor) as tx:
        await terms.switch_tax(tx, tax_id, is_active=is_active)


async def put_way(store: Store, caller: Caller, code: str | None, form: WayForm) -> str:
    """Change a way of delivery, or offer another one (no `code`); return its short name.

    Raises `NotAllowed`, `FieldErrors`, `NoSuchTerm`, `CodeTaken`.
    """
    caller.check_can(PERMISSION)
    draft = _way(store, form)
    async with store.db.transaction(actor=caller.actor) as tx:
        if code is not None:
            await terms.change_way(tx, code, draft, store.currency)
            return code
        fresh = slugify(draft.name)[:60] or "delivery"
        await terms.add_way(tx, fresh, draft, store.currency)
        return fresh


async def switch_way(store: Store, caller: Caller, code: str, *, is_active: bool) -> None:
    """Take a way of delivery off the checkout, or put it back. Raises `NotAllowed`, `NoSuchTerm`."""
    caller.check_can(PERMISSION)
    async with store.db.transaction(actor=caller.actor) as tx:
        await terms.switch_way(tx, code, is_active=is_active)


async def try_terms(store: Store, caller: Caller, *, amount: str, category: str, country: str) -> TermsTrial:
    """Say what an order of one thing would carry in tax and cost to deliver. Raises `NotAllowed`, `NotAnAmount`."""
    caller.check_can(PERMISSION)
    minor = to_minor(amount.replace(",", "."), store.currency, "amount")
    tree = await category_tree(store.db)
    found = tree.by_slug.get(category)
    place = country.strip().upper() or store.settings.store.country
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        rules = await tx.all(queries.TAX_RULES, into=TaxRule)
        options = await tx.all(queries.SHIPPING_OPTIONS, into=ShippingOption)
    inclusive = store.settings.tax.inclusive
    rule = tax_rule(rules, found.path if found else "", place, "")
    extra, included = tax_on(minor, rule, inclusive=inclusive)
    ways = tuple(TriedWay(o.name, shipping_price(o, minor), delivers_to(o, place), o.by_distance) for o in options)
    return TermsTrial(
        amount_minor=minor, rule=rule, tax_minor=included if inclusive else extra, is_included=inclusive, ways=ways
    )


def _percent(given: str) -> Decimal | None:
    try:
        found = Decimal(given.strip().replace(",", "."))
    except ArithmeticError:
        return None
    return found if found.is_finite() and 0 <= found < 100 and found == round(found, 4) else None


def _way(store: Store, form: WayForm) -> WayDraft:
    problems: dict[str, str] = {}
    countries = tuple(dict.fromkeys(part for part in re.split(r"[\s,;]+", form.countries.upper()) if part))
    if not all(_COUNTRY.fullmatch(country) for country in countries) or len(countries) > 250:
        problems["countries"] = "Two letters each, such as ZW, ZA; none for everywhere."
    price = _amount(store, form.price, "price", problems)
    free_from = _amount(store, form.free_from, "free_from", problems) if form.free_from.strip() else None
    if free_from == 0:
        problems["free_from"] = "More than 0; nothing where it is never free."
    position = form.position.strip() or "0"
    if not (position.isascii() and position.isdecimal() and len(position) <= 4):
        problems["position"] = "A whole number of 0 or more."
    values: dict[str, Any] = {"name": one_line(form.name), "description": one_line(form.description)}
    draft = WayDraft(
        **values, price_minor=price or 0, free_from_minor=free_from, countries=countries, is_pickup=form.is_pickup,
        by_distance=form.by_distance, position=0 if "position" in problems else int(position),
    )  # fmt: skip
    check_fields({**broken_limits(draft), **problems})
    return draft


def _amount(store: Store, given: str, field: str, problems: dict[str, str]) -> int | None:
    try:
        found = to_minor(given.strip().replace(",", "."), store.currency)
    except (NotAnAmount, FieldErrors):
        problems[field] = "An amount of 0 or more."
        return None
    if not 0 <= found < 10**12:
        problems[field] = "An amount of 0 or more."
    return found
