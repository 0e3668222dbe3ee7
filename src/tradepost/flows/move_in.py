"""Moving in: another system's whole database into a store, by the plan in its preset (flows/move_plan).

Promises that memory stays flat whatever the size (batches pass from COPY to COPY), that a batch, how far it came and what it refused
are one transaction, so that a killed import goes on where it stopped; that a row has the same id each time, so that importing again
adds what is new and changes nothing that is here; that one impossible row costs itself and those that need it, nothing else; and that
a trial leaves nothing. The other database is only read, in one snapshot. Runs as the owner.
"""

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import asyncpg
import msgspec
from asyncpg.exceptions._base import DataError as DriverDataError  # what asyncpg itself cannot encode
from sqlalchemy import text

from tradepost.accounts.queries import PHONE
from tradepost.accounts.rules import as_phone
from tradepost.core.crypto import Keyring
from tradepost.core.database import SYSTEM, ChangedMeanwhile, Database, Transaction
from tradepost.core.errors import Conflict, DomainError, Invalid, Refused
from tradepost.flows.install_store import Progress, silent
from tradepost.flows.move_addresses import as_address
from tradepost.flows.move_alerts import as_alert
from tradepost.flows.move_plan import Column, Count, Part, Plan, Rule, Step
from tradepost.flows.move_points import as_point
from tradepost.flows.preset import StoreSettings
from tradepost.flows.sealed import ORDER_ADDRESS

BATCH: Final = 5_000


@dataclass(eq=False)
class SourceLacks(Invalid):
    """The database to import from is not one of {system}: it lacks {what}."""

    system: str
    what: str


@dataclass(eq=False)
class LettersUnknown(Invalid):
    """The database to import from is kept in {encoding}, which says nothing of its letters; convert it to UTF8 first."""

    encoding: str


@dataclass(eq=False)
class NotThisStore(Refused):
    """The database to import into belongs to the store “{found}”, not to “{wanted}”."""

    found: str
    wanted: str


class ImportUnderWay(Conflict):
    """Somebody else is importing into this store already."""


@dataclass(eq=False)
class NoSuchSeller(Invalid):
    """There is nobody called “{name}” here to sell what comes."""

    name: str


@dataclass(eq=False)
class NoSuchZone(Invalid):
    """There is no time zone called “{name}”."""

    name: str


@dataclass(eq=False)
class ImportDiffers(Conflict):
    """Not everything is here as it was there: {differences}."""

    differences: str


class Tally(msgspec.Struct):
    """What became of a table's rows: how many were read, refused and are here now, and what the compared column adds up to."""

    read: int = 0
    refused: int = 0
    here: int = 0
    given: Decimal = Decimal(0)
    left: Decimal = Decimal(0)
    kept: Decimal = Decimal(0)

    def add(self, other: "Tally") -> None:
        """Add another batch's."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class TableReport(msgspec.Struct, frozen=True):
    """A table's rows there and here, and the sums of both sides where something was added up."""

    table: str
    there: int
    sum_there: Decimal
    tally: Tally

    @property
    def differences(self) -> list[str]:
        """What does not agree, in words."""
        t, found = self.tally, []
        if t.read != self.there:
            found.append(f"{self.table} has {self.there:,} rows, {t.read:,} were read")
        if t.here + t.refused != t.read:
            found.append(f"of {t.read:,} {self.table}, {t.here:,} are here and {t.refused:,} refused")
        if t.given + t.left != self.sum_there:
            found.append(f"{self.table} add up to {self.sum_there} there, {t.given + t.left} were read")
        if t.given != t.kept:
            found.append(f"{self.table} add up to {t.given} there and {t.kept} here")
        return found


class Note(msgspec.Struct, frozen=True):
    """A row that was refused, or kept with a change, and why."""

    table: str
    key: str
    reason: str
    is_refused: bool


class Report(msgspec.Struct, frozen=True):
    """What an import did. `unbalanced`: journals of the books that do not add up, which must be none."""

    tables: tuple[TableReport, ...]
    unbalanced: int
    went_on: bool

    @property
    def differences(self) -> list[str]:
        """What does not agree, in words."""
        found = [said for table in self.tables for said in table.differences]
        return found + ([f"{self.unbalanced:,} journals do not balance"] if self.unbalanced else [])


