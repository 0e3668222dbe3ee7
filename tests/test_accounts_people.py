"""Profiles, follows, roles, closed accounts, API tokens."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest
from sqlalchemy import insert, text

from tests.people import PASSWORD, join, join_as, visitor
from tradepost.accounts import service
from tradepost.accounts.api_tokens import MOST, issue_token, revoke_token
from tradepost.accounts.profiles import set_avatar
from tradepost.accounts.queries import (
    access_token,
    find_person,
    find_profile,
    list_followed,
    list_followers,
    list_tokens,
)
from tradepost.accounts.types import (
    AccountClosed,
    Caller,
    ChangePassword,
    EditProfile,
    LastAdministrator,
    NewToken,
    NoSuchPerson,
    NoSuchRole,
    NoSuchToken,
    NotAllowed,
    NotByToken,
    NotOneself,
    PhoneTaken,
    SignIn,
    SignInFirst,
    StartedSession,
    TokenInvalid,
    TooManyTokens,
)
from tradepost.catalog.tables import places
from tradepost.core.clock import now, stopped_at
from tradepost.core.database import ANYBODY, SYSTEM, count_queries
from tradepost.core.errors import FieldErrors
from tradepost.core.ids import token_hash
from tradepost.core.pages import NoSuchPage
from tradepost.flows.manage_account import change_password, close_account, edit_profile, own_profile
from tradepost.flows.manage_people import (
    deactivate_person,
    grant_role,
    list_people,
    reactivate_person,
    revoke_role,
)
from tradepost.flows.sign_in import load_caller, load_caller_by_token, sign_in
from tradepost.flows.store import Store

Race = Callable[..., Awaitable[list[Any]]]


async def rows(store: Store, sql: str, **params: Any) -> list[dict[str, Any]]:
    """Return what a statement over everybody's rows finds."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        return [dict(row) for row in await tx.all(text(sql), **params)]


async def kinds(store: Store) -> list[str]:
    """Return the facts recorded so far, sign-ups and sign-ins aside."""
    found = [r["kind"] for r in await rows(store, "SELECT kind FROM events ORDER BY id")]
    return [k for k in found if k not in {"PersonSignedUp", "PersonSignedIn"}]


async def now_caller(store: Store, started: StartedSession) -> Caller:
    """Return who the browser's cookie stands for at this moment."""
    return await load_caller(store, started.token, started.caller.address)


async def follow(store: Store, caller: Caller, followed: UUID | None) -> bool:
    """Follow somebody in a transaction of one's own."""
    assert followed is not None
    async with store.db.transaction(actor=caller.actor) as tx:
        return await service.follow(tx, caller, followed)


async def issue(store: Store, caller: Caller, *scopes: str, name: str = "till", days: int = 365) -> Any:
    """Make an API token in a transaction of one's own."""
    async with store.db.transaction(actor=caller.actor) as tx:
        return await issue_token(tx, caller, NewToken(name=name, scopes=scopes, expires_in_days=days))


async def test_profile_keeps_what_its_person_writes(store: Store) -> None:
    async with store.db.transaction(actor=SYSTEM) as tx:
        position = text("geo_point(-18.97, 32.67)")
        await tx.run(insert(places).values(country="ZW", region="Manicaland", name="Mutare", location=position))
    me = await join(store)
    written = EditProfile(
        display_name="Tendai  Moyo", first_name="Tendai", last_name="Moyo", bio="Maize.\r\n\r\n\r\n\r\nAnd more maize.  ",
        business_name="Moyo Farm", service_type=" ", place="mutare", phone="00263 77 123 4567", locale="en_ZW",
        timezone="Africa/Harare",
    )  # fmt: skip
    profile = await edit_profile(store, me.caller, written)
    assert profile == await own_profile(store, me.caller)
    assert msgspec.structs.asdict(profile) | {"created_at": None, "last_login_at": None, "id": None} == {
        "id": None, "username": "tendai", "email": "tendai@example.com", "email_verified_at": None, "phone": "+263771234567", "phone_verified_at": None,
        "first_name": "Tendai", "last_name": "Moyo", "display_name": "Tendai Moyo", "bio": "Maize.\n\nAnd more maize.",
        "business_name": "Moyo Farm", "service_type": None, "place": "Mutare", "locale": "en_ZW", "timezone": "Africa/Harare",
        "avatar_file_id": None, "has_password": True, "roles": ("buyer",), "last_login_at": None, "created_at": None,
    }  # fmt: skip
    (row,) = await rows(store, "SELECT phone_enc, geo_lat(location) AS lat, geo_lon(location) AS lon FROM users")
    assert b"771234567" not in row["phone_enc"]
    assert (round(row["lat"], 6), round(row["lon"], 6)) == (-18.97, 32.67)
    (fact,) = await rows(store, "SELECT data FROM events WHERE kind = 'ProfileChanged'")
    assert fact["data"]["fields"] == [
        "bio", "business_name", "display_name", "first_name", "last_name", "locale", "phone", "place", "timezone",
    ]  # fmt: skip
    again = await now_caller(store, me)
    assert (again.display_name, again.locale) == ("Tendai Moyo", "en_ZW")


