"""What the rest of the product knows of people."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec

from tradepost.core.database import Actor
from tradepost.core.errors import Refused


@dataclass(eq=False)
class NotAllowed(Refused):
    """Your account may not do that ({permission})."""

    permission: str


class SignInFirst(Refused):
    """Please sign in first."""


class Caller(msgspec.Struct, frozen=True):
    """Whoever makes a request: a person, or a visitor known only by a session. Built once a request by the edges.

    `session` is the hash of the browser's session token; None for programs. `permissions` come from the person's roles.
    """

    user_id: UUID | None = None
    session: bytes | None = None
    username: str = ""
    display_name: str = ""
    permissions: frozenset[str] = frozenset()
    address: str = ""
    locale: str | None = None

    @property
    def is_signed_in(self) -> bool:
        """Whether a person is behind the request."""
        return self.user_id is not None

    @property
    def actor(self) -> Actor:
        """The actor that transactions run for."""
        role = "staff" if "staff" in self.permissions else "person" if self.user_id else "anonymous"
        return Actor(role, self.user_id, self.session)  # type: ignore[arg-type]  # the three are ActorRole

    def can(self, permission: str) -> bool:
        """Whether one of the person's roles has the permission."""
        return permission in self.permissions

    def check_can(self, permission: str) -> None:
        """Raise `SignInFirst` or `NotAllowed` unless the person has the permission."""
        if self.user_id is None:
            raise SignInFirst
        if permission not in self.permissions:
            raise NotAllowed(permission)

    def check_signed_in(self) -> UUID:
        """Return the person's id. Raises `SignInFirst`."""
        if self.user_id is None:
            raise SignInFirst
        return self.user_id


class PersonCard(msgspec.Struct, frozen=True):
    """A person as others see them."""

    id: UUID
    username: str
    display_name: str
    business_name: str | None
    bio: str
    location_text: str
    avatar_file_id: UUID | None
    created_at: datetime
