"""A person's own side of trust: reporting and blocking, decisions about them, papers, a copy of their data, being forgotten."""

from typing import Any
from uuid import UUID

from litestar import Response, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, FromQuery
from litestar.response import Redirect

from tradepost.accounts.queries import find_profile
from tradepost.accounts.types import Caller
from tradepost.accounts.verification_types import KINDS, VerificationForm
from tradepost.core.errors import DomainError
from tradepost.flows import moderate, privacy, prove_phone, see_as, verify
from tradepost.flows.answer_review import answer_own_review, take_back_review
from tradepost.flows.manage_account import own_profile
from tradepost.flows.store import Store
from tradepost.moderation.types import REASONS, AppealForm, NoSuchSubject, ReportForm, SubjectKind
from tradepost.web.forms import first_problem, problems_of, read_form
from tradepost.web.pages import go, page
from tradepost.web.security import SESSION_COOKIE, forget, local_path
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

_KINDS: dict[str, SubjectKind] = {"listing": "listing", "person": "person", "review": "review", "message": "message"}


def subject_kind(text: str) -> SubjectKind:
    """Return what kind of thing an address names. Raises a 404 for any other word."""
    if text not in _KINDS:
        raise NotFoundException
    return _KINDS[text]


@get("/report/{kind:str}/{subject_id:uuid}", include_in_schema=False)
async def report_form(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, kind: FromPath[str], subject_id: FromPath[UUID]
) -> Response[str]:
    """Ask what is wrong."""
    caller.check_signed_in()
    return await _report_page(request, store, caller, subject_kind(kind), subject_id, {}, {})


async def _report_page(
    request: HttpRequest, store: Store, caller: Caller, kind: SubjectKind, subject_id: UUID, form: dict[str, str],
    errors: dict[str, str],
) -> Response[str]:  # fmt: skip
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        subject = await moderate.find_subject(tx, kind, subject_id)
    if subject is None or not subject.is_shown:
        raise NoSuchSubject
    return await page(
        request, store, caller, "report", status=422 if errors else 200, subject=subject, reasons=list(REASONS.items()),
        form=form, errors=errors,
    )  # fmt: skip


@post("/report/{kind:str}/{subject_id:uuid}", include_in_schema=False)
async def send_report(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, kind: FromPath[str], subject_id: FromPath[UUID]
) -> Response[Any]:
    """Tell the staff."""
    caller.check_signed_in()
    what, form = subject_kind(kind), await read_form(request)
    try:
        await moderate.report_subject(store, caller, what, subject_id, form.into(ReportForm))
    except NoSuchSubject:
        raise
    except DomainError as error:
        return await _report_page(request, store, caller, what, subject_id, form.texts, problems_of(error))
    return go(request, "/me/standing", say="Thank you. Somebody of the staff will look at it.")


@post("/u/{username:str}/block", include_in_schema=False)
async def toggle_block(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, username: FromPath[str]
) -> Redirect:
    """Block a person, or stop doing so."""
    caller.check_signed_in()
    form = await read_form(request)
    profile = await find_profile(store.db, username, caller.user_id)
    if form.get("unblock"):
        await moderate.unblock_person(store, caller, profile.id)
        return go(
            request, local_path(form.get("next"), f"/u/{username}"), say=f"{profile.display_name} is no longer blocked."
        )
    try:
        await moderate.block_person(store, caller, profile.id)
    except DomainError as error:
        return go(request, f"/u/{username}", say=first_problem(error), tone="bad")
    return go(request, f"/u/{username}", say=f"You will hear nothing of {profile.display_name} any more.")


@post("/reviews/{review_id:uuid}/answer", include_in_schema=False)
async def answer(request: HttpRequest, store: GivenStore, caller: GivenCaller, review_id: FromPath[UUID]) -> Redirect:
    """Answer a review of what one sells; an empty answer takes it back."""
    form = await read_form(request)
    back = local_path(form.get("next")) + "#reviews"
    await answer_own_review(store, caller, review_id, form.get("text"))
    return go(request, back, say="Your answer is there." if form.get("text") else "Your answer is gone.")


@post("/reviews/{review_id:uuid}/remove", include_in_schema=False)
async def remove_review(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, review_id: FromPath[UUID]
) -> Redirect:
    """Take one's own review back."""
    form = await read_form(request)
    await take_back_review(store, caller, review_id)
    return go(request, local_path(form.get("next")), say="Your review is gone.")


