"""Notices: followers are told of shows, on a page, in the head of every page, and at once."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy import text

from tests.calls import call
from tests.factories import Factory
from tests.people import join
from tests.shows import plan
from tests.visitor import Visitor, text_of
from tradepost.accounts import service as accounts
from tradepost.accounts.types import SignInFirst, StartedSession
from tradepost.core.database import ANYBODY, SYSTEM
from tradepost.core.jobs import DECLARED
from tradepost.flows import notices
from tradepost.flows.notices import FollowersArgs, mark_notices_read, read_notices, tell_followers
from tradepost.flows.shows import end_show, go_live, schedule_show
from tradepost.flows.store import Store
from tradepost.web.security import SESSION_COOKIE
from tradepost.worker import compose


class Stage:
    """A host and a fan who follows them."""

    def __init__(self, store: Store, host: StartedSession, fan: StartedSession, stream_id: UUID, path: str) -> None:
        self.store, self.host, self.fan, self.stream_id, self.path = store, host, fan, stream_id, path

    async def titles(self, who: StartedSession) -> list[str]:
        return [n.title for n in (await read_notices(self.store, who.caller)).items]


async def follow(store: Store, who: StartedSession, whom: StartedSession) -> None:
    async with store.db.transaction(actor=who.caller.actor) as tx:
        await accounts.follow(tx, who.caller, whom.caller.check_signed_in())


async def do_jobs(store: Store) -> None:
    """Do the jobs of notices that wait, until there are none."""
    compose()
    while True:
        async with store.db.transaction(actor=SYSTEM) as tx:
            waiting = await tx.all(
                text("DELETE FROM pgqueuer WHERE entrypoint LIKE 'notices.tell%' RETURNING entrypoint, payload")
            )
        if not waiting:
            return
        for row in waiting:
            await DECLARED[row["entrypoint"]].call(store, row["payload"])


@pytest_asyncio.fixture
async def stage(store: Store) -> Stage:
    """Plan a show of somebody who is followed."""
    compose()
    host, fan = await join(store, "hana", role="seller"), await join(store, "fay")
    await follow(store, fan, host)
    stream = await schedule_show(store, host.caller, plan())
    return Stage(store, host, fan, stream.id, stream.path)


async def test_followers_are_told_of_a_plan_and_of_the_start(stage: Stage) -> None:
    stranger = await join(stage.store, "sam")
    await do_jobs(stage.store)
    assert await stage.titles(stage.fan) == ["hana plans a show: Friday lamps"]
    await go_live(stage.store, stage.host.caller, stage.stream_id)
    await do_jobs(stage.store)
    assert await stage.titles(stage.fan) == ["hana is live: Friday lamps", "hana plans a show: Friday lamps"]
    assert (await read_notices(stage.store, stage.fan.caller)).items[0].path == stage.path
    assert await stage.titles(stranger) == []
    assert await stage.titles(stage.host) == []


async def test_a_job_that_runs_twice_tells_once_and_an_old_one_nothing(stage: Stage) -> None:
    for _ in range(2):
        await tell_followers(stage.store, FollowersArgs(stage.stream_id, "show_planned"))
    assert len(await stage.titles(stage.fan)) == 1
    await tell_followers(stage.store, FollowersArgs(stage.stream_id, "show_started"))  # it is not on
    await go_live(stage.store, stage.host.caller, stage.stream_id)
    await end_show(stage.store, stage.host.caller, stage.stream_id)
    await do_jobs(stage.store)
    assert await stage.titles(stage.fan) == ["hana plans a show: Friday lamps"]
    await tell_followers(stage.store, FollowersArgs(UUID(int=7), "show_planned"))


async def test_many_followers_are_told_by_several_jobs(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notices, "AT_ONCE", 2)
    for n in range(4):
        await follow(stage.store, await join(stage.store, f"fan{n}"), stage.host)
    await do_jobs(stage.store)
    async with stage.store.db.transaction(actor=SYSTEM) as tx:
        assert await tx.value(text("SELECT count(*) FROM notices")) == 5


async def test_whoever_looks_at_something_else_is_told_at_once(stage: Stage) -> None:
    await do_jobs(stage.store)
    async with call(stage.store, "/api/v1/notices/events", token=stage.fan.token) as line:
        assert (await line.told("unread"))[0]["data"] == {"unread": 1}
        await go_live(stage.store, stage.host.caller, stage.stream_id)
        await do_jobs(stage.store)
        (note,) = await line.told("note")
        assert note["data"] == {"kind": "show_started", "title": "hana is live: Friday lamps", "path": stage.path}
        assert (await line.told("unread"))[0]["data"] == {"unread": 2}
        await mark_notices_read(stage.store, stage.fan.caller)
        assert (await line.told("unread"))[0]["data"] == {"unread": 0}
        line.say(do="anything")
        assert (await line.told("error"))[0]["data"]["code"] == "FieldErrors"
    async with call(stage.store, "/api/v1/notices/events") as refused:
        assert (await refused.told("error"))[0]["data"]["code"] == "SignInFirst"


async def test_a_page_lists_them_and_the_head_counts_them(stage: Stage, browse: Visitor) -> None:
    browse.client.cookies.set(SESSION_COOKIE, stage.fan.token)
    await browse.get("/")
    before = (await browse.get("/")).headers["x-query-count"]
    await do_jobs(stage.store)
    front = await browse.get("/")
    assert front.headers["x-query-count"] == before
    assert "Notices, new: 1" in text_of(front.text)
    page = await browse.get("/notices")
    assert "hana plans a show: Friday lamps New" in text_of(page.text)
    assert f'href="{stage.path}"' in page.text
    again = text_of((await browse.get("/notices")).text)
    assert "Friday lamps New" not in again
    assert "Notices, new" not in again
    listed = (await browse.client.get("/api/v1/notices")).json()
    assert [n["kind"] for n in listed["items"]] == ["show_planned"]


async def test_notices_are_ones_own(stage: Stage) -> None:
    await do_jobs(stage.store)
    stranger = await join(stage.store, "sam")
    assert await mark_notices_read(stage.store, stranger.caller) == 0
    with pytest.raises(SignInFirst):
        await read_notices(stage.store, stranger.caller.__class__())
    for actor in (stranger.caller.actor, ANYBODY):
        async with stage.store.db.transaction(actor=actor) as tx:
            assert await tx.value(text("SELECT count(*) FROM notices")) == 0
    assert (await read_notices(stage.store, stage.fan.caller)).items[0].read_at is None


async def test_they_come_in_pages_and_are_forgotten(stage: Stage, make: Factory) -> None:
    async with stage.store.db.transaction(actor=SYSTEM) as tx:
        await tx.run(
            text("""INSERT INTO notices (user_id, kind, subject_id, title, path, at)
                    SELECT :me, 'evidence', uuidv7(), n::text, '/', now() - make_interval(days => n) FROM generate_series(1, 100) n"""),
            me=stage.fan.caller.user_id,
        )  # fmt: skip
    seen: list[str] = []
    after: Any = None
    while True:
        found = await read_notices(stage.store, stage.fan.caller, after=after)
        seen += [n.title for n in found.items]
        after = found.after
        if after is None:
            break
    assert seen == [str(n) for n in range(1, 101)]
    await notices.forget_notices(stage.store)
    assert len(await stage.titles(stage.fan)) == 24
    async with stage.store.db.transaction(actor=SYSTEM) as tx:
        assert await tx.value(text("SELECT count(*) FROM notices")) == 89
    await asyncio.sleep(0)
