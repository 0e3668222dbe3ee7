-- The farm market's document: Django's tables for its models, in the types Django gives them on PostgreSQL.

CREATE VIEW documented.django_content_type WITH (security_invoker = true) AS
SELECT 1 AS id, 'teseapi'::varchar(100) AS app_label, 'listing'::varchar(100) AS model;

CREATE VIEW documented.teseapi_user WITH (security_invoker = true) AS
SELECT u.id, u.username::varchar(150) AS username, u.email::varchar(254) AS email,
       '!'::varchar(128) AS password,  -- never shown; Django's mark for a password that matches nothing
       u.first_name::varchar(150) AS first_name, u.last_name::varchar(150) AS last_name, u.is_active,
       EXISTS (SELECT FROM user_roles r WHERE r.user_id = u.id AND r.role IN ('staff', 'admin')) AS is_staff,
       EXISTS (SELECT FROM user_roles r WHERE r.user_id = u.id AND r.role = 'admin') AS is_superuser,
       u.created_at AS date_joined, u.last_login_at AS last_login, u.location_text::varchar(255) AS location, u.bio,
       u.business_name::varchar(255) AS business_name, u.service_type::varchar(255) AS service_type,
       NULL::varchar(20) AS phone_number  -- encrypted
FROM users u;

CREATE VIEW documented.teseapi_category WITH (security_invoker = true) AS
SELECT c.id, c.name::varchar(250) AS name, c.description::varchar(250) AS description, c.parent_id, c.slug::varchar(50) AS slug
FROM categories c;

CREATE VIEW documented.teseapi_location WITH (security_invoker = true) AS
SELECT p.id, p.region::varchar(250) AS region, p.district::varchar(250) AS district
FROM places p;

CREATE VIEW documented.teseapi_listing WITH (security_invoker = true) AS
SELECT l.id, l.kind::varchar(20) AS listing_type, l.seller_id AS user_id, l.title::varchar(255) AS name,
       l.location_text::varchar(255) AS location, major_units(l.price_minor, l.currency)::numeric(10, 2) AS price,
       l.unit::varchar(50) AS unit, l.description,
       CASE WHEN l.status IN ('active', 'sold') THEN l.status ELSE 'inactive' END::varchar(20) AS status,
       l.created_at, l.updated_at, c.name::varchar(100) AS category,
       lower(coalesce(l.attributes ->> 'organic', '')) IN ('true', 'yes', '1') AS organic,
       (l.attributes ->> 'provider')::varchar(255) AS provider, (l.attributes ->> 'supplier')::varchar(255) AS supplier
FROM listings l
JOIN categories c ON c.id = l.category_id;

CREATE VIEW documented.teseapi_listingimage WITH (security_invoker = true) AS
SELECT documented.part_id(i.listing_id, i.position::text) AS id, 1 AS content_type_id, i.listing_id AS object_id,
       documented.picture_url(i.file_id, i.url)::varchar(500) AS image_url, i.created_at AS uploaded_at
FROM listing_images i;

-- Quantities are not whole numbers here: what a market sells by the kilogram would add up to something else.
CREATE VIEW documented.teseapi_cartitem WITH (security_invoker = true) AS
SELECT documented.part_id(l.cart_id, l.line_no::text) AS id, c.user_id, v.listing_id, l.quantity,
       major_units(l.unit_price_minor, c.currency)::numeric(10, 2) AS price, l.created_at
FROM cart_lines l
JOIN carts c ON c.id = l.cart_id
JOIN variants v ON v.id = l.variant_id
WHERE c.user_id IS NOT NULL;

CREATE VIEW documented.teseapi_order WITH (security_invoker = true) AS
SELECT o.id, o.buyer_id AS user_id, major_units(o.total_minor, o.currency)::numeric(10, 2) AS total_amount,
       s.documented::varchar(20) AS status, o.placed_at AS created_at, o.payment_method::varchar(50) AS payment_method,
       jsonb_build_object('method', o.shipping_method) AS shipping_info,  -- the address is encrypted
       (SELECT jsonb_agg(jsonb_build_object(
                   'listing_id', l.listing_id, 'name', l.title, 'unit', l.unit, 'quantity', trim_scale(l.quantity),
                   'price', major_units(l.unit_price_minor, o.currency)::numeric(10, 2),
                   'subtotal', major_units(l.gross_minor, o.currency)::numeric(10, 2)) ORDER BY l.line_no)
        FROM order_lines l WHERE l.order_id = o.id) AS items,
       (SELECT p.gateway_ref FROM payments p WHERE p.order_id = o.id
        ORDER BY p.state IN ('success', 'partly_refunded', 'refunded') DESC, p.created_at DESC, p.id DESC LIMIT 1)::varchar(255) AS transaction_ref
FROM orders o
JOIN order_states s ON s.process = o.process AND s.code = o.state;

CREATE VIEW documented.teseapi_payment WITH (security_invoker = true) AS
SELECT p.id, p.order_id, major_units(p.amount_minor, p.currency)::numeric(10, 2) AS amount, p.gateway::varchar(50) AS method,
       CASE p.state WHEN 'partly_refunded' THEN 'SUCCESS' WHEN 'cancelled' THEN 'FAILED' ELSE upper(p.state) END::varchar(20) AS status,
       p.gateway_ref::varchar(255) AS transaction_ref, p.created_at
FROM payments p;

CREATE VIEW documented.search_searchindexentry WITH (security_invoker = true) AS
SELECT d.listing_id AS id, 1 AS content_type_id, d.listing_id AS object_id, d.title::varchar(255) AS title, l.description, d.metadata,
       v.embedding, coalesce(v.created_at, d.updated_at) AS created_at, d.updated_at
FROM search_documents d
JOIN listings l ON l.id = d.listing_id
LEFT JOIN search_vectors v ON v.listing_id = d.listing_id;

CREATE VIEW documented.messaging_conversation WITH (security_invoker = true) AS
SELECT c.id, c.created_at, coalesce(c.last_message_at, c.updated_at) AS updated_at
FROM conversations c;

CREATE VIEW documented.messaging_conversation_participants WITH (security_invoker = true) AS
SELECT documented.part_id(p.conversation_id, p.user_id::text) AS id, p.conversation_id, p.user_id
FROM participants p;

CREATE VIEW documented.messaging_message WITH (security_invoker = true) AS
SELECT m.id, m.conversation_id, m.sender_id,
       ''::text AS content,  -- what people write to each other is not for reports
       m.at AS "timestamp",
       NOT EXISTS (SELECT FROM participants p WHERE p.conversation_id = m.conversation_id
                   AND p.user_id IS DISTINCT FROM m.sender_id AND p.last_read_seq < m.seq) AS is_read
FROM messages m
WHERE m.deleted_at IS NULL AND m.sender_id IS NOT NULL;
