-- The bakery's tables as its document has them, without the rules that would keep impossible values out, and rows in them: {n} people
-- and what hangs on them, the same each time. Beside them come rows that cannot be: their ids begin with bad.
CREATE TABLE users (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name varchar(255) NOT NULL, email varchar(255) NOT NULL, password_hash varchar(255) NOT NULL,
    role varchar(50) NOT NULL, phone varchar(50), avatar_url varchar(500), social_provider varchar(20),
    created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now());
CREATE TABLE products (id uuid PRIMARY KEY, name varchar(255) NOT NULL, description text, price decimal(8,2) NOT NULL, category varchar(100),
    stock integer NOT NULL DEFAULT 0, image_url varchar(500), is_customizable boolean DEFAULT false,
    created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now());
CREATE TABLE delivery_schedules (id uuid PRIMARY KEY, delivery_date date NOT NULL, delivery_time varchar(20) NOT NULL, rider_id uuid,
    status varchar(20) NOT NULL DEFAULT 'available');
CREATE TABLE orders (id uuid PRIMARY KEY, user_id uuid NOT NULL, total_amount decimal(8,2) NOT NULL, status varchar(20) NOT NULL DEFAULT 'pending',
    payment_status varchar(20) NOT NULL DEFAULT 'pending', payment_reference varchar(255), delivery_schedule_id uuid,
    created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now());
CREATE TABLE order_items (id uuid PRIMARY KEY, order_id uuid NOT NULL, product_id uuid NOT NULL, quantity integer NOT NULL,
    unit_price decimal(8,2) NOT NULL, subtotal decimal(8,2) NOT NULL);
CREATE TABLE reviews (id uuid PRIMARY KEY, user_id uuid NOT NULL, product_id uuid NOT NULL, rating integer NOT NULL, comment text,
    created_at timestamptz DEFAULT now());
CREATE TABLE loyalty_points (id uuid PRIMARY KEY, user_id uuid NOT NULL, points integer NOT NULL DEFAULT 0, updated_at timestamptz DEFAULT now());
CREATE TABLE promo_codes (id uuid PRIMARY KEY, code varchar(50) NOT NULL, discount_type varchar(20) NOT NULL, amount decimal(8,2) NOT NULL,
    valid_from timestamptz NOT NULL, valid_to timestamptz NOT NULL, usage_limit integer, used_count integer NOT NULL DEFAULT 0);
CREATE TABLE custom_cake_configurations (id uuid PRIMARY KEY, order_id uuid NOT NULL, flavor varchar(100) NOT NULL, size varchar(50) NOT NULL,
    frosting varchar(100) NOT NULL, message text, image_reference varchar(500), extra_details jsonb);
CREATE INDEX ON order_items (order_id);
CREATE INDEX ON custom_cake_configurations (order_id);
CREATE INDEX ON orders (delivery_schedule_id);

INSERT INTO users
SELECT md5('user' || i)::uuid, 'Person ' || i, 'person' || i || '@example.com',
       CASE i % 4 WHEN 0 THEN '$2b$04$abcdefghijklmnopqrstuuB0jJHYhz1yAV6hnKW3SNI9wZ0zMvC7K' ELSE '$2b$10$' || rpad('', 22, 'a') || left(md5(i::text), 31) END,
       CASE WHEN i % 50 = 0 THEN 'rider' WHEN i = 1 THEN 'admin' WHEN i % 40 = 0 THEN 'staff' ELSE 'customer' END,
       CASE WHEN i % 3 = 0 THEN '+1617555' || lpad(i::text, 7, '0') END, NULL, CASE WHEN i % 9 = 0 THEN 'google' END,
       '2024-01-01Z'::timestamptz + i * interval '7 minutes', '2024-06-01Z'::timestamptz + i * interval '7 minutes'
