-- system: omade
-- How a bakery's database of this document's form moves in; flows/move_plan says what the notes mean.

-- step: users
-- table: users by id
-- read: id uuid, name text, email text, password_hash text, role text, phone text?, social_provider text?, created_at timestamptz,
--    updated_at timestamptz
-- seal: phone as phone
-- refuse users: the e-mail address is missing or none | coalesce(b.email, '') !~ '^[^@[:space:]]{1,64}@[^@[:space:]]{1,190}$'
-- refuse users: another row has this e-mail address |
--    EXISTS (SELECT FROM users u WHERE u.email = b.email::citext AND u.id <> b.id)
-- refuse users: another row has this e-mail address | twice lower(btrim(email))
-- refuse users: the name is missing or longer than 100 letters | char_length(btrim(coalesce(b.name, ''))) NOT BETWEEN 1 AND 100
-- refuse users: the role is not one of the four | coalesce(b.role, '') NOT IN ('customer', 'rider', 'staff', 'admin')
-- refuse users: a moment is not possible | move_in_bad_moment(b.created_at) OR move_in_bad_moment(b.updated_at)
-- note users: the password was left out, because it is in no known form; a new one is set by e-mail |
--    b.password_hash <> '' AND move_in_hash(b.password_hash) IS NULL
-- note users: the telephone number was left out, because it is none with a country code |
--    b.phone <> '' AND b.phone_enc IS NULL
-- note users: the telephone number was left out, because somebody else has it |
--    EXISTS (SELECT FROM users u WHERE u.phone_index = b.phone_index AND u.id <> b.id)
-- note users: the telephone number was left out, because somebody else has it | twice phone_index
-- count users: | | users t ON t.id = b.id
INSERT INTO users (id, username, email, display_name, bio)
VALUES (move_in_key('omade.house', 0), 'house', 'house@omade.invalid', :store, '')
ON CONFLICT DO NOTHING;
INSERT INTO user_roles (user_id, role) SELECT id, 'staff' FROM users WHERE id = move_in_key('omade.house', 0) ON CONFLICT DO NOTHING;
INSERT INTO users (id, username, email, display_name, password_hash, phone_enc, phone_index, created_at, updated_at)
SELECT b.id, move_in_username(b.name, b.id::text), btrim(b.email), btrim(b.name), move_in_hash(b.password_hash),
       CASE WHEN p.n = 1 THEN b.phone_enc END, CASE WHEN p.n = 1 THEN b.phone_index END,
       coalesce(b.created_at, now()), coalesce(b.updated_at, b.created_at, now())
FROM batch_users b
LEFT JOIN (SELECT id, row_number() OVER (PARTITION BY phone_index ORDER BY id) AS n FROM batch_users WHERE phone_index IS NOT NULL) p
  ON p.id = b.id AND p.n = 1 AND NOT EXISTS (SELECT FROM users u WHERE u.phone_index = b.phone_index)
ON CONFLICT (id) DO NOTHING;
INSERT INTO user_roles (user_id, role) SELECT id, role FROM batch_users ON CONFLICT DO NOTHING;

-- step: products
-- table: products by id
-- read: id uuid, name text, description text, price numeric, category text, stock integer, image_url text, is_customizable boolean,
--    created_at timestamptz, updated_at timestamptz
-- refuse products: the name is missing or longer than 255 letters | char_length(coalesce(b.name, '')) NOT BETWEEN 1 AND 255
-- refuse products: the description is longer than 20,000 letters | char_length(b.description) > 20000
-- refuse products: the price is not possible | b.price IS NULL OR move_in_bad_amount(b.price, :currency)
-- refuse products: there is less than nothing in stock | b.stock < 0
-- refuse products: the category is longer than 100 letters | char_length(b.category) > 100
-- refuse products: a moment is not possible | move_in_bad_moment(b.created_at) OR move_in_bad_moment(b.updated_at)
-- note products: the picture was left out, because it has no web address | b.image_url <> '' AND b.image_url !~ '^https?://'
-- count products: price | major_units(p.amount_minor, p.currency) |
--    listings t ON t.id = b.id JOIN LATERAL (SELECT * FROM prices WHERE variant_id = t.id ORDER BY valid_from LIMIT 1) p ON true
INSERT INTO categories (slug, name, is_own)
SELECT DISTINCT ON (1) move_in_slug(b.category), btrim(b.category), true FROM batch_products b
WHERE btrim(b.category) <> '' AND NOT EXISTS (
    SELECT FROM categories c WHERE c.slug = move_in_slug(b.category) OR lower(c.name) = lower(btrim(b.category)))
