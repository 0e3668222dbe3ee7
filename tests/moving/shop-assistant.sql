-- The shop's tables as its document has them, without the rules that would keep impossible values out, and rows in them: {n} people
-- and what hangs on them, the same each time. Beside them come rows that cannot be: their numbers are from 900,000,001 on.
CREATE TABLE categories (id serial PRIMARY KEY, name varchar(100), description text, parent_id integer, slug varchar(100), is_active boolean DEFAULT true,
    created_at timestamp DEFAULT CURRENT_TIMESTAMP, updated_at timestamp DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE products (id serial PRIMARY KEY, name varchar(255) NOT NULL, description text, price decimal(10,2) NOT NULL, category_id integer, brand varchar(100),
    sku varchar(100), stock_quantity integer DEFAULT 0, image_url varchar(500), specifications jsonb, is_active boolean DEFAULT true,
    created_at timestamp DEFAULT CURRENT_TIMESTAMP, updated_at timestamp DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE users (id serial PRIMARY KEY, username varchar(100) NOT NULL, email varchar(255) NOT NULL, password_hash varchar(255) NOT NULL, first_name varchar(100),
    last_name varchar(100), phone varchar(20), is_active boolean DEFAULT true, created_at timestamp DEFAULT CURRENT_TIMESTAMP, updated_at timestamp DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE orders (id serial PRIMARY KEY, user_id integer, order_number varchar(50) NOT NULL, status varchar(50) DEFAULT 'pending', total_amount decimal(10,2) NOT NULL,
    tax_amount decimal(10,2) DEFAULT 0, shipping_address jsonb, billing_address jsonb, payment_method varchar(50), payment_status varchar(50) DEFAULT 'pending',
    created_at timestamp DEFAULT CURRENT_TIMESTAMP, updated_at timestamp DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE order_items (id serial PRIMARY KEY, order_id integer, product_id integer, quantity integer NOT NULL, unit_price decimal(10,2) NOT NULL,
    total_price decimal(10,2) NOT NULL, created_at timestamp DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE sessions (id serial PRIMARY KEY, session_id varchar(255) UNIQUE NOT NULL, user_id integer, data jsonb, expires_at timestamp NOT NULL,
    created_at timestamp DEFAULT CURRENT_TIMESTAMP, updated_at timestamp DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE cart_items (id serial PRIMARY KEY, session_id varchar(255) NOT NULL, product_id integer, quantity integer NOT NULL DEFAULT 1,
    created_at timestamp DEFAULT CURRENT_TIMESTAMP, updated_at timestamp DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE analytics (id serial PRIMARY KEY, event_type varchar(100) NOT NULL, user_id integer, session_id varchar(255), data jsonb, created_at timestamp DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE search_logs (id serial PRIMARY KEY, query text NOT NULL, user_id integer, session_id varchar(255), results_count integer, search_type varchar(50),
    response_time_ms integer, created_at timestamp DEFAULT CURRENT_TIMESTAMP);
CREATE INDEX ON order_items (order_id);
CREATE INDEX ON categories (parent_id);

INSERT INTO categories
SELECT i, 'Shelf ' || i, 'What is on shelf ' || i, CASE WHEN i % 3 = 0 THEN i - 1 WHEN i % 7 = 0 AND i < 20 THEN i + 1 END, 'shelf-' || i, i % 9 > 0,
       '2024-01-01', '2024-01-02' FROM generate_series(1, 20) i;
INSERT INTO users
SELECT i, 'person' || i, 'person' || i || '@example.com', 'pbkdf2_sha256$1000$salt$' || encode(sha256(i::text::bytea), 'base64'), 'Person', 'Number ' || i,
       CASE WHEN i % 3 = 0 THEN '+1303555' || lpad(i::text, 7, '0') END, i % 11 > 0, '2024-01-01'::timestamp + i * interval '7 minutes', '2024-06-01'::timestamp + i * interval '7 minutes'
FROM generate_series(1, {n}) i;
INSERT INTO products
SELECT i, 'Thing ' || i, 'Good for much, number ' || i, 5 + (i * 37 % 4000) / 100.0, CASE WHEN i % 6 > 0 THEN 1 + i % 20 END, 'Brand ' || i % 7, 'SKU-' || i, i % 30,
       CASE WHEN i % 2 = 0 THEN 'https://pictures.example.com/' || i || '.jpg' END, jsonb_build_object('weight', i, 'color', 'blue'), i % 8 > 0,
       '2024-01-01'::timestamp + i * interval '3 minutes', '2024-06-02'::timestamp + i * interval '3 minutes'
FROM generate_series(1, {n}) i;
INSERT INTO orders
SELECT i, CASE WHEN i % 10 > 0 THEN 1 + i % {n} END, 'N-' || lpad(i::text, 8, '0'), (ARRAY['delivered', 'paid', 'pending', 'processed', 'cancelled'])[1 + i % 5],
       0, 0, jsonb_build_object('name', 'Person ' || i, 'street', i || ' Main Street', 'city', 'Denver', 'zip', '80201', 'country', 'USA'), NULL,
       (ARRAY['credit_card', 'paypal'])[1 + i % 2], (ARRAY['paid', 'paid', 'pending', 'paid', 'failed', 'paid', 'paid', 'pending', 'paid', 'paid', 'paid', 'paid', 'pending', 'paid', 'refunded'])[1 + i % 15],
       '2024-07-01'::timestamp + i * interval '11 minutes', '2024-07-02'::timestamp + i * interval '11 minutes'
FROM generate_series(1, {n} * 2) i;
INSERT INTO order_items (order_id, product_id, quantity, unit_price, total_price, created_at)
SELECT i, p.id, 1 + k, p.price, p.price * (1 + k), '2024-07-01'::timestamp + i * interval '11 minutes'
FROM generate_series(1, {n} * 2) i CROSS JOIN LATERAL generate_series(0, i % 3) k JOIN products p ON p.id = 1 + (i * 7 + k) % {n};
UPDATE orders o SET tax_amount = CASE WHEN o.id % 4 = 0 THEN round(s.amount / 20, 2) ELSE 0 END,
    total_amount = s.amount + CASE WHEN o.id % 8 = 0 THEN round(s.amount / 20, 2) ELSE 0 END + CASE o.id % 10 WHEN 1 THEN 5 WHEN 3 THEN -1 ELSE 0 END
FROM (SELECT order_id, sum(total_price) AS amount FROM order_items GROUP BY 1) s WHERE s.order_id = o.id;
INSERT INTO sessions (session_id, user_id, expires_at) SELECT 'session-' || i, CASE WHEN i % 4 > 0 THEN i END, '2030-01-01' FROM generate_series(1, {n}) i;
INSERT INTO cart_items (session_id, product_id, quantity, created_at, updated_at)
SELECT 'session-' || i, 1 + i * k % {n}, k, '2024-09-01', '2024-09-02' FROM generate_series(1, {n}, 2) i, generate_series(1, 2) k WHERE i % 4 > 0;
INSERT INTO analytics (event_type, user_id, session_id, data, created_at)
SELECT 'product_view', 1 + i % {n}, 'session-' || i, jsonb_build_object('product', i), '2024-08-01'::timestamp + i * interval '1 minute' FROM generate_series(1, {n} * 2) i;
INSERT INTO search_logs (query, user_id, session_id, results_count, search_type, response_time_ms, created_at)
SELECT 'thing ' || i, 1 + i % {n}, 'session-' || i, i % 40, (ARRAY['words', 'semantic'])[1 + i % 2], i % 90, '2024-08-01'::timestamp + i * interval '1 minute'
FROM generate_series(1, {n}) i;

INSERT INTO categories (id, name, slug, parent_id) VALUES (900000001, '', 'nameless', NULL), (900000002, 'Loop', 'loop', 900000002);
INSERT INTO users (id, username, email, password_hash) VALUES (900000001, 'nobody', 'none', 'x'), (900000002, 'twice', 'PERSON1@example.com', 'x');
INSERT INTO users (id, username, email, password_hash, created_at) VALUES (900000003, 'ever', 'ever@example.com', 'x', 'infinity');
INSERT INTO products (id, name, price, sku, stock_quantity, specifications) VALUES (900000001, 'Gift', -1, 'bad-1', 1, '{}'), (900000002, 'Debt', 1, 'bad-2', -1, '{}'),
    (900000003, '', 1, 'bad-3', 1, '{}'), (900000004, 'Twin', 1, 'SKU-1', 1, '{}'), (900000005, 'List', 1, 'bad-5', 1, '[1]');
INSERT INTO products (id, name, price, sku, description) VALUES (900000006, 'Saga', 1, 'bad-6', rpad('', 20001, 'x'));
INSERT INTO orders (id, user_id, order_number, status, total_amount, payment_status) VALUES (900000001, 1, 'bad-1', 'paid', 5, 'paid'), (900000002, 900000001, 'bad-2', 'paid', 5, 'paid'),
    (900000003, 1, 'bad-3', 'lost', 5, 'paid'), (900000004, 1, 'bad-4', 'paid', 5, 'paid'), (900000005, 1, 'bad-5', 'paid', -5, 'paid');
INSERT INTO order_items (id, order_id, product_id, quantity, unit_price, total_price) VALUES (900000002, 900000002, 1, 1, 5, 5), (900000003, 900000003, 1, 1, 5, 5),
    (900000004, 900000004, 1, 0, 5, 5), (900000005, NULL, 1, 1, 5, 5), (900000006, 900000005, 900000001, 1, 5, 5);
INSERT INTO cart_items (id, session_id, product_id) VALUES (900000001, 'nobody', 1), (900000002, 'session-1', 900000001);
INSERT INTO analytics (id, event_type, created_at) VALUES (900000001, '', '2024-01-01'), (900000002, 'odd', '-infinity');
INSERT INTO search_logs (id, query, results_count) VALUES (900000001, '', 1), (900000002, 'less', -1);
ANALYZE;
