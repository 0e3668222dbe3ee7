-- The resale market's document describes its tables by what they hold; where it names no column, the usual name is taken.
GRANT SELECT (stripe_customer_id, stripe_account_id) ON users TO tradepost_readonly;
GRANT SELECT (id, user_id, kind, status, submitted_at, decided_at, rejection_reason) ON verifications TO tradepost_readonly;
DROP POLICY IF EXISTS documented ON verifications;
CREATE POLICY documented ON verifications FOR SELECT TO tradepost_readonly USING (true);

-- Points and distances as the document's example asks for them: longitude first, and metres on the sphere.
CREATE FUNCTION documented.st_point(longitude float8, latitude float8, srid integer DEFAULT 4326) RETURNS geo_point
    LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN geo_point(latitude, longitude);
CREATE FUNCTION documented.st_distance(one geo_point, other geo_point) RETURNS float8
    LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN geo_distance_m(one, geo_lat(other), geo_lon(other));
CREATE FUNCTION documented.st_dwithin(one geo_point, other geo_point, metres float8) RETURNS boolean
    LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN geo_within(one, geo_lat(other), geo_lon(other), metres);

CREATE VIEW documented.users WITH (security_invoker = true) AS
SELECT u.id, u.email::varchar(255) AS email, u.username::varchar(50) AS username,
       NULL::varchar(20) AS phone,  -- encrypted
       '!'::varchar(255) AS hashed_password,  -- never shown; no password matches it
       u.display_name::varchar(100) AS full_name, u.bio, documented.picture_url(u.avatar_file_id, NULL) AS avatar_url,
       coalesce((SELECT r.role FROM user_roles r WHERE r.user_id = u.id AND r.role IN ('buyer', 'seller', 'both', 'admin')
                 ORDER BY array_position(ARRAY['admin', 'both', 'seller', 'buyer'], r.role) LIMIT 1), 'buyer')::varchar(20) AS role,
       u.location, u.stripe_customer_id::varchar(255) AS stripe_customer_id,
       u.stripe_account_id::varchar(255) AS stripe_connect_account_id,
       EXISTS (SELECT FROM verifications v WHERE v.user_id = u.id AND v.status = 'verified') AS is_verified,
       u.is_active, u.created_at, u.updated_at
FROM users u;

CREATE VIEW documented.products WITH (security_invoker = true) AS
SELECT l.id, l.seller_id, l.title::varchar(255) AS title, l.description,
       major_units(l.price_minor, l.currency)::numeric(12, 3) AS price, l.currency::varchar(3) AS currency,
       coalesce(parent.name, c.name)::varchar(50) AS category, l.condition::varchar(20) AS condition, l.feed::varchar(20) AS feed_type,
       l.location, l.location_text::varchar(255) AS location_name,
       coalesce((SELECT jsonb_agg(documented.picture_url(i.file_id, i.url) ORDER BY i.position) FROM listing_images i
                 WHERE i.listing_id = l.id), '[]') AS images,
       l.video_url, documented.picture_url(l.image_id, NULL) AS thumbnail_url,
       coalesce(s.views, 0) AS views, coalesce(s.likes, 0) AS likes,
       l.status = 'active' AND l.in_stock AS is_available, l.status = 'sold' AS is_sold, l.created_at, l.updated_at
FROM listings l
JOIN categories c ON c.id = l.category_id
LEFT JOIN categories parent ON parent.id = c.parent_id
LEFT JOIN listing_stats s ON s.listing_id = l.id
WHERE l.status <> 'draft';

CREATE VIEW documented.streams WITH (security_invoker = true) AS
SELECT s.id, s.host_id AS user_id, s.title::varchar(255) AS title, s.description, coalesce(parent.name, c.name)::varchar(50) AS category,
       s.status::varchar(20) AS status, s.scheduled_at, s.started_at, s.ended_at,
       documented.picture_url(s.thumbnail_file_id, NULL) AS thumbnail_url, s.stream_url, s.recording_url,
       s.views, s.likes, s.comments, s.shares, s.created_at, s.updated_at
FROM streams s
JOIN categories c ON c.id = s.category_id
LEFT JOIN categories parent ON parent.id = c.parent_id;

-- Of two who talk, the seller is whose listing they talk about, else who was written to.
CREATE VIEW documented.conversations WITH (security_invoker = true) AS
SELECT c.id, buyer.user_id AS buyer_id, seller.user_id AS seller_id, c.listing_id AS product_id,
       buyer.unread AS buyer_unread_count, seller.unread AS seller_unread_count,
       buyer.archived_at IS NOT NULL AS is_archived_by_buyer, seller.archived_at IS NOT NULL AS is_archived_by_seller,
       (SELECT m.id FROM messages m WHERE m.conversation_id = c.id AND m.seq = c.last_seq) AS last_message_id,
       c.last_message_at, c.created_at, c.updated_at
FROM conversations c
LEFT JOIN listings l ON l.id = c.listing_id
JOIN participants buyer ON buyer.conversation_id = c.id
JOIN participants seller ON seller.conversation_id = c.id AND seller.user_id <> buyer.user_id
WHERE cardinality(c.people) = 2
  AND CASE WHEN l.seller_id = ANY (c.people) THEN seller.user_id = l.seller_id ELSE buyer.user_id = c.started_by END;

CREATE VIEW documented.messages WITH (security_invoker = true) AS
SELECT m.id, m.conversation_id, m.sender_id, m.kind::varchar(20) AS message_type,
       ''::text AS content, NULL::text AS media_url,  -- what people write to each other is not for reports
       m.offer_id, coalesce(r.last_read_seq >= m.seq, false) AS is_read,
       CASE WHEN r.last_read_seq >= m.seq THEN r.last_read_at END AS read_at, m.at AS created_at
