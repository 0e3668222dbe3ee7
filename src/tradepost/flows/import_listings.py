"""Tables of listings brought in: whole or not at all, with a dry run that says row by row what would happen.

The dry run makes every change and undoes it, some hundred rows at a time, so that it finds what the database itself would refuse. A table
of up to `MOST_AT_ONCE` rows is done while its sender waits; a longer one is checked by a job, decided about by a person, and brought in by
another job in one transaction, which everybody else's changes of the same goods wait for at the end only.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from itertools import chain, islice
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
import structlog
from sqlalchemy import text

from tradepost.accounts.looks import permissions_of
from tradepost.accounts.types import Caller
from tradepost.catalog import imports, in_bulk
from tradepost.catalog.imports import Does, ImportMovedOn, ListingImport, SheetRow, file_key
from tradepost.catalog.in_bulk import Changes, Known, NewListing
from tradepost.catalog.listing_pages import CategoryTree, category_tree
from tradepost.catalog.service import columns_of
from tradepost.catalog.types import ListingDraft, VariantDraft
from tradepost.core.database import SYSTEM, Transaction
from tradepost.core.errors import DomainError, FieldErrors, Invalid
from tradepost.core.ids import uuid7
from tradepost.core.jobs import Priority, enqueue, job, scheduled
from tradepost.core.money import NotAnAmount, to_minor
from tradepost.core.pages import Page, from_cursor, to_cursor
from tradepost.core.sheets import NotASheet, TooManyRows, about_how_many, sheet_rows
from tradepost.flows.orders import reading
from tradepost.flows.preset import Kind
from tradepost.flows.store import Store

MOST_AT_ONCE: Final = 2_000
MOST_ROWS: Final = 250_000
COLUMNS: Final = ("sku", "title", "category", "kind", "price", "stock", "unit", "description", "status")
PERMISSION: Final = "manage_catalog"
_CHUNK: Final = 500
_LONG = text("SET LOCAL statement_timeout = '15min'")
_SEARCH_NOW = text("SET CONSTRAINTS apply_changes IMMEDIATE")
_SEARCH_LATER = text("SET CONSTRAINTS apply_changes DEFERRED")
_log = structlog.get_logger(__name__)


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a table leads to, or has led to. Nothing is brought in while a row is refused."""

    rows: tuple[SheetRow, ...]
    done: bool

    def count(self, does: str) -> int:
        """Return how many rows do this."""
        return sum(row.does == does for row in self.rows)


class WrongColumns(Invalid):
    """The table needs the columns sku and price; it may have title, category, kind, stock, unit, description, status, and attribute.<name> for the details of new listings."""

    def __init__(self) -> None:
        super().__init__()
        self.field = "file"


class _Undo(Exception):  # never seen: it only rolls back
    """Ends a dry run."""


@dataclass(frozen=True)
class _Plan:
    """A row that makes sense by itself: what it changes, or the listing it makes."""

    row: SheetRow
    changes: Changes | None = None
    listing: NewListing | None = None


@dataclass(frozen=True)
class _Table:
    """A table under way: its columns, whose changes they are, what rows are held against, and the SKUs there were so far."""

    store: Store
    caller: Caller
    head: tuple[str, ...]
    tree: CategoryTree
    kinds: dict[str, Kind]
    seen: set[str] = field(default_factory=set)


