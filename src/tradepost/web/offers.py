"""Offers as forms: made on a listing's page, answered in the conversation."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

from litestar import post
from litestar.params import FromPath
from litestar.response import Redirect

from tradepost.accounts.types import Caller, SignInFirst
from tradepost.core.errors import DomainError, Invalid
from tradepost.core.money import to_minor
from tradepost.flows import haggle
from tradepost.flows.haggle import Floor
from tradepost.flows.store import Store
from tradepost.offers.types import NewOffer, Offer, OfferForm
from tradepost.web.forms import Form, first_problem, read_form
from tradepost.web.pages import go
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

_LONGEST = 1000
_SAID = {"accept": "Accepted. It is kept for the buyer for a day.", "reject": "Declined.", "withdraw": "Withdrawn.",
         "counter": "Your price is on its way."}  # fmt: skip


def _amount(form: Form, currency: str) -> int:
    return to_minor(form.get("amount").replace(",", "."), currency, "amount")


@post("/listings/{listing_id:uuid}/offers", include_in_schema=False)
async def make(request: HttpRequest, store: GivenStore, caller: GivenCaller, listing_id: FromPath[UUID]) -> Redirect:
    """Make an offer, and go on in the conversation with its seller."""
    form = await read_form(request)
    try:
        wanted = form.into(NewOffer, amount_minor=_amount(form, store.currency), message=form.get("message")[:_LONGEST],
                           variant_id=_uuid(form.get("variant_id")))  # fmt: skip
        made = await haggle.make_offer(store, caller, listing_id, wanted)
    except SignInFirst:
        return go(request, f"/sign-in?next={form.get('next')}", say="Please sign in first.", tone="info")
    except DomainError as error:
        return go(request, form.get("next") or "/", say=first_problem(error), tone="bad")
    return go(request, f"/messages/{made.conversation_id}#last", say="Your offer is with the seller.")


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        raise Invalid from None


Answer = Callable[[Store, Caller, UUID], Awaitable[Offer]]


@post("/offers/{offer_id:uuid}/{answer:str}", include_in_schema=False)
async def answer_offer(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, offer_id: FromPath[UUID], answer: FromPath[str]
) -> Redirect:
    """Accept, reject, withdraw or counter an offer, and go back to its conversation."""
    form = await read_form(request)
    known = await haggle.get_offer(store, caller, offer_id)
    back = f"/messages/{known.conversation_id}#last" if known.conversation_id else "/orders"
    try:
        await _answered(store, caller, offer_id, answer, form)
    except DomainError as error:
        return go(request, back, say=first_problem(error), tone="bad")
    return go(request, back, say=_SAID.get(answer, "Done."))


async def _answered(store: Store, caller: Caller, offer_id: UUID, answer: str, form: Form) -> None:
    plain: dict[str, Answer] = {
        "accept": haggle.accept_offer, "reject": haggle.reject_offer, "withdraw": haggle.withdraw_offer
    }  # fmt: skip
    if answer in plain:
        await plain[answer](store, caller, offer_id)
    elif answer == "counter":
        wanted = form.into(OfferForm, amount_minor=_amount(form, store.currency), message="")
        await haggle.counter_offer(store, caller, offer_id, wanted)
    else:
        raise Invalid


@post("/listings/{listing_id:uuid}/floor", include_in_schema=False)
async def floor(request: HttpRequest, store: GivenStore, caller: GivenCaller, listing_id: FromPath[UUID]) -> Redirect:
    """Keep the least a seller would take for a listing of their own, or forget it."""
    form = await read_form(request)
    try:
        least = Floor(_amount(form, store.currency) if form.get("amount") else None)
        if least.floor_minor is not None and least.floor_minor < 1:
            least = Floor(None)
        await haggle.set_floor(store, caller, listing_id, least)
    except DomainError as error:
        return go(request, form.get("next") or "/", say=first_problem(error), tone="bad")
    return go(request, form.get("next") or "/", say="Kept. Nobody else sees it.")


offer_pages: list[Any] = [make, answer_offer, floor]
