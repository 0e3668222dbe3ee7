-- The shop's document. A product there has one SKU, one price and one stock: it is a variant here. Times have no zone: UTC.
GRANT SELECT (id_hash, user_id, expires_at, created_at, last_seen_at) ON sessions TO tradepost_readonly;
DROP POLICY IF EXISTS documented ON sessions;
CREATE POLICY documented ON sessions FOR SELECT TO tradepost_readonly USING (true);

CREATE VIEW documented.categories WITH (security_invoker = true) AS
SELECT c.id, c.name::varchar(100) AS name, c.description, c.parent_id, c.slug::varchar(100) AS slug, c.is_active,
       c.created_at AT TIME ZONE 'UTC' AS created_at, c.updated_at AT TIME ZONE 'UTC' AS updated_at
FROM categories c;

CREATE VIEW documented.products WITH (security_invoker = true) AS
SELECT v.id,
       CASE WHEN v.options = '{}' THEN l.title
            ELSE l.title || ' (' || (SELECT string_agg(o.value, ', ' ORDER BY o.key) FROM jsonb_each_text(v.options) o) || ')'
       END::varchar(255) AS name,
       l.description,
       major_units(p.amount_minor, p.currency)::numeric(10, 2) AS price,
       l.category_id, l.brand::varchar(100) AS brand, v.sku::varchar(100) AS sku,
       greatest(v.on_hand - v.reserved, 0)::integer AS stock_quantity,  -- null: not counted
       (SELECT documented.picture_url(i.file_id, i.url) FROM listing_images i
        WHERE i.listing_id = l.id ORDER BY i.position LIMIT 1)::varchar(500) AS image_url,
       l.attributes || v.options AS specifications,
       l.status = 'active' AND v.is_active AS is_active,
       v.created_at AT TIME ZONE 'UTC' AS created_at,
       greatest(l.updated_at, v.updated_at) AT TIME ZONE 'UTC' AS updated_at
FROM variants v
JOIN listings l ON l.id = v.listing_id
LEFT JOIN LATERAL (
    SELECT p.amount_minor, p.currency FROM prices p JOIN store_facts f ON f.name = 'currency' AND f.value = p.currency
    WHERE p.variant_id = v.id AND p.valid_from <= now() AND (p.valid_to IS NULL OR p.valid_to > now())
    ORDER BY p.valid_from DESC LIMIT 1
) p ON true
WHERE l.status <> 'draft';

CREATE VIEW documented.users WITH (security_invoker = true) AS
SELECT u.id, u.username::varchar(100) AS username, u.email::varchar(255) AS email,
       '!'::varchar(255) AS password_hash,  -- never shown; no password matches it
       u.first_name::varchar(100) AS first_name, u.last_name::varchar(100) AS last_name,
       NULL::varchar(20) AS phone,  -- encrypted
       u.is_active, u.created_at AT TIME ZONE 'UTC' AS created_at, u.updated_at AT TIME ZONE 'UTC' AS updated_at
FROM users u;

CREATE VIEW documented.orders WITH (security_invoker = true) AS
SELECT o.id, o.buyer_id AS user_id, o.number::varchar(50) AS order_number, s.documented::varchar(50) AS status,
       major_units(o.total_minor, o.currency)::numeric(10, 2) AS total_amount,
       major_units(o.tax_minor + o.included_tax_minor, o.currency)::numeric(10, 2) AS tax_amount,
       NULL::jsonb AS shipping_address, NULL::jsonb AS billing_address,  -- encrypted
       o.payment_method::varchar(50) AS payment_method, o.payment_state::varchar(50) AS payment_status,
       o.placed_at AT TIME ZONE 'UTC' AS created_at, o.updated_at AT TIME ZONE 'UTC' AS updated_at
FROM orders o
JOIN order_states s ON s.process = o.process AND s.code = o.state;

CREATE VIEW documented.order_items WITH (security_invoker = true) AS
SELECT documented.part_id(l.order_id, l.line_no::text) AS id, l.order_id, l.variant_id AS product_id, l.quantity::integer AS quantity,
       major_units(l.unit_price_minor, o.currency)::numeric(10, 2) AS unit_price,
       major_units(l.total_minor, o.currency)::numeric(10, 2) AS total_price,
       o.placed_at AT TIME ZONE 'UTC' AS created_at
FROM order_lines l
JOIN orders o ON o.id = l.order_id;

CREATE VIEW documented.sessions WITH (security_invoker = true) AS
SELECT md5(s.id_hash)::uuid AS id, encode(s.id_hash, 'hex')::varchar(255) AS session_id, s.user_id,
       NULL::jsonb AS data,  -- what somebody told the assistant is not for reports
       s.expires_at AT TIME ZONE 'UTC' AS expires_at, s.created_at AT TIME ZONE 'UTC' AS created_at,
       s.last_seen_at AT TIME ZONE 'UTC' AS updated_at
FROM sessions s;

-- The cart of a person is theirs in every session, so their id stands for the session.
CREATE VIEW documented.cart_items WITH (security_invoker = true) AS
SELECT documented.part_id(l.cart_id, l.line_no::text) AS id,
       coalesce(encode(c.session_hash, 'hex'), c.user_id::text)::varchar(255) AS session_id,
       l.variant_id AS product_id, l.quantity::integer AS quantity,
       l.created_at AT TIME ZONE 'UTC' AS created_at, l.updated_at AT TIME ZONE 'UTC' AS updated_at
FROM cart_lines l
JOIN carts c ON c.id = l.cart_id;

CREATE VIEW documented.analytics WITH (security_invoker = true) AS
SELECT e.id, e.kind::varchar(100) AS event_type, e.user_id, encode(e.session_hash, 'hex')::varchar(255) AS session_id, e.data,
       e.at AT TIME ZONE 'UTC' AS created_at
FROM events e
UNION ALL
SELECT a.id, a.kind::varchar(100), a.user_id, encode(a.session_hash, 'hex')::varchar(255), a.data,
       a.at AT TIME ZONE 'UTC'
FROM analytics_events a;

CREATE VIEW documented.search_logs WITH (security_invoker = true) AS
SELECT s.id, s.query,
       NULL::uuid AS user_id, NULL::varchar(255) AS session_id,  -- whose search it was is not for reports
       s.results_count, s.search_type::varchar(50) AS search_type, round(s.response_ms)::integer AS response_time_ms,
       s.at AT TIME ZONE 'UTC' AS created_at
FROM search_log s;

CREATE VIEW documented.migrations WITH (security_invoker = true) AS
SELECT 1 AS id, a.version_num::varchar(50) AS version, NULL::timestamp AS applied_at
FROM alembic_version a;
