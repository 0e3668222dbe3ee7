-- The farm market's tables as Django makes them for its document, without the rules that would keep impossible values out, and rows in them: {n}
-- people and what hangs on them, the same each time. Beside them come rows that cannot be: their numbers are from 900,000,001 on.
CREATE TABLE teseapi_user (id serial PRIMARY KEY, password varchar(128) NOT NULL, last_login timestamptz, is_superuser boolean NOT NULL, username varchar(150) NOT NULL,
    first_name varchar(150) NOT NULL, last_name varchar(150) NOT NULL, email varchar(254) NOT NULL, is_staff boolean NOT NULL, is_active boolean NOT NULL,
    date_joined timestamptz NOT NULL, location varchar(255) NOT NULL, bio text, business_name varchar(255), service_type varchar(255), phone_number varchar(20));
CREATE TABLE teseapi_category (id serial PRIMARY KEY, name varchar(250) NOT NULL, description varchar(250) NOT NULL);
CREATE TABLE teseapi_location (id serial PRIMARY KEY, region varchar(250) NOT NULL, district varchar(250) NOT NULL);
CREATE TABLE teseapi_listing (id serial PRIMARY KEY, listing_type varchar(20) NOT NULL, user_id integer NOT NULL, name varchar(255) NOT NULL, location varchar(255) NOT NULL,
    price numeric(10,2) NOT NULL, unit varchar(50) NOT NULL, description text NOT NULL, status varchar(20) NOT NULL, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL,
    category varchar(100), organic boolean, provider varchar(255), supplier varchar(255));
CREATE TABLE teseapi_listingimage (id serial PRIMARY KEY, content_type_id integer NOT NULL, object_id uuid NOT NULL, image_url varchar(500) NOT NULL, uploaded_at timestamptz NOT NULL);
CREATE TABLE teseapi_cartitem (id serial PRIMARY KEY, user_id integer NOT NULL, listing_id integer, quantity integer NOT NULL, price numeric(10,2) NOT NULL, created_at timestamptz NOT NULL);
CREATE TABLE teseapi_order (id serial PRIMARY KEY, user_id integer NOT NULL, total_amount numeric(10,2) NOT NULL, status varchar(20) NOT NULL, created_at timestamptz NOT NULL,
    payment_method varchar(50) NOT NULL, shipping_info jsonb, items jsonb, transaction_ref varchar(255));
CREATE TABLE teseapi_payment (id serial PRIMARY KEY, order_id integer NOT NULL, amount numeric(10,2) NOT NULL, method varchar(50) NOT NULL, status varchar(20) NOT NULL,
    transaction_ref varchar(255), created_at timestamptz NOT NULL);
CREATE TABLE messaging_conversation (id serial PRIMARY KEY, created_at timestamptz NOT NULL, updated_at timestamptz NOT NULL);
CREATE TABLE messaging_conversation_participants (id serial PRIMARY KEY, conversation_id integer NOT NULL, user_id integer NOT NULL);
CREATE TABLE messaging_message (id serial PRIMARY KEY, conversation_id integer NOT NULL, sender_id integer NOT NULL, content text NOT NULL, "timestamp" timestamptz NOT NULL,
    is_read boolean NOT NULL);
CREATE INDEX ON teseapi_payment (order_id);
CREATE INDEX ON messaging_conversation_participants (conversation_id);
CREATE INDEX ON messaging_message (conversation_id);

INSERT INTO teseapi_user
SELECT i, 'pbkdf2_sha256$1000$salt$' || encode(sha256(i::text::bytea), 'base64'), CASE WHEN i % 2 = 0 THEN '2024-09-01Z'::timestamptz + i * interval '1 minute' END, i = 1, 'farmer' || i,
       'Person', 'Number ' || i, 'farmer' || i || '@example.com', i % 30 = 1, i % 11 > 0, '2024-01-01Z'::timestamptz + i * interval '7 minutes', 'Harare',
       'Grows things since ' || 1900 + i % 100, CASE WHEN i % 3 = 0 THEN 'Farm ' || i END, CASE WHEN i % 9 = 0 THEN 'ploughing' END,
       CASE WHEN i % 3 = 0 THEN '+26377' || lpad(i::text, 7, '0') END
