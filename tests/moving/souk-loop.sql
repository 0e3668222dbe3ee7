-- The resale market's tables as its document describes them, without the rules that would keep impossible values out, and rows in them: {n} people
-- and what hangs on them, the same each time. A place is written as PostGIS writes it. Beside them come rows that cannot be: their ids begin with bad.
CREATE TABLE users (id uuid PRIMARY KEY, email varchar(255), username varchar(50), phone varchar(20), hashed_password varchar(255), full_name varchar(100), bio text, avatar_url text,
    role varchar(20), location text, stripe_customer_id varchar(255), stripe_connect_account_id varchar(255), is_active boolean, created_at timestamptz, updated_at timestamptz);
CREATE TABLE products (id uuid PRIMARY KEY, seller_id uuid, title varchar(255), description text, price numeric(12,3), currency varchar(3), category varchar(50), condition varchar(20),
    feed_type varchar(20), location text, location_name varchar(255), images jsonb, video_url text, views bigint, likes bigint, is_available boolean, is_sold boolean,
    created_at timestamptz, updated_at timestamptz);
CREATE TABLE streams (id uuid PRIMARY KEY, user_id uuid, title varchar(255), description text, category varchar(50), status varchar(20), scheduled_at timestamptz, started_at timestamptz,
    ended_at timestamptz, stream_url text, recording_url text, views bigint, likes bigint, comments bigint, shares bigint, created_at timestamptz, updated_at timestamptz);
CREATE TABLE conversations (id uuid PRIMARY KEY, buyer_id uuid, seller_id uuid, product_id uuid, buyer_unread_count integer, seller_unread_count integer, is_archived_by_buyer boolean,
    is_archived_by_seller boolean, last_message_id uuid, last_message_at timestamptz, created_at timestamptz, updated_at timestamptz);
CREATE TABLE messages (id uuid PRIMARY KEY, conversation_id uuid, sender_id uuid, message_type varchar(20), content text, media_url text, offer_id uuid, is_read boolean,
    read_at timestamptz, created_at timestamptz);
CREATE TABLE offers (id uuid PRIMARY KEY, product_id uuid, buyer_id uuid, seller_id uuid, conversation_id uuid, amount numeric(12,3), message text, status varchar(20),
    expires_at timestamptz, created_at timestamptz, updated_at timestamptz);
CREATE TABLE transactions (id uuid PRIMARY KEY, buyer_id uuid, seller_id uuid, product_id uuid, payment_intent_id varchar(255), charge_id varchar(255), subtotal numeric(12,3),
    platform_fee numeric(12,3), seller_payout numeric(12,3), status varchar(20), paid_at timestamptz, payout_at timestamptz, created_at timestamptz, updated_at timestamptz);
CREATE TABLE verifications (id uuid PRIMARY KEY, user_id uuid, verification_type varchar(20), status varchar(20), verification_data jsonb, submitted_at timestamptz,
    verified_at timestamptz, rejection_reason text);
CREATE INDEX ON messages (conversation_id);
CREATE INDEX ON offers (conversation_id);

INSERT INTO users
SELECT md5('user' || i)::uuid, 'trader' || i || '@example.com', 'trader' || i, CASE WHEN i % 3 = 0 THEN '+21620' || lpad(i::text, 6, '0') END, 'pbkdf2_sha256$1000$salt$' || encode(sha256(i::text::bytea), 'base64'),
       'Person ' || i, 'Trades since ' || 1990 + i % 30, NULL, (ARRAY['both', 'buyer', 'seller'])[1 + i % 3], '0101000020E610000048E17A14AE472440B4C876BE9F4A4240',
       'cus_' || i, NULL, i % 11 > 0, '2024-01-01Z'::timestamptz + i * interval '7 minutes', '2024-06-01Z'::timestamptz + i * interval '7 minutes'
FROM generate_series(1, {n}) i;
INSERT INTO products
SELECT md5('product' || i)::uuid, md5('user' || 1 + i % {n})::uuid, 'Thing ' || i, 'Used well, number ' || i, 5 + (i * 37 % 4000) / 8.0, 'TND', (ARRAY['Sneakers', 'Books', 'Furniture'])[1 + i % 3],
       (ARRAY['new', 'like_new', 'good', 'fair'])[1 + i % 4], (ARRAY['discover', 'community'])[1 + i % 2], CASE WHEN i % 2 = 0 THEN '0101000020E610000048E17A14AE472440B4C876BE9F4A4240' END,
       'Tunis', jsonb_build_array('https://pictures.example.com/' || i || '.jpg'), NULL, i % 50, i % 7, i % 5 > 0, i % 5 = 0,
       '2024-01-01Z'::timestamptz + i * interval '3 minutes', '2024-06-02Z'::timestamptz + i * interval '3 minutes'
FROM generate_series(1, {n}) i;
INSERT INTO streams
SELECT md5('stream' || i)::uuid, md5('user' || i)::uuid, 'Show ' || i, 'Things go', 'Sneakers', (ARRAY['ended', 'scheduled'])[1 + i % 2], '2024-05-01Z',
       CASE WHEN i % 2 = 0 THEN '2024-05-01 01:00Z'::timestamptz END, CASE WHEN i % 2 = 0 THEN '2024-05-01 02:00Z'::timestamptz END, NULL, NULL, i, i, i, i,
       '2024-04-01Z', '2024-05-02Z' FROM generate_series(1, {n} / 4) i;
