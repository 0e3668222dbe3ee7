"""Keeping, changing, pausing, removing and taking back alerts. Tokens need the scope for a person's own things.

What each asks for is filed for the matcher by a job (flows/match_alerts), as soon as the transaction has committed.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import Interval, bindparam, case, delete, func, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.dialects.postgresql import insert as upsert

from tradepost.accounts.queries import lock_person
from tradepost.accounts.types import PROFILE_SCOPE, Caller
from tradepost.alerts import queries
from tradepost.alerts.criteria import Criteria, criteria_of_alert
from tradepost.alerts.events import AlertChanged, AlertRemoved, AlertSaved
from tradepost.alerts.rules import criteria_hash, criteria_of, criteria_of_form
from tradepost.alerts.tables import alerts
from tradepost.alerts.types import MOST, AlertKnown, AlertName, NoSuchAlert, NothingToKeep, Telling, TooManyAlerts
from tradepost.core.database import Transaction, on_violation
from tradepost.core.errors import FieldErrors
from tradepost.core.events import record
from tradepost.core.fields import broken_limits, check_fields
from tradepost.core.jobs import ring_after_commit
from tradepost.core.text import one_line
from tradepost.search.types import SearchRequest

COMES_BACK_FOR = timedelta(days=1)
on_violation("uq_alerts_user_id_criteria_hash", AlertKnown)

_OWN = (
    alerts.c.id == bindparam("alert_id", type_=postgresql.UUID),
    alerts.c.user_id == bindparam("owner", type_=postgresql.UUID),
)
_PUT = upsert(alerts).values(
    {
        n: bindparam(n, type_=alerts.c[n].type)
        for n in ("user_id", "name", "query", "criteria", "criteria_hash", "notification_settings")
    }
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
_CHANGE = update(alerts).where(*_OWN, alerts.c.removed_at.is_(None))
_CHECKED = update(alerts).where(*_OWN, alerts.c.removed_at.is_(None)).values(last_checked_at=func.now())
_REMOVE = update(alerts).where(*_OWN, alerts.c.removed_at.is_(None)).values(removed_at=func.now())
_RESTORE = update(alerts).where(*_OWN, _BACK).values(removed_at=None)
_LETTERS = (
    update(alerts)
    .where(*_OWN)
    .values(notification_settings=alerts.c.notification_settings.op("||")(bindparam("email", type_=JSONB)))
)
_FORGET = delete(alerts).where(alerts.c.removed_at < func.now() - bindparam("after", type_=Interval))


async def keep_search(tx: Transaction, caller: Caller, request: SearchRequest, name: str) -> UUID:
    """Keep a search under a name; return its id. One that is kept already stays as it is, a removed one comes back.

    Raises `NothingToKeep`, `TooManyAlerts` (100), `FieldErrors`, `SignInFirst`, `NotAllowed`.
    """
    return await _keep(tx, caller, *criteria_of(request), name, Telling())


async def keep_alert(tx: Transaction, caller: Caller, asked: Criteria, name: str, telling: Telling) -> UUID:
    """Keep what was asked for, checked before (alerts/criteria), under a name; return its id. Raises as `keep_search`."""
    return await _keep(tx, caller, *criteria_of_form(asked), name, telling)


async def _keep(
    tx: Transaction, caller: Caller, query: str, criteria: dict[str, Any], name: str, telling: Telling
) -> UUID:
    user_id = caller.check_scope(PROFILE_SCOPE)
    called = AlertName(one_line(name))
    check_fields(broken_limits(called))
    if not query and not criteria:
        raise NothingToKeep
    _check_readable(query, criteria)
    await lock_person(tx, user_id)
    alert_id: UUID = await tx.value(
        _KEEP, user_id=user_id, name=called.name, query=query, criteria=criteria,
        criteria_hash=criteria_hash(query, criteria), notification_settings=settings_of(telling),
    )  # fmt: skip
    await _check_room(tx, user_id)
    await record(tx, AlertSaved(alert_id, user_id), subject_id=alert_id)
    return alert_id


def _check_readable(query: str, criteria: dict[str, Any]) -> None:
    """Raise `FieldErrors` for what could not be read back: a search may ask for more than an alert can hold."""
    try:
        criteria_of_alert(query, criteria)
    except msgspec.ValidationError as error:
        raise FieldErrors({"query": f"This cannot be kept: {error}."}) from None


async def _check_room(tx: Transaction, user_id: UUID) -> None:
    if await tx.value(queries.COUNT, user_id=user_id) > MOST:
        raise TooManyAlerts


def settings_of(telling: Telling) -> dict[str, Any]:
    """Return how a person is told, as it is kept: with the three settings that always say something."""
    usual = {"email": telling.email, "push": telling.push, "frequency": telling.frequency}
    return (
        usual
        | ({"webhook": True} if telling.webhook else {})
        | ({"again_on_drop": True} if telling.again_on_drop else {})
    )


async def change_alert(
    tx: Transaction, caller: Caller, alert_id: UUID, *, asked: Criteria | None = None, telling: Telling | None = None,
    is_active: bool | None = None,
) -> None:  # fmt: skip
    """Change what an alert asks for or how it tells, pause it or let it go on. Raises as `rename_alert`, and `AlertKnown`."""
    user_id = caller.check_scope(PROFILE_SCOPE)
    values: dict[str, Any] = {}
    if asked is not None:
        query, criteria = criteria_of_form(asked)
        if not query and not criteria:
            raise NothingToKeep
        _check_readable(query, criteria)
        values = {"query": query, "criteria": criteria, "criteria_hash": criteria_hash(query, criteria)}
    if telling is not None:
        # What has gathered by the old settings is told now instead of never.
        gathered = case((alerts.c.digest_at.is_not(None), func.now()))
        values |= {"notification_settings": settings_of(telling), "digest_at": gathered}
    if is_active is not None:
        values["is_active"] = is_active
    if values and not await tx.run(_CHANGE.values(values), alert_id=alert_id, owner=user_id):
        raise NoSuchAlert
    await record(tx, AlertChanged(alert_id, user_id), subject_id=alert_id)


def listings_changed(tx: Transaction) -> None:
    """Have the listings that this transaction changes matched as soon as it has committed.

    Which they are the database notes by itself, whatever changed them; without this call they are matched within seconds.
    """
    ring_after_commit(tx)


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


async def set_letters(tx: Transaction, user_id: UUID, alert_id: UUID, *, is_on: bool) -> None:
    """Have somebody told by letter of what an alert finds, or not any more. Idempotent."""
    await tx.run(_LETTERS, owner=user_id, alert_id=alert_id, email={"email": is_on})


async def forget_removed(tx: Transaction) -> int:
    """Delete what was removed more than a day ago; return how many."""
    return await tx.run(_FORGET, after=COMES_BACK_FOR)
