"""Keeping, renaming, removing and taking back searches. Tokens need the scope for a person's own things."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import Interval, bindparam, case, delete, func, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import insert as upsert

from tradepost.accounts.queries import lock_person
from tradepost.accounts.types import PROFILE_SCOPE, Caller
from tradepost.alerts import queries
from tradepost.alerts.events import AlertRemoved, AlertSaved
from tradepost.alerts.rules import criteria_hash, criteria_of
from tradepost.alerts.tables import alerts
from tradepost.alerts.types import MOST, AlertName, NoSuchAlert, NothingToKeep, TooManyAlerts
from tradepost.core.database import Transaction
from tradepost.core.events import record
from tradepost.core.fields import broken_limits, check_fields
from tradepost.core.text import one_line
from tradepost.search.types import SearchRequest

COMES_BACK_FOR = timedelta(days=1)

_OWN = (
    alerts.c.id == bindparam("alert_id", type_=postgresql.UUID),
    alerts.c.user_id == bindparam("owner", type_=postgresql.UUID),
)
_PUT = upsert(alerts).values(
    {n: bindparam(n, type_=alerts.c[n].type) for n in ("user_id", "name", "query", "criteria", "criteria_hash")}
)
_BACK = alerts.c.removed_at.is_not(None)
_KEEP = _PUT.on_conflict_do_update(
    index_elements=["user_id", "criteria_hash"],
    set_={
        "name": case((_BACK, _PUT.excluded.name), else_=alerts.c.name),
        "last_checked_at": case((_BACK, func.now()), else_=alerts.c.last_checked_at),
        "is_active": True,
        "removed_at": None,
    },
).returning(alerts.c.id)
_RENAME = update(alerts).where(*_OWN, alerts.c.removed_at.is_(None)).values(name=bindparam("called"))
_CHECKED = update(alerts).where(*_OWN, alerts.c.removed_at.is_(None)).values(last_checked_at=func.now())
_REMOVE = update(alerts).where(*_OWN, alerts.c.removed_at.is_(None)).values(removed_at=func.now())
_RESTORE = update(alerts).where(*_OWN, _BACK).values(removed_at=None)
_FORGET = delete(alerts).where(alerts.c.removed_at < func.now() - bindparam("after", type_=Interval))


async def keep_search(tx: Transaction, caller: Caller, request: SearchRequest, name: str) -> UUID:
    """Keep a search under a name; return its id. One that is kept already stays as it is, a removed one comes back.

    Raises `NothingToKeep`, `TooManyAlerts` (100), `FieldErrors`, `SignInFirst`, `NotAllowed`.
    """
    user_id = caller.check_scope(PROFILE_SCOPE)
    called = AlertName(one_line(name))
    check_fields(broken_limits(called))
    query, criteria = criteria_of(request)
    if not query and not criteria:
        raise NothingToKeep
    await lock_person(tx, user_id)
    alert_id: UUID = await tx.value(
        _KEEP, user_id=user_id, name=called.name, query=query, criteria=criteria,
        criteria_hash=criteria_hash(query, criteria),
    )  # fmt: skip
    await _check_room(tx, user_id)
    await record(tx, AlertSaved(alert_id, user_id), subject_id=alert_id)
    return alert_id


async def _check_room(tx: Transaction, user_id: UUID) -> None:
    if await tx.value(queries.COUNT, user_id=user_id) > MOST:
        raise TooManyAlerts


async def rename_alert(tx: Transaction, caller: Caller, alert_id: UUID, name: str) -> None:
    """Call a search something else. Raises `NoSuchAlert`, `FieldErrors`, `SignInFirst`, `NotAllowed`."""
    user_id = caller.check_scope(PROFILE_SCOPE)
    called = AlertName(one_line(name))
    check_fields(broken_limits(called))
    if not await tx.run(_RENAME, alert_id=alert_id, owner=user_id, called=called.name):
        raise NoSuchAlert


async def check_off(tx: Transaction, caller: Caller, alert_id: UUID) -> None:
    """Note that the person has looked: what is there now is not new any more. Raises as `rename_alert`."""
    if not await tx.run(_CHECKED, alert_id=alert_id, owner=caller.check_scope(PROFILE_SCOPE)):
        raise NoSuchAlert


async def remove_alert(tx: Transaction, caller: Caller, alert_id: UUID) -> None:
    """Keep a search no longer; for a day it can come back. Raises as `rename_alert`."""
    user_id = caller.check_scope(PROFILE_SCOPE)
    if not await tx.run(_REMOVE, alert_id=alert_id, owner=user_id):
        raise NoSuchAlert
    await record(tx, AlertRemoved(alert_id, user_id), subject_id=alert_id)


async def restore_alert(tx: Transaction, caller: Caller, alert_id: UUID) -> None:
    """Take a removed search back. Raises as `rename_alert`, and `TooManyAlerts`."""
    user_id = caller.check_scope(PROFILE_SCOPE)
    await lock_person(tx, user_id)
    if not await tx.run(_RESTORE, alert_id=alert_id, owner=user_id):
        raise NoSuchAlert
    await _check_room(tx, user_id)
    await record(tx, AlertSaved(alert_id, user_id), subject_id=alert_id)


async def forget_removed(tx: Transaction) -> int:
    """Delete what was removed more than a day ago; return how many."""
    return await tx.run(_FORGET, after=COMES_BACK_FOR)
