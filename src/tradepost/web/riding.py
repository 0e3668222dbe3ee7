"""A rider's day on a phone: one hand, a weak network. What is sent late carries the key it was given with the page."""

from datetime import date
from typing import Any
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath, FromQuery

from tradepost.accounts.types import SignInFirst
from tradepost.core.errors import DomainError
from tradepost.core.ids import uuid7
from tradepost.delivery.rounds import REASONS
from tradepost.flows.hand_over import FailedForm, HandOverForm, fail_hand_over, hand_over, set_out
from tradepost.flows.rounds import get_rider_day
from tradepost.web.forms import Form, first_problem, read_form
from tradepost.web.pages import go, page
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

RIDES = "/rides"
_STATUS = {"not_found": 404, "refused": 403, "too_many": 429, "conflict": 409}


@get(RIDES, include_in_schema=False)
async def rides_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, day: FromQuery[str] = ""
) -> Response[str]:
    """Show a rider what to bring today, in the order of the round."""
    try:
        wanted = date.fromisoformat(day[:10]) if day else None
    except ValueError:
        wanted = None
    found = await get_rider_day(store, caller, wanted)
    return await page(request, store, caller, "rides", ride=found, reasons=REASONS, new_key=uuid7)


@post(RIDES + "/{order_id:uuid}/{seller_id:uuid}/{action:str}", include_in_schema=False)
async def ride_on(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, order_id: FromPath[UUID], seller_id: FromPath[UUID],
    action: FromPath[str],
) -> Response[Any]:  # fmt: skip
    """Set out, hand over, or say why not. A script that sends moves late asks for plain words instead of a page."""
    form = await read_form(request)
    is_late = request.headers.get("x-sent-by") == "script"
    try:
        said = await _act(store, caller, order_id, seller_id, action, form)
    except DomainError as error:
        if is_late and error.kind != "unavailable":
            status = 401 if isinstance(error, SignInFirst) else _STATUS.get(error.kind, 422)
            return Response(first_problem(error), media_type="text/plain", status_code=status)
        if error.kind in {"refused", "unavailable", "not_found"}:
            raise
        return go(request, f"{RIDES}#stop-{order_id}", say=first_problem(error), tone="bad")
    if is_late:
        return Response(said, media_type="text/plain", status_code=200)
    return go(request, RIDES, say=said)


async def _act(store: GivenStore, caller: GivenCaller, order_id: UUID, seller_id: UUID, action: str, form: Form) -> str:
    match action:
        case "out":
            await set_out(store, caller, order_id, seller_id)
            return "On the way. The buyer sees it."
        case "failed":
            await fail_hand_over(store, caller, order_id, seller_id, form.into(FailedForm))
            return "Noted. The shop decides what is next."
        case _:
            pictures = form.files.get("picture", [])
            picture = await pictures[0].read() if pictures else None
            await hand_over(store, caller, order_id, seller_id, form.into(HandOverForm), picture)
            return "Handed over."


riding_routes = [rides_page, ride_on]
