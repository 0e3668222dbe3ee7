"""Row-level security by raw SQL, as the server's own role and without any WHERE: a forgotten one leaks nothing."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy import text

from tests.conftest import Servers
from tradepost.core.database import ANYBODY, SYSTEM, Actor, Database, OnlyLooking, Transaction
from tradepost.core.errors import DomainError

GUEST_SESSION, OTHER_SESSION = b"\x01" * 32, b"\x02" * 32

PEOPLE = """
    INSERT INTO users (id, username, email, display_name)
    SELECT id, name, name || '@example.com', name FROM unnest(CAST(:ids AS uuid[]), CAST(:names AS text[])) AS p(id, name)
"""
NAMES = ("ann", "ben", "farm", "shop", "rita", "stan")
ANN, BEN, FARM, SHOP, RITA, STAN = (UUID(int=n) for n in range(1, 7))
ORDER_A, ORDER_B, ORDER_C = (UUID(int=n) for n in (11, 12, 13))
LABELS = dict(zip((ANN, BEN, FARM, SHOP, RITA, STAN, ORDER_A, ORDER_B, ORDER_C), (*NAMES, "A", "B", "C"), strict=True))
# Ann ordered A from the farm, Ben B from the shop, a guest C from both, and Rita brings the farm's part of it.
ROWS = f"""
    INSERT INTO listings (id, seller_id, kind, feed, slug, title, description, category_id)
        SELECT seller, seller, 'product', 'discover', 'goods', 'Goods', '', (SELECT id FROM categories WHERE slug = 'fruit')
        FROM unnest(ARRAY['{FARM}', '{SHOP}']::uuid[]) AS seller;
    INSERT INTO variants (id, listing_id, unit) VALUES ('{FARM}', '{FARM}', 'piece'), ('{SHOP}', '{SHOP}', 'piece');
    INSERT INTO orders (id, number, buyer_id, session_hash, process, state, currency, payment_method) VALUES
        ('{ORDER_A}', 'A', '{ANN}', NULL, 'purchase', 'pending', 'USD', 'sandbox'),
        ('{ORDER_B}', 'B', '{BEN}', NULL, 'purchase', 'pending', 'USD', 'sandbox'),
        ('{ORDER_C}', 'C', NULL, '\\x{GUEST_SESSION.hex()}', 'purchase', 'pending', 'USD', 'sandbox');
    CREATE TEMP TABLE parts ON COMMIT DROP AS
        SELECT o.id AS order_id, o.buyer_id, o.session_hash, l.line_no, l.seller
        FROM (VALUES ('A', 1, '{FARM}'::uuid), ('B', 1, '{SHOP}'), ('C', 1, '{FARM}'), ('C', 2, '{SHOP}')) AS l(number, line_no, seller)
        JOIN orders o USING (number);
    INSERT INTO fulfilments (order_id, seller_id, buyer_id, session_hash, process, state, rider_id)
        SELECT order_id, seller, buyer_id, session_hash, 'purchase', 'pending',
               CASE WHEN order_id = '{ORDER_C}' AND seller = '{FARM}' THEN '{RITA}'::uuid END FROM parts;
    INSERT INTO order_lines (order_id, line_no, buyer_id, session_hash, seller_id, listing_id, variant_id, title, unit, quantity,
                             unit_price_minor, gross_minor)
        SELECT order_id, line_no, buyer_id, session_hash, seller, seller, seller, 'Goods', 'piece', 1, 100, 100 FROM parts;
    INSERT INTO line_configurations (order_id, line_no, flavor) SELECT order_id, line_no, 'vanilla' FROM order_lines;
    INSERT INTO order_events (order_id, seq, actor_role, kind, seller_id, buyer_id, session_hash)
        SELECT id, 1, 'system', 'placed', NULL, buyer_id, session_hash FROM orders;
    INSERT INTO payments (id, order_id, buyer_id, session_hash, gateway, method, amount_minor, currency)
        SELECT id, id, buyer_id, session_hash, 'sandbox', 'card', 100, 'USD' FROM orders;
    INSERT INTO refunds (payment_id, order_id, buyer_id, amount_minor, currency) SELECT id, id, buyer_id, 50, 'USD' FROM orders;
    INSERT INTO returns (order_id, seller_id, buyer_id, session_hash, reason, lines)
        SELECT order_id, seller_id, buyer_id, session_hash, 'late', '[]' FROM order_lines WHERE line_no = 1;
    INSERT INTO carts (id, user_id, session_hash, currency) VALUES ('{ANN}', '{ANN}', NULL, 'USD'), ('{BEN}', '{BEN}', NULL, 'USD'),
        ('{ORDER_C}', NULL, '\\x{GUEST_SESSION.hex()}', 'USD');
    INSERT INTO cart_lines (cart_id, line_no, variant_id, quantity, unit_price_minor, configuration_hash)
        SELECT id, 1, '{FARM}', 1, 100, '' FROM carts;
    INSERT INTO addresses (user_id, address_enc) SELECT id, '' FROM users;
    INSERT INTO tokens (user_id, token_hash, kind, expires_at) SELECT id, uuid_send(id), 'api', now() FROM users;
    INSERT INTO sessions (id_hash, user_id, expires_at) SELECT uuid_send(id), id, now() FROM users;
    INSERT INTO sessions (id_hash, expires_at) VALUES ('\\x{GUEST_SESSION.hex()}', now());
    INSERT INTO loyalty_entries (user_id, points, kind) SELECT id, 10, 'earned' FROM users;
    INSERT INTO alerts (user_id, name, query, criteria_hash) SELECT id, 'Mine', 'apples', '' FROM users;
    INSERT INTO alert_index (term, alert_id, user_id) SELECT 'apples', id, user_id FROM alerts;
    INSERT INTO alert_matches (alert_id, listing_id, user_id) SELECT id, '{FARM}', user_id FROM alerts;
    INSERT INTO notices (id, user_id, kind, subject_id, title, path) SELECT id, id, 'order', id, 'x', '/' FROM users;
    INSERT INTO deliveries (notice_id, channel, user_id) SELECT id, 'email', id FROM users;
    INSERT INTO notice_preferences (user_id, topic, channel, frequency) SELECT id, 'orders', 'email', 'off' FROM users;
    INSERT INTO notice_times (user_id) SELECT id FROM users;
    INSERT INTO push_subscriptions (user_id, endpoint_hash, subscription_enc) SELECT id, uuid_send(id), '' FROM users;
    INSERT INTO notice_hooks (user_id, url, secret_enc) SELECT id, 'x', '' FROM users;
    INSERT INTO payouts (seller_id, amount_minor, currency) VALUES ('{FARM}', 1, 'USD'), ('{SHOP}', 1, 'USD');
    INSERT INTO ledger_accounts (id, kind, owner_id, currency) VALUES ('{FARM}', 'seller', '{FARM}', 'USD'), ('{SHOP}', 'seller', '{SHOP}', 'USD');
    INSERT INTO ledger_journals (id, kind, reference) VALUES ('{FARM}', 'test', '1');
    INSERT INTO ledger_entries (journal_id, line_no, account_id, amount_minor) VALUES ('{FARM}', 1, '{FARM}', 5), ('{FARM}', 2, '{SHOP}', -5);
    INSERT INTO promo_codes (id, code, kind, percent, valid_to) VALUES ('{ANN}', 'TEN', 'percent', 10, now() + interval '1 day');
    INSERT INTO promo_uses (promo_id, order_id, person, discount_minor) SELECT '{ANN}', id, number, 1 FROM orders;
    INSERT INTO delivery_slots (id, delivery_on, starts_at, ends_at, capacity) VALUES ('{ANN}', '2030-01-01', '09:00', '11:00', 9);
    INSERT INTO slot_bookings (order_id, slot_id) SELECT id, '{ANN}' FROM orders;
    INSERT INTO reviews (listing_id, user_id, rating, status) VALUES ('{FARM}', '{ANN}', 5, 'shown'), ('{SHOP}', '{BEN}', 1, 'hidden');
    INSERT INTO verifications (id, user_id, kind) VALUES ('{FARM}', '{FARM}', 'government_id'), ('{SHOP}', '{SHOP}', 'business');
    INSERT INTO verification_documents (verification_id, position, storage_key, media_type, bytes, name_enc)
        SELECT id, 0, id::text, 'image/png', 1, '' FROM verifications;
    INSERT INTO data_exports (user_id) VALUES ('{ANN}'), ('{BEN}');
    INSERT INTO impersonations (staff_id, person_id, session_hash, reason, ends_at) VALUES ('{STAN}', '{ANN}', '', 'asked', now());
    INSERT INTO decisions (id, subject_kind, subject_id, person_id, action, reason, decided_by)
        SELECT seller, 'listing', seller, seller, 'hide', 'fake', '{STAN}' FROM unnest(ARRAY['{FARM}', '{SHOP}']::uuid[]) AS seller;
    INSERT INTO appeals (decision_id, text) SELECT id, 'no' FROM decisions;
    INSERT INTO reports (subject_kind, subject_id, reporter_id, reason) VALUES ('listing', '{FARM}', '{ANN}', 'fraud'), ('listing', '{SHOP}', '{BEN}', 'fraud');
    INSERT INTO blocks (user_id, blocked_id) VALUES ('{ANN}', '{SHOP}'), ('{BEN}', '{FARM}');
    SET CONSTRAINTS ALL IMMEDIATE
