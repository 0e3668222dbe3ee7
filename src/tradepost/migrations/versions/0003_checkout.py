"""Checkout: promo codes, points, delivery windows, taxes, shipping, commission, returns, the sandbox gateway's books."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text
from sqlalchemy.dialects import postgresql

from tradepost.core import columns
from tradepost.migrations.script import run_file

revision = "0003"
down_revision = "0002"

TABLES = (
    "sandbox_charges",
    "sandbox_refunds",
    "shipping_options",
    "commission_rules",
    "delivery_slots",
    "loyalty_accounts",
    "loyalty_entries",
    "promo_codes",
    "tax_rates",
    "promo_uses",
    "slot_bookings",
    "returns",
)


def upgrade() -> None:
    """Apply."""
    create_tables()
    run_file(op, "0003_checkout.sql")


def downgrade() -> None:
    """Undo."""
    for table in reversed(TABLES):
        op.drop_table(table)
    for table in ("ledger_accounts", "ledger_entries"):
        op.execute(f"DROP POLICY actor ON {table}")
        op.execute(f"DROP POLICY reporting ON {table}")
        op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    for table in ("categories", "order_states", "order_transitions"):
        op.execute(f"DROP TRIGGER raise_rules_version ON {table}")
    for function in ("promo_uses_apply", "slot_bookings_apply", "loyalty_entries_number", "loyalty_entries_apply", "raise_rules_version"):
        op.execute(f"DROP FUNCTION {function}()")
    op.execute("DELETE FROM store_facts WHERE name = 'rules_version'")


def create_tables() -> None:
    """Create every table, constraint and index of this revision."""
    op.create_table('sandbox_charges',
    sa.Column('payment_id', sa.UUID(), nullable=False),
    sa.Column('ref', sa.Text(), nullable=False),
    sa.Column('amount_minor', sa.BigInteger(), nullable=False),
    sa.Column('refunded_minor', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('currency', sa.CHAR(length=3), nullable=False),
    sa.Column('behaviour', sa.Text(), nullable=False),
    sa.Column('state', sa.Text(), nullable=False),
    sa.Column('due_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('asked', sa.Integer(), server_default='1', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("state IN ('open', 'approved', 'declined', 'cancelled', 'disputed')", name=op.f('ck_sandbox_charges_state_known')),
    sa.CheckConstraint('refunded_minor BETWEEN 0 AND amount_minor', name=op.f('ck_sandbox_charges_refunded_within_amount')),
    sa.PrimaryKeyConstraint('payment_id', name=op.f('pk_sandbox_charges')),
    sa.UniqueConstraint('ref', name=op.f('uq_sandbox_charges_ref')),
    comment="The sandbox gateway's own books, as if it were another company: what it was asked to charge and what it did."
    )
    op.create_table('sandbox_refunds',
    sa.Column('refund_id', sa.UUID(), nullable=False),
    sa.Column('payment_id', sa.UUID(), nullable=False),
    sa.Column('amount_minor', sa.BigInteger(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.PrimaryKeyConstraint('refund_id', name=op.f('pk_sandbox_refunds')),
    comment="The sandbox gateway's own record of money it gave back; its key makes a repeated request harmless."
    )
    op.create_index('ix_sandbox_refunds_payment_id', 'sandbox_refunds', ['payment_id'], unique=False)
    op.create_table('shipping_options',
    sa.Column('code', sa.Text(), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('description', sa.Text(), server_default='', nullable=False),
    sa.Column('price_minor', sa.BigInteger(), nullable=False),
    sa.Column('free_from_minor', sa.BigInteger(), nullable=True),
    sa.Column('currency', sa.CHAR(length=3), nullable=False),
    sa.Column('countries', postgresql.ARRAY(Text()), server_default='{}', nullable=False),
    sa.Column('is_pickup', sa.Boolean(), server_default='false', nullable=False),
    sa.Column('is_active', sa.Boolean(), server_default='true', nullable=False),
    sa.Column('position', sa.Integer(), server_default='0', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('char_length(name) <= 100', name=op.f('ck_shipping_options_name_length')),
    sa.CheckConstraint('price_minor >= 0 AND free_from_minor > 0', name=op.f('ck_shipping_options_price_not_negative')),
    sa.PrimaryKeyConstraint('code', name=op.f('pk_shipping_options')),
    comment="A way of delivery, priced for each seller's part of an order; no countries: everywhere."
    )
    op.create_table('commission_rules',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('percent', sa.Numeric(precision=5, scale=2), server_default='0', nullable=False),
    sa.Column('fixed_minor', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('currency', sa.CHAR(length=3), nullable=True),
    sa.Column('seller_id', sa.UUID(), nullable=True),
    sa.Column('category_id', sa.UUID(), nullable=True),
    sa.Column('kind', sa.Text(), nullable=True),
    sa.Column('is_active', sa.Boolean(), server_default='true', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('char_length(name) <= 100', name=op.f('ck_commission_rules_name_length')),
    sa.CheckConstraint('fixed_minor >= 0 AND (fixed_minor = 0 OR currency IS NOT NULL)', name=op.f('ck_commission_rules_fixed_not_negative')),
    sa.CheckConstraint('percent >= 0 AND percent <= 100', name=op.f('ck_commission_rules_percent_range')),
    sa.ForeignKeyConstraint(['category_id'], ['categories.id'], name=op.f('fk_commission_rules_category_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['seller_id'], ['users.id'], name=op.f('fk_commission_rules_seller_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_commission_rules')),
    sa.UniqueConstraint('seller_id', 'category_id', 'kind', name=op.f('uq_commission_rules_seller_id_category_id_kind'), postgresql_nulls_not_distinct=True),
    comment='What the store keeps of a line: percent and a fixed amount, for a seller, a category and all below it, a kind of listing, or everything; the most specific applies, the seller first.'
    )
    op.create_table('delivery_slots',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('delivery_on', sa.Date(), nullable=False),
    sa.Column('starts_at', sa.Time(), nullable=False),
    sa.Column('ends_at', sa.Time(), nullable=False),
    sa.Column('capacity', sa.Integer(), nullable=False),
    sa.Column('taken', sa.Integer(), server_default='0', nullable=False),
    sa.Column('rider_id', sa.UUID(), nullable=True),
    sa.Column('status', sa.Text(), server_default='available', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("status IN ('available', 'assigned', 'completed')", name=op.f('ck_delivery_slots_status_known')),
    sa.CheckConstraint('capacity > 0', name=op.f('ck_delivery_slots_capacity_positive')),
    sa.CheckConstraint('ends_at > starts_at', name=op.f('ck_delivery_slots_ends_after_start')),
    sa.CheckConstraint('taken <= capacity', name=op.f('ck_delivery_slots_not_overbooked')),
    sa.CheckConstraint('taken >= 0', name=op.f('ck_delivery_slots_taken_not_negative')),
    sa.ForeignKeyConstraint(['rider_id'], ['users.id'], name=op.f('fk_delivery_slots_rider_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_delivery_slots')),
    sa.UniqueConstraint('delivery_on', 'starts_at', 'ends_at', 'rider_id', name=op.f('uq_delivery_slots_delivery_on_starts_at_ends_at_rider_id'), postgresql_nulls_not_distinct=True),
    comment="A window of a day in which so many orders can be brought, in the store's own time. Only a trigger on slot_bookings changes `taken`."
    )
    op.create_index('ix_delivery_slots_rider_id', 'delivery_slots', ['rider_id', 'delivery_on'], unique=False)
    op.create_table('loyalty_accounts',
    sa.Column('user_id', sa.UUID(), nullable=False),
    sa.Column('points', sa.Integer(), server_default='0', nullable=False),
    sa.Column('last_seq', sa.Integer(), server_default='0', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('points >= 0', name=op.f('ck_loyalty_accounts_points_not_negative')),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_loyalty_accounts_user_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('user_id', name=op.f('pk_loyalty_accounts')),
    comment="A person's points: always the sum of the entries, by trigger."
    )
    op.create_table('loyalty_entries',
    sa.Column('user_id', sa.UUID(), nullable=False),
    sa.Column('seq', sa.Integer(), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('points', sa.Integer(), nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('order_id', sa.UUID(), nullable=True),
    sa.Column('reference', sa.Text(), server_default='', nullable=False),
    sa.Column('note', sa.Text(), server_default='', nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.CheckConstraint("CASE kind WHEN 'earned' THEN points > 0 WHEN 'returned' THEN points > 0 WHEN 'adjusted' THEN true ELSE points < 0 END", name=op.f('ck_loyalty_entries_points_fit_kind')),
    sa.CheckConstraint("kind IN ('earned', 'spent', 'returned', 'reversed', 'expired', 'adjusted')", name=op.f('ck_loyalty_entries_kind_known')),
    sa.CheckConstraint('char_length(note) <= 300', name=op.f('ck_loyalty_entries_note_length')),
    sa.CheckConstraint('points <> 0', name=op.f('ck_loyalty_entries_points_not_zero')),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_loyalty_entries_user_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('user_id', 'seq', name=op.f('pk_loyalty_entries')),
    comment="Every change of a person's points, in order; never changed. One entry of a kind for an order and reference."
    )
    op.create_index('ix_loyalty_entries_expires_at', 'loyalty_entries', ['expires_at'], unique=False, postgresql_where=sa.text('expires_at IS NOT NULL'))
    op.create_index('uq_loyalty_entries_once', 'loyalty_entries', ['kind', 'order_id', 'reference'], unique=True, postgresql_where=sa.text('order_id IS NOT NULL'))
    op.create_table('promo_codes',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('code', columns.CaseInsensitive(), nullable=False),
    sa.Column('description', sa.Text(), server_default='', nullable=False),
    sa.Column('kind', sa.Text(), nullable=False),
    sa.Column('percent', sa.Numeric(precision=5, scale=2), nullable=True),
    sa.Column('amount_minor', sa.BigInteger(), nullable=True),
    sa.Column('currency', sa.CHAR(length=3), nullable=True),
    sa.Column('valid_from', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('valid_to', sa.DateTime(timezone=True), nullable=False),
    sa.Column('usage_limit', sa.Integer(), nullable=True),
    sa.Column('per_person_limit', sa.Integer(), nullable=True),
    sa.Column('used_count', sa.Integer(), server_default='0', nullable=False),
    sa.Column('minimum_minor', sa.BigInteger(), server_default='0', nullable=False),
    sa.Column('category_ids', postgresql.ARRAY(sa.UUID()), server_default='{}', nullable=False),
    sa.Column('seller_id', sa.UUID(), nullable=True),
    sa.Column('stacks', sa.Boolean(), server_default='false', nullable=False),
    sa.Column('is_active', sa.Boolean(), server_default='true', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("CASE kind WHEN 'percent' THEN percent > 0 AND percent <= 100 AND amount_minor IS NULL ELSE amount_minor > 0 AND currency IS NOT NULL AND percent IS NULL END", name=op.f('ck_promo_codes_amount_fits_kind')),
    sa.CheckConstraint("code::text ~ '^[A-Za-z0-9_-]{2,50}$'", name=op.f('ck_promo_codes_code_form')),
    sa.CheckConstraint("kind IN ('percent', 'fixed')", name=op.f('ck_promo_codes_kind_known')),
    sa.CheckConstraint('char_length(description) <= 300', name=op.f('ck_promo_codes_description_length')),
    sa.CheckConstraint('minimum_minor >= 0', name=op.f('ck_promo_codes_minimum_not_negative')),
    sa.CheckConstraint('usage_limit > 0 AND per_person_limit > 0', name=op.f('ck_promo_codes_limits_positive')),
    sa.CheckConstraint('used_count <= coalesce(usage_limit, used_count)', name=op.f('ck_promo_codes_within_limit')),
    sa.CheckConstraint('used_count >= 0', name=op.f('ck_promo_codes_used_not_negative')),
    sa.CheckConstraint('valid_to > valid_from', name=op.f('ck_promo_codes_valid_period')),
    sa.ForeignKeyConstraint(['seller_id'], ['users.id'], name=op.f('fk_promo_codes_seller_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_promo_codes')),
    sa.UniqueConstraint('code', name=op.f('uq_promo_codes_code')),
    comment='A code that takes something off. Only a trigger on promo_uses changes used_count.',
    postgresql_with={'fillfactor': '80'}
    )
    op.create_index('ix_promo_codes_valid', 'promo_codes', ['valid_from', 'valid_to'], unique=False, postgresql_where=sa.text('is_active'))
    op.create_table('tax_rates',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('name', sa.Text(), nullable=False),
    sa.Column('percent', sa.Numeric(precision=7, scale=4), nullable=False),
    sa.Column('category_id', sa.UUID(), nullable=True),
    sa.Column('country', sa.Text(), nullable=True),
    sa.Column('region', sa.Text(), nullable=True),
    sa.Column('is_active', sa.Boolean(), server_default='true', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint('char_length(name) <= 100', name=op.f('ck_tax_rates_name_length')),
    sa.CheckConstraint('percent >= 0 AND percent < 100', name=op.f('ck_tax_rates_percent_range')),
    sa.CheckConstraint('region IS NULL OR country IS NOT NULL', name=op.f('ck_tax_rates_region_has_country')),
    sa.ForeignKeyConstraint(['category_id'], ['categories.id'], name=op.f('fk_tax_rates_category_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_tax_rates')),
    sa.UniqueConstraint('category_id', 'country', 'region', name=op.f('uq_tax_rates_category_id_country_region'), postgresql_nulls_not_distinct=True),
    comment='A tax rate for a category and all below it, a country or region, both or everything; the most specific applies.'
    )
    op.create_table('promo_uses',
    sa.Column('promo_id', sa.UUID(), nullable=False),
    sa.Column('order_id', sa.UUID(), nullable=False),
    sa.Column('buyer_id', sa.UUID(), nullable=True),
    sa.Column('person', sa.Text(), nullable=False),
    sa.Column('discount_minor', sa.BigInteger(), nullable=False),
    sa.Column('state', sa.Text(), server_default='used', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("state IN ('used', 'given_back')", name=op.f('ck_promo_uses_state_known')),
    sa.CheckConstraint('discount_minor >= 0', name=op.f('ck_promo_uses_discount_not_negative')),
    sa.ForeignKeyConstraint(['promo_id'], ['promo_codes.id'], name=op.f('fk_promo_uses_promo_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('promo_id', 'order_id', name=op.f('pk_promo_uses')),
    comment="A promo code's use by an order. `person`: the account, or a guest's e-mail address as a blind index."
    )
    op.create_index('ix_promo_uses_order_id', 'promo_uses', ['order_id'], unique=False)
    op.create_index('ix_promo_uses_person', 'promo_uses', ['promo_id', 'person'], unique=False, postgresql_where=sa.text("state = 'used'"))
    op.create_table('slot_bookings',
    sa.Column('order_id', sa.UUID(), nullable=False),
    sa.Column('slot_id', sa.UUID(), nullable=False),
    sa.Column('state', sa.Text(), server_default='booked', nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("state IN ('booked', 'given_back')", name=op.f('ck_slot_bookings_state_known')),
    sa.ForeignKeyConstraint(['slot_id'], ['delivery_slots.id'], name=op.f('fk_slot_bookings_slot_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('order_id', name=op.f('pk_slot_bookings')),
    comment='The delivery window an order has taken.'
    )
    op.create_index('ix_slot_bookings_slot_id', 'slot_bookings', ['slot_id'], unique=False)
    op.create_table('returns',
    sa.Column('id', sa.UUID(), server_default=sa.text('uuidv7()'), nullable=False),
    sa.Column('order_id', sa.UUID(), nullable=False),
    sa.Column('seller_id', sa.UUID(), nullable=False),
    sa.Column('buyer_id', sa.UUID(), nullable=True),
    sa.Column('session_hash', sa.LargeBinary(), nullable=True),
    sa.Column('state', sa.Text(), server_default='requested', nullable=False),
    sa.Column('reason', sa.Text(), nullable=False),
    sa.Column('comment', sa.Text(), server_default='', nullable=False),
    sa.Column('lines', postgresql.JSONB(astext_type=Text()), nullable=False),
    sa.Column('answer', sa.Text(), server_default='', nullable=False),
    sa.Column('decided_by', sa.UUID(), nullable=True),
    sa.Column('decided_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('refund_id', sa.UUID(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), server_default=sa.text('now()'), nullable=False),
    sa.CheckConstraint("reason IN ('damaged', 'wrong_item', 'not_as_described', 'late', 'does_not_fit', 'changed_mind', 'other')", name=op.f('ck_returns_reason_known')),
    sa.CheckConstraint("state IN ('requested', 'accepted', 'rejected', 'received', 'withdrawn')", name=op.f('ck_returns_state_known')),
    sa.CheckConstraint('char_length(answer) <= 2000', name=op.f('ck_returns_answer_length')),
    sa.CheckConstraint('char_length(comment) <= 2000', name=op.f('ck_returns_comment_length')),
    sa.ForeignKeyConstraint(['order_id'], ['orders.id'], name=op.f('fk_returns_order_id'), ondelete='RESTRICT'),
    sa.ForeignKeyConstraint(['seller_id'], ['users.id'], name=op.f('fk_returns_seller_id'), ondelete='RESTRICT'),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_returns')),
    comment="A buyer's wish to give goods back to one seller, and what became of it."
    )
    op.create_index('ix_returns_order_id', 'returns', ['order_id'], unique=False)
    op.create_index('ix_returns_seller_id_state', 'returns', ['seller_id', 'state'], unique=False)
