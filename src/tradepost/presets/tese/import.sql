-- system: tese
-- How a farm market's database of this document's form moves in; flows/move_plan says what the notes mean.

-- step: users
-- table: teseapi_user by id
-- read: id bigint, username text, email text, password_hash text = password of password, first_name text, last_name text,
--    phone text = phone_number of phone_number, is_active boolean, is_staff boolean, is_superuser boolean, created_at timestamptz = date_joined of date_joined,
--    last_login timestamptz, location text, bio text, business_name text, service_type text
-- seal: phone as phone
-- refuse teseapi_user: the e-mail address is missing or none | coalesce(b.email, '') !~ '^[^@[:space:]]{1,64}@[^@[:space:]]{1,190}$'
-- refuse teseapi_user: another row has this e-mail address |
--    EXISTS (SELECT FROM users u WHERE u.email = b.email::citext AND u.id <> move_in_key('tese.users', b.id))
-- refuse teseapi_user: another row has this e-mail address | twice lower(btrim(email))
-- refuse teseapi_user: a moment is not possible | move_in_bad_moment(b.created_at) OR move_in_bad_moment(b.last_login)
-- note teseapi_user: the username may not be one here, so it got a mark | coalesce(b.username, '') !~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{1,63}$'
-- note teseapi_user: the username is another’s, so it got a mark |
--    EXISTS (SELECT FROM users u WHERE u.username = b.username::citext AND u.id <> move_in_key('tese.users', b.id))
-- note teseapi_user: the username is another’s, so it got a mark | twice lower(username)
-- note teseapi_user: the password was left out, because it is in no known form; a new one is set by e-mail |
--    b.password_hash <> '' AND move_in_hash(b.password_hash) IS NULL
-- note teseapi_user: the telephone number was left out, because it is none with a country code | b.phone <> '' AND b.phone_enc IS NULL
-- note teseapi_user: the telephone number was left out, because somebody else has it |
--    EXISTS (SELECT FROM users u WHERE u.phone_index = b.phone_index AND u.id <> move_in_key('tese.users', b.id))
-- note teseapi_user: the telephone number was left out, because somebody else has it | twice phone_index
-- count teseapi_user: | | users t ON t.id = move_in_key('tese.users', b.id)
INSERT INTO users (id, username, email, display_name) VALUES (move_in_key('tese.house', 0), 'house', 'house@tese.invalid', :store)
ON CONFLICT DO NOTHING;
INSERT INTO user_roles (user_id, role) SELECT id, 'staff' FROM users WHERE id = move_in_key('tese.house', 0) ON CONFLICT DO NOTHING;
INSERT INTO users (id, username, email, display_name, first_name, last_name, password_hash, phone_enc, phone_index, is_active, created_at,
                   updated_at, last_login_at, location_text, bio, business_name, service_type)
SELECT move_in_key('tese.users', b.id),
       CASE WHEN b.username ~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{1,63}$' AND n.n = 1
                 AND NOT EXISTS (SELECT FROM users u WHERE u.username = b.username::citext) THEN b.username ELSE move_in_username(b.username, 'u' || b.id) END,
       btrim(b.email), left(coalesce(nullif(btrim(concat_ws(' ', b.first_name, b.last_name)), ''), nullif(b.username, ''), 'Member'), 100),
       coalesce(b.first_name, ''), coalesce(b.last_name, ''), move_in_hash(b.password_hash),
       CASE WHEN p.n = 1 THEN b.phone_enc END, CASE WHEN p.n = 1 THEN b.phone_index END, coalesce(b.is_active, true),
       coalesce(b.created_at, now()), coalesce(b.created_at, now()),
       b.last_login, coalesce(b.location, ''), left(coalesce(b.bio, ''), 4000), nullif(b.business_name, ''), nullif(b.service_type, '')