Reader = Callable[[Note], None]
_REASONS: Final = (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError, DriverDataError, Conflict, Invalid)
_LOCK: Final = "SELECT pg_try_advisory_lock(1836021349)"
_FACTS = text("SELECT name, value FROM store_facts WHERE name IN ('code', 'currency')")
_SETTINGS = "SELECT set_config('app.keep_times', 'on', true)"
_ZONE = text("SELECT 1 FROM pg_timezone_names WHERE name = :zone")
_SELLER = text("""
    SELECT id FROM users WHERE username = CAST(:name AS citext)
    UNION ALL SELECT move_in_key(:house, 0) WHERE CAST(:name AS text) = ''
""")
_FACT = re.compile(r"(?<!:):(system|currency|country|store|seller|point_worth)\b")
_WRITTEN = re.compile(r"INSERT INTO (\w+)")
_UNBALANCED = text("""
    SELECT count(*) FROM (
        SELECT FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.account_id
        GROUP BY e.journal_id, a.currency HAVING sum(e.amount_minor) <> 0) AS off
""")
_STEPS = text("SELECT step, last_key, is_done, tally FROM move_in_steps WHERE system = :system ORDER BY position")
_FORGET = text("DELETE FROM move_in_steps WHERE system = :system")
_FORGET_NOTES = text("DELETE FROM move_in_notes WHERE system = :system")
_BEGIN = text("INSERT INTO move_in_steps (system, step, position) VALUES (:system, :step, :position)")
_CAME = text("""
    UPDATE move_in_steps SET last_key = coalesce(:last_key, last_key), is_done = :is_done, tally = :tally, updated_at = now()
    WHERE system = :system AND step = :step
""")
_NOTED = text("""
    INSERT INTO move_in_notes (system, table_name, row_key, reason, is_refused)
    VALUES (:system, :table, :key, :reason, :is_refused) ON CONFLICT DO NOTHING
""")
_NOTES = text("""
    SELECT table_name AS "table", row_key AS key, reason, is_refused FROM move_in_notes
    WHERE system = :system AND (table_name, row_key, reason) > (:table, :key, :reason)
    ORDER BY table_name, row_key, reason LIMIT 1000
""")


class _Undone(Exception):
    """A trial has ended; its transaction is rolled back."""


class Wishes(msgspec.Struct, frozen=True):
    """How an operator wants it. `seller`: who sells what nobody is named for; `zone`: of times that say none; `prefix`: the country's
    number for telephone numbers that begin with 0, such as +263."""  # fmt: skip

    dry_run: bool = False
    from_start: bool = False
    seller: str = ""
    zone: str = "UTC"
    prefix: str = ""
    batch: int = BATCH


async def move_in(
    db: Database, source: asyncpg.Connection, plan: Plan, settings: StoreSettings, keys: Keyring, wishes: Wishes, *,
    progress: Progress = silent, on_note: Reader | None = None,
) -> Report:  # fmt: skip
    """Move everything of `source` into the store's database; return what became of it, every note by `on_note`.

    Raises `SourceLacks`, `LettersUnknown`, `NotThisStore`, `NoSuchSeller`, `NoSuchZone`, `ImportUnderWay`, before anything is
    changed.
    """
    async with db.own_connection() as holder:
        if not await holder.fetchval(_LOCK):
            raise ImportUnderWay
        mover = _Mover(db, source, plan, keys, wishes, progress)
        await _check_source(source, plan)
        await mover.check_target(settings)
        async with source.transaction(isolation="repeatable_read", readonly=True):
            if wishes.dry_run:
                return await _tried(mover, on_note)
            report = await mover.run(from_start=wishes.from_start)
            await mover.tell(on_note)
            return report


async def _tried(mover: "_Mover", on_note: Reader | None) -> Report:
    """Do all of it within one transaction, and undo that."""
    found: list[Report] = []
    with suppress(_Undone):
        async with mover.db.transaction(actor=SYSTEM) as outer:
            with mover.db.joined_by(outer):
                found.append(await mover.run(from_start=True))
                await mover.tell(on_note)
            raise _Undone
    return found[0]


