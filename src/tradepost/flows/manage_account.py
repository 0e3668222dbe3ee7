"""What people do with their own account: change the password, the profile, close it."""

from datetime import timedelta
from typing import Final
from zoneinfo import ZoneInfo

from babel.dates import format_date
from msgspec import UNSET

from tradepost.accounts import profiles, queries
from tradepost.accounts.emails import note_closed
from tradepost.accounts.one_time import LIFETIMES, issue_link
from tradepost.accounts.passwords import check_password, hash_password, password_problem
from tradepost.accounts.service import deactivate, set_password
from tradepost.accounts.types import PROFILE_SCOPE, Caller, ChangePassword, EditProfile, OwnProfile, StartedSession
from tradepost.catalog.listing_pages import find_place
from tradepost.catalog.pictures import add_picture, receive_picture
from tradepost.core.clock import now
from tradepost.core.fields import check_fields
from tradepost.core.limits import check_rate
from tradepost.core.text import is_plain, one_line
from tradepost.flows.account_links import confirmation_path
from tradepost.flows.admit import begin_session
from tradepost.flows.letters import send_letter
from tradepost.flows.sign_in import SignInRow
from tradepost.flows.store import Store, own_names

TRIES: Final = 10


async def change_password(store: Store, caller: Caller, form: ChangePassword, user_agent: str = "") -> StartedSession:
    """Give the caller another password. Every session ends; the answer's `token` is a new one for this browser.

    Raises `FieldErrors` (the current password is wrong, the new one is refused), `TooOften` after 10 tries in a quarter of an
    hour, `NotByToken`.
    """
    known = await _check_current(store, caller, form.current)
    profile = await own_profile(store, caller)
    personal = (profile.username, profile.email or "", (profile.email or "").partition("@")[0], profile.display_name)
    same = "This is the password you have." if form.new == form.current else None
    check_fields({"new": same or password_problem(form.new, (*personal, store.settings.store.name))})
    new = await hash_password(form.new)
    async with store.db.transaction(actor=caller.actor) as tx:
        if not await set_password(tx, store.cache, profile.id, known=known, new=new, revoke_tokens=form.revoke_tokens):
            check_fields({"current": "The password was changed meanwhile."})
        await send_letter(tx, store, "security_changed", profile.id, what="Your password was changed")
        return await begin_session(tx, store, caller, profile.id, user_agent)


async def own_profile(store: Store, caller: Caller) -> OwnProfile:
    """Return what the caller has told us about themselves. Raises `SignInFirst`."""
    async with store.db.transaction(actor=caller.actor, read_only=True) as tx:
        return await queries.access_own_profile(tx, caller, store.keys)


async def edit_profile(store: Store, caller: Caller, form: EditProfile) -> OwnProfile:
    """Change what the form names and return the profile as it is then.

    Raises `FieldErrors` with everything that is wrong, a place nobody knows included.
    """
    caller.check_signed_in()
    name = one_line(form.place) if form.place is not UNSET else ""
    found = await find_place(store.db, name) if name and is_plain(name) else None
    place = None
    if found is not None and found.lat is not None and found.lon is not None:
        place = profiles.Position(found.name, found.lat, found.lon)
    async with store.db.transaction(actor=caller.actor) as tx:
        await profiles.change_profile(tx, store.cache, store.keys, caller, form, place, own_names(store))
        return await queries.access_own_profile(tx, caller, store.keys)


async def set_avatar(store: Store, caller: Caller, data: bytes | None) -> None:
    """Show a picture as the caller's portrait, or none. Raises `UploadTooLarge`, `NotAPicture`, `PictureTooLarge`, `NotAllowed`."""
    caller.check_scope(PROFILE_SCOPE)
    most_mb = store.installation.files.upload_limit_mb
    received = await receive_picture(store.files, data, most_mb=most_mb) if data is not None else None
    async with store.db.transaction(actor=caller.actor) as tx:
        picture = await add_picture(tx, received) if received is not None else None
        await profiles.set_avatar(tx, caller, picture.id if picture else None)


async def close_account(store: Store, caller: Caller, password: str) -> None:
    """Close the caller's own account; asks for the password once more. A letter brings a link that opens it again for 14 days.

    Raises `FieldErrors`, `LastAdministrator`, `TooOften`, `NotByToken`.
    """
    await _check_current(store, caller, password)
    await _close(store, caller)


async def close_account_without_password(store: Store, caller: Caller) -> None:
    """Close the account of a caller who has no password and has just proved who they are. Raises `ProveItAgain`."""
    caller.check_proved()
    await _close(store, caller)


async def _close(store: Store, caller: Caller) -> None:
    user_id = caller.check_in_person()
    async with store.db.transaction(actor=caller.actor) as tx:
        await deactivate(tx, store.cache, caller, user_id)
        await note_closed(tx, user_id)
        link = store.base_url + confirmation_path("reopen", await issue_link(tx, user_id, "reopen"))
        await send_letter(tx, store, "account_closed", user_id, link=link, until=_day_in(store, LIFETIMES["reopen"]))


def _day_in(store: Store, wait: timedelta) -> str:
    shop = store.settings.store
    return format_date((now() + wait).astimezone(ZoneInfo(shop.timezone)), "long", locale=shop.locale)


async def _check_current(store: Store, caller: Caller, password: str) -> str:
    """Return the hash of the caller's password if this is it."""
    user_id = caller.check_in_person()
    await check_rate(store.cache, str(user_id), "password", TRIES)
    row = await store.db.read_maybe(queries.SIGN_IN_BY_ID, into=SignInRow, fresh=True, user_id=user_id)
    known = row.password_hash if row else None
    if not await check_password(known, password) or known is None:
        check_fields({"current": "This is not your password."})
    return known or ""
