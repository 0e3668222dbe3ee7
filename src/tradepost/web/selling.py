"""A seller's own pages: their listings, making and changing one."""

import re
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from litestar import Response, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect
from msgspec import UNSET

from tradepost.accounts.types import Caller
from tradepost.catalog.listing_pages import (
    CategoryTree,
    category_tree,
    find_place,
    get_listing,
    list_own_listings,
    suggest_places,
)
from tradepost.catalog.pictures import add_picture, receive_picture
from tradepost.catalog.service import (
    add_image,
    arrange_images,
    create_listing,
    fits_category,
    update_listing,
    withdraw_listing,
)
from tradepost.catalog.types import Listing, ListingDraft, NoSuchListing, SellersOnly, VariantDraft
from tradepost.core.database import Transaction
from tradepost.core.errors import DomainError, FieldErrors
from tradepost.core.money import NotAnAmount, to_major, to_minor
from tradepost.flows import offering
from tradepost.flows.haggle import Floor, keep_floor, own_floor
from tradepost.flows.preset import Kind
from tradepost.flows.store import Store
from tradepost.web.forms import Form, problems_of, read_form
from tradepost.web.pages import go, page
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

LAST_SECOND = time(23, 59, 59)
MOST_ROWS, MOST_OPTIONS, MOST_PICTURES = 200, 3, 12
_ROW = re.compile(r"variant\.([0-9]{1,4})\.")
_STATUSES = (("All", None), ("On offer", "active"), ("Drafts", "draft"), ("Not shown", "inactive"), ("Sold", "sold"))


@get("/me/listings", include_in_schema=False)
async def own_listings(
    request: HttpRequest,
    store: GivenStore,
    caller: GivenCaller,
    status: FromQuery[str | None] = None,
    after: FromQuery[UUID | None] = None,
) -> Response[str]:
    """Show a seller what they offer."""
    seller_id = _check_seller(caller)
    known = {code for _, code in _STATUSES}
    status = status if status in known else None
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        rows = await list_own_listings(tx, seller_id, status=status, after=after, limit=51)
    more = rows[49].id if len(rows) > 50 else None
    links = [
        {
            "label": label,
            "path": f"/me/listings?status={code}" if code else "/me/listings",
            "current": code == status,
            "count": None,
        }
        for label, code in _STATUSES
    ]
    suffix = f"&status={status}" if status else ""
    return await page(
        request, store, caller, "seller_listings", rows=tuple(rows[:50]), statuses=links,
        next_path=f"/me/listings?after={more}{suffix}" if more else None,
    )  # fmt: skip


def _check_seller(caller: Caller) -> UUID:
    seller_id = caller.check_signed_in()
    if not caller.can("sell"):
        raise SellersOnly
    return seller_id


@get("/me/listings/new", include_in_schema=False)
async def new_listing(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, kind: FromQuery[str] = ""
) -> Response[str]:
    """Ask a seller what they offer."""
    _check_seller(caller)
    chosen = _kind(store, kind)
    unit = next((u for u in store.settings.units if u.code == chosen.default_unit), store.settings.units[0])
    row = {
        "id": "",
        "sku": "",
        "unit": unit.code,
        "sale_step": "",
        "on_hand": "",
        "price": "",
        "compare_at": "",
        "options": {},
    }
    form = {"kind": chosen.code, "feed": store.settings.feeds[0].code}
    return await _edit_page(request, store, caller, None, form, {}, [], [row])


def _kind(store: Store, code: str) -> Kind:
    return next((k for k in store.settings.kinds if k.code == code), store.settings.kinds[0])


@get("/me/listings/{listing_id:uuid}", include_in_schema=False)
async def edit_listing(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, listing_id: FromPath[UUID]
) -> Response[str]:
    """Show a seller their listing, to change it."""
    listing = await _own(store, caller, listing_id)
    category = (await category_tree(store.db)).by_id.get(listing.category_id)
    slug = category.slug if category else ""
    names = _shown_options(listing)
    return await _edit_page(
        request,
        store,
        caller,
        listing,
        _form_of(listing) | {"category": slug, "floor": await floor_of(store, caller, listing)},
        {},
        names,
        _rows_of(listing, store.currency, store.zone),
    )


async def _own(store: Store, caller: Caller, listing_id: UUID) -> Listing:
    caller.check_signed_in()
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        listing = await get_listing(tx, listing_id, currency=store.currency)
    if listing.seller_id != caller.user_id and not caller.can("manage_catalog"):
        raise NoSuchListing
    return listing


