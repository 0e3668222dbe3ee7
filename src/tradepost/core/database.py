"""PostgreSQL as the rest of the product sees it: transactions with an actor, reads in one round trip, rows as Structs.

Owns the pool, the compilation of SQLAlchemy Core statements to asyncpg's SQL (once each), the translation of constraint
names into domain errors, and the count of queries that tests assert. SQLAlchemy's bind and result processors do not run on
this path: types are asyncpg codecs, lists are `= ANY(:ids)`. It does not build statements and knows no table.
"""

import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self, TypeVar, overload
from uuid import UUID

import asyncpg
import msgspec
from asyncpg.exceptions._base import DataError as DriverDataError  # what asyncpg itself cannot encode
from sqlalchemy import MetaData
from sqlalchemy.sql import ClauseElement

from tradepost.core.errors import Conflict, DomainError, Invalid, NotFound, Refused, Unavailable
from tradepost.core.metrics import QUERY_ERRORS, QUERY_SECONDS
from tradepost.core.pools import PoolOptions, Pools, leave_clean
from tradepost.core.replicas import POSITION, Replica, Replicas, end_of, note_failure, note_write
from tradepost.core.statements import Change, as_one, compiled, reader_for, table_of
from tradepost.core.tracing import Recorder, end

T = TypeVar("T", bound=msgspec.Struct)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

ActorRole = Literal["anonymous", "person", "staff", "system"]


class Actor(msgspec.Struct, frozen=True):
    """Who a transaction acts for; row-level security and the audit log read it.

    `session` is the hash of a visitor's session, which owns guest carts. `staff` sees every person's rows, `system` is jobs.
    `behind` is who looks with this person's eyes: such a transaction can only read.
    """

    role: ActorRole = "anonymous"
    user_id: UUID | None = None
    session: bytes | None = None
    behind: UUID | None = None


_LONGEST_WAIT_S = 15.0  # for a connection of the pool

SYSTEM = Actor(role="system")
ANYBODY = Actor()


class DatabaseUnreachable(Unavailable):
    """The database does not answer at the moment; please try again."""


class DatabaseBusy(DatabaseUnreachable):
    """Too many people ask for the same at the moment; please try again."""


class NoRoomLeft(DatabaseUnreachable):
    """There is no room left to save anything at the moment; please try again later."""


class TookTooLong(Unavailable):
    """That took longer than the database allows; please narrow it down or try again."""


class NotStorable(Invalid):
    """A value in the request is too large, or is not one the database can hold."""


class OnlyLooking(Refused):
    """You only look with somebody else's eyes; stop that first, and change things under your own name."""


class ChangedMeanwhile(Conflict):
    """Somebody else changed the same thing at the same moment; please try again."""


@dataclass(eq=False)
class RuleBroken(Conflict):
    """The database refused the change: {rule}."""

    rule: str


class QueryCount:
    """How many statements a stretch of work sent to the database, and the seconds it waited for them."""

    __slots__ = ("queries", "seconds")

    def __init__(self) -> None:
        self.queries = 0
        self.seconds = 0.0


_count: ContextVar[QueryCount | None] = ContextVar("query_count", default=None)
_joined: ContextVar["Transaction | None"] = ContextVar("joined_transaction", default=None)
_constraint_errors: dict[str, Callable[[], DomainError]] = {}


@contextmanager
def count_queries() -> Iterator[QueryCount]:
    """Count the statements that this task sends within the block."""
    count = QueryCount()
    token = _count.set(count)
    try:
        yield count
    finally:
        _count.reset(token)


def on_violation(constraint: str, error: Callable[[], DomainError]) -> None:
    """Declare the domain error that stands for a violated constraint or unique index, by its name."""
    _constraint_errors[constraint] = error


def _literal(text: str) -> str:
    if not re.fullmatch(r"[0-9a-z_-]*", text):
        raise ValueError(f"not a setting: {text!r}")
    return f"'{text}'"


