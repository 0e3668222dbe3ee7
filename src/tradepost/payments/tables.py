"""Tables of payments and of the ledger."""

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Index,
    Integer,
    LargeBinary,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, UUID

from tradepost.core.columns import at_most, created, currency, key, minor, moment, one_of, reference, updated, words
from tradepost.core.database import metadata

payments = Table(
    "payments",
    metadata,
    key(),
    Column("order_id", UUID, nullable=False),
    Column("buyer_id", UUID),
    Column("session_hash", LargeBinary),
    words("purpose", default="full"),
    words("gateway"),
    words("method"),
    minor("amount_minor"),
    minor("refunded_minor", default=0),
    currency(),
    words("state", default="initiated"),
    words("gateway_ref", nullable=True),
    Column("is_offline", Boolean, nullable=False, server_default="false"),
    words("redirect_url", nullable=True),
    words("instructions", default=""),
    words("error", nullable=True),
    moment("charged_at", nullable=True),
    moment("checked_at", nullable=True),
    moment("settled_at", nullable=True),
    moment("disputed_at", nullable=True),
    created(),
    updated(),
    UniqueConstraint("gateway", "gateway_ref"),
    CheckConstraint("amount_minor >= 0", name="amount_not_negative"),
    CheckConstraint("refunded_minor BETWEEN 0 AND amount_minor", name="refunded_within_amount"),
    one_of("purpose", "full", "deposit", "balance", "late"),
    one_of("state", "initiated", "success", "failed", "refunded", "partly_refunded", "cancelled"),
    Index("uq_payments_open", "order_id", "purpose", unique=True,
          postgresql_where=text("purpose <> 'late' AND state IN ('initiated', 'success', 'refunded', 'partly_refunded')")),
    Index("ix_payments_order_id", "order_id"),
    Index("ix_payments_unsettled", "created_at", postgresql_where=text("state = 'initiated' AND NOT is_offline")),
    comment="One attempt to take money for an order; its id is the idempotency key at the gateway. Offline: cash, taken at "
    "the door. Late: money that came when the order no longer wanted it, and goes back.",
)  # fmt: skip

refunds = Table(
    "refunds",
    metadata,
    key(),
    reference("payment_id", "payments.id"),
    Column("order_id", UUID, nullable=False),
    Column("buyer_id", UUID),
    minor("amount_minor"),
    currency(),
    words("reason", default=""),
    words("state", default="requested"),
    words("gateway_ref", nullable=True),
    Column("lines", JSONB, nullable=False, server_default="[]"),
    Column("requested_by", UUID),
    created(),
    updated(),
    CheckConstraint("amount_minor > 0", name="amount_positive"),
    one_of("state", "requested", "success", "failed"),
    Index("ix_refunds_payment_id", "payment_id"),
    Index("ix_refunds_order_id", "order_id"),
    Index("ix_refunds_unsettled", "created_at", postgresql_where=text("state = 'requested'")),
    comment="Money given back, in whole or in part.",
)

gateway_events = Table(
    "gateway_events",
    metadata,
    words("gateway"),
    words("event_id"),
    moment("received_at", default_now=True),
    Column("body", JSONB, nullable=False),
    PrimaryKeyConstraint("gateway", "event_id"),
    comment="Webhook calls that were genuine, kept so that each is handled once and can be replayed.",
)

ledger_accounts = Table(
    "ledger_accounts",
    metadata,
    key(),
    words("kind"),
    Column("owner_id", UUID),
    words("name", default=""),
    currency(),
    UniqueConstraint("kind", "owner_id", "name", "currency", postgresql_nulls_not_distinct=True),
    one_of(
        "kind",
        "clearing",
        "buyer",
        "deposit",
        "seller",
        "held",
        "fee",
        "tax",
        "shipping",
        "points",
        "promotion",
        "payout",
        "loss",
    ),
    Index("ix_ledger_accounts_owner_id", "owner_id"),
    comment="Accounts of the books: a seller's balance, the platform's fee, money at a gateway (`name`), and so on.",
)

ledger_journals = Table(
    "ledger_journals",
    metadata,
    key(),
    words("kind"),
    words("reference"),
    Column("order_id", UUID),
    moment("at", default_now=True),
    UniqueConstraint("kind", "reference"),
    Index("ix_ledger_journals_order_id", "order_id"),
    comment="One money fact; (kind, reference) makes it impossible to book it twice.",
)

ledger_entries = Table(
    "ledger_entries",
    metadata,
    Column("journal_id", UUID, nullable=False),
    Column("line_no", Integer, nullable=False),
    Column("account_id", UUID, nullable=False),
    minor("amount_minor"),
    PrimaryKeyConstraint("journal_id", "line_no"),
    CheckConstraint("amount_minor <> 0", name="amount_not_zero"),
    Index("ix_ledger_entries_account_id", "account_id", "journal_id", postgresql_include=["amount_minor"]),
    comment="Debits (positive) and credits (negative) of a journal; per journal and currency they sum to 0. A trigger stands for "
    "the foreign keys.",
)