async def test_fields_left_out_stay_and_the_same_again_changes_nothing(store: Store) -> None:
    me = (await join(store)).caller
    first = await edit_profile(store, me, EditProfile(bio="Maize.", phone="+263771234567"))
    before = await rows(store, "SELECT updated_at, phone_enc FROM users")
    second = await edit_profile(store, me, EditProfile(bio="Maize.", phone="+263 77 123 4567"))
    assert first == second
    assert await rows(store, "SELECT updated_at, phone_enc FROM users") == before
    assert await kinds(store) == ["ProfileChanged"]
    third = await edit_profile(store, me, EditProfile(phone=None))
    assert (third.phone, third.bio) == (None, "Maize.")
    assert await rows(store, "SELECT phone_enc, phone_index FROM users") == [{"phone_enc": None, "phone_index": None}]


async def test_everything_wrong_with_a_profile_is_said_at_once(store: Store) -> None:
    me = (await join(store)).caller
    wrong = EditProfile(
        display_name=" ", bio="x" * 4001, place="Atlantis", phone="077 123", locale="zz-zz-zz", timezone="Mars/Base",
        business_name="Moyo\x00",
    )  # fmt: skip
    before = await own_profile(store, me)
    with pytest.raises(FieldErrors) as refused:
        await edit_profile(store, me, wrong)
    assert refused.value.errors == {
        "display_name": "This is needed.",
        "bio": "At most 4000 characters.",
        "place": "We do not know this place. Please choose one of the list.",
        "phone": "Please write it with the country's code: +263 77 123 4567.",
        "locale": "This is not a language we know.",
        "timezone": "This is not a time zone we know.",
        "business_name": "There is a character in it that cannot be shown.",
    }
    assert await own_profile(store, me) == before
    assert await kinds(store) == []


def test_ten_megabytes_of_bio_do_not_become_a_form() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"length <= 4000.*bio"):
        msgspec.json.decode(msgspec.json.encode({"bio": "x" * 10_000_000}), type=EditProfile)
    for field in ("is_active", "email_verified_at", "roles", "email", "avatar_file_id"):
        with pytest.raises(msgspec.ValidationError, match="unknown field"):
            msgspec.convert({field: "x"}, EditProfile)


async def test_phone_belongs_to_one_person_however_it_is_written(store: Store, race: Race) -> None:
    people = [(await join(store, name)).caller for name in ("tendai", "rudo")]
    numbers = ("+263 77 123 4567", "00263771234567")
    results = await race(*(edit_profile(store, p, EditProfile(phone=n)) for p, n in zip(people, numbers, strict=True)))
    refused = [r for r in results if isinstance(r, Exception)]
    assert [type(r) for r in refused] == [PhoneTaken]
    assert await rows(store, "SELECT count(phone_index) AS n FROM users") == [{"n": 1}]
    assert await kinds(store) == ["ProfileChanged"]


async def test_visitor_has_no_profile(store: Store) -> None:
    with pytest.raises(SignInFirst):
        await own_profile(store, visitor())
    with pytest.raises(SignInFirst):
        await edit_profile(store, visitor(), EditProfile(bio="x"))