FROM generate_series(1, {n}) i;
INSERT INTO teseapi_category SELECT i, 'Basket ' || i, 'What grows in basket ' || i FROM generate_series(1, 10) i;
INSERT INTO teseapi_location SELECT i, 'Old Region ' || i % 4, 'District ' || i FROM generate_series(1, 10) i;
INSERT INTO teseapi_listing
SELECT i, (ARRAY['product', 'product', 'service', 'supplier_product'])[1 + i % 4], 1 + i % ({n} / 2), 'Good ' || i, 'Harare', 1 + (i * 37 % 4000) / 100.0,
       (ARRAY['kilogram', 'bunch', 'hour', 'punnet'])[1 + i % 4], 'Good for much, number ' || i, (ARRAY['active', 'active', 'inactive', 'sold'])[1 + i / 2 % 4],
       '2024-01-01Z'::timestamptz + i * interval '3 minutes', '2024-06-02Z'::timestamptz + i * interval '3 minutes', 'Basket ' || 1 + i % 10, i % 5 = 0,
       CASE WHEN i % 4 = 2 THEN 'Provider ' || i END, CASE WHEN i % 4 = 3 THEN 'Supplier ' || i END
FROM generate_series(1, {n}) i;
INSERT INTO teseapi_listingimage
SELECT i, 7, lpad(to_hex(1 + i / 2), 32, '0')::uuid, 'https://pictures.example.com/' || i || '.jpg', '2024-02-01Z'::timestamptz + i * interval '1 minute' FROM generate_series(1, {n}) i;
INSERT INTO teseapi_cartitem SELECT i, 1 + i % {n}, 1 + i * 3 % {n}, 1 + i % 4, 2.50, '2024-09-01Z'::timestamptz + i * interval '1 minute' FROM generate_series(1, {n}) i;
INSERT INTO teseapi_order
SELECT i, 1 + i % {n}, s.total + CASE i % 10 WHEN 1 THEN 5 WHEN 3 THEN -0.50 ELSE 0 END, (ARRAY['DELIVERED', 'PAID', 'PENDING', 'SHIPPED', 'CANCELLED', 'FAILED', 'PROCESSING'])[1 + i % 7],
       '2024-07-01Z'::timestamptz + i * interval '11 minutes', (ARRAY['stripe', 'paynow'])[1 + i % 2],
       jsonb_build_object('name', 'Person ' || i, 'address', i || ' Samora Machel Avenue', 'city', 'Harare'), s.items, NULL
FROM generate_series(1, {n} * 2) i CROSS JOIN LATERAL (
    SELECT sum(l.price * (1 + k)) AS total, jsonb_agg(jsonb_build_object('listing_id', l.id, 'name', l.name, 'quantity', 1 + k, 'price', l.price)) AS items
    FROM generate_series(0, i % 3) k JOIN teseapi_listing l ON l.id = 1 + (i * 7 + k) % {n}) s;
INSERT INTO teseapi_payment
SELECT i, o.id, o.total_amount, o.payment_method, CASE o.status WHEN 'PENDING' THEN 'INITIATED' WHEN 'FAILED' THEN 'FAILED' WHEN 'CANCELLED' THEN (ARRAY['REFUNDED', 'SUCCESS'])[1 + i % 2] ELSE 'SUCCESS' END,
       'ref_' || i, o.created_at + interval '1 minute'
FROM generate_series(1, {n} * 2) i JOIN teseapi_order o ON o.id = i;
INSERT INTO messaging_conversation SELECT i, '2024-03-01Z'::timestamptz + i * interval '1 hour', '2024-03-02Z'::timestamptz + i * interval '1 hour' FROM generate_series(1, {n} / 2) i;
INSERT INTO messaging_conversation_participants SELECT i * 3 + k, i, 1 + (i * 2 + k) % {n} FROM generate_series(1, {n} / 2) i, generate_series(0, 1) k;
INSERT INTO messaging_message
SELECT i * 4 + k, i, 1 + (i * 2 + k % 2) % {n}, 'Word ' || k || ' of talk ' || i, '2024-03-01Z'::timestamptz + i * interval '1 hour' + k * interval '1 minute', true
FROM generate_series(1, {n} / 2) i, generate_series(0, i % 4) k;
UPDATE messaging_message m SET is_read = false WHERE m.id % 8 = 0 AND NOT EXISTS (SELECT FROM messaging_message o WHERE o.conversation_id = m.conversation_id AND o.id > m.id);

