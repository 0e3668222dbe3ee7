-- system: souk-loop
-- How a resale market's database of this document's form moves in; flows/move_plan says what the notes mean. The document names few columns;
-- the others have their usual names, and those that end in a question mark here may be missing.

-- step: users
-- table: users by id
-- read: id uuid, username text, email text, phone text?, hashed_password text, full_name text?, bio text?, role text, stripe_customer_id text?,
--    stripe_connect_account_id text?, is_active boolean?, created_at timestamptz, updated_at timestamptz?, place text? = location::text of location
-- seal: phone as phone
-- seal: place as point
-- refuse users: the e-mail address is missing or none | coalesce(b.email, '') !~ '^[^@[:space:]]{1,64}@[^@[:space:]]{1,190}$'
-- refuse users: another row has this e-mail address | EXISTS (SELECT FROM users u WHERE u.email = b.email::citext AND u.id <> b.id)
-- refuse users: another row has this e-mail address | twice lower(btrim(email))
-- refuse users: the role is not one of the four | coalesce(lower(b.role), '') NOT IN ('buyer', 'seller', 'both', 'admin')
-- refuse users: a moment is not possible | move_in_bad_moment(b.created_at) OR move_in_bad_moment(b.updated_at)
-- note users: the username may not be one here, so it got a mark | coalesce(b.username, '') !~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{1,63}$'
-- note users: the username is another’s, so it got a mark | EXISTS (SELECT FROM users u WHERE u.username = b.username::citext AND u.id <> b.id)
-- note users: the username is another’s, so it got a mark | twice lower(username)
-- note users: the password was left out, because it is in no known form; a new one is set by e-mail |
--    b.hashed_password <> '' AND move_in_hash(b.hashed_password) IS NULL
-- note users: the telephone number was left out, because it is none with a country code | b.phone <> '' AND b.phone_enc IS NULL
-- note users: the telephone number was left out, because somebody else has it | EXISTS (SELECT FROM users u WHERE u.phone_index = b.phone_index AND u.id <> b.id)
-- note users: the telephone number was left out, because somebody else has it | twice phone_index
-- note users: the place was left out, because it is no point on earth | b.place <> '' AND b.place_enc IS NULL
-- count users: | | users t ON t.id = b.id
INSERT INTO users (id, username, email, display_name, bio, password_hash, phone_enc, phone_index, location, stripe_customer_id, stripe_account_id, is_active,
                   created_at, updated_at)
SELECT b.id, CASE WHEN b.username ~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{1,63}$' AND n.n = 1
                 AND NOT EXISTS (SELECT FROM users u WHERE u.username = b.username::citext) THEN b.username ELSE move_in_username(b.username, b.id::text) END,
       btrim(b.email), left(coalesce(nullif(btrim(b.full_name), ''), nullif(b.username, ''), 'Member'), 100), left(coalesce(b.bio, ''), 4000),
       move_in_hash(b.hashed_password), CASE WHEN p.n = 1 THEN b.phone_enc END, CASE WHEN p.n = 1 THEN b.phone_index END,
       geo_point(split_part(convert_from(b.place_enc, 'UTF8'), ' ', 1)::float8, split_part(convert_from(b.place_enc, 'UTF8'), ' ', 2)::float8),
       nullif(b.stripe_customer_id, ''), nullif(b.stripe_connect_account_id, ''), coalesce(b.is_active, true),
       coalesce(b.created_at, now()), coalesce(b.updated_at, b.created_at, now())
FROM batch_users b
LEFT JOIN (SELECT id, row_number() OVER (PARTITION BY lower(username) ORDER BY id) AS n FROM batch_users) n ON n.id = b.id
LEFT JOIN (SELECT id, row_number() OVER (PARTITION BY phone_index ORDER BY id) AS n FROM batch_users WHERE phone_index IS NOT NULL) p
  ON p.id = b.id AND p.n = 1 AND NOT EXISTS (SELECT FROM users u WHERE u.phone_index = b.phone_index)
ON CONFLICT (id) DO NOTHING;
INSERT INTO user_roles (user_id, role) SELECT id, lower(role) FROM batch_users ON CONFLICT DO NOTHING;

