"""Every read of people: who a cookie or a token stands for, profiles, follows, devices, tokens, roles.

`access_*` are the only doors to what belongs to one person; `lock_*` are for this module.
"""

from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Double,
    Integer,
    LargeBinary,
    Text,
    and_,
    bindparam,
    cast,
    column,
    exists,
    func,
    literal_column,
    or_,
    select,
    text,
    tuple_,
)
from sqlalchemy.dialects import postgresql

from tradepost.accounts.tables import follows, role_permissions, sessions, tokens, user_roles, users
from tradepost.accounts.types import (
    ApiToken,
    Caller,
    Follow,
    ManagedPerson,
    NoSuchPerson,
    NoSuchToken,
    OwnProfile,
    PersonCard,
    PublicProfile,
    SignedInDevice,
)
from tradepost.core.clock import now
from tradepost.core.columns import Timestamp
from tradepost.core.crypto import Keyring
from tradepost.core.database import Database, Transaction
from tradepost.core.pages import (
    LATEST,
    Moment,
    NoSuchPage,
    Page,
    from_cursor,
    newest_first,
    page_of,
    page_size,
    to_cursor,
)
from tradepost.core.text import is_plain

PHONE = "users.phone"

_USER_ID = bindparam("user_id", type_=postgresql.UUID)
_LIMIT = bindparam("limit", type_=BigInteger)
_BEFORE = tuple_(bindparam("before_at", type_=Timestamp), bindparam("before_id", type_=postgresql.UUID))

_CALLER_COLUMNS = (
    column("user_id", postgresql.UUID), column("username", Text), column("display_name", Text), column("email", Text),
    column("locale", Text), column("roles", ARRAY(Text)), column("permissions", ARRAY(Text)),
    column("created_at", Timestamp), column("last_seen_at", Timestamp), column("expires_at", Timestamp),
    column("has_second_step", Boolean),
)  # fmt: skip
SESSION_CALLER = select(
    func.session_caller(bindparam("hash", type_=LargeBinary)).table_valued(
        *_CALLER_COLUMNS, column("proved_at", Timestamp), name="found"
    )
)
TOKEN_CALLER = select(
    func.token_caller(bindparam("hash", type_=LargeBinary)).table_valued(
        *_CALLER_COLUMNS, column("token_id", postgresql.UUID), column("scopes", ARRAY(Text)), name="found"
    )
)

_SIGN_IN = select(
    users.c.id, users.c.username, users.c.password_hash, users.c.is_active,
    func.has_second_step(users.c.id, type_=Boolean).label("has_second_step"),
)  # fmt: skip
SIGN_IN_BY_USERNAME = _SIGN_IN.where(users.c.username == bindparam("login"))
SIGN_IN_BY_EMAIL = _SIGN_IN.where(users.c.email == bindparam("login"))
SIGN_IN_BY_ID = _SIGN_IN.where(users.c.id == _USER_ID)
WHO_HAS = select(
    exists().where(
        func.username_looks(cast(users.c.username, Text)) == func.username_looks(bindparam("username", type_=Text))
    ).label("username"),
    exists().where(users.c.email == bindparam("email")).label("email"),
)  # fmt: skip
LOCKED_PERSON = select(users.c.id, users.c.is_active).where(users.c.id == _USER_ID).with_for_update(key_share=True)

PERSON_CARD = (
    users.c.id, cast(users.c.username, Text).label("username"), users.c.display_name, users.c.business_name, users.c.bio,
    users.c.location_text, users.c.avatar_file_id, users.c.created_at,
)  # fmt: skip
PERSON_BY_ID = select(*PERSON_CARD).where(users.c.id == _USER_ID, users.c.erased_at.is_(None))
_of_followed = follows.alias("of_followed")
PROFILE_BY_USERNAME = select(
    *PERSON_CARD,
    users.c.service_type,
    select(func.count()).where(_of_followed.c.followed_id == users.c.id).scalar_subquery().label("followers"),
    select(func.count()).where(follows.c.follower_id == users.c.id).scalar_subquery().label("following"),
    exists().where(
        and_(_of_followed.c.followed_id == users.c.id, _of_followed.c.follower_id == bindparam("me", type_=postgresql.UUID))
    ).label("is_followed"),
).where(users.c.username == bindparam("username"), users.c.is_active, users.c.erased_at.is_(None))  # fmt: skip