INSERT INTO teseapi_user (id, password, is_superuser, username, first_name, last_name, email, is_staff, is_active, date_joined, location) VALUES
    (900000001, '!', false, 'nobody', '', '', '', false, true, '2024-01-01Z', ''), (900000002, '!', false, 'twice', '', '', 'FARMER1@example.com', false, true, '2024-01-01Z', ''),
    (900000003, '!', false, 'ever', '', '', 'ever@example.com', false, true, 'infinity', '');
INSERT INTO teseapi_category VALUES (900000001, '', '');
INSERT INTO teseapi_location VALUES (900000001, ' ', '');
INSERT INTO teseapi_listing (id, listing_type, user_id, name, location, price, unit, description, status, created_at, updated_at) VALUES
    (900000001, 'animal', 1, 'Goat', '', 1, 'head', '', 'active', '2024-01-01Z', '2024-01-01Z'), (900000002, 'product', 900000001, 'Orphan', '', 1, 'head', '', 'active', '2024-01-01Z', '2024-01-01Z'),
    (900000003, 'product', 1, 'Nan', '', 'NaN', 'head', '', 'active', '2024-01-01Z', '2024-01-01Z'), (900000004, 'product', 1, 'Odd', '', 1, 'head', '', 'eaten', '2024-01-01Z', '2024-01-01Z'),
    (900000005, 'product', 1, '', '', 1, 'head', '', 'active', '2024-01-01Z', '2024-01-01Z');
INSERT INTO teseapi_listingimage VALUES (900000001, 7, lpad('1', 32, '0')::uuid, 'picture.jpg', '2024-01-01Z'),
    (900000002, 7, 'ffffffff-ffff-ffff-ffff-ffffffffffff', 'https://pictures.example.com/of-nothing.jpg', '2024-01-01Z');
INSERT INTO teseapi_cartitem VALUES (900000001, 1, NULL, 1, 1, '2024-01-01Z'), (900000002, 1, 1, -1, 1, '2024-01-01Z');
INSERT INTO teseapi_order (id, user_id, total_amount, status, created_at, payment_method, items) VALUES (900000001, 1, 5, 'PAID', '2024-01-01Z', 'stripe', NULL),
    (900000002, 900000001, 5, 'PAID', '2024-01-01Z', 'stripe', '[{"listing_id": 1, "quantity": 1, "price": 5}]'), (900000003, 1, 5, 'LOST', '2024-01-01Z', 'stripe', '[{"listing_id": 1, "price": 5}]'),
    (900000004, 1, 5, 'PAID', '2024-01-01Z', 'stripe', '[{"listing_id": 1, "quantity": 0, "price": 5}]'), (900000005, 1, 5, 'PAID', '2024-01-01Z', 'stripe', '[{"listing_id": 77777777, "quantity": 1, "price": 5}]');
INSERT INTO teseapi_payment VALUES (900000001, 900000001, 5, 'stripe', 'SUCCESS', 'bad_1', '2024-01-01Z'), (900000002, 1, 5, 'stripe', 'MAYBE', 'bad_2', '2024-01-01Z'),
    (900000003, 7, 1, 'stripe', 'SUCCESS', 'bad_3', '2024-01-01Z'), (900000004, 77777777, 1, 'stripe', 'SUCCESS', 'bad_4', '2024-01-01Z');
INSERT INTO messaging_conversation VALUES (900000001, '2024-01-01Z', '2024-01-01Z');
INSERT INTO messaging_conversation_participants VALUES (900000001, 900000001, 1);
INSERT INTO messaging_message VALUES (900000001, 900000001, 1, 'Alone', '2024-01-01Z', true), (900000002, 1, 3, '', '2024-04-01Z', true), (900000003, 1, 30, 'Not mine', '2024-04-01Z', true);
ANALYZE;