"""

ACTORS = {
    "ann": Actor("person", ANN),
    "ben": Actor("person", BEN),
    "farm": Actor("person", FARM),
    "shop": Actor("person", SHOP),
    "rita": Actor("person", RITA),
    "guest": Actor("anonymous", None, GUEST_SESSION),
    "stranger": Actor("anonymous", None, OTHER_SESSION),
    "nobody": ANYBODY,
    "staff": Actor("staff", STAN),
    "system": SYSTEM,
}
EVERYBODY = "ann ben farm shop rita stan"
# For each table: what of whom each actor sees. Staff and system see all, a stranger and nobody see nothing.
OWN_ORDERS = {"ann": "A", "ben": "B", "guest": "C"}
PARTS_SOLD = {"farm": "A C", "shop": "B C"}
BROUGHT = {"rita": "C"}
OWN_ROW = {name: name for name in NAMES if name in ACTORS}
SEEN: dict[str, tuple[str, dict[str, str], str]] = {
    "orders": ("id", OWN_ORDERS | PARTS_SOLD | BROUGHT, "A B C"),
    "order_lines": ("order_id", {**OWN_ORDERS, "guest": "C C", **PARTS_SOLD, **BROUGHT}, "A B C C"),
    "line_configurations": ("order_id", {**OWN_ORDERS, "guest": "C C", **PARTS_SOLD, **BROUGHT}, "A B C C"),
    "fulfilments": ("order_id", {**OWN_ORDERS, "guest": "C C", **PARTS_SOLD, "rita": "C"}, "A B C C"),
    "order_events": ("order_id", OWN_ORDERS | PARTS_SOLD, "A B C"),
    "payments": ("order_id", OWN_ORDERS, "A B C"),
    "refunds": ("order_id", OWN_ORDERS, "A B C"),
    "returns": ("order_id", OWN_ORDERS | {"farm": "A C", "shop": "B"}, "A B C"),
    "promo_uses": ("order_id", OWN_ORDERS | PARTS_SOLD | BROUGHT, "A B C"),
    "slot_bookings": ("order_id", OWN_ORDERS | PARTS_SOLD | BROUGHT, "A B C"),
    "carts": ("id", {"ann": "ann", "ben": "ben", "guest": "C"}, "C ann ben"),
    "cart_lines": ("cart_id", {"ann": "ann", "ben": "ben", "guest": "C"}, "C ann ben"),
    "addresses": ("user_id", OWN_ROW, EVERYBODY),
    "tokens": ("user_id", OWN_ROW, EVERYBODY),
    "sessions": ("user_id", OWN_ROW | {"guest": "-"}, f"{EVERYBODY} -"),
    "alerts": ("user_id", OWN_ROW, EVERYBODY),
    "alert_index": ("user_id", OWN_ROW, EVERYBODY),
    "alert_matches": ("user_id", OWN_ROW, EVERYBODY),
    "deliveries": ("user_id", OWN_ROW, EVERYBODY),
    "notice_preferences": ("user_id", OWN_ROW, EVERYBODY),
    "notice_times": ("user_id", OWN_ROW, EVERYBODY),
    "push_subscriptions": ("user_id", OWN_ROW, EVERYBODY),
    "notice_hooks": ("user_id", OWN_ROW, EVERYBODY),
    "loyalty_accounts": ("user_id", OWN_ROW, EVERYBODY),
    "loyalty_entries": ("user_id", OWN_ROW, EVERYBODY),
    "payouts": ("seller_id", {"farm": "farm", "shop": "shop"}, "farm shop"),
    "ledger_accounts": ("owner_id", {"farm": "farm", "shop": "shop"}, "farm shop"),
    "ledger_entries": ("account_id", {"farm": "farm", "shop": "shop"}, "farm shop"),
    "verifications": ("user_id", {"farm": "farm", "shop": "shop"}, "farm shop"),
    "verification_documents": ("verification_id", {"farm": "farm", "shop": "shop"}, "farm shop"),
    "data_exports": ("user_id", {"ann": "ann", "ben": "ben"}, "ann ben"),
    "impersonations": ("person_id", {"ann": "ann"}, "ann"),
    "reports": ("reporter_id", {"ann": "ann", "ben": "ben"}, "ann ben"),
    "decisions": ("person_id", {"farm": "farm", "shop": "shop"}, "farm shop"),
    "appeals": ("decision_id", {"farm": "farm", "shop": "shop"}, "farm shop"),
    "blocks": ("user_id", {"ann": "ann", "ben": "ben"}, "ann ben"),
    "reviews": ("user_id", dict.fromkeys(ACTORS, "ann") | {"ben": "ann ben"}, "ann ben"),
}


@pytest_asyncio.fixture(scope="module")
async def database_name(servers: Servers, market: str) -> AsyncIterator[str]:
    """Share one store's database among these tests: each undoes what it did."""
    name = await servers.clone(market)
    owner = await Database.open(servers.dsn(name, "postgres"), size=1)
    async with owner.transaction(actor=SYSTEM) as tx:
        await tx.run(text(PEOPLE), ids=[ANN, BEN, FARM, SHOP, RITA, STAN], names=list(NAMES))
        await tx.control(ROWS)
    await owner.close()
    yield name
    await servers.drop(name)


