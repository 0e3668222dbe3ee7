"""The back office of people and order: who is here and may what, reports, papers, the audit log. Everybody acts under their own name."""

from datetime import datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from litestar import Response, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from tradepost.accounts.badges import badges_of
from tradepost.accounts.verification_types import KINDS, VerificationDecision
from tradepost.core.errors import DomainError
from tradepost.flows import audit, manage_people, moderate, see_as, verify
from tradepost.moderation.types import REASONS, AppealAnswer, DecisionForm
from tradepost.web.context import LOOK_COOKIE
from tradepost.web.forms import first_problem, problems_of, read_form
from tradepost.web.pages import go, page
from tradepost.web.security import cookie, forget, local_path
from tradepost.web.trust import download_headers, subject_kind
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

PEOPLE, MODERATION, PAPERS, AUDIT = "/office/people", "/office/moderation", "/office/verifications", "/office/audit"
_ACTIONS = ("", "insert", "update", "delete", "look", "act")


def _with(path: str, **asked: Any) -> str:
    given = {name: value for name, value in asked.items() if value}
    return f"{path}?{urlencode(given)}" if given else path


@get(PEOPLE, include_in_schema=False)
async def people(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, q: FromQuery[str] = "", role: FromQuery[str] = "",
    after: FromQuery[str | None] = None,
) -> Response[str]:  # fmt: skip
    """List people, found by part of a name or an address, or by role."""
    found = await manage_people.list_people(store, caller, find=q, role=role or None, after=after, limit=50)
    return await page(
        request, store, caller, "office_people", people=found.items, asked=q, role=role, roles=store.settings.roles,
        next_path=_with(PEOPLE, q=q, role=role, after=found.after) if found.after else None,
    )  # fmt: skip


@get(PEOPLE + "/{username:str}", include_in_schema=False)
async def person(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, username: FromPath[str]
) -> Response[str]:
    """Show one person as those see them who manage people."""
    found = await manage_people.find_person(store, caller, username)
    return await page(
        request, store, caller, "office_person", found=found, roles=store.settings.roles, kinds=KINDS,
        badges=await badges_of(store.db, found.id), is_self=found.id == caller.user_id,
    )  # fmt: skip


@post(PEOPLE + "/{username:str}/roles", include_in_schema=False)
async def change_role(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, username: FromPath[str]
) -> Redirect:
    """Give a person a role, or take one."""
    found, form = await manage_people.find_person(store, caller, username), await read_form(request)
    role, here = form.get("role"), f"{PEOPLE}/{username}"
    try:
        if form.get("take"):
            await manage_people.revoke_role(store, caller, found.id, role)
        else:
            await manage_people.grant_role(store, caller, found.id, role)
    except DomainError as error:
        return go(request, here, say=first_problem(error), tone="bad")
    return go(request, here, say="Taken." if form.get("take") else "Given.")


@post(PEOPLE + "/{username:str}/account", include_in_schema=False)
async def change_account(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, username: FromPath[str]
) -> Redirect:
    """Close a person's account, or open it again."""
    found, form = await manage_people.find_person(store, caller, username), await read_form(request)
    here = f"{PEOPLE}/{username}"
    try:
        if form.get("open"):
            await manage_people.reactivate_person(store, caller, found.id)
        else:
            await manage_people.deactivate_person(store, caller, found.id)
    except DomainError as error:
        return go(request, here, say=first_problem(error), tone="bad")
    return go(request, here, say="The account is open again." if form.get("open") else "The account is closed.")


@post(PEOPLE + "/{username:str}/look", include_in_schema=False)
async def begin_look(request: HttpRequest, store: GivenStore, caller: GivenCaller, username: FromPath[str]) -> Redirect:
    """Begin to see the store as this person does."""
    found, form = await manage_people.find_person(store, caller, username), await read_form(request)
    try:
        look_id = await see_as.begin_look(store, caller, found.id, form.into(see_as.LookForm))
    except DomainError as error:
        return go(request, f"{PEOPLE}/{username}", say=first_problem(error), tone="bad")
    kept = cookie(
        LOOK_COOKIE, str(look_id), secure=request.url.scheme == "https", max_age=int(see_as.LASTS.total_seconds())
    )
    return go(request, "/", cookies=(kept,))