FROM generate_series(1, {n}) i;
INSERT INTO products
SELECT md5('product' || i)::uuid, 'Cake ' || i, CASE WHEN i % 5 > 0 THEN 'Baked in the morning, number ' || i END, 5 + (i * 37 % 4000) / 100.0,
       (ARRAY['cakes', 'cupcakes', 'Pies', 'loaves', NULL])[1 + i % 5], i % 30, CASE WHEN i % 2 = 0 THEN 'https://pictures.example.com/' || i || '.jpg' END,
       i % 7 = 0, '2024-01-01Z'::timestamptz + i * interval '3 minutes', '2024-06-02Z'::timestamptz + i * interval '3 minutes'
FROM generate_series(1, {n} / 2) i;
INSERT INTO delivery_schedules
SELECT md5('slot' || i)::uuid, '2024-07-01'::date + i / 4, lpad((8 + i % 4 * 2)::text, 2, '0') || ':00-' || (10 + i % 4 * 2) || ':00',
       CASE WHEN i % 3 = 0 AND {n} >= 50 THEN md5('user50')::uuid END, (ARRAY['available', 'completed'])[1 + i % 2]
FROM generate_series(1, {n} / 5) i;
INSERT INTO promo_codes
SELECT md5('promo' || i)::uuid, 'SAVE-' || i, (ARRAY['percent', 'fixed'])[1 + i % 2], 1 + i % 90, '2024-01-01Z', '2030-01-01Z',
       CASE WHEN i % 3 = 0 THEN 1000 END, i % 100
FROM generate_series(1, {n} / 10) i;
INSERT INTO orders
SELECT md5('order' || i)::uuid, md5('user' || 1 + i % {n})::uuid, 0,
       (ARRAY['delivered', 'delivered', 'delivered', 'pending', 'confirmed', 'cancelled', 'refunded', 'dispatched'])[1 + i % 8],
       CASE WHEN i % 16 = 13 THEN 'paid' ELSE (ARRAY['paid', 'paid', 'paid', 'pending', 'paid', 'failed', 'refunded', 'paid'])[1 + i % 8] END, CASE WHEN i % 8 <> 3 THEN 'ref_' || i END,
       CASE WHEN i % 4 = 0 THEN md5('slot' || 1 + i % greatest({n} / 5, 1))::uuid END,
       '2024-07-01Z'::timestamptz + i * interval '11 minutes', '2024-07-02Z'::timestamptz + i * interval '11 minutes'
FROM generate_series(1, {n} * 5 / 2) i;
INSERT INTO order_items
SELECT md5('item' || i || '/' || k)::uuid, md5('order' || i)::uuid, p.id, 1 + k, p.price, p.price * (1 + k)
FROM generate_series(1, {n} * 5 / 2) i, generate_series(0, i % 3) k
JOIN LATERAL (SELECT id, price FROM products WHERE id = md5('product' || 1 + (i * 7 + k) % greatest({n} / 2, 1))::uuid) p ON true;
UPDATE orders o SET total_amount = s.amount + CASE WHEN abs(hashtext(o.id::text)) % 10 = 0 THEN 5 WHEN abs(hashtext(o.id::text)) % 10 = 1 THEN -1 ELSE 0 END
FROM (SELECT order_id, sum(subtotal) AS amount FROM order_items GROUP BY 1) s WHERE s.order_id = o.id;
INSERT INTO custom_cake_configurations
SELECT md5('cake' || i)::uuid, md5('order' || i)::uuid, 'vanilla', 'large', 'buttercream', 'Happy birthday ' || i, NULL, '{"tiers": 2}'
FROM generate_series(1, {n} * 5 / 2, 10) i;
INSERT INTO reviews
SELECT md5('review' || i)::uuid, md5('user' || 1 + i % {n})::uuid, md5('product' || 1 + (i / {n} + i) % greatest({n} / 2, 1))::uuid, 1 + i % 5,
       CASE WHEN i % 4 > 0 THEN 'It was good, ' || i END, '2024-08-01Z'::timestamptz + i * interval '5 minutes'
FROM generate_series(1, {n}) i;
INSERT INTO loyalty_points
SELECT md5('points' || i)::uuid, md5('user' || i)::uuid, i % 500, '2024-09-01Z'::timestamptz + i * interval '1 minute' FROM generate_series(1, {n}, 2) i;