async def test_avatar_is_shown_to_others(store: Store) -> None:
    me, file_id = (await join(store)).caller, uuid4()
    assert me.user_id is not None
    async with store.db.transaction(actor=me.actor) as tx:
        await set_avatar(tx, me, file_id)
    assert (await find_person(store.db, me.user_id)).avatar_file_id == file_id


async def test_follows_are_counted_once_and_seen(store: Store) -> None:
    me, farm = (await join(store, "tendai")).caller, (await join(store, "rudo")).caller
    assert [await follow(store, me, farm.user_id) for _ in range(2)] == [True, False]
    seen = await find_profile(store.db, "RUDO", me.user_id)
    assert (seen.followers, seen.following, seen.is_followed) == (1, 0, True)
    mine = await find_profile(store.db, "tendai", farm.user_id)
    assert (mine.followers, mine.following, mine.is_followed) == (0, 1, False)
    assert not (await find_profile(store.db, "rudo")).is_followed
    async with store.db.transaction(actor=me.actor) as tx:
        assert [await service.unfollow(tx, me, farm.user_id or uuid4()) for _ in range(2)] == [True, False]
    assert (await find_profile(store.db, "rudo")).followers == 0
    assert await kinds(store) == ["PersonFollowed", "PersonUnfollowed"]


async def test_following_nobody_or_oneself_is_refused(store: Store) -> None:
    me = (await join(store)).caller
    with pytest.raises(NotOneself):
        await follow(store, me, me.user_id)
    with pytest.raises(NoSuchPerson):
        await follow(store, me, uuid4())
    with pytest.raises(SignInFirst):
        await follow(store, visitor(), me.user_id)
    assert await rows(store, "SELECT 1 FROM follows") == []
    assert await kinds(store) == []


async def test_followers_come_in_pages_the_latest_first(store: Store) -> None:
    farm = (await join(store, "rudo")).caller
    assert farm.user_id is not None
    names = [f"fan_{n}" for n in "abcde"]
    for name in names:
        fan = (await join(store, name)).caller
        await follow(store, fan, farm.user_id)
        await follow(store, farm, fan.user_id)
    for listed in (list_followers, list_followed):
        seen: list[str] = []
        after: str | None = None
        for size in (2, 2, 1):
            with count_queries() as count:
                page = await listed(store.db, farm.user_id, after=after, limit=2)
            assert (count.queries, len(page.items)) == (1, size)
            seen += [f.username for f in page.items]
            after = page.after
        assert after is None
        assert seen == names[::-1]
    for cursor in ("", "made up", "WyJhIiwgImIiXQ"):
        with pytest.raises(NoSuchPage):
            await list_followers(store.db, farm.user_id, after=cursor)


async def test_closed_account_is_nobody_to_others(store: Store) -> None:
    me, farm = await join(store, "tendai"), (await join(store, "rudo")).caller
    await follow(store, me.caller, farm.user_id)
    await close_account(store, me.caller, PASSWORD)
    with pytest.raises(NoSuchPerson):
        await find_profile(store.db, "tendai")
    with pytest.raises(NoSuchPerson):
        await find_profile(store.db, "nobody\x00")
    assert farm.user_id is not None
    assert (await list_followers(store.db, farm.user_id)).items == ()


async def test_role_is_granted_and_revoked_at_once(store: Store) -> None:
    admin, me = await join_as(store, "rudo", "admin"), await join(store, "tendai")
    user_id = me.caller.user_id
    assert user_id is not None
    assert not (await now_caller(store, me)).can("sell")
    assert [await grant_role(store, admin.caller, user_id, "seller") for _ in range(2)] == [True, False]
    assert (await now_caller(store, me)).permissions == {"buy", "review", "sell"}
    assert [await revoke_role(store, admin.caller, user_id, "seller") for _ in range(2)] == [True, False]
    assert (await now_caller(store, me)).permissions == {"buy", "review"}
    facts = await rows(store, "SELECT kind, user_id, subject_id FROM events WHERE kind LIKE 'Role%' ORDER BY id")
    assert facts == [
        {"kind": kind, "user_id": admin.caller.user_id, "subject_id": user_id}
        for kind in ("RoleGranted", "RoleRevoked")
    ]