-- step: products
-- table: products by id
-- read: id uuid, seller_id uuid, title text, description text?, price numeric, currency text?, category text, condition text, feed_type text,
--    location_name text?, images jsonb, video_url text?, views bigint?, likes bigint?, is_available boolean, is_sold boolean, created_at timestamptz,
--    updated_at timestamptz?, place text? = location::text of location
-- seal: place as point
-- refuse products: its seller was refused or is missing | NOT EXISTS (SELECT FROM users u WHERE u.id = b.seller_id)
-- refuse products: the title is missing or longer than 255 letters | char_length(coalesce(b.title, '')) NOT BETWEEN 1 AND 255
-- refuse products: the description is longer than 20,000 letters | char_length(b.description) > 20000
-- refuse products: the price is not possible, or in another currency than the store’s | b.price IS NULL OR move_in_bad_amount(b.price, :currency)
--    OR coalesce(b.currency, :currency) <> :currency
-- refuse products: the condition or the feed is none of the document’s | coalesce(lower(b.condition), '') NOT IN ('new', 'like_new', 'good', 'fair')
--    OR coalesce(lower(b.feed_type), '') NOT IN ('discover', 'community')
-- refuse products: a moment is not possible | move_in_bad_moment(b.created_at) OR move_in_bad_moment(b.updated_at)
-- count products: price | major_units(p.amount_minor, p.currency) | listings t ON t.id = b.id
--    JOIN LATERAL (SELECT * FROM prices WHERE variant_id = t.id ORDER BY valid_from LIMIT 1) p ON true
INSERT INTO categories (slug, name, is_own)
SELECT DISTINCT ON (1) move_in_slug(b.category), left(btrim(b.category), 100), true FROM batch_products b
WHERE btrim(b.category) <> '' AND NOT EXISTS (SELECT FROM categories c WHERE c.slug = move_in_slug(b.category) OR lower(c.name) = lower(btrim(b.category)))
ORDER BY 1 ON CONFLICT DO NOTHING;
CREATE TEMP TABLE named AS
SELECT w.category, (SELECT c.id FROM categories c WHERE c.slug = move_in_slug(coalesce(nullif(btrim(w.category), ''), 'other')) OR lower(c.name) = lower(btrim(w.category))
                    ORDER BY c.slug = move_in_slug(coalesce(nullif(btrim(w.category), ''), 'other')) DESC LIMIT 1) AS id
FROM (SELECT DISTINCT category FROM batch_products) w;
INSERT INTO listings (id, seller_id, kind, feed, slug, title, description, category_id, condition, status, location_text, location, video_url, published_at,
                      price_minor, price_to_minor, currency, unit, in_stock, created_at, updated_at)
SELECT b.id, b.seller_id, 'product', lower(b.feed_type), move_in_slug(b.title), b.title, coalesce(b.description, ''), n.id, lower(b.condition),
       CASE WHEN b.is_sold THEN 'sold' WHEN b.is_available THEN 'active' ELSE 'inactive' END, left(coalesce(b.location_name, ''), 255),
       geo_point(split_part(convert_from(b.place_enc, 'UTF8'), ' ', 1)::float8, split_part(convert_from(b.place_enc, 'UTF8'), ' ', 2)::float8),
       CASE WHEN b.video_url ~ '^https?://' THEN b.video_url END, coalesce(b.created_at, now()), minor_units(b.price, :currency), minor_units(b.price, :currency),
       :currency, 'piece', NOT coalesce(b.is_sold, false), coalesce(b.created_at, now()), coalesce(b.updated_at, b.created_at, now())