def _form_of(listing: Listing) -> dict[str, str]:
    form = {
        "version": str(listing.version), "kind": listing.kind, "feed": listing.feed, "title": listing.title,
        "description": listing.description, "brand": listing.brand or "", "condition": listing.condition or "",
        "place": listing.place,
    }  # fmt: skip
    return form | {f"attribute.{key}": _text(value) for key, value in listing.attributes.items()}


def _text(value: Any) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def _rows_of(listing: Listing, currency: str, zone: ZoneInfo) -> list[dict[str, Any]]:
    return [
        {"id": str(v.id), "sku": v.sku or "", "unit": v.unit, "sale_step": _plain(v.sale_step),
         "on_hand": "" if v.on_hand is None else _plain(v.on_hand), "on_hand_before": "" if v.on_hand is None else _plain(v.on_hand),
         "price": "" if v.price_minor is None else str(to_major(v.price_minor, currency)),
         "compare_at": "" if v.compare_at_minor is None else str(to_major(v.compare_at_minor, currency)), "options": v.options,
         "backorder_until": f"{v.backorder_until.astimezone(zone):%Y-%m-%d}" if v.backorder_until else "",
         "expected_on": f"{v.expected_on:%Y-%m-%d}" if v.expected_on else ""}
        for v in listing.variants if v.is_active
    ]  # fmt: skip


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"


async def _edit_page(
    request: HttpRequest, store: Store, caller: Caller, listing: Listing | None, form: dict[str, str], errors: dict[str, str],
    option_names: list[str], rows: list[dict[str, Any]],
) -> Response[str]:  # fmt: skip
    tree = await category_tree(store.db)
    kind = _kind(store, form.get("kind", ""))
    return await page(
        request, store, caller, "listing_edit", status=422 if errors else 200, listing=listing, kind=kind,
        details=_details(kind, tree, form.get("category", "")), form=form, errors=errors,
        category_options=_category_options(tree), option_names=option_names, variants=rows,
        images=listing.images if listing else (), places=[p.label for p in await suggest_places(store.db, store.settings.store.place[:2])],
        currency=store.currency, has_floor=_may_have_floor(store, caller, listing),
    )  # fmt: skip


def _details(kind: Kind, tree: CategoryTree, slug: str) -> list[dict[str, Any]]:
    """Return the kind's fields, each with the categories that have it (none: all), and whether the chosen one does."""
    chosen = tree.by_slug.get(slug)
    return [
        {
            "field": f,
            "categories": [c.slug for c in tree.rows if fits_category(f.categories, c.path)] if f.categories else [],
            "shown": not f.categories or (chosen is not None and fits_category(f.categories, chosen.path)),
        }
        for f in kind.fields
    ]


def _category_options(tree: CategoryTree) -> list[tuple[str, str]]:
    ordered = sorted(
        tree.rows, key=lambda c: [tree.by_slug[s].name if s in tree.by_slug else s for s in c.path.split("/")]
    )
    return [(c.slug, "– " * c.path.count("/") + c.name) for c in ordered]