ORDER BY 1 ON CONFLICT DO NOTHING;
INSERT INTO categories (slug, name, is_own) SELECT 'other', 'Other', true FROM batch_products WHERE btrim(coalesce(category, '')) = ''
LIMIT 1 ON CONFLICT DO NOTHING;
WITH named AS (
    SELECT w.category, (SELECT c.id FROM categories c WHERE c.slug = move_in_slug(coalesce(nullif(btrim(w.category), ''), 'other'))
                        OR lower(c.name) = lower(btrim(w.category))
                        ORDER BY c.slug = move_in_slug(coalesce(nullif(btrim(w.category), ''), 'other')) DESC LIMIT 1) AS id
    FROM (SELECT DISTINCT category FROM batch_products) w
)
INSERT INTO listings (id, seller_id, kind, feed, slug, title, description, category_id, status, is_customizable, published_at,
                      price_minor, price_to_minor, currency, unit, in_stock, created_at, updated_at)
SELECT b.id, :seller, 'product', 'discover', move_in_slug(b.name), b.name, coalesce(b.description, ''), n.id, 'active',
       coalesce(b.is_customizable, false), coalesce(b.created_at, now()), minor_units(b.price, :currency),
       minor_units(b.price, :currency), :currency, 'piece', b.stock >= 1, coalesce(b.created_at, now()), coalesce(b.updated_at, b.created_at, now())
FROM batch_products b JOIN named n ON n.category IS NOT DISTINCT FROM b.category
ON CONFLICT (id) DO NOTHING;
INSERT INTO variants (id, listing_id, unit, on_hand, created_at, updated_at)
SELECT b.id, b.id, 'piece', coalesce(b.stock, 0), coalesce(b.created_at, now()), coalesce(b.updated_at, b.created_at, now())
FROM batch_products b ON CONFLICT (id) DO NOTHING;
INSERT INTO prices (id, variant_id, currency, amount_minor, valid_from)
SELECT b.id, b.id, :currency, minor_units(b.price, :currency), least(coalesce(b.created_at, now()), now())
FROM batch_products b ON CONFLICT DO NOTHING;
INSERT INTO stock_movements (id, variant_id, quantity, reason)
SELECT b.id, b.id, b.stock, 'initial' FROM batch_products b WHERE b.stock > 0 ON CONFLICT (id) DO NOTHING;
INSERT INTO listing_images (listing_id, position, url, alt, created_at)
SELECT b.id, 0, b.image_url, b.name, coalesce(b.created_at, now()) FROM batch_products b WHERE b.image_url ~ '^https?://' ON CONFLICT DO NOTHING;

