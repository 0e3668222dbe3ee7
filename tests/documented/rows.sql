-- Rows of every sort for any of the five stores. Ann (1) and Ben (2) buy from the shop (3): a loaf twice reviewed and three times
-- sold, of which one order was never delivered, so that joined sums would come out wrong.
INSERT INTO users (id, username, email, display_name, first_name, password_hash)
    SELECT id, name, name || '@example.com', initcap(name), initcap(name), 'secret hash'
    FROM unnest(ARRAY['00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000002',
                      '00000000-0000-0000-0000-000000000003']::uuid[], ARRAY['ann', 'ben', 'shop']) AS p(id, name);
INSERT INTO user_roles (user_id, role) SELECT '00000000-0000-0000-0000-000000000003', 'admin';
INSERT INTO user_roles (user_id, role) SELECT u.id, r.code FROM users u, roles r WHERE r.is_default AND u.username IN ('ann', 'ben');
INSERT INTO outside_logins (provider, subject, user_id) VALUES ('google', '1', '00000000-0000-0000-0000-000000000001');
INSERT INTO listings (id, seller_id, kind, feed, slug, title, description, category_id, status, published_at, attributes)
    SELECT id, '00000000-0000-0000-0000-000000000003', (SELECT min(code) FROM listing_kinds), 'discover', lower(title), title, 'Good and round.',
           (SELECT id FROM categories WHERE parent_id IS NULL ORDER BY position, slug LIMIT 1), 'active', now(), '{"organic": true, "Color": "brown"}'
    FROM unnest(ARRAY['00000000-0000-0000-0000-000000000011', '00000000-0000-0000-0000-000000000012']::uuid[], ARRAY['Loaf', 'Roll']) AS l(id, title);
UPDATE listings SET location = geo_point(36.8065, 10.1815) WHERE title = 'Loaf';
UPDATE listings SET location = geo_point(35.8256, 10.6369) WHERE title = 'Roll';
INSERT INTO variants (id, listing_id, unit, on_hand, sku, options) VALUES
    ('00000000-0000-0000-0000-000000000021', '00000000-0000-0000-0000-000000000011', 'piece', 20, 'LOAF-1', '{}'),
    ('00000000-0000-0000-0000-000000000022', '00000000-0000-0000-0000-000000000012', 'piece', NULL, 'ROLL-1', '{"size": "small"}');
INSERT INTO prices (variant_id, currency, amount_minor, valid_from)
    SELECT v.id, f.value, 2599, now() - interval '1 day' FROM variants v, store_facts f WHERE f.name = 'currency';
INSERT INTO listing_images (listing_id, position, url) VALUES ('00000000-0000-0000-0000-000000000011', 0, 'https://example.com/loaf.webp');
INSERT INTO reviews (listing_id, user_id, rating, comment) VALUES
    ('00000000-0000-0000-0000-000000000011', '00000000-0000-0000-0000-000000000001', 5, 'Good'),
    ('00000000-0000-0000-0000-000000000011', '00000000-0000-0000-0000-000000000002', 2, 'Burnt');

CREATE TEMP TABLE placed AS
    SELECT o.id, o.number, o.buyer, o.quantity, o.at,
           CASE WHEN o.done THEN (SELECT code FROM order_states WHERE process = 'purchase'
                                  AND documented IN ('delivered', 'DELIVERED', 'completed') ORDER BY position DESC LIMIT 1)
                ELSE 'pending' END AS state, o.done
    FROM (VALUES ('00000000-0000-0000-0000-000000000031'::uuid, 'N1', '00000000-0000-0000-0000-000000000001'::uuid, 2, true, '2026-03-01 03:00Z'::timestamptz),
                 ('00000000-0000-0000-0000-000000000032', 'N2', '00000000-0000-0000-0000-000000000001', 3, true, '2026-03-01 12:00Z'),
                 ('00000000-0000-0000-0000-000000000033', 'N3', '00000000-0000-0000-0000-000000000002', 7, false, '2026-03-02 12:00Z')) AS o(id, number, buyer, quantity, done, at);
INSERT INTO orders (id, number, buyer_id, process, state, currency, payment_method, payment_state, placed_at)
    SELECT p.id, p.number, p.buyer, 'purchase', p.state, f.value, 'stripe', CASE WHEN p.done THEN 'paid' ELSE 'pending' END, p.at
    FROM placed p, store_facts f WHERE f.name = 'currency';
INSERT INTO fulfilments (order_id, seller_id, buyer_id, process, state) SELECT id, '00000000-0000-0000-0000-000000000003', buyer, 'purchase', state FROM placed;
INSERT INTO order_lines (order_id, line_no, buyer_id, seller_id, listing_id, variant_id, title, unit, quantity, unit_price_minor, gross_minor, commission_minor)
    SELECT id, 1, buyer, '00000000-0000-0000-0000-000000000003', '00000000-0000-0000-0000-000000000011', '00000000-0000-0000-0000-000000000021',
           'Loaf', 'piece', quantity, 1000, quantity * 1000, quantity * 50 FROM placed;