async def test_only_those_who_manage_people_give_roles(store: Store) -> None:
    staff, me = await join_as(store, "chipo", "staff"), await join(store, "tendai")
    user_id = me.caller.user_id
    assert user_id is not None
    for caller, error in ((visitor(), SignInFirst), (me.caller, NotAllowed), (staff.caller, NotAllowed)):
        with pytest.raises(error):
            await grant_role(store, caller, user_id, "admin")
        with pytest.raises(error):
            await revoke_role(store, caller, user_id, "buyer")
        with pytest.raises(error):
            await deactivate_person(store, caller, user_id)
        with pytest.raises(error):
            await list_people(store, caller)
    assert await rows(store, "SELECT role FROM user_roles WHERE user_id = :id", id=user_id) == [{"role": "buyer"}]
    assert (await now_caller(store, me)).is_signed_in
    assert await kinds(store) == []


async def test_nobody_gives_more_than_they_have(store: Store) -> None:
    admin = await join_as(store, "rudo", "admin")
    clerk = msgspec.structs.replace(admin.caller, permissions=frozenset({"manage_people", "buy", "review"}))
    me = (await join(store, "tendai")).caller.user_id
    assert me is not None
    with pytest.raises(NotAllowed) as refused:
        await grant_role(store, clerk, me, "seller")
    assert refused.value.permission == "sell"
    with pytest.raises(NotAllowed):
        await revoke_role(store, clerk, admin.caller.user_id or me, "admin")
    with pytest.raises(NoSuchRole):
        await grant_role(store, admin.caller, me, "emperor")
    with pytest.raises(NoSuchPerson):
        await grant_role(store, admin.caller, uuid4(), "seller")
    assert await kinds(store) == []


async def test_last_administrator_stays(store: Store, race: Race) -> None:
    one, two = await join_as(store, "rudo", "admin"), await join_as(store, "chipo", "admin")
    ids = [s.caller.user_id or uuid4() for s in (one, two)]
    results = await race(
        revoke_role(store, one.caller, ids[1], "admin"), revoke_role(store, two.caller, ids[0], "admin")
    )
    assert sorted(map(str, results)) == sorted(["True", "Somebody must be left who can manage people."])
    (left,) = await rows(store, "SELECT user_id FROM user_roles WHERE role = 'admin'")
    last = one if left["user_id"] == ids[0] else two
    with pytest.raises(LastAdministrator):
        await revoke_role(store, last.caller, left["user_id"], "admin")
    with pytest.raises(LastAdministrator):
        await close_account(store, last.caller, PASSWORD)
    with pytest.raises(LastAdministrator):
        await deactivate_person(store, last.caller, left["user_id"])
    assert (await now_caller(store, last)).can("manage_people")


async def test_deactivated_person_is_out_at_once_and_can_come_back(store: Store) -> None:
    admin, me = await join_as(store, "rudo", "admin"), await join(store, "tendai")
    user_id = me.caller.user_id
    assert user_id is not None
    token = await issue(store, me.caller, "buy")
    await load_caller_by_token(store, token.secret, "203.0.113.5")
    assert [await deactivate_person(store, admin.caller, user_id) for _ in range(2)] == [True, False]
    assert not (await now_caller(store, me)).is_signed_in
    with pytest.raises(TokenInvalid):
        await load_caller_by_token(store, token.secret, "203.0.113.5")
    with pytest.raises(AccountClosed):
        await sign_in(store, visitor(), SignIn(login="tendai", password=PASSWORD))
    assert [await reactivate_person(store, admin.caller, user_id) for _ in range(2)] == [True, False]
    assert (await sign_in(store, visitor(), SignIn(login="tendai", password=PASSWORD))).caller.is_signed_in
    assert not (await now_caller(store, me)).is_signed_in
    assert await kinds(store) == ["TokenIssued", "PersonDeactivated", "PersonReactivated"]


