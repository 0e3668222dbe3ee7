"""Facts: recorded in the transaction that caused them, with a job for everybody who reacts.

An event is a frozen Struct named in the past tense; its class name is the `kind` under which it is kept. Promises that the row
and the subscribers' jobs are written by one transaction, so that there is never a fact without its reactions or the other way
round. Reactions are jobs: they may be late and may run twice (core/jobs). Who subscribes is decided where the process is put
together, not where the event is declared.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlalchemy import text

from tradepost.core.database import Transaction
from tradepost.core.ids import uuid7
from tradepost.core.jobs import Priority, Registry, Request, enqueue_all


class Subscription(msgspec.Struct, frozen=True):
    """A job that reacts to an event; its arguments are the event."""

    job: str
    after: timedelta | None
    once_per_subject: bool
    priority: Priority

    def request(self, event: msgspec.Struct, subject_id: UUID | None) -> Request:
        """Return the wish for the job that one event makes."""
        key = f"{self.job}:{subject_id}" if self.once_per_subject and subject_id else None
        return Request(self.job, event, self.after, key, self.priority)


_subscriptions: Final[dict[type[msgspec.Struct], list[Subscription]]] = {}

_RECORD = text("""
    INSERT INTO events (id, kind, user_id, session_hash, subject_id, data)
    SELECT e.id, e.kind, e.user_id, CAST(:session AS bytea), e.subject_id, e.data
    FROM unnest(CAST(:ids AS uuid[]), CAST(:kinds AS text[]), CAST(:user_ids AS uuid[]), CAST(:subjects AS uuid[]), CAST(:data AS jsonb[]))
         AS e(id, kind, user_id, subject_id, data)
""")


def subscribe(
    event: type[msgspec.Struct],
    job: str,
    *,
    after: timedelta | None = None,
    once_per_subject: bool = False,
    priority: Priority = Priority.NORMAL,
) -> None:
    """Have `job` enqueued with every event of this type; repeating the call changes nothing.

    With `once_per_subject` events about one subject share a job for as long as it waits: for reactions that look at the
    subject's present state.
    """
    if not event.__struct_config__.frozen:
        raise ValueError(f"{event.__name__} is not a frozen Struct")
    mine = _subscriptions.setdefault(event, [])
    if all(known.job != job for known in mine):
        mine.append(Subscription(job, after, once_per_subject, priority))


def subscriptions() -> dict[type[msgspec.Struct], list[Subscription]]:
    """Return who reacts to what, for documentation and checks."""
    return {event: list(mine) for event, mine in _subscriptions.items()}


def check_subscriptions(registry: Registry) -> None:
    """Raise ValueError unless every subscribed job exists and takes the event it is subscribed to."""
    for event, mine in _subscriptions.items():
        for subscription in mine:
            if subscription.job not in registry:
                raise ValueError(f"{event.__name__} is for the job {subscription.job!r}, which nobody declared")
            if registry[subscription.job].args is not event:
                raise ValueError(f"the job {subscription.job!r} does not take {event.__name__}")


async def record(tx: Transaction, event: msgspec.Struct, *, subject_id: UUID | None = None) -> UUID:
    """Write down that something happened, about `subject_id`, with the jobs of its subscribers; return the fact's id.

    They are written with the other changes that wait (`Transaction.later`). The transaction's actor is kept as who did it.
    """
    (fact_id,) = await record_all(tx, [(event, subject_id)])
    return fact_id


async def record_all(
    tx: Transaction, facts: Sequence[tuple[msgspec.Struct, UUID | None]], *, by: Sequence[UUID | None] = ()
) -> list[UUID]:
    """Record several facts with their subjects at once; return their ids in the same order.

    `by`: who did each of them, where the system does in one transaction what several people asked for.
    """
    if not facts:
        return []
    ids = [uuid7() for _ in facts]
    rows: dict[str, Any] = {
        "user_ids": list(by) or [tx.actor.user_id] * len(facts),
        "session": tx.actor.session,
        "ids": ids,
        "kinds": [type(event).__name__ for event, _ in facts],
        "subjects": [subject_id for _, subject_id in facts],
        "data": [event for event, _ in facts],
    }
    requests = [
        subscription.request(event, subject_id)
        for event, subject_id in facts
        for subscription in _subscriptions.get(type(event), ())
    ]
    await tx.later(_RECORD, **rows)
    await enqueue_all(tx, requests)
    return ids