FROM batch_teseapi_user b
LEFT JOIN (SELECT id, row_number() OVER (PARTITION BY lower(username) ORDER BY id) AS n FROM batch_teseapi_user) n ON n.id = b.id
LEFT JOIN (SELECT id, row_number() OVER (PARTITION BY phone_index ORDER BY id) AS n FROM batch_teseapi_user WHERE phone_index IS NOT NULL) p
  ON p.id = b.id AND p.n = 1 AND NOT EXISTS (SELECT FROM users u WHERE u.phone_index = b.phone_index)
ON CONFLICT (id) DO NOTHING;
INSERT INTO user_roles (user_id, role)
SELECT move_in_key('tese.users', id), CASE WHEN is_superuser THEN 'admin' WHEN is_staff THEN 'staff' ELSE 'buyer' END FROM batch_teseapi_user
ON CONFLICT DO NOTHING;

-- step: categories
-- table: teseapi_category by id
-- read: id bigint, name text, description text
-- refuse teseapi_category: the name is missing or longer than 100 letters | char_length(btrim(coalesce(b.name, ''))) NOT BETWEEN 1 AND 100
-- count teseapi_category: | | LATERAL (SELECT FROM categories t WHERE t.slug = move_in_slug(b.name) OR lower(t.name) = lower(btrim(b.name)) LIMIT 1) t ON true
INSERT INTO categories (id, slug, name, description, is_own)
SELECT move_in_key('tese.categories', b.id), move_in_slug(b.name), btrim(b.name), coalesce(b.description, ''), true FROM batch_teseapi_category b
WHERE NOT EXISTS (SELECT FROM categories c WHERE c.slug = move_in_slug(b.name) OR lower(c.name) = lower(btrim(b.name)))
ON CONFLICT DO NOTHING;

-- step: locations
-- table: teseapi_location by id
-- read: id bigint, region text, district text
-- refuse teseapi_location: the region is missing | coalesce(btrim(b.region), '') = ''
-- count teseapi_location: | | places t ON t.country = :country AND t.region = btrim(b.region) AND t.district = coalesce(btrim(b.district), '')
--    AND t.name = coalesce(nullif(btrim(b.district), ''), btrim(b.region))
INSERT INTO places (id, country, region, district, name)
SELECT move_in_key('tese.places', b.id), :country, btrim(b.region), coalesce(btrim(b.district), ''), coalesce(nullif(btrim(b.district), ''), btrim(b.region))
FROM batch_teseapi_location b ON CONFLICT DO NOTHING;