payouts = Table(
    "payouts",
    metadata,
    key(),
    reference("seller_id", "users.id"),
    minor("amount_minor"),
    currency(),
    words("state", default="requested"),
    words("gateway", default="manual"),
    words("gateway_ref", nullable=True),
    words("error", nullable=True),
    minor("reversed_minor", default=0),
    Column("run_id", UUID),
    Column("decided_by", UUID),
    moment("settled_at", nullable=True),
    created(),
    updated(),
    CheckConstraint("amount_minor > 0", name="amount_positive"),
    CheckConstraint("reversed_minor BETWEEN 0 AND amount_minor", name="reversed_within_amount"),
    one_of("state", "requested", "sent", "paid", "failed"),
    Index("ix_payouts_seller_id", "seller_id", text("id DESC")),
    Index("ix_payouts_created_at", text("created_at DESC"), text("id DESC")),
    Index(
        "uq_payouts_open", "seller_id", "currency", unique=True, postgresql_where=text("state IN ('requested', 'sent')")
    ),
    comment="Money paid out to a seller, by a gateway or by people (manual). Sent: the gateway has it and has not said yet.",
)

payout_accounts = Table(
    "payout_accounts",
    metadata,
    reference("seller_id", "users.id"),
    words("gateway"),
    words("account"),
    Column("can_be_paid", Boolean, nullable=False, server_default="false"),
    Column("missing", ARRAY(Text), nullable=False, server_default="{}"),
    created(),
    updated(),
    PrimaryKeyConstraint("seller_id", "gateway"),
    comment="A seller's account at a gateway that pays out, and what the gateway last said of it.",
)

payout_runs = Table(
    "payout_runs",
    metadata,
    key(),
    Column("started_by", UUID),
    moment("started_at", default_now=True),
    comment="Everybody paid out at once: by somebody, or (nobody) by the schedule.",
)

payout_reversals = Table(
    "payout_reversals",
    metadata,
    key(),
    reference("payout_id", "payouts.id"),
    reference("seller_id", "users.id"),
    minor("amount_minor"),
    currency(),
    words("state", default="requested"),
    words("gateway_ref", nullable=True),
    words("error", nullable=True),
    Column("requested_by", UUID),
    created(),
    updated(),
    CheckConstraint("amount_minor > 0", name="amount_positive"),
    one_of("state", "requested", "success", "failed"),
    Index("ix_payout_reversals_payout_id", "payout_id"),
    Index("ix_payout_reversals_seller_id", "seller_id"),
    comment="Money of a payout that its gateway fetches back, because refunds took more than the seller had.",
)

commission_rules = Table(
    "commission_rules",
    metadata,
    key(),
    words("name"),
    Column("percent", Numeric(5, 2), nullable=False, server_default="0"),
    minor("fixed_minor", default=0),
    currency(nullable=True),
    reference("seller_id", "users.id", nullable=True),
    reference("category_id", "categories.id", nullable=True),
    words("kind", nullable=True),
    Column("is_active", Boolean, nullable=False, server_default="true"),
    created(),
    updated(),
    UniqueConstraint("seller_id", "category_id", "kind", postgresql_nulls_not_distinct=True),
    CheckConstraint("percent >= 0 AND percent <= 100", name="percent_range"),
    CheckConstraint("fixed_minor >= 0 AND (fixed_minor = 0 OR currency IS NOT NULL)", name="fixed_not_negative"),
    at_most("name", 100),
    comment="What the store keeps of a line: percent and a fixed amount, for a seller, a category and all below it, a kind of "
    "listing, or everything; the most specific applies, the seller first.",
)

sandbox_charges = Table(
    "sandbox_charges",
    metadata,
    Column("payment_id", UUID, primary_key=True),
    words("ref"),
    minor("amount_minor"),
    minor("refunded_minor", default=0),
    currency(),
    words("behaviour"),
    words("state"),
    moment("due_at", nullable=True),
    Column("asked", Integer, nullable=False, server_default="1"),
    created(),
    updated(),
    UniqueConstraint("ref"),
    one_of("state", "open", "approved", "declined", "cancelled", "disputed"),
    CheckConstraint("refunded_minor BETWEEN 0 AND amount_minor", name="refunded_within_amount"),
    comment="The sandbox gateway's own books, as if it were another company: what it was asked to charge and what it did.",
)

sandbox_refunds = Table(
    "sandbox_refunds",
    metadata,
    Column("refund_id", UUID, primary_key=True),
    Column("payment_id", UUID, nullable=False),
    minor("amount_minor"),
    created(),
    Index("ix_sandbox_refunds_payment_id", "payment_id"),
    comment="The sandbox gateway's own record of money it gave back; its key makes a repeated request harmless.",
)

sandbox_payouts = Table(
    "sandbox_payouts",
    metadata,
    Column("payout_id", UUID, primary_key=True),
    words("account"),
    minor("amount_minor"),
    minor("reversed_minor", default=0),
    currency(),
    created(),
    CheckConstraint("reversed_minor BETWEEN 0 AND amount_minor", name="reversed_within_amount"),
    comment="The sandbox gateway's own record of money it paid to sellers; its key makes a repeated request harmless.",
)

sandbox_reversals = Table(
    "sandbox_reversals",
    metadata,
    Column("reversal_id", UUID, primary_key=True),
    Column("payout_id", UUID, nullable=False),
    minor("amount_minor"),
    created(),
    Index("ix_sandbox_reversals_payout_id", "payout_id"),
    comment="The sandbox gateway's own record of money it fetched back from sellers.",
)
