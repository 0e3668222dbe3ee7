"""Tables of people, their roles and the ways they sign in."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, INET, JSONB, UUID

from tradepost.core.columns import (
    CaseInsensitive,
    GeoPoint,
    at_most,
    created,
    encrypted,
    key,
    moment,
    one_of,
    reference,
    updated,
    words,
)
from tradepost.core.database import metadata

users = Table(
    "users",
    metadata,
    key(),
    Column("username", CaseInsensitive, nullable=False, unique=True),
    Column("email", CaseInsensitive, unique=True),
    moment("email_verified_at", nullable=True),
    encrypted("phone_enc"),
    Column("phone_index", LargeBinary, unique=True),
    words("password_hash", nullable=True),
    words("first_name", default=""),
    words("last_name", default=""),
    words("display_name"),
    Column("avatar_file_id", UUID),
    words("bio", default=""),
    words("business_name", nullable=True),
    words("service_type", nullable=True),
    words("location_text", default=""),
    Column("location", GeoPoint),
    words("locale", nullable=True),
    words("timezone", nullable=True),
    Column("is_active", Boolean, nullable=False, server_default="true"),
    moment("last_login_at", nullable=True),
    words("stripe_customer_id", nullable=True),
    words("stripe_account_id", nullable=True),
    moment("suspended_until", nullable=True),
    moment("erase_at", nullable=True),
    moment("erased_at", nullable=True),
    created(),
    updated(),
    CheckConstraint("username::text ~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{1,63}$'", name="username_form"),
    CheckConstraint("email IS NOT NULL OR erased_at IS NOT NULL", name="email_present"),
    at_most("email", 255),
    at_most("display_name", 100),
    at_most("first_name", 150),
    at_most("last_name", 150),
    at_most("bio", 4000),
    at_most("business_name", 255),
    at_most("service_type", 255),
    at_most("location_text", 255),
    Index("ix_users_erase_at", "erase_at", postgresql_where=text("erase_at IS NOT NULL")),
    Index("ix_users_location", "location", postgresql_using="gist"),
    Index("ix_users_created_at", text("created_at DESC"), text("id DESC")),
    Index("ix_users_username_looks", text("username_looks(username::text)")),
    Index(
        "ix_users_find",
        text("(lower(username::text || ' ' || display_name || ' ' || coalesce(email::text, ''))) gin_trgm_ops"),
        postgresql_using="gin",
    ),
    comment="A person or a business. Erasure empties the columns and keeps the row, for the books.",
)

permissions = Table(
    "permissions",
    metadata,
    Column("code", Text, primary_key=True),
    comment="The fixed vocabulary of what a role may allow.",
)

roles = Table(
    "roles",
    metadata,
    Column("code", Text, primary_key=True),
    words("name"),
    words("description", default=""),
    Column("is_default", Boolean, nullable=False, server_default="false"),
    Column("is_self_service", Boolean, nullable=False, server_default="false"),
    comment="The roles a store's document names, loaded from its preset.",
)

role_permissions = Table(
    "role_permissions",
    metadata,
    Column("role", Text, ForeignKey("roles.code", ondelete="CASCADE"), nullable=False),
    Column("permission", Text, ForeignKey("permissions.code"), nullable=False),
    PrimaryKeyConstraint("role", "permission"),
    comment="What each role may do.",
)

user_roles = Table(
    "user_roles",
    metadata,
    reference("user_id", "users.id", on_delete="CASCADE"),
    Column("role", Text, ForeignKey("roles.code"), nullable=False),
    PrimaryKeyConstraint("user_id", "role"),
    Index("ix_user_roles_role", "role"),
    comment="Which roles a person has.",
)

sessions = Table(
    "sessions",
    metadata,
    Column("id_hash", LargeBinary, primary_key=True),
    reference("user_id", "users.id", nullable=True, on_delete="CASCADE"),
    Column("data", JSONB, nullable=False, server_default="{}"),
    moment("expires_at"),
    moment("last_seen_at", default_now=True),
    Column("ip", INET),
    words("user_agent", default=""),
    created(),
    at_most("user_agent", 400),
    Index("ix_sessions_user_id", "user_id"),
    Index("ix_sessions_expires_at", "expires_at"),
    comment="A browser's visit, signed in or not; the cookie's token is stored as its SHA-256 only.",
)

tokens = Table(
    "tokens",
    metadata,
    key(),
    reference("user_id", "users.id", on_delete="CASCADE"),
    Column("token_hash", LargeBinary, nullable=False, unique=True),
    words("kind"),
    words("name", default=""),
    Column("scopes", ARRAY(Text), nullable=False, server_default="{}"),
    moment("expires_at"),
    moment("last_used_at", nullable=True),
    moment("revoked_at", nullable=True),
    Column("device_info", JSONB, nullable=False, server_default="{}"),
    Column("ip", INET),
    created(),
    one_of("kind", "api", "refresh", "email", "reset", "sign_in"),
    at_most("name", 100),
    Index("ix_tokens_user_id", "user_id"),
    comment="Bearer tokens of programs and one-time links of people, stored as SHA-256 only.",
)

outside_logins = Table(
    "outside_logins",
    metadata,
    words("provider"),
    words("subject"),
    reference("user_id", "users.id", on_delete="CASCADE"),
    created(),
    PrimaryKeyConstraint("provider", "subject"),
    one_of("provider", "google", "apple", "facebook"),
    Index("ix_outside_logins_user_id", "user_id"),
    comment="A sign-in at another provider that belongs to a person here.",
)

follows = Table(
    "follows",
    metadata,
    reference("follower_id", "users.id", on_delete="CASCADE"),
    reference("followed_id", "users.id", on_delete="CASCADE"),
    created(),
    PrimaryKeyConstraint("follower_id", "followed_id"),
    CheckConstraint("follower_id <> followed_id", name="not_oneself"),
    Index("ix_follows_followed_id", "followed_id", text("created_at DESC"), text("follower_id DESC")),
    Index("ix_follows_follower_id", "follower_id", text("created_at DESC"), text("followed_id DESC")),
    comment="Who follows whom.",
)

verifications = Table(
    "verifications",
    metadata,
    key(),
    reference("user_id", "users.id", on_delete="CASCADE"),
    words("kind"),
    words("status", default="pending"),
    encrypted("data_enc"),
    moment("submitted_at", default_now=True),
    moment("decided_at", nullable=True),
    reference("decided_by", "users.id", nullable=True),
    words("rejection_reason", nullable=True),
    moment("expires_at", nullable=True),
    moment("cleared_at", nullable=True),
    words("outside_reference", nullable=True),
    one_of("kind", "email", "phone", "government_id", "address", "business"),
    one_of("status", "pending", "verified", "rejected", "expired", "withdrawn"),
    at_most("rejection_reason", 1000),
    CheckConstraint("(status = 'rejected') = (rejection_reason IS NOT NULL)", name="rejected_with_reason"),
    CheckConstraint("status = 'pending' OR status = 'withdrawn' OR decided_at IS NOT NULL", name="decided"),
    Index("ix_verifications_user_id", "user_id"),
    Index("ix_verifications_status", "status", "submitted_at"),
    Index(
        "uq_verifications_open", "user_id", "kind", unique=True,
        postgresql_where=text("status = 'pending' OR status = 'verified'"),
    ),
    comment="That somebody is who they say: what they sent, encrypted, and what was decided. One open for each person and kind.",
)  # fmt: skip

verification_documents = Table(
    "verification_documents",
    metadata,
    reference("verification_id", "verifications.id", on_delete="CASCADE"),
    Column("position", SmallInteger, nullable=False),
    words("storage_key"),
    words("media_type"),
    Column("bytes", Integer, nullable=False),
    encrypted("name_enc", nullable=False),
    created(),
    PrimaryKeyConstraint("verification_id", "position"),
    one_of("media_type", "image/jpeg", "image/png", "image/webp", "application/pdf"),
    comment="A document of a verification; the file itself is encrypted, and deleted some time after the decision.",
)

badges = Table(
    "badges",
    metadata,
    Column("code", Text, primary_key=True),
    words("name"),
    words("description"),
    Column("position", SmallInteger, nullable=False),
    comment="The distinctions that people get for what they did; given and taken by a job that counts the facts.",
)

user_badges = Table(
    "user_badges",
    metadata,
    reference("user_id", "users.id", on_delete="CASCADE"),
    Column("badge", Text, ForeignKey("badges.code"), nullable=False),
    created(),
    PrimaryKeyConstraint("user_id", "badge"),
    comment="Which distinctions a person has.",
)

data_exports = Table(
    "data_exports",
    metadata,
    key(),
    reference("user_id", "users.id", on_delete="CASCADE"),
    words("state", default="waiting"),
    Column("done", Integer, nullable=False, server_default="0"),
    Column("parts", Integer, nullable=False, server_default="0"),
    words("storage_key", nullable=True),
    Column("bytes", Integer),
    words("problem", nullable=True),
    moment("ready_at", nullable=True),
    moment("expires_at", nullable=True),
    created(),
    one_of("state", "waiting", "running", "ready", "failed", "expired"),
    Index("ix_data_exports_user_id", "user_id", text("created_at DESC")),
    Index(
        "uq_data_exports_under_way", "user_id", unique=True,
        postgresql_where=text("state = 'waiting' OR state = 'running'"),
    ),
    comment="Everything about a person, asked for by that person: a zip that is encrypted where it lies and soon gone.",
)  # fmt: skip

impersonations = Table(
    "impersonations",
    metadata,
    key(),
    reference("staff_id", "users.id"),
    reference("person_id", "users.id", on_delete="CASCADE"),
    Column("session_hash", LargeBinary, nullable=False),
    words("reason"),
    created(),
    moment("ends_at"),
    moment("ended_at", nullable=True),
    at_most("reason", 500),
    Index("ix_impersonations_person_id", "person_id", text("created_at DESC")),
    Index("ix_impersonations_staff_id", "staff_id"),
    comment="That somebody of the staff looked at the store as a person would: for how long and why. Nothing can be changed meanwhile.",
)