-- step: delivery_schedules
-- table: delivery_schedules by id
-- read: id uuid, delivery_date date, delivery_time text, rider_id uuid, status text,
--    begins text = split_part(translate(delivery_time, '–—', '--'), '-', 1) of delivery_time,
--    ends text = split_part(translate(delivery_time, '–—', '--'), '-', 2) of delivery_time,
--    orders bigint = (SELECT count(*) FROM orders o WHERE o.delivery_schedule_id = delivery_schedules.id) of id
-- refuse delivery_schedules: the day is not possible | b.delivery_date IS NULL OR b.delivery_date NOT BETWEEN '1900-01-01' AND '2199-12-31'
-- refuse delivery_schedules: the time is none such as 10:00-12:00 | NOT pg_input_is_valid(btrim(b.begins), 'time')
--    OR (btrim(b.ends) <> '' AND NOT pg_input_is_valid(btrim(b.ends), 'time'))
-- refuse delivery_schedules: the time ends before it begins |
--    b.reason IS NULL AND CASE WHEN pg_input_is_valid(btrim(b.begins), 'time') THEN
--    btrim(b.begins)::time >= coalesce(nullif(btrim(b.ends), '')::time, least(btrim(b.begins)::time, '22:59'::time) + interval '1 hour') END
-- refuse delivery_schedules: the status is not one of the three | coalesce(b.status, '') NOT IN ('available', 'assigned', 'completed')
-- refuse delivery_schedules: its rider was refused or is missing |
--    b.rider_id IS NOT NULL AND NOT EXISTS (SELECT FROM users u WHERE u.id = b.rider_id)
-- refuse delivery_schedules: another row has this day, time and rider |
--    b.reason IS NULL AND CASE WHEN pg_input_is_valid(btrim(b.begins), 'time') THEN EXISTS (
--    SELECT FROM delivery_slots s WHERE s.delivery_on = b.delivery_date AND s.starts_at = btrim(b.begins)::time
--    AND s.rider_id IS NOT DISTINCT FROM b.rider_id AND s.id <> b.id
--    AND s.ends_at = coalesce(nullif(btrim(b.ends), '')::time, least(btrim(b.begins)::time, '22:59'::time) + interval '1 hour')) END
-- refuse delivery_schedules: another row has this day, time and rider | twice concat_ws('/', delivery_date, btrim(begins), btrim(ends), rider_id)
-- count delivery_schedules: | | delivery_slots t ON t.id = b.id
INSERT INTO delivery_slots (id, delivery_on, starts_at, ends_at, capacity, rider_id, status)
SELECT b.id, b.delivery_date, btrim(b.begins)::time,
       coalesce(nullif(btrim(b.ends), '')::time, least(btrim(b.begins)::time, '22:59'::time) + interval '1 hour'),
       greatest(b.orders, 1), b.rider_id, b.status
FROM batch_delivery_schedules b ON CONFLICT (id) DO NOTHING;

-- step: promo_codes
-- table: promo_codes by id
-- read: id uuid, code text, discount_type text, amount numeric, valid_from timestamptz, valid_to timestamptz, usage_limit integer,
--    used_count integer
-- refuse promo_codes: the code is none of 2 to 50 letters, digits, dashes | coalesce(b.code, '') !~ '^[A-Za-z0-9_-]{2,50}$'
-- refuse promo_codes: another row has this code | EXISTS (SELECT FROM promo_codes p WHERE p.code = b.code::citext AND p.id <> b.id)
-- refuse promo_codes: another row has this code | twice lower(code)
-- refuse promo_codes: the kind is neither percent nor fixed | coalesce(b.discount_type, '') NOT IN ('percent', 'fixed')
-- refuse promo_codes: the amount is not possible | NOT coalesce(b.amount > 0, false)
--    OR CASE b.discount_type WHEN 'percent' THEN b.amount > 100 ELSE move_in_bad_amount(b.amount, :currency) END
-- refuse promo_codes: a moment is not possible | move_in_bad_moment(b.valid_from) OR move_in_bad_moment(b.valid_to)
--    OR NOT coalesce(b.valid_to > b.valid_from, false)
-- refuse promo_codes: it was used more often than it may be | b.usage_limit < 1 OR b.used_count < 0 OR b.used_count > b.usage_limit
-- count promo_codes: amount | CASE t.kind WHEN 'percent' THEN t.percent ELSE major_units(t.amount_minor, t.currency) END |
--    promo_codes t ON t.id = b.id
INSERT INTO promo_codes (id, code, kind, percent, amount_minor, currency, valid_from, valid_to, usage_limit, used_count)
SELECT b.id, b.code, b.discount_type, CASE b.discount_type WHEN 'percent' THEN b.amount END,
       CASE b.discount_type WHEN 'fixed' THEN minor_units(b.amount, :currency) END, CASE b.discount_type WHEN 'fixed' THEN :currency END,
       b.valid_from, b.valid_to, b.usage_limit, coalesce(b.used_count, 0)
