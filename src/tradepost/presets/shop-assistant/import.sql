-- system: shop-assistant
-- How a shop's database of this document's form moves in; flows/move_plan says what the notes mean.

-- step: users
-- table: users by id
-- read: id bigint, username text, email text, password_hash text, first_name text, last_name text, phone text?, is_active boolean,
--    created_at timestamp, updated_at timestamp
-- seal: phone as phone
-- refuse users: the e-mail address is missing or none | coalesce(b.email, '') !~ '^[^@[:space:]]{1,64}@[^@[:space:]]{1,190}$'
-- refuse users: another row has this e-mail address |
--    EXISTS (SELECT FROM users u WHERE u.email = b.email::citext AND u.id <> move_in_key('shop-assistant.users', b.id))
-- refuse users: another row has this e-mail address | twice lower(btrim(email))
-- refuse users: a moment is not possible | move_in_bad_moment(b.created_at) OR move_in_bad_moment(b.updated_at)
-- note users: the username may not be one here, so it got a mark | coalesce(b.username, '') !~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{1,63}$'
-- note users: the username is another’s, so it got a mark |
--    EXISTS (SELECT FROM users u WHERE u.username = b.username::citext AND u.id <> move_in_key('shop-assistant.users', b.id))
-- note users: the username is another’s, so it got a mark | twice lower(username)
-- note users: the password was left out, because it is in no known form; a new one is set by e-mail |
--    b.password_hash <> '' AND move_in_hash(b.password_hash) IS NULL
-- note users: the telephone number was left out, because it is none with a country code | b.phone <> '' AND b.phone_enc IS NULL
-- note users: the telephone number was left out, because somebody else has it |
--    EXISTS (SELECT FROM users u WHERE u.phone_index = b.phone_index AND u.id <> move_in_key('shop-assistant.users', b.id))
-- note users: the telephone number was left out, because somebody else has it | twice phone_index
-- count users: | | users t ON t.id = move_in_key('shop-assistant.users', b.id)
INSERT INTO users (id, username, email, display_name) VALUES (move_in_key('shop-assistant.house', 0), 'house', 'house@shop-assistant.invalid', :store)
ON CONFLICT DO NOTHING;
INSERT INTO user_roles (user_id, role) SELECT id, 'staff' FROM users WHERE id = move_in_key('shop-assistant.house', 0) ON CONFLICT DO NOTHING;
INSERT INTO users (id, username, email, display_name, first_name, last_name, password_hash, phone_enc, phone_index, is_active, created_at, updated_at)
SELECT move_in_key('shop-assistant.users', b.id),
       CASE WHEN b.username ~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{1,63}$' AND n.n = 1
                 AND NOT EXISTS (SELECT FROM users u WHERE u.username = b.username::citext) THEN b.username ELSE move_in_username(b.username, 'u' || b.id) END,
       btrim(b.email), left(coalesce(nullif(btrim(concat_ws(' ', b.first_name, b.last_name)), ''), nullif(b.username, ''), 'Member'), 100),
       coalesce(b.first_name, ''), coalesce(b.last_name, ''), move_in_hash(b.password_hash),
       CASE WHEN p.n = 1 THEN b.phone_enc END, CASE WHEN p.n = 1 THEN b.phone_index END, coalesce(b.is_active, true),
       coalesce(b.created_at, now()), coalesce(b.updated_at, b.created_at, now())
FROM batch_users b
LEFT JOIN (SELECT id, row_number() OVER (PARTITION BY lower(username) ORDER BY id) AS n FROM batch_users) n ON n.id = b.id
LEFT JOIN (SELECT id, row_number() OVER (PARTITION BY phone_index ORDER BY id) AS n FROM batch_users WHERE phone_index IS NOT NULL) p
  ON p.id = b.id AND p.n = 1 AND NOT EXISTS (SELECT FROM users u WHERE u.phone_index = b.phone_index)
ON CONFLICT (id) DO NOTHING;
INSERT INTO user_roles (user_id, role) SELECT move_in_key('shop-assistant.users', id), 'customer' FROM batch_users ON CONFLICT DO NOTHING;