def _begin(actor: Actor, *, read_only: bool, snapshot: bool = False, limits: str = "") -> str:
    level = " ISOLATION LEVEL REPEATABLE READ" if snapshot else ""
    return f"BEGIN{level}{' READ ONLY' if read_only else ''}; {limits}{_set_actor(actor)}"


def _set_actor(actor: Actor) -> str:
    user = str(actor.user_id) if actor.user_id else ""
    session = actor.session.hex() if actor.session else ""
    behind = f", set_config('app.behind', {_literal(str(actor.behind))}, true)" if actor.behind else ""
    return (
        f"SELECT set_config('app.role', {_literal(actor.role)}, true), "
        f"set_config('app.user_id', {_literal(user)}, true), set_config('app.session', {_literal(session)}, true){behind}"
    )


_TRANSLATED: tuple[tuple[tuple[type[BaseException], ...], type[DomainError]], ...] = (
    ((asyncpg.DataError, DriverDataError), NotStorable),
    ((asyncpg.QueryCanceledError, asyncpg.LockNotAvailableError, TimeoutError), TookTooLong),
    ((asyncpg.SerializationError, asyncpg.DeadlockDetectedError), ChangedMeanwhile),
    ((asyncpg.DiskFullError,), NoRoomLeft),
    (
        (
            asyncpg.PostgresConnectionError,
            asyncpg.OperatorInterventionError,
            asyncpg.InsufficientResourcesError,
            OSError,
        ),
        DatabaseUnreachable,
    ),
)


def translate(error: BaseException, *, is_lost: bool = True) -> DomainError | None:
    """Return the domain error for a driver's error, or None when it is a defect that should surface as such.

    `is_lost`: the connection is gone; the driver complains in the same words of that and of being used wrongly.
    """
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        name = error.constraint_name or ""
        made = _constraint_errors.get(name)
        # Never the driver's own text: it quotes the whole row.
        return made() if made else RuleBroken(name or f"{error.table_name}.{error.column_name} is needed")
    if isinstance(error, asyncpg.DataError | DriverDataError) and isinstance(
        error.__cause__ or error.__context__, TypeError
    ):
        return None  # not a value of a client's that is too large, but one of the wrong type: ours
    for kinds, ours in _TRANSLATED:
        if isinstance(error, kinds):
            return ours()
    if is_lost and isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError):
        return DatabaseUnreachable()
    return None


def _is_lost(connection: asyncpg.Connection) -> bool:
    """Whether a connection is gone; the pool takes one back by itself when it breaks, and then does not let it be asked."""
    try:
        return bool(connection.is_closed())
    except asyncpg.InterfaceError:
        return True


