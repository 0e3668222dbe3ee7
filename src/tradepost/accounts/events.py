"""What happens to people, as facts. Who did it and from which session is in the event's row; names and addresses are not."""

from uuid import UUID

import msgspec


class PersonSignedUp(msgspec.Struct, frozen=True):
    """Somebody joined the store."""

    user_id: UUID
    role: str


class PersonSignedIn(msgspec.Struct, frozen=True):
    """Somebody proved who they are and got a session."""

    user_id: UUID


class PersonSignedOut(msgspec.Struct, frozen=True):
    """Somebody ended the session they were in."""

    user_id: UUID


class PasswordChanged(msgspec.Struct, frozen=True):
    """A person has a new password; their other sessions are ended."""

    user_id: UUID


class ProfileChanged(msgspec.Struct, frozen=True):
    """A person changed what others see of them. `fields` are those that differ now."""

    user_id: UUID
    fields: tuple[str, ...]


class SessionsEnded(msgspec.Struct, frozen=True):
    """A person signed out other browsers."""

    user_id: UUID
    count: int


class TokenIssued(msgspec.Struct, frozen=True):
    """A person made an API token."""

    user_id: UUID
    token_id: UUID
    scopes: tuple[str, ...]


class TokenRevoked(msgspec.Struct, frozen=True):
    """A person ended an API token."""

    user_id: UUID
    token_id: UUID


class PersonFollowed(msgspec.Struct, frozen=True):
    """Somebody began to follow somebody."""

    follower_id: UUID
    followed_id: UUID


class PersonUnfollowed(msgspec.Struct, frozen=True):
    """Somebody stopped following somebody."""

    follower_id: UUID
    followed_id: UUID


class RoleGranted(msgspec.Struct, frozen=True):
    """A person got a role from somebody who manages people."""

    user_id: UUID
    role: str
    by: UUID | None


class RoleRevoked(msgspec.Struct, frozen=True):
    """A person lost a role."""

    user_id: UUID
    role: str
    by: UUID | None


class PersonDeactivated(msgspec.Struct, frozen=True):
    """An account was closed: nobody can sign in to it, its sessions and tokens are ended."""

    user_id: UUID
    by: UUID | None


class PersonReactivated(msgspec.Struct, frozen=True):
    """A closed account was opened again."""

    user_id: UUID
    by: UUID | None


class VerificationSubmitted(msgspec.Struct, frozen=True):
    """A person sent what shows who they are."""

    verification_id: UUID
    user_id: UUID
    verification_kind: str


class VerificationDecided(msgspec.Struct, frozen=True):
    """A submission was accepted or refused."""

    verification_id: UUID
    user_id: UUID
    verification_kind: str
    status: str


class VerificationExpired(msgspec.Struct, frozen=True):
    """What a person showed is too long ago to count."""

    verification_id: UUID
    user_id: UUID


class StaffLookedIn(msgspec.Struct, frozen=True):
    """Somebody of the staff began to look at the store as a person sees it."""

    person_id: UUID
    staff_id: UUID


class DataExportRequested(msgspec.Struct, frozen=True):
    """A person asked for everything that is known about them."""

    export_id: UUID
    user_id: UUID


class ErasureRequested(msgspec.Struct, frozen=True):
    """A person asked to be forgotten; it happens after some days, unless they come back."""

    user_id: UUID


class PersonErased(msgspec.Struct, frozen=True):
    """Nothing is left of a person but what the books need."""

    user_id: UUID


class EmailConfirmed(msgspec.Struct, frozen=True):
    """A person proved that their e-mail address is theirs."""

    user_id: UUID


class EmailChanged(msgspec.Struct, frozen=True):
    """A person has another e-mail address, and proved it."""

    user_id: UUID


class SecondStepAdded(msgspec.Struct, frozen=True):
    """A person added a second step to their sign-in: `totp` or `passkey`."""

    user_id: UUID
    kind: str


class SecondStepWithdrawn(msgspec.Struct, frozen=True):
    """A person took a second step off their sign-in."""

    user_id: UUID
    kind: str


class RecoveryCodeUsed(msgspec.Struct, frozen=True):
    """A recovery code stood in for a second step; `left` are unused."""

    user_id: UUID
    left: int


class OutsideLoginTaken(msgspec.Struct, frozen=True):
    """A person may sign in through another provider from now on."""

    user_id: UUID
    provider: str


class OutsideLoginWithdrawn(msgspec.Struct, frozen=True):
    """A person signs in through that provider no longer."""

    user_id: UUID
    provider: str


class PhoneConfirmed(msgspec.Struct, frozen=True):
    """A person proved that their telephone number is theirs."""

    user_id: UUID


class AppSignedIn(msgspec.Struct, frozen=True):
    """An app began to act as a person."""

    user_id: UUID
    family: UUID


class AppSignedOut(msgspec.Struct, frozen=True):
    """An app acts as a person no longer."""

    user_id: UUID
    family: UUID


class RefreshTokenReplayed(msgspec.Struct, frozen=True):
    """A refresh token came a second time; the sign-in it belongs to was ended."""

    user_id: UUID
    family: UUID