-- step: listings
-- table: teseapi_listing by id
-- read: id bigint, listing_type text, user_id bigint, name text, location text, price numeric, unit text, description text, status text,
--    created_at timestamptz, updated_at timestamptz, category text, organic boolean, provider text, supplier text
-- refuse teseapi_listing: the type is none of the three | coalesce(b.listing_type, '') NOT IN ('product', 'service', 'supplier_product')
-- refuse teseapi_listing: its owner was refused or is missing | NOT EXISTS (SELECT FROM users u WHERE u.id = move_in_key('tese.users', b.user_id))
-- refuse teseapi_listing: the name is missing or longer than 255 letters | char_length(coalesce(b.name, '')) NOT BETWEEN 1 AND 255
-- refuse teseapi_listing: the description is longer than 20,000 letters | char_length(b.description) > 20000
-- refuse teseapi_listing: the price is not possible | b.price IS NULL OR move_in_bad_amount(b.price, :currency)
-- refuse teseapi_listing: the status is none of the three | coalesce(b.status, '') NOT IN ('active', 'inactive', 'sold')
-- refuse teseapi_listing: a moment is not possible | move_in_bad_moment(b.created_at) OR move_in_bad_moment(b.updated_at)
-- count teseapi_listing: price | major_units(p.amount_minor, p.currency) | listings t ON t.id = move_in_key('tese.listings', b.id)
--    JOIN LATERAL (SELECT * FROM prices WHERE variant_id = t.id ORDER BY valid_from LIMIT 1) p ON true
INSERT INTO categories (slug, name, is_own)
SELECT DISTINCT ON (1) move_in_slug(b.category), left(btrim(b.category), 100), true FROM batch_teseapi_listing b
WHERE btrim(b.category) <> '' AND NOT EXISTS (SELECT FROM categories c WHERE c.slug = move_in_slug(b.category) OR lower(c.name) = lower(btrim(b.category)))
ORDER BY 1 ON CONFLICT DO NOTHING;
INSERT INTO categories (slug, name, is_own) SELECT 'other', 'Other', true FROM batch_teseapi_listing WHERE btrim(coalesce(category, '')) = ''
LIMIT 1 ON CONFLICT DO NOTHING;
INSERT INTO units (code, name, short, step)
SELECT DISTINCT ON (1) move_in_slug(coalesce(nullif(btrim(b.unit), ''), 'piece')), coalesce(nullif(btrim(b.unit), ''), 'piece'), coalesce(nullif(btrim(b.unit), ''), 'pc'), 1
FROM batch_teseapi_listing b
WHERE NOT EXISTS (SELECT FROM units u WHERE lower(btrim(b.unit)) IN (u.code, lower(u.name), lower(u.short))) ORDER BY 1 ON CONFLICT DO NOTHING;
CREATE TEMP TABLE named AS
SELECT w.category, w.unit, (SELECT c.id FROM categories c WHERE c.slug = move_in_slug(coalesce(nullif(btrim(w.category), ''), 'other'))
                            OR lower(c.name) = lower(btrim(w.category))
                            ORDER BY c.slug = move_in_slug(coalesce(nullif(btrim(w.category), ''), 'other')) DESC LIMIT 1) AS category_id,
       (SELECT u.code FROM units u WHERE coalesce(nullif(lower(btrim(w.unit)), ''), 'piece') IN (u.code, lower(u.name), lower(u.short))
        OR u.code = move_in_slug(coalesce(nullif(btrim(w.unit), ''), 'piece')) ORDER BY u.code = lower(btrim(w.unit)) DESC LIMIT 1) AS code
FROM (SELECT DISTINCT category, unit FROM batch_teseapi_listing) w;
INSERT INTO listings (id, seller_id, kind, feed, slug, title, description, category_id, status, location_text, attributes, published_at, price_minor,
                      price_to_minor, currency, unit, in_stock, created_at, updated_at)
SELECT move_in_key('tese.listings', b.id), move_in_key('tese.users', b.user_id), b.listing_type, 'discover', move_in_slug(b.name), b.name,
       coalesce(b.description, ''), n.category_id, b.status, coalesce(b.location, ''),
       jsonb_strip_nulls(jsonb_build_object('organic', nullif(b.organic, false), 'provider', nullif(b.provider, ''), 'supplier', nullif(b.supplier, ''))),
       coalesce(b.created_at, now()), minor_units(b.price, :currency), minor_units(b.price, :currency), :currency, n.code, true,
       coalesce(b.created_at, now()), coalesce(b.updated_at, b.created_at, now())
FROM batch_teseapi_listing b JOIN named n ON n.category IS NOT DISTINCT FROM b.category AND n.unit IS NOT DISTINCT FROM b.unit
ON CONFLICT (id) DO NOTHING;
INSERT INTO variants (id, listing_id, unit, created_at, updated_at)
SELECT l.id, l.id, l.unit, l.created_at, l.updated_at FROM batch_teseapi_listing b JOIN listings l ON l.id = move_in_key('tese.listings', b.id)
ON CONFLICT (id) DO NOTHING;
INSERT INTO prices (id, variant_id, currency, amount_minor, valid_from)
SELECT move_in_key('tese.listings', b.id), move_in_key('tese.listings', b.id), :currency, minor_units(b.price, :currency), least(coalesce(b.created_at, now()), now())
FROM batch_teseapi_listing b ON CONFLICT DO NOTHING;
INSERT INTO user_roles (user_id, role)
SELECT DISTINCT move_in_key('tese.users', b.user_id), CASE b.listing_type WHEN 'product' THEN 'seller' WHEN 'service' THEN 'provider' ELSE 'supplier' END
FROM batch_teseapi_listing b ON CONFLICT DO NOTHING;
DROP TABLE named;

