"""Every read of kept searches. Each is its person's alone."""

from typing import Any
from uuid import UUID

import msgspec
from sqlalchemy import bindparam, func, select
from sqlalchemy.dialects import postgresql

from tradepost.accounts.types import Caller
from tradepost.alerts.criteria import request_of
from tradepost.alerts.tables import alerts
from tradepost.alerts.types import Alert, NoSuchAlert, Telling
from tradepost.core.database import Transaction

_USER = alerts.c.user_id == bindparam("user_id", type_=postgresql.UUID)
_ALERTS = select(
    alerts.c.id, alerts.c.name, alerts.c.query, alerts.c.criteria, alerts.c.is_active, alerts.c.is_broad,
    alerts.c.notification_settings, alerts.c.last_checked_at, alerts.c.created_at,
).where(_USER, alerts.c.removed_at.is_(None))  # fmt: skip
_LIST = _ALERTS.order_by(alerts.c.created_at.desc(), alerts.c.id.desc())
_ONE = _ALERTS.where(alerts.c.id == bindparam("alert_id", type_=postgresql.UUID))
COUNT = select(func.count()).select_from(alerts).where(_USER, alerts.c.removed_at.is_(None))


def _alert(row: Any) -> Alert:
    return Alert(
        id=row["id"], name=row["name"], request=request_of(row["query"], row["criteria"]),
        criteria={**({"query": row["query"]} if row["query"] else {}), **row["criteria"]}, is_active=row["is_active"],
        is_broad=row["is_broad"], telling=msgspec.convert(row["notification_settings"], Telling), last_checked_at=row["last_checked_at"], created_at=row["created_at"],
    )  # fmt: skip


async def list_alerts(tx: Transaction, caller: Caller) -> tuple[Alert, ...]:
    """Return the caller's searches, the latest first. Raises `SignInFirst`."""
    return tuple(_alert(row) for row in await tx.all(_LIST, user_id=caller.check_signed_in()))


async def access_alert(tx: Transaction, caller: Caller, alert_id: UUID) -> Alert:
    """Return one of the caller's searches. Raises `NoSuchAlert`, `SignInFirst`."""
    row = await tx.maybe(_ONE, user_id=caller.check_signed_in(), alert_id=alert_id)
    if row is None:
        raise NoSuchAlert
    return _alert(row)