FROM batch_promo_codes b ON CONFLICT (id) DO NOTHING;

-- step: orders
-- table: orders by id
-- read: id uuid, user_id uuid, total_amount numeric, status text, payment_status text, payment_reference text,
--    delivery_schedule_id uuid, created_at timestamptz, updated_at timestamptz
-- table: order_items by id, of orders by order_id
-- read: id uuid, order_id uuid, product_id uuid, quantity integer, unit_price numeric, subtotal numeric
-- table: custom_cake_configurations by id, of orders by order_id
-- read: id uuid, order_id uuid, flavor text, size text, frosting text, message text, image_reference text, extra_details jsonb
-- refuse order_items: the quantity is not possible | NOT coalesce(b.quantity BETWEEN 1 AND 100000000, false)
-- refuse order_items: the price is not possible | b.unit_price IS NULL OR b.subtotal IS NULL
--    OR move_in_bad_amount(b.unit_price, :currency) OR move_in_bad_amount(b.subtotal, :currency)
-- refuse order_items: its product was refused or is missing | NOT EXISTS (SELECT FROM variants v WHERE v.id = b.product_id AND v.listing_id = b.product_id)
-- refuse orders: its customer was refused or is missing | NOT EXISTS (SELECT FROM users u WHERE u.id = b.user_id)
-- refuse orders: the total is not possible | b.total_amount IS NULL OR move_in_bad_amount(b.total_amount, :currency)
-- refuse orders: the status is none of the document’s | coalesce(b.status, '') NOT IN
--    ('pending', 'confirmed', 'preparing', 'dispatched', 'delivered', 'cancelled', 'refunded')
--    OR coalesce(b.payment_status, '') NOT IN ('pending', 'paid', 'failed', 'refunded')
-- refuse orders: a moment is not possible | move_in_bad_moment(b.created_at) OR move_in_bad_moment(b.updated_at)
-- refuse orders: one of its lines was refused | EXISTS (SELECT FROM batch_order_items i WHERE i.order_id = b.id AND i.reason IS NOT NULL)
-- refuse orders: it has no lines | NOT EXISTS (SELECT FROM batch_order_items i WHERE i.order_id = b.id)
-- refuse order_items: its order was refused | EXISTS (SELECT FROM batch_orders o WHERE o.id = b.order_id AND o.reason IS NOT NULL)
-- refuse custom_cake_configurations: its order was refused | EXISTS (SELECT FROM batch_orders o WHERE o.id = b.order_id AND o.reason IS NOT NULL)
-- refuse custom_cake_configurations: a text is too long | char_length(b.flavor) > 100 OR char_length(b.size) > 50 OR char_length(b.frosting) > 100
-- note orders: the delivery slot was left out, because it was refused |
--    b.delivery_schedule_id IS NOT NULL AND NOT EXISTS (SELECT FROM delivery_slots s WHERE s.id = b.delivery_schedule_id)
-- note orders: the total is not what the lines add up to; the difference is a discount or the delivery |
--    EXISTS (SELECT FROM (SELECT order_id, sum(subtotal) AS whole FROM batch_order_items GROUP BY 1) i
--    WHERE i.order_id = b.id AND i.whole <> b.total_amount)
-- note orders: the payment’s reference was left out, because another payment has it |
--    EXISTS (SELECT FROM payments p WHERE p.gateway = 'imported' AND p.gateway_ref = b.payment_reference AND p.id <> b.id)
-- note orders: the payment’s reference was left out, because another payment has it | twice nullif(payment_reference, '')
-- note orders: it is over and was not handed over, but its money was kept; it is held until somebody pays it back or out |
--    b.status IN ('cancelled', 'refunded') AND b.payment_status = 'paid'
-- note orders: it is here already in another state than there, and stays as it is here |
--    EXISTS (SELECT FROM orders o WHERE o.id = b.id AND (o.state, o.payment_state) <> (b.status, b.payment_status))
-- count orders: total_amount | major_units(t.total_minor, t.currency) | orders t ON t.id = b.id
-- count order_items: subtotal | major_units(t.gross_minor, :currency) |
--    order_lines t ON t.order_id = b.order_id
--    AND t.line_no = (SELECT count(*) FROM batch_order_items o WHERE o.order_id = b.order_id AND o.id <= b.id)
-- count custom_cake_configurations: | | orders o ON o.id = b.order_id AND EXISTS (SELECT FROM line_configurations t WHERE t.order_id = o.id)
CREATE TEMP TABLE lines ON COMMIT DROP AS
SELECT i.*, row_number() OVER (PARTITION BY i.order_id ORDER BY i.id)::integer AS line_no, minor_units(i.subtotal, :currency) AS gross,
       sum(minor_units(i.subtotal, :currency)) OVER (PARTITION BY i.order_id)::bigint AS whole,
       sum(minor_units(i.subtotal, :currency)) OVER (PARTITION BY i.order_id ORDER BY i.id)::bigint AS upto
