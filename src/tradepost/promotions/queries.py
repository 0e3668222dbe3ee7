"""Every read of promo codes and points."""

from sqlalchemy import text

PROMOS_BY_CODE = text("""
    SELECT p.id, upper(p.code::text) AS code, p.kind, p.percent, p.amount_minor, p.currency, p.valid_from, p.valid_to,
           p.usage_limit, p.per_person_limit, p.used_count,
           (SELECT count(*)::int FROM promo_uses u WHERE u.promo_id = p.id AND u.person = :person AND u.state = 'used') AS used_by_me,
           p.minimum_minor, ARRAY(SELECT c.path FROM categories c WHERE c.id = ANY (p.category_ids)) AS category_paths,
           p.seller_id, p.stacks, p.is_active, p.description
    FROM promo_codes p WHERE p.code = ANY (CAST(:codes AS citext[]))
""")
POINTS = text("SELECT points FROM loyalty_accounts WHERE user_id = :user_id")
ENTRIES = text("""
    SELECT seq, at, points, kind, order_id, note, expires_at FROM loyalty_entries
    WHERE user_id = :user_id AND seq < :before ORDER BY seq DESC LIMIT :limit
""")
