"""One's own address book."""

from typing import Any

from litestar import Response, get, post
from litestar.params import FromQuery

from tradepost.accounts.types import Caller
from tradepost.core.errors import DomainError
from tradepost.delivery.queries import access_address, list_addresses
from tradepost.delivery.service import add_address, change_address, make_default, remove_address
from tradepost.delivery.types import AddressDraft, NoSuchAddress
from tradepost.flows.store import Store
from tradepost.web.buying import country_choices
from tradepost.web.context import as_uuid
from tradepost.web.forms import problems_of, read_form
from tradepost.web.pages import go, page
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

HERE = "/me/addresses"


@get("/me/addresses", include_in_schema=False)
async def address_book(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, edit: FromQuery[str] = ""
) -> Response[str]:
    """Show where the person has things sent, and a form for one address."""
    caller.check_signed_in()
    form: dict[str, str] = {"country": store.settings.store.country}
    if edit:
        chosen = as_uuid(edit)
        if chosen is None:
            raise NoSuchAddress
        async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
            known = await access_address(tx, store.keys, caller, chosen)
        form = {n: getattr(known.address, n) for n in known.address.__struct_fields__}
        form |= {"id": str(known.id), "label": known.label, "is_default": "1" if known.is_default else ""}
    return await _book(request, store, caller, form, {})


async def _book(
    request: HttpRequest, store: Store, caller: Caller, form: dict[str, str], errors: dict[str, str]
) -> Response[str]:
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        saved = await list_addresses(tx, store.keys, caller)
    return await page(
        request, store, caller, "addresses", status=422 if errors else 200, addresses=saved, form=form, errors=errors,
        countries=country_choices(store.settings.store.locale),
    )  # fmt: skip


@post("/me/addresses", include_in_schema=False)
async def save_address(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Write an address into the book, or rewrite the one whose id comes along."""
    caller.check_signed_in()
    form = await read_form(request)
    chosen = as_uuid(form.get("id"))
    if form.get("id") and chosen is None:
        raise NoSuchAddress
    try:
        draft = form.into(AddressDraft, is_default=bool(form.get("is_default")))
        async with store.db.transaction(actor=caller.actor) as tx:
            if chosen is None:
                await add_address(tx, store.keys, caller, draft)
            else:
                await change_address(tx, store.keys, caller, chosen, draft)
    except DomainError as error:
        if error.kind not in {"invalid", "conflict"}:
            raise
        return await _book(request, store, caller, form.texts, problems_of(error))
    return go(request, HERE, say="Saved.")


@post("/me/addresses/default", include_in_schema=False)
async def choose_address(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Have things sent to this address unless the person says otherwise."""
    form = await read_form(request)
    chosen = as_uuid(form.get("id"))
    if chosen is None:
        raise NoSuchAddress
    async with store.db.transaction(actor=caller.actor) as tx:
        await make_default(tx, store.keys, caller, chosen)
    return go(request, HERE, say="Orders go there from now on, unless you say otherwise.")


@post("/me/addresses/remove", include_in_schema=False)
async def drop_address(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Take an address out of the book."""
    form = await read_form(request)
    chosen = as_uuid(form.get("id"))
    if chosen is None:
        raise NoSuchAddress
    async with store.db.transaction(actor=caller.actor) as tx:
        await remove_address(tx, store.keys, caller, chosen)
    return go(request, HERE, say="That address is gone from your book.", tone="info")


address_routes = [address_book, save_address, choose_address, drop_address]