FROM batch_products b JOIN named n ON n.category IS NOT DISTINCT FROM b.category ON CONFLICT (id) DO NOTHING;
INSERT INTO variants (id, listing_id, unit, on_hand, created_at, updated_at)
SELECT b.id, b.id, 'piece', CASE WHEN b.is_sold THEN 0 ELSE 1 END, coalesce(b.created_at, now()), coalesce(b.updated_at, b.created_at, now())
FROM batch_products b ON CONFLICT (id) DO NOTHING;
INSERT INTO stock_movements (id, variant_id, quantity, reason) SELECT b.id, b.id, 1, 'initial' FROM batch_products b WHERE NOT coalesce(b.is_sold, false)
ON CONFLICT (id) DO NOTHING;
INSERT INTO prices (id, variant_id, currency, amount_minor, valid_from)
SELECT b.id, b.id, :currency, minor_units(b.price, :currency), least(coalesce(b.created_at, now()), now()) FROM batch_products b ON CONFLICT DO NOTHING;
INSERT INTO listing_images (listing_id, position, url, alt, created_at)
SELECT b.id, row_number() OVER (PARTITION BY b.id ORDER BY i.n) - 1, i.url, b.title, coalesce(b.created_at, now())
FROM batch_products b CROSS JOIN LATERAL jsonb_array_elements_text(CASE WHEN jsonb_typeof(b.images) = 'array' THEN b.images ELSE '[]' END) WITH ORDINALITY AS i(url, n)
WHERE i.url ~ '^https?://' AND NOT EXISTS (SELECT FROM listing_images o WHERE o.listing_id = b.id);
UPDATE listing_stats s SET views = greatest(b.views, 0), likes = greatest(b.likes, 0) FROM batch_products b
WHERE s.listing_id = b.id AND s.views = 0 AND s.likes = 0 AND (b.views > 0 OR b.likes > 0);
DROP TABLE named;

-- step: streams
-- table: streams by id
-- read: id uuid, user_id uuid, title text, description text?, category text, status text, scheduled_at timestamptz?, started_at timestamptz?, ended_at timestamptz?,
--    stream_url text?, recording_url text?, views bigint?, likes bigint?, comments bigint?, shares bigint?, created_at timestamptz, updated_at timestamptz?
-- refuse streams: its host was refused or is missing | NOT EXISTS (SELECT FROM users u WHERE u.id = b.user_id)
-- refuse streams: the title is missing or longer than 120 letters | char_length(coalesce(b.title, '')) NOT BETWEEN 1 AND 120
-- refuse streams: the status is none of the three | coalesce(b.status, '') NOT IN ('scheduled', 'live', 'ended')
-- refuse streams: a moment is not possible | move_in_bad_moment(b.created_at) OR move_in_bad_moment(b.scheduled_at) OR move_in_bad_moment(b.started_at)
--    OR move_in_bad_moment(b.ended_at) OR move_in_bad_moment(b.updated_at)
-- refuse streams: a number is below nothing | b.views < 0 OR b.likes < 0 OR b.comments < 0 OR b.shares < 0
-- note streams: it was live, and counts as ended | b.status = 'live'
-- count streams: views | t.views | streams t ON t.id = b.id
INSERT INTO streams (id, host_id, title, description, category_id, status, scheduled_at, started_at, ended_at, stream_url, recording_url, views, likes, comments,
                     shares, created_at, updated_at)
SELECT b.id, b.user_id, b.title, left(coalesce(b.description, ''), 2000),
       coalesce((SELECT c.id FROM categories c WHERE c.slug = move_in_slug(b.category) OR lower(c.name) = lower(btrim(b.category)) ORDER BY c.parent_id NULLS FIRST LIMIT 1),
                (SELECT c.id FROM categories c WHERE c.slug = 'other')),
       CASE b.status WHEN 'live' THEN 'ended' ELSE b.status END, coalesce(b.scheduled_at, b.started_at, b.created_at, now()),
       CASE WHEN b.status <> 'scheduled' THEN coalesce(b.started_at, b.scheduled_at, b.created_at, now()) END,
       CASE WHEN b.status <> 'scheduled' THEN coalesce(b.ended_at, b.updated_at, b.created_at, now()) END,
       CASE WHEN b.stream_url ~ '^https?://' THEN b.stream_url END, CASE WHEN b.recording_url ~ '^https?://' THEN b.recording_url END,
       coalesce(b.views, 0), coalesce(b.likes, 0), coalesce(b.comments, 0), coalesce(b.shares, 0), coalesce(b.created_at, now()), coalesce(b.updated_at, b.created_at, now())
FROM batch_streams b ON CONFLICT (id) DO NOTHING;