@pytest_asyncio.fixture
async def tx(db: Database) -> AsyncIterator[Transaction]:
    """Open a transaction of nobody's that is rolled back."""
    async with db.transaction(actor=ANYBODY) as opened:
        yield opened
        await opened.control("ROLLBACK; BEGIN")


def words(labels: str) -> list[str]:
    return sorted(labels.split())


@pytest.mark.parametrize("table", SEEN)
async def test_everybody_sees_their_own_and_nothing_else(tx: Transaction, table: str) -> None:
    column, expected, whole = SEEN[table]
    for name, actor in ACTORS.items():
        async with tx.acting_as(actor):
            found = await tx.values(text(f"SELECT {column} FROM {table}"))
        seen = sorted(LABELS.get(key, "-") for key in found)
        assert seen == words(whole if name in {"staff", "system"} else expected.get(name, "")), name


@pytest.mark.parametrize("table", SEEN)
async def test_a_connection_that_forgot_its_actor_sees_nothing(db: Database, table: str) -> None:
    column, expected, _ = SEEN[table]
    found = sorted(LABELS.get(row[0], "-") for row in await db.read(text(f"SELECT {column} FROM {table}")))
    assert found == words(expected.get("nobody", ""))


@pytest.mark.parametrize(
    ("change", "touched"),
    [
        ("UPDATE orders SET note = 'x'", {"ann": 1, "ben": 1, "farm": 2, "shop": 2, "guest": 1}),
        ("UPDATE payments SET error = 'x'", {"ann": 1, "ben": 1, "guest": 1}),
        ("UPDATE addresses SET label = 'x'", {"ann": 1, "ben": 1, "farm": 1, "shop": 1, "rita": 1}),
        ("UPDATE carts SET version = version + 1", {"ann": 1, "ben": 1, "guest": 1}),
        ("UPDATE reviews SET reply = 'x'", {"ann": 1, "ben": 1, "farm": 1, "shop": 1}),
        ("UPDATE verifications SET data_enc = 'x'", {"farm": 1, "shop": 1}),
        ("DELETE FROM verification_documents", {"farm": 1, "shop": 1}),
        ("UPDATE decisions SET reason = 'x'", {}),
        ("UPDATE impersonations SET reason = 'x'", {}),
        ("UPDATE reports SET details = 'x'", {"ann": 1, "ben": 1}),
        ("DELETE FROM blocks", {"ann": 1, "ben": 1}),
        ("DELETE FROM cart_lines", {"ann": 1, "ben": 1, "guest": 1}),
        ("DELETE FROM tokens", {"ann": 1, "ben": 1, "farm": 1, "shop": 1, "rita": 1}),
        ("DELETE FROM sessions", {"ann": 1, "ben": 1, "farm": 1, "shop": 1, "rita": 1, "guest": 1}),
    ],
)
async def test_a_change_without_a_where_touches_ones_own_only(
    tx: Transaction, change: str, touched: dict[str, int]
) -> None:
    for name, actor in ACTORS.items():
        if name not in {"staff", "system"}:
            await tx.control("SAVEPOINT before_change")
            async with tx.acting_as(actor):
                assert await tx.run(text(change)) == touched.get(name, 0), name
            await tx.control("ROLLBACK TO SAVEPOINT before_change")


