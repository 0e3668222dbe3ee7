"""What the rest of the product knows of people."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, UnsetType

from tradepost.core.clock import now
from tradepost.core.database import Actor
from tradepost.core.errors import Conflict, FieldErrors, Invalid, NotFound, Refused, Unavailable

PROFILE_SCOPE: Final = "profile"
"""The scope an API token needs to change its person's own profile, addresses, follows and saved listings."""


PROOF_LASTS: Final = timedelta(minutes=15)
"""For how long after a sign-in (or after proving it again) a person may change how they sign in."""


@dataclass(eq=False)
class NotAllowed(Refused):
    """Your account may not do that ({permission})."""

    permission: str


class SignInFirst(Refused):
    """Please sign in first."""


class NotByToken(Refused):
    """That takes a person: sign in with your password, an API token cannot do it."""


class BadSignIn(Refused):
    """The name or the password is not right."""


class AccountClosed(Refused):
    """This account is closed; please write to us if it should not be."""


class NoSuchPerson(NotFound):
    """There is nobody here under that name."""


class NoSuchToken(NotFound):
    """There is no such API token."""


class NoSuchApp(NotFound):
    """There is no such app signed in."""


class NoSuchSession(NotFound):
    """There is no such device signed in."""


@dataclass(eq=False)
class NoSuchRole(NotFound):
    """There is no role “{role}” here."""

    role: str


class UsernameTaken(FieldErrors):
    """Somebody has that username already."""

    def __init__(self) -> None:
        super().__init__({"username": "Somebody has this name already, or one that looks the same."})


class EmailTaken(FieldErrors):
    """Somebody has signed up with that e-mail address already."""

    def __init__(self) -> None:
        super().__init__({"email": "There is an account with this address already. Would you like to sign in?"})


class PhoneTaken(FieldErrors):
    """Somebody has that telephone number already."""

    def __init__(self) -> None:
        super().__init__({"phone": "This number belongs to another account."})


class TooManyTokens(Conflict):
    """You have as many API tokens as one person may; please revoke one first."""


class LastAdministrator(Conflict):
    """Somebody must be left who can manage people."""


class NotOneself(Conflict):
    """You cannot follow yourself."""


class TokenInvalid(Refused):
    """This API token is not valid (any more)."""


class Behind(msgspec.Struct, frozen=True):
    """Who of the staff looks with the caller's eyes, and until when. Nothing can be changed that way."""

    id: UUID
    name: str
    ends_at: datetime


class TokenReused(Refused):
    """This refresh token was used before, so somebody may have copied it; the sign-in it belongs to is ended. Please sign in again."""


class LinkSpent(Refused):
    """This link has been used already, or it is too old. Please ask for a new one."""


@dataclass(eq=False)
class SecondStepNeeded(Refused):
    """The password is right; now the second step, please: a code of your app, a passkey, or a recovery code."""

    step: str = field(repr=False)


class WrongCode(FieldErrors):
    """This code is not right, or it was used already."""

    def __init__(self) -> None:
        super().__init__({"code": "This code is not right, or it was used already. Codes change every half minute."})


class ProveItAgain(Refused):
    """Please prove that it is you before you change this."""


class SecondStepMissing(Refused):
    """This store asks its staff for a second step at sign-in; please set one up on your security page first."""


class PasskeyRefused(Refused):
    """This passkey was not accepted. Please try again, or sign in another way."""


class TotpOn(Conflict):
    """Your account has an authenticator app already; please remove it before you add another."""


class TooManyPasskeys(Conflict):
    """You have as many passkeys as one person may; please remove one first."""


class NoSuchPasskey(NotFound):
    """There is no such passkey in your account."""


class AlreadyTaken(Conflict):
    """That sign-in belongs to another account already, or your account has one there."""


class LastWayIn(Conflict):
    """This is the only way into your account that is left; please set a password or add another way first."""


@dataclass(eq=False)
class NoSuchProvider(NotFound):
    """This store does not offer to sign in with “{provider}”."""

    provider: str


@dataclass(eq=False)
class ProviderAway(Unavailable):
    """{name} does not answer as it should at the moment; please try again later, or sign in another way."""

    name: str


@dataclass(eq=False)
class NotVouchedFor(Refused):
    """{name} did not confirm who you are. Please try again from the start."""

    name: str


@dataclass(eq=False)
class BadProvider(Invalid):
    """The setting {setting} of [{provider}] must be an https address, not “{url}”."""

    provider: str
    setting: str
    url: str
    field: str | None = None


@dataclass(eq=False)
class OutsideEmailMissing(Refused):
    """{name} gave us no e-mail address of yours. Please make an account here, then add {name} on your security page."""

    name: str


