"""The foundation: people, catalogue, carts, orders, payments, addresses, reviews."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text
from sqlalchemy.dialects import postgresql

from tradepost.core import columns
from tradepost.migrations.script import run_file

revision = "0001"
down_revision = None

PERMISSIONS = (
    "buy", "sell", "review", "see_all_orders", "move_orders", "refund_orders", "manage_catalog", "manage_people",
    "manage_store", "moderate", "deliver", "see_reports", "staff",
)


def upgrade() -> None:
    """Apply."""
    run_file(op, "0001_functions.sql")
    create_tables()
    op.execute("CREATE TABLE events_default PARTITION OF events DEFAULT")
    op.execute("SELECT ensure_month_partitions('events', 3)")
    run_file(op, "0001_triggers.sql")
    run_file(op, "0001_access.sql")
    for code in PERMISSIONS:
        op.execute(f"INSERT INTO permissions (code) VALUES ('{code}')")


def downgrade() -> None:
    """Undo: back to an empty database."""
    op.execute("""
        DO $$
        DECLARE
            t record;
        BEGIN
            FOR t IN SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
                     AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relowner = 'tradepost_owner'::regrole
                     AND c.relname <> 'alembic_version' AND c.relname NOT LIKE 'pgqueuer%' LOOP
                EXECUTE format('DROP TABLE IF EXISTS %I CASCADE', t.relname);
            END LOOP;
            FOR t IN SELECT p.oid FROM pg_proc p
                     WHERE p.pronamespace = 'public'::regnamespace AND p.proowner = 'tradepost_owner'::regrole
                     AND p.proname NOT LIKE 'fn_pgqueuer%' LOOP
                CONTINUE WHEN NOT EXISTS (SELECT FROM pg_proc WHERE oid = t.oid);  -- went with one it was made of
                EXECUTE format('DROP FUNCTION %s CASCADE', t.oid::regprocedure);
            END LOOP;
        END $$
    """)
    op.execute("DROP DOMAIN IF EXISTS geo_point")


def create_tables() -> None:
    """Create every table, constraint and index of this revision."""
    op.create_table('carts',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('user_id', sa.UUID(), nullable=True),
    sa.Column('session_hash', sa.LargeBinary(), nullable=True),
    sa.Column('currency', sa.CHAR(length=3), nullable=False),
    sa.Column('promo_codes', postgresql.ARRAY(Text()), server_default='{}', nullable=False),
    sa.Column('slot_id', sa.UUID(), nullable=True),
    sa.Column('version', sa.Integer(), server_default='1', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('(user_id IS NULL) <> (session_hash IS NULL)', name=op.f('ck_carts_one_owner')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_carts')),
    sa.UniqueConstraint('session_hash', name=op.f('uq_carts_session_hash')),
    sa.UniqueConstraint('user_id', name=op.f('uq_carts_user_id')),
    comment="The cart of one person, or of one visitor's session; every change of its lines raises `version`."
    )
    op.create_index('ix_carts_updated_at', 'carts', ['updated_at'], unique=False)
    op.create_table('categories',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('parent_id', sa.UUID(), nullable=True),
    sa.Column('slug', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('description', sa.Text(), server_default='', nullable=False),
    sa.Column('emoji', sa.Text(), server_default='', nullable=False),
    sa.Column('is_active', sa.Boolean(), server_default='true', nullable=False),
    sa.Column('position', sa.Integer(), server_default='0', nullable=False),
    sa.Column('path', sa.Text(), server_default='', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$'", name=op.f('ck_categories_slug_form')),
    sa.CheckConstraint('char_length(name) <= 100', name=op.f('ck_categories_name_length')),
    sa.ForeignKeyConstraint(['parent_id'], ['categories.id'], name=op.f('fk_categories_parent_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_categories')),
    sa.UniqueConstraint('slug', name=op.f('uq_categories_slug')),
    comment='The category tree; `path` is the slugs from the root, kept by a trigger that also refuses cycles.'
    )
    op.create_index('ix_categories_parent_id', 'categories', ['parent_id'], unique=False)
    op.create_index('ix_categories_path', 'categories', [sa.literal_column('path text_pattern_ops')], unique=False)
    op.create_index('ix_categories_words', 'categories', [sa.literal_column("to_tsvector('english', name || ' ' || description)")], unique=False, postgresql_using='gin')
    op.create_table('conditions',
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('position', sa.Integer(), server_default='0', nullable=False),
    sa.PrimaryKeyConstraint('code', name=op.f('pk_conditions')),
    comment='The conditions goods can be in, from the preset.'
    )
    op.create_table('events',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('user_id', sa.UUID(), nullable=True),
    sa.Column('session_hash', sa.LargeBinary(), nullable=True),
    sa.Column('subject_id', sa.UUID(), nullable=True),
    sa.Column('data', postgresql.JSONB(astext_type=Text()), server_default='{}', nullable=False),
    sa.PrimaryKeyConstraint('id', 'at', name=op.f('pk_events')),
    comment='Facts, written in the transaction that caused them; never changed. One partition a month.',
    postgresql_partition_by='RANGE (at)'
    )
    op.create_index('ix_events_at', 'events', ['at'], unique=False)
    op.create_index('ix_events_kind_user_id_at', 'events', ['kind', 'user_id', 'at'], unique=False)
    op.create_index('ix_events_subject_id_at', 'events', ['subject_id', 'at'], unique=False)
    op.create_table('feeds',
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('description', sa.Text(), server_default='', nullable=False),
    sa.PrimaryKeyConstraint('code', name=op.f('pk_feeds')),
    comment='The feeds a store shows listings in, from its preset.'
    )
    op.create_table('files',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('sha256', sa.LargeBinary(), nullable=False),
    sa.Column('media_type', sa.Text(), nullable=False),
    sa.Column('bytes', sa.BigInteger(), nullable=False),
    sa.Column('width', sa.Integer(), nullable=True),
    sa.Column('height', sa.Integer(), nullable=True),
    sa.Column('storage_key', sa.Text(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_files')),
    sa.UniqueConstraint('sha256', name=op.f('uq_files_sha256')),
    comment='A stored file, once per content.'
    )
    op.create_table('gateway_events',
    sa.Column('gateway', sa.Text(), nullable=False),
    sa.Column('event_id', sa.Text(), nullable=False),
    sa.Column('received_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('body', postgresql.JSONB(astext_type=Text()), nullable=False),
    sa.PrimaryKeyConstraint('gateway', 'event_id', name=op.f('pk_gateway_events')),
    comment='Webhook calls that were genuine, kept so that each is handled once and can be replayed.'
    )
    op.create_table('idempotency_keys',
    sa.Column('actor', sa.Text(), nullable=False),
    sa.Column('key', sa.Text(), nullable=False),
    sa.Column('request_hash', sa.LargeBinary(), nullable=False),
    sa.Column('state', sa.Text(), server_default='running', nullable=False),
    sa.Column('status', sa.Integer(), nullable=True),
    sa.Column('response', postgresql.JSONB(astext_type=Text()), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("state IN ('running', 'done')", name=op.f('ck_idempotency_keys_state_known')),
    sa.PrimaryKeyConstraint('actor', 'key', name=op.f('pk_idempotency_keys')),
    comment='One row for each Idempotency-Key a client sent, with the reply to repeat.'
    )
    op.create_index('ix_idempotency_keys_created_at', 'idempotency_keys', ['created_at'], unique=False)
    op.create_table('ledger_accounts',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('owner_id', sa.UUID(), nullable=True),
    sa.Column('name', sa.Text(), server_default='', nullable=False),
    sa.Column('currency', sa.CHAR(length=3), nullable=False),
    sa.CheckConstraint("kind IN ('clearing', 'buyer', 'seller', 'held', 'fee', 'tax', 'shipping', 'points', 'promotion', 'payout', 'loss')", name=op.f('ck_ledger_accounts_kind_known')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_ledger_accounts')),
    sa.UniqueConstraint('kind', 'owner_id', 'name', 'currency', name=op.f('uq_ledger_accounts_kind_owner_id_name_currency'), postgresql_nulls_not_distinct=True),
    comment="Accounts of the books: a seller's balance, the platform's fee, money at a gateway (`name`), and so on."
    )
    op.create_index('ix_ledger_accounts_owner_id', 'ledger_accounts', ['owner_id'], unique=False)
    op.create_table('ledger_journals',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('reference', sa.Text(), nullable=False),
    sa.Column('order_id', sa.UUID(), nullable=True),
    sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_ledger_journals')),
    sa.UniqueConstraint('kind', 'reference', name=op.f('uq_ledger_journals_kind_reference')),
    comment='One money fact; (kind, reference) makes it impossible to book it twice.'
    )
    op.create_index('ix_ledger_journals_order_id', 'ledger_journals', ['order_id'], unique=False)
    op.create_table('listing_kinds',
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('plural', sa.Text(), nullable=False),
    sa.Column('fields', postgresql.JSONB(astext_type=Text()), server_default='[]', nullable=False),
    sa.PrimaryKeyConstraint('code', name=op.f('pk_listing_kinds')),
    comment='Kinds of listing with the attribute fields each has, from the preset.'
    )
    op.create_table('payments',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('order_id', sa.UUID(), nullable=False),
    sa.Column('buyer_id', sa.UUID(), nullable=True),
    sa.Column('session_hash', sa.LargeBinary(), nullable=True),
    sa.Column('purpose', sa.Text(), server_default='full', nullable=False),
    sa.Column('gateway', sa.Text(), nullable=False),
    sa.Column('method', sa.Text(), nullable=False),
    sa.Column('amount_minor', sa.BigInteger(), nullable=False),
    sa.Column('refunded_minor', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('currency', sa.CHAR(length=3), nullable=False),
    sa.Column('state', sa.Text(), server_default='initiated', nullable=False),
    sa.Column('gateway_ref', sa.Text(), nullable=True),
    sa.Column('is_offline', sa.Boolean(), server_default='false', nullable=False),
    sa.Column('redirect_url', sa.Text(), nullable=True),
    sa.Column('instructions', sa.Text(), server_default='', nullable=False),
    sa.Column('error', sa.Text(), nullable=True),
    sa.Column('charged_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('checked_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('settled_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('disputed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("purpose IN ('full', 'deposit', 'balance', 'late')", name=op.f('ck_payments_purpose_known')),
    sa.CheckConstraint("state IN ('initiated', 'success', 'failed', 'refunded', 'partly_refunded', 'cancelled')", name=op.f('ck_payments_state_known')),
    sa.CheckConstraint('amount_minor >= 0', name=op.f('ck_payments_amount_not_negative')),
    sa.CheckConstraint('refunded_minor BETWEEN 0 AND amount_minor', name=op.f('ck_payments_refunded_within_amount')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_payments')),
    sa.UniqueConstraint('gateway', 'gateway_ref', name=op.f('uq_payments_gateway_gateway_ref')),
    comment='One attempt to take money for an order; its id is the idempotency key at the gateway. Offline: cash, taken at the door. Late: money that came when the order no longer wanted it, and goes back.'
    )
    op.create_index('ix_payments_order_id', 'payments', ['order_id'], unique=False)
    op.create_index('ix_payments_unsettled', 'payments', ['created_at'], unique=False, postgresql_where=sa.text("state = 'initiated' AND NOT is_offline"))
    op.create_index('uq_payments_open', 'payments', ['order_id', 'purpose'], unique=True, postgresql_where=sa.text("purpose <> 'late' AND state IN ('initiated', 'success', 'refunded', 'partly_refunded')"))
    op.create_table('permissions',
    sa.Column('code', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('code', name=op.f('pk_permissions')),
    comment='The fixed vocabulary of what a role may allow.'
    )
    op.create_table('places',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('country', sa.Text(), nullable=False),
    sa.Column('region', sa.Text(), nullable=False),
    sa.Column('district', sa.Text(), server_default='', nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('population', sa.Integer(), server_default='0', nullable=False),
    sa.Column('location', columns.GeoPoint(), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_places')),
    sa.UniqueConstraint('country', 'region', 'district', 'name', name=op.f('uq_places_country_region_district_name')),
    comment="Named places of a store's country, from GeoNames."
    )
    op.create_index('ix_places_location', 'places', ['location'], unique=False, postgresql_using='gist')
    op.create_index('ix_places_name', 'places', [sa.literal_column('lower(name) text_pattern_ops')], unique=False)
    op.create_table('processes',
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('initial_state', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('code', name=op.f('pk_processes')),
    comment='A named course that orders take, from the preset.'
    )
    op.create_table('roles',
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('description', sa.Text(), server_default='', nullable=False),
    sa.Column('is_default', sa.Boolean(), server_default='false', nullable=False),
    sa.Column('is_self_service', sa.Boolean(), server_default='false', nullable=False),
    sa.PrimaryKeyConstraint('code', name=op.f('pk_roles')),
    comment="The roles a store's document names, loaded from its preset."
    )
    op.create_table('sources',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('url', sa.Text(), server_default='', nullable=False),
    sa.Column('description', sa.Text(), server_default='', nullable=False),
    sa.Column('settings', postgresql.JSONB(astext_type=Text()), server_default='{}', nullable=False),
    sa.Column('is_active', sa.Boolean(), server_default='true', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_sources')),
    sa.UniqueConstraint('code', name=op.f('uq_sources_code')),
    comment='An outside market that listings are collected from.'
    )
    op.create_table('store_facts',
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('value', sa.Text(), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_store_facts')),
    comment="What SQL itself must know of the store's settings: currency, country, preset version."
    )
    op.create_table('units',
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('short', sa.Text(), nullable=False),
    sa.Column('step', sa.Numeric(precision=12, scale=3), server_default='1', nullable=False),
    sa.PrimaryKeyConstraint('code', name=op.f('pk_units')),
    comment='Units goods and services are sold by, from the preset.'
    )
    op.create_table('users',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('username', columns.CaseInsensitive(), nullable=False),
    sa.Column('email', columns.CaseInsensitive(), nullable=True),
    sa.Column('email_verified_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('phone_enc', sa.LargeBinary(), nullable=True),
    sa.Column('phone_index', sa.LargeBinary(), nullable=True),
    sa.Column('password_hash', sa.Text(), nullable=True),
    sa.Column('first_name', sa.Text(), server_default='', nullable=False),
    sa.Column('last_name', sa.Text(), server_default='', nullable=False),
    sa.Column('display_name', sa.Text(), nullable=False),
    sa.Column('avatar_file_id', sa.UUID(), nullable=True),
    sa.Column('bio', sa.Text(), server_default='', nullable=False),
    sa.Column('business_name', sa.Text(), nullable=True),
    sa.Column('service_type', sa.Text(), nullable=True),
    sa.Column('location_text', sa.Text(), server_default='', nullable=False),
    sa.Column('location', columns.GeoPoint(), nullable=True),
    sa.Column('locale', sa.Text(), nullable=True),
    sa.Column('timezone', sa.Text(), nullable=True),
    sa.Column('is_active', sa.Boolean(), server_default='true', nullable=False),
    sa.Column('last_login_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('stripe_customer_id', sa.Text(), nullable=True),
    sa.Column('stripe_account_id', sa.Text(), nullable=True),
    sa.Column('erased_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("username::text ~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{1,63}$'", name=op.f('ck_users_username_form')),
    sa.CheckConstraint('char_length(bio) <= 4000', name=op.f('ck_users_bio_length')),
    sa.CheckConstraint('char_length(business_name) <= 255', name=op.f('ck_users_business_name_length')),
    sa.CheckConstraint('char_length(display_name) <= 100', name=op.f('ck_users_display_name_length')),
    sa.CheckConstraint('char_length(email) <= 255', name=op.f('ck_users_email_length')),
    sa.CheckConstraint('char_length(first_name) <= 150', name=op.f('ck_users_first_name_length')),
    sa.CheckConstraint('char_length(last_name) <= 150', name=op.f('ck_users_last_name_length')),
    sa.CheckConstraint('char_length(location_text) <= 255', name=op.f('ck_users_location_text_length')),
    sa.CheckConstraint('char_length(service_type) <= 255', name=op.f('ck_users_service_type_length')),
    sa.CheckConstraint('email IS NOT NULL OR erased_at IS NOT NULL', name=op.f('ck_users_email_present')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_users')),
    sa.UniqueConstraint('email', name=op.f('uq_users_email')),
    sa.UniqueConstraint('phone_index', name=op.f('uq_users_phone_index')),
    sa.UniqueConstraint('username', name=op.f('uq_users_username')),
    comment='A person or a business. Erasure empties the columns and keeps the row, for the books.'
    )
    op.create_index('ix_users_location', 'users', ['location'], unique=False, postgresql_using='gist')
    op.create_table('addresses',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('user_id', sa.UUID(), nullable=False),
    sa.Column('label', sa.Text(), server_default='', nullable=False),
    sa.Column('address_enc', sa.LargeBinary(), nullable=False),
    sa.Column('is_default', sa.Boolean(), server_default='false', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('char_length(label) <= 60', name=op.f('ck_addresses_label_length')),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_addresses_user_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_addresses')),
    comment="A person's address book; the address itself is encrypted."
    )
    op.create_index('ix_addresses_user_id', 'addresses', ['user_id'], unique=False)
    op.create_index('uq_addresses_default', 'addresses', ['user_id'], unique=True, postgresql_where=sa.text('is_default'))
    op.create_table('follows',
    sa.Column('follower_id', sa.UUID(), nullable=False),
    sa.Column('followed_id', sa.UUID(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('follower_id <> followed_id', name=op.f('ck_follows_not_oneself')),
    sa.ForeignKeyConstraint(['followed_id'], ['users.id'], name=op.f('fk_follows_followed_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['follower_id'], ['users.id'], name=op.f('fk_follows_follower_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('follower_id', 'followed_id', name=op.f('pk_follows')),
    comment='Who follows whom.'
    )
    op.create_index('ix_follows_followed_id', 'follows', ['followed_id'], unique=False)
    op.create_table('ledger_entries',
    sa.Column('journal_id', sa.UUID(), nullable=False),
    sa.Column('line_no', sa.Integer(), nullable=False),
    sa.Column('account_id', sa.UUID(), nullable=False),
    sa.Column('amount_minor', sa.BigInteger(), nullable=False),
    sa.CheckConstraint('amount_minor <> 0', name=op.f('ck_ledger_entries_amount_not_zero')),
    sa.PrimaryKeyConstraint('journal_id', 'line_no', name=op.f('pk_ledger_entries')),
    comment='Debits (positive) and credits (negative) of a journal; per journal and currency they sum to 0. A trigger stands for the foreign keys.'
    )
    op.create_index('ix_ledger_entries_account_id', 'ledger_entries', ['account_id', 'journal_id'], unique=False, postgresql_include=['amount_minor'])
    op.create_table('listings',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('seller_id', sa.UUID(), nullable=True),
    sa.Column('source_id', sa.UUID(), nullable=True),
    sa.Column('external_id', sa.Text(), nullable=True),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('feed', sa.Text(), nullable=False),
    sa.Column('slug', sa.Text(), nullable=False),
    sa.Column('title', sa.Text(), nullable=False),
    sa.Column('description', sa.Text(), nullable=False),
    sa.Column('category_id', sa.UUID(), nullable=False),
    sa.Column('brand', sa.Text(), nullable=True),
    sa.Column('condition', sa.Text(), nullable=True),
    sa.Column('status', sa.Text(), server_default='draft', nullable=False),
    sa.Column('location_text', sa.Text(), server_default='', nullable=False),
    sa.Column('location', columns.GeoPoint(), nullable=True),
    sa.Column('attributes', postgresql.JSONB(astext_type=Text()), server_default='{}', nullable=False),
    sa.Column('is_customizable', sa.Boolean(), server_default='false', nullable=False),
    sa.Column('configuration_schema', postgresql.JSONB(astext_type=Text()), nullable=True),
    sa.Column('video_url', sa.Text(), nullable=True),
    sa.Column('outside_url', sa.Text(), nullable=True),
    sa.Column('outside_seller', postgresql.JSONB(astext_type=Text()), nullable=True),
    sa.Column('published_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('listed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('price_minor', sa.BigInteger(), nullable=True),
    sa.Column('price_to_minor', sa.BigInteger(), nullable=True),
    sa.Column('compare_at_minor', sa.BigInteger(), nullable=True),
    sa.Column('currency', sa.CHAR(length=3), nullable=True),
    sa.Column('unit', sa.Text(), nullable=True),
    sa.Column('in_stock', sa.Boolean(), server_default='false', nullable=False),
    sa.Column('image_id', sa.UUID(), nullable=True),
    sa.Column('rating_count', sa.Integer(), server_default='0', nullable=False),
    sa.Column('rating_sum', sa.Integer(), server_default='0', nullable=False),
    sa.Column('popularity', sa.REAL(), server_default='0', nullable=False),
    sa.Column('version', sa.Integer(), server_default='1', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("jsonb_typeof(attributes) = 'object'", name=op.f('ck_listings_attributes_object')),
    sa.CheckConstraint("status <> 'active' OR published_at IS NOT NULL", name=op.f('ck_listings_active_is_published')),
    sa.CheckConstraint("status IN ('draft', 'active', 'inactive', 'sold', 'removed')", name=op.f('ck_listings_status_known')),
    sa.CheckConstraint('(seller_id IS NULL) <> (source_id IS NULL)', name=op.f('ck_listings_seller_or_source')),
    sa.CheckConstraint('(source_id IS NULL) = (external_id IS NULL)', name=op.f('ck_listings_source_has_external_id')),
    sa.CheckConstraint('char_length(brand) <= 100', name=op.f('ck_listings_brand_length')),
    sa.CheckConstraint('char_length(description) <= 20000', name=op.f('ck_listings_description_length')),
    sa.CheckConstraint('char_length(title) BETWEEN 1 AND 255', name=op.f('ck_listings_title_length')),
    sa.ForeignKeyConstraint(['category_id'], ['categories.id'], name=op.f('fk_listings_category_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['condition'], ['conditions.code'], name=op.f('fk_listings_condition')),
    sa.ForeignKeyConstraint(['feed'], ['feeds.code'], name=op.f('fk_listings_feed')),
    sa.ForeignKeyConstraint(['kind'], ['listing_kinds.code'], name=op.f('fk_listings_kind')),
    sa.ForeignKeyConstraint(['seller_id'], ['users.id'], name=op.f('fk_listings_seller_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['source_id'], ['sources.id'], name=op.f('fk_listings_source_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_listings')),
    sa.UniqueConstraint('source_id', 'external_id', name=op.f('uq_listings_source_id_external_id')),
    comment="Something offered: product, service, supplier's product, or a listing seen on an outside market."
    )
    op.create_index('ix_listings_attributes', 'listings', [sa.literal_column('attributes jsonb_path_ops')], unique=False, postgresql_using='gin')
    op.create_index('ix_listings_brand', 'listings', ['brand'], unique=False, postgresql_where=sa.text('brand IS NOT NULL'))
    op.create_index('ix_listings_category_newest', 'listings', ['category_id', sa.literal_column('published_at DESC'), sa.literal_column('id DESC')], unique=False, postgresql_where=sa.text("status = 'active'"))
    op.create_index('ix_listings_feed_newest', 'listings', ['feed', sa.literal_column('published_at DESC'), sa.literal_column('id DESC')], unique=False, postgresql_where=sa.text("status = 'active'"))
    op.create_index('ix_listings_location', 'listings', ['location'], unique=False, postgresql_using='gist', postgresql_where=sa.text("status = 'active'"))
    op.create_index('ix_listings_newest', 'listings', [sa.literal_column('published_at DESC'), sa.literal_column('id DESC')], unique=False, postgresql_where=sa.text("status = 'active'"))
    op.create_index('ix_listings_popular', 'listings', [sa.literal_column('popularity DESC'), sa.literal_column('id DESC')], unique=False, postgresql_where=sa.text("status = 'active'"))
    op.create_index('ix_listings_price', 'listings', ['price_minor', 'id'], unique=False, postgresql_where=sa.text("status = 'active'"))
    op.create_index('ix_listings_seller_id_status', 'listings', ['seller_id', 'status', sa.literal_column('id DESC')], unique=False)
    op.create_table('order_states',
    sa.Column('process', sa.Text(), nullable=False),
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('documented', sa.Text(), nullable=False),
    sa.Column('tone', sa.Text(), server_default='info', nullable=False),
    sa.Column('is_open', sa.Boolean(), server_default='true', nullable=False),
    sa.Column('is_final', sa.Boolean(), server_default='false', nullable=False),
    sa.Column('position', sa.Integer(), server_default='0', nullable=False),
    sa.CheckConstraint("tone IN ('info', 'good', 'warn', 'bad', 'idle')", name=op.f('ck_order_states_tone_known')),
    sa.ForeignKeyConstraint(['process'], ['processes.code'], name=op.f('fk_order_states_process'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('process', 'code', name=op.f('pk_order_states')),
    comment="The states of a process, in the words and the spelling of the store's document."
    )
    op.create_table('outside_logins',
    sa.Column('provider', sa.Text(), nullable=False),
    sa.Column('subject', sa.Text(), nullable=False),
    sa.Column('user_id', sa.UUID(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("provider IN ('google', 'apple', 'facebook')", name=op.f('ck_outside_logins_provider_known')),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_outside_logins_user_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('provider', 'subject', name=op.f('pk_outside_logins')),
    comment='A sign-in at another provider that belongs to a person here.'
    )
    op.create_index('ix_outside_logins_user_id', 'outside_logins', ['user_id'], unique=False)
    op.create_table('payouts',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('seller_id', sa.UUID(), nullable=False),
    sa.Column('amount_minor', sa.BigInteger(), nullable=False),
    sa.Column('currency', sa.CHAR(length=3), nullable=False),
    sa.Column('state', sa.Text(), server_default='requested', nullable=False),
    sa.Column('gateway', sa.Text(), server_default='manual', nullable=False),
    sa.Column('gateway_ref', sa.Text(), nullable=True),
    sa.Column('error', sa.Text(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("state IN ('requested', 'paid', 'failed')", name=op.f('ck_payouts_state_known')),
    sa.CheckConstraint('amount_minor > 0', name=op.f('ck_payouts_amount_positive')),
    sa.ForeignKeyConstraint(['seller_id'], ['users.id'], name=op.f('fk_payouts_seller_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_payouts')),
    comment='Money paid out to a seller.'
    )
    op.create_index('ix_payouts_seller_id', 'payouts', ['seller_id', sa.literal_column('id DESC')], unique=False)
    op.create_index('uq_payouts_open', 'payouts', ['seller_id', 'currency'], unique=True, postgresql_where=sa.text("state = 'requested'"))
    op.create_table('refunds',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('payment_id', sa.UUID(), nullable=False),
    sa.Column('order_id', sa.UUID(), nullable=False),
    sa.Column('buyer_id', sa.UUID(), nullable=True),
    sa.Column('amount_minor', sa.BigInteger(), nullable=False),
    sa.Column('currency', sa.CHAR(length=3), nullable=False),
    sa.Column('reason', sa.Text(), server_default='', nullable=False),
    sa.Column('state', sa.Text(), server_default='requested', nullable=False),
    sa.Column('gateway_ref', sa.Text(), nullable=True),
    sa.Column('lines', postgresql.JSONB(astext_type=Text()), server_default='[]', nullable=False),
    sa.Column('requested_by', sa.UUID(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("state IN ('requested', 'success', 'failed')", name=op.f('ck_refunds_state_known')),
    sa.CheckConstraint('amount_minor > 0', name=op.f('ck_refunds_amount_positive')),
    sa.ForeignKeyConstraint(['payment_id'], ['payments.id'], name=op.f('fk_refunds_payment_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_refunds')),
    comment='Money given back, in whole or in part.'
    )
    op.create_index('ix_refunds_order_id', 'refunds', ['order_id'], unique=False)
    op.create_index('ix_refunds_payment_id', 'refunds', ['payment_id'], unique=False)
    op.create_index('ix_refunds_unsettled', 'refunds', ['created_at'], unique=False, postgresql_where=sa.text("state = 'requested'"))
    op.create_table('role_permissions',
    sa.Column('role', sa.Text(), nullable=False),
    sa.Column('permission', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['permission'], ['permissions.code'], name=op.f('fk_role_permissions_permission')),
    sa.ForeignKeyConstraint(['role'], ['roles.code'], name=op.f('fk_role_permissions_role'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('role', 'permission', name=op.f('pk_role_permissions')),
    comment='What each role may do.'
    )
    op.create_table('sessions',
    sa.Column('id_hash', sa.LargeBinary(), nullable=False),
    sa.Column('user_id', sa.UUID(), nullable=True),
    sa.Column('data', postgresql.JSONB(astext_type=Text()), server_default='{}', nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('last_seen_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('ip', postgresql.INET(), nullable=True),
    sa.Column('user_agent', sa.Text(), server_default='', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('char_length(user_agent) <= 400', name=op.f('ck_sessions_user_agent_length')),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_sessions_user_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id_hash', name=op.f('pk_sessions')),
    comment="A browser's visit, signed in or not; the cookie's token is stored as its SHA-256 only."
    )
    op.create_index('ix_sessions_expires_at', 'sessions', ['expires_at'], unique=False)
    op.create_index('ix_sessions_user_id', 'sessions', ['user_id'], unique=False)
    op.create_table('tokens',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('user_id', sa.UUID(), nullable=False),
    sa.Column('token_hash', sa.LargeBinary(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), server_default='', nullable=False),
    sa.Column('scopes', postgresql.ARRAY(Text()), server_default='{}', nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('last_used_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('revoked_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('device_info', postgresql.JSONB(astext_type=Text()), server_default='{}', nullable=False),
    sa.Column('ip', postgresql.INET(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("kind IN ('api', 'refresh', 'email', 'reset', 'sign_in')", name=op.f('ck_tokens_kind_known')),
    sa.CheckConstraint('char_length(name) <= 100', name=op.f('ck_tokens_name_length')),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_tokens_user_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_tokens')),
    sa.UniqueConstraint('token_hash', name=op.f('uq_tokens_token_hash')),
    comment='Bearer tokens of programs and one-time links of people, stored as SHA-256 only.'
    )
    op.create_index('ix_tokens_user_id', 'tokens', ['user_id'], unique=False)
    op.create_table('user_roles',
    sa.Column('user_id', sa.UUID(), nullable=False),
    sa.Column('role', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['role'], ['roles.code'], name=op.f('fk_user_roles_role')),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_user_roles_user_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('user_id', 'role', name=op.f('pk_user_roles')),
    comment='Which roles a person has.'
    )
    op.create_index('ix_user_roles_role', 'user_roles', ['role'], unique=False)
    op.create_table('likes',
    sa.Column('user_id', sa.UUID(), nullable=False),
    sa.Column('listing_id', sa.UUID(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['listing_id'], ['listings.id'], name=op.f('fk_likes_listing_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_likes_user_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('user_id', 'listing_id', name=op.f('pk_likes')),
    comment='Listings a person likes; a trigger counts them in listing_stats.'
    )
    op.create_index('ix_likes_listing_id', 'likes', ['listing_id'], unique=False)
    op.create_table('listing_attributes',
    sa.Column('listing_id', sa.UUID(), nullable=False),
    sa.Column('key', sa.Text(), nullable=False),
    sa.Column('value', sa.Text(), nullable=True),
    sa.Column('number', sa.Double(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['listing_id'], ['listings.id'], name=op.f('fk_listing_attributes_listing_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('listing_id', 'key', name=op.f('pk_listing_attributes')),
    comment='One row for each attribute of a listing, typed; a trigger derives them from listings.attributes.'
    )
    op.create_index('ix_listing_attributes_key_number', 'listing_attributes', ['key', 'number'], unique=False, postgresql_where=sa.text('number IS NOT NULL'))
    op.create_index('ix_listing_attributes_key_value', 'listing_attributes', ['key', 'value'], unique=False)
    op.create_table('listing_images',
    sa.Column('listing_id', sa.UUID(), nullable=False),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.Column('file_id', sa.UUID(), nullable=True),
    sa.Column('url', sa.Text(), nullable=True),
    sa.Column('width', sa.Integer(), nullable=True),
    sa.Column('height', sa.Integer(), nullable=True),
    sa.Column('bytes', sa.Integer(), nullable=True),
    sa.Column('format', sa.Text(), nullable=True),
    sa.Column('alt', sa.Text(), server_default='', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('(file_id IS NULL) <> (url IS NULL)', name=op.f('ck_listing_images_file_or_url')),
    sa.CheckConstraint('position >= 0', name=op.f('ck_listing_images_position_not_negative')),
    sa.ForeignKeyConstraint(['file_id'], ['files.id'], name=op.f('fk_listing_images_file_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['listing_id'], ['listings.id'], name=op.f('fk_listing_images_listing_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('listing_id', 'position', name=op.f('pk_listing_images')),
    comment='The pictures of a listing in order; position 0 is the one on cards.'
    )
    op.create_table('listing_stats',
    sa.Column('listing_id', sa.UUID(), nullable=False),
    sa.Column('views', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('likes', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('sold', sa.Numeric(precision=12, scale=3), server_default='0', nullable=False),
    sa.CheckConstraint('views >= 0 AND likes >= 0', name=op.f('ck_listing_stats_counts_not_negative')),
    sa.ForeignKeyConstraint(['listing_id'], ['listings.id'], name=op.f('fk_listing_stats_listing_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('listing_id', name=op.f('pk_listing_stats')),
    comment='Counters of a listing, apart from it because they change all the time.',
    postgresql_with={'fillfactor': '70'}
    )
    op.create_table('order_transitions',
    sa.Column('process', sa.Text(), nullable=False),
    sa.Column('from_state', sa.Text(), nullable=False),
    sa.Column('to_state', sa.Text(), nullable=False),
    sa.Column('actors', postgresql.ARRAY(Text()), nullable=False),
    sa.Column('label', sa.Text(), nullable=False),
    sa.Column('timer', sa.Interval(), nullable=True),
    sa.Column('effects', postgresql.ARRAY(Text()), server_default='{}', nullable=False),
    sa.CheckConstraint("actors <@ ARRAY['system','buyer','seller','staff','rider']", name=op.f('ck_order_transitions_actors_known')),
    sa.CheckConstraint('cardinality(actors) > 0', name=op.f('ck_order_transitions_actors_present')),
    sa.ForeignKeyConstraint(['process', 'from_state'], ['order_states.process', 'order_states.code'], name=op.f('fk_order_transitions_process_from_state'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['process', 'to_state'], ['order_states.process', 'order_states.code'], name=op.f('fk_order_transitions_process_to_state'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('process', 'from_state', 'to_state', name=op.f('pk_order_transitions')),
    comment='The moves of a process: who may make them, what they do to money and stock, and after what time by themselves.'
    )
    op.create_table('orders',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('number', sa.Text(), nullable=False),
    sa.Column('buyer_id', sa.UUID(), nullable=True),
    sa.Column('session_hash', sa.LargeBinary(), nullable=True),
    sa.Column('email_enc', sa.LargeBinary(), nullable=True),
    sa.Column('seller_ids', postgresql.ARRAY(sa.UUID()), server_default='{}', nullable=False),
    sa.Column('process', sa.Text(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('payment_state', sa.Text(), server_default='pending', nullable=False),
    sa.Column('currency', sa.CHAR(length=3), nullable=False),
    sa.Column('tax_inclusive', sa.Boolean(), server_default='true', nullable=False),
    sa.Column('subtotal_minor', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('discount_minor', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('points_minor', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('shipping_minor', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('tax_minor', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('included_tax_minor', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('total_minor', sa.BigInteger(), sa.Computed('subtotal_minor - discount_minor - points_minor + shipping_minor + tax_minor', persisted=True), nullable=True),
    sa.Column('points_spent', sa.Integer(), server_default='0', nullable=False),
    sa.Column('shipping_address_enc', sa.LargeBinary(), nullable=True),
    sa.Column('billing_address_enc', sa.LargeBinary(), nullable=True),
    sa.Column('payment_method', sa.Text(), nullable=False),
    sa.Column('shipping_method', sa.Text(), nullable=True),
    sa.Column('cart_id', sa.UUID(), nullable=True),
    sa.Column('explanation', postgresql.JSONB(astext_type=Text()), server_default='[]', nullable=False),
    sa.Column('note', sa.Text(), server_default='', nullable=False),
    sa.Column('requested_on', sa.Date(), nullable=True),
    sa.Column('placed_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('state_since', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('due_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("payment_state IN ('pending', 'paid', 'failed', 'partly_refunded', 'refunded')", name=op.f('ck_orders_payment_state_known')),
    sa.CheckConstraint('buyer_id IS NOT NULL OR session_hash IS NOT NULL', name=op.f('ck_orders_has_owner')),
    sa.CheckConstraint('char_length(note) <= 2000', name=op.f('ck_orders_note_length')),
    sa.CheckConstraint('discount_minor >= 0 AND points_minor >= 0 AND shipping_minor >= 0 AND tax_minor >= 0', name=op.f('ck_orders_parts_not_negative')),
    sa.CheckConstraint('subtotal_minor - discount_minor - points_minor + shipping_minor + tax_minor >= 0', name=op.f('ck_orders_total_not_negative')),
    sa.ForeignKeyConstraint(['buyer_id'], ['users.id'], name=op.f('fk_orders_buyer_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['process', 'state'], ['order_states.process', 'order_states.code'], name=op.f('fk_orders_process_state')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_orders')),
    sa.UniqueConstraint('cart_id', name=op.f('uq_orders_cart_id')),
    sa.UniqueConstraint('number', name=op.f('uq_orders_number')),
    comment='One purchase by one buyer, from one or more sellers. Totals are kept by triggers on its lines.'
    )
    op.create_index('ix_orders_buyer_id_placed_at', 'orders', ['buyer_id', sa.literal_column('placed_at DESC'), sa.literal_column('id DESC')], unique=False)
    op.create_index('ix_orders_due_at', 'orders', ['due_at'], unique=False, postgresql_where=sa.text('due_at IS NOT NULL'))
    op.create_index('ix_orders_placed_at', 'orders', [sa.literal_column('placed_at DESC'), sa.literal_column('id DESC')], unique=False)
    op.create_index('ix_orders_session_hash', 'orders', ['session_hash'], unique=False, postgresql_where=sa.text('session_hash IS NOT NULL'))
    op.create_index('ix_orders_state_placed_at', 'orders', ['state', sa.literal_column('placed_at DESC'), sa.literal_column('id DESC')], unique=False)
    op.create_table('price_history',
    sa.Column('listing_id', sa.UUID(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('amount_minor', sa.BigInteger(), nullable=True),
    sa.Column('currency', sa.CHAR(length=3), nullable=True),
    sa.Column('availability', sa.Text(), server_default='available', nullable=False),
    sa.CheckConstraint("availability IN ('available', 'sold', 'deleted')", name=op.f('ck_price_history_availability_known')),
    sa.ForeignKeyConstraint(['listing_id'], ['listings.id'], name=op.f('fk_price_history_listing_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('listing_id', 'at', name=op.f('pk_price_history')),
    comment='What a listing cost and whether it was to be had, each time that changed.'
    )
    op.create_table('reviews',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('listing_id', sa.UUID(), nullable=False),
    sa.Column('user_id', sa.UUID(), nullable=False),
    sa.Column('order_id', sa.UUID(), nullable=True),
    sa.Column('rating', sa.SmallInteger(), nullable=False),
    sa.Column('comment', sa.Text(), server_default='', nullable=False),
    sa.Column('reply', sa.Text(), nullable=True),
    sa.Column('replied_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('status', sa.Text(), server_default='shown', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("status IN ('shown', 'hidden')", name=op.f('ck_reviews_status_known')),
    sa.CheckConstraint('char_length(comment) <= 4000', name=op.f('ck_reviews_comment_length')),
    sa.CheckConstraint('char_length(reply) <= 4000', name=op.f('ck_reviews_reply_length')),
    sa.CheckConstraint('rating BETWEEN 1 AND 5', name=op.f('ck_reviews_rating_range')),
    sa.ForeignKeyConstraint(['listing_id'], ['listings.id'], name=op.f('fk_reviews_listing_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_reviews_user_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_reviews')),
    sa.UniqueConstraint('user_id', 'listing_id', name=op.f('uq_reviews_user_id_listing_id')),
    comment="One person's rating of one listing."
    )
    op.create_index('ix_reviews_listing_id_created_at', 'reviews', ['listing_id', sa.literal_column('created_at DESC'), sa.literal_column('id DESC')], unique=False)
    op.create_index('ix_reviews_listing_id_rating', 'reviews', ['listing_id', 'rating'], unique=False)
    op.create_table('variants',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('listing_id', sa.UUID(), nullable=False),
    sa.Column('position', sa.Integer(), server_default='0', nullable=False),
    sa.Column('sku', sa.Text(), nullable=True),
    sa.Column('options', postgresql.JSONB(astext_type=Text()), server_default='{}', nullable=False),
    sa.Column('unit', sa.Text(), nullable=False),
    sa.Column('sale_step', sa.Numeric(precision=12, scale=3), server_default='1', nullable=False),
    sa.Column('on_hand', sa.Numeric(precision=12, scale=3), nullable=True),
    sa.Column('reserved', sa.Numeric(precision=12, scale=3), server_default='0', nullable=False),
    sa.Column('backorder_until', sa.DateTime(timezone=True), nullable=True),
    sa.Column('expected_on', sa.Date(), nullable=True),
    sa.Column('is_active', sa.Boolean(), server_default='true', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('char_length(sku) BETWEEN 1 AND 100', name=op.f('ck_variants_sku_length')),
    sa.CheckConstraint('on_hand >= 0', name=op.f('ck_variants_on_hand_not_negative')),
    sa.CheckConstraint('on_hand IS NULL OR reserved <= on_hand OR backorder_until IS NOT NULL', name=op.f('ck_variants_not_oversold')),
    sa.CheckConstraint('reserved >= 0', name=op.f('ck_variants_reserved_not_negative')),
    sa.CheckConstraint('sale_step > 0', name=op.f('ck_variants_sale_step_positive')),
    sa.ForeignKeyConstraint(['listing_id'], ['listings.id'], name=op.f('fk_variants_listing_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['unit'], ['units.code'], name=op.f('fk_variants_unit')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_variants')),
    sa.UniqueConstraint('id', 'listing_id', name=op.f('uq_variants_id_listing_id')),
    sa.UniqueConstraint('listing_id', 'options', name=op.f('uq_variants_listing_id_options')),
    sa.UniqueConstraint('sku', name=op.f('uq_variants_sku')),
    comment='The sellable unit of a listing. `on_hand` null: stock is not tracked (services). Only triggers on reservations and stock_movements change `on_hand` and `reserved`.',
    postgresql_with={'fillfactor': '80'}
    )
    op.create_index('ix_variants_listing_id', 'variants', ['listing_id', 'position'], unique=False)
    op.create_table('wishlists',
    sa.Column('user_id', sa.UUID(), nullable=False),
    sa.Column('listing_id', sa.UUID(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.ForeignKeyConstraint(['listing_id'], ['listings.id'], name=op.f('fk_wishlists_listing_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_wishlists_user_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('user_id', 'listing_id', name=op.f('pk_wishlists')),
    comment='Listings a person has saved.'
    )
    op.create_index('ix_wishlists_listing_id', 'wishlists', ['listing_id'], unique=False)
    op.create_table('cart_lines',
    sa.Column('cart_id', sa.UUID(), nullable=False),
    sa.Column('line_no', sa.Integer(), nullable=False),
    sa.Column('variant_id', sa.UUID(), nullable=False),
    sa.Column('quantity', sa.Numeric(precision=12, scale=3), nullable=False),
    sa.Column('unit_price_minor', sa.BigInteger(), nullable=False),
    sa.Column('configuration', postgresql.JSONB(astext_type=Text()), server_default='{}', nullable=False),
    sa.Column('configuration_hash', sa.LargeBinary(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('quantity > 0', name=op.f('ck_cart_lines_quantity_positive')),
    sa.CheckConstraint('unit_price_minor >= 0', name=op.f('ck_cart_lines_price_not_negative')),
    sa.ForeignKeyConstraint(['cart_id'], ['carts.id'], name=op.f('fk_cart_lines_cart_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['variant_id'], ['variants.id'], name=op.f('fk_cart_lines_variant_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('cart_id', 'line_no', name=op.f('pk_cart_lines')),
    sa.UniqueConstraint('cart_id', 'variant_id', 'configuration_hash', name=op.f('uq_cart_lines_cart_id_variant_id_configuration_hash')),
    comment='One variant in a cart with the price it had when it was put there.'
    )
    op.create_index('ix_cart_lines_variant_id', 'cart_lines', ['variant_id'], unique=False)
    op.create_table('fulfilments',
    sa.Column('order_id', sa.UUID(), nullable=False),
    sa.Column('seller_id', sa.UUID(), nullable=False),
    sa.Column('buyer_id', sa.UUID(), nullable=True),
    sa.Column('session_hash', sa.LargeBinary(), nullable=True),
    sa.Column('process', sa.Text(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('state_since', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('due_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('shipping_minor', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('shipping_refunded_minor', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('shipping_method', sa.Text(), nullable=True),
    sa.Column('rider_id', sa.UUID(), nullable=True),
    sa.Column('carrier', sa.Text(), server_default='', nullable=False),
    sa.Column('tracking', sa.Text(), server_default='', nullable=False),
    sa.Column('opened_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('shipped_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('handed_over_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('proof', postgresql.JSONB(astext_type=Text()), server_default='{}', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('shipping_minor >= 0', name=op.f('ck_fulfilments_shipping_not_negative')),
    sa.CheckConstraint('shipping_refunded_minor BETWEEN 0 AND shipping_minor', name=op.f('ck_fulfilments_refund_within_shipping')),
    sa.CheckConstraint('char_length(carrier) <= 60', name=op.f('ck_fulfilments_carrier_length')),
    sa.CheckConstraint('char_length(tracking) <= 120', name=op.f('ck_fulfilments_tracking_length')),
    sa.ForeignKeyConstraint(['order_id'], ['orders.id'], name=op.f('fk_fulfilments_order_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['process', 'state'], ['order_states.process', 'order_states.code'], name=op.f('fk_fulfilments_process_state')),
    sa.ForeignKeyConstraint(['rider_id'], ['users.id'], name=op.f('fk_fulfilments_rider_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['seller_id'], ['users.id'], name=op.f('fk_fulfilments_seller_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('order_id', 'seller_id', name=op.f('pk_fulfilments')),
    comment="One seller's part of an order, on its own way through the order's process; the order follows the slowest."
    )
    op.create_index('ix_fulfilments_due_at', 'fulfilments', ['due_at'], unique=False, postgresql_where=sa.text('due_at IS NOT NULL'))
    op.create_index('ix_fulfilments_rider_id', 'fulfilments', ['rider_id'], unique=False, postgresql_where=sa.text('rider_id IS NOT NULL'))
    op.create_index('ix_fulfilments_seller_id_state', 'fulfilments', ['seller_id', 'state', sa.literal_column('order_id DESC')], unique=False)
    op.create_table('order_events',
    sa.Column('order_id', sa.UUID(), nullable=False),
    sa.Column('seq', sa.Integer(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('actor_id', sa.UUID(), nullable=True),
    sa.Column('actor_role', sa.Text(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('from_state', sa.Text(), nullable=True),
    sa.Column('to_state', sa.Text(), nullable=True),
    sa.Column('seller_id', sa.UUID(), nullable=True),
    sa.Column('buyer_id', sa.UUID(), nullable=True),
    sa.Column('session_hash', sa.LargeBinary(), nullable=True),
    sa.Column('reason', sa.Text(), server_default='', nullable=False),
    sa.Column('data', postgresql.JSONB(astext_type=Text()), server_default='{}', nullable=False),
    sa.ForeignKeyConstraint(['order_id'], ['orders.id'], name=op.f('fk_order_events_order_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('order_id', 'seq', name=op.f('pk_order_events')),
    comment='The history of an order, in order; never changed.'
    )
    op.create_table('order_lines',
    sa.Column('order_id', sa.UUID(), nullable=False),
    sa.Column('line_no', sa.Integer(), nullable=False),
    sa.Column('buyer_id', sa.UUID(), nullable=True),
    sa.Column('session_hash', sa.LargeBinary(), nullable=True),
    sa.Column('seller_id', sa.UUID(), nullable=False),
    sa.Column('listing_id', sa.UUID(), nullable=False),
    sa.Column('variant_id', sa.UUID(), nullable=False),
    sa.Column('title', sa.Text(), nullable=False),
    sa.Column('sku', sa.Text(), nullable=True),
    sa.Column('options', postgresql.JSONB(astext_type=Text()), server_default='{}', nullable=False),
    sa.Column('unit', sa.Text(), nullable=False),
    sa.Column('quantity', sa.Numeric(precision=12, scale=3), nullable=False),
    sa.Column('unit_price_minor', sa.BigInteger(), nullable=False),
    sa.Column('gross_minor', sa.BigInteger(), nullable=False),
    sa.Column('discount_minor', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('store_discount_minor', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('points_minor', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('tax_minor', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('included_tax_minor', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('total_minor', sa.BigInteger(), sa.Computed('gross_minor - discount_minor - points_minor + tax_minor', persisted=True), nullable=True),
    sa.Column('commission_minor', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('refunded_minor', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('returned_quantity', sa.Numeric(precision=12, scale=3), server_default='0', nullable=False),
    sa.Column('snapshot', postgresql.JSONB(astext_type=Text()), server_default='{}', nullable=False),
    sa.CheckConstraint('discount_minor >= 0 AND points_minor >= 0 AND discount_minor + points_minor <= gross_minor', name=op.f('ck_order_lines_discount_within_price')),
    sa.CheckConstraint('quantity > 0', name=op.f('ck_order_lines_quantity_positive')),
    sa.CheckConstraint('refunded_minor BETWEEN 0 AND gross_minor + tax_minor', name=op.f('ck_order_lines_refund_within_price')),
    sa.CheckConstraint('returned_quantity BETWEEN 0 AND quantity', name=op.f('ck_order_lines_returned_within_quantity')),
    sa.CheckConstraint('tax_minor >= 0 AND included_tax_minor >= 0 AND commission_minor >= 0', name=op.f('ck_order_lines_parts_not_negative')),
    sa.CheckConstraint('store_discount_minor BETWEEN 0 AND discount_minor', name=op.f('ck_order_lines_store_discount_within_discount')),
    sa.CheckConstraint('unit_price_minor >= 0 AND gross_minor >= 0', name=op.f('ck_order_lines_price_not_negative')),
    sa.ForeignKeyConstraint(['order_id', 'seller_id'], ['fulfilments.order_id', 'fulfilments.seller_id'], name=op.f('fk_order_lines_order_id_seller_id'), ondelete='CASCADE'),
    sa.ForeignKeyConstraint(['variant_id', 'listing_id'], ['variants.id', 'variants.listing_id'], name=op.f('fk_order_lines_variant_id_listing_id')),
    sa.PrimaryKeyConstraint('order_id', 'line_no', name=op.f('pk_order_lines')),
    comment="One thing bought, as it was when it was bought; it belongs to its seller's part of the order."
    )
    op.create_index('ix_order_lines_listing_id', 'order_lines', ['listing_id'], unique=False)
    op.create_index('ix_order_lines_seller_id', 'order_lines', ['seller_id'], unique=False)
    op.create_index('ix_order_lines_variant_id', 'order_lines', ['variant_id'], unique=False)
    op.create_table('prices',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('variant_id', sa.UUID(), nullable=False),
    sa.Column('currency', sa.CHAR(length=3), nullable=False),
    sa.Column('amount_minor', sa.BigInteger(), nullable=False),
    sa.Column('compare_at_minor', sa.BigInteger(), nullable=True),
    sa.Column('valid_from', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('valid_to', sa.DateTime(timezone=True), nullable=True),
    postgresql.ExcludeConstraint((sa.column('variant_id'), '='), (sa.column('currency'), '='), (sa.text('tstzrange(valid_from, valid_to)'), '&&'), using='gist', name='ex_prices_no_overlap'),
    sa.CheckConstraint('amount_minor >= 0', name=op.f('ck_prices_amount_not_negative')),
    sa.CheckConstraint('compare_at_minor > amount_minor', name=op.f('ck_prices_compare_at_is_higher')),
    sa.CheckConstraint('valid_to > valid_from', name=op.f('ck_prices_valid_period')),
    sa.ForeignKeyConstraint(['variant_id'], ['variants.id'], name=op.f('fk_prices_variant_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_prices')),
    comment='What a variant costs, in one currency, over a period; periods never overlap.'
    )
    op.create_index('ix_prices_variant_id', 'prices', ['variant_id', 'currency'], unique=False)
    op.create_table('reservations',
    sa.Column('order_id', sa.UUID(), nullable=False),
    sa.Column('variant_id', sa.UUID(), nullable=False),
    sa.Column('quantity', sa.Numeric(precision=12, scale=3), nullable=False),
    sa.Column('state', sa.Text(), server_default='held', nullable=False),
    sa.Column('returned', sa.Numeric(precision=12, scale=3), server_default='0', nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("state IN ('held', 'owed', 'sold', 'released')", name=op.f('ck_reservations_state_known')),
    sa.CheckConstraint('quantity > 0', name=op.f('ck_reservations_quantity_positive')),
    sa.CheckConstraint('returned BETWEEN 0 AND quantity', name=op.f('ck_reservations_returned_within_quantity')),
    sa.PrimaryKeyConstraint('order_id', 'variant_id', name=op.f('pk_reservations')),
    comment='Stock held for an order until it is paid or the time is up; owed: paid for, to come from the next delivery.'
    )
    op.create_index('ix_reservations_due', 'reservations', ['expires_at'], unique=False, postgresql_where=sa.text("state = 'held'"))
    op.create_index('ix_reservations_variant_id', 'reservations', ['variant_id'], unique=False, postgresql_where=sa.text("state IN ('held', 'owed')"))
    op.create_table('stock_movements',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('variant_id', sa.UUID(), nullable=False),
    sa.Column('quantity', sa.Numeric(precision=12, scale=3), nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('order_id', sa.UUID(), nullable=True),
    sa.Column('actor_id', sa.UUID(), nullable=True),
    sa.Column('note', sa.Text(), server_default='', nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("reason IN ('initial', 'sale', 'restock', 'return', 'correction', 'waste', 'stock_take', 'import')", name=op.f('ck_stock_movements_reason_known')),
    sa.CheckConstraint('quantity <> 0', name=op.f('ck_stock_movements_quantity_not_zero')),
    sa.ForeignKeyConstraint(['variant_id'], ['variants.id'], name=op.f('fk_stock_movements_variant_id'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_stock_movements')),
    comment='Every change of stock on hand with its cause; the sum is the stock.'
    )
    op.create_index('ix_stock_movements_variant_id_at', 'stock_movements', ['variant_id', 'at'], unique=False)
    op.create_table('line_configurations',
    sa.Column('order_id', sa.UUID(), nullable=False),
    sa.Column('line_no', sa.Integer(), nullable=False),
    sa.Column('flavor', sa.Text(), nullable=True),
    sa.Column('size', sa.Text(), nullable=True),
    sa.Column('frosting', sa.Text(), nullable=True),
    sa.Column('message', sa.Text(), nullable=True),
    sa.Column('image_file_id', sa.UUID(), nullable=True),
    sa.Column('extra_details', postgresql.JSONB(astext_type=Text()), server_default='{}', nullable=False),
    sa.CheckConstraint('char_length(flavor) <= 100', name=op.f('ck_line_configurations_flavor_length')),
    sa.CheckConstraint('char_length(frosting) <= 100', name=op.f('ck_line_configurations_frosting_length')),
    sa.CheckConstraint('char_length(size) <= 50', name=op.f('ck_line_configurations_size_length')),
    sa.ForeignKeyConstraint(['image_file_id'], ['files.id'], name=op.f('fk_line_configurations_image_file_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['order_id', 'line_no'], ['order_lines.order_id', 'order_lines.line_no'], name=op.f('fk_line_configurations_order_id_line_no'), ondelete='CASCADE'),
    sa.PrimaryKeyConstraint('order_id', 'line_no', name=op.f('pk_line_configurations')),
    comment='How a made-to-order line is to be made.'
    )
    op.create_index('ix_line_configurations_extra_details', 'line_configurations', ['extra_details'], unique=False, postgresql_using='gin')
    # ### end Alembic commands ###
