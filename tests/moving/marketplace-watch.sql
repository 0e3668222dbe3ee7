-- The market watcher's tables as its document has them, without the rules that would keep impossible values out, and rows in them: {n} people
-- and what hangs on them, the same each time. Beside them come rows that cannot be: their numbers are from 900,000,001 on.
CREATE TABLE users (id serial PRIMARY KEY, username varchar(64) NOT NULL, email varchar(255) NOT NULL, password_hash varchar(255) NOT NULL, role varchar(20) NOT NULL DEFAULT 'user',
    first_name varchar(100), last_name varchar(100), created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    last_login timestamp, is_active boolean NOT NULL DEFAULT true);
CREATE TABLE listings (id serial PRIMARY KEY, external_id varchar(100) NOT NULL, title varchar(255) NOT NULL, description text, price numeric(10,2), currency varchar(3) DEFAULT 'USD',
    location varchar(255), category varchar(100), subcategory varchar(100), seller_name varchar(100), seller_id varchar(100), listing_url text NOT NULL, listed_date timestamp,
    scraped_date timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, source varchar(50) NOT NULL, is_sold boolean NOT NULL DEFAULT false, is_deleted boolean NOT NULL DEFAULT false,
    metadata jsonb, created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE listing_attributes (id serial PRIMARY KEY, listing_id integer NOT NULL, key varchar(100) NOT NULL, value text, created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE images (id serial PRIMARY KEY, listing_id integer NOT NULL, url text NOT NULL, position integer NOT NULL DEFAULT 0, width integer, height integer, size integer,
    format varchar(10), created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE alerts (id serial PRIMARY KEY, name varchar(100) NOT NULL, user_id integer NOT NULL, criteria jsonb NOT NULL, query varchar(255), created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    updated_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, last_checked timestamp, is_active boolean NOT NULL DEFAULT true,
    notification_settings jsonb NOT NULL DEFAULT '{"email": true, "push": false, "frequency": "instant"}');
CREATE TABLE alert_matches (id serial PRIMARY KEY, alert_id integer NOT NULL, listing_id integer NOT NULL, user_id integer NOT NULL, matched_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP,
    notified_at timestamp, is_read boolean NOT NULL DEFAULT false, is_saved boolean NOT NULL DEFAULT false);
CREATE TABLE notifications (id serial PRIMARY KEY, user_id integer NOT NULL, type varchar(50) NOT NULL, title varchar(255) NOT NULL, content text NOT NULL, data jsonb,
    created_at timestamp NOT NULL DEFAULT CURRENT_TIMESTAMP, sent_at timestamp, read_at timestamp, status varchar(20) NOT NULL DEFAULT 'pending');
CREATE INDEX ON listing_attributes (listing_id);
CREATE INDEX ON images (listing_id);

INSERT INTO users
SELECT i, 'watcher' || i, 'watcher' || i || '@example.com', '$2b$10$' || rpad('', 22, 'a') || left(md5(i::text), 31), CASE i WHEN 1 THEN 'admin' ELSE 'user' END, 'Person', 'Number ' || i,
       '2024-01-01'::timestamp + i * interval '7 minutes', '2024-06-01'::timestamp + i * interval '7 minutes', CASE WHEN i % 2 = 0 THEN '2024-09-01'::timestamp END, i % 11 > 0
FROM generate_series(1, {n}) i;
INSERT INTO listings
SELECT i, 'x' || i, 'Bicycle number ' || i, CASE WHEN i % 5 > 0 THEN 'Rides well, number ' || i END, CASE WHEN i % 9 > 0 THEN 5 + (i * 37 % 4000) / 100.0 END, 'USD', 'Oakland',
       (ARRAY['Bicycles', 'Old things'])[1 + i % 2], CASE WHEN i % 3 = 0 THEN 'Racing' END, 'Seller ' || i % 7, 's' || i % 7, 'https://market.example.com/' || i,
       CASE WHEN i % 2 = 0 THEN '2024-04-01'::timestamp END, '2024-04-02'::timestamp + i * interval '3 minutes', (ARRAY['harbour-classifieds', 'yard-sales'])[1 + i % 2],
       i % 10 = 0, i % 10 = 1, jsonb_build_object('frame', i), '2024-04-02'::timestamp + i * interval '3 minutes', '2024-06-02'::timestamp + i * interval '3 minutes'
FROM generate_series(1, {n} * 3) i;
INSERT INTO listing_attributes (listing_id, key, value, created_at) SELECT i, (ARRAY['color', 'gears'])[k], (ARRAY['blue', 'seven'])[k], '2024-04-03' FROM generate_series(1, {n} * 3) i, generate_series(1, 2) k;
INSERT INTO images (listing_id, url, position, width, height, size, format, created_at)
SELECT i, 'https://pictures.example.com/' || i || '-' || k || '.jpg', k, 640, 480, 40000, 'jpeg', '2024-04-03' FROM generate_series(1, {n} * 3) i, generate_series(0, 1) k;
INSERT INTO alerts
SELECT i, 'Wish ' || i, 1 + i % {n}, CASE WHEN i % 3 = 0 THEN jsonb_build_object('min_price', 10, 'max_price', 10 + i, 'category', 'Bicycles') ELSE '{}' END, 'bicycle number ' || i,
       '2024-05-01'::timestamp + i * interval '1 minute', '2024-05-02'::timestamp + i * interval '1 minute', '2024-09-01', i % 7 > 0
FROM generate_series(1, {n}) i;
INSERT INTO alert_matches SELECT i, i, i, 1 + i % {n}, '2024-06-01'::timestamp + i * interval '1 minute', '2024-06-02'::timestamp, i % 2 = 0, i % 3 = 0 FROM generate_series(1, {n}) i;
INSERT INTO notifications
SELECT i, 1 + i % {n}, 'alert_match', 'Found number ' || i, 'A bicycle', '{"n": 1}', '2024-06-01'::timestamp + i * interval '1 minute', '2024-06-01'::timestamp + i * interval '1 minute',
       CASE WHEN i % 2 = 0 THEN '2024-06-03'::timestamp END, CASE WHEN i % 2 = 0 THEN 'read' ELSE 'sent' END FROM generate_series(1, {n}) i;

INSERT INTO users (id, username, email, password_hash) VALUES (900000001, 'nobody', 'none', 'x'), (900000002, 'twice', 'WATCHER1@example.com', 'x');
INSERT INTO listings (id, external_id, title, price, currency, listing_url, source) VALUES (900000001, 'b1', '', 1, 'USD', 'https://market.example.com/b1', 'yard-sales'),
    (900000002, 'b2', 'Script', 1, 'USD', 'javascript:alert(1)', 'yard-sales'), (900000003, 'b3', 'Debt', -1, 'USD', 'https://market.example.com/b3', 'yard-sales'),
    (900000004, 'x1', 'Twin', 1, 'USD', 'https://market.example.com/b4', 'yard-sales'), (900000005, 'b5', 'Coins', 1, '1$', 'https://market.example.com/b5', 'yard-sales');
INSERT INTO listing_attributes (id, listing_id, key, value) VALUES (900000001, 1, 'color', 'red'), (900000002, 900000001, 'color', 'red'), (900000003, 77777777, 'color', 'red');
INSERT INTO images (id, listing_id, url) VALUES (900000001, 1, 'file:///etc/passwd'), (900000002, 900000001, 'https://pictures.example.com/b.jpg');
INSERT INTO alerts (id, name, user_id, criteria, query) VALUES (900000001, 'All', 1, '{}', ''), (900000002, 'Odd', 1, '{"horoscope": "lion"}', 'x'), (900000003, 'Whose', 900000001, '{}', 'x'),
    (900000004, 'Same', 2, '{}', 'bicycle number 1');
INSERT INTO alert_matches (id, alert_id, listing_id, user_id) VALUES (900000001, 1, 1, 5), (900000002, 1, 900000001, 2), (900000003, 900000001, 1, 1);
INSERT INTO notifications (id, user_id, type, title, content) VALUES (900000001, 1, 'horoscope', 'Lion', ''), (900000002, 900000001, 'alert_match', 'Whose', '');
ANALYZE;
