-- The bakery's document: its tables and views under the names, types and spellings it gives them.
GRANT SELECT (user_id, provider, created_at) ON outside_logins TO tradepost_readonly;

CREATE VIEW documented.users WITH (security_invoker = true) AS
SELECT u.id, u.display_name::varchar(255) AS name, u.email::varchar(255) AS email,
       '!'::varchar(255) AS password_hash,  -- never shown; no password matches it
       coalesce((SELECT r.role FROM user_roles r WHERE r.user_id = u.id AND r.role IN ('customer', 'rider', 'staff', 'admin')
                 ORDER BY array_position(ARRAY['admin', 'staff', 'rider', 'customer'], r.role) LIMIT 1), 'customer')::varchar(50) AS role,
       NULL::varchar(50) AS phone,  -- encrypted
       documented.picture_url(u.avatar_file_id, NULL)::varchar(500) AS avatar_url,
       (SELECT o.provider FROM outside_logins o WHERE o.user_id = u.id ORDER BY o.created_at, o.provider LIMIT 1)::varchar(20) AS social_provider,
       u.created_at, u.updated_at
FROM users u;

CREATE VIEW documented.products WITH (security_invoker = true) AS
SELECT l.id, l.title::varchar(255) AS name, l.description,
       major_units(l.price_minor, l.currency)::numeric(8, 2) AS price,
       c.slug::varchar(100) AS category,
       CASE WHEN l.status = 'active' THEN s.stock ELSE 0 END AS stock,  -- null: made to order, not counted
       (SELECT documented.picture_url(i.file_id, i.url) FROM listing_images i
        WHERE i.listing_id = l.id ORDER BY i.position LIMIT 1)::varchar(500) AS image_url,
       l.is_customizable, l.created_at, l.updated_at
FROM listings l
JOIN categories c ON c.id = l.category_id
CROSS JOIN LATERAL (
    SELECT greatest(sum(v.on_hand - v.reserved), 0)::integer AS stock FROM variants v
    WHERE v.listing_id = l.id AND v.is_active AND v.on_hand IS NOT NULL HAVING count(*) > 0
    UNION ALL SELECT NULL WHERE NOT EXISTS (
        SELECT FROM variants v WHERE v.listing_id = l.id AND v.is_active AND v.on_hand IS NOT NULL)
) s
WHERE l.status <> 'draft';

CREATE VIEW documented.orders WITH (security_invoker = true) AS
SELECT o.id, o.buyer_id AS user_id,
       major_units(o.total_minor, o.currency)::numeric(8, 2) AS total_amount,
       s.documented::varchar(20) AS status,
       CASE o.payment_state WHEN 'partly_refunded' THEN 'paid' WHEN 'deposit_paid' THEN 'pending' ELSE o.payment_state END::varchar(20) AS payment_status,
       (SELECT p.gateway_ref FROM payments p WHERE p.order_id = o.id
        ORDER BY p.state IN ('success', 'partly_refunded', 'refunded') DESC, p.created_at DESC, p.id DESC LIMIT 1)::varchar(255) AS payment_reference,
       (SELECT b.slot_id FROM slot_bookings b WHERE b.order_id = o.id AND b.state = 'booked') AS delivery_schedule_id,
       o.placed_at AS created_at, o.updated_at
FROM orders o
JOIN order_states s ON s.process = o.process AND s.code = o.state;

CREATE VIEW documented.order_items WITH (security_invoker = true) AS
SELECT documented.part_id(l.order_id, l.line_no::text) AS id, l.order_id, l.listing_id AS product_id,
       l.quantity::integer AS quantity,
       major_units(l.unit_price_minor, o.currency)::numeric(8, 2) AS unit_price,
       major_units(l.gross_minor, o.currency)::numeric(8, 2) AS subtotal
FROM order_lines l
JOIN orders o ON o.id = l.order_id;

CREATE VIEW documented.reviews WITH (security_invoker = true) AS
SELECT r.id, r.user_id, r.listing_id AS product_id, r.rating::integer AS rating, r.comment, r.created_at
FROM reviews r
WHERE r.status = 'shown';

CREATE VIEW documented.loyalty_points WITH (security_invoker = true) AS
SELECT a.user_id AS id, a.user_id, a.points, a.updated_at
FROM loyalty_accounts a;

CREATE VIEW documented.promo_codes WITH (security_invoker = true) AS
SELECT p.id, p.code::varchar(50) AS code, p.kind::varchar(20) AS discount_type,
       CASE p.kind WHEN 'percent' THEN p.percent ELSE major_units(p.amount_minor, p.currency) END::numeric(8, 2) AS amount,
       p.valid_from, p.valid_to, p.usage_limit, p.used_count
FROM promo_codes p;

CREATE VIEW documented.delivery_schedules WITH (security_invoker = true) AS
SELECT s.id, s.delivery_on AS delivery_date,
       (to_char(s.starts_at, 'HH24:MI') || '-' || to_char(s.ends_at, 'HH24:MI'))::varchar(20) AS delivery_time,
       s.rider_id, s.status::varchar(20) AS status
FROM delivery_slots s;

CREATE VIEW documented.custom_cake_configurations WITH (security_invoker = true) AS
SELECT documented.part_id(c.order_id, c.line_no::text) AS id, c.order_id,
       c.flavor::varchar(100) AS flavor, c.size::varchar(50) AS size, c.frosting::varchar(100) AS frosting, c.message,
       documented.picture_url(c.image_file_id, NULL)::varchar(500) AS image_reference, c.extra_details
FROM line_configurations c;

-- In the types of the document, for the products it has; the other two views of sums are as everywhere.
DROP VIEW documented.product_stats;
CREATE VIEW documented.product_stats WITH (security_invoker = true) AS
SELECT p.id, p.name, p.category, p.price, p.stock,
       CASE WHEN l.rating_count > 0 THEN l.rating_sum::numeric / l.rating_count ELSE 0 END AS avg_rating,
       l.rating_count::bigint AS review_count, coalesce(s.total_sold, 0) AS total_sold
FROM documented.products p
JOIN listings l ON l.id = p.id
LEFT JOIN (SELECT listing_id, sum(quantity)::bigint AS total_sold FROM sales_by_listing GROUP BY listing_id) s ON s.listing_id = p.id;