-- step: conversations
-- table: conversations by id
-- read: id uuid, buyer_id uuid, seller_id uuid, product_id uuid, buyer_unread_count integer?, seller_unread_count integer?, is_archived_by_buyer boolean?,
--    is_archived_by_seller boolean?, created_at timestamptz, updated_at timestamptz?
-- table: offers by id, of conversations by conversation_id
-- read: id uuid, product_id uuid, buyer_id uuid, seller_id uuid, conversation_id uuid, amount numeric, status text, expires_at timestamptz, created_at timestamptz,
--    updated_at timestamptz?
-- table: messages by id, of conversations by conversation_id
-- read: id uuid, conversation_id uuid, sender_id uuid, message_type text, content text, media_url text?, offer_id uuid, created_at timestamptz
-- refuse conversations: the two are one | b.buyer_id = b.seller_id
-- refuse conversations: one of its people was refused or is missing | NOT EXISTS (SELECT FROM users u WHERE u.id = b.buyer_id)
-- refuse conversations: one of its people was refused or is missing | NOT EXISTS (SELECT FROM users u WHERE u.id = b.seller_id)
-- refuse conversations: its product was refused or is missing | b.product_id IS NOT NULL AND NOT EXISTS (SELECT FROM listings l WHERE l.id = b.product_id)
-- refuse conversations: a moment is not possible | move_in_bad_moment(b.created_at) OR move_in_bad_moment(b.updated_at)
-- refuse offers: its conversation was refused | EXISTS (SELECT FROM batch_conversations c WHERE c.id = b.conversation_id AND c.reason IS NOT NULL)
-- refuse offers: the amount is not possible | NOT coalesce(b.amount > 0, false) OR move_in_bad_amount(b.amount, :currency)
-- refuse offers: the status is none of the document’s | coalesce(b.status, '') NOT IN ('pending', 'accepted', 'rejected', 'expired', 'cancelled')
-- refuse offers: a moment is not possible | b.expires_at IS NULL OR move_in_bad_moment(b.created_at) OR move_in_bad_moment(b.updated_at) OR move_in_bad_moment(b.expires_at)
-- refuse offers: its people are not those of the conversation | NOT EXISTS (SELECT FROM batch_conversations c WHERE c.id = b.conversation_id
--    AND c.buyer_id = b.buyer_id AND c.seller_id = b.seller_id)
-- refuse offers: its product was refused or is missing | NOT EXISTS (SELECT FROM listings l WHERE l.id = b.product_id)
-- refuse offers: the same person has another open one | twice CASE WHEN status = 'pending' THEN concat_ws('/', product_id, buyer_id) END
-- refuse messages: its conversation was refused | EXISTS (SELECT FROM batch_conversations c WHERE c.id = b.conversation_id AND c.reason IS NOT NULL)
-- refuse messages: its sender does not take part | NOT EXISTS (SELECT FROM batch_conversations c WHERE c.id = b.conversation_id AND b.sender_id IN (c.buyer_id, c.seller_id))
-- refuse messages: a moment is not possible | b.created_at IS NULL OR move_in_bad_moment(b.created_at)
-- refuse messages: it is longer than 4,000 letters | char_length(b.content) > 4000
-- refuse messages: its offer was refused or is missing | b.message_type = 'offer' AND NOT EXISTS (SELECT FROM batch_offers o WHERE o.id = b.offer_id AND o.reason IS NULL)
-- refuse messages: it is empty | coalesce(b.message_type, 'text') <> 'offer' AND coalesce(b.content, '') = '' AND coalesce(b.media_url, '') = ''
-- note messages: its picture became a link | coalesce(b.media_url, '') <> ''
-- count conversations: | | conversations t ON t.id = b.id
-- count offers: amount | major_units(t.amount_minor, t.currency) | offers t ON t.id = b.id
-- count messages: | | messages t ON t.id = b.id
CREATE TEMP TABLE fresh AS
SELECT b.*, CASE WHEN b.product_id IS NULL THEN 'talk' ELSE 'listing:' || b.product_id END || ':' || least(b.buyer_id, b.seller_id) || ':' || greatest(b.buyer_id, b.seller_id) AS about
FROM batch_conversations b WHERE NOT EXISTS (SELECT FROM conversations c WHERE c.id = b.id);
INSERT INTO conversations (id, people, started_by, listing_id, subject, about, created_at, updated_at)
SELECT f.id, ARRAY[least(f.buyer_id, f.seller_id), greatest(f.buyer_id, f.seller_id)], f.buyer_id, f.product_id, coalesce(l.title, ''),
       CASE WHEN a.n = 1 THEN f.about END, coalesce(f.created_at, now()), coalesce(f.updated_at, f.created_at, now())
