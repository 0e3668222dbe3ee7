"""Repeated requests: one effect, one reply; another request with the same key is refused."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import text

from tradepost.core.database import SYSTEM, Actor, Database
from tradepost.core.errors import Conflict, DomainError
from tradepost.core.idempotency import BadKeyText, KeyInFlight, KeyReused, claim, once, owner_of, request_hash

COUNT = text("SELECT count(*) FROM users WHERE username LIKE 'once%'")
MAKE = text(
    "INSERT INTO users (username, email, display_name) VALUES (CAST(:name AS text), CAST(:name AS text) || '@example.com', 'x')"
)
ME = Actor("system")


async def make(db: Database, name: str) -> None:
    async with db.transaction(actor=SYSTEM) as tx:
        await tx.run(MAKE, name=name)


async def people(db: Database) -> int:
    return int((await db.read(COUNT))[0][0])


async def request(db: Database, key: str, body: Any, name: str) -> tuple[int, Any]:
    async with once(db, ME, key, request_hash("POST", "/people", body)) as reply:
        if not reply.is_done:
            await make(db, name)
            assert await people(db) >= 1  # what was just done is visible to reads of the same request
            reply.keep(201, {"name": name})
        return reply.status, reply.body


async def test_same_key_and_body_gives_the_stored_reply(db: Database) -> None:
    assert await request(db, "k1", {"a": 1}, "once1") == (201, {"name": "once1"})
    assert await request(db, "k1", {"a": 1}, "once2") == (201, {"name": "once1"})
    assert await people(db) == 1


async def test_same_key_with_another_body_is_refused(db: Database) -> None:
    await request(db, "k1", {"a": 1}, "once1")
    with pytest.raises(KeyReused):
        await request(db, "k1", {"a": 2}, "once2")
    assert await people(db) == 1


async def test_failed_request_leaves_nothing_and_may_be_repeated(db: Database) -> None:
    async def fails() -> None:
        async with once(db, ME, "k1", b"h"):
            await make(db, "once1")
            raise Conflict

    with pytest.raises(Conflict):
        await fails()
    assert await people(db) == 0
    async with once(db, ME, "k1", b"h") as reply:
        assert not reply.is_done
        await make(db, "once1")
        reply.keep(201, None)
    assert await people(db) == 1


async def test_step_that_fails_is_undone_while_the_rest_commits(db: Database) -> None:
    async with once(db, ME, "k1", b"h") as reply:
        await make(db, "once1")
        with pytest.raises(DomainError):
            await make(db, "once1")
        await make(db, "once2")
        reply.keep(200, None)
    assert await people(db) == 2


async def test_second_request_while_the_first_runs_is_told_so(db: Database) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with once(db, ME, "k1", b"h") as reply:
            started.set()
            await go_on.wait()
            reply.keep(200, "first")

    running = asyncio.create_task(first())
    await started.wait()
    with pytest.raises(KeyInFlight):
        async with once(db, ME, "k1", b"h"):
            raise AssertionError("two at once")
    go_on.set()
    await running
    async with once(db, ME, "k1", b"h") as reply:
        assert (reply.is_done, reply.body) == (True, "first")


async def test_claim_whose_reply_is_outstanding_is_in_flight(db: Database) -> None:
    async with db.transaction(actor=ME) as tx:
        await claim(tx, owner_of(ME), "k1", b"h", {"order": 1})
    with pytest.raises(KeyInFlight):
        async with once(db, ME, "k1", b"h"):
            raise AssertionError("two at once")
    async with db.transaction(actor=ME) as tx:
        assert (await claim(tx, owner_of(ME), "k1", b"h")).response == {"order": 1}


async def test_keys_of_two_people_never_meet(db: Database) -> None:
    anybody, guest = Actor(session=b"a"), Actor(session=b"b")
    for actor in (anybody, guest):
        async with once(db, actor, "k1", b"h") as reply:
            assert not reply.is_done
            reply.keep(200, None)


@pytest.mark.parametrize("key", ["", "x" * 201, "line\nbreak"])
async def test_strange_keys_are_refused(db: Database, key: str) -> None:
    with pytest.raises(BadKeyText):
        async with once(db, ME, key, b"h"):
            raise AssertionError


async def test_joined_steps_act_for_their_own_actor(db: Database) -> None:
    who = text("SELECT current_setting('app.role')")
    async with db.transaction(actor=Actor("anonymous")) as tx:
        with db.joined_by(tx):
            async with db.transaction(actor=SYSTEM) as inner:
                assert (await inner.value(who), inner.actor.role) == ("system", "system")
            with pytest.raises(Conflict):
                async with db.transaction(actor=SYSTEM):
                    raise Conflict
        assert (await tx.value(who), tx.actor.role) == ("anonymous", "anonymous")