INSERT INTO line_configurations (order_id, line_no, flavor, size, frosting) SELECT id, 1, 'vanilla', 'large', 'none' FROM placed WHERE number = 'N1';
INSERT INTO payments (order_id, buyer_id, gateway, method, amount_minor, currency, state, gateway_ref)
    SELECT p.id, p.buyer, 'stripe', 'card', p.quantity * 1000, f.value, CASE WHEN p.done THEN 'success' ELSE 'initiated' END, 'ref_' || p.number
    FROM placed p, store_facts f WHERE f.name = 'currency';
INSERT INTO loyalty_entries (user_id, points, kind) VALUES ('00000000-0000-0000-0000-000000000001', 70, 'earned');
INSERT INTO promo_codes (code, kind, percent, valid_to, usage_limit) VALUES ('TEN', 'percent', 10, now() + interval '1 day', 1000);
INSERT INTO delivery_slots (id, delivery_on, starts_at, ends_at, capacity) VALUES ('00000000-0000-0000-0000-000000000041', '2030-01-01', '09:00', '11:00', 9);
INSERT INTO slot_bookings (order_id, slot_id) VALUES ('00000000-0000-0000-0000-000000000031', '00000000-0000-0000-0000-000000000041');
INSERT INTO carts (id, user_id, currency) SELECT '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000001', value FROM store_facts WHERE name = 'currency';
INSERT INTO cart_lines (cart_id, line_no, variant_id, quantity, unit_price_minor, configuration_hash)
    VALUES ('00000000-0000-0000-0000-000000000001', 1, '00000000-0000-0000-0000-000000000021', 2, 2599, '');
INSERT INTO tokens (user_id, token_hash, kind, expires_at) VALUES ('00000000-0000-0000-0000-000000000001', '\x01', 'api', now() + interval '1 day');
INSERT INTO sessions (id_hash, user_id, expires_at) VALUES (decode(repeat('07', 32), 'hex'), '00000000-0000-0000-0000-000000000001', now() + interval '1 day');
INSERT INTO alerts (user_id, name, query, criteria_hash) VALUES ('00000000-0000-0000-0000-000000000001', 'Bread', 'sourdough', '\x01');
INSERT INTO events (kind, user_id, data) VALUES ('OrderPlaced', '00000000-0000-0000-0000-000000000001', '{}');
INSERT INTO search_log (query, user_id, results_count, search_type, response_ms) VALUES ('bread', '00000000-0000-0000-0000-000000000001', 1, 'words', 3.6);
INSERT INTO alert_matches (alert_id, listing_id, user_id) SELECT id, '00000000-0000-0000-0000-000000000011', user_id FROM alerts;
INSERT INTO notices (user_id, kind, subject_id, title, path) VALUES ('00000000-0000-0000-0000-000000000001', 'order', '00000000-0000-0000-0000-000000000001', 'Order', '/');
INSERT INTO mails (user_id, kind, state, sent_at) VALUES ('00000000-0000-0000-0000-000000000001', 'order_placed', 'sent', now());
INSERT INTO verifications (user_id, kind, status, decided_at) VALUES ('00000000-0000-0000-0000-000000000003', 'government_id', 'verified', now());
INSERT INTO follows (follower_id, followed_id) VALUES ('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000003');
INSERT INTO wishlists (user_id, listing_id) VALUES ('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000011');
INSERT INTO reports (subject_kind, subject_id, reporter_id, reason) VALUES ('listing', '00000000-0000-0000-0000-000000000012', '00000000-0000-0000-0000-000000000001', 'fraud');
INSERT INTO streams (host_id, title, category_id, scheduled_at)
    SELECT '00000000-0000-0000-0000-000000000003', 'Baking', (SELECT category_id FROM listings LIMIT 1), now() + interval '1 day';
INSERT INTO conversations (id, people, started_by, listing_id)
    VALUES ('00000000-0000-0000-0000-000000000051', ARRAY['00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000003']::uuid[],
            '00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000011');
INSERT INTO messages (conversation_id, seq, sender_id, kind, body)
    VALUES ('00000000-0000-0000-0000-000000000051', 1, '00000000-0000-0000-0000-000000000001', 'text', 'Is it still warm?');
INSERT INTO offers (listing_id, variant_id, buyer_id, seller_id, by, amount_minor, currency, quantity, conversation_id, expires_at)
    SELECT '00000000-0000-0000-0000-000000000011', '00000000-0000-0000-0000-000000000021', '00000000-0000-0000-0000-000000000001',
           '00000000-0000-0000-0000-000000000003', 'buyer', 2000, value, 1, '00000000-0000-0000-0000-000000000051', now() + interval '1 day'
    FROM store_facts WHERE name = 'currency';
DROP TABLE placed;