-- step: categories
-- table: categories by id
-- read: id bigint, name text, description text, parent_id bigint, slug text, is_active boolean, created_at timestamp, updated_at timestamp,
--    children jsonb = (SELECT jsonb_agg(k.id) FROM categories k WHERE k.parent_id = categories.id) of id parent_id
-- refuse categories: the name is missing or longer than 100 letters | char_length(btrim(coalesce(b.name, ''))) NOT BETWEEN 1 AND 100
-- refuse categories: a moment is not possible | move_in_bad_moment(b.created_at) OR move_in_bad_moment(b.updated_at)
-- refuse categories: it is its own parent | b.parent_id = b.id
-- note categories: the short name may not be one here, so it was made from the name | coalesce(b.slug, '') !~ '^[a-z0-9]+(-[a-z0-9]+)*$'
-- note categories: a category of this short name is here already; its products are there |
--    EXISTS (SELECT FROM categories c WHERE c.slug = b.slug AND c.id <> move_in_key('shop-assistant.categories', b.id))
-- count categories: | | categories t ON t.id = move_in_key('shop-assistant.categories', b.id)
--    OR (t.slug = b.slug AND NOT EXISTS (SELECT FROM categories c WHERE c.id = move_in_key('shop-assistant.categories', b.id)))
INSERT INTO categories (id, slug, name, description, is_active, is_own, created_at, updated_at)
SELECT move_in_key('shop-assistant.categories', b.id),
       CASE WHEN b.slug ~ '^[a-z0-9]+(-[a-z0-9]+)*$' THEN b.slug ELSE move_in_slug(b.name) || '-' || b.id END, btrim(b.name), coalesce(b.description, ''),
       coalesce(b.is_active, true), true, coalesce(b.created_at, now()), coalesce(b.updated_at, b.created_at, now())
FROM batch_categories b ON CONFLICT DO NOTHING;
UPDATE categories c SET parent_id = move_in_key('shop-assistant.categories', b.parent_id) FROM batch_categories b
WHERE c.id = move_in_key('shop-assistant.categories', b.id) AND c.parent_id IS NULL
  AND EXISTS (SELECT FROM categories p WHERE p.id = move_in_key('shop-assistant.categories', b.parent_id));
UPDATE categories c SET parent_id = move_in_key('shop-assistant.categories', b.id)
FROM batch_categories b CROSS JOIN LATERAL jsonb_array_elements_text(coalesce(b.children, '[]')) AS k(id)
WHERE c.id = move_in_key('shop-assistant.categories', k.id::bigint) AND c.parent_id IS NULL AND k.id::bigint <> b.id
  AND EXISTS (SELECT FROM categories p WHERE p.id = move_in_key('shop-assistant.categories', b.id));

-- step: products
-- table: products by id
-- read: id bigint, name text, description text, price numeric, category_id bigint, brand text, sku text, stock_quantity integer, image_url text,
--    specifications jsonb, is_active boolean, created_at timestamp, updated_at timestamp,
--    category_slug text = (SELECT c.slug FROM categories c WHERE c.id = products.category_id) of category_id
-- refuse products: the name is missing or longer than 255 letters | char_length(coalesce(b.name, '')) NOT BETWEEN 1 AND 255
-- refuse products: the description is longer than 20,000 letters | char_length(b.description) > 20000
-- refuse products: the price is not possible | b.price IS NULL OR move_in_bad_amount(b.price, :currency)
-- refuse products: there is less than nothing in stock | b.stock_quantity < 0
-- refuse products: the specifications are no object | jsonb_typeof(b.specifications) NOT IN ('object', 'null')
-- refuse products: a moment is not possible | move_in_bad_moment(b.created_at) OR move_in_bad_moment(b.updated_at)
-- refuse products: another row has this SKU | EXISTS (SELECT FROM variants v WHERE v.sku = b.sku AND v.id <> move_in_key('shop-assistant.products', b.id))
-- refuse products: another row has this SKU | twice nullif(sku, '')
-- note products: the picture was left out, because it has no web address | b.image_url <> '' AND b.image_url !~ '^https?://'
-- count products: price | major_units(p.amount_minor, p.currency) |
--    listings t ON t.id = move_in_key('shop-assistant.products', b.id)
--    JOIN LATERAL (SELECT * FROM prices WHERE variant_id = t.id ORDER BY valid_from LIMIT 1) p ON true
INSERT INTO categories (slug, name, is_own) SELECT 'other', 'Other', true FROM batch_products LIMIT 1 ON CONFLICT DO NOTHING;
INSERT INTO listings (id, seller_id, kind, feed, slug, title, description, category_id, brand, status, attributes, published_at, price_minor,
                      price_to_minor, currency, unit, in_stock, created_at, updated_at)
