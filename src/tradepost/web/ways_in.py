"""One's own security page: password, address, second steps, passkeys, devices, API tokens, closing the account."""

from typing import Any

import segno
from litestar import Response, get, post
from litestar.params import FromQuery
from markupsafe import Markup

from tradepost.accounts import queries
from tradepost.accounts.api_tokens import issue_token, revoke_token
from tradepost.accounts.passkeys import options_to_add, options_to_sign_in
from tradepost.accounts.totp import as_address, as_text
from tradepost.accounts.types import PROFILE_SCOPE, Caller, ChangePassword, NewToken, NoSuchApp, NoSuchToken
from tradepost.core.errors import DomainError
from tradepost.flows import second_step
from tradepost.flows.account_links import ask_confirmation, ask_email_change, awaited_email
from tradepost.flows.app_sign_in import end_app, list_apps
from tradepost.flows.manage_account import change_password, close_account, close_account_without_password, own_profile
from tradepost.flows.second_step import site_of
from tradepost.flows.sign_in import sign_out_device, sign_out_others
from tradepost.flows.sign_in_outside import offered
from tradepost.flows.store import Store
from tradepost.web.context import as_uuid
from tradepost.web.forms import Form, problems_of, read_form
from tradepost.web.pages import go, page
from tradepost.web.recovery import session_cookie
from tradepost.web.security import SESSION_COOKIE, forget, local_path
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

HERE = "/me/security"


