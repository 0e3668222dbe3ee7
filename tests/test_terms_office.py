"""Taxes and delivery in the back office: what is changed counts from the next checkout on, and what makes no sense changes nothing."""

import pytest

from tests.shop import Shop
from tests.test_after_sale import browser_of
from tests.visitor import text_of
from tradepost.accounts.types import NotAllowed
from tradepost.core.errors import FieldErrors
from tradepost.flows.manage_terms import TaxForm, WayForm, get_terms, put_tax, put_way, switch_way, try_terms
from tradepost.orders.terms import CodeTaken, NoSuchTerm

TERMS = "/office/settings/terms"


async def test_a_rate_takes_the_place_of_the_one_before(shop: Shop) -> None:
    admin = await shop.make.person("admin")
    await put_tax(shop.store, admin, TaxForm(name="Tool tax", percent="7,5", category="tools"))
    await put_tax(shop.store, admin, TaxForm(name="Tool tax", percent="20", category="tools"))
    tools = [t for t in (await get_terms(shop.store, admin)).taxes if t.category == "tools"]
    assert [(t.name, t.percent, t.is_active) for t in tools] == [("Tool tax", 20, True)]
    tried = await try_terms(shop.store, admin, amount="120", category="tools", country="")
    assert (tried.rule.name if tried.rule else "", tried.tax_minor) == ("Tool tax", 2000 if tried.is_included else 2400)
    with pytest.raises(NotAllowed):
        await put_tax(shop.store, await shop.make.person("staff"), TaxForm(name="x", percent="1"))


@pytest.mark.parametrize(("form", "fields"), [
    (TaxForm(name="", percent="5"), {"name"}), (TaxForm(name="x", percent="100"), {"percent"}), (TaxForm(name="x", percent="NaN"), {"percent"}),
    (TaxForm(name="x", percent="5", category="nowhere", country="Zim"), {"category", "country"}),
    (TaxForm(name="x", percent="1.23456"), {"percent"}), (TaxForm(name="x", percent="5", region="Harare"), {"country"}),
])  # fmt: skip
async def test_a_rate_that_makes_no_sense_changes_nothing(shop: Shop, form: TaxForm, fields: set[str]) -> None:
    admin = await shop.make.person("admin")
    before = await get_terms(shop.store, admin)
    with pytest.raises(FieldErrors) as refused:
        await put_tax(shop.store, admin, form)
    assert refused.value.errors.keys() == fields
    assert await get_terms(shop.store, admin) == before


async def test_a_way_of_delivery_is_offered_changed_and_taken_off(shop: Shop) -> None:
    admin = await shop.make.person("admin")
    code = await put_way(
        shop.store, admin, None, WayForm(name="By bicycle", price="3", free_from="40", countries="us, ca")
    )
    assert code == "by-bicycle"
    with pytest.raises(CodeTaken):
        await put_way(shop.store, admin, None, WayForm(name="By bicycle", price="3"))
    await put_way(shop.store, admin, code, WayForm(name="By bicycle", price="4.50", countries="us"))

    async def tried(country: str) -> dict[str, tuple[int, bool]]:
        found = await try_terms(shop.store, admin, amount="10", category="", country=country)
        return {way.name: (way.price_minor, way.is_offered) for way in found.ways}

    assert (await tried("US"))["By bicycle"] == (450, True)
    assert (await tried("FR"))["By bicycle"] == (450, False)
    await switch_way(shop.store, admin, code, is_active=False)
    assert "By bicycle" not in await tried("US")
    with pytest.raises(NoSuchTerm):
        await put_way(shop.store, admin, "by-balloon", WayForm(name="By balloon", price="3"))
    for wrong in (
        {"price": "-1"},
        {"price": "x"},
        {"free_from": "0"},
        {"countries": "France"},
        {"position": "first"},
        {"name": " "},
    ):
        with pytest.raises(FieldErrors):
            await put_way(shop.store, admin, code, WayForm(**{"name": "By bicycle", "price": "1", **wrong}))  # type: ignore[arg-type]


async def test_taxes_and_delivery_are_changed_on_their_page(shop: Shop) -> None:
    desk = await browser_of(shop, await shop.make.person("admin"))
    shown = await desk.get(TERMS)
    assert int(shown.headers["x-query-count"]) <= 5
    answer = await desk.post(f"{TERMS}/ways", {"action": "put", "name": "By bicycle", "price": "3"})
    assert "By bicycle" in answer.text
    refused = await desk.post(
        f"{TERMS}/ways", {"action": "put", "code": "by-bicycle", "name": "By bicycle", "price": "three"}
    )
    assert (refused.status_code, "An amount of 0 or more." in refused.text, 'value="three"' in refused.text) == (
        422,
        True,
        True,
    )
    await desk.post(f"{TERMS}/ways", {"action": "end", "code": "by-bicycle"})
    assert "Not offered" in (await desk.get(TERMS)).text
    await desk.post(f"{TERMS}/taxes", {"action": "put", "name": "City tax", "percent": "2", "category": "tools"})
    assert "City tax 2 %" in text_of((await desk.get(f"{TERMS}?amount=100&category=tools")).text)
    assert (await desk.get(f"{TERMS}?amount=much")).status_code == 422
    assert (await desk.post(f"{TERMS}/taxes", {"action": "end", "tax_id": "x"})).status_code == 404
    assert (await (await browser_of(shop, shop.buyer)).get(TERMS)).status_code == 403