async def _check_source(source: asyncpg.Connection, plan: Plan) -> None:
    encoding = await source.fetchval("SELECT getdatabaseencoding()")
    if encoding == "SQL_ASCII":
        raise LettersUnknown(encoding)
    missing = []
    for part in plan.parts:
        there = await _columns_of(source, part.table)
        wanted = [part.key, part.link, *(n for c in part.columns if not c.is_optional for n in c.needs)]
        lacks = list(dict.fromkeys(f"{part.table}.{name}" for name in wanted if name and name not in there))
        missing += lacks if there else [f"the table {part.table}"]
    if missing:
        raise SourceLacks(
            plan.system, ", ".join(missing[:5]) + (f" and {len(missing) - 5} more" if missing[5:] else "")
        )


async def _columns_of(source: asyncpg.Connection, table: str) -> frozenset[str]:
    rows = await source.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped", table
    )
    return frozenset(row[0] for row in rows)


class _Mover:
    """One import under way."""

    def __init__(
        self, db: Database, source: asyncpg.Connection, plan: Plan, keys: Keyring, wishes: Wishes, progress: Progress
    ) -> None:  # fmt: skip
        self.db = db
        self.source = source
        self.plan = plan
        self.keys = keys
        self.wishes = wishes
        self.progress = progress
        self.facts: dict[str, str] = {"system": _quoted(plan.system)}
        self.there: dict[str, frozenset[str]] = {}
        self.country = ""
        self.batches = 0

    async def check_target(self, settings: StoreSettings) -> None:
        """Learn what the statements ask of the store. Raises `NotThisStore`, `NoSuchSeller`, `NoSuchZone`."""
        known = {row["name"]: row["value"] for row in await self.db.read(_FACTS, fresh=True)}
        if known.get("code") != settings.store.code:
            raise NotThisStore(known.get("code", "none"), settings.store.code)
        if not await self.db.read(_ZONE, fresh=True, zone=self.wishes.zone):
            raise NoSuchZone(self.wishes.zone)
        seller = await self.db.read(_SELLER, fresh=True, name=self.wishes.seller, house=f"{self.plan.system}.house")
        if not seller:
            raise NoSuchSeller(self.wishes.seller)
        loyalty, self.country = settings.loyalty, settings.store.country
        self.facts |= {
            "currency": _quoted(known["currency"]), "store": _quoted(settings.store.name),
            "seller": f"'{seller[0][0]}'::uuid", "country": _quoted(settings.store.country),
            "point_worth": str(loyalty.value_per_point if loyalty else 0),
        }  # fmt: skip

    async def run(self, *, from_start: bool) -> Report:
        """Move step by step, going on where an import stopped that was not finished."""
        for part in self.plan.parts:
            self.there[part.table] = await _columns_of(self.source, part.table)
        reached, went_on = await self._reached(from_start=from_start)
        tallies: dict[str, Tally] = {}
        totals = [await self._total(step, part) for step in self.plan.steps for part in step.parts]
        for step in self.plan.steps:
            last_key, is_done, tally = reached[step.name]
            if not is_done:
                whole = next(there for table, there, _ in totals if table == step.parts[0].table)
                await self._step(step, last_key, tally, whole)
            tallies |= tally
        unbalanced = await self.db.read(_UNBALANCED, fresh=True)
        return Report(
            tuple(TableReport(table, there, given, tallies[table]) for table, there, given in totals), unbalanced[0][0], went_on
        )  # fmt: skip

    async def tell(self, on_note: Reader | None) -> None:
        """Hand over every note, a thousand at a time."""
        last = Note("", "", "", is_refused=False)
        while on_note is not None:
            rows = await self.db.read(
                _NOTES,
                into=Note,
                fresh=True,
                system=self.plan.system,
                table=last.table,
                key=last.key,
                reason=last.reason,
            )
            for row in rows:
                on_note(row)
            if not rows:
                return
            last = rows[-1]

    async def _reached(self, *, from_start: bool) -> tuple[dict[str, tuple[str | None, bool, dict[str, Tally]]], bool]:
        """Return how far each step has come; a finished import begins anew."""
        system = self.plan.system
        async with self.db.transaction(actor=SYSTEM) as tx:
            rows = await tx.all(_STEPS, system=system)
            names = [row["step"] for row in rows]
            is_open = names == [s.name for s in self.plan.steps] and not all(row["is_done"] for row in rows)
            if is_open and not from_start:
                return {
                    r["step"]: (r["last_key"], r["is_done"], msgspec.convert(r["tally"], dict[str, Tally])) for r in rows
                }, True  # fmt: skip
            await tx.run(_FORGET, system=system)
            await tx.run(_FORGET_NOTES, system=system)
            for position, step in enumerate(self.plan.steps):
                await tx.run(_BEGIN, system=system, step=step.name, position=position)
        return {step.name: (None, False, {}) for step in self.plan.steps}, False

    async def _total(self, step: Step, part: Part) -> tuple[str, int, Decimal]:
        given = _count_of(step, part.table).given
        column = next((c for c in part.columns if c.name == given), None)
        summed = _sum_of(self._expression(part, column)) if column else "0"
        row = await self.source.fetchrow(f'SELECT count(*), {summed} FROM "{part.table}"')
        return part.table, row[0], Decimal(row[1])

    async def _step(self, step: Step, last_key: str | None, tally: dict[str, Tally], whole: int) -> None:
        size, self.batches = self.wishes.batch, 0
        for part in step.parts:
            tally.setdefault(part.table, Tally())
        lead = tally[step.parts[0].table]
        self.progress(step.name, lead.read, whole)
        while True:
            try:
                key = await self._batch(step, last_key, size, tally)
            except ChangedMeanwhile:
                raise
            except _REASONS as error:
                if size > 1:
                    size = max(1, size // 4)
                    continue
                key = await self._skip(step, last_key, tally, error)
            if key is None:
                break
            last_key, size = key, min(self.wishes.batch, size * 4)
            self.progress(step.name, lead.read, whole)
        await self._finish(step, tally)
        self.progress(step.name, lead.read, whole)

    async def _batch(self, step: Step, after: str | None, size: int, tally: dict[str, Tally]) -> str | None:
        """Move the next rows; return the last one's key, or None where there are none."""
        async with self.db.transaction(actor=SYSTEM) as tx:
            await tx.connection.execute(_SETTINGS)
            last = await self._stage(tx, step, after, size)
            if last is None:
                return None
            found = {part.table: Tally() for part in step.parts}
            for part in step.parts:
                found[part.table].read = await tx.connection.fetchval(f'SELECT count(*) FROM "batch_{part.table}"')
            await self._judge(tx, step, found)
            await tx.connection.execute(self._filled(step.script) + "\n; SET CONSTRAINTS ALL IMMEDIATE")
            self.batches += 1
            if (
                self.batches & (self.batches - 1) == 0
            ):  # tables that grow from nothing are planned for as if they were empty
                await tx.connection.execute(f"ANALYZE {', '.join(sorted(set(_WRITTEN.findall(step.script))))}")
            for count in step.counts:
                await self._compare(tx, count, found[count.table])
            for part in step.parts:
                await tx.connection.execute(f'DROP TABLE "batch_{part.table}"')
            sums = {table: msgspec.structs.replace(tally[table]) for table in tally}
            for table, more in found.items():
                sums[table].add(more)
            await tx.run(
                _CAME, system=self.plan.system, step=step.name, last_key=last, is_done=False, tally=_as_json(sums)
            )
        tally.update(sums)
        return last

    async def _stage(self, tx: Transaction, step: Step, after: str | None, size: int) -> str | None:
        """Copy the next rows of the leading table, and those of the others that belong to them."""
        last: str | None = None
        for part in step.parts:
            await tx.connection.execute(_staging(part))
            if part.parent:
                between = f"\"{part.link}\" <= '{last}'" + (f" AND \"{part.link}\" > '{after}'" if after else "")
                (parent,) = (p for p in step.parts if p.table == part.parent)
                exists = (
                    f'EXISTS (SELECT FROM "{parent.table}" p WHERE p."{parent.key}" = "{part.table}"."{part.link}")'
                )
                await self._copy(tx, part, f"WHERE {between} AND {exists}")
                continue
            following = f"WHERE \"{part.key}\" > '{after}'" if after else ""
            await self._copy(tx, part, f'{following} ORDER BY "{part.key}" LIMIT {size}')
            key = await tx.connection.fetchval(
                f'SELECT "{part.key}" FROM "batch_{part.table}" ORDER BY "{part.key}" DESC LIMIT 1'
            )
            if key is None:
                await tx.connection.execute(f'DROP TABLE "batch_{part.table}"')
                return None
            last = str(key)
        for part in step.parts:
            for column, kind in part.seals:
                given = {
                    "phone": self.wishes.prefix,
                    "order_address": self.country,
                    "alert": self.facts["currency"][1:-1],
                }
                await _SEALERS[kind](tx, self.keys, part, column, given.get(kind, ""))
            by = f'"{part.link}", "{part.key}"' if part.parent else f'"{part.key}"'
            await tx.connection.execute(f'CREATE INDEX ON "batch_{part.table}" ({by}); ANALYZE "batch_{part.table}"')
        return last

    async def _copy(self, tx: Transaction, part: Part, which: str) -> None:
        """Hand the rows over as PostgreSQL writes them, without looking at them."""
        chunks: list[bytes] = []

        async def keep(data: bytes) -> None:
            chunks.append(data)

        wanted = ", ".join(self._expression(part, column) for column in part.columns)
        async with self.source.transaction():
            await self.source.copy_from_query(
                f'SELECT {wanted} FROM "{part.table}" {which}', output=keep, format="binary"
            )
        await tx.connection.copy_to_table(
            f"batch_{part.table}", source=_each(chunks), columns=[c.name for c in part.columns], format="binary"
        )

    def _expression(self, part: Part, column: Column) -> str:
        if column.is_optional and not self.there[part.table].issuperset(column.needs):
            return f"NULL::{column.staged}"
        if column.kind == "timestamp":
            return f"({column.expression})::timestamp AT TIME ZONE '{self.wishes.zone}'"
        return f"({column.expression})::{column.kind}"

    async def _judge(self, tx: Transaction, step: Step, found: Mapping[str, Tally]) -> None:
        """Mark what the rules refuse, note it, and take it out of the batch."""
        for rule in step.rules:
            await tx.connection.execute(self._filled(_mark(rule, self._key_of(step, rule.table), self.plan.system)))
        for part in step.parts:
            given = _count_of(step, part.table).given
            row = await tx.connection.fetchrow(f"""
                WITH gone AS (DELETE FROM "batch_{part.table}" WHERE reason IS NOT NULL RETURNING *),
                noted AS (INSERT INTO move_in_notes (system, table_name, row_key, reason, is_refused)
                          SELECT '{self.plan.system}', '{part.table}', "{part.key}"::text, reason, true FROM gone ON CONFLICT DO NOTHING)
                SELECT count(*), {_sum_of(f'"{given}"') if given else "0"} FROM gone
            """)
            found[part.table].refused, found[part.table].left = row[0], Decimal(row[1])

    async def _compare(self, tx: Transaction, count: Count, tally: Tally) -> None:
        """Add up both sides of what is left of the batch, now that it is here."""
        batch = f'"batch_{count.table}" b'
        given = _sum_of(f'b."{count.given}"' if count.given else "0")
        kept = f"coalesce(sum({count.kept}), 0)" if count.kept else "0"
        tally.given = Decimal(await tx.connection.fetchval(f"SELECT {given} FROM {batch}"))
        row = await tx.connection.fetchrow(self._filled(f"SELECT count(*), {kept} FROM {batch} JOIN {count.join}"))
        tally.here, tally.kept = row[0], Decimal(row[1])

    async def _skip(self, step: Step, after: str | None, tally: dict[str, Tally], error: BaseException) -> str:
        """Leave one row behind that cannot be here, with all that belongs to it; return its key."""
        lead = step.parts[0]
        following = f"WHERE \"{lead.key}\" > '{after}'" if after else ""
        key = await self.source.fetchval(
            f'SELECT "{lead.key}"::text FROM "{lead.table}" {following} ORDER BY "{lead.key}" LIMIT 1'
        )
        async with self.db.transaction(actor=SYSTEM) as tx:
            for part in step.parts:
                which = f"\"{part.link or part.key}\" = '{key}'"
                reason = _reason(error) if part is lead else f"its {lead.table} row was refused"
                await self._leave(tx, step, part, which, reason, tally)
            await tx.run(
                _CAME, system=self.plan.system, step=step.name, last_key=key, is_done=False, tally=_as_json(tally)
            )
        return str(key)

    async def _finish(self, step: Step, tally: dict[str, Tally]) -> None:
        """Leave behind what belongs to nothing, and write down that the step is done."""
        async with self.db.transaction(actor=SYSTEM) as tx:
            for part in step.parts:
                if part.parent:
                    (parent,) = (p for p in step.parts if p.table == part.parent)
                    which = f'NOT EXISTS (SELECT FROM "{parent.table}" p WHERE p."{parent.key}" = t."{part.link}")'
                    await self._leave(tx, step, part, which, f"it belongs to no {parent.table} row", tally)
            await tx.run(
                _CAME, system=self.plan.system, step=step.name, last_key=None, is_done=True, tally=_as_json(tally)
            )

    async def _leave(
        self, tx: Transaction, step: Step, part: Part, which: str, reason: str, tally: dict[str, Tally]
    ) -> None:  # fmt: skip
        given = _count_of(step, part.table).given
        column = next((c for c in part.columns if c.name == given), None)
        summed = _sum_of(self._expression(part, column)) if column else "0"
        row = await self.source.fetchrow(f'SELECT count(*), {summed} FROM "{part.table}" t WHERE {which}')
        tally[part.table].add(Tally(read=row[0], refused=row[0], left=Decimal(row[1])))
        async for left in self.source.cursor(f'SELECT "{part.key}"::text FROM "{part.table}" t WHERE {which}'):
            await tx.run(_NOTED, system=self.plan.system, table=part.table, key=left[0], reason=reason, is_refused=True)

    def _key_of(self, step: Step, table: str) -> str:
        return next(part.key for part in step.parts if part.table == table)

    def _filled(self, script: str) -> str:
        return _FACT.sub(lambda found: self.facts[found[1]], script)


async def _each(chunks: Sequence[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


def _quoted(words: str) -> str:
    return "'" + words.replace("'", "''") + "'"


def _staging(part: Part) -> str:
    columns = [f'"{c.name}" {c.staged}' for c in part.columns]
    for column, _ in part.seals:
        columns += [f'"{column}_enc" bytea', f'"{column}_index" bytea']
    return f'CREATE TEMP TABLE "batch_{part.table}" ({", ".join(columns)}, reason text)'


def _mark(rule: Rule, key: str, system: str) -> str:
    batch = f'"batch_{rule.table}" b'
    condition = rule.condition
    if condition.startswith("twice "):
        of = condition.removeprefix("twice ")
        condition = f"""EXISTS (
            SELECT FROM (SELECT "{key}" AS key, row_number() OVER (PARTITION BY {of} ORDER BY "{key}") AS nth
                         FROM "batch_{rule.table}" WHERE reason IS NULL AND ({of}) IS NOT NULL) again
            WHERE again.key = b."{key}" AND again.nth > 1)"""
    reason = rule.reason.replace("'", "''")
    if rule.is_refusal:
        return f"UPDATE {batch} SET reason = '{reason}' WHERE b.reason IS NULL AND ({condition})"
    return f"""INSERT INTO move_in_notes (system, table_name, row_key, reason, is_refused)
        SELECT '{system}', '{rule.table}', b."{key}"::text, '{reason}', false FROM {batch}
        WHERE b.reason IS NULL AND ({condition}) ON CONFLICT DO NOTHING"""


def _sum_of(expression: str) -> str:
    """Add up numbers, but those that are none: NaN and infinity."""
    return f"coalesce(sum({expression}) FILTER (WHERE abs(({expression})::numeric) < 1e30), 0)::numeric"


def _count_of(step: Step, table: str) -> Count:
    return next(count for count in step.counts if count.table == table)


def _as_json(tallies: Mapping[str, Tally]) -> Any:
    return msgspec.to_builtins(dict(tallies))


def _reason(error: BaseException) -> str:
    """Say why a row cannot be here, without its values."""
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        return f"it breaks the rule {error.constraint_name or error.column_name}"
    return error.message if isinstance(error, DomainError) else "it holds a value that the database cannot"


async def _seal_phones(tx: Transaction, keys: Keyring, part: Part, column: str, prefix: str) -> None:
    """Encrypt telephone numbers; one that is none stays away."""
    numbers = await tx.connection.fetch(
        f'SELECT DISTINCT "{column}" FROM "batch_{part.table}" WHERE "{column}" IS NOT NULL'
    )
    known = [(given, number) for (given,) in numbers if (number := as_phone(_with_country(given, prefix)))]
    await tx.connection.execute(
        f'UPDATE "batch_{part.table}" SET "{column}_enc" = s.enc, "{column}_index" = s.index '
        f'FROM unnest($1::text[], $2::bytea[], $3::bytea[]) AS s(given, enc, index) WHERE "{column}" = s.given',
        [given for given, _ in known], [keys.encrypt(n, PHONE) for _, n in known], [keys.blind_index(n, PHONE) for _, n in known],
    )  # fmt: skip


def _with_country(number: str, prefix: str) -> str:
    """Return a number that begins with one 0 with the country's number instead."""
    bare = number.strip()
    return prefix + bare[1:] if prefix and bare.startswith("0") and not bare.startswith("00") else bare


async def _seal_addresses(tx: Transaction, keys: Keyring, part: Part, column: str, country: str) -> None:
    """Encrypt the addresses of orders; one without a street or a town stays away."""
    rows = await tx.connection.fetch(
        f'SELECT "{part.key}"::text, "{column}" FROM "batch_{part.table}" WHERE jsonb_typeof("{column}") = \'object\''
    )
    known = [(key, address) for key, given in rows if (address := as_address(given, country))]
    await tx.connection.execute(
        f'UPDATE "batch_{part.table}" SET "{column}_enc" = s.enc FROM unnest($1::text[], $2::bytea[]) AS s(key, enc) '
        f'WHERE "{part.key}"::text = s.key',
        [key for key, _ in known], [keys.encrypt(msgspec.json.encode(a).decode(), ORDER_ADDRESS) for _, a in known],
    )  # fmt: skip


async def _read_points(tx: Transaction, _keys: Keyring, part: Part, column: str, _given: str) -> None:
    """Read places as PostGIS writes them; what is no point on earth stays away."""
    rows = await tx.connection.fetch(
        f'SELECT DISTINCT "{column}" FROM "batch_{part.table}" WHERE "{column}" IS NOT NULL'
    )
    known = [(given, f"{point[0]} {point[1]}".encode()) for (given,) in rows if (point := as_point(given))]
    await tx.connection.execute(
        f'UPDATE "batch_{part.table}" SET "{column}_enc" = s.point FROM unnest($1::text[], $2::bytea[]) AS s(given, point) '
        f'WHERE "{column}" = s.given',
        *([row[n] for row in known] for n in range(2)),
    )


async def _read_alerts(tx: Transaction, _keys: Keyring, part: Part, column: str, currency: str) -> None:
    """Say what alerts ask for as ours do, and by which hash equal ones are known; one that cannot be said so stays away."""
    rows = await tx.connection.fetch(f'SELECT "{part.key}"::text, "{column}" FROM "batch_{part.table}"')
    known = [(key, *asked) for key, given in rows if (asked := as_alert(given, currency))]
    await tx.connection.execute(
        f'UPDATE "batch_{part.table}" SET "{column}_enc" = s.asked, "{column}_index" = s.hash '
        f'FROM unnest($1::text[], $2::bytea[], $3::bytea[]) AS s(key, asked, hash) WHERE "{part.key}"::text = s.key',
        *([row[n] for row in known] for n in range(3)),
    )


_SEALERS: Final[Mapping[str, Callable[..., Any]]] = {
    "phone": _seal_phones,
    "order_address": _seal_addresses,
    "alert": _read_alerts,
    "point": _read_points,
}