INSERT INTO conversations
SELECT md5('talk' || i)::uuid, md5('user' || 1 + (i + 1) % {n})::uuid, md5('user' || 1 + i % {n})::uuid, md5('product' || i)::uuid, 0, i % 2, false, i % 4 = 0, NULL, NULL,
       '2024-03-01Z'::timestamptz + i * interval '1 hour', '2024-03-02Z'::timestamptz + i * interval '1 hour' FROM generate_series(1, {n} / 2) i;
INSERT INTO offers
SELECT md5('offer' || i)::uuid, product_id, buyer_id, seller_id, id, 4.5, 'Please', (ARRAY['rejected', 'accepted', 'expired', 'cancelled'])[1 + i % 4], created_at + interval '2 days',
       created_at, created_at FROM generate_series(1, {n} / 2) i JOIN conversations c ON c.id = md5('talk' || i)::uuid;
INSERT INTO messages
SELECT md5('message' || i || '/' || k)::uuid, c.id, CASE k % 2 WHEN 0 THEN c.buyer_id ELSE c.seller_id END, CASE k WHEN 2 THEN 'offer' ELSE 'text' END, CASE WHEN k < 2 THEN 'Word ' || k END, NULL,
       CASE k WHEN 2 THEN md5('offer' || i)::uuid END, true, NULL, c.created_at + k * interval '1 minute'
FROM generate_series(1, {n} / 2) i JOIN conversations c ON c.id = md5('talk' || i)::uuid CROSS JOIN generate_series(0, 2) k;
INSERT INTO transactions
SELECT md5('sale' || i)::uuid, md5('user' || 1 + (i + 3) % {n})::uuid, p.seller_id, p.id, 'pi_' || i, 'ch_' || i, p.price, round(p.price / 10, 3), p.price - round(p.price / 10, 3),
       (ARRAY['completed', 'pending', 'failed', 'refunded', 'cancelled'])[1 + i % 5], CASE WHEN i % 5 < 2 OR i % 10 = 4 THEN '2024-07-01Z'::timestamptz END, NULL,
       '2024-07-01Z'::timestamptz + i * interval '11 minutes', '2024-07-02Z'::timestamptz + i * interval '11 minutes'
FROM generate_series(1, {n} * 2) i JOIN products p ON p.id = md5('product' || 1 + i % {n})::uuid;
INSERT INTO verifications
SELECT md5('check' || i)::uuid, md5('user' || i)::uuid, (ARRAY['email', 'phone', 'government_id', 'address'])[1 + i % 4], (ARRAY['pending', 'verified', 'rejected'])[1 + i % 3], '{}',
       '2024-02-01Z', CASE WHEN i % 3 = 1 THEN '2024-02-02Z'::timestamptz END, CASE WHEN i % 3 = 2 THEN 'blurred' END FROM generate_series(1, {n} / 2) i;

INSERT INTO users (id, email, username, role) VALUES ('bad00000-0000-0000-0000-000000000001', 'none', 'nobody', 'buyer'),
    ('bad00000-0000-0000-0000-000000000002', 'king@example.com', 'king', 'king');
INSERT INTO products (id, seller_id, title, price, category, condition, feed_type, is_available) VALUES
    ('bad00000-0000-0000-0000-000000000001', 'bad00000-0000-0000-0000-000000000001', 'Orphan', 1, 'Books', 'new', 'discover', true),
    ('bad00000-0000-0000-0000-000000000002', md5('user1')::uuid, 'Debt', -1, 'Books', 'new', 'discover', true),
    ('bad00000-0000-0000-0000-000000000003', md5('user1')::uuid, 'Worn', 1, 'Books', 'worn', 'discover', true);
INSERT INTO streams (id, user_id, title, category, status) VALUES ('bad00000-0000-0000-0000-000000000001', md5('user1')::uuid, 'Lost', 'Books', 'lost');
INSERT INTO conversations (id, buyer_id, seller_id) VALUES ('bad00000-0000-0000-0000-000000000001', md5('user1')::uuid, md5('user1')::uuid);
INSERT INTO messages (id, conversation_id, sender_id, message_type, content, created_at) VALUES
    ('bad00000-0000-0000-0000-000000000001', 'bad00000-0000-0000-0000-000000000001', md5('user1')::uuid, 'text', 'Me', '2024-01-01Z'),
    ('bad00000-0000-0000-0000-000000000002', md5('talk1')::uuid, md5('user9')::uuid, 'text', 'Not mine', '2024-01-01Z'),
    ('bad00000-0000-0000-0000-000000000003', md5('nothing')::uuid, md5('user1')::uuid, 'text', 'Lost', '2024-01-01Z');
INSERT INTO offers (id, product_id, buyer_id, seller_id, conversation_id, amount, status, expires_at) VALUES
    ('bad00000-0000-0000-0000-000000000001', md5('product1')::uuid, md5('user3')::uuid, md5('user2')::uuid, md5('talk1')::uuid, -1, 'pending', '2024-01-01Z');
INSERT INTO transactions (id, buyer_id, seller_id, product_id, subtotal, platform_fee, seller_payout, status) VALUES
    ('bad00000-0000-0000-0000-000000000001', md5('user1')::uuid, md5('user2')::uuid, md5('product1')::uuid, 10, 1, 8, 'completed'),
    ('bad00000-0000-0000-0000-000000000002', md5('user1')::uuid, md5('user2')::uuid, md5('product1')::uuid, 10, 1, 9, 'lost');
INSERT INTO verifications (id, user_id, verification_type, status) VALUES ('bad00000-0000-0000-0000-000000000001', md5('user1')::uuid, 'horoscope', 'verified');
ANALYZE;