FROM fresh f LEFT JOIN listings l ON l.id = f.product_id
LEFT JOIN (SELECT id, row_number() OVER (PARTITION BY about ORDER BY id) AS n FROM fresh g
           WHERE NOT EXISTS (SELECT FROM conversations c WHERE c.about = g.about)) a ON a.id = f.id;
INSERT INTO offers (id, listing_id, variant_id, buyer_id, seller_id, by, amount_minor, currency, quantity, status, conversation_id, expires_at, held_until, created_at, updated_at)
SELECT o.id, o.product_id, o.product_id, o.buyer_id, o.seller_id, 'buyer', minor_units(o.amount, :currency), :currency, 1, o.status, o.conversation_id, o.expires_at,
       CASE WHEN o.status = 'accepted' THEN o.expires_at END, coalesce(o.created_at, now()), coalesce(o.updated_at, o.created_at, now())
FROM batch_offers o JOIN fresh f ON f.id = o.conversation_id;
INSERT INTO messages (conversation_id, seq, id, sender_id, kind, body, offer_id, at)
SELECT m.conversation_id, row_number() OVER (PARTITION BY m.conversation_id ORDER BY m.created_at, m.id), m.id, m.sender_id,
       CASE m.message_type WHEN 'offer' THEN 'offer' ELSE 'text' END, left(concat_ws(E'\n', nullif(m.content, ''), nullif(m.media_url, '')), 4000),
       CASE m.message_type WHEN 'offer' THEN m.offer_id END, m.created_at
FROM batch_messages m JOIN fresh f ON f.id = m.conversation_id ORDER BY m.conversation_id, m.created_at, m.id;
UPDATE participants p SET last_read_seq = greatest(p.last_seq - greatest(w.unread, 0), 0), last_read_at = coalesce(p.last_read_at, f.updated_at, now()),
    archived_at = CASE WHEN w.is_archived THEN coalesce(f.updated_at, f.created_at, now()) END
FROM fresh f CROSS JOIN LATERAL (VALUES (f.buyer_id, coalesce(f.buyer_unread_count, 0), f.is_archived_by_buyer),
                                        (f.seller_id, coalesce(f.seller_unread_count, 0), f.is_archived_by_seller)) w(user_id, unread, is_archived)
WHERE p.conversation_id = f.id AND p.user_id = w.user_id;
DROP TABLE fresh;

-- step: transactions
-- table: transactions by id
-- read: id uuid, buyer_id uuid, seller_id uuid, product_id uuid, payment_intent_id text?, subtotal numeric, platform_fee numeric, seller_payout numeric, status text,
--    paid_at timestamptz?, created_at timestamptz, updated_at timestamptz?
-- refuse transactions: one of its people was refused or is missing | NOT EXISTS (SELECT FROM users u WHERE u.id = b.buyer_id)
-- refuse transactions: one of its people was refused or is missing | NOT EXISTS (SELECT FROM users u WHERE u.id = b.seller_id)
-- refuse transactions: its product was refused or is missing | NOT EXISTS (SELECT FROM listings l WHERE l.id = b.product_id)
-- refuse transactions: an amount is not possible | b.subtotal IS NULL OR move_in_bad_amount(b.subtotal, :currency) OR move_in_bad_amount(b.platform_fee, :currency)
--    OR move_in_bad_amount(b.seller_payout, :currency)
-- refuse transactions: fee and payout are not what was paid | b.subtotal IS DISTINCT FROM coalesce(b.platform_fee, 0) + coalesce(b.seller_payout, b.subtotal - coalesce(b.platform_fee, 0))
-- refuse transactions: the status is none of the five | coalesce(b.status, '') NOT IN ('pending', 'completed', 'failed', 'refunded', 'cancelled')
-- refuse transactions: a moment is not possible | move_in_bad_moment(b.created_at) OR move_in_bad_moment(b.paid_at) OR move_in_bad_moment(b.updated_at)
-- refuse transactions: another row has this payment | twice nullif(payment_intent_id, '')
-- refuse transactions: another row has this payment | EXISTS (SELECT FROM payments p WHERE p.gateway = 'stripe' AND p.gateway_ref = b.payment_intent_id AND p.id <> b.id)
-- note transactions: it is over and was not handed over, but its money was kept; it is held until somebody pays it back or out |
--    b.status = 'cancelled' AND b.paid_at IS NOT NULL
-- note transactions: it is here already in another state than there, and stays as it is here |
--    EXISTS (SELECT FROM orders o WHERE o.id = b.id AND o.state <> CASE WHEN b.status = 'pending' AND b.paid_at IS NOT NULL THEN 'paid' ELSE b.status END)
-- count transactions: subtotal | major_units(t.total_minor, t.currency) | orders t ON t.id = b.id
CREATE TEMP TABLE heads AS
SELECT b.id, 'SL-' || upper(left(replace(b.id::text, '-', ''), 14)) AS number, b.buyer_id, 'purchase' AS process,
       CASE WHEN b.status = 'pending' AND b.paid_at IS NOT NULL THEN 'paid' ELSE b.status END AS state,
       CASE WHEN b.status IN ('failed', 'refunded') THEN b.status WHEN b.status = 'completed' OR b.paid_at IS NOT NULL THEN 'paid' ELSE 'pending' END AS payment_state,
       'stripe' AS method, 'stripe' AS gateway, nullif(b.payment_intent_id, '') AS reference, minor_units(b.subtotal, :currency) AS total, 0::bigint AS tax,
       NULL::bytea AS ship_enc, NULL::bytea AS bill_enc, NULL::text AS way, '' AS note, b.status = 'completed' AS is_over,
       b.status = 'completed' OR b.paid_at IS NOT NULL OR b.status IN ('failed', 'refunded') OR b.payment_intent_id <> '' AS is_charged,
       coalesce(b.created_at, now()) AS placed_at, coalesce(b.updated_at, b.created_at, now()) AS updated_at, coalesce(b.paid_at, b.created_at, now()) AS settled_at
