"""Signing up, in and out; one's own profile."""

from functools import cache
from typing import Any, Final
from zoneinfo import available_timezones

from babel import Locale
from litestar import Response, get, post
from litestar.params import FromQuery
from litestar.response import Redirect

from tradepost.accounts.passkeys import options_to_sign_in
from tradepost.accounts.types import Caller, EditProfile, SecondStepNeeded, SignIn, SignUp
from tradepost.core.errors import DomainError
from tradepost.flows.manage_account import edit_profile, own_profile, set_avatar
from tradepost.flows.second_step import site_of
from tradepost.flows.sign_in import sign_in, sign_out
from tradepost.flows.sign_in_outside import offered
from tradepost.flows.sign_up import sign_up
from tradepost.flows.store import Store
from tradepost.web.forms import problems_of, read_form
from tradepost.web.pages import go, page
from tradepost.web.recovery import second_step_page, session_cookie, welcome
from tradepost.web.security import SESSION_COOKIE, forget, local_path
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

LANGUAGES: Final = ("en", "ar", "de", "es", "fr", "it", "nd", "nl", "pl", "pt", "sn", "sw", "tr", "zh")


@get("/sign-in", include_in_schema=False)
async def sign_in_form(
    request: HttpRequest,
    store: GivenStore,
    caller: GivenCaller,
    next: FromQuery[str] = "",  # noqa: A002  # the parameter's name
) -> Response[Any]:
    """Ask who it is."""
    if caller.is_signed_in:
        return go(request, local_path(next))
    return await _sign_in_page(request, store, caller, {"next": next}, {})


async def _sign_in_page(
    request: HttpRequest, store: Store, caller: Caller, form: dict[str, str], errors: dict[str, str], status: int = 200
) -> Response[str]:
    sample = store.settings.sample
    return await page(
        request, store, caller, "sign_in", status=status, form=form, errors=errors, next=form.get("next", ""),
        sign_ins=sample.sign_ins if store.is_demo else (), sample_password=sample.password if store.is_demo else "",
        passkey_options=options_to_sign_in(site_of(store)), providers=offered(store),
    )  # fmt: skip


@post("/sign-in", include_in_schema=False)
async def sign_in_now(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Sign a person in; a wrong name and a wrong password look the same."""
    form = await read_form(request)
    try:
        started = await sign_in(store, caller, form.into(SignIn), request.headers.get("user-agent", ""))
    except SecondStepNeeded as needed:
        return await second_step_page(request, store, caller, needed.step, form.get("next"), {})
    except DomainError as error:
        shown = form.texts | {"password": ""}
        return await _sign_in_page(request, store, caller, shown, problems_of(error), _status(error))
    return welcome(request, started, form.get("next"))


def _status(error: DomainError) -> int:
    """Return the status of a form that is shown again: programs that guess passwords are told to slow down."""
    return 429 if error.kind == "too_many" else 422


@get("/sign-up", include_in_schema=False)
async def sign_up_form(
    request: HttpRequest,
    store: GivenStore,
    caller: GivenCaller,
    next: FromQuery[str] = "",  # noqa: A002  # the parameter's name
) -> Response[Any]:
    """Ask for what an account needs."""
    if caller.is_signed_in:
        return go(request, local_path(next))
    return await _sign_up_page(request, store, caller, {"next": next}, {})


async def _sign_up_page(
    request: HttpRequest, store: Store, caller: Caller, form: dict[str, str], errors: dict[str, str], status: int = 200
) -> Response[str]:
    roles = [r for r in store.settings.roles if r.self_service]
    return await page(
        request, store, caller, "sign_up", status=status, form=form, errors=errors, next=form.get("next", ""),
        roles=roles, providers=offered(store),
    )  # fmt: skip


@post("/sign-up", include_in_schema=False)
async def sign_up_now(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Make an account and sign it in; the visitor's cart comes along."""
    form = await read_form(request)
    try:
        wanted = form.into(SignUp, role=form.get("role") or None)
        started = await sign_up(store, caller, wanted, request.headers.get("user-agent", ""))
    except DomainError as error:
        shown = form.texts | {"password": ""}
        return await _sign_up_page(request, store, caller, shown, problems_of(error), _status(error))
    return go(
        request,
        form.get("next") or "/",
        say=f"Welcome, {started.caller.display_name}.",
        cookies=(session_cookie(request, started),),
    )


@post("/sign-out", include_in_schema=False)
async def sign_out_now(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Redirect:
    """End the browser's session."""
    await sign_out(store, caller)
    return go(request, "/", say="You are signed out.", tone="info", cookies=(forget(SESSION_COOKIE),))


@get("/me", include_in_schema=False)
async def profile_form(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Show what the person has told about themselves."""
    return await _profile_page(request, store, caller, None, {})


_FIELDS = (
    "username", "display_name", "first_name", "last_name", "bio", "business_name", "service_type", "place", "phone", "locale",
    "timezone",
)  # fmt: skip
_MAY_BE_EMPTY = ("business_name", "service_type", "phone", "locale", "timezone")


async def _profile_page(
    request: HttpRequest, store: Store, caller: Caller, form: dict[str, str] | None, errors: dict[str, str]
) -> Response[str]:
    caller.check_signed_in()
    profile = await own_profile(store, caller)
    shown = form or {n: getattr(profile, n) or "" for n in _FIELDS}
    return await page(
        request, store, caller, "profile", status=422 if errors else 200, profile=profile, form=shown, errors=errors,
        languages=languages(), timezones=timezones(),
    )  # fmt: skip


@post("/me", include_in_schema=False)
async def save_profile(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Keep what the person changed about themselves, and a new picture where one came along."""
    caller.check_signed_in()
    form = await read_form(request)
    try:
        optional = {n: form.get(n) or None for n in _MAY_BE_EMPTY if n in form.texts}
        await edit_profile(store, caller, form.into(EditProfile, **optional))
        for upload in form.files.get("avatar", [])[:1]:
            await set_avatar(store, caller, await upload.read())
    except DomainError as error:
        return await _profile_page(request, store, caller, form.texts, problems_of(error))
    return go(request, "/me", say="Saved.")


@cache
def languages() -> tuple[tuple[str, str], ...]:
    """Return languages to choose from: those of the world's stores, each in its own words."""
    return tuple((code, f"{Locale.parse(code).get_display_name(code)}") for code in LANGUAGES)


@cache
def timezones() -> tuple[tuple[str, str], ...]:
    """Return the time zones to choose from."""
    areas = ("Africa/", "America/", "Asia/", "Atlantic/", "Australia/", "Europe/", "Indian/", "Pacific/")
    return tuple((name, name.replace("_", " ")) for name in sorted(available_timezones()) if name.startswith(areas))


people_routes = [sign_in_form, sign_in_now, sign_up_form, sign_up_now, sign_out_now, profile_form, save_profile]