-- step: images
-- table: teseapi_listingimage by id
-- read: id bigint, image_url text, uploaded_at timestamptz,
--    listing bigint = ('x' || right(repeat('0', 16) || CASE WHEN object_id::text LIKE '%-%' THEN replace(object_id::text, '-', '') ELSE to_hex(object_id::text::bigint) END, 16))::bit(64)::bigint of object_id
-- refuse teseapi_listingimage: the address is none of the web | coalesce(b.image_url, '') !~ '^https?://'
-- refuse teseapi_listingimage: its listing was refused or is missing |
--    b.listing NOT BETWEEN 0 AND 281474976710655 OR NOT EXISTS (SELECT FROM listings l WHERE l.id = move_in_key('tese.listings', b.listing))
-- refuse teseapi_listingimage: a moment is not possible | move_in_bad_moment(b.uploaded_at)
-- refuse teseapi_listingimage: another row is the same picture | twice concat_ws('/', listing, image_url)
-- count teseapi_listingimage: | | listing_images t ON t.listing_id = move_in_key('tese.listings', b.listing) AND t.url = b.image_url
INSERT INTO listing_images (listing_id, position, url, alt, created_at)
SELECT l.id, coalesce((SELECT max(i.position) + 1 FROM listing_images i WHERE i.listing_id = l.id), 0) + row_number() OVER (PARTITION BY l.id ORDER BY b.id) - 1,
       b.image_url, l.title, coalesce(b.uploaded_at, now())
FROM batch_teseapi_listingimage b JOIN listings l ON l.id = move_in_key('tese.listings', b.listing)
WHERE NOT EXISTS (SELECT FROM listing_images i WHERE i.listing_id = l.id AND i.url = b.image_url);

-- step: cart_items
-- table: teseapi_cartitem by id
-- read: id bigint, user_id bigint, listing_id bigint, quantity integer, price numeric, created_at timestamptz
-- refuse teseapi_cartitem: its owner was refused or is missing | NOT EXISTS (SELECT FROM users u WHERE u.id = move_in_key('tese.users', b.user_id))
-- refuse teseapi_cartitem: its listing was refused or is missing |
--    b.listing_id IS NULL OR NOT EXISTS (SELECT FROM variants v WHERE v.id = move_in_key('tese.listings', b.listing_id))
-- refuse teseapi_cartitem: the quantity is not possible | NOT coalesce(b.quantity BETWEEN 1 AND 100000000, false)
-- refuse teseapi_cartitem: the price is not possible | b.price IS NULL OR move_in_bad_amount(b.price, :currency)
-- refuse teseapi_cartitem: a moment is not possible | move_in_bad_moment(b.created_at)
-- refuse teseapi_cartitem: another row has the same listing in the same cart | twice concat_ws('/', user_id, listing_id)
-- count teseapi_cartitem: price | major_units(t.unit_price_minor, :currency) | carts c ON c.user_id = move_in_key('tese.users', b.user_id)
--    JOIN cart_lines t ON t.cart_id = c.id AND t.variant_id = move_in_key('tese.listings', b.listing_id)
INSERT INTO carts (user_id, currency, created_at, updated_at)
SELECT move_in_key('tese.users', user_id), :currency, coalesce(min(created_at), now()), coalesce(max(created_at), now())
FROM batch_teseapi_cartitem GROUP BY user_id ON CONFLICT DO NOTHING;
INSERT INTO cart_lines (cart_id, line_no, variant_id, quantity, unit_price_minor, configuration_hash, created_at, updated_at)
SELECT c.id, coalesce((SELECT max(line_no) FROM cart_lines o WHERE o.cart_id = c.id), 0) + row_number() OVER (PARTITION BY c.id ORDER BY b.id),
       move_in_key('tese.listings', b.listing_id), b.quantity, minor_units(b.price, :currency), '', coalesce(b.created_at, now()), coalesce(b.created_at, now())