-- What cannot be, and why; the tests look for each.
INSERT INTO users (id, name, email, password_hash, role) VALUES
    ('bad00000-0000-0000-0000-000000000001', 'Nobody', 'no address', 'x', 'customer'),
    ('bad00000-0000-0000-0000-000000000002', 'Twice', 'PERSON1@example.com', 'x', 'customer'),
    ('bad00000-0000-0000-0000-000000000003', '', 'empty@example.com', 'x', 'customer'),
    ('bad00000-0000-0000-0000-000000000004', 'King', 'king@example.com', 'x', 'king');
INSERT INTO users (id, name, email, password_hash, role, created_at) VALUES
    ('bad00000-0000-0000-0000-000000000005', 'Ever', 'ever@example.com', 'x', 'customer', 'infinity');
INSERT INTO products (id, name, price, stock) VALUES
    ('bad00000-0000-0000-0000-000000000001', 'Gift', -1, 1), ('bad00000-0000-0000-0000-000000000002', 'Debt', 1, -1),
    ('bad00000-0000-0000-0000-000000000003', '', 1, 1), ('bad00000-0000-0000-0000-000000000004', 'Nan', 'NaN', 1);
INSERT INTO products (id, name, description, price, stock) VALUES ('bad00000-0000-0000-0000-000000000005', 'Saga', rpad('', 20001, 'x'), 1, 1);
INSERT INTO delivery_schedules VALUES
    ('bad00000-0000-0000-0000-000000000001', '2024-07-01', 'after lunch', NULL, 'available'),
    ('bad00000-0000-0000-0000-000000000002', 'infinity', '10:00-11:00', NULL, 'available'),
    ('bad00000-0000-0000-0000-000000000003', '2024-07-01', '12:00-11:00', NULL, 'available');
INSERT INTO promo_codes VALUES
    ('bad00000-0000-0000-0000-000000000001', 'A LOT', 'percent', 10, '2024-01-01Z', '2025-01-01Z'),
    ('bad00000-0000-0000-0000-000000000002', 'MUCH', 'percent', 110, '2024-01-01Z', '2025-01-01Z'),
    ('bad00000-0000-0000-0000-000000000003', 'BACK', 'fixed', 10, '2025-01-01Z', '2024-01-01Z');
INSERT INTO orders (id, user_id, total_amount, status, payment_status) VALUES
    ('bad00000-0000-0000-0000-000000000001', md5('user1')::uuid, 5, 'delivered', 'paid'),
    ('bad00000-0000-0000-0000-000000000002', 'bad00000-0000-0000-0000-000000000001', 5, 'delivered', 'paid'),
    ('bad00000-0000-0000-0000-000000000003', md5('user1')::uuid, 5, 'lost', 'paid'),
    ('bad00000-0000-0000-0000-000000000004', md5('user1')::uuid, 5, 'delivered', 'paid');
INSERT INTO order_items VALUES
    ('bad00000-0000-0000-0000-000000000002', 'bad00000-0000-0000-0000-000000000002', md5('product1')::uuid, 1, 5, 5),
    ('bad00000-0000-0000-0000-000000000003', 'bad00000-0000-0000-0000-000000000003', md5('product1')::uuid, 1, 5, 5),
    ('bad00000-0000-0000-0000-000000000004', 'bad00000-0000-0000-0000-000000000004', md5('product1')::uuid, 0, 5, 5),
    ('bad00000-0000-0000-0000-000000000005', 'bad00000-0000-0000-0000-00000000ffff', md5('product1')::uuid, 1, 5, 5);
INSERT INTO reviews VALUES
    ('bad00000-0000-0000-0000-000000000001', md5('user1')::uuid, md5('product1')::uuid, 9, 'Too good'),
    ('bad00000-0000-0000-0000-000000000002', md5('user1')::uuid, 'bad00000-0000-0000-0000-000000000001', 3, 'Of nothing');
INSERT INTO loyalty_points VALUES ('bad00000-0000-0000-0000-000000000001', 'bad00000-0000-0000-0000-000000000001', 5),
    ('bad00000-0000-0000-0000-000000000002', md5('user2')::uuid, -5);
ANALYZE;