async def test_people_are_found_by_part_of_a_name_and_by_role(store: Store) -> None:
    admin = (await join_as(store, "rudo", "admin")).caller
    for name in ("tendai", "tafara", "te_ndo"):
        await join(store, name, role="seller" if name == "tafara" else None)

    async def found(**wanted: Any) -> list[str]:
        return [p.username for p in (await list_people(store, admin, **wanted)).items]

    assert await found() == ["te_ndo", "tafara", "tendai", "rudo"]
    assert await found(find="END") == ["tendai"]
    assert await found(find="_") == ["te_ndo"]
    assert await found(find="%") == []
    assert await found(find="\\") == []
    assert await found(find="tafara@example") == ["tafara"]
    assert await found(role="seller") == ["tafara"]
    assert await found(role="admin") == ["rudo"]
    first = await list_people(store, admin, limit=3)
    second = await list_people(store, admin, limit=3, after=first.after)
    assert [p.username for p in (*first.items, *second.items)] == ["te_ndo", "tafara", "tendai", "rudo"]
    assert second.after is None
    assert set(second.items[0].roles) == {"admin", "buyer"}


async def test_token_acts_for_its_person_within_its_scopes(store: Store) -> None:
    me = await join(store, role="seller")
    issued = await issue(store, me.caller, "sell", "profile", name=" Till  one ")
    assert issued.secret.startswith("tp_")
    assert issued.secret not in repr(issued)
    (row,) = await rows(store, "SELECT token_hash, name, kind, scopes FROM tokens WHERE kind = 'api'")
    assert row == {
        "token_hash": token_hash(issued.secret), "name": "Till one", "kind": "api", "scopes": ["profile", "sell"]
    }  # fmt: skip
    with count_queries() as first:
        caller = await load_caller_by_token(store, issued.secret, "203.0.113.5")
    with count_queries() as second:
        assert await load_caller_by_token(store, issued.secret, "203.0.113.5") == caller
    assert (first.queries, second.queries) == (1, 0)
    assert (caller.user_id, caller.session, caller.username) == (me.caller.user_id, None, "tendai")
    assert caller.permissions == {"sell"}
    assert caller.actor.role == "person"
    assert (await edit_profile(store, caller, EditProfile(bio="Written by a program."))).bio == "Written by a program."


async def test_token_gets_no_scope_that_its_person_lacks(store: Store) -> None:
    me = await join(store, role="seller")
    with pytest.raises(FieldErrors) as refused:
        await issue(store, me.caller, "sell", "staff", "manage_people")
    assert refused.value.errors == {"scopes": "Your account may not do that itself: manage_people, staff."}
    assert await rows(store, "SELECT 1 FROM tokens WHERE kind = 'api'") == []


async def test_token_loses_what_its_person_loses(store: Store) -> None:
    admin = (await join_as(store, "rudo", "admin")).caller
    me = await join_as(store, "tendai", "staff")
    issued = await issue(store, me.caller, "staff", "buy")
    assert (await load_caller_by_token(store, issued.secret, "203.0.113.5")).permissions == {"staff", "buy"}
    assert me.caller.user_id is not None
    await revoke_role(store, admin, me.caller.user_id, "staff")
    assert (await load_caller_by_token(store, issued.secret, "203.0.113.5")).permissions == {"buy"}


async def test_token_without_scopes_only_reads(store: Store) -> None:
    me = await join(store, role="seller")
    caller = await load_caller_by_token(store, (await issue(store, me.caller)).secret, "203.0.113.5")
    assert caller.permissions == frozenset()
    assert (await own_profile(store, caller)).username == "tendai"
    with pytest.raises(NotAllowed):
        await edit_profile(store, caller, EditProfile(bio="x"))
    with pytest.raises(NotAllowed):
        await follow(store, caller, uuid4())
    assert (await own_profile(store, me.caller)).bio == ""


async def test_program_cannot_do_what_takes_a_person(store: Store) -> None:
    me = await join(store)
    caller = await load_caller_by_token(store, (await issue(store, me.caller, "profile", "buy")).secret, "203.0.113.5")
    with pytest.raises(NotByToken):
        await issue(store, caller, "buy")
    with pytest.raises(NotByToken):
        await close_account(store, caller, PASSWORD)
    with pytest.raises(NotByToken):
        await change_password(store, caller, ChangePassword(current=PASSWORD, new="rain on a tin roof"))
    async with store.db.transaction(actor=caller.actor) as tx:
        with pytest.raises(NotByToken):
            await list_tokens(tx, caller)
    assert len(await rows(store, "SELECT 1 FROM tokens WHERE kind = 'api'")) == 1


