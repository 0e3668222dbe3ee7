"""Listings and stock in the back office: a table to change many at once, and tables in and out."""

from asyncio import to_thread
from contextlib import aclosing
from typing import Any, get_args
from urllib.parse import urlencode
from uuid import UUID

from litestar import Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect, Stream

from tradepost.catalog.imports import Does, ImportMovedOn
from tradepost.catalog.listing_pages import category_tree
from tradepost.core.clock import now
from tradepost.core.errors import DomainError
from tradepost.core.pages import NoSuchPage
from tradepost.core.sheets import CSV, XLSX, TooManyRows, read_sheet, stream_csv, write_csv, write_xlsx
from tradepost.core.text import one_line
from tradepost.flows.import_listings import (
    COLUMNS,
    MOST_AT_ONCE,
    MOST_ROWS,
    PERMISSION,
    ImportReport,
    begin_import,
    decide_import,
    import_listings,
    list_imports,
    show_import,
)
from tradepost.flows.manage_listings import BulkForm, ListingQuestion, change_many, export_listings, search_listings
from tradepost.web.forms import Form, first_problem, problems_of, read_form
from tradepost.web.pages import go, page
from tradepost.web.security import local_path
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

LISTINGS = "/office/listings"
IMPORT = f"{LISTINGS}/import"
_MOST_SHOWN = 200
_MOST_IN_FORM = 90_000
_LARGEST_TABLE = 64 * 1024 * 1024
_MOST_IN_WORKBOOK = 20_000


def _question(asked: dict[str, str]) -> ListingQuestion:
    return ListingQuestion(
        words=asked.get("words", "").strip()[:60], status=asked.get("status", "")[:20], category=asked.get("category", "")[:80],
        low=bool(asked.get("low")),
    )  # fmt: skip


@get(LISTINGS, include_in_schema=False)
async def listings_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, after: FromQuery[str | None] = None
) -> Response[str]:
    """Show the store's listings, variant by variant."""
    asked = dict(request.query_params)
    question = _question(asked)
    try:
        found = await search_listings(store, caller, question, after=after)
    except NoSuchPage:
        found = await search_listings(store, caller, question)
    kept = {name: asked[name] for name in ("words", "status", "category", "low") if asked.get(name)}
    tree = await category_tree(store.db)
    here = f"{LISTINGS}?{urlencode(kept)}"
    return await page(
        request, store, caller, "office_listings", rows=found.items, form=kept, here=here, kept=urlencode(kept), tab="listings",
        all_categories=sorted(((c.slug, c.path.replace("/", " › ")) for c in tree.rows), key=lambda pair: pair[1]),
        next_path=f"{here}&{urlencode({'after': found.after})}" if found.after else None, currency=store.currency,
    )  # fmt: skip


