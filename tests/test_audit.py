"""The audit log: every change by whom, when, of which row, before and after; no secrets; nobody rewrites it."""

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import text

from tests.conftest import Servers
from tests.factories import Factory
from tests.people import join, join_as
from tests.shop import Shop
from tradepost.accounts.types import EditProfile, NoSuchPerson, NotAllowed
from tradepost.cli.audit import print_audit
from tradepost.core.audit import LEFT_OUT, AuditSearch, drop_old_months, note_look, search_audit
from tradepost.core.clock import now
from tradepost.core.database import SYSTEM, Actor, Database, RuleBroken
from tradepost.flows.audit import AuditQuestion, as_moment, audit_page
from tradepost.flows.manage_account import edit_profile
from tradepost.flows.manage_people import grant_role
from tradepost.flows.store import Store

AUDITED = {
    "users", "roles", "role_permissions", "user_roles", "tokens", "outside_logins", "addresses", "verifications",
    "verification_documents", "impersonations", "orders", "order_lines", "line_configurations", "fulfilments", "payments", "refunds",
    "payouts", "returns", "tax_rates", "shipping_options", "commission_rules", "order_states", "order_transitions", "categories",
    "sources", "listings", "prices", "files", "promo_codes", "delivery_slots", "reviews", "reports", "decisions", "appeals", "blocks",
    "search_synonyms",
}  # fmt: skip


async def entries(store: Store, **wanted: Any) -> list[Any]:
    async with store.db.transaction(actor=SYSTEM) as tx:
        return list((await search_audit(tx, AuditSearch(**wanted), limit=100)).items)


async def test_a_change_says_who_when_what_before_and_after(store: Store) -> None:
    person = await join(store, "tendai")
    me = person.caller.user_id
    started = now()
    await edit_profile(store, person.caller, EditProfile(bio="Grows maize.", phone="+263 77 123 4567"))
    [entry] = await entries(store, table="users", row=str(me), action="update", since=started - timedelta(seconds=5))
    assert (entry.actor_role, entry.actor_id, entry.database_user) == ("person", me, "tradepost_app")
    assert entry.before == {"bio": "", "phone_enc": None, "phone_index": None}
    assert entry.after == {"bio": "Grows maize.", "phone_enc": LEFT_OUT, "phone_index": LEFT_OUT}
    assert abs(entry.at - now()) < timedelta(minutes=1)


async def test_a_new_person_is_logged_without_the_password(store: Store) -> None:
    person = await join(store, "tendai")
    [entry] = await entries(store, table="users", row=str(person.caller.user_id), action="insert")
    assert entry.before is None
    assert entry.after["password_hash"] == LEFT_OUT
    assert entry.after["username"] == "tendai"


async def test_what_changes_nothing_is_not_logged(store: Store) -> None:
    person = await join(store, "tendai")
    row = str(person.caller.user_id)
    before = len(await entries(store, row=row))
    async with store.db.transaction(actor=person.caller.actor) as tx:
        await tx.run(text("UPDATE users SET bio = bio WHERE username = 'tendai'"))
    assert len(await entries(store, row=row)) == before


async def test_a_role_is_found_by_the_person_it_was_given_to(store: Store) -> None:
    admin, person = await join_as(store, "boss", "admin"), await join(store, "tendai")
    assert person.caller.user_id is not None
    await grant_role(store, admin.caller, person.caller.user_id, "seller")
    found = await audit_page(store, admin.caller, AuditQuestion(about="tendai", table="user_roles"))
    assert [(line.who, line.entry.action, line.entry.after["role"]) for line in found.items if line.entry.after] == [
        ("boss", "insert", "seller"), ("tendai", "insert", "buyer"),
    ]  # fmt: skip
    done = await audit_page(store, admin.caller, AuditQuestion(person="boss"))
    assert done.items[0].entry.table_name == "user_roles"


async def test_a_payment_is_in_the_log(shop: Shop) -> None:
    await shop.buy(await shop.goods())
    paid = await entries(shop.store, table="payments", action="update")
    assert paid[0].after["state"] == "success"
    assert paid[0].before["state"] == "initiated"