@post("/office/look/end", include_in_schema=False)
async def end_look(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Redirect:
    """Stop seeing the store as somebody else does."""
    caller.check_signed_in()
    await see_as.end_look(store, caller)
    target = f"{PEOPLE}/{caller.username}" if caller.behind else "/"
    return go(request, target, say="You are yourself again.", tone="info", cookies=(forget(LOOK_COOKIE),))


@get(MODERATION, include_in_schema=False)
async def moderation(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, after: FromQuery[str | None] = None
) -> Response[str]:
    """Show what was reported, what was appealed against, and the latest decisions."""
    queue = await moderate.moderation_queue(store, caller)
    latest = await moderate.latest_decisions(store, caller, after=after)
    return await page(
        request, store, caller, "office_moderation", queue=queue, latest=latest.items, reasons=REASONS,
        next_path=_with(MODERATION, after=latest.after) if latest.after else None,
    )  # fmt: skip


@get(MODERATION + "/{kind:str}/{subject_id:uuid}", include_in_schema=False)
async def case(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, kind: FromPath[str], subject_id: FromPath[UUID]
) -> Response[str]:
    """Show everything about one thing that was reported."""
    view = await moderate.open_case(store, caller, subject_kind(kind), subject_id)
    return await page(request, store, caller, "office_case", view=view, reasons=REASONS, form={}, errors={})


@post(MODERATION + "/{kind:str}/{subject_id:uuid}", include_in_schema=False)
async def decide(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, kind: FromPath[str], subject_id: FromPath[UUID]
) -> Response[Any]:
    """Decide about it."""
    what, form = subject_kind(kind), await read_form(request)
    try:
        wanted = form.into(DecisionForm, days=form.whole("days", 7))
        await moderate.decide_case(store, caller, what, subject_id, wanted)
    except DomainError as error:
        if error.kind in {"not_found", "refused"}:
            raise
        view = await moderate.open_case(store, caller, what, subject_id)
        return await page(
            request, store, caller, "office_case", status=422, view=view, reasons=REASONS, form=form.texts,
            errors=problems_of(error),
        )  # fmt: skip
    return go(request, MODERATION, say="Decided.")


@post("/office/decisions/{decision_id:uuid}/undo", include_in_schema=False)
async def undo(request: HttpRequest, store: GivenStore, caller: GivenCaller, decision_id: FromPath[UUID]) -> Redirect:
    """Take a decision back with everything it did."""
    form = await read_form(request)
    back = local_path(form.get("next"), MODERATION)
    try:
        await moderate.undo_decision(store, caller, decision_id, form.get("reason"))
    except DomainError as error:
        if error.kind in {"not_found", "refused"}:
            raise
        return go(request, back, say=first_problem(error), tone="bad")
    return go(request, back, say="Undone.")


@post("/office/decisions/{decision_id:uuid}/appeal", include_in_schema=False)
async def answer_appeal(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, decision_id: FromPath[UUID]
) -> Redirect:
    """Grant or refuse an appeal."""
    form = await read_form(request)
    try:
        wanted = AppealAnswer(grant=form.get("grant") == "1", answer=form.get("answer"))
        await moderate.answer_appeal(store, caller, decision_id, wanted)
    except DomainError as error:
        if error.kind == "not_found":
            raise
        return go(request, MODERATION, say=first_problem(error), tone="bad")
    return go(request, MODERATION, say="Granted; the decision is undone." if wanted.grant else "Refused.")


@get(PAPERS, include_in_schema=False)
async def papers(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, status: FromQuery[str] = "pending"
) -> Response[str]:
    """List submissions that wait to be looked at, or that were decided."""
    shown = status if status in {"pending", "verified", "rejected", "expired"} else "pending"
    rows = await verify.waiting_verifications(store, caller, shown)
    return await page(request, store, caller, "office_papers", rows=rows, status_shown=shown, kinds=KINDS)


@get(PAPERS + "/{verification_id:uuid}", include_in_schema=False)
async def paper(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, verification_id: FromPath[UUID]
) -> Response[str]:
    """Show a submission with what was sent."""
    found = await verify.verification_case(store, caller, verification_id)
    return await page(request, store, caller, "office_paper", found=found, kinds=KINDS)


@get(PAPERS + "/{verification_id:uuid}/{position:int}", include_in_schema=False)
async def document(
    store: GivenStore, caller: GivenCaller, verification_id: FromPath[UUID], position: FromPath[int]
) -> Response[bytes]:
    """Hand a document out, as a download that no browser runs."""
    data, media_type = await verify.verification_document(store, caller, verification_id, position)
    name = f"{verification_id}-{position}.{media_type.partition('/')[2]}"
    return Response(data, media_type=media_type, headers=download_headers(name))


@post(PAPERS + "/{verification_id:uuid}", include_in_schema=False)
async def decide_paper(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, verification_id: FromPath[UUID]
) -> Redirect:
    """Accept a submission or refuse it."""
    form = await read_form(request)
    try:
        wanted = VerificationDecision(verify=form.get("verify") == "1", reason=form.get("reason"))
        await verify.decide_verification(store, caller, verification_id, wanted)
    except DomainError as error:
        if error.kind in {"not_found", "refused"}:
            raise
        return go(request, f"{PAPERS}/{verification_id}", say=first_problem(error), tone="bad")
    return go(request, PAPERS, say="Verified." if wanted.verify else "Refused; the person reads why.")


@get(AUDIT, include_in_schema=False)
async def audit_log(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, person: FromQuery[str] = "", about: FromQuery[str] = "",
    table: FromQuery[str] = "", row: FromQuery[str] = "", action: FromQuery[str] = "", since: FromQuery[str] = "",
    until: FromQuery[str] = "", after: FromQuery[str | None] = None,
) -> Response[str]:  # fmt: skip
    """Search the audit log."""
    asked = {"person": person.strip(), "about": about.strip(), "table": table.strip(), "row": row.strip(), "action": action,
             "since": since, "until": until}  # fmt: skip
    problem, following = "", None
    lines: tuple[audit.AuditLine, ...] = ()
    try:
        found = await audit.audit_page(store, caller, _question(asked), after=after, limit=50)
        lines, following = found.items, found.after
    except DomainError as error:
        if error.kind == "refused":
            raise
        problem = first_problem(error)
    except ValueError:
        problem = "A day is written like 2026-11-21."
    return await page(
        request, store, caller, "office_audit", lines=lines, asked=asked, actions=_ACTIONS, problem=problem,
        next_path=_with(AUDIT, **asked, after=following) if following else None,
    )  # fmt: skip


def _question(asked: dict[str, str]) -> audit.AuditQuestion:
    words = {name: asked[name][:200] for name in ("person", "about", "table", "row")}
    action = asked["action"] if asked["action"] in _ACTIONS else ""
    return audit.AuditQuestion(**words, action=action, since=_moment(asked["since"]), until=_moment(asked["until"]))


def _moment(text: str) -> datetime | None:
    return audit.as_moment(text[:40])


office_routes = [
    people, person, change_role, change_account, begin_look, end_look, moderation, case, decide, undo, answer_appeal, papers,
    paper, document, decide_paper, audit_log,
]  # fmt: skip