FROM batch_order_items i;
ANALYZE lines;
CREATE TEMP TABLE sums ON COMMIT DROP AS
SELECT o.id, l.whole AS subtotal, minor_units(o.total_amount, :currency) AS total,
       greatest(l.whole - minor_units(o.total_amount, :currency), 0) AS discount,
       greatest(minor_units(o.total_amount, :currency) - l.whole, 0) AS shipping,
       CASE WHEN p.n = 1 AND NOT EXISTS (SELECT FROM payments t WHERE t.gateway = 'imported' AND t.gateway_ref = o.payment_reference)
            THEN o.payment_reference END AS reference
FROM batch_orders o
JOIN lines l ON l.order_id = o.id AND l.line_no = 1
LEFT JOIN (SELECT id, row_number() OVER (PARTITION BY payment_reference ORDER BY id) AS n FROM batch_orders WHERE payment_reference <> '') p
  ON p.id = o.id
WHERE NOT EXISTS (SELECT FROM orders t WHERE t.id = o.id);
ANALYZE sums;
-- include: timers
INSERT INTO orders (id, number, buyer_id, seller_ids, process, state, due_at, payment_state, currency, subtotal_minor, discount_minor,
                    shipping_minor, payment_method, placed_at, state_since, updated_at)
SELECT o.id, 'OM-' || upper(left(replace(o.id::text, '-', ''), 14)), o.user_id, ARRAY[:seller], 'purchase', o.status,
       CASE WHEN t.is_whole OR o.status IN ('pending', 'cancelled') THEN greatest(now(), o.updated_at) + t.timer END, o.payment_status, :currency,
       s.subtotal, s.discount, s.shipping, 'imported', coalesce(o.created_at, now()), coalesce(o.updated_at, o.created_at, now()),
       coalesce(o.updated_at, o.created_at, now())
FROM batch_orders o JOIN sums s USING (id) LEFT JOIN timers t ON t.process = 'purchase' AND t.state = o.status;
INSERT INTO order_events (order_id, seq, at, actor_id, actor_role, kind, to_state, buyer_id)
SELECT o.id, 1, coalesce(o.created_at, now()), o.user_id, 'buyer', 'placed', o.status, o.user_id FROM batch_orders o JOIN sums s USING (id);
-- Together, so that the order’s sums are right when they are looked at.
WITH parts AS (
    INSERT INTO fulfilments (order_id, seller_id, buyer_id, process, state, state_since, due_at, shipping_minor, shipping_refunded_minor,
                             opened_at, handed_over_at, created_at, updated_at)
    SELECT o.id, :seller, o.user_id, 'purchase', o.status, coalesce(o.updated_at, o.created_at, now()),
           CASE WHEN NOT t.is_whole AND o.status NOT IN ('pending', 'cancelled') THEN greatest(now(), o.updated_at) + t.timer END, s.shipping,
           CASE WHEN o.payment_status = 'refunded' THEN s.shipping ELSE 0 END,
           CASE WHEN o.status NOT IN ('pending', 'cancelled') THEN coalesce(o.created_at, now()) END,
           CASE WHEN o.status IN ('delivered', 'refunded') THEN coalesce(o.updated_at, o.created_at, now()) END,
           coalesce(o.created_at, now()), coalesce(o.updated_at, o.created_at, now())
    FROM batch_orders o JOIN sums s USING (id) LEFT JOIN timers t ON t.process = 'purchase' AND t.state = o.status
)
INSERT INTO order_lines (order_id, line_no, buyer_id, seller_id, listing_id, variant_id, title, unit, quantity, unit_price_minor, gross_minor,
                         discount_minor, refunded_minor, snapshot)