@pytest.mark.parametrize(
    "insert",
    [
        f"INSERT INTO carts (user_id, currency) VALUES ('{SHOP}', 'USD')",
        f"INSERT INTO addresses (user_id, address_enc) VALUES ('{SHOP}', '')",
        f"INSERT INTO tokens (user_id, token_hash, kind, expires_at) VALUES ('{SHOP}', 'x', 'api', now())",
        f"INSERT INTO reviews (listing_id, user_id, rating) VALUES ('{FARM}', '{SHOP}', 1)",
        f"INSERT INTO loyalty_entries (user_id, points, kind) VALUES ('{ANN}', 1000, 'earned')",
        f"INSERT INTO loyalty_entries (user_id, points, kind) VALUES ('{BEN}', -1, 'spent')",
        f"""INSERT INTO cart_lines (cart_id, line_no, variant_id, quantity, unit_price_minor, configuration_hash)
            VALUES ('{BEN}', 2, '{FARM}', 1, 1, 'x')""",
        f"""INSERT INTO orders (number, buyer_id, process, state, currency, payment_method)
            VALUES ('X', '{BEN}', 'purchase', 'pending', 'USD', 'sandbox')""",
        f"INSERT INTO verifications (user_id, kind) VALUES ('{BEN}', 'address')",
        f"INSERT INTO reports (subject_kind, subject_id, reporter_id, reason) VALUES ('person', '{FARM}', '{BEN}', 'spam')",
        f"INSERT INTO blocks (user_id, blocked_id) VALUES ('{SHOP}', '{BEN}')",
        f"""INSERT INTO decisions (subject_kind, subject_id, person_id, action, reason, decided_by)
            VALUES ('person', '{ANN}', '{ANN}', 'none', 'x', '{ANN}')""",
        f"UPDATE carts SET user_id = '{SHOP}' WHERE user_id = '{ANN}'",
        f"UPDATE addresses SET user_id = '{SHOP}'",
        f"UPDATE reviews SET user_id = '{SHOP}' WHERE user_id = '{ANN}'",
    ],
)
async def test_nobody_writes_in_anothers_name(tx: Transaction, insert: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
        async with tx.acting_as(ACTORS["ann"]):
            await tx.run(text(insert))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger_entries SET amount_minor = 0",
        "DELETE FROM ledger_journals",
        "UPDATE order_events SET reason = ''",
        "DELETE FROM events",
        "UPDATE stock_movements SET quantity = 1",
        "UPDATE loyalty_accounts SET points = 1000",
        "UPDATE loyalty_entries SET points = 1000",
        "UPDATE promo_codes SET used_count = 0",
        "UPDATE delivery_slots SET taken = 0",
        "INSERT INTO role_permissions VALUES ('buyer', 'manage_people')",
        "UPDATE order_transitions SET actors = '{buyer}'",
        "UPDATE store_facts SET value = 'EUR'",
        "INSERT INTO audit_log (actor_role, database_user, action, table_name, row_key) VALUES ('', '', 'act', 'x', 'x')",
        "UPDATE audit_log SET before = NULL",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "DROP TABLE audit_log_default",
        "DELETE FROM decisions",
        "DELETE FROM impersonations",
        "SELECT audit_write('update', 'orders', 'x', NULL, NULL)",
        "SELECT audit_note('update', 'orders', 'x', NULL)",
        f"SELECT audit_forget('{ANN}')",
        "ALTER TABLE orders DISABLE TRIGGER audit",
        "TRUNCATE orders",
        "ALTER TABLE orders DISABLE ROW LEVEL SECURITY",
        "SET ROLE tradepost_owner",
        "CREATE TABLE mine (n integer)",
    ],
)
async def test_even_the_system_cannot_change_what_triggers_and_installation_own(
    tx: Transaction, statement: str
) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with tx.acting_as(SYSTEM):
            await tx.control(statement)