@dataclass(eq=False)
class OutsideEmailTaken(Conflict):
    """There is an account with the address that {name} has of you. Please sign in to it, then add {name} on your security page."""

    name: str


class Caller(msgspec.Struct, frozen=True):
    """Whoever makes a request: a person, or a visitor known only by a session. Built once a request by the edges.

    `session` is the hash of the browser's session token; None for programs. `permissions` come from the person's roles; those
    of a program are fewer, and `scopes` says what its token was made for. `role` is the role that allows most. `behind` is who of
    the staff looks with this person's eyes. `proved_at` is when the person last
    proved who they are; `lacks_second_step` that this store holds back permissions until they add one.
    """

    user_id: UUID | None = None
    session: bytes | None = None
    username: str = ""
    display_name: str = ""
    permissions: frozenset[str] = frozenset()
    address: str = ""
    locale: str | None = None
    scopes: frozenset[str] | None = None
    role: str = ""
    behind: Behind | None = None
    proved_at: datetime | None = None
    has_second_step: bool = False
    lacks_second_step: bool = False

    @property
    def is_signed_in(self) -> bool:
        """Whether a person is behind the request."""
        return self.user_id is not None

    @property
    def actor(self) -> Actor:
        """The actor that transactions run for."""
        role = "staff" if "staff" in self.permissions else "person" if self.user_id else "anonymous"
        return Actor(role, self.user_id, self.session, self.behind.id if self.behind else None)  # type: ignore[arg-type]  # the three are ActorRole

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

    def check_token(self, scope: str) -> None:
        """Refuse an API token that was not made for this; people and visitors pass. Raises `NotAllowed`."""
        if self.scopes is not None and scope not in self.scopes:
            raise NotAllowed(scope)

    def check_scope(self, scope: str) -> UUID:
        """Return the person's id. Raises `SignInFirst`, or `NotAllowed` for a token that was not made for this."""
        user_id = self.check_signed_in()
        if self.scopes is not None and scope not in self.scopes:
            raise NotAllowed(scope)
        return user_id

    def check_in_person(self) -> UUID:
        """Return the person's id. Raises `SignInFirst`, or `NotByToken` when a program asks."""
        user_id = self.check_signed_in()
        if self.scopes is not None:
            raise NotByToken
        return user_id

    def check_proved(self) -> UUID:
        """Return the person's id, for changes of how they sign in. Raises as `check_in_person`, and `ProveItAgain` after a while."""
        user_id = self.check_in_person()
        if self.proved_at is None or not now() - PROOF_LASTS < self.proved_at <= now():
            raise ProveItAgain
        return user_id


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


class PublicProfile(msgspec.Struct, frozen=True):
    """A person's page. `is_followed` says whether whoever looks follows them."""

    id: UUID
    username: str
    display_name: str
    business_name: str | None
    bio: str
    location_text: str
    avatar_file_id: UUID | None
    created_at: datetime
    service_type: str | None
    followers: int
    following: int
    is_followed: bool


