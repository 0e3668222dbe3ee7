"""Looking around: the store's front page, a listing's page, what a person saved, a person's page."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.background_tasks import BackgroundTask
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from tradepost.accounts.badges import badges_of
from tradepost.accounts.queries import find_profile
from tradepost.accounts.service import follow, unfollow
from tradepost.accounts.types import Caller
from tradepost.catalog.listing_pages import (
    CategoryTree,
    category_tree,
    find_place,
    get_listing,
    list_listings,
    list_saved,
)
from tradepost.catalog.service import count_view, toggle_saved
from tradepost.catalog.types import ListingCard, ListingFilter, NoSuchListing, Sort
from tradepost.core.errors import DomainError
from tradepost.core.ids import from_short_id
from tradepost.flows.moderate import has_blocked
from tradepost.flows.preset import HomeSection
from tradepost.flows.product_page import read_product, see_facts
from tradepost.flows.review_listing import review_listing
from tradepost.flows.shows import list_shows_of
from tradepost.flows.store import Store
from tradepost.reviews.queries import list_seller_reviews, seller_rating
from tradepost.reviews.types import ReviewDraft
from tradepost.web.forms import first_problem, read_form
from tradepost.web.kept import easel_of, is_for_all, kept_page
from tradepost.web.listing_view import liked_ids, listing_context
from tradepost.web.pages import go, page, previewed
from tradepost.web.position import position_of
from tradepost.web.search_visit import note_visit
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest
from tradepost.web.visits import saw

_SORTS: dict[str, Sort] = {"newest": "newest", "popular": "popular", "nearest": "nearest", "price": "cheapest"}


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A band of the front page, ready to draw."""

    kind: str
    title: str
    text: str
    items: tuple[Any, ...] = ()
    action_label: str | None = None
    action_path: str | None = None
    more_path: str | None = None