SELECT move_in_key('shop-assistant.products', b.id), :seller, 'product', 'discover', move_in_slug(b.name), b.name, coalesce(b.description, ''),
       coalesce(c.id, s.id, (SELECT id FROM categories WHERE slug = 'other')), b.brand,
       CASE WHEN coalesce(b.is_active, true) THEN 'active' ELSE 'inactive' END,
       CASE WHEN jsonb_typeof(b.specifications) = 'object' THEN b.specifications ELSE '{}' END, coalesce(b.created_at, now()),
       minor_units(b.price, :currency), minor_units(b.price, :currency), :currency, 'piece', coalesce(b.stock_quantity, 0) >= 1,
       coalesce(b.created_at, now()), coalesce(b.updated_at, b.created_at, now())
FROM batch_products b
LEFT JOIN categories c ON c.id = move_in_key('shop-assistant.categories', b.category_id)
LEFT JOIN categories s ON s.slug = b.category_slug
ON CONFLICT (id) DO NOTHING;
INSERT INTO variants (id, listing_id, sku, unit, on_hand, created_at, updated_at)
SELECT move_in_key('shop-assistant.products', b.id), move_in_key('shop-assistant.products', b.id), nullif(b.sku, ''), 'piece',
       coalesce(b.stock_quantity, 0), coalesce(b.created_at, now()), coalesce(b.updated_at, b.created_at, now())
FROM batch_products b ON CONFLICT (id) DO NOTHING;
INSERT INTO prices (id, variant_id, currency, amount_minor, valid_from)
SELECT move_in_key('shop-assistant.products', b.id), move_in_key('shop-assistant.products', b.id), :currency, minor_units(b.price, :currency),
       least(coalesce(b.created_at, now()), now())
FROM batch_products b ON CONFLICT DO NOTHING;
INSERT INTO stock_movements (id, variant_id, quantity, reason)
SELECT move_in_key('shop-assistant.products', b.id), move_in_key('shop-assistant.products', b.id), b.stock_quantity, 'initial'
FROM batch_products b WHERE b.stock_quantity > 0 ON CONFLICT (id) DO NOTHING;
INSERT INTO listing_images (listing_id, position, url, alt, created_at)
SELECT move_in_key('shop-assistant.products', b.id), 0, b.image_url, b.name, coalesce(b.created_at, now())
FROM batch_products b WHERE b.image_url ~ '^https?://' ON CONFLICT DO NOTHING;