_ROLES = (
    select(func.coalesce(func.array_agg(user_roles.c.role), literal_column("'{}'::text[]")))
    .where(user_roles.c.user_id == users.c.id)
    .scalar_subquery()
)
OWN_PROFILE = select(
    users.c.id, cast(users.c.username, Text).label("username"), cast(users.c.email, Text).label("email"),
    users.c.email_verified_at, users.c.phone_verified_at, users.c.phone_enc, users.c.first_name, users.c.last_name, users.c.display_name, users.c.bio,
    users.c.business_name, users.c.service_type, users.c.location_text.label("place"), users.c.locale, users.c.timezone,
    users.c.avatar_file_id, users.c.password_hash.is_not(None).label("has_password"), _ROLES.label("roles"),
    users.c.last_login_at, users.c.created_at,
).where(users.c.id == _USER_ID)  # fmt: skip

_FOLLOW = (
    users.c.id, cast(users.c.username, Text).label("username"), users.c.display_name, users.c.business_name,
    users.c.avatar_file_id, follows.c.created_at.label("followed_at"),
)  # fmt: skip
FOLLOWERS = (
    select(*_FOLLOW)
    .select_from(follows.join(users, users.c.id == follows.c.follower_id))
    .where(follows.c.followed_id == _USER_ID, tuple_(follows.c.created_at, follows.c.follower_id) < _BEFORE, users.c.is_active)
    .order_by(follows.c.created_at.desc(), follows.c.follower_id.desc())
    .limit(_LIMIT)
)  # fmt: skip
FOLLOWED = (
    select(*_FOLLOW)
    .select_from(follows.join(users, users.c.id == follows.c.followed_id))
    .where(follows.c.follower_id == _USER_ID, tuple_(follows.c.created_at, follows.c.followed_id) < _BEFORE, users.c.is_active)
    .order_by(follows.c.created_at.desc(), follows.c.followed_id.desc())
    .limit(_LIMIT)
)  # fmt: skip

SESSIONS_OF = (
    select(
        func.encode(sessions.c.id_hash, "hex").label("id"), func.host(sessions.c.ip).label("ip"), sessions.c.user_agent,
        sessions.c.created_at, sessions.c.last_seen_at,
    )
    .where(
        sessions.c.user_id == _USER_ID,
        sessions.c.expires_at > bindparam("now", type_=Timestamp),
        tuple_(sessions.c.last_seen_at, sessions.c.id_hash)
        < tuple_(bindparam("before_at", type_=Timestamp), bindparam("before_hash", type_=LargeBinary)),
    )
    .order_by(sessions.c.last_seen_at.desc(), sessions.c.id_hash.desc())
    .limit(_LIMIT)
)  # fmt: skip
_TOKEN = select(
    tokens.c.id, tokens.c.name, tokens.c.scopes, tokens.c.expires_at, tokens.c.last_used_at, tokens.c.created_at
).where(tokens.c.user_id == _USER_ID, tokens.c.kind == "api", tokens.c.revoked_at.is_(None))
TOKENS_OF = (
    _TOKEN.where(tuple_(tokens.c.created_at, tokens.c.id) < _BEFORE)
    .order_by(tokens.c.created_at.desc(), tokens.c.id.desc())
    .limit(_LIMIT)
)
TOKEN_OF = _TOKEN.where(tokens.c.id == bindparam("token_id", type_=postgresql.UUID))
COUNT_TOKENS = select(func.count()).select_from(tokens).where(
    tokens.c.user_id == _USER_ID, tokens.c.kind == "api", tokens.c.revoked_at.is_(None),
    tokens.c.expires_at > bindparam("now", type_=Timestamp),
)  # fmt: skip

ROLE_PERMISSIONS = select(role_permissions.c.permission).where(role_permissions.c.role == bindparam("role", type_=Text))
ADMINISTRATORS = (
    select(user_roles.c.user_id, user_roles.c.role)
    .select_from(
        user_roles.join(role_permissions, role_permissions.c.role == user_roles.c.role).join(
            users, users.c.id == user_roles.c.user_id
        )
    )
    .where(role_permissions.c.permission == "manage_people", users.c.is_active)
    .order_by(user_roles.c.user_id, user_roles.c.role)
    .with_for_update(of=user_roles)
)
_SEARCHED = literal_column(  # as the index ix_users_find has it, to the letter
    "lower(users.username::text || ' ' || users.display_name || ' ' || coalesce(users.email::text, ''))", Text
)
PEOPLE = (
    select(
        users.c.id, cast(users.c.username, Text).label("username"), users.c.display_name,
        cast(users.c.email, Text).label("email"), _ROLES.label("roles"), users.c.is_active, users.c.last_login_at,
        users.c.created_at,
    )
    .where(
        tuple_(users.c.created_at, users.c.id) < _BEFORE,
        or_(bindparam("pattern", type_=Text) == "%", _SEARCHED.like(bindparam("pattern", type_=Text))),
        or_(
            bindparam("everybody", type_=Boolean),
            exists().where(user_roles.c.user_id == users.c.id, user_roles.c.role == bindparam("role", type_=Text)),
        ),
    )
    .order_by(users.c.created_at.desc(), users.c.id.desc())
    .limit(_LIMIT)
)  # fmt: skip