FROM batch_teseapi_cartitem b JOIN carts c ON c.user_id = move_in_key('tese.users', b.user_id)
WHERE NOT EXISTS (SELECT FROM cart_lines o WHERE o.cart_id = c.id AND o.variant_id = move_in_key('tese.listings', b.listing_id));

-- step: orders
-- table: teseapi_order by id
-- read: id bigint, user_id bigint, total_amount numeric, status text, created_at timestamptz, payment_method text, shipping_info jsonb, items jsonb
-- seal: shipping_info as order_address
-- table: teseapi_payment by id, of teseapi_order by order_id
-- read: id bigint, order_id bigint, amount numeric, method text, status text, transaction_ref text, created_at timestamptz
-- refuse teseapi_payment: the amount is not possible | b.amount IS NULL OR move_in_bad_amount(b.amount, :currency)
-- refuse teseapi_payment: the status is none of the four | coalesce(b.status, '') NOT IN ('INITIATED', 'SUCCESS', 'FAILED', 'REFUNDED')
-- refuse teseapi_payment: a moment is not possible | move_in_bad_moment(b.created_at)
-- refuse teseapi_payment: another payment of this order is open or has paid it |
--    EXISTS (SELECT FROM (SELECT id, row_number() OVER (PARTITION BY order_id ORDER BY status <> 'SUCCESS', status <> 'REFUNDED', id) AS n
--    FROM batch_teseapi_payment WHERE status <> 'FAILED' AND reason IS NULL) d WHERE d.id = b.id AND d.n > 1)
-- refuse teseapi_payment: it paid another amount than the order’s total | b.status IN ('SUCCESS', 'REFUNDED') AND
--    EXISTS (SELECT FROM batch_teseapi_order o WHERE o.id = b.order_id AND o.total_amount <> b.amount)
-- refuse teseapi_order: its customer was refused or is missing | NOT EXISTS (SELECT FROM users u WHERE u.id = move_in_key('tese.users', b.user_id))
-- refuse teseapi_order: the total is not possible | b.total_amount IS NULL OR move_in_bad_amount(b.total_amount, :currency)
-- refuse teseapi_order: the status is none of the seven | coalesce(b.status, '') NOT IN
--    ('PENDING', 'PAID', 'PROCESSING', 'SHIPPED', 'DELIVERED', 'CANCELLED', 'FAILED')
-- refuse teseapi_order: a moment is not possible | move_in_bad_moment(b.created_at)
-- refuse teseapi_order: it has no lines | jsonb_typeof(b.items) IS DISTINCT FROM 'array' OR b.items = '[]'
-- refuse teseapi_order: a line has no listing, quantity or price that is possible | b.reason IS NULL AND EXISTS (
--    SELECT FROM jsonb_array_elements(CASE WHEN jsonb_typeof(b.items) = 'array' THEN b.items ELSE '[]' END) i
--    WHERE jsonb_typeof(i) <> 'object' OR coalesce(i ->> 'listing_id', i ->> 'listing', i ->> 'id', '') !~ '^[0-9]{1,14}$'
--    OR coalesce(i ->> 'quantity', '1') !~ '^[1-9][0-9]{0,7}([.][0-9]{1,3})?$' OR coalesce(i ->> 'price', '') !~ '^[0-9]{1,10}([.][0-9]{1,2})?$')
-- refuse teseapi_order: one of its listings was refused or is missing | b.reason IS NULL AND EXISTS (
--    SELECT FROM jsonb_array_elements(CASE WHEN jsonb_typeof(b.items) = 'array' THEN b.items ELSE '[]' END) i
--    WHERE CASE WHEN coalesce(i ->> 'listing_id', i ->> 'listing', i ->> 'id', '') ~ '^[0-9]{1,14}$' THEN NOT EXISTS (
--    SELECT FROM listings l WHERE l.id = move_in_key('tese.listings', coalesce(i ->> 'listing_id', i ->> 'listing', i ->> 'id')::bigint)) END)
-- refuse teseapi_payment: its order was refused | EXISTS (SELECT FROM batch_teseapi_order o WHERE o.id = b.order_id AND o.reason IS NOT NULL)
-- refuse teseapi_payment: its order came without it before, and stays as it is here | EXISTS (SELECT FROM orders o WHERE o.id = move_in_key('tese.orders', b.order_id))
--    AND NOT EXISTS (SELECT FROM payments t WHERE t.id = move_in_key('tese.payments', b.id))
-- note teseapi_order: it is over and was not handed over, but its money was kept; it is held until somebody pays it back or out |
--    b.status IN ('CANCELLED', 'FAILED') AND
--    EXISTS (SELECT FROM batch_teseapi_payment p WHERE p.order_id = b.id AND p.status = 'SUCCESS' AND p.reason IS NULL)
-- note teseapi_order: it is here already in another state than there, and stays as it is here |
--    EXISTS (SELECT FROM orders o WHERE o.id = move_in_key('tese.orders', b.id) AND o.state <> lower(b.status))
-- note teseapi_order: the address was left out, because no street or town is in it |
--    jsonb_typeof(b.shipping_info) = 'object' AND b.shipping_info <> '{}' AND b.shipping_info_enc IS NULL
-- note teseapi_payment: it is here already in another state than there, and stays as it is here |
--    EXISTS (SELECT FROM payments t WHERE t.id = move_in_key('tese.payments', b.id) AND t.state <> lower(b.status))
-- note teseapi_payment: the reference was left out, because another payment has it | EXISTS (SELECT FROM payments p
--    WHERE p.gateway = coalesce(nullif(b.method, ''), 'imported') AND p.gateway_ref = b.transaction_ref AND p.id <> move_in_key('tese.payments', b.id))
-- note teseapi_payment: the reference was left out, because another payment has it | twice method || '/' || nullif(transaction_ref, '')
-- count teseapi_order: total_amount | major_units(t.total_minor, t.currency) | orders t ON t.id = move_in_key('tese.orders', b.id)
-- count teseapi_payment: amount | major_units(t.amount_minor, t.currency) | payments t ON t.id = move_in_key('tese.payments', b.id)
CREATE TEMP TABLE settled AS
SELECT order_id, bool_or(status = 'SUCCESS') AS is_paid, bool_or(status = 'REFUNDED') AS is_refunded FROM batch_teseapi_payment GROUP BY 1;
CREATE TEMP TABLE paid AS
SELECT move_in_key('tese.payments', p.id) AS id, move_in_key('tese.orders', p.order_id) AS order_id, coalesce(nullif(p.method, ''), 'imported') AS gateway,
       o.status = 'DELIVERED' AS is_over, p.status = 'REFUNDED' AS is_refunded, coalesce(p.created_at, now()) AS at
