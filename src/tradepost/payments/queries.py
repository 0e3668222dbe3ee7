"""Every read of payments and of the books."""

from sqlalchemy import text

COMMISSION_RULES = text("""
    SELECT r.id, r.name, r.percent, r.fixed_minor, r.currency, r.seller_id, c.path AS category_path, r.kind
    FROM commission_rules r LEFT JOIN categories c ON c.id = r.category_id WHERE r.is_active
""")
SELLER_BY_NAME = text("SELECT id FROM users WHERE username = :username AND erased_at IS NULL")
PAYMENTS_OF_ORDER = text("""
    SELECT id, purpose, gateway, method, amount_minor, refunded_minor, state, is_offline, redirect_url, instructions, error, created_at,
           settled_at
    FROM payments WHERE order_id = :order_id ORDER BY created_at, id
""")
REFUNDS_OF_ORDER = text("""
    SELECT r.id, r.amount_minor, r.reason, r.state, r.created_at, p.gateway FROM refunds r JOIN payments p ON p.id = r.payment_id
    WHERE r.order_id = :order_id ORDER BY r.created_at, r.id
""")