@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE verifications SET status = 'verified', decided_at = now() WHERE user_id = '{FARM}'",
        f"INSERT INTO verifications (user_id, kind, status, decided_at) VALUES ('{FARM}', 'address', 'verified', now())",
        "UPDATE appeals SET state = 'granted', decided_at = now()",
    ],
)
async def test_nobody_decides_their_own_case(tx: Transaction, statement: str) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="decided by the staff"):
        async with tx.acting_as(ACTORS["farm"]):
            await tx.run(text(statement))


@pytest.mark.parametrize(
    "statement",
    ["UPDATE reviews SET status = 'shown' WHERE status = 'hidden'", "DELETE FROM reviews WHERE status = 'hidden'"],
)
async def test_what_was_hidden_stays_hidden_to_its_author(tx: Transaction, statement: str) -> None:
    with pytest.raises(DomainError):
        async with tx.acting_as(ACTORS["ben"]):
            await tx.run(text(statement))
    async with tx.acting_as(SYSTEM):
        assert await tx.value(text(f"SELECT status FROM reviews WHERE user_id = '{BEN}'")) == "hidden"


async def test_the_audit_log_is_read_by_staff_and_system_only(tx: Transaction) -> None:
    for name, actor in ACTORS.items():
        async with tx.acting_as(actor):
            seen = await tx.value(text("SELECT count(*) FROM audit_log"))
        assert (seen > 0) == (name in {"staff", "system"}), name