FROM messages m
LEFT JOIN LATERAL (
    SELECT min(p.last_read_seq) AS last_read_seq, max(p.last_read_at) AS last_read_at FROM participants p
    WHERE p.conversation_id = m.conversation_id AND p.user_id IS DISTINCT FROM m.sender_id
) r ON true
WHERE m.deleted_at IS NULL;

-- An offer that was answered with another price is one that was not taken.
CREATE VIEW documented.offers WITH (security_invoker = true) AS
SELECT o.id, o.listing_id AS product_id, o.buyer_id, o.seller_id, o.conversation_id,
       major_units(o.amount_minor, o.currency)::numeric(12, 3) AS amount,
       NULL::text AS message,  -- as the messages
       CASE o.status WHEN 'countered' THEN 'rejected' ELSE o.status END::varchar(20) AS status,
       o.expires_at, o.created_at, o.updated_at
FROM offers o;

-- One for each line of an order, because an order may hold things of several sellers. A buyer pays `total`.
CREATE VIEW documented.transactions WITH (security_invoker = true) AS
SELECT documented.part_id(l.order_id, l.line_no::text) AS id, l.buyer_id, l.seller_id, l.listing_id AS product_id,
       p.gateway_ref::varchar(255) AS payment_intent_id,
       NULL::varchar(255) AS charge_id,  -- in the gateway's own notice, which reports do not see
       major_units(l.gross_minor, o.currency)::numeric(12, 3) AS subtotal,
       major_units(l.commission_minor, o.currency)::numeric(12, 3) AS platform_fee,
       major_units(l.gross_minor - l.discount_minor + l.store_discount_minor - l.included_tax_minor - l.commission_minor,
                         o.currency)::numeric(12, 3) AS seller_payout,
       major_units(l.total_minor, o.currency)::numeric(12, 3) AS total, o.currency::varchar(3) AS currency,
       s.documented::varchar(20) AS status, p.settled_at AS paid_at, x.settled_at AS payout_at, o.placed_at AS created_at, o.updated_at
FROM order_lines l
JOIN orders o ON o.id = l.order_id
JOIN fulfilments f ON f.order_id = l.order_id AND f.seller_id = l.seller_id
JOIN order_states s ON s.process = f.process AND s.code = f.state
LEFT JOIN LATERAL (
    SELECT p.gateway_ref, p.settled_at FROM payments p WHERE p.order_id = l.order_id
    ORDER BY p.state IN ('success', 'partly_refunded', 'refunded') DESC, p.created_at DESC, p.id DESC LIMIT 1
) p ON true
LEFT JOIN LATERAL (
    SELECT min(x.settled_at) AS settled_at FROM payouts x
    WHERE x.seller_id = l.seller_id AND x.state = 'paid' AND s.documented = 'completed' AND x.created_at >= f.state_since
) x ON true;

CREATE VIEW documented.verifications WITH (security_invoker = true) AS
SELECT v.id, v.user_id, v.kind::varchar(20) AS verification_type,
       CASE WHEN v.status IN ('expired', 'withdrawn') THEN 'rejected' ELSE v.status END::varchar(20) AS status,
       NULL::jsonb AS verification_data,  -- encrypted
       v.submitted_at, CASE WHEN v.status = 'verified' THEN v.decided_at END AS verified_at, v.rejection_reason
FROM verifications v
WHERE v.kind IN ('email', 'phone', 'government_id', 'address');

-- What the document announces for its second phase.
CREATE VIEW documented.reviews WITH (security_invoker = true) AS
SELECT r.id, r.user_id, r.listing_id AS product_id, r.rating::integer AS rating, r.comment, r.created_at, r.updated_at
FROM reviews r
WHERE r.status = 'shown';

CREATE VIEW documented.follows WITH (security_invoker = true) AS
SELECT f.follower_id, f.followed_id AS following_id, f.created_at FROM follows f;

CREATE VIEW documented.wishlists WITH (security_invoker = true) AS
SELECT w.user_id, w.listing_id AS product_id, w.created_at FROM wishlists w;

CREATE VIEW documented.reports WITH (security_invoker = true) AS
SELECT r.id, r.reporter_id, r.subject_kind::varchar(20) AS subject_type, r.subject_id, r.reason::varchar(50) AS reason, r.details AS description,
       CASE WHEN r.decision_id IS NULL THEN 'pending' ELSE 'resolved' END::varchar(20) AS status, r.created_at
FROM reports r;

CREATE VIEW documented.analytics WITH (security_invoker = true) AS
SELECT e.id, e.kind::varchar(100) AS event_type, e.user_id, e.data, e.at AS created_at FROM events e
UNION ALL
SELECT a.id, a.kind::varchar(100), a.user_id, a.data, a.at FROM analytics_events a;

CREATE VIEW documented.stream_products WITH (security_invoker = true) AS
SELECT documented.part_id(p.stream_id, p.position::text) AS id, p.stream_id, p.listing_id AS product_id, p.position,
       major_units(p.price_minor, p.currency)::numeric(12, 3) AS price, p.pinned_from, p.pinned_to, p.created_at
FROM stream_listings p;

CREATE VIEW documented.badges WITH (security_invoker = true) AS
SELECT documented.part_id(b.user_id, b.badge) AS id, b.user_id, b.badge::varchar(50) AS badge_type, d.name::varchar(100) AS name, b.created_at AS awarded_at
FROM user_badges b
JOIN badges d ON d.code = b.badge;
