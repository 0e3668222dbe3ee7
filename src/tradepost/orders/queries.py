"""Every read of orders, and of the rules that price them."""

from sqlalchemy import text

TAX_RULES = text("""
    SELECT r.name, r.percent, c.path AS category_path, r.country, r.region
    FROM tax_rates r LEFT JOIN categories c ON c.id = r.category_id WHERE r.is_active
""")
SHIPPING_OPTIONS = text("""
    SELECT code, name, description, price_minor, free_from_minor, countries, is_pickup
    FROM shipping_options WHERE is_active ORDER BY position, code
""")