async def test_what_the_history_of_an_order_tells_is_not_logged_again_and_all_else_is(shop: Shop) -> None:
    placed = await shop.buy(await shop.goods())
    row = str(placed.order_id)
    assert await entries(shop.store, row=row, table="orders") == []
    async with shop.store.db.transaction(actor=SYSTEM) as tx:
        told = await tx.all(text("SELECT actor_id, kind FROM order_events ORDER BY seq"))
        await tx.run(text("UPDATE orders SET shipping_address_enc = '\\x01', note = 'Ring twice'"))
    assert told[0]["kind"] == "placed"
    assert told[0]["actor_id"] == shop.buyer.user_id
    [entry] = await entries(shop.store, row=row, table="orders")
    assert entry.before == {"shipping_address_enc": LEFT_OUT, "note": ""}
    assert entry.after == {"shipping_address_enc": LEFT_OUT, "note": "Ring twice"}


@pytest.mark.parametrize("table", ["orders", "fulfilments"])
async def test_a_move_that_the_history_does_not_tell_is_refused(shop: Shop, table: str) -> None:
    await shop.buy(await shop.goods())
    move = "(SELECT to_state FROM order_transitions WHERE process = t.process AND from_state = t.state LIMIT 1)"
    with pytest.raises(RuleBroken, match=f"ck_{table}_told"):
        async with shop.store.db.transaction(actor=SYSTEM) as tx:
            await tx.run(text(f"UPDATE {table} t SET state = {move}"))


async def test_every_column_of_an_audited_table_is_looked_at(owner: Database) -> None:
    forgotten = await owner.read(
        text("""
        SELECT c.relname, a.attname FROM pg_trigger g
        JOIN pg_class c ON c.oid = g.tgrelid JOIN pg_proc f ON f.oid = g.tgfoid
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE g.tgname = 'audit' AND a.attname <> 'updated_at' AND position('NEW.' || quote_ident(a.attname) || ' IS DISTINCT' IN f.prosrc) = 0
          AND (c.relname, a.attname) NOT IN (SELECT t, u FROM (VALUES ('orders', '{state,state_since,due_at,payment_state}'::text[]),
              ('fulfilments', '{state,state_since,opened_at,due_at}'), ('payments', '{checked_at}')) AS told(t, columns), unnest(columns) u)
    """)
    )
    assert [tuple(row) for row in forgotten] == []


async def test_the_log_is_for_those_who_manage_people(store: Store) -> None:
    for username, roles in (("tendai", ()), ("stan", ("staff",))):
        person = await join_as(store, username, *roles)
        with pytest.raises(NotAllowed):
            await audit_page(store, person.caller, AuditQuestion())


async def test_a_name_that_nobody_has_is_an_error(store: Store) -> None:
    admin = await join_as(store, "boss", "admin")
    with pytest.raises(NoSuchPerson):
        await audit_page(store, admin.caller, AuditQuestion(person="nobody-here"))


async def test_pages_follow_each_other_without_gaps(store: Store, make: Factory) -> None:
    admin = await join_as(store, "boss", "admin")
    for _ in range(6):
        await make.person()
    question, seen, after = AuditQuestion(table="users"), [], None
    while True:
        page = await audit_page(store, admin.caller, question, after=after, limit=4)
        seen += [line.entry.id for line in page.items]
        after = page.after
        if after is None:
            break
    whole = await audit_page(store, admin.caller, question, limit=100)
    assert seen == [line.entry.id for line in whole.items]
    assert len(seen) == len(set(seen)) >= 7


async def test_a_look_is_noted_and_a_change_cannot_be_made_up(store: Store) -> None:
    admin = await join_as(store, "boss", "admin")
    async with store.db.transaction(actor=admin.caller.actor) as tx:
        await note_look(tx, "verification_documents", "x/1", why="review")
    [look] = await entries(store, action="look")
    assert (look.actor_id, look.row_key, look.after) == (admin.caller.user_id, "x/1", {"why": "review"})


async def test_not_even_the_owner_rewrites_it(owner: Database) -> None:
    async with owner.transaction(actor=SYSTEM) as tx:
        await tx.run(text("INSERT INTO badges VALUES ('x', 'x', 'x', 9)"))
        await tx.run(text("INSERT INTO users (username, email, display_name) VALUES ('ann', 'a@example.com', 'Ann')"))
    for change in ("UPDATE audit_log SET before = NULL", "DELETE FROM audit_log", "TRUNCATE audit_log"):
        with pytest.raises(Exception, match=r"append.only"):
            async with owner.transaction(actor=SYSTEM) as tx:
                await tx.control(change)
    assert len(await owner.read(text("SELECT id FROM audit_log WHERE table_name = 'users'"))) == 1


