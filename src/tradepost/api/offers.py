"""Offers, for programs."""

from typing import Annotated, Any
from uuid import UUID

from litestar import get, post, put
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.status_codes import HTTP_200_OK, HTTP_204_NO_CONTENT

from tradepost.core.pages import Page
from tradepost.flows import haggle
from tradepost.flows.haggle import Floor
from tradepost.offers.types import NewOffer, Offer, OfferForm
from tradepost.web.typing import GivenCaller, GivenStore

Cursor = Annotated[str | None, QueryParameter(max_length=400, description="`after` of the page before.")]


@get("/offers", tags=["Offers"])
async def offers(store: GivenStore, caller: GivenCaller, after: Cursor = None) -> Page[Offer]:
    """List the offers the caller made or got, the latest first."""
    return await haggle.list_offers(store, caller, after=after)


@get("/offers/{offer_id:uuid}", tags=["Offers"])
async def offer(store: GivenStore, caller: GivenCaller, offer_id: FromPath[UUID]) -> Offer:
    """Return an offer of which the caller is one side."""
    return await haggle.get_offer(store, caller, offer_id)


@post("/listings/{listing_id:uuid}/offers", tags=["Offers"])
async def make(store: GivenStore, caller: GivenCaller, listing_id: FromPath[UUID], data: JSONBody[NewOffer]) -> Offer:
    """Propose a price for a listing of the community feed."""
    return await haggle.make_offer(store, caller, listing_id, data)


@post("/offers/{offer_id:uuid}/accept", tags=["Offers"], status_code=HTTP_200_OK)
async def accept(store: GivenStore, caller: GivenCaller, offer_id: FromPath[UUID]) -> Offer:
    """Take the other side's offer; the item is held for the buyer, who checks out with `offer_id`."""
    return await haggle.accept_offer(store, caller, offer_id)


@post("/offers/{offer_id:uuid}/reject", tags=["Offers"], status_code=HTTP_200_OK)
async def reject(store: GivenStore, caller: GivenCaller, offer_id: FromPath[UUID]) -> Offer:
    """Decline the other side's offer."""
    return await haggle.reject_offer(store, caller, offer_id)


@post("/offers/{offer_id:uuid}/withdraw", tags=["Offers"], status_code=HTTP_200_OK)
async def withdraw(store: GivenStore, caller: GivenCaller, offer_id: FromPath[UUID]) -> Offer:
    """Take one's own offer back."""
    return await haggle.withdraw_offer(store, caller, offer_id)


@post("/offers/{offer_id:uuid}/counter", tags=["Offers"])
async def counter(store: GivenStore, caller: GivenCaller, offer_id: FromPath[UUID], data: JSONBody[OfferForm]) -> Offer:
    """Answer an offer with another price; the answer is a new offer."""
    return await haggle.counter_offer(store, caller, offer_id, data)


@put("/listings/{listing_id:uuid}/floor", tags=["Offers"], status_code=HTTP_204_NO_CONTENT)
async def floor(store: GivenStore, caller: GivenCaller, listing_id: FromPath[UUID], data: JSONBody[Floor]) -> None:
    """Keep the least the seller would take; nobody else ever sees it."""
    await haggle.set_floor(store, caller, listing_id, data)


offer_routes: list[Any] = [offers, offer, make, accept, reject, withdraw, counter, floor]