async def test_who_looks_with_anothers_eyes_changes_nothing(db: Database) -> None:
    with pytest.raises(OnlyLooking):
        async with db.transaction(actor=Actor("person", ANN, None, STAN)) as tx:
            await tx.run(text("UPDATE carts SET version = version + 1"))


async def test_reporting_reads_orders_and_no_secret(servers: Servers, database_name: str) -> None:
    connection = await asyncpg.connect(servers.dsn(database_name, "tradepost_readonly"))
    try:
        assert await connection.fetchval("SELECT count(*) FROM orders") == 3
        assert await connection.fetchval("SELECT count(username) FROM users") == 6
        for secret in ("SELECT password_hash FROM users", "SELECT phone_enc FROM users", "SELECT * FROM tokens",
                       "SELECT * FROM sessions", "UPDATE orders SET note = ''"):  # fmt: skip
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.fetch(secret)
    finally:
        await connection.close()


# Tables with a person in them that everybody may read, or that hold no private fact, and why.
OPEN = {
    "user_badges": "distinctions are public",
    "users": "profiles are public; what is private in them is encrypted or read by its owner's queries only",
    "user_roles": "a role is shown beside its person, and every request asks for it before there is an actor",
    "follows": "who follows whom is public",
    "likes": "likes are public",
    "wishlists": "saved listings, always read with their owner's id",
    "listings": "the seller's name is part of the offer",
    "outside_logins": "asked by provider and subject, before there is an actor",
    "promo_codes": "the seller who bears it is part of the code",
    "commission_rules": "what a seller pays the store, read by every pricing",
    "events": "facts of everybody, written only; read by the back office",
    "stock_movements": "why stock changed, with who did it",
    "delivery_slots": "who drives a window is shown to whoever books it",
    "search_documents": "what is found is public, its seller too",
    "streams": "who hosts a show is part of it",
    "stream_events": "what is said in a show is said to everybody",
    "stream_likes": "likes are public",
    "auctions": "who leads an auction is called out; maxima are in `bids`, which is guarded",
    "giveaway_entries": "who takes part is needed to draw again",
}
PERSONAL = ("person_id", "staff_id", "user_id", "buyer_id", "seller_id", "session_hash", "owner_id", "rider_id", "follower_id", "host_id", "sender_id",
            "reporter_id", "person")  # fmt: skip


async def test_a_table_that_names_a_person_is_guarded_or_listed_here(owner: Database) -> None:
    statement = text("""
        SELECT DISTINCT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
          AND NOT c.relrowsecurity AND a.attname = ANY (:personal) ORDER BY 1
    """)
    found: list[Any] = [row[0] for row in await owner.read(statement, personal=list(PERSONAL))]
    assert set(found) - OPEN.keys() == set()