async def find_person(db: Database, user_id: UUID) -> PersonCard:
    """Return a person as others see them. Raises `NoSuchPerson`."""
    found = await db.read_maybe(PERSON_BY_ID, into=PersonCard, user_id=user_id)
    if found is None:
        raise NoSuchPerson
    return found


class PersonNear(msgspec.Struct, frozen=True):
    """Somebody near by who sells. `distance_m` is to where they roughly are, in steps of half a kilometre: nobody finds a door by it."""

    username: str
    display_name: str
    business_name: str | None
    avatar_file_id: UUID | None
    place: str
    distance_m: int
    is_followed: bool


# Positions are rounded to a hundredth of a degree, about a kilometre, before anything is measured: asking from many places at once
# finds the middle of that field, never the person. The index finds them by where they are, half a field further.
PEOPLE_NEAR = text("""
    SELECT u.username, u.display_name, u.business_name, u.avatar_file_id, u.location_text AS place,
           CAST(ceil(n.metres / 500) * 500 AS int) AS distance_m,
           EXISTS (SELECT FROM follows f WHERE f.follower_id = :me AND f.followed_id = u.id) AS is_followed
    FROM (SELECT p.id, geo_distance_m(geo_point(round(geo_lat(p.location)::numeric, 2)::float8, round(geo_lon(p.location)::numeric, 2)::float8),
                                      :lat, :lon) AS metres
          FROM users p WHERE p.is_active AND p.erased_at IS NULL AND geo_within(p.location, :lat, :lon, :radius_m + 1000)
            AND EXISTS (SELECT FROM listings l WHERE l.seller_id = p.id AND l.status = 'active')
            AND NOT EXISTS (SELECT FROM blocks b WHERE (b.user_id = p.id AND b.blocked_id = :me) OR (b.user_id = :me AND b.blocked_id = p.id))
         ) n JOIN users u ON u.id = n.id
    WHERE n.metres <= :radius_m AND u.id IS DISTINCT FROM :me ORDER BY n.metres, u.id LIMIT :limit
""").bindparams(
    bindparam("me", type_=postgresql.UUID), bindparam("lat", type_=Double), bindparam("lon", type_=Double),
    bindparam("radius_m", type_=Double), bindparam("limit", type_=Integer),
)  # fmt: skip


MY_PLACE = text("""
    SELECT round(geo_lat(location)::numeric, 2)::float8 AS lat, round(geo_lon(location)::numeric, 2)::float8 AS lon
    FROM users WHERE id = :me AND location IS NOT NULL
""").bindparams(bindparam("me", type_=postgresql.UUID))


async def place_of(tx: Transaction, me: UUID) -> tuple[float, float] | None:
    """Return where somebody says they live, rounded to about a kilometre."""
    found = await tx.maybe(MY_PLACE, me=me)
    return (found["lat"], found["lon"]) if found else None


async def people_near(
    tx: Transaction, me: UUID | None, lat: float, lon: float, *, radius_m: float = 25_000, limit: int = 24
) -> list[PersonNear]:
    """Return people near a position who have something on offer, the nearest first; never exactly where they are."""
    return await tx.all(PEOPLE_NEAR, into=PersonNear, me=me, lat=lat, lon=lon, radius_m=radius_m, limit=limit)


async def find_profile(db: Database, username: str, me: UUID | None = None) -> PublicProfile:
    """Return a person's page, as `me` sees it. Raises `NoSuchPerson` for closed accounts too."""
    if not is_plain(username):
        raise NoSuchPerson
    found = await db.read_maybe(PROFILE_BY_USERNAME, into=PublicProfile, fresh=me is not None, username=username, me=me)
    if found is None:
        raise NoSuchPerson
    return found