FROM batch_teseapi_payment p JOIN batch_teseapi_order o ON o.id = p.order_id
WHERE p.status IN ('SUCCESS', 'REFUNDED') AND NOT EXISTS (SELECT FROM payments t WHERE t.id = move_in_key('tese.payments', p.id));
CREATE TEMP TABLE heads AS
SELECT move_in_key('tese.orders', b.id) AS id, 'TESE-' || b.id AS number, move_in_key('tese.users', b.user_id) AS buyer_id, 'purchase' AS process,
       lower(b.status) AS state, CASE WHEN s.is_paid THEN 'paid' WHEN s.is_refunded THEN 'refunded' WHEN b.status = 'FAILED' THEN 'failed' ELSE 'pending' END AS payment_state,
       coalesce(nullif(b.payment_method, ''), 'imported') AS method, 'imported' AS gateway, NULL::text AS reference,
       minor_units(b.total_amount, :currency) AS total, 0::bigint AS tax, b.shipping_info_enc AS ship_enc, NULL::bytea AS bill_enc,
       b.shipping_info ->> 'method' AS way, '' AS note, b.status = 'DELIVERED' AS is_over, false AS is_charged,
       coalesce(b.created_at, now()) AS placed_at, coalesce(b.created_at, now()) AS updated_at, coalesce(b.created_at, now()) AS settled_at