SELECT l.order_id, l.line_no, o.user_id, :seller, l.product_id, l.product_id, t.title, 'piece', l.quantity,
       minor_units(l.unit_price, :currency), l.gross, d.discount,
       CASE WHEN o.payment_status = 'refunded' THEN l.gross - d.discount ELSE 0 END, jsonb_build_object('slug', t.slug, 'kind', t.kind)
FROM lines l JOIN batch_orders o ON o.id = l.order_id JOIN sums s ON s.id = o.id JOIN listings t ON t.id = l.product_id
CROSS JOIN LATERAL (
    SELECT CASE WHEN s.discount = 0 THEN 0
                ELSE div(s.discount::numeric * l.upto, l.whole) - div(s.discount::numeric * (l.upto - l.gross), l.whole) END::bigint AS discount) d;
INSERT INTO line_configurations (order_id, line_no, flavor, size, frosting, message, extra_details)
SELECT c.order_id, coalesce(min(l.line_no) FILTER (WHERE t.is_customizable), 1), c.flavor, c.size, c.frosting, c.message,
       coalesce(c.extra_details, '{}') || CASE WHEN c.image_reference <> '' THEN jsonb_build_object('image_reference', c.image_reference) ELSE '{}' END
FROM batch_custom_cake_configurations c JOIN lines l ON l.order_id = c.order_id JOIN listings t ON t.id = l.product_id
GROUP BY c.id, c.order_id, c.flavor, c.size, c.frosting, c.message, c.extra_details, c.image_reference
ON CONFLICT DO NOTHING;
INSERT INTO slot_bookings (order_id, slot_id, state, created_at)
SELECT o.id, o.delivery_schedule_id, CASE WHEN o.status IN ('cancelled', 'refunded') THEN 'given_back' ELSE 'booked' END, coalesce(o.created_at, now())
FROM batch_orders o JOIN sums s USING (id) JOIN delivery_slots d ON d.id = o.delivery_schedule_id;
INSERT INTO payments (id, order_id, buyer_id, gateway, method, amount_minor, refunded_minor, currency, state, gateway_ref, is_offline,
                      settled_at, created_at, updated_at)
SELECT o.id, o.id, o.user_id, 'imported', 'imported', s.total, CASE o.payment_status WHEN 'refunded' THEN s.total ELSE 0 END, :currency,
       CASE o.payment_status WHEN 'paid' THEN 'success' WHEN 'pending' THEN 'initiated' ELSE o.payment_status END, s.reference, true,
       CASE WHEN o.payment_status IN ('paid', 'refunded') THEN coalesce(o.created_at, now()) END, coalesce(o.created_at, now()),
       coalesce(o.updated_at, o.created_at, now())
FROM batch_orders o JOIN sums s USING (id) WHERE o.payment_status <> 'pending' OR s.reference <> '';
CREATE TEMP TABLE paid AS
SELECT o.id, o.id AS order_id, 'imported' AS gateway, o.status = 'delivered' AS is_over, o.payment_status = 'refunded' AS is_refunded, coalesce(o.created_at, now()) AS at
FROM batch_orders o JOIN sums s USING (id) WHERE o.payment_status IN ('paid', 'refunded');
-- include: books
DROP TABLE sums, lines, timers;