async def access_own_profile(tx: Transaction, caller: Caller, keys: Keyring) -> OwnProfile:
    """Return what the caller has told us about themselves. Raises `SignInFirst`."""
    row = dict(await tx.one(OWN_PROFILE, user_id=caller.check_signed_in()))
    sealed = row.pop("phone_enc")
    row["roles"] = tuple(sorted(row["roles"]))
    return OwnProfile(phone=keys.decrypt(sealed, PHONE) if sealed else None, **row)


async def list_followers(db: Database, user_id: UUID, *, after: str | None = None, limit: int = 24) -> Page[Follow]:
    """Return those who follow a person, the latest first. Raises `NoSuchPage`."""
    return await _follow_page(db, FOLLOWERS, user_id, after, limit)


async def list_followed(db: Database, user_id: UUID, *, after: str | None = None, limit: int = 24) -> Page[Follow]:
    """Return those whom a person follows, the latest first. Raises `NoSuchPage`."""
    return await _follow_page(db, FOLLOWED, user_id, after, limit)


async def _follow_page(db: Database, statement: Any, user_id: UUID, after: str | None, limit: int) -> Page[Follow]:
    at, key = newest_first(after)
    size = page_size(limit)
    rows = await db.read(statement, into=Follow, user_id=user_id, before_at=at, before_id=key, limit=size + 1)
    return page_of(rows, size, lambda last: to_cursor(last.followed_at, last.id))


async def list_sessions(
    tx: Transaction, caller: Caller, *, after: str | None = None, limit: int = 24
) -> Page[SignedInDevice]:
    """Return the browsers in which the caller is signed in, the one used last first. Raises `NoSuchPage`."""
    user_id, size = caller.check_in_person(), page_size(limit)
    at, name = from_cursor(after, Moment, str) if after is not None else (LATEST[0], "ff" * 32)
    last_hash = as_hash(name)
    if last_hash is None:
        raise NoSuchPage
    rows = await tx.all(
        SESSIONS_OF,
        into=SignedInDevice,
        user_id=user_id,
        now=now(),
        before_at=at,
        before_hash=last_hash,
        limit=size + 1,
    )
    return page_of(rows, size, lambda last: to_cursor(last.last_seen_at, last.id))


def as_hash(name: str) -> bytes | None:
    """Return the hash that names a session in addresses, or None when the text is not one."""
    try:
        found = bytes.fromhex(name)
    except ValueError:
        return None
    return found if len(found) == 32 else None


async def list_tokens(tx: Transaction, caller: Caller, *, after: str | None = None, limit: int = 24) -> Page[ApiToken]:
    """Return the caller's API tokens that are not revoked, the latest first. Raises `NoSuchPage`."""
    user_id, size = caller.check_in_person(), page_size(limit)
    at, key = newest_first(after)
    rows = await tx.all(TOKENS_OF, into=ApiToken, user_id=user_id, before_at=at, before_id=key, limit=size + 1)
    return page_of(rows, size, lambda last: to_cursor(last.created_at, last.id))


async def access_token(tx: Transaction, caller: Caller, token_id: UUID) -> ApiToken:
    """Return one of the caller's API tokens. Raises `NoSuchToken` to anybody else."""
    found = await tx.maybe(TOKEN_OF, into=ApiToken, user_id=caller.check_in_person(), token_id=token_id)
    if found is None:
        raise NoSuchToken
    return found


async def list_people(
    tx: Transaction,
    caller: Caller,
    *,
    find: str = "",
    role: str | None = None,
    after: str | None = None,
    limit: int = 24,
) -> Page[ManagedPerson]:
    """Return people, the newest first, for those who manage them. `find` is part of a name or of an e-mail address.

    Raises `NotAllowed`, `NoSuchPage`.
    """
    caller.check_can("manage_people")
    size = page_size(limit)
    at, key = newest_first(after)
    words = find.strip().lower()[:100].replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    rows = await tx.all(
        PEOPLE, into=ManagedPerson, before_at=at, before_id=key, pattern=f"%{words}%" if words else "%",
        everybody=role is None, role=role, limit=size + 1,
    )  # fmt: skip
    return page_of(rows, size, lambda last: to_cursor(last.created_at, last.id))


async def lock_person(tx: Transaction, user_id: UUID) -> bool:
    """Lock a person's row and return whether the account is active. Raises `NoSuchPerson`."""
    row = await tx.maybe(LOCKED_PERSON, user_id=user_id)
    if row is None:
        raise NoSuchPerson
    return bool(row["is_active"])