FROM batch_teseapi_order b LEFT JOIN settled s ON s.order_id = b.id;
CREATE TEMP TABLE lines AS
SELECT move_in_key('tese.orders', b.id) AS order_id, i.n::integer AS line_no, l.seller_id, l.id AS listing_id, l.id AS variant_id,
       coalesce(i.item ->> 'quantity', '1')::numeric AS quantity, minor_units((i.item ->> 'price')::numeric, :currency) AS unit_price,
       minor_units(round(coalesce(i.item ->> 'quantity', '1')::numeric * (i.item ->> 'price')::numeric, 2), :currency) AS gross, 0::bigint AS commission
FROM batch_teseapi_order b CROSS JOIN LATERAL jsonb_array_elements(b.items) WITH ORDINALITY AS i(item, n)
JOIN listings l ON l.id = move_in_key('tese.listings', coalesce(i.item ->> 'listing_id', i.item ->> 'listing', i.item ->> 'id')::bigint);
-- include: timers
-- include: orders
INSERT INTO payments (id, order_id, buyer_id, gateway, method, amount_minor, refunded_minor, currency, state, gateway_ref, is_offline, settled_at,
                      created_at, updated_at)
SELECT move_in_key('tese.payments', b.id), o.id, o.buyer_id, coalesce(nullif(b.method, ''), 'imported'), coalesce(nullif(b.method, ''), 'imported'),
       minor_units(b.amount, :currency), CASE b.status WHEN 'REFUNDED' THEN minor_units(b.amount, :currency) ELSE 0 END, :currency, lower(b.status),
       CASE WHEN r.n = 1 AND NOT EXISTS (SELECT FROM payments t WHERE t.gateway = coalesce(nullif(b.method, ''), 'imported')
                                         AND t.gateway_ref = b.transaction_ref) THEN b.transaction_ref END, true, CASE WHEN b.status IN ('SUCCESS', 'REFUNDED') THEN coalesce(b.created_at, now()) END,
       coalesce(b.created_at, now()), coalesce(b.created_at, now())
FROM batch_teseapi_payment b JOIN orders o ON o.id = move_in_key('tese.orders', b.order_id)
LEFT JOIN (SELECT id, row_number() OVER (PARTITION BY method, transaction_ref ORDER BY id) AS n FROM batch_teseapi_payment
           WHERE transaction_ref <> '') r ON r.id = b.id
ON CONFLICT (id) DO NOTHING;
-- include: books
DROP TABLE settled;