-- step: reviews
-- table: reviews by id
-- read: id uuid, user_id uuid, product_id uuid, rating integer, comment text, created_at timestamptz
-- refuse reviews: the rating is not 1 to 5 | NOT coalesce(b.rating BETWEEN 1 AND 5, false)
-- refuse reviews: the comment is longer than 4,000 letters | char_length(b.comment) > 4000
-- refuse reviews: a moment is not possible | move_in_bad_moment(b.created_at)
-- refuse reviews: its writer was refused or is missing | NOT EXISTS (SELECT FROM users u WHERE u.id = b.user_id)
-- refuse reviews: its product was refused or is missing | NOT EXISTS (SELECT FROM listings l WHERE l.id = b.product_id)
-- refuse reviews: its writer has written about this product already |
--    EXISTS (SELECT FROM reviews r WHERE r.user_id = b.user_id AND r.listing_id = b.product_id AND r.id <> b.id)
-- count reviews: rating | t.rating | reviews t ON t.id = b.id
INSERT INTO reviews (id, listing_id, user_id, rating, comment, created_at, updated_at)
SELECT b.id, b.product_id, b.user_id, b.rating, coalesce(b.comment, ''), coalesce(b.created_at, now()), coalesce(b.created_at, now())
FROM batch_reviews b ON CONFLICT (id) DO NOTHING;

-- step: loyalty_points
-- table: loyalty_points by id
-- read: id uuid, user_id uuid, points integer, updated_at timestamptz
-- refuse loyalty_points: there are less than no points | NOT coalesce(b.points >= 0, false)
-- refuse loyalty_points: a moment is not possible | move_in_bad_moment(b.updated_at)
-- refuse loyalty_points: its customer was refused or is missing | NOT EXISTS (SELECT FROM users u WHERE u.id = b.user_id)
-- refuse loyalty_points: another row is this customer’s | twice user_id
-- count loyalty_points: points | t.points |
--    LATERAL (SELECT coalesce(sum(e.points), 0) AS points FROM loyalty_accounts a
--    LEFT JOIN loyalty_entries e ON e.user_id = a.user_id AND e.reference = 'imported' WHERE a.user_id = b.user_id HAVING count(a) > 0) t ON true
CREATE TEMP TABLE fresh ON COMMIT DROP AS SELECT b.* FROM batch_loyalty_points b
WHERE NOT EXISTS (SELECT FROM loyalty_entries e WHERE e.user_id = b.user_id AND e.reference = 'imported');
INSERT INTO loyalty_accounts (user_id, created_at, updated_at) SELECT user_id, coalesce(updated_at, now()), coalesce(updated_at, now()) FROM fresh
ON CONFLICT DO NOTHING;
INSERT INTO loyalty_entries (user_id, points, kind, reference, at)
SELECT user_id, points, 'adjusted', 'imported', coalesce(updated_at, now()) FROM fresh WHERE points > 0;
INSERT INTO ledger_accounts (kind, owner_id, name, currency) SELECT * FROM (VALUES ('points', NULL::uuid, '', :currency), ('promotion', NULL, '', :currency)) a
ON CONFLICT (kind, owner_id, name, currency) DO NOTHING;
WITH facts AS (
    SELECT f.user_id, round(f.points * :point_worth / major_units(1, :currency))::bigint AS worth FROM fresh f
), journals AS (
    INSERT INTO ledger_journals (id, kind, reference)
    SELECT md5('imported_points' || user_id::text)::uuid, 'imported_points', user_id::text FROM facts WHERE worth > 0
    ON CONFLICT (kind, reference) DO NOTHING RETURNING id
)
INSERT INTO ledger_entries (journal_id, line_no, account_id, amount_minor)
SELECT j.id, e.line_no, a.id, e.sign * f.worth
FROM facts f JOIN journals j ON j.id = md5('imported_points' || f.user_id::text)::uuid
CROSS JOIN (VALUES (1, 'promotion', 1), (2, 'points', -1)) e(line_no, kind, sign)
JOIN ledger_accounts a ON a.kind = e.kind AND a.owner_id IS NULL AND a.name = '' AND a.currency = :currency;
DROP TABLE fresh;