@post("/me/listings/new", include_in_schema=False)
async def save_new(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Make a listing of the form."""
    return await _save(request, store, caller, None)


@post("/me/listings/{listing_id:uuid}", include_in_schema=False)
async def save_listing(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, listing_id: FromPath[UUID]
) -> Response[Any]:
    """Change a listing to what the form says."""
    return await _save(request, store, caller, await _own(store, caller, listing_id))


async def _save(request: HttpRequest, store: Store, caller: Caller, listing: Listing | None) -> Response[Any]:
    _check_seller(caller)
    form = await read_form(request)
    names, rows = _option_names(form), _rows(form, listing)
    action = form.get("action", "save")
    if action == "add_variant":
        blank = {**(rows[-1] if rows else {}), "id": "", "sku": "", "on_hand": "", "options": {}}
        rows = [*rows, blank][:MOST_ROWS]
    if action in {"add_variant", "show_details"}:
        return await _edit_page(request, store, caller, listing, form.texts, _lost_pictures(form), names, rows)
    try:
        draft = _draft(form, rows, store)
        floor = (
            _floor(form, draft, store) if _may_have_floor(store, caller, listing) and "floor" in form.texts else None
        )
        listing_id = await _write(store, caller, listing, form, draft, floor, publish=action == "publish")
    except DomainError as error:
        problems = _lost_pictures(form) | _form_errors(error)
        return await _edit_page(request, store, caller, listing, form.texts, problems, names, rows)
    if action == "withdraw":
        async with store.db.transaction(actor=caller.actor) as tx:
            await withdraw_listing(tx, caller, listing_id)
        return go(request, "/me/listings", say="Nobody sees it now; you can show it again any time.", tone="info")
    shown = await _own(store, caller, listing_id)
    if action == "publish":
        return go(request, shown.path, say="It is on offer now.")
    return go(request, f"/me/listings/{listing_id}", say="Saved.")


def _lost_pictures(form: Form) -> dict[str, str]:
    """Return what to say where pictures came with a form that is shown again: browsers do not keep chosen files."""
    return (
        {"pictures": "Please choose your pictures again: they are kept once the form is saved."} if form.files else {}
    )


def _form_errors(error: DomainError) -> dict[str, str]:
    """Return errors under the names that the form's fields have."""
    renamed = {"compare_at_minor": "compare_at", "price_minor": "price"}
    found = {}
    for field, text in problems_of(error).items():
        name = field.replace("attributes.", "attribute.", 1).replace("variants.", "variant.", 1)
        for old, new in renamed.items():
            name = name.removesuffix(old) + new if name.endswith(old) else name
        found[name] = text
    return found


async def _write(
    store: Store, caller: Caller, listing: Listing | None, form: Form, draft: ListingDraft, floor: Floor | None, *, publish: bool
) -> UUID:  # fmt: skip
    """Write the listing and its pictures in one transaction: all of it or nothing."""
    tree = await category_tree(store.db)
    place = await find_place(store.db, draft.place) if draft.place else None
    most_mb = store.installation.files.upload_limit_mb
    uploads = [
        await receive_picture(store.files, await upload.read(), most_mb=most_mb)
        for upload in form.files.get("pictures", [])[:MOST_PICTURES]
    ]
    async with store.db.transaction(actor=caller.actor) as tx:
        if listing is None:
            listing_id = await create_listing(tx, caller, draft, tree=tree, place=place, currency=store.currency)
        else:
            listing_id = listing.id
            version = form.whole("version")
            await update_listing(
                tx, caller, listing_id, draft, version=version, tree=tree, place=place, currency=store.currency
            )
            await _arrange(tx, caller, listing, form)
        for received in uploads:
            await add_image(tx, caller, listing_id, await add_picture(tx, received))
        if floor is not None:
            await keep_floor(tx, caller, listing_id, floor)
        if publish:
            await offering.publish(tx, store, caller, listing_id)
        else:
            await offering.check_limits(tx, store, caller, listing_id)
    return listing_id


def _may_have_floor(store: Store, caller: Caller, listing: Listing | None) -> bool:
    """Whether the caller is asked for the least they would take: for what is theirs, where people make offers."""
    return store.settings.features.offers and (listing is None or listing.seller_id == caller.user_id)


async def floor_of(store: Store, caller: Caller, listing: Listing) -> str:
    """Return the least the caller would take for a listing of their own, as they would type it; nothing of anybody else's."""
    if caller.user_id is None or caller.behind or not _may_have_floor(store, caller, listing):
        return ""
    floor = await own_floor(store, caller, listing.id)
    return f"{to_major(floor, store.currency):f}" if floor else ""


def _floor(form: Form, draft: ListingDraft, store: Store) -> Floor:
    """Read the least the seller would take; nothing, or 0, is none. Raises `FieldErrors`, also above every price that is asked."""
    typed = form.get("floor")
    try:
        least = to_minor(typed.replace(",", "."), store.currency) if typed else 0
    except NotAnAmount as error:
        raise FieldErrors({"floor": error.message}) from None
    if least < 0 or least > max((v.price_minor or 0 for v in draft.variants), default=0):
        raise FieldErrors({"floor": "At most what you ask for it, please."})
    return Floor(least or None)


async def _arrange(tx: Transaction, caller: Caller, listing: Listing, form: Form) -> None:
    """Keep and order the pictures as the form says."""
    kept = [
        (form.whole(f"picture.{i.position}.order", i.position + 1) or 0, i.position, i.file_id)
        for i in listing.images
        if i.file_id and form.get(f"picture.{i.position}.keep") == "1"
    ]
    if [file_id for *_, file_id in sorted(kept)] != [image.file_id for image in listing.images if image.file_id]:
        await arrange_images(tx, caller, listing.id, [file_id for *_, file_id in sorted(kept)])


def _option_names(form: Form) -> list[str]:
    return [form.get(f"option_name.{i}")[:60] for i in range(MOST_OPTIONS) if form.get(f"option_name.{i}")]


def _shown_options(listing: Listing) -> list[str]:
    """Return the names of the options that the form has room for."""
    return sorted({name for v in listing.variants for name in v.options})[:MOST_OPTIONS]


def _rows(form: Form, listing: Listing | None) -> list[dict[str, Any]]:
    """Return the rows of the form's variant table, as texts; rows without anything in them and those to be removed are left out.

    Options of a variant that the form has no room for stay what they are.
    """
    rows = []
    shown = set(_shown_options(listing)) if listing else set()
    unseen = (
        {str(v.id): {k: t for k, t in v.options.items() if k not in shown} for v in listing.variants} if listing else {}
    )
    numbers = sorted({int(found[1]) for name in form.texts if (found := _ROW.match(name))})
    for n in numbers:
        cells = form.below(f"variant.{n}")
        if cells.get("remove") == "1":
            continue
        options = {
            form.get(f"option_name.{i}")[:60]: cells[f"option.{i}"]
            for i in range(MOST_OPTIONS)
            if form.get(f"option_name.{i}") and cells.get(f"option.{i}")
        }
        row = {
            name: cells.get(name, "")
            for name in (
                "id",
                "sku",
                "unit",
                "sale_step",
                "on_hand",
                "price",
                "compare_at",
                "backorder_until",
                "expected_on",
            )
        }
        if "on_hand_before" in cells:
            row["on_hand_before"] = cells["on_hand_before"]
        if row["price"] or row["id"] or options or n == 0:
            rows.append(row | {"options": unseen.get(row["id"], {}) | options})
    return rows


def _draft(form: Form, rows: list[dict[str, Any]], store: Store) -> ListingDraft:
    """Return the form as a draft. Raises `FieldErrors` with everything that cannot be read."""
    problems: dict[str, str] = {}
    variants = tuple(_variant(n, row, store, problems) for n, row in enumerate(rows))
    if problems:
        raise FieldErrors(problems)
    return form.into(
        ListingDraft, attributes=form.below("attribute"), variants=variants, brand=form.get("brand") or None,
        condition=form.get("condition") or None,
    )  # fmt: skip


def _variant(n: int, row: dict[str, Any], store: Store, problems: dict[str, str]) -> VariantDraft:
    currency = store.currency

    def amount(name: str) -> int | None:
        if not row[name]:
            return None
        try:
            return to_minor(row[name].replace(",", "."), currency)
        except NotAnAmount as error:
            problems[f"variant.{n}.{name}"] = error.message
            return None

    def number(name: str, default: Decimal | None) -> Decimal | None:
        try:
            return Form({name: row[name]}, {}).number(name) if row[name] else default
        except FieldErrors as error:
            problems[f"variant.{n}.{name}"] = error.errors[name]
            return default

    def day(name: str) -> date | None:
        try:
            return date.fromisoformat(row[name]) if row[name] else None
        except ValueError:
            problems[f"variant.{n}.{name}"] = "A day, please: 2026-12-24."
            return None

    last_day = day("backorder_until")
    price = amount("price")
    if price is None:
        problems.setdefault(f"variant.{n}.price", "What does it cost?")
    elif price < 0:
        problems[f"variant.{n}.price"] = "A price of 0 or more."
    return VariantDraft(
        id=_id(row["id"]), sku=row["sku"][:100] or None, options=row["options"], unit=row["unit"],
        sale_step=number("sale_step", Decimal(1)) or Decimal(0), on_hand=number("on_hand", None), price_minor=max(price or 0, 0),
        on_hand_before=number("on_hand_before", None) if "on_hand_before" in row else UNSET, compare_at_minor=amount("compare_at"),
        backorder_until=datetime.combine(last_day, LAST_SECOND, store.zone) if last_day else None, expected_on=day("expected_on"),
    )  # fmt: skip


def _id(text: str) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


@post("/me/listings/{listing_id:uuid}/{action:str}", include_in_schema=False)
async def act(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, listing_id: FromPath[UUID], action: FromPath[str]
) -> Redirect:
    """Publish, withdraw or remove one's listing from the list of them."""
    async with store.db.transaction(actor=caller.actor) as tx:
        if action == "publish":
            await offering.publish(tx, store, caller, listing_id)
        elif action in {"withdraw", "remove"}:
            await withdraw_listing(tx, caller, listing_id, remove=action == "remove")
        else:
            raise NoSuchListing
    say = {"publish": "It is on offer now.", "withdraw": "Nobody sees it now.", "remove": "Removed."}[action]
    return go(request, "/me/listings", say=say)


selling_routes = [own_listings, new_listing, edit_listing, save_new, save_listing, act]