@get("/me/security", include_in_schema=False)
async def security_form(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Show the ways into the person's account."""
    return await _security_page(request, store, caller, {}, {})


async def _security_page(
    request: HttpRequest, store: Store, caller: Caller, form: dict[str, str], errors: dict[str, str]
) -> Response[str]:
    found, profile = await second_step.security_page(store, caller), await own_profile(store, caller)
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        devices = await queries.list_sessions(tx, caller, limit=100)
    return await page(
        request, store, caller, "security", status=422 if errors else 200, profile=profile, ways=found, form=form, errors=errors,
        devices=devices.items, apps=await list_apps(store, caller), this_device=caller.session.hex() if caller.session else "",
        awaited=await awaited_email(store, caller), providers=[
            (code, name, next((login for login in found.logins if login.provider == code), None)) for code, name in offered(store)
        ],
    )  # fmt: skip


async def _tried(request: HttpRequest, store: Store, caller: Caller, form: Form, error: DomainError) -> Response[str]:
    """Show the page again with what was wrong, or raise what is no matter of a field."""
    if error.kind not in {"invalid", "too_many"}:
        raise error
    return await _security_page(request, store, caller, form.texts | {"current": "", "new": ""}, problems_of(error))


@post("/me/password", include_in_schema=False)
async def save_password(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Give the person another password; every other device is signed out."""
    caller.check_in_person()
    form = await read_form(request)
    try:
        wanted = form.into(ChangePassword, revoke_tokens=bool(form.get("revoke_tokens")))
        started = await change_password(store, caller, wanted, request.headers.get("user-agent", ""))
    except DomainError as error:
        return await _tried(request, store, caller, form, error)
    say = "Your password is changed; other devices are signed out."
    return go(request, HERE, say=say, cookies=(session_cookie(request, started),))


@post("/me/email", include_in_schema=False)
async def change_email(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Ask the old and the new address whether letters should go to the new one."""
    caller.check_in_person()
    form = await read_form(request)
    try:
        await ask_email_change(store, caller, form.get("email"))
    except DomainError as error:
        return await _tried(request, store, caller, form, error)
    return go(request, HERE, say="Please open the letters we have sent, and say yes in each.", tone="info")


@post("/me/email/confirm", include_in_schema=False)
async def confirm_again(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Send the letter that asks whether the address is the person's once more."""
    await ask_confirmation(store, caller)
    return go(request, HERE, say="The letter is on its way.", tone="info")


@get("/me/confirm", include_in_schema=False)
async def prove_form(
    request: HttpRequest,
    store: GivenStore,
    caller: GivenCaller,
    next: FromQuery[str] = HERE,  # noqa: A002  # the parameter's name
) -> Response[str]:
    """Ask the person to show that it is them, before they change how they sign in."""
    return await _prove_page(request, store, caller, next, {})


async def _prove_page(
    request: HttpRequest, store: Store, caller: Caller, target: str, errors: dict[str, str], status: int = 200
) -> Response[str]:
    found, profile = await second_step.security_page(store, caller), await own_profile(store, caller)
    options = options_to_sign_in(site_of(store)) if found.passkeys else ""
    return await page(
        request, store, caller, "prove", status=status, next=local_path(target, HERE), errors=errors, ways=found, profile=profile,
        passkey_options=options,
        providers=[one for one in offered(store) if one[0] in {login.provider for login in found.logins}],
    )  # fmt: skip


@post("/me/confirm", include_in_schema=False)
async def prove_now(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Take a password, a code or a passkey as proof."""
    caller.check_in_person()
    form = await read_form(request)
    target = form.get("next")
    try:
        if form.get("credential"):
            await second_step.prove_by_passkey(store, caller, form.get("credential"))
        elif form.get("code"):
            await second_step.prove_by_code(store, caller, form.get("code"))
        else:
            await second_step.prove_by_password(store, caller, form.texts.get("password", ""))
    except DomainError as error:
        if error.kind not in {"invalid", "too_many"}:
            raise
        status = 429 if error.kind == "too_many" else 422
        return await _prove_page(request, store, caller, target, problems_of(error), status)
    return go(request, local_path(target, HERE), say="Thank you. You can change it now.")


@get("/me/security/app", include_in_schema=False)
async def app_form(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Show what an authenticator app reads, and ask for its first code."""
    return await _app_page(request, store, caller, {})


async def _app_page(request: HttpRequest, store: Store, caller: Caller, errors: dict[str, str]) -> Response[str]:
    secret = await second_step.offer_totp(store, caller)
    address = as_address(secret, issuer=store.settings.store.name, account=caller.username)
    answer = await page(
        request, store, caller, "totp", status=422 if errors else 200, secret=as_text(secret), address=address,
        drawing_of=qr(address), errors=errors,
    )  # fmt: skip
    answer.headers["cache-control"] = "no-store"
    return answer


def qr(text: str) -> Markup:
    """Return a QR code as a drawing in the page, dark on light in every colour scheme."""
    drawn = segno.make(text, error="m", micro=False).svg_inline(
        scale=1, border=3, omitsize=True, svgclass="qr__drawing"
    )
    return Markup(drawn)  # noqa: S704  # a library's drawing: the text is in its squares


@post("/me/security/app", include_in_schema=False)
async def app_now(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Ask for the app's codes from now on, once its first was right."""
    form = await read_form(request)
    try:
        codes = await second_step.confirm_totp(store, caller, form.get("code"))
    except DomainError as error:
        if error.kind != "invalid":
            raise
        return await _app_page(request, store, caller, problems_of(error))
    return await _codes_page(request, store, caller, codes, "Your app is asked for at every sign-in from now on.")


async def _codes_page(
    request: HttpRequest, store: Store, caller: Caller, codes: tuple[str, ...], say: str
) -> Response[Any]:
    if not codes:
        return go(request, HERE, say=say)
    answer = await page(request, store, caller, "recovery_codes", codes=codes, say=say)
    answer.headers["cache-control"] = "no-store"
    return answer


@post("/me/security/app/remove", include_in_schema=False)
async def remove_app(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Ask for the app's codes no longer."""
    await second_step.remove_totp(store, caller)
    return go(request, HERE, say="The app is asked for no longer.", tone="info")


@post("/me/security/codes", include_in_schema=False)
async def make_codes(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Make new recovery codes in the place of the old ones."""
    codes = await second_step.new_recovery_codes(store, caller)
    return await _codes_page(request, store, caller, codes, "The codes you had before are void.")


@get("/me/security/passkey", include_in_schema=False)
async def passkey_page(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Ask the browser to make a passkey."""
    found = await second_step.security_page(store, caller)
    options = options_to_add(site_of(store), caller, found.passkeys)
    return await page(request, store, caller, "passkey", passkey_options=options)


@post("/me/security/passkey", include_in_schema=False)
async def passkey_now(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Take the passkey that the browser made."""
    form = await read_form(request)
    codes = await second_step.add_passkey(store, caller, form.get("credential"), form.get("name"))
    return await _codes_page(request, store, caller, codes, "Your passkey is ready.")


@post("/me/security/passkey/remove", include_in_schema=False)
async def remove_passkey(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Accept a passkey no longer."""
    form = await read_form(request)
    await second_step.remove_passkey(store, caller, form.get("id"))
    return go(request, HERE, say="That passkey is accepted no longer.", tone="info")


@post("/me/devices/end", include_in_schema=False)
async def end_device(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Sign one of the person's devices out."""
    form = await read_form(request)
    await sign_out_device(store, caller, form.get("id"))
    return go(request, HERE, say="That device is signed out.")


@post("/me/apps/end", include_in_schema=False)
async def end_one_app(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Sign one of the person's apps out."""
    form = await read_form(request)
    family = as_uuid(form.get("id"))
    if family is None:
        raise NoSuchApp
    await end_app(store, caller, family)
    return go(request, HERE, say="That app is signed out.")


@post("/me/devices/end-others", include_in_schema=False)
async def end_other_devices(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Sign every device out but this one."""
    ended = await sign_out_others(store, caller)
    return go(request, HERE, say=f"Signed out: {ended}. This device stays." if ended else "There is no other device.")


@post("/me/close", include_in_schema=False)
async def close_now(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Close the person's own account; a letter brings the way back."""
    caller.check_in_person()
    form = await read_form(request)
    try:
        if (await own_profile(store, caller)).has_password:
            await close_account(store, caller, form.texts.get("close", ""))
        else:
            await close_account_without_password(store, caller)
    except DomainError as error:
        return await _tried(request, store, caller, form, _for_closing(error))
    say = "Your account is closed. A letter tells you how to open it again."
    return go(request, "/", say=say, tone="info", cookies=(forget(SESSION_COOKIE),))


def _for_closing(error: DomainError) -> DomainError:
    """The page asks for the password of today in two forms: name the field of this one."""
    errors = getattr(error, "errors", None)
    if errors and "current" in errors:
        errors["close"] = errors.pop("current")
    return error


@get("/me/tokens", include_in_schema=False)
async def tokens_form(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, after: FromQuery[str] = ""
) -> Response[str]:
    """List the person's API tokens."""
    return await _tokens_page(request, store, caller, {}, {}, after=after)


async def _tokens_page(
    request: HttpRequest, store: Store, caller: Caller, form: dict[str, str], errors: dict[str, str], *, after: str = "",
    secret: str = "",
) -> Response[str]:  # fmt: skip
    caller.check_in_person()
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        tokens = await queries.list_tokens(tx, caller, after=after or None)
    answer = await page(
        request, store, caller, "tokens", status=422 if errors else 200, tokens=tokens, form=form, errors=errors, secret=secret,
        scopes=(PROFILE_SCOPE, *sorted(caller.permissions)),
    )  # fmt: skip
    if secret:
        answer.headers["cache-control"] = "no-store"
    return answer


@post("/me/tokens", include_in_schema=False)
async def make_token(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """Make an API token and show its secret, this once."""
    caller.check_proved()
    form = await read_form(request)
    scopes = tuple(name for name, value in form.below("scope").items() if value)
    try:
        wanted = form.into(NewToken, scopes=scopes)
        async with store.db.transaction(actor=caller.actor) as tx:
            issued = await issue_token(tx, caller, wanted)
    except DomainError as error:
        if error.kind != "invalid":
            raise
        return await _tokens_page(request, store, caller, form.texts, problems_of(error))
    return await _tokens_page(request, store, caller, {}, {}, secret=issued.secret)


@post("/me/tokens/revoke", include_in_schema=False)
async def drop_token(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[Any]:
    """End an API token at once."""
    form = await read_form(request)
    token_id = as_uuid(form.get("id"))
    if token_id is None:
        raise NoSuchToken
    async with store.db.transaction(actor=caller.actor) as tx:
        await revoke_token(tx, store.cache, caller, token_id)
    return go(request, "/me/tokens", say="That token is good for nothing any more.", tone="info")


ways_in_routes = [
    security_form, save_password, change_email, confirm_again, prove_form, prove_now, app_form, app_now, remove_app, make_codes,
    passkey_page, passkey_now, remove_passkey, end_device, end_one_app, end_other_devices, close_now, tokens_form, make_token, drop_token,
]  # fmt: skip