async def test_every_table_that_counts_has_its_trigger_and_leaves_out_every_secret(owner: Database) -> None:
    rows = await owner.read(text("""
        SELECT c.relname, f.prosrc,
               ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                     AND (a.atttypid = 'bytea'::regtype OR a.attname ~ '(_hash|_enc|password|secret)')) AS secret
        FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_proc f ON f.oid = t.tgfoid
        WHERE t.tgname = 'audit' AND NOT t.tgisinternal AND NOT c.relispartition
    """))  # fmt: skip
    assert {row["relname"] for row in rows} >= AUDITED
    hidden = "jsonb_build_object('{0}', CASE WHEN NEW.{0} IS NOT NULL THEN '…' END)"
    shown = {
        f"{row['relname']}.{name}" for row in rows for name in row["secret"] if hidden.format(name) not in row["prosrc"]
    }
    assert shown == set()
    assert not any(f"'{name}', NEW.{name})" in row["prosrc"] for row in rows for name in row["secret"])


async def test_months_go_when_they_are_old_and_half_a_year_always_stays(owner: Database) -> None:
    async with owner.transaction(actor=SYSTEM) as tx:
        for months in (3, 9, 30):
            await tx.control(f"""
                DO $$ DECLARE first date := date_trunc('month', now() - interval '{months} months'); BEGIN
                    EXECUTE format('CREATE TABLE %I PARTITION OF audit_log FOR VALUES FROM (%L) TO (%L)',
                                   'audit_log_p' || to_char(first, 'YYYYMM'), first, first + interval '1 month');
                END $$
            """)
    async with owner.transaction(actor=SYSTEM) as tx:
        assert await drop_old_months(tx, 24) == 1
        assert await drop_old_months(tx, 0) == 1
        assert await drop_old_months(tx, 0) == 0


@pytest.mark.parametrize(
    ("said", "meant"),
    [("", None), ("2026-11-21", "2026-11-21T00:00:00+00:00"), ("2026-11-21T09:30+02:00", "2026-11-21T09:30:00+02:00")],
)
def test_moments_of_the_command_line(said: str, meant: str | None) -> None:
    found = as_moment(said)
    assert (found.isoformat() if found else None) == meant


async def test_the_command_prints_lines_of_json(
    store: Store, servers: Servers, store_dsn: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await join(store, "tendai")
    await print_audit(
        "tese",
        store_dsn.replace("tradepost_app", "postgres"),
        AuditQuestion(person="tendai", table="users"),
        most=5,
        as_json=True,
    )
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["who"] for line in lines] == ["tendai"] * len(lines)
    assert lines[-1]["entry"]["action"] == "insert"


async def test_two_people_at_once_are_told_apart(store: Store) -> None:
    one, two = await join(store, "ann"), await join(store, "ben")
    await asyncio.gather(*(
        edit_profile(store, p.caller, EditProfile(bio=f"I am {p.caller.username}.")) for p in (one, two)
    ))  # fmt: skip
    for person in (one, two):
        [entry] = await entries(store, table="users", row=str(person.caller.user_id), action="update")
        assert entry.actor_id == person.caller.user_id


async def test_a_visitors_eyes_are_behind_a_persons(store: Store) -> None:
    """What is noted while somebody looks with another's eyes names both."""
    person = await join(store, "tendai")
    eyes = UUID(int=77)
    async with store.db.transaction(actor=Actor("person", person.caller.user_id)) as tx:
        await tx.control(f"SELECT set_config('app.behind', '{eyes}', true)")
        await note_look(tx, "orders", "x")
    [entry] = await entries(store, action="look")
    assert (entry.actor_id, entry.behind_id) == (person.caller.user_id, eyes)


async def test_the_reporting_role_cannot_read_it(servers: Servers, database_name: str) -> None:
    connection = await asyncpg.connect(servers.dsn(database_name, "tradepost_readonly"))
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch("SELECT * FROM audit_log")
    finally:
        await connection.close()