async def test_revoked_token_is_worth_nothing_at_once(store: Store) -> None:
    me, stranger = (await join(store, "tendai")).caller, (await join(store, "rudo")).caller
    issued, kept = await issue(store, me, "buy"), await issue(store, me, "buy", name="kept")
    await load_caller_by_token(store, issued.secret, "203.0.113.5")
    async with store.db.transaction(actor=stranger.actor) as tx:
        for attempt in (access_token(tx, stranger, issued.id), revoke_token(tx, store.cache, stranger, issued.id)):
            with pytest.raises(NoSuchToken):
                await attempt
    assert (await load_caller_by_token(store, issued.secret, "203.0.113.5")).is_signed_in
    async with store.db.transaction(actor=me.actor) as tx:
        await revoke_token(tx, store.cache, me, issued.id)
    with pytest.raises(TokenInvalid):
        await load_caller_by_token(store, issued.secret, "203.0.113.5")
    async with store.db.transaction(actor=me.actor) as tx:
        assert [t.name for t in (await list_tokens(tx, me)).items] == ["kept"]
        with pytest.raises(NoSuchToken):
            await revoke_token(tx, store.cache, me, issued.id)
    assert (await load_caller_by_token(store, kept.secret, "203.0.113.5")).is_signed_in


async def test_token_ends_when_it_was_to_end(store: Store) -> None:
    begin = now()
    with stopped_at(begin):
        me = await join(store)
        issued = await issue(store, me.caller, days=7)
    assert issued.expires_at == begin + timedelta(days=7)
    with stopped_at(begin + timedelta(days=6)):
        assert (await load_caller_by_token(store, issued.secret, "203.0.113.5")).is_signed_in
    (row,) = await rows(store, "SELECT last_used_at, expires_at, host(ip) AS ip FROM tokens WHERE kind = 'api'")
    assert row == {
        "last_used_at": begin + timedelta(days=6), "expires_at": begin + timedelta(days=7), "ip": "203.0.113.5"
    }  # fmt: skip
    with stopped_at(begin + timedelta(days=7)), pytest.raises(TokenInvalid):
        await load_caller_by_token(store, issued.secret, "203.0.113.5")


@pytest.mark.parametrize("secret", ["", "tp_", "tp_" + "x" * 43, "x" * 5000, "tp_\x00"])
async def test_token_made_up_is_refused(store: Store, secret: str) -> None:
    with pytest.raises(TokenInvalid):
        await load_caller_by_token(store, secret, "203.0.113.5")


async def test_token_form_is_checked_and_tokens_are_counted(store: Store) -> None:
    me = (await join(store)).caller
    with pytest.raises(FieldErrors) as refused:
        await issue(store, me, "buy", "emperor", name=" ", days=731)
    assert refused.value.errors == {
        "name": "This is needed.", "scopes": "There is no such scope: emperor.", "expires_in_days": "At most 730.",
    }  # fmt: skip
    for n in range(MOST):
        await issue(store, me, name=f"till {n}")
    with pytest.raises(TooManyTokens):
        await issue(store, me)
    assert await rows(store, "SELECT count(*) AS n FROM tokens WHERE kind = 'api'") == [{"n": MOST}]
    names: list[str] = []
    after: str | None = None
    async with store.db.transaction(actor=me.actor) as tx:
        while True:
            page = await list_tokens(tx, me, after=after, limit=20)
            names += [t.name for t in page.items]
            after = page.after
            if after is None:
                break
    assert names == [f"till {n}" for n in reversed(range(MOST))]


async def test_database_shows_tokens_to_their_person_only(store: Store) -> None:
    me, stranger = (await join(store, "tendai")).caller, (await join(store, "rudo")).caller
    await issue(store, me)
    for actor, number in ((ANYBODY, 0), (stranger.actor, 0), (me.actor, 1)):
        async with store.db.transaction(actor=actor) as tx:
            assert await tx.value(text("SELECT count(*) FROM tokens WHERE kind = 'api'")) == number