@get("/me/standing", include_in_schema=False)
async def standing(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Show what was decided about the person, what they reported, whom they blocked, and who looked with their eyes."""
    caller.check_signed_in()
    decisions, reports, blocked = await moderate.standing(store, caller)
    return await page(
        request, store, caller, "standing", decisions=decisions, reports=reports, blocked=blocked, reasons=REASONS,
        looks=await see_as.looks_at_me(store, caller),
    )  # fmt: skip


@post("/me/standing/{decision_id:uuid}/appeal", include_in_schema=False)
async def appeal(request: HttpRequest, store: GivenStore, caller: GivenCaller, decision_id: FromPath[UUID]) -> Redirect:
    """Object to a decision."""
    caller.check_signed_in()
    form = await read_form(request)
    try:
        await moderate.appeal_decision(store, caller, decision_id, form.into(AppealForm))
    except DomainError as error:
        if error.kind == "not_found":
            raise
        return go(request, "/me/standing", say=first_problem(error), tone="bad")
    return go(request, "/me/standing", say="Somebody else will look at it again.")


@get("/me/verification", include_in_schema=False)
async def verification(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, kind: FromQuery[str] = ""
) -> Response[str]:
    """Show what the person sent, and ask for more."""
    caller.check_signed_in()
    return await _verification_page(request, store, caller, {"kind": kind}, {})


async def _verification_page(
    request: HttpRequest, store: Store, caller: Caller, form: dict[str, str], errors: dict[str, str]
) -> Response[str]:
    sent = await verify.own_verifications(store, caller)
    open_kinds = {v.kind for v in sent if v.status in {"pending", "verified"}}
    return await page(
        request, store, caller, "verification", status=422 if errors else 200, sent=sent, kinds=KINDS,
        missing=[(code, name) for code, name in KINDS.items() if code not in open_kinds], form=form, errors=errors,
        profile=await own_profile(store, caller), kept_days=store.installation.privacy.documents_days,
        can_prove_phone=prove_phone.can_prove(store),
    )  # fmt: skip


@post("/me/verification", include_in_schema=False)
async def send_papers(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Take papers in, to be looked at."""
    caller.check_signed_in()
    form = await read_form(request)
    try:
        wanted = form.into(VerificationForm, valid_until=form.get("valid_until") or None)
        uploads = [(upload.filename, await upload.read()) for upload in form.files.get("documents", [])]
        await verify.submit_verification(store, caller, wanted, uploads)
    except DomainError as error:
        return await _verification_page(request, store, caller, form.texts, problems_of(error))
    return go(request, "/me/verification", say="Thank you. We will look at it within a few days.")


@post("/me/phone/code", include_in_schema=False)
async def send_phone_code(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Send a code to the person's telephone."""
    caller.check_in_person()
    try:
        await prove_phone.ask_code(store, caller)
    except DomainError as error:
        return await _verification_page(request, store, caller, {}, problems_of(error))
    return go(
        request, "/me/verification", say="A message with a code is on its way. It is good for ten minutes.", tone="info"
    )


@post("/me/phone", include_in_schema=False)
async def confirm_phone(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Take the code that came by text message."""
    caller.check_in_person()
    form = await read_form(request)
    try:
        await prove_phone.confirm_code(store, caller, form.get("code"))
    except DomainError as error:
        return await _verification_page(request, store, caller, {}, problems_of(error))
    return go(request, "/me/verification", say="Thank you, your number is confirmed.")


@post("/me/verification/{verification_id:uuid}/withdraw", include_in_schema=False)
async def withdraw_papers(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, verification_id: FromPath[UUID]
) -> Redirect:
    """Take papers back that nobody has decided about."""
    await verify.withdraw_verification(store, caller, verification_id)
    return go(request, "/me/verification", say="Taken back, and deleted.")


@get("/me/data", include_in_schema=False)
async def own_data(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Offer a copy of everything, and to be forgotten."""
    return await _data_page(request, store, caller, {})


async def _data_page(request: HttpRequest, store: Store, caller: Caller, errors: dict[str, str]) -> Response[str]:
    exports = await privacy.own_exports(store, caller)
    return await page(
        request, store, caller, "own_data", status=422 if errors else 200, exports=exports, errors=errors,
        under_way=any(e.state in {"waiting", "running"} for e in exports), days=store.installation.privacy.erase_after_days,
        profile=await own_profile(store, caller),
    )  # fmt: skip


@post("/me/data/export", include_in_schema=False)
async def make_copy(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Redirect:
    """Have a copy of everything made."""
    caller.check_signed_in()
    try:
        await privacy.ask_for_export(store, caller)
    except DomainError as error:
        return go(request, "/me/data", say=first_problem(error), tone="bad")
    return go(request, "/me/data", say="We are putting it together; reload this page in a moment.")


@get("/me/data/exports/{export_id:uuid}", include_in_schema=False)
async def fetch_copy(store: GivenStore, caller: GivenCaller, export_id: FromPath[UUID]) -> Response[bytes]:
    """Hand a copy out."""
    caller.check_signed_in()
    data = await privacy.fetch_export(store, caller, export_id)
    name = f"{store.code}-{caller.username}.zip"
    return Response(data, media_type="application/zip", headers=download_headers(name))


def download_headers(name: str) -> dict[str, str]:
    """Return the headers of a file that a browser saves and never runs."""
    return {
        "content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store",
        "content-security-policy": "default-src 'none'; sandbox",
    }  # fmt: skip


@post("/me/data/erase", include_in_schema=False)
async def erase(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Close the account, and erase it after some days."""
    caller.check_signed_in()
    form = await read_form(request)
    try:
        days = await privacy.ask_for_erasure(store, caller, form.texts.get("current", ""))
    except DomainError as error:
        return await _data_page(request, store, caller, problems_of(error))
    say = f"Your account is closed, and everything about you will be erased in {days} days. Goodbye."
    return go(request, "/", say=say, tone="info", cookies=(forget(SESSION_COOKIE),))


trust_routes = [
    report_form, send_report, toggle_block, answer, remove_review, standing, appeal, verification, send_papers, withdraw_papers,
    send_phone_code, confirm_phone, own_data, make_copy, fetch_copy, erase,
]  # fmt: skip
