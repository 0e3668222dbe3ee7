"""Outside markets in the back office: how reading them goes, what each reading brought and refused, and a new one from its address."""

from typing import Any
from uuid import UUID

import msgspec
from litestar import Response, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from tradepost.accounts.types import Caller
from tradepost.core.errors import DomainError, FieldErrors
from tradepost.flows.manage_sources import put_source, read_run, remove, see_source, see_sources, switch
from tradepost.flows.preview_source import Preview, preview_source, settings_from
from tradepost.flows.push_listings import PERMISSION
from tradepost.flows.source_jobs import read_now
from tradepost.flows.store import Store
from tradepost.sources.types import KIND_NAMES, Kind, NoSuchSource, Reading, Source, SourceDraft
from tradepost.web.forms import Form, first_problem, problems_of, read_form
from tradepost.web.pages import go, page
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

SOURCES = "/office/sources"
_KINDS = tuple(KIND_NAMES.items())
_SCHEDULES = (
    ("", "By hand only"), ("*/10 * * * *", "Every ten minutes"), ("*/30 * * * *", "Every half hour"), ("7 * * * *", "Every hour"),
    ("7 */6 * * *", "Every six hours"), ("7 4 * * *", "Once a day"),
)  # fmt: skip


@get(SOURCES, include_in_schema=False)
async def sources_page(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """List the outside markets with their health, and offer to add one."""
    found = await see_sources(store, caller)
    return await page(
        request, store, caller, "office_sources", sources=found, kinds=KIND_NAMES, form={}, errors={}, tab="sources"
    )


@post(SOURCES + "/preview", include_in_schema=False)
async def preview(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Show what would be read from an address, as the form says to read it; nothing is saved."""
    caller.check_can(PERMISSION)
    form = await read_form(request)
    guess, draft, errors = not form.get("kind"), SourceDraft(code="", name="", kind="pages"), {}
    try:
        draft = _draft(form)
        if guess:  # a form with nothing but the address
            draft = msgspec.structs.replace(draft, settings=Reading())
    except FieldErrors as error:
        errors = problems_of(error)
    found = Preview(draft) if errors else await preview_source(store, caller, draft, guess=guess)
    texts = _texts(found.draft) | ({} if guess else form.texts)
    return await _edit(request, store, caller, None, texts, errors, found, code=form.get("of"))


@post(SOURCES, include_in_schema=False)
async def save(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Save a new source, or an old one's changes (`of` is its code)."""
    caller.check_can(PERMISSION)
    form = await read_form(request)
    try:
        draft = _draft(form)
        code = await put_source(store, caller, draft, code=form.get("of") or None)
    except DomainError as error:
        if error.kind in {"refused", "unavailable", "not_found"}:
            raise
        return await _edit(request, store, caller, None, form.texts, problems_of(error), None, code=form.get("of"))
    if form.get("read") and draft.kind != "push":
        await read_now(store, caller, code)
        return go(request, f"{SOURCES}/{code}", say=f"{draft.name} is saved and being read.")
    return go(request, f"{SOURCES}/{code}", say=f"{draft.name} is saved.")


async def _edit(
    request: HttpRequest, store: Store, caller: Caller, source: Source | None, texts: dict[str, str], errors: dict[str, str],
    found: Preview | None, *, code: str = "",
) -> Response[str]:  # fmt: skip
    return await page(
        request, store, caller, "office_source_edit", status=422 if errors else 200, source=source, form=texts, errors=errors, preview=found, of=code,
        kinds=_KINDS, schedules=_SCHEDULES, options=tuple((c.slug, c.name) for c in store.settings.categories), tab="sources",
    )  # fmt: skip


@get(SOURCES + "/{code:str}", include_in_schema=False)
async def source_page(
    request: HttpRequest,
    store: GivenStore,
    caller: GivenCaller,
    code: FromPath[str],
    before: FromQuery[UUID | None] = None,
) -> Response[str]:
    """Show a source, how its readings went, and what can be done with it."""
    source, runs = await see_source(store, caller, code, before=before)
    return await page(
        request, store, caller, "office_source", source=source, runs=runs, kinds=KIND_NAMES, tab="sources",
        next_path=f"{SOURCES}/{code}?before={runs[-1].id}" if len(runs) == 30 else None,
    )  # fmt: skip


@get(SOURCES + "/{code:str}/edit", include_in_schema=False)
async def edit_page(request: HttpRequest, store: GivenStore, caller: GivenCaller, code: FromPath[str]) -> Response[str]:
    """Offer to change how a source is read."""
    source, _ = await see_source(store, caller, code)
    draft = SourceDraft(**{n: getattr(source, n) for n in SourceDraft.__struct_fields__})
    return await _edit(request, store, caller, source, _texts(draft), {}, None, code=code)


@post(SOURCES + "/{code:str}", include_in_schema=False)
async def act(request: HttpRequest, store: GivenStore, caller: GivenCaller, code: FromPath[str]) -> Redirect:
    """Read a source now, switch it on or off, or delete one that never brought anything."""
    form = await read_form(request)
    here = f"{SOURCES}/{code}"
    try:
        match form.get("action"):
            case "read":
                await read_now(store, caller, code)
                return go(request, here, say="It is being read; this page shows how far it is.")
            case "delete":
                await remove(store, caller, code)
                return go(request, SOURCES, say="It is gone.")
            case action:
                await switch(store, caller, code, on=action == "on")
    except NoSuchSource:
        return go(request, here, say="Listings were read from it, so it stays; switch it off instead.", tone="bad")
    except DomainError as error:
        if error.kind == "refused":
            raise
        return go(request, here, say=first_problem(error), tone="bad")
    return go(
        request,
        here,
        say="It is read again." if form.get("action") == "on" else "It is not read any more; what it showed stays.",
    )


@get(SOURCES + "/{code:str}/runs/{run_id:uuid}", include_in_schema=False)
async def run_page(
    request: HttpRequest,
    store: GivenStore,
    caller: GivenCaller,
    code: FromPath[str],
    run_id: FromPath[UUID],
    after: FromQuery[int] = 0,
) -> Response[str]:
    """Show what a reading brought, and each row that it refused with the reason."""
    after = max(0, min(after, 100_000))
    source, _ = await see_source(store, caller, code)
    found = await read_run(store, caller, code, run_id, after=after)
    return await page(
        request, store, caller, "office_source_run", source=source, run=found.run, errors=found.errors, tab="sources",
        next_path=f"{SOURCES}/{code}/runs/{run_id}?after={after + len(found.errors) + (0 if after else 1)}" if len(found.errors) == 100 else None,
    )  # fmt: skip


def _draft(form: Form) -> SourceDraft:
    """Return the form as a draft. Raises `FieldErrors`."""
    kind = form.get("kind")
    try:
        known = msgspec.convert(kind or "pages", Kind)
        settings = settings_from(form.texts, Reading())
        pause = float(form.get("pause_s") or 2)
    except (msgspec.ValidationError, ValueError) as error:
        raise FieldErrors({"settings": f"This does not fit: {error}"[:200]}) from None
    return SourceDraft(
        code=form.get("code").lower(), name=form.get("name"), kind=known, url=form.get("url")[:2000], description=form.get("description")[:500],
        settings=settings, schedule=form.get("schedule")[:100], pause_s=pause, terms=form.get("terms")[:2000],
    )  # fmt: skip


def _texts(draft: SourceDraft) -> dict[str, str]:
    """Return a draft as the form shows it."""
    s = draft.settings
    lines = {name: "\n".join(f"{k} = {v}" for k, v in getattr(s, name).items()) for name in ("fields", "categories")}
    chosen = {f"selector_{n}": getattr(s.selectors, n) for n in s.selectors.__struct_fields__}
    yes = {n: "1" for n in ("minor_units", "complete", "follow") if getattr(s, n)}
    return {
        "code": draft.code, "name": draft.name, "kind": draft.kind, "url": draft.url, "description": draft.description, "schedule": draft.schedule,
        "pause_s": f"{draft.pause_s:g}", "terms": draft.terms, "currency": s.currency, "decimal": s.decimal, "items": s.items, "category": s.category,
        "gone_as": s.gone_as, "matching": s.matching, "pages": "\n".join(s.pages), **lines, **chosen, **yes,
    }  # fmt: skip


source_office_routes: list[Any] = [sources_page, preview, save, source_page, edit_page, act, run_page]
