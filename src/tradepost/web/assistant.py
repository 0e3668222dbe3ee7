"""The assistant's pages: a change that an agent prepared, for its person to confirm."""

from typing import Any

from litestar import Response, get, post
from litestar.params import FromQuery

from tradepost.core.errors import DomainError
from tradepost.flows.assistant_agents import CONFIRM, confirm, read_confirmation
from tradepost.web.forms import first_problem, read_form
from tradepost.web.pages import go, page
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

_LONGEST_LINK = 8_000


@get(CONFIRM, include_in_schema=False)
async def confirm_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, c: FromQuery[str] = ""
) -> Response[Any]:
    """Show what an agent would like to have done, and ask."""
    pending = read_confirmation(store, caller, c)
    return await page(request, store, caller, "assistant_confirm", pending=pending, written=c[:_LONGEST_LINK])


@post(CONFIRM, include_in_schema=False)
async def confirm_now(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Do it, as the person who pressed the button."""
    form = await read_form(request)
    written = form.get("c")
    read_confirmation(store, caller, written)
    try:
        done = await confirm(store, caller, written)
    except DomainError as error:
        return go(request, "/orders", say=first_problem(error), tone="bad")
    number = done.arguments.get("number")
    return go(request, f"/orders/{number}" if number else "/orders", say="Done.")


assistant_routes: list[Any] = [confirm_page, confirm_now]