@post(f"{LISTINGS}/change", include_in_schema=False)
async def change(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Redirect:
    """Change the ticked variants."""
    caller.check_can("manage_catalog")
    form = await read_form(request)
    back = local_path(form.get("next"), LISTINGS)
    ids = [found for text in form.below("row") if (found := _id(text)) is not None]
    action: Any = form.get("action")
    if not ids or action not in get_args(BulkForm.__annotations__["action"]):
        return go(request, back, say="Tick the rows you mean first.", tone="warn")
    try:
        amount = form.number("amount") if form.get("amount") else None
        done = await change_many(store, caller, ids, BulkForm(action=action, amount=amount))
    except DomainError as error:
        if error.kind in {"refused", "unavailable"}:
            raise
        return go(request, back, say=first_problem(error), tone="bad")
    if done.refused:
        said = f"{done.changed} changed, {len(done.refused)} not. {done.refused[0]}"
        return go(request, back, say=said[:300], tone="warn")
    return go(request, back, say=f"{done.changed} changed.")


def _id(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


@get(LISTINGS + "/file/{name:str}", include_in_schema=False)
async def listings_file(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, name: FromPath[str]
) -> Response[Any]:
    """Give the listings that fit as CSV or XLSX, in the columns that can be brought in again."""
    kind = name.rpartition(".")[2]
    if name not in {"listings.csv", "listings.xlsx"}:
        raise NotFoundException("There is no such table.")
    pages = await export_listings(store, caller, _question(dict(request.query_params)))
    file = f"{store.code}-listings-{now().astimezone(store.zone).date()}.{kind}"
    headers = {"content-disposition": f'attachment; filename="{file}"', "cache-control": "no-store"}
    if kind == "csv":
        return Stream(stream_csv(COLUMNS, pages), media_type=CSV, headers=headers)
    rows: list[Any] = []
    async with aclosing(pages):
        async for some in pages:
            rows += some
            if len(rows) > _MOST_IN_WORKBOOK:
                return go(request, LISTINGS, say="That is too much for a workbook: take it as CSV.", tone="warn")
    return Response(write_xlsx("Listings", COLUMNS, rows), media_type=XLSX, headers=headers)


@get(IMPORT, include_in_schema=False)
async def import_page(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Ask for a table; show those that were handed in last."""
    return await _import_page(request, store, caller)


@post(IMPORT, include_in_schema=False, request_max_body_size=_LARGEST_TABLE)
async def bring_in(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Show row by row what a table would do, with action=import do it, if no row is refused; have a long table checked by a job."""
    caller.check_can("manage_catalog")
    form = await read_form(request)
    is_real = form.get("action") == "import"
    try:
        name, data = await _table_of(form)
        table = await _short_table(data)
        if table is None:
            return go(request, f"{IMPORT}/{await begin_import(store, caller, name, data)}")
        report = await import_listings(store, caller, table, dry=not is_real)
    except DomainError as error:
        if error.kind in {"refused", "unavailable"}:
            raise
        return await _import_page(request, store, caller, status=422, errors=problems_of(error))
    if report.done:
        said = f"{report.count('new')} new, {report.count('changed')} changed, {report.count('same')} as they were."
        return go(request, LISTINGS, say=said)
    again = "".join(write_csv(table[0], table[1:])).lstrip("\ufeff")
    return await _import_page(request, store, caller, status=422 if is_real else 200, report=report, table=again)


async def _import_page(request: HttpRequest, store: GivenStore, caller: GivenCaller, *, status: int = 200, report: ImportReport | None = None,
                       errors: dict[str, str] | None = None, table: str = "") -> Response[str]:  # fmt: skip
    return await page(
        request, store, caller, "office_import", status=status, report=report, errors=errors or {}, columns=COLUMNS, most=MOST_ROWS,
        shown=_MOST_SHOWN, tab="import", table=table, handed_in=await list_imports(store, caller),
    )  # fmt: skip


async def _table_of(form: Form) -> tuple[str, bytes]:
    """Return the name and the content of the file, or of the table that a dry run had in its form."""
    uploads = form.files.get("file", [])
    if uploads:
        return one_line(uploads[0].filename or "table")[:200], await uploads[0].read()
    return "table", form.texts.get("table", "").encode()


async def _short_table(data: bytes) -> list[list[str]] | None:
    """Return a table that can be done while its sender waits and fits into a form; None for a longer one. Raises `NotASheet`."""
    if len(data) > _MOST_IN_FORM:
        return None
    try:
        table = await to_thread(read_sheet, data, most_rows=MOST_AT_ONCE)
    except TooManyRows:
        return None
    return table if sum(len(cell) + 3 for row in table for cell in row) < _MOST_IN_FORM else None


@get(IMPORT + "/{import_id:uuid}", include_in_schema=False)
async def watch_import(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, import_id: FromPath[UUID],
    only: FromQuery[str] = "", after: FromQuery[str | None] = None,
) -> Response[str]:  # fmt: skip
    """Show how far a long table is, and what its rows lead to, page by page."""
    does: Any = only if only in get_args(Does) else None
    try:
        found, rows = await show_import(store, caller, import_id, does=does, after=after)
    except NoSuchPage:
        found, rows = await show_import(store, caller, import_id, does=does)
    here = f"{IMPORT}/{import_id}"
    kept = {"only": does} if does else {}
    more = f"{here}?{urlencode(kept | {'after': rows.after})}" if rows.after else None
    return await page(request, store, caller, "office_import_one", found=found, rows=rows.items, only=does or "", here=here, next_path=more, tab="import")  # fmt: skip


@post(IMPORT + "/{import_id:uuid}", include_in_schema=False)
async def decide(request: HttpRequest, store: GivenStore, caller: GivenCaller, import_id: FromPath[UUID]) -> Redirect:
    """Bring a checked table in, or call it off."""
    caller.check_can(PERMISSION)
    form = await read_form(request)
    here = f"{IMPORT}/{import_id}"
    action: Any = form.get("action")
    if action not in {"import", "cancel"}:
        return go(request, here)
    try:
        await decide_import(store, caller, import_id, action)
    except ImportMovedOn as error:
        return go(request, here, say=error.message, tone="warn")
    return go(request, here)


listing_office_routes: list[Any] = [
    listings_page, change, listings_file, import_page, bring_in, watch_import, decide,
]  # fmt: skip