FROM batch_transactions b;
CREATE TEMP TABLE lines AS
SELECT b.id AS order_id, 1 AS line_no, b.seller_id, b.product_id AS listing_id, b.product_id AS variant_id, 1::numeric AS quantity,
       minor_units(b.subtotal, :currency) AS unit_price, minor_units(b.subtotal, :currency) AS gross, coalesce(minor_units(b.platform_fee, :currency), 0) AS commission
FROM batch_transactions b;
CREATE TEMP TABLE paid AS
SELECT h.id, h.id AS order_id, h.gateway, h.is_over, h.payment_state = 'refunded' AS is_refunded, h.settled_at AS at FROM heads h
WHERE h.payment_state IN ('paid', 'refunded') AND NOT EXISTS (SELECT FROM orders o WHERE o.id = h.id);
-- include: timers
-- include: orders
-- include: books

-- step: verifications
-- table: verifications by id
-- read: id uuid, user_id uuid, verification_type text, status text, submitted_at timestamptz, verified_at timestamptz, rejection_reason text?
-- refuse verifications: its person was refused or is missing | NOT EXISTS (SELECT FROM users u WHERE u.id = b.user_id)
-- refuse verifications: the type or the status is none of the document’s | coalesce(b.verification_type, '') NOT IN ('email', 'phone', 'government_id', 'address')
--    OR coalesce(b.status, '') NOT IN ('pending', 'verified', 'rejected')
-- refuse verifications: a moment is not possible | move_in_bad_moment(b.submitted_at) OR move_in_bad_moment(b.verified_at)
-- refuse verifications: the person has another open or valid one of this type | twice CASE WHEN status <> 'rejected' THEN concat_ws('/', user_id, verification_type) END
-- refuse verifications: the person has another open or valid one of this type | b.status <> 'rejected' AND EXISTS (SELECT FROM verifications v
--    WHERE v.user_id = b.user_id AND v.kind = b.verification_type AND v.status IN ('pending', 'verified') AND v.id <> b.id)
-- count verifications: | | verifications t ON t.id = b.id
INSERT INTO verifications (id, user_id, kind, status, submitted_at, decided_at, rejection_reason)
SELECT b.id, b.user_id, b.verification_type, b.status, coalesce(b.submitted_at, now()),
       CASE WHEN b.status <> 'pending' THEN coalesce(b.verified_at, b.submitted_at, now()) END,
       CASE WHEN b.status = 'rejected' THEN left(coalesce(nullif(b.rejection_reason, ''), 'rejected before'), 1000) END
FROM batch_verifications b ON CONFLICT (id) DO NOTHING;