-- step: orders
-- table: orders by id
-- read: id bigint, user_id bigint, order_number text, status text, total_amount numeric, tax_amount numeric, shipping_address jsonb,
--    billing_address jsonb, payment_method text, payment_status text, created_at timestamp, updated_at timestamp,
--    state text = CASE lower(coalesce(status, 'pending')) WHEN 'processing' THEN 'paid' WHEN 'shipped' THEN 'processed' WHEN 'completed' THEN 'delivered' WHEN 'canceled' THEN 'cancelled' WHEN 'refunded' THEN 'returned' ELSE replace(lower(coalesce(status, 'pending')), ' ', '_') END of status,
--    paid text = CASE lower(coalesce(payment_status, 'pending')) WHEN 'completed' THEN 'paid' WHEN 'success' THEN 'paid' WHEN 'cancelled' THEN 'failed' ELSE lower(coalesce(payment_status, 'pending')) END of payment_status
-- seal: shipping_address as order_address
-- seal: billing_address as order_address
-- table: order_items by id, of orders by order_id
-- read: id bigint, order_id bigint, product_id bigint, quantity integer, unit_price numeric, total_price numeric
-- refuse order_items: the quantity is not possible | NOT coalesce(b.quantity BETWEEN 1 AND 100000000, false)
-- refuse order_items: the price is not possible | b.unit_price IS NULL OR b.total_price IS NULL
--    OR move_in_bad_amount(b.unit_price, :currency) OR move_in_bad_amount(b.total_price, :currency)
-- refuse order_items: its product was refused or is missing |
--    NOT EXISTS (SELECT FROM variants v WHERE v.id = move_in_key('shop-assistant.products', b.product_id))
-- refuse orders: its customer was refused or is missing | b.user_id IS NOT NULL AND
--    NOT EXISTS (SELECT FROM users u WHERE u.id = move_in_key('shop-assistant.users', b.user_id))
-- refuse orders: the total is not possible | b.total_amount IS NULL OR move_in_bad_amount(b.total_amount, :currency)
--    OR move_in_bad_amount(b.tax_amount, :currency) OR b.tax_amount > b.total_amount
-- refuse orders: the status is none this shop has | NOT EXISTS (SELECT FROM order_states s WHERE s.process = 'purchase' AND s.code = b.state)
--    OR b.paid NOT IN ('pending', 'paid', 'failed', 'refunded')
-- refuse orders: a moment is not possible | move_in_bad_moment(b.created_at) OR move_in_bad_moment(b.updated_at)
-- refuse orders: another row has this number | EXISTS (SELECT FROM orders o WHERE o.number = b.order_number AND o.id <> move_in_key('shop-assistant.orders', b.id))
-- refuse orders: another row has this number | twice order_number
-- refuse orders: one of its lines was refused | EXISTS (SELECT FROM batch_order_items i WHERE i.order_id = b.id AND i.reason IS NOT NULL)
-- refuse orders: it has no lines | NOT EXISTS (SELECT FROM batch_order_items i WHERE i.order_id = b.id)
-- refuse order_items: its order was refused | EXISTS (SELECT FROM batch_orders o WHERE o.id = b.order_id AND o.reason IS NOT NULL)
-- note orders: the address was left out, because no street or town is in it |
--    jsonb_typeof(b.shipping_address) = 'object' AND b.shipping_address <> '{}' AND b.shipping_address_enc IS NULL
-- note orders: the total is not what the lines and the tax add up to; the difference is a discount or the delivery |
--    EXISTS (SELECT FROM (SELECT order_id, sum(total_price) AS whole FROM batch_order_items GROUP BY 1) i
--    WHERE i.order_id = b.id AND b.total_amount NOT IN (i.whole, i.whole + b.tax_amount))
-- note orders: it is over and was not handed over, but its money was kept; it is held until somebody pays it back or out |
--    b.state IN ('cancelled', 'returned') AND b.paid = 'paid'
-- note orders: it is here already in another state than there, and stays as it is here |
--    EXISTS (SELECT FROM orders o WHERE o.id = move_in_key('shop-assistant.orders', b.id) AND (o.state, o.payment_state) <> (b.state, b.paid))
-- count orders: total_amount | major_units(t.total_minor, t.currency) | orders t ON t.id = move_in_key('shop-assistant.orders', b.id)
-- count order_items: total_price | major_units(t.gross_minor, :currency) |
--    order_lines t ON t.order_id = move_in_key('shop-assistant.orders', b.order_id)
--    AND t.line_no = (SELECT count(*) FROM batch_order_items o WHERE o.order_id = b.order_id AND o.id <= b.id)
CREATE TEMP TABLE heads AS
SELECT move_in_key('shop-assistant.orders', b.id) AS id, b.order_number AS number, move_in_key('shop-assistant.users', b.user_id) AS buyer_id,
       'purchase' AS process, b.state, b.paid AS payment_state, coalesce(nullif(b.payment_method, ''), 'imported') AS method,
       'imported' AS gateway, NULL::text AS reference, minor_units(b.total_amount, :currency) AS total,
       coalesce(minor_units(b.tax_amount, :currency), 0) AS tax, b.shipping_address_enc AS ship_enc, b.billing_address_enc AS bill_enc,
       NULL::text AS way, '' AS note, b.state IN ('delivered', 'return_requested', 'exchange_requested', 'exchanged') AS is_over, b.paid <> 'pending' AS is_charged,
       coalesce(b.created_at, now()) AS placed_at, coalesce(b.updated_at, b.created_at, now()) AS updated_at, coalesce(b.created_at, now()) AS settled_at
FROM batch_orders b;
CREATE TEMP TABLE lines AS
SELECT move_in_key('shop-assistant.orders', i.order_id) AS order_id, row_number() OVER (PARTITION BY i.order_id ORDER BY i.id)::integer AS line_no,
       l.seller_id, l.id AS listing_id, l.id AS variant_id, i.quantity::numeric AS quantity,
       minor_units(i.unit_price, :currency) AS unit_price, minor_units(i.total_price, :currency) AS gross, 0::bigint AS commission
FROM batch_order_items i JOIN listings l ON l.id = move_in_key('shop-assistant.products', i.product_id);
CREATE TEMP TABLE paid AS
SELECT h.id, h.id AS order_id, h.gateway, h.is_over, h.payment_state = 'refunded' AS is_refunded, h.settled_at AS at FROM heads h
WHERE h.payment_state IN ('paid', 'refunded') AND NOT EXISTS (SELECT FROM orders o WHERE o.id = h.id);
-- include: timers
-- include: orders
-- include: books

