"""The page where a seller says what is asked of whoever orders something that is made for them."""

from typing import Any, get_args
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath

from tradepost.accounts.types import Caller
from tradepost.cart.questions import KINDS, MOST_QUESTIONS, Kind, Question, read_choices
from tradepost.core.errors import DomainError
from tradepost.flows.made_to_order import get_questions, save_questions
from tradepost.flows.store import Store
from tradepost.web.forms import Form, problems_of, read_form
from tradepost.web.pages import go, page
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

_BLANK_ROWS = 3


@get("/me/listings/{listing_id:uuid}/questions", include_in_schema=False)
async def questions_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, listing_id: FromPath[UUID]
) -> Response[str]:
    """Show what is asked, to change it."""
    return await _questions(request, store, caller, listing_id, None, {})


async def _questions(
    request: HttpRequest, store: Store, caller: Caller, listing_id: UUID, typed: list[Question] | None, errors: dict[str, str]
) -> Response[str]:  # fmt: skip
    found = await get_questions(store, caller, listing_id)
    asked = list(found.questions) if typed is None else typed
    blank = [Question(title="")] * max(0, min(_BLANK_ROWS, MOST_QUESTIONS - len(asked)))
    return await page(
        request, store, caller, "listing_questions", status=422 if errors else 200, listing=found.listing, questions=asked + blank,
        filled=len(asked), kinds=KINDS, errors=errors, currency=store.currency,
    )  # fmt: skip


@post("/me/listings/{listing_id:uuid}/questions", include_in_schema=False)
async def save_asked(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, listing_id: FromPath[UUID]
) -> Response[Any]:
    """Ask what the form says from now on."""
    form = await read_form(request)
    typed = _typed(form)
    try:
        listing = await save_questions(store, caller, listing_id, typed, version=form.whole("version"))
    except DomainError as error:
        if error.kind not in {"invalid", "conflict"}:
            raise
        return await _questions(request, store, caller, listing_id, typed, problems_of(error))
    return go(
        request, listing.path, say="Saved: this is how it is ordered now." if typed else "It is sold as it is now."
    )


def _typed(form: Form) -> list[Question]:
    """Return the rows of the form that ask something, in the order of their numbers."""
    found: list[tuple[int, int, Question]] = []
    for n in range(MOST_QUESTIONS + _BLANK_ROWS):
        cells = form.below(f"q.{n}")
        if cells.get("title", "").strip() and cells.get("remove") != "1":
            place = cells.get("place", "")
            found.append((int(place) if place.isdecimal() and len(place) < 4 else n + 1, n, _row(cells)))
    return [question for *_, question in sorted(found, key=lambda row: row[:2])]


def _row(cells: dict[str, str]) -> Question:
    kind: Any = cells.get("kind", "choice")
    most = cells.get("most", "") or "40"
    return Question(
        key=cells.get("key", "")[:60], title=cells["title"].strip()[:200], kind=kind if kind in get_args(Kind) else "choice",
        is_required=cells.get("required") == "1", is_detail=cells.get("detail") == "1", choices=read_choices(cells.get("choices", "")),
        most=int(most) if most.isdecimal() and len(most) < 6 else 0, price=cells.get("price", "")[:20],
        allergens=cells.get("allergens", ""), hint=cells.get("hint", ""),
    )  # fmt: skip


made_to_order_routes = [questions_page, save_asked]
