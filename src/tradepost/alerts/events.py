"""What happens to kept searches, as facts."""

from uuid import UUID

import msgspec


class AlertSaved(msgspec.Struct, frozen=True):
    """Somebody keeps a search, or took one back that they had removed."""

    alert_id: UUID
    user_id: UUID


class AlertChanged(msgspec.Struct, frozen=True):
    """Somebody changed what an alert asks for or how it tells them, paused it or let it go on."""

    alert_id: UUID
    user_id: UUID


class AlertRemoved(msgspec.Struct, frozen=True):
    """Somebody keeps a search no longer."""

    alert_id: UUID
    user_id: UUID