@get("/", include_in_schema=False)
async def home(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Show the store's front page, as its preset composes it."""
    store = await previewed(request, store, caller)
    tree = await category_tree(store.db)
    sections = [
        await _section(store, section, tree)
        for section in store.settings.home
        if not section.category or section.category in tree.by_slug  # one that is closed for now
    ]
    return await page(request, store, caller, "home", sections=sections, liked_ids=await liked_ids(store, caller))


async def _section(store: Store, section: HomeSection, tree: CategoryTree) -> Section:
    copy = store.settings.copy
    if section.kind == "hero":
        items = await _listings(store, ListingFilter(in_stock=True), "popular", 4)
        return Section(
            kind="hero", title=section.title or copy.hero_title, text=section.text or copy.hero_text,
            action_label=copy.hero_action, action_path="/search", items=items,
        )  # fmt: skip
    if section.kind == "categories":
        return Section(kind="categories", title=section.title, text=section.text, items=tree.top)
    if section.kind == "story":
        sells = store.settings.features.selling in {"everyone", "sellers"}
        return Section(
            kind="story", title=section.title, text=section.text,
            action_label=copy.sell_title if sells else None, action_path="/me/listings/new" if sells else None,
        )  # fmt: skip
    wanted = ListingFilter(
        feed=section.feed, kind=section.kind_code,
        category_ids=tree.subtree(tree.get(section.category)) if section.category else (),
        near=await _home_position(store) if section.sort == "nearest" else None,
    )  # fmt: skip
    items = await _listings(store, wanted, _SORTS[section.sort], section.limit)
    return Section(
        kind="listings", title=section.title, text=section.text, items=items, more_path=_more(store, section)
    )


async def _listings(store: Store, wanted: ListingFilter, sort: Sort, limit: int) -> tuple[ListingCard, ...]:
    return (await list_listings(store.db, wanted, sort=sort, limit=limit)).items


async def _home_position(store: Store) -> tuple[float, float] | None:
    place = await find_place(store.db, store.settings.store.place)
    return (place.lat, place.lon) if place and place.lat is not None and place.lon is not None else None


def _more(store: Store, section: HomeSection) -> str:
    if store.settings.features.feeds and section.feed and not section.category and not section.kind_code:
        return f"/feed/{section.feed}"
    base = f"/c/{section.category}" if section.category else "/search"
    sort = {"newest": "newest", "popular": "popular", "nearest": "nearest", "price": "cheapest"}[section.sort]
    parts = [
        f"sort={sort}",
        *([f"feed={section.feed}"] if section.feed else []),
        *([f"kind={section.kind_code}"] if section.kind_code else []),
    ]
    return f"{base}?{'&'.join(parts)}"


def listing_id_of(name: str) -> UUID:
    """Return the id at the end of a listing's address. Raises `NoSuchListing`."""
    found = from_short_id(name[-22:])
    if found is None:
        raise NoSuchListing
    return found


@get("/l/{name:str}", include_in_schema=False)
async def listing_page(
    request: HttpRequest,
    store: GivenStore,
    caller: GivenCaller,
    name: FromPath[str],
    variant: FromQuery[str | None] = None,
) -> Response[Any]:
    """Show one listing. An address with an old title still leads here."""
    listing_id = listing_id_of(name)
    near = position_of(request)
    if is_for_all(caller) and near is None and variant is None:
        product = await read_product(store, listing_id, easel_of(store))
        if product.path != f"/l/{name}":
            return go(request, product.path)
        answer = await kept_page(request, store, caller, product)
        if product.is_active:
            _note_look(request, store, caller, answer, listing_id)
        return answer
    facts = await see_facts(store, caller, listing_id, easel_of(store), near)
    found = facts.listing
    if found.path != f"/l/{name}":
        return go(request, found.path)
    answer = await page(request, store, caller, "listing", **await listing_context(store, caller, facts, variant))
    if found.status == "active" and found.seller_id != caller.user_id and caller.behind is None:
        _note_look(request, store, caller, answer, listing_id)
    return answer


def _note_look(request: HttpRequest, store: Store, caller: Caller, answer: Response[Any], listing_id: UUID) -> None:
    saw(request, store, caller, "listing_viewed", listing_id)
    answer.background = BackgroundTask(_note_view, request, store, caller, listing_id)


async def _note_view(request: HttpRequest, store: Store, caller: Caller, listing_id: UUID) -> None:
    """Count a view and remember which search led to it, after the page was sent: nobody waits for either."""
    async with store.db.transaction(actor=caller.actor) as tx:
        await count_view(tx, listing_id)
    await note_visit(request, store, caller, listing_id)


@post("/listings/{listing_id:uuid}/like", include_in_schema=False)
async def like(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, listing_id: FromPath[UUID]
) -> Response[Any]:
    """Save a listing or take it off the person's list; htmx only needs to know that it worked."""
    form = await read_form(request)
    async with store.db.transaction(actor=caller.actor) as tx:
        saved = await toggle_saved(tx, caller, listing_id)
    if request.headers.get("hx-request"):
        return Response("", status_code=200, headers={"hx-trigger": f'{{"saved":{str(saved).lower()}}}'})
    return go(request, form.get("next", "/saved"), say="Saved." if saved else "Taken off your list.")


@post("/listings/{listing_id:uuid}/reviews", include_in_schema=False)
async def write_review(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, listing_id: FromPath[UUID]
) -> Redirect:
    """Write or change the person's review of something they bought."""
    form = await read_form(request)
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        listing = await get_listing(tx, listing_id, currency=store.currency)
    try:
        await review_listing(store, caller, listing_id, form.into(ReviewDraft))
    except DomainError as error:
        return go(request, listing.path, say=first_problem(error), tone="bad")
    return go(request, listing.path + "#reviews", say="Thank you for your review.")


@get("/saved", include_in_schema=False)
async def saved(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Show what the person saved."""
    user_id = caller.check_signed_in()
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        cards = tuple(await list_saved(tx, user_id))
    return await page(request, store, caller, "saved", cards=cards, liked_ids=frozenset(c.id for c in cards))


@get("/u/{username:str}", include_in_schema=False)
async def person(
    request: HttpRequest,
    store: GivenStore,
    caller: GivenCaller,
    username: FromPath[str],
    after: FromQuery[str | None] = None,
) -> Response[str]:
    """Show a person's public page with what they offer."""
    profile = await find_profile(store.db, username, caller.user_id)
    cards = await list_listings(store.db, ListingFilter(seller_id=profile.id), after=after)
    summary = await seller_rating(store.db, profile.id)
    hosted = await list_shows_of(store, caller, profile.id) if store.settings.features.shows and after is None else None
    return await page(
        request, store, caller, "person", profile=profile, is_self=profile.id == caller.user_id, cards=cards.items,
        liked_ids=await liked_ids(store, caller), next_path=f"/u/{username}?after={cards.after}" if cards.after else None,
        rating=summary.average, rating_count=summary.count, badges=await badges_of(store.db, profile.id),
        is_blocked=await has_blocked(store, caller, profile.id), shows=hosted.items if hosted else (),
        reviews=await list_seller_reviews(store.db, profile.id) if after is None else (),
    )  # fmt: skip


@post("/u/{username:str}/follow", include_in_schema=False)
async def follow_person(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, username: FromPath[str]
) -> Redirect:
    """Follow a person, or stop doing so."""
    profile = await find_profile(store.db, username, caller.user_id)
    async with store.db.transaction(actor=caller.actor) as tx:
        await (unfollow if profile.is_followed else follow)(tx, caller, profile.id)
    say = (
        f"You no longer follow {profile.display_name}."
        if profile.is_followed
        else f"You follow {profile.display_name}."
    )
    return go(request, f"/u/{username}", say=say)


browse_routes = [home, listing_page, like, write_review, saved, person, follow_person]