-- step: conversations
-- table: messaging_conversation by id
-- read: id bigint, created_at timestamptz, updated_at timestamptz
-- table: messaging_conversation_participants by id, of messaging_conversation by conversation_id
-- read: id bigint, conversation_id bigint, user_id bigint
-- table: messaging_message by id, of messaging_conversation by conversation_id
-- read: id bigint, conversation_id bigint, sender_id bigint, content text, timestamp timestamptz, is_read boolean
-- refuse messaging_conversation_participants: its person was refused or is missing |
--    NOT EXISTS (SELECT FROM users u WHERE u.id = move_in_key('tese.users', b.user_id))
-- refuse messaging_conversation_participants: another row has the same person | twice concat_ws('/', conversation_id, user_id)
-- refuse messaging_conversation: a moment is not possible | move_in_bad_moment(b.created_at) OR move_in_bad_moment(b.updated_at)
-- refuse messaging_conversation: fewer than two or more than twenty people are in it | (SELECT count(*) FROM batch_messaging_conversation_participants p
--    WHERE p.conversation_id = b.id AND p.reason IS NULL) NOT BETWEEN 2 AND 20
-- refuse messaging_conversation_participants: its conversation was refused |
--    EXISTS (SELECT FROM batch_messaging_conversation c WHERE c.id = b.conversation_id AND c.reason IS NOT NULL)
-- refuse messaging_message: its conversation was refused | EXISTS (SELECT FROM batch_messaging_conversation c WHERE c.id = b.conversation_id AND c.reason IS NOT NULL)
-- refuse messaging_message: it is empty or longer than 4,000 letters | char_length(coalesce(b.content, '')) NOT BETWEEN 1 AND 4000
-- refuse messaging_message: a moment is not possible | b.timestamp IS NULL OR move_in_bad_moment(b.timestamp)
-- refuse messaging_message: its sender does not take part | NOT EXISTS (SELECT FROM batch_messaging_conversation_participants p
--    WHERE p.conversation_id = b.conversation_id AND p.user_id = b.sender_id AND p.reason IS NULL)
-- count messaging_conversation: | | conversations t ON t.id = move_in_key('tese.conversations', b.id)
-- count messaging_conversation_participants: | | participants t ON t.conversation_id = move_in_key('tese.conversations', b.conversation_id)
--    AND t.user_id = move_in_key('tese.users', b.user_id)
-- count messaging_message: | | messages t ON t.id = move_in_key('tese.messages', b.id)
CREATE TEMP TABLE fresh AS
SELECT b.*, move_in_key('tese.conversations', b.id) AS key, p.people, coalesce(m.starter, p.people[1]) AS starter
FROM batch_messaging_conversation b
JOIN (SELECT conversation_id, array_agg(move_in_key('tese.users', user_id) ORDER BY user_id) AS people FROM batch_messaging_conversation_participants GROUP BY 1) p
  ON p.conversation_id = b.id
LEFT JOIN (SELECT DISTINCT ON (conversation_id) conversation_id, move_in_key('tese.users', sender_id) AS starter FROM batch_messaging_message
           ORDER BY conversation_id, timestamp, id) m ON m.conversation_id = b.id
WHERE NOT EXISTS (SELECT FROM conversations c WHERE c.id = move_in_key('tese.conversations', b.id));
INSERT INTO conversations (id, people, started_by, about, created_at, updated_at)
SELECT f.key, f.people, f.starter, CASE WHEN cardinality(f.people) = 2 AND a.n = 1 THEN a.about END, coalesce(f.created_at, now()),
       coalesce(f.updated_at, f.created_at, now())
FROM fresh f
LEFT JOIN (SELECT id, about, row_number() OVER (PARTITION BY about ORDER BY id) AS n
           FROM (SELECT id, 'talk:' || people[1] || ':' || people[2] AS about FROM fresh) g
           WHERE NOT EXISTS (SELECT FROM conversations c WHERE c.about = g.about)) a ON a.id = f.id;
INSERT INTO messages (conversation_id, seq, id, sender_id, kind, body, at)
SELECT f.key, row_number() OVER (PARTITION BY f.id ORDER BY m.timestamp, m.id), move_in_key('tese.messages', m.id), move_in_key('tese.users', m.sender_id),
       'text', m.content, m.timestamp
FROM batch_messaging_message m JOIN fresh f ON f.id = m.conversation_id ORDER BY f.id, m.timestamp, m.id;
UPDATE participants p SET last_read_seq = greatest(p.last_read_seq, r.upto), last_read_at = coalesce(p.last_read_at, r.at)
FROM (SELECT f.key, move_in_key('tese.users', w.user_id) AS user_id, max(t.seq) AS upto, max(t.at) AS at
      FROM fresh f JOIN batch_messaging_conversation_participants w ON w.conversation_id = f.id
      JOIN batch_messaging_message m ON m.conversation_id = f.id AND m.is_read AND m.sender_id <> w.user_id
      JOIN messages t ON t.id = move_in_key('tese.messages', m.id) GROUP BY 1, 2) r
WHERE p.conversation_id = r.key AND p.user_id = r.user_id;
DROP TABLE fresh;
