"""The books: balanced or not at all, never rewritten, each fact once."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from tests.shop import Shop
from tradepost.core.database import SYSTEM, Database, Transaction
from tradepost.core.errors import Conflict
from tradepost.core.ids import uuid7
from tradepost.payments.ledger import BooksUnbalanced, Entry, post

SELLER = UUID(int=7)


async def book(db: Database, *entries: Entry, reference: str = "1") -> None:
    async with db.transaction(actor=SYSTEM) as tx:
        await post(tx, "test", reference, None, "USD", entries)


async def sums(db: Database) -> list[tuple[Any, ...]]:
    async with db.transaction(actor=SYSTEM) as tx:
        rows = await tx.all(
            text("""
            SELECT a.kind, a.name, CAST(sum(e.amount_minor) AS bigint) FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.account_id
            GROUP BY a.kind, a.name ORDER BY a.kind, a.name
        """)
        )
        return [(kind, name, int(amount)) for kind, name, amount in rows]


async def journals(db: Database) -> int:
    async with db.transaction(actor=SYSTEM, read_only=True) as tx:
        return int(await tx.value(text("SELECT count(*) FROM ledger_journals")))


async def test_balanced_journal_is_booked_once(db: Database) -> None:
    entries = [Entry("clearing", 100, name="sandbox"), Entry("seller", -90, SELLER), Entry("fee", -10)]
    await book(db, *entries)
    await book(db, *entries)
    assert await sums(db) == [("clearing", "sandbox", 100), ("fee", "", -10), ("seller", "", -90)]
    assert await journals(db) == 1


async def test_entries_on_one_account_add_up_and_nothing_is_booked_for_nothing(db: Database) -> None:
    await book(db, Entry("fee", 5), Entry("fee", -7), Entry("tax", 2))
    await book(db, Entry("fee", 5), Entry("fee", -5), reference="2")
    assert await sums(db) == [("fee", "", -2), ("tax", "", 2)]
    assert await journals(db) == 1


async def test_unbalanced_journal_is_refused_at_the_commit(db: Database) -> None:
    with pytest.raises(BooksUnbalanced):
        await book(db, Entry("clearing", 100), Entry("fee", -99))
    assert await sums(db) == []


async def test_journal_of_several_currencies_balances_in_each(db: Database) -> None:
    journal = uuid7()

    async def mixed(tx: Transaction) -> None:
        accounts = [
            await tx.value(text("INSERT INTO ledger_accounts (kind, currency) VALUES ('fee', :c) RETURNING id"), c=c)
            for c in ("USD", "EUR")
        ]
        await tx.run(
            text("""
                WITH j AS (INSERT INTO ledger_journals (id, kind, reference) VALUES (:id, 'mixed', '1') RETURNING id)
                INSERT INTO ledger_entries (journal_id, line_no, account_id, amount_minor)
                SELECT j.id, n, a, m FROM j, unnest(CAST(:accounts AS uuid[]), CAST(ARRAY[5, -5] AS bigint[])) WITH ORDINALITY AS u(a, m, n)
            """),
            id=journal, accounts=accounts,
        )  # fmt: skip

    async def commit() -> None:
        async with db.transaction(actor=SYSTEM) as tx:
            await mixed(tx)

    with pytest.raises(BooksUnbalanced):
        await commit()


@pytest.mark.parametrize("line_no", [2, 3])
async def test_nothing_is_added_to_a_journal_later(db: Database, line_no: int) -> None:
    await book(db, Entry("clearing", 100), Entry("fee", -100))
    late = text("""
        INSERT INTO ledger_entries (journal_id, line_no, account_id, amount_minor)
        SELECT journal_id, :line_no, account_id, 1 FROM ledger_entries WHERE line_no = 1
    """)

    async def add() -> None:
        async with db.transaction(actor=SYSTEM) as tx:
            await tx.run(late, line_no=line_no)

    with pytest.raises(Conflict):
        await add()


@pytest.mark.parametrize(
    "sql", ["UPDATE ledger_entries SET amount_minor = 1", "DELETE FROM ledger_journals", "TRUNCATE ledger_entries"]
)
async def test_owner_cannot_rewrite_the_books_either(owner: Database, db: Database, sql: str) -> None:
    await book(db, Entry("clearing", 100), Entry("fee", -100))

    async def rewrite() -> None:
        async with owner.transaction(actor=SYSTEM) as tx:
            await tx.run(text(sql))

    with pytest.raises(Conflict):
        await rewrite()


async def test_journal_written_within_a_savepoint_is_whole_too(db: Database) -> None:
    async with db.transaction(actor=SYSTEM) as tx, tx.savepoint():
        await post(tx, "test", "1", None, "USD", [Entry("clearing", 100), Entry("fee", -100)])
    assert len(await sums(db)) == 2


async def test_accounts_opened_by_a_transaction_that_failed_are_not_remembered(db: Database) -> None:
    async def fails() -> None:
        async with db.transaction(actor=SYSTEM) as tx:
            await post(tx, "test", "1", None, "USD", [Entry("seller", 1, uuid4()), Entry("fee", -1)])
            raise Conflict

    with pytest.raises(Conflict):
        await fails()
    await book(db, Entry("clearing", 1), Entry("fee", -1))
    assert await journals(db) == 1


async def test_sale_books_every_share(shop: Shop) -> None:
    variant = await shop.goods(price=1234)
    await shop.buy(variant, 3, shipping="standard")
    # goods 37.02, tax inside 15 % 4.83, commission 10 % 3.70, delivery 5.00
    assert await shop.balances() == {"clearing": 4202, "held": -(3702 - 483 - 370 + 500), "fee": -370, "tax": -483}