class _Runner:
    """The reading half that a transaction and a bare connection share."""

    def __init__(self, connection: asyncpg.Connection, database: "Database") -> None:
        self.connection = connection
        self.database = database

    def _translated(self, error: Exception) -> BaseException:
        return translate(error, is_lost=_is_lost(self.connection)) or error

    async def _call(self, method: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        count = _count.get()
        if count is not None:
            count.queries += 1
        recorder = self.database.recorder
        span = (
            None if recorder is None else recorder.statement(arguments[0] if arguments else "COPY", self.database.label)
        )
        failure = ""
        started = time.perf_counter()
        try:
            return await method(*arguments)
        except Exception as error:
            translated = self._translated(error)
            failure = type(translated).__name__
            QUERY_ERRORS.add(self.database.label, failure)
            raise translated from error
        finally:
            if span is not None:
                end(span, failure)
            seconds = time.perf_counter() - started
            self.database.query_seconds.note(seconds)
            if count is not None:
                count.seconds += seconds

    @overload
    async def all(self, statement: ClauseElement, *, into: type[T], **params: Any) -> list[T]: ...
    @overload
    async def all(self, statement: ClauseElement, *, into: None = None, **params: Any) -> list[Any]: ...
    async def all(self, statement: ClauseElement, *, into: type[T] | None = None, **params: Any) -> list[Any]:
        """Return every row, as Structs of type `into` or as asyncpg records."""
        ready = compiled(statement)
        rows = await self._call(self.connection.fetch, ready.sql, *ready.arguments(params))
        if into is None or not rows:
            return list(rows)
        return [read(row) for read in (reader_for(ready, rows[0], into),) for row in rows]

    @overload
    async def maybe(self, statement: ClauseElement, *, into: type[T], **params: Any) -> T | None: ...
    @overload
    async def maybe(self, statement: ClauseElement, *, into: None = None, **params: Any) -> Any | None: ...
    async def maybe(self, statement: ClauseElement, *, into: type[T] | None = None, **params: Any) -> Any | None:
        """Return the first row or None."""
        ready = compiled(statement)
        row = await self._call(self.connection.fetchrow, ready.sql, *ready.arguments(params))
        if row is None or into is None:
            return row
        return reader_for(ready, row, into)(row)

    @overload
    async def one(self, statement: ClauseElement, *, into: type[T], **params: Any) -> T: ...
    @overload
    async def one(self, statement: ClauseElement, *, into: None = None, **params: Any) -> Any: ...
    async def one(self, statement: ClauseElement, *, into: type[T] | None = None, **params: Any) -> Any:
        """Return the first row. Raises `NotFound` where there is none."""
        row: Any = await self.maybe(statement, into=into, **params)
        if row is None:
            raise NotFound
        return row

    async def value(self, statement: ClauseElement, **params: Any) -> Any:
        """Return the first column of the first row, or None."""
        ready = compiled(statement)
        return await self._call(self.connection.fetchval, ready.sql, *ready.arguments(params))

    async def values(self, statement: ClauseElement, **params: Any) -> list[Any]:
        """Return the first column of every row."""
        return [row[0] for row in await self.all(statement, into=None, **params)]


class Transaction(_Runner):
    """One open transaction. Functions that take one join it; whoever opened it commits."""

    def __init__(self, connection: asyncpg.Connection, actor: Actor, database: "Database") -> None:
        super().__init__(connection, database)
        self.actor = actor
        self.reactions: list[Callable[[], Awaitable[None]]] = []
        self._forgotten: set[str] = set()
        self._waiting: list[Change] = []
        self._only_looks = actor.behind is not None

    def _translated(self, error: Exception) -> BaseException:
        if self._only_looks and isinstance(error, asyncpg.ReadOnlySQLTransactionError):
            return OnlyLooking()
        return super()._translated(error)  # a write where nobody meant to write is a defect

    async def _call(self, method: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        if self._waiting:
            await self._make_changes()
        return await super()._call(method, *arguments)

    async def later(
        self, *statements: ClauseElement, refusal: Callable[[], DomainError] | None = None, **params: Any
    ) -> None:
        """Make changes in one round trip with others that wait, at the latest before the next statement or the commit.

        None sees what another one did, except as `changed_<table>`: what a statement before it in the same call returns. So a
        table that changes twice takes another round trip. Errors come when the changes are made, and so does `refusal`, for a last
        statement that touched no row.
        """
        ready = [compiled(statement) for statement in statements]
        unknown = params.keys() - {name for one in ready for name in one.names}
        if unknown:
            raise TypeError(f"unknown parameters {sorted(unknown)} for: {ready[-1].sql}")
        tables = [table_of(one.sql) for one in ready]
        if any(change.table in tables for change in self._waiting):
            await self._make_changes()
        self._waiting += [
            Change(table, one.sql, one.chosen(params), refusal if one is ready[-1] else None)
            for table, one in zip(tables, ready, strict=True)
        ]

    async def _make_changes(self) -> None:
        changes, self._waiting = self._waiting, []
        sql = as_one(tuple((c.table, c.sql, len(c.arguments), c.refusal is not None) for c in changes))
        row = await super()._call(self.connection.fetchrow, sql, *(value for c in changes for value in c.arguments))
        for refusal, count in zip((c.refusal for c in changes if c.refusal), row, strict=False):
            if not count:
                raise refusal()

    async def control(self, sql: str) -> None:
        """Send COMMIT or a step of a SAVEPOINT, after the changes that wait; these are not counted as queries."""
        if self._waiting:
            await self._make_changes()
        try:
            await self.connection.execute(sql)
        except Exception as error:
            raise translate(error) or error from error

    async def run(self, statement: ClauseElement, **params: Any) -> int:
        """Run a change and return how many rows it touched."""
        ready = compiled(statement)
        status = await self._call(self.connection.execute, ready.sql, *ready.arguments(params))
        count = str(status).rsplit(" ", 1)[-1]
        return int(count) if count.isdigit() else 0

    async def run_many(self, statement: ClauseElement, rows: Iterable[Mapping[str, Any]]) -> None:
        """Run one change for every row of parameters, pipelined."""
        ready = compiled(statement)
        await self._call(self.connection.executemany, ready.sql, [ready.arguments(row) for row in rows])

    async def copy_in(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
        """Insert rows by COPY and return how many; `rows` may be a generator, it is streamed."""
        status = await self._call(lambda: self.connection.copy_records_to_table(table, columns=columns, records=rows))
        return int(str(status).rsplit(" ", 1)[-1])

    def after_commit(self, reaction: Callable[[], Awaitable[None]]) -> None:
        """Have `reaction` awaited once this transaction has committed; never when it rolls back."""
        self.reactions.append(reaction)

    def forget(self, *keys: str) -> None:
        """Have the store's cache forget these keys once this transaction has committed: what they hold has changed."""
        if keys and not self._forgotten:
            self.after_commit(self._forget)
        self._forgotten.update(keys)

    async def _forget(self) -> None:
        if self.database.cache is not None:
            await self.database.cache.delete(*self._forgotten)

    @asynccontextmanager
    async def acting_as(self, actor: Actor) -> AsyncIterator[Self]:
        """Within the block, work for another actor; an error undoes only what the block did."""
        before = self.actor
        async with self.savepoint():
            if actor != before:
                await self.control(_set_actor(actor))
                self.actor = actor
            try:
                yield self
            finally:
                self.actor = before
            if actor != before:
                await self.control(_set_actor(before))

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator[Self]:
        """Within the block, an error undoes only what the block did."""
        await self.control("SAVEPOINT inner_step")
        try:
            yield self
            if self._waiting:
                await self._make_changes()
        except BaseException:
            self._waiting.clear()
            # Rolled back to, a savepoint stays: released too, or a block around this one would end at it instead of its own.
            await self.control("ROLLBACK TO SAVEPOINT inner_step; RELEASE SAVEPOINT inner_step")
            raise
        await self.control("RELEASE SAVEPOINT inner_step")


async def _opened(database: "Database", pool: asyncpg.Pool, begin: str) -> asyncpg.Connection:
    """Take a connection and begin a transaction on it."""
    lent = await database.borrow(pool)
    try:
        await lent.execute(begin)
    except BaseException as error:
        await pool.release(lent)
        if isinstance(error, Exception):
            raise translate(error) or error from error
        raise
    return lent


def _note_broken_off(replica: Replica, error: BaseException) -> None:
    """Note that a replica did not bring a read to its end: it went away, or had to clean up what was being read."""
    if isinstance(error, DatabaseUnreachable):
        replica.judge(f"it does not answer ({type(error).__name__})")
        note_failure()
    elif isinstance(error, ChangedMeanwhile):
        note_failure()


class Forgetful(Protocol):
    """A cache, as far as transactions know it: it forgets what they changed."""

    async def delete(self, *keys: str) -> None:
        """Forget what is under these keys."""


class Database:
    """The connections of one store's database in this process, with those of its replicas where the settings name some."""

    def __init__(self, dsn: str, pools: Pools, options: PoolOptions, replicas: Replicas | None = None) -> None:
        self._dsn = dsn
        self._pools = pools
        self._options = options
        self._limits = options.said_each_time
        self.replicas = replicas
        self.cache: Forgetful | None = None
        self.recorder: Recorder | None = None  # where requests and jobs are traced
        self.label = options.name.removeprefix("tradepost-")  # whose it is, in metrics
        self.query_seconds = QUERY_SECONDS.of(self.label)
        self.waiting = 0

    @property
    def connections(self) -> int:
        """How many connections this process has open."""
        return sum(pool.get_size() for pool in self._all_pools())

    @property
    def idle_connections(self) -> int:
        """How many of them nobody uses."""
        return sum(pool.get_idle_size() for pool in self._all_pools())

    def _all_pools(self) -> set[Any]:
        servers = [self._pools, *(replica.pools for replica in (self.replicas.all if self.replicas else ()))]
        return {pool for pools in servers for pool in (pools.usual, pools.planned_once)}

    @classmethod
    async def open(cls, dsn: str, *, replica_dsns: Sequence[str] = (), most_lag_s: float = 5.0, **options: Any) -> Self:
        """Open the pools, `options` being those of `PoolOptions`; connections are made when first needed."""
        chosen = PoolOptions(**options)
        found = [Replica(address, await Pools.open(address, chosen)) for address in replica_dsns]
        replicas = Replicas(chosen.direct_dsn or dsn, found, most_lag_s) if found else None
        return cls(chosen.direct_dsn or dsn, await Pools.open(dsn, chosen), chosen, replicas)

    async def borrow(self, pool: asyncpg.Pool) -> asyncpg.Connection:
        """Take a connection from a pool; who waits too long is told, instead of one more waiting in line."""
        self.waiting += 1
        try:
            return await pool.acquire(timeout=_LONGEST_WAIT_S)
        except TimeoutError:
            raise DatabaseBusy from None
        except Exception as error:
            raise translate(error) or error from error
        finally:
            self.waiting -= 1

    async def close(self) -> None:
        """Close every connection; waits for those in use."""
        if self.replicas is not None:
            await self.replicas.close()
        await self._pools.close()

    async def position(self) -> int:
        """Return how far the primary's log has come: a replica that has replayed as much shows all that was committed by now."""
        async with self.connection() as connection:
            return end_of(await connection.fetchval(POSITION))

    def _replica(self) -> Replica | None:
        return self.replicas.pick() if self.replicas is not None else None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """Lend a bare connection: for LISTEN, COPY out and maintenance, not for requests."""
        lent = await self.borrow(self._pools.usual)
        try:
            yield lent
        finally:
            await self._pools.usual.release(lent)

    @asynccontextmanager
    async def own_connection(self) -> AsyncIterator[asyncpg.Connection]:
        """Open a connection beside the pool, for whoever listens on it or keeps it for long; jsonb is text on it."""
        try:
            opened = await asyncpg.connect(self._dsn, command_timeout=30, timeout=10, **self._options.session)
        except Exception as error:
            raise translate(error) or error from error
        try:
            yield opened
        finally:
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                await opened.close(timeout=1)  # asyncpg cuts a connection that does not say goodbye in time

    @contextmanager
    def joined_by(self, tx: Transaction) -> Iterator[None]:
        """Within the block, this task's transactions and reads on this database become part of `tx`.

        For what must commit together with something around it, such as the reply kept for a repeated request.
        """
        token = _joined.set(tx)
        try:
            yield
        finally:
            _joined.reset(token)

    @property
    def is_joined(self) -> bool:
        """Whether this task's transactions become part of one around them (`joined_by`)."""
        return self._outer() is not None

    def _outer(self) -> Transaction | None:
        outer = _joined.get()
        return outer if outer is not None and outer.database is self else None

    @asynccontextmanager
    async def transaction(
        self, *, actor: Actor, read_only: bool = False, snapshot: bool = False
    ) -> AsyncIterator[Transaction]:
        """Open a transaction for an actor; commit at the end of the block, roll back on any error.

        With `snapshot` all its statements see the same moment. Within `joined_by` it is a step of the transaction around it: an error undoes the step, the commit comes later.
        Where a replica breaks off a read, the error is raised, and the request's `Reading` says that repeating it may help.
        """
        outer = self._outer()
        if outer is not None:
            async with outer.acting_as(actor):
                yield outer
            return
        begin = _begin(actor, read_only=read_only or actor.behind is not None, snapshot=snapshot, limits=self._limits)
        async with self._begun(begin, self._replica() if read_only else None) as (connection, replica):
            tx = Transaction(connection, actor, self)
            try:
                yield tx
                await tx.control("COMMIT")
            except BaseException as error:
                if replica is not None:
                    _note_broken_off(replica, error)
                # A connection that broke has nothing left to undo.
                with suppress(
                    asyncpg.InterfaceError, asyncpg.InternalClientError, asyncpg.PostgresConnectionError, OSError
                ):
                    await leave_clean(connection)
                raise
        if not read_only:
            note_write()
        for reaction in tx.reactions:
            await reaction()

    @asynccontextmanager
    async def _begun(
        self, begin: str, replica: Replica | None
    ) -> AsyncIterator[tuple[asyncpg.Connection, Replica | None]]:
        """Lend a connection on which a transaction was begun, and say whose: the replica's where that one can, else the primary's."""
        pool = self._pools.usual
        lent: asyncpg.Connection | None = None
        if replica is not None:
            try:
                lent = await _opened(self, replica.pools.usual, begin)
                pool = replica.pools.usual
            except DatabaseUnreachable as error:
                replica.judge(f"it does not answer ({type(error).__name__})")
        if lent is None:
            replica = None
            lent = await _opened(self, pool, begin)
        try:
            yield lent, replica
        finally:
            await pool.release(lent)

    @overload
    async def read(
        self, statement: ClauseElement, *, into: type[T], fresh: bool = False, plan_once: bool = False, **params: Any
    ) -> list[T]: ...
    @overload
    async def read(
        self,
        statement: ClauseElement,
        *,
        into: None = None,
        fresh: bool = False,
        plan_once: bool = False,
        **params: Any,
    ) -> list[Any]: ...
    async def read(
        self,
        statement: ClauseElement,
        *,
        into: type[T] | None = None,
        fresh: bool = False,
        plan_once: bool = False,
        **params: Any,
    ) -> list[Any]:
        """Read public tables in one round trip, without BEGIN; from the replica where there is one and `fresh` is not asked.

        `plan_once` is for long statements written so that one plan suits all values: planning them takes longer than running them.
        """
        outer = self._outer()
        if outer is not None:
            return await outer.all(statement, into=into, **params)
        if plan_once and self._limits:
            return await self._read_planned_once(statement, into, params)
        replica = None if fresh else self._replica()
        if replica is not None:
            try:
                return await self._read_from(replica.pools, statement, into, params, plan_once=plan_once)
            except DatabaseUnreachable as error:
                replica.judge(f"it does not answer ({type(error).__name__})")
            except ChangedMeanwhile:
                pass  # what was read was cleaned away on the primary, and the replica had to follow
        return await self._read_from(self._pools, statement, into, params, plan_once=plan_once)

    async def _read_from(
        self,
        pools: Pools,
        statement: ClauseElement,
        into: type[T] | None,
        params: Mapping[str, Any],
        *,
        plan_once: bool,
    ) -> list[Any]:
        pool = pools.planned_once if plan_once else pools.usual
        lent = await self.borrow(pool)
        try:
            found: list[Any] = await _Runner(lent, self).all(statement, into=into, **params)
            return found
        finally:
            await pool.release(lent)

    async def _read_planned_once(
        self, statement: ClauseElement, into: type[Any] | None, params: dict[str, Any]
    ) -> list[Any]:
        """Read behind a pooler, where only a transaction can say how to plan."""
        async with self.transaction(actor=ANYBODY, read_only=True) as tx:
            await tx.control("SET LOCAL plan_cache_mode = force_generic_plan")
            return await tx.all(statement, into=into, **params) if into else await tx.all(statement, **params)

    async def read_maybe(
        self, statement: ClauseElement, *, into: type[T], fresh: bool = False, **params: Any
    ) -> T | None:
        """Read the first row of a public query, or None."""
        rows = await self.read(statement, into=into, fresh=fresh, **params)
        return rows[0] if rows else None
