"""Every read of orders, and of the rules that price them."""

from sqlalchemy import text

TAX_RULES = text("""
    SELECT r.name, r.percent, c.path AS category_path, r.country, r.region
    FROM tax_rates r LEFT JOIN categories c ON c.id = r.category_id WHERE r.is_active
""")
SHIPPING_OPTIONS = text("""
    SELECT code, name, description, price_minor, free_from_minor, countries, is_pickup, by_distance
    FROM shipping_options WHERE is_active ORDER BY position, code
""")

_WHO = "coalesce(u.business_name, u.display_name)"
ORDER = text(f"""
    SELECT o.id, o.number, o.process, o.state, s.name AS state_name, s.tone, s.is_open, s.is_final, o.payment_state, o.payment_method,
           o.shipping_method, o.currency, o.tax_inclusive, o.subtotal_minor, o.discount_minor, o.points_minor, o.shipping_minor,
           o.tax_minor, o.included_tax_minor, o.total_minor, o.points_spent, o.placed_at, o.due_at, o.requested_on, o.note, o.buyer_id, o.session_hash,
           o.seller_ids, o.email_enc, o.shipping_address_enc, o.billing_address_enc, o.explanation,
           {_WHO} AS buyer_name, (SELECT value FROM store_facts WHERE name = 'rules_version') AS rules_version
    FROM orders o JOIN order_states s ON (s.process, s.code) = (o.process, o.state) LEFT JOIN users u ON u.id = o.buyer_id
    WHERE o.number = :number OR o.id = :order_id
""")
LINES = text("""
    SELECT line_no, seller_id, listing_id, variant_id, coalesce(snapshot ->> 'slug', '') AS slug, title, sku,
           CAST(snapshot ->> 'image_id' AS uuid) AS image_id, options, coalesce(snapshot -> 'configuration', '{}') AS configuration,
           unit, quantity, unit_price_minor, gross_minor, discount_minor, points_minor, tax_minor, included_tax_minor, total_minor,
           refunded_minor, returned_quantity
    FROM order_lines WHERE order_id = :order_id ORDER BY line_no
""")
PARTS = text(f"""
    SELECT f.seller_id, {_WHO} AS seller_name, u.username AS seller_username, f.state, s.name AS state_name, s.tone, s.is_open,
           f.shipping_minor, f.shipping_method, f.carrier, f.tracking, f.rider_id, f.opened_at, f.shipped_at, f.handed_over_at, f.due_at
    FROM fulfilments f JOIN order_states s ON (s.process, s.code) = (f.process, f.state) JOIN users u ON u.id = f.seller_id
    WHERE f.order_id = :order_id ORDER BY f.seller_id
""")
EVENTS = text(f"""
    SELECT e.seq, e.at, e.kind, e.actor_role, {_WHO} AS actor_name, e.from_state, e.to_state, s.name AS state_name, e.seller_id,
           coalesce(v.business_name, v.display_name) AS seller_name, e.reason
    FROM order_events e JOIN orders o ON o.id = e.order_id LEFT JOIN order_states s ON (s.process, s.code) = (o.process, e.to_state)
    LEFT JOIN users u ON u.id = e.actor_id LEFT JOIN users v ON v.id = e.seller_id
    WHERE e.order_id = :order_id ORDER BY e.seq
""")
_CARD = f"""
    SELECT o.id, o.number, o.state, s.name AS state_name, s.tone, s.is_open, o.payment_state, o.currency, o.total_minor, o.placed_at,
           coalesce({_WHO}, '') AS buyer_name, l.line_count, l.titles, l.image_ids
    FROM orders o JOIN order_states s ON (s.process, s.code) = (o.process, o.state) LEFT JOIN users u ON u.id = o.buyer_id
    CROSS JOIN LATERAL (
        SELECT count(*) AS line_count, (array_agg(title ORDER BY line_no))[1:3] AS titles,
               (array_remove(array_agg(CAST(snapshot ->> 'image_id' AS uuid) ORDER BY line_no), NULL))[1:4] AS image_ids
        FROM order_lines WHERE order_id = o.id
    ) l
"""
_AFTER = "(o.placed_at, o.id) < (:after_at, :after_id) ORDER BY o.placed_at DESC, o.id DESC LIMIT :limit"
CARDS_OF_BUYER = text(f"{_CARD} WHERE o.buyer_id = :user_id AND {_AFTER}")
CARDS_OF_SESSION = text(f"{_CARD} WHERE o.session_hash = :session AND {_AFTER}")
ALL_CARDS = text(f"""
    {_CARD} WHERE (CAST(:state AS text) IS NULL OR o.state = :state) AND (CAST(:search AS text) = '' OR o.number ILIKE :search) AND {_AFTER}
""")
# A part is on its seller's board once it is paid for, and before where the seller has a say: a booking to accept.
_ON_BOARD = (
    "seller_id = :seller_id AND (opened_at IS NOT NULL OR process || ':' || state = ANY (CAST(:states AS text[])))"
)
BOARD_COUNTS = text(f"""
    SELECT process, state, count(*) AS parts FROM fulfilments WHERE {_ON_BOARD} GROUP BY process, state
""")
BOARD_CARDS = text(f"""
    SELECT f.order_id, o.number, f.process, f.state, o.placed_at, f.opened_at, coalesce(f.due_at, o.due_at) AS due_at, o.requested_on, coalesce({_WHO}, '') AS buyer_name,
           o.shipping_address_enc, f.shipping_method, o.currency,
           CAST(l.total + f.shipping_minor AS bigint) AS total_minor,
           CAST(l.earns + f.shipping_minor - f.shipping_refunded_minor AS bigint) AS earns_minor,
           l.line_count, l.titles, l.quantities, l.image_ids
    FROM (
        SELECT *, row_number() OVER (PARTITION BY process, state ORDER BY
            CASE WHEN due_at IS NULL THEN 1 ELSE 0 END, due_at, opened_at) AS place
        FROM fulfilments WHERE {_ON_BOARD}
    ) f JOIN orders o ON o.id = f.order_id LEFT JOIN users u ON u.id = o.buyer_id
    CROSS JOIN LATERAL (
        SELECT count(*) AS line_count, sum(total_minor) AS total,
               sum(gross_minor - discount_minor + store_discount_minor - included_tax_minor - commission_minor) AS earns,
               (array_agg(title ORDER BY line_no))[1:4] AS titles,
               (array_agg(CAST(trim_scale(quantity) AS text) ORDER BY line_no))[1:4] AS quantities,
               (array_remove(array_agg(CAST(snapshot ->> 'image_id' AS uuid) ORDER BY line_no), NULL))[1:4] AS image_ids
        FROM order_lines WHERE order_id = f.order_id AND seller_id = f.seller_id
    ) l
    WHERE f.place <= :limit ORDER BY f.process, f.state, f.place
""")
PART_OWNERS = text("SELECT rider_id FROM fulfilments WHERE order_id = :order_id AND rider_id IS NOT NULL")