class OwnProfile(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a person has told us about themselves; `phone` is decrypted."""

    id: UUID
    username: str
    email: str | None
    email_verified_at: datetime | None
    phone: str | None = None
    phone_verified_at: datetime | None
    first_name: str
    last_name: str
    display_name: str
    bio: str
    business_name: str | None
    service_type: str | None
    place: str
    locale: str | None
    timezone: str | None
    avatar_file_id: UUID | None
    has_password: bool
    roles: tuple[str, ...]
    last_login_at: datetime | None
    created_at: datetime


class Follow(msgspec.Struct, frozen=True):
    """Somebody in a list of followers or of followed people."""

    id: UUID
    username: str
    display_name: str
    business_name: str | None
    avatar_file_id: UUID | None
    followed_at: datetime


class ManagedPerson(msgspec.Struct, frozen=True):
    """A person in the list of those who manage people."""

    id: UUID
    username: str
    display_name: str
    email: str | None
    roles: tuple[str, ...]
    is_active: bool
    last_login_at: datetime | None
    created_at: datetime


class SignedInDevice(msgspec.Struct, frozen=True):
    """A browser that is signed in. `id` names it in addresses and gives no access."""

    id: str
    ip: str | None
    user_agent: str
    created_at: datetime
    last_seen_at: datetime


class ApiToken(msgspec.Struct, frozen=True):
    """A program's token, without the secret, which is shown once when it is made."""

    id: UUID
    name: str
    scopes: tuple[str, ...]
    expires_at: datetime
    last_used_at: datetime | None
    created_at: datetime


class _Secret(msgspec.Struct, frozen=True):
    """Something that must not end up in a log: it shows its name only."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class IssuedToken(_Secret, frozen=True):
    """A new API token: the only time its secret is seen."""

    id: UUID
    secret: str
    expires_at: datetime


class TokenPair(_Secret, frozen=True):
    """What an app holds instead of a password: an access token for a quarter of an hour, and a refresh token for the next pair.

    Each refresh token is good once. One that comes a second time ends the sign-in.
    """

    access_token: str
    refresh_token: str
    expires_in: int
    scopes: tuple[str, ...]
    token_type: str = "Bearer"  # noqa: S105  # what RFC 6750 calls it


class SignedInApp(msgspec.Struct, frozen=True):
    """An app that is signed in: `id` names its sign-in and gives no access."""

    id: UUID
    name: str
    ip: str | None
    began_at: datetime
    last_seen_at: datetime


class StartedSession(_Secret, frozen=True):
    """A new session: `token` goes into the cookie and nowhere else."""

    token: str
    caller: Caller
    expires_at: datetime


class _Form(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody fills in; a field that is not declared is refused, so nothing else of a row can be set."""


class _SecretForm(_Secret, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A form with a password in it."""


class SignUp(_SecretForm, frozen=True, kw_only=True):
    """What somebody tells us to join. `role` is the code of a role that people may pick themselves; None: the usual one."""

    username: Annotated[str, Meta(max_length=64)]
    email: Annotated[str, Meta(max_length=255)]
    password: Annotated[str, Meta(max_length=200)]
    display_name: Annotated[str, Meta(max_length=100)] = ""
    role: Annotated[str, Meta(max_length=64)] | None = None


class SignIn(_SecretForm, frozen=True, kw_only=True):
    """A username or an e-mail address with its password, and a code where the account has a second step."""

    login: Annotated[str, Meta(max_length=255)]
    password: Annotated[str, Meta(max_length=200)]
    code: Annotated[str, Meta(max_length=40)] = ""


DeviceInfo = Annotated[
    dict[Annotated[str, Meta(max_length=40)], Annotated[str, Meta(max_length=200)]], Meta(max_length=20)
]
"""What an app says of the device it is on: name, model, version and the like."""


class AppSignIn(_SecretForm, frozen=True, kw_only=True):
    """A sign-in by an app. `scopes`: what it may do at most; None for everything that the person may do by a program."""

    login: Annotated[str, Meta(max_length=255)]
    password: Annotated[str, Meta(max_length=200)]
    code: Annotated[str, Meta(max_length=40)] = ""
    scopes: Annotated[tuple[Annotated[str, Meta(max_length=64)], ...], Meta(max_length=50)] | None = None
    device_info: DeviceInfo = {}


class RefreshForm(_SecretForm, frozen=True, kw_only=True):
    """The refresh token of a pair."""

    refresh_token: Annotated[str, Meta(max_length=100)]


class ChangePassword(_SecretForm, frozen=True, kw_only=True):
    """The password of today and the next one. `revoke_tokens` also ends the API tokens of the person's programs."""

    current: Annotated[str, Meta(max_length=200)]
    new: Annotated[str, Meta(max_length=200)]
    revoke_tokens: bool = False


class EditProfile(_Form, frozen=True, kw_only=True):
    """What a person changes about themselves; fields left out stay. `place` is a place's name, `phone` international."""

    username: Annotated[str, Meta(max_length=64)] | UnsetType = UNSET
    display_name: Annotated[str, Meta(min_length=1, max_length=100)] | UnsetType = UNSET
    first_name: Annotated[str, Meta(max_length=150)] | UnsetType = UNSET
    last_name: Annotated[str, Meta(max_length=150)] | UnsetType = UNSET
    bio: Annotated[str, Meta(max_length=4000)] | UnsetType = UNSET
    business_name: Annotated[str, Meta(max_length=255)] | UnsetType | None = UNSET
    service_type: Annotated[str, Meta(max_length=255)] | UnsetType | None = UNSET
    place: Annotated[str, Meta(max_length=255)] | UnsetType = UNSET
    phone: Annotated[str, Meta(max_length=40)] | UnsetType | None = UNSET
    locale: Annotated[str, Meta(max_length=20)] | UnsetType | None = UNSET
    timezone: Annotated[str, Meta(max_length=64)] | UnsetType | None = UNSET


class NewToken(_Form, frozen=True, kw_only=True):
    """An API token to make. Without scopes it can only read what the person may read."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]
    scopes: tuple[str, ...] = ()
    expires_in_days: Annotated[int, Meta(ge=1, le=730)] = 365
    device_info: DeviceInfo = {}
