"""Every read of payments and of the books."""

from sqlalchemy import text

COMMISSION_RULES = text("""
    SELECT r.id, r.name, r.percent, r.fixed_minor, r.currency, r.seller_id, c.path AS category_path, r.kind
    FROM commission_rules r LEFT JOIN categories c ON c.id = r.category_id WHERE r.is_active
""")
