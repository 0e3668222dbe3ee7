"""What people say about themselves: names, place, telephone, picture.

Promises that a telephone number is stored encrypted, with a blind index that keeps it unique.
"""

from collections.abc import Collection
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET
from sqlalchemy import Boolean, Double, Text, bindparam, case, cast, exists, func, select, update
from sqlalchemy.dialects import postgresql

from tradepost.accounts import sessions
from tradepost.accounts.events import ProfileChanged
from tradepost.accounts.queries import PHONE
from tradepost.accounts.rules import as_phone, locale_problem, timezone_problem, username_problem
from tradepost.accounts.tables import users
from tradepost.accounts.types import PROFILE_SCOPE, Caller, EditProfile, NoSuchPerson, PhoneTaken, UsernameTaken
from tradepost.core.cache import Cache
from tradepost.core.crypto import Keyring
from tradepost.core.database import Transaction, on_violation
from tradepost.core.events import record
from tradepost.core.fields import broken_limits, check_fields
from tradepost.core.text import one_line, paragraphs

on_violation("uq_users_phone_index", PhoneTaken)

_USER_ID = bindparam("user_id", type_=postgresql.UUID)
_COLUMNS = (
    "username", "display_name", "first_name", "last_name", "bio", "business_name", "service_type", "location_text", "locale", "timezone",
    "phone_enc", "phone_index",
)  # fmt: skip
_OPTIONAL = {"business_name", "service_type", "phone", "locale", "timezone"}
_CURRENT = select(*(users.c[n] for n in _COLUMNS)).where(users.c.id == _USER_ID).with_for_update(key_share=True)
_USERNAME = select(cast(users.c.username, Text)).where(users.c.id == _USER_ID)
_LOOKS_TAKEN = select(
    exists().where(
        users.c.id != _USER_ID,
        func.username_looks(cast(users.c.username, Text)) == func.username_looks(bindparam("username", type_=Text)),
    )
)
_POINT = func.geo_point(bindparam("lat", type_=Double), bindparam("lon", type_=Double))
_CHANGE = (
    update(users)
    .where(users.c.id == _USER_ID)
    .values(
        {n: bindparam(n) for n in _COLUMNS}
        | {"location": case((bindparam("moves", type_=Boolean), _POINT), else_=users.c.location)}
    )
)
_SET_AVATAR = (
    update(users).where(users.c.id == _USER_ID).values(avatar_file_id=bindparam("file_id", type_=postgresql.UUID))
)


class Position(msgspec.Struct, frozen=True):
    """A named place with its coordinates in degrees."""

    name: str
    lat: float
    lon: float


async def change_profile(
    tx: Transaction,
    cache: Cache,
    keys: Keyring,
    caller: Caller,
    form: EditProfile,
    place: Position | None = None,
    reserved: Collection[str] = (),
) -> None:
    """Change what the form names in the caller's own profile. `place` is what `form.place` was found to be.

    `reserved` are names that nobody may take here.

    Raises `FieldErrors` with everything that is wrong, `PhoneTaken`, and `NotAllowed` for a token without the scope `profile`.
    """
    user_id = caller.check_scope(PROFILE_SCOPE)
    given = _cleaned(form)
    _check(form, given, place)
    await _check_username(tx, user_id, given, reserved)
    new = {name: value for name, value in given.items() if name in _COLUMNS}
    if "place" in given:
        new["location_text"] = place.name if place else ""
    if "phone" in given:
        new |= _sealed(keys, given["phone"])
    row = await tx.maybe(_CURRENT, user_id=user_id)
    if row is None:
        raise NoSuchPerson
    old = dict(row)
    changed = {name for name, value in new.items() if old[name] != value and name != "phone_enc"}
    if not changed:
        return
    lat, lon = (place.lat, place.lon) if place else (None, None)
    await tx.run(_CHANGE, user_id=user_id, moves="location_text" in changed, lat=lat, lon=lon, **(old | new))
    told = sorted({"location_text": "place", "phone_index": "phone"}.get(name, name) for name in changed)
    await record(tx, ProfileChanged(user_id, tuple(told)), subject_id=user_id)
    if changed & {"username", "display_name", "locale"}:
        await sessions.forget_person(tx, cache, user_id)


async def set_avatar(tx: Transaction, caller: Caller, file_id: UUID | None) -> None:
    """Show a stored picture as the caller's portrait, or none."""
    user_id = caller.check_scope(PROFILE_SCOPE)
    await tx.run(_SET_AVATAR, user_id=user_id, file_id=file_id)
    await record(tx, ProfileChanged(user_id, ("avatar",)), subject_id=user_id)


async def _check_username(tx: Transaction, user_id: UUID, given: dict[str, Any], reserved: Collection[str]) -> None:
    """A new name must be free in every spelling that looks like it; the letters of one's own may change their size."""
    if "username" not in given:
        return
    name = given["username"]
    current = await tx.value(_USERNAME, user_id=user_id)
    if name.casefold() != str(current).casefold():
        check_fields({"username": username_problem(name, also_reserved=reserved)})
        if await tx.value(_LOOKS_TAKEN, user_id=user_id, username=name):
            raise UsernameTaken


def _cleaned(form: EditProfile) -> dict[str, Any]:
    """Return the fields the form names, tidied; what may be absent is None rather than empty."""
    found: dict[str, Any] = {}
    for name in form.__struct_fields__:
        value = getattr(form, name)
        if value is UNSET:
            continue
        tidy = value if value is None else paragraphs(value) if name == "bio" else one_line(value)
        found[name] = None if name in _OPTIONAL and not tidy else tidy
    return found


def _check(form: EditProfile, given: dict[str, Any], place: Position | None) -> None:
    locale, timezone, phone = given.get("locale"), given.get("timezone"), given.get("phone")
    problems: dict[str, str | None] = {
        "locale": locale_problem(locale) if locale else None,
        "timezone": timezone_problem(timezone) if timezone else None,
        "phone": "Please write it with the country's code: +263 77 123 4567."
        if phone and not as_phone(phone)
        else None,
        "place": "We do not know this place. Please choose one of the list."
        if given.get("place") and not place
        else None,
    }
    check_fields(problems | broken_limits(form))


def _sealed(keys: Keyring, phone: str | None) -> dict[str, bytes | None]:
    """Return the columns that hold a telephone number: encrypted, and its blind index."""
    number = as_phone(phone) if phone else None
    if number is None:
        return {"phone_enc": None, "phone_index": None}
    return {"phone_enc": keys.encrypt(number, PHONE), "phone_index": keys.blind_index(number, PHONE)}
