"""Tables of people, their roles and the ways they sign in."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
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