-- step: cart_items
-- table: cart_items by id
-- read: id bigint, session_id text, product_id bigint, quantity integer, created_at timestamp, updated_at timestamp,
--    user_id bigint = (SELECT s.user_id FROM sessions s WHERE s.session_id = cart_items.session_id) of session_id
-- refuse cart_items: nobody is signed in to its session | b.user_id IS NULL
-- refuse cart_items: its customer was refused or is missing | NOT EXISTS (SELECT FROM users u WHERE u.id = move_in_key('shop-assistant.users', b.user_id))
-- refuse cart_items: its product was refused or is missing | NOT EXISTS (SELECT FROM variants v WHERE v.id = move_in_key('shop-assistant.products', b.product_id))
-- refuse cart_items: the quantity is not possible | NOT coalesce(b.quantity BETWEEN 1 AND 100000, false)
-- refuse cart_items: another row has the same product in the same cart | twice concat_ws('/', user_id, product_id)
-- count cart_items: | | carts c ON c.user_id = move_in_key('shop-assistant.users', b.user_id)
--    JOIN cart_lines t ON t.cart_id = c.id AND t.variant_id = move_in_key('shop-assistant.products', b.product_id)
INSERT INTO carts (user_id, currency, created_at, updated_at)
SELECT move_in_key('shop-assistant.users', user_id), :currency, coalesce(min(created_at), now()), coalesce(max(updated_at), now())
FROM batch_cart_items GROUP BY user_id ON CONFLICT DO NOTHING;
INSERT INTO cart_lines (cart_id, line_no, variant_id, quantity, unit_price_minor, configuration_hash, created_at, updated_at)
SELECT c.id, coalesce((SELECT max(line_no) FROM cart_lines o WHERE o.cart_id = c.id), 0) + row_number() OVER (PARTITION BY c.id ORDER BY b.id),
       v.id, b.quantity, p.amount_minor, '', coalesce(b.created_at, now()), coalesce(b.updated_at, b.created_at, now())
FROM batch_cart_items b JOIN carts c ON c.user_id = move_in_key('shop-assistant.users', b.user_id)
JOIN variants v ON v.id = move_in_key('shop-assistant.products', b.product_id) JOIN prices p ON p.id = v.id
WHERE NOT EXISTS (SELECT FROM cart_lines o WHERE o.cart_id = c.id AND o.variant_id = v.id);

-- step: analytics
-- table: analytics by id
-- read: id bigint, event_type text, user_id bigint, session_id text, data jsonb, created_at timestamp
-- refuse analytics: a moment is not possible | move_in_bad_moment(b.created_at)
-- refuse analytics: it has no name | coalesce(b.event_type, '') = ''
-- count analytics: | | events t ON t.id = move_in_key('shop-assistant.analytics', b.id) AND t.at = coalesce(b.created_at, '2000-01-01Z')
INSERT INTO events (id, at, kind, user_id, session_hash, data)
SELECT move_in_key('shop-assistant.analytics', b.id), coalesce(b.created_at, '2000-01-01Z'), b.event_type,
       (SELECT u.id FROM users u WHERE u.id = move_in_key('shop-assistant.users', b.user_id)), sha256(convert_to(b.session_id, 'UTF8')), coalesce(b.data, '{}')
FROM batch_analytics b ON CONFLICT DO NOTHING;

-- step: search_logs
-- table: search_logs by id
-- read: id bigint, query text, user_id bigint, session_id text, results_count integer, search_type text, response_time_ms integer, created_at timestamp
-- refuse search_logs: a moment is not possible | move_in_bad_moment(b.created_at)
-- refuse search_logs: a number is below nothing | b.results_count < 0 OR b.response_time_ms < 0
-- refuse search_logs: the question is missing or longer than 1,000 letters | char_length(coalesce(b.query, '')) NOT BETWEEN 1 AND 1000
-- count search_logs: results_count | t.results_count | search_log t ON t.id = move_in_key('shop-assistant.search_logs', b.id) AND t.at = coalesce(b.created_at, '2000-01-01Z')
INSERT INTO search_log (id, at, query, user_id, session_hash, results_count, search_type, response_ms)
SELECT move_in_key('shop-assistant.search_logs', b.id), coalesce(b.created_at, '2000-01-01Z'), b.query,
       (SELECT u.id FROM users u WHERE u.id = move_in_key('shop-assistant.users', b.user_id)), sha256(convert_to(b.session_id, 'UTF8')), coalesce(b.results_count, 0),
       CASE WHEN b.search_type IN ('words', 'vectors', 'both', 'browse', 'similar') THEN b.search_type ELSE 'words' END, coalesce(b.response_time_ms, 0)
FROM batch_search_logs b ON CONFLICT DO NOTHING;