def check_columns(head: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of a table by its first row. Raises `WrongColumns`."""
    names = tuple(cell.strip().lower() for cell in head)
    strange = [name for name in names if name and name not in COLUMNS and not name.startswith("attribute.")]
    if not {"sku", "price"} <= set(names) or len(set(names)) < len(names) or strange:
        raise WrongColumns
    return names


async def import_listings(store: Store, caller: Caller, table: Sequence[Sequence[str]], *, dry: bool) -> ImportReport:
    """Bring a table in: rows whose SKU is known change price, stock and state; others become listings. All of them or none.

    `dry`: do nothing, and say what would happen. Raises `NotAllowed`, `WrongColumns`.
    """
    caller.check_can(PERMISSION)
    opened = await _open(store, caller, check_columns(table[0] if table else ()))
    report: list[SheetRow] = []
    try:
        async with store.db.transaction(actor=caller.actor) as tx:
            numbered = enumerate(table[1:], 2)
            while rows := list(islice(numbered, _CHUNK)):
                report += await _bring_in(tx, opened, rows)
            if dry or any(row.does == "refused" for row in report):
                raise _Undo  # noqa: TRY301  # the transaction around it is what this is for
    except _Undo:
        return ImportReport(rows=tuple(report), done=False)
    return ImportReport(rows=tuple(report), done=True)


async def begin_import(store: Store, caller: Caller, name: str, data: bytes) -> UUID:
    """Have a table of any length checked by a job; return the id under which one watches. Raises `NotAllowed`, `WrongColumns`, `NotASheet`."""
    caller.check_can(PERMISSION)
    by_id, import_id = caller.check_in_person(), uuid7()
    head = await asyncio.to_thread(lambda: next(sheet_rows(data), []))
    check_columns(head)
    about = await asyncio.to_thread(about_how_many, data)
    await store.files.put(file_key(import_id), data, "application/octet-stream")
    async with store.db.transaction(actor=caller.actor) as tx:
        await imports.add_import(tx, import_id, by_id, name, about)
        await enqueue(tx, "catalog.check_import", ImportArgs(import_id), priority=Priority.URGENT)
    return import_id


async def show_import(
    store: Store,
    caller: Caller,
    import_id: UUID,
    *,
    does: Does | None = None,
    after: str | None = None,
    limit: int = 100,
) -> tuple[ListingImport, Page[SheetRow]]:
    """Return how far a table is, and what its rows lead to. Raises `NotAllowed`, `NoSuchImport`, `NoSuchPage`."""
    caller.check_can(PERMISSION)
    (number,) = from_cursor(after, int) if after is not None else (0,)
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        found = await imports.get_import(tx, import_id)
        rows = await imports.list_rows(tx, import_id, does=does, after=number, limit=limit + 1)
    items = tuple(rows[:limit])
    return found, Page(items, to_cursor(items[-1].number) if len(rows) > limit else None)


async def list_imports(store: Store, caller: Caller) -> list[ListingImport]:
    """Return the tables handed in last. Raises `NotAllowed`."""
    caller.check_can(PERMISSION)
    async with store.db.transaction(actor=reading(caller), read_only=True) as tx:
        return await imports.list_imports(tx)


async def decide_import(store: Store, caller: Caller, import_id: UUID, action: Literal["import", "cancel"]) -> None:
    """Have a checked table brought in, in the caller's name, or call one off, also while a job is at it.

    Raises `NotAllowed`, `NoSuchImport`, `ImportMovedOn`.
    """
    caller.check_can(PERMISSION)
    caller.check_in_person()
    async with store.db.transaction(actor=caller.actor) as tx:
        found = await imports.get_import(tx, import_id)
        if action == "cancel":
            await imports.move_import(
                tx, import_id, ("checking", "checked", "importing"), "cancelled", about=found.rows_about, counts=found.counts
            )  # fmt: skip
        else:
            await imports.move_import(
                tx, import_id, ("checked",), "importing", about=found.rows_about, counts=found.counts
            )
            await enqueue(tx, "catalog.apply_import", ImportArgs(import_id), priority=Priority.URGENT)
    if action == "cancel":
        await store.files.delete(file_key(import_id))


class ImportArgs(msgspec.Struct, frozen=True):
    """Which table."""

    import_id: UUID


@job("catalog.check_import", args=ImportArgs, time_limit=timedelta(hours=2))
async def check_import(store: Store, args: ImportArgs) -> None:
    """Say of each row of a table what it would do. Repeating it starts over."""
    await _work(store, args.import_id, "checking", _check)


@job("catalog.apply_import", args=ImportArgs, time_limit=timedelta(hours=2))
async def apply_import(store: Store, args: ImportArgs) -> None:
    """Bring a table in, whole or not at all. Repeating it does nothing once it is in."""
    await _work(store, args.import_id, "importing", _apply)


@scheduled("catalog.forget_imports", cron="23 4 * * *")
async def forget_imports(store: Store) -> None:
    """Forget tables that are a month old, and their files."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        gone = await imports.forget_old(tx)
    for import_id in gone:
        await store.files.delete(file_key(import_id))


async def _work(store: Store, import_id: UUID, state: Literal["checking", "importing"], work: Any) -> None:
    """Do one of the two works, if it is still wanted; what cannot be done ends as a table that failed, with the reason."""
    async with store.db.transaction(actor=SYSTEM, read_only=True) as tx:
        found = await imports.get_import(tx, import_id)
        permissions = await permissions_of(tx, found.by_id)
    if found.state != state:
        return
    caller = Caller(user_id=found.by_id, permissions=permissions or frozenset())
    try:
        caller.check_can(PERMISSION)
        data = await store.files.get(file_key(import_id))
        rows = sheet_rows(data)
        head = await asyncio.to_thread(lambda: next(rows, []))
        opened = await _open(store, caller, check_columns(head))
        await work(store, opened, found, rows)
    except ImportMovedOn:
        _log.info("import.called_off", import_id=str(import_id))
    except DomainError as error:
        if error.kind == "unavailable":
            raise
        await _end(store, found, "failed", problem=error.message)
    except Exception:
        await _end(
            store, found, "failed", problem="Something went wrong on our side; it is in the list of failed jobs."
        )
        raise


async def _check(store: Store, table: _Table, found: ListingImport, rows: Iterator[list[str]]) -> None:
    """Note what each row would do; every chunk is made and undone by itself, so nobody waits for its locks."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await imports.clear_rows(tx, found.id)
    counts: Counter[str] = Counter()
    last = 1
    async for chunk in _chunks(rows):
        report: list[SheetRow] = []
        try:
            async with store.db.transaction(actor=table.caller.actor) as tx:
                report = await _bring_in(tx, table, chunk)
                raise _Undo  # noqa: TRY301  # as above
        except _Undo:
            counts.update(row.does for row in report)
        last = chunk[-1][0]
        async with store.db.transaction(actor=SYSTEM) as tx:
            await imports.add_rows(tx, found.id, report)
            await imports.note_progress(tx, found.id, last - 1)
    if not counts:
        raise NotASheet("it has no rows")
    await _end(store, found, "refused" if counts["refused"] else "checked", counts=counts)


async def _apply(store: Store, table: _Table, found: ListingImport, rows: Iterator[list[str]]) -> None:
    """Make all changes in one transaction; the last of them is that the table is done."""
    refused: list[SheetRow] = []
    counts: Counter[str] = Counter()
    try:
        async with store.db.transaction(actor=table.caller.actor) as tx:
            await tx.run(_LONG)
            await imports.lock_work(tx, found.id)
            if (await imports.get_import(tx, found.id)).state != "importing":
                return
            async for chunk in _chunks(rows):
                report = await _bring_in(tx, table, chunk)
                await tx.run(_SEARCH_NOW)
                await tx.run(_SEARCH_LATER)
                counts.update(row.does for row in report)
                refused += [row for row in report if row.does == "refused"]
                await _note(store, found.id, chunk[-1][0] - 1)
            if refused:
                raise _Undo  # noqa: TRY301  # as above
            await imports.move_import(
                tx, found.id, ("importing",), "done", done=counts.total(), about=counts.total(), counts=counts
            )
    except _Undo:
        async with store.db.transaction(actor=SYSTEM) as tx:
            await imports.clear_rows(tx, found.id)
            await imports.add_rows(tx, found.id, refused)
        await _end(store, found, "refused", counts=Counter(refused=len(refused)))
    else:
        await store.files.delete(file_key(found.id))


async def _note(store: Store, import_id: UUID, done: int) -> None:
    """Say how far it is, beside the transaction under way."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await imports.note_progress(tx, import_id, done)


async def _end(
    store: Store, found: ListingImport, to: Literal["checked", "refused", "failed"], *, counts: Counter[str] | None = None,
    problem: str = "",
) -> None:  # fmt: skip
    total = counts.total() if counts else 0
    async with store.db.transaction(actor=SYSTEM) as tx:
        await imports.move_import(
            tx, found.id, imports.RUNNING, to, done=total, about=total or None, counts=counts, problem=problem
        )
    if to == "failed":
        await store.files.delete(file_key(found.id))


async def _chunks(rows: Iterator[list[str]]) -> Any:
    """Yield numbered rows, some hundred at a time; files are taken apart beside the loop, a long one is a matter of seconds."""
    numbered = enumerate(rows, 2)
    while chunk := await asyncio.to_thread(lambda: list(islice(numbered, _CHUNK))):
        if chunk[-1][0] > MOST_ROWS + 1:
            raise TooManyRows(MOST_ROWS)
        yield chunk


async def _open(store: Store, caller: Caller, head: tuple[str, ...]) -> _Table:
    kinds: dict[str, Kind] = {kind.code: kind for kind in store.settings.kinds}
    return _Table(store, caller, head, await category_tree(store.db), kinds)


async def _bring_in(tx: Transaction, table: _Table, chunk: Sequence[tuple[int, Sequence[str]]]) -> list[SheetRow]:
    """Do what some rows say, and return what each of them did; those refused have done nothing. Empty rows are passed over."""
    rows = [
        (n, dict(zip(table.head, cells, strict=False))) for n, cells in chunk if any(cell.strip() for cell in cells)
    ]
    currency = table.store.currency
    known = await in_bulk.find_by_sku(tx, [row.get("sku", "").strip()[:100] for _, row in rows], currency)
    fields = await in_bulk.fields_by_kind(tx)
    plans = [_plan(table, number, row, known, fields) for number, row in rows]
    sound = [plan for plan in plans if plan.row.does != "refused"]
    settled = {row.number: row for row in await _settle(tx, table.caller, sound, currency)}
    return [settled.get(plan.row.number, plan.row) for plan in plans]


async def _settle(tx: Transaction, caller: Caller, plans: Sequence[_Plan], currency: str) -> list[SheetRow]:
    """Carry plans out together; where the database refuses, halve them until it is clear which it refuses."""
    if not plans:
        return []
    try:
        async with tx.savepoint():
            await in_bulk.change_listings(tx, caller, _joined([p.changes for p in plans if p.changes]), currency)
            await in_bulk.add_listings(tx, caller, [p.listing for p in plans if p.listing], currency)
    except DomainError as error:
        if error.kind == "unavailable":
            raise
        if len(plans) == 1:
            return [_refused(plans[0].row, _problems(error))]
        middle = len(plans) // 2
        first = await _settle(tx, caller, plans[:middle], currency)
        return first + await _settle(tx, caller, plans[middle:], currency)
    return [plan.row for plan in plans]


def _joined(changes: Sequence[Changes]) -> Changes:
    joined = Changes(
        listing_ids=frozenset(chain.from_iterable(c.listing_ids for c in changes)), amounts={}, stock={}, statuses={}
    )
    for one in changes:
        joined.amounts.update(one.amounts)
        joined.stock.update(one.stock)
        joined.statuses.update(one.statuses)
    return joined


def _problems(error: DomainError) -> dict[str, str]:
    found = error.errors if isinstance(error, FieldErrors) else {getattr(error, "field", None) or "row": error.message}
    return {_column(name): problem for name, problem in found.items()}


def _column(field: str) -> str:
    """Return the table's name for a field of a draft."""
    name = field.removeprefix("variants.0.")
    if name.startswith("attributes."):
        return "attribute." + name.removeprefix("attributes.")
    return {"": "row", "on_hand": "stock", "price_minor": "price"}.get(name, name)


def _refused(row: SheetRow, problems: dict[str, str]) -> SheetRow:
    return SheetRow(number=row.number, sku=row.sku, title=row.title, does="refused", problems=problems)


def _plan(
    table: _Table, number: int, row: dict[str, str], known: dict[str, Known], fields: dict[str, list[dict[str, Any]]]
) -> _Plan:
    """Say what a row does, as far as it can be told from the row and what is there."""
    sku = row.get("sku", "").strip()[:100]
    old = known.get(sku)
    title = row.get("title", "").strip()[:255] or (old.title if old else "")
    problems: dict[str, str] = {}
    if not sku:
        problems["sku"] = "Every row needs one."
    elif sku in table.seen:
        problems["sku"] = "This SKU is in the table twice."
    table.seen.add(sku)
    price = _price(row, table.store.currency, problems)
    on_hand = _quantity(row, problems)
    status = _status(row, problems)
    shown = SheetRow(number=number, sku=sku, title=title, does="new" if old is None else "changed", problems={})
    if not problems and old is None:
        try:
            return _Plan(shown, listing=_listing(table, row, sku, price, on_hand, status, fields))
        except FieldErrors as error:
            problems = _problems(error)
    if problems or old is None:
        return _Plan(_refused(shown, problems))
    changes = _changes(old, price, on_hand, status)
    return _Plan(shown, changes) if changes else _Plan(msgspec.structs.replace(shown, does="same"))


def _price(row: dict[str, str], currency: str, problems: dict[str, str]) -> int:
    given = row.get("price", "").strip().replace(",", ".")
    try:
        found = to_minor(given, currency)
    except NotAnAmount:
        problems["price"] = f"“{given[:30]}” is no price." if given else "Every row needs one."
        return 0
    if not 0 <= found < 10**12:
        problems["price"] = "A price is 0 or more."
    return found


def _quantity(row: dict[str, str], problems: dict[str, str]) -> Decimal | None:
    given = row.get("stock", "").strip().replace(",", ".")
    if not given:
        return None
    try:
        found = Decimal(given)
    except InvalidOperation:
        problems["stock"] = f"“{given[:30]}” is no number."
        return None
    if not found.is_finite() or not 0 <= found < 10**9:
        problems["stock"] = "Stock is 0 or more."
        return None
    return found.quantize(Decimal("0.001"), ROUND_HALF_UP)


def _status(row: dict[str, str], problems: dict[str, str]) -> Literal["", "active", "inactive"]:
    match row.get("status", "").strip().lower():
        case "active":
            return "active"
        case "inactive":
            return "inactive"
        case "" | "draft":
            return ""
        case _:
            problems["status"] = "active, inactive or draft."
            return ""


def _changes(
    old: Known, price: int, on_hand: Decimal | None, status: Literal["", "active", "inactive"]
) -> Changes | None:
    """Return what differs from what is there, None where nothing does."""
    amounts = {old.variant_id: price} if price != old.amount_minor else {}
    stock = {old.variant_id: on_hand} if on_hand is not None and on_hand != old.on_hand else {}
    statuses = {old.listing_id: status} if status and status != old.status else {}
    if not (amounts or stock or statuses):
        return None
    return Changes(listing_ids=frozenset({old.listing_id}), amounts=amounts, stock=stock, statuses=statuses)


def _listing(
    table: _Table, row: dict[str, str], sku: str, price: int, on_hand: Decimal | None, status: str,
    fields: dict[str, list[dict[str, Any]]],
) -> NewListing:  # fmt: skip
    """Return the listing that a row with an unknown SKU makes. Raises `FieldErrors`."""
    settings = table.store.settings
    kind = table.kinds.get(row.get("kind", "").strip() or settings.kinds[0].code)
    if kind is None:
        raise FieldErrors({"kind": f"One of {', '.join(table.kinds)}."})
    category = row.get("category", "").strip()
    if category not in table.tree.by_slug:
        said = f"There is no category “{category[:40]}”." if category else "A new listing needs one."
        raise FieldErrors({"category": said})
    if not row.get("title", "").strip():
        raise FieldErrors({"title": "A new listing needs one."})
    unit = row.get("unit", "").strip() or kind.default_unit
    variant = VariantDraft(sku=sku, unit=unit, on_hand=on_hand, price_minor=price)
    draft = ListingDraft(
        kind=kind.code, feed=settings.feeds[0].code, title=row["title"].strip()[:255],
        description=row.get("description", "").strip()[:20_000], category=category, variants=(variant,),
        condition=settings.conditions[0].code if settings.conditions else None,
        attributes={n.removeprefix("attribute."): v.strip() for n, v in row.items() if n.startswith("attribute.") and v.strip()},
    )  # fmt: skip
    return NewListing(columns_of(draft, fields.get(kind.code), table.tree, None), variant, status == "active")
