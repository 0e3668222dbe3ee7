-- system: marketplace-watch
-- How a market watcher's database of this document's form moves in; flows/move_plan says what the notes mean.

-- step: users
-- table: users by id
-- read: id bigint, username text, email text, password_hash text, first_name text, last_name text, is_active boolean,
--    role text, last_login timestamp, created_at timestamp, updated_at timestamp
-- refuse users: the e-mail address is missing or none | coalesce(b.email, '') !~ '^[^@[:space:]]{1,64}@[^@[:space:]]{1,190}$'
-- refuse users: another row has this e-mail address |
--    EXISTS (SELECT FROM users u WHERE u.email = b.email::citext AND u.id <> move_in_key('marketplace-watch.users', b.id))
-- refuse users: another row has this e-mail address | twice lower(btrim(email))
-- refuse users: a moment is not possible | move_in_bad_moment(b.created_at) OR move_in_bad_moment(b.updated_at)
--    OR move_in_bad_moment(b.last_login)
-- note users: the username may not be one here, so it got a mark | coalesce(b.username, '') !~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{1,63}$'
-- note users: the username is another’s, so it got a mark |
--    EXISTS (SELECT FROM users u WHERE u.username = b.username::citext AND u.id <> move_in_key('marketplace-watch.users', b.id))
-- note users: the username is another’s, so it got a mark | twice lower(username)
-- note users: the password was left out, because it is in no known form; a new one is set by e-mail |
--    b.password_hash <> '' AND move_in_hash(b.password_hash) IS NULL
-- count users: | | users t ON t.id = move_in_key('marketplace-watch.users', b.id)
INSERT INTO users (id, username, email, display_name, first_name, last_name, password_hash, is_active, last_login_at, created_at, updated_at)
SELECT move_in_key('marketplace-watch.users', b.id),
       CASE WHEN b.username ~ '^[A-Za-z0-9_][A-Za-z0-9_.-]{1,63}$' AND n.n = 1
                 AND NOT EXISTS (SELECT FROM users u WHERE u.username = b.username::citext) THEN b.username ELSE move_in_username(b.username, 'u' || b.id) END,
       btrim(b.email), left(coalesce(nullif(btrim(concat_ws(' ', b.first_name, b.last_name)), ''), nullif(b.username, ''), 'Member'), 100),
       coalesce(b.first_name, ''), coalesce(b.last_name, ''), move_in_hash(b.password_hash),
       coalesce(b.is_active, true), b.last_login,
       coalesce(b.created_at, now()), coalesce(b.updated_at, b.created_at, now())
FROM batch_users b
LEFT JOIN (SELECT id, row_number() OVER (PARTITION BY lower(username) ORDER BY id) AS n FROM batch_users) n ON n.id = b.id
ON CONFLICT (id) DO NOTHING;
INSERT INTO user_roles (user_id, role) SELECT move_in_key('marketplace-watch.users', id), CASE role WHEN 'admin' THEN 'admin' ELSE 'user' END FROM batch_users ON CONFLICT DO NOTHING;

-- step: listings
-- table: listings by id
-- read: id bigint, external_id text, title text, description text, price numeric, currency text, location text, category text, subcategory text,
--    seller_name text, seller_id text, listing_url text, listed_date timestamp, scraped_date timestamp, source text, is_sold boolean,
--    is_deleted boolean, metadata jsonb, created_at timestamp, updated_at timestamp
-- table: listing_attributes by id, of listings by listing_id
-- read: id bigint, listing_id bigint, key text, value text
-- table: images by id, of listings by listing_id
-- read: id bigint, listing_id bigint, url text, position integer, width integer, height integer, size integer, format text, created_at timestamp
-- refuse listing_attributes: the name is missing | coalesce(b.key, '') = ''
-- refuse listing_attributes: the listing has another of this name | twice concat_ws('/', listing_id, key)
-- refuse images: the address is none of the web | coalesce(b.url, '') !~ '^https?://'
-- refuse images: a moment is not possible | move_in_bad_moment(b.created_at)
-- refuse listings: the title is missing or longer than 255 letters | char_length(coalesce(b.title, '')) NOT BETWEEN 1 AND 255
-- refuse listings: the description is longer than 20,000 letters | char_length(b.description) > 20000
-- refuse listings: the address is none of the web | coalesce(b.listing_url, '') !~ '^https?://'
-- refuse listings: it has no source or no number there | coalesce(b.external_id, '') = '' OR coalesce(btrim(b.source), '') = ''
-- refuse listings: the currency is none | coalesce(b.currency, 'USD') !~ '^[A-Z]{3}$'
-- refuse listings: the price is not possible | coalesce(b.currency, 'USD') ~ '^[A-Z]{3}$' AND move_in_bad_amount(b.price, coalesce(b.currency, 'USD'))
-- refuse listings: the metadata are no object | jsonb_typeof(b.metadata) NOT IN ('object', 'null')
-- refuse listings: a moment is not possible | move_in_bad_moment(b.listed_date) OR move_in_bad_moment(b.scraped_date)
--    OR move_in_bad_moment(b.created_at) OR move_in_bad_moment(b.updated_at)
-- refuse listings: another row has this number at this source | twice concat_ws('/', move_in_slug(source), external_id)
-- refuse listings: another row has this number at this source | EXISTS (SELECT FROM listings l JOIN sources s ON s.id = l.source_id
--    WHERE s.code = move_in_slug(b.source) AND l.external_id = b.external_id AND l.id <> move_in_key('marketplace-watch.listings', b.id))
-- refuse listing_attributes: its listing was refused | EXISTS (SELECT FROM batch_listings l WHERE l.id = b.listing_id AND l.reason IS NOT NULL)
-- refuse images: its listing was refused | EXISTS (SELECT FROM batch_listings l WHERE l.id = b.listing_id AND l.reason IS NOT NULL)
-- count listings: price | (SELECT major_units(p.amount_minor, p.currency) FROM prices p WHERE p.variant_id = t.id ORDER BY p.valid_from LIMIT 1) |
--    listings t ON t.id = move_in_key('marketplace-watch.listings', b.id)
-- count listing_attributes: | | listings t ON t.id = move_in_key('marketplace-watch.listings', b.listing_id) AND t.attributes ? b.key
-- count images: | | listing_images t ON t.listing_id = move_in_key('marketplace-watch.listings', b.listing_id) AND t.url = b.url
INSERT INTO sources (code, name, kind)
SELECT DISTINCT ON (1) move_in_slug(b.source), left(btrim(b.source), 100), 'push' FROM batch_listings b ORDER BY 1 ON CONFLICT DO NOTHING;
INSERT INTO categories (slug, name, is_own)
SELECT DISTINCT ON (1) move_in_slug(coalesce(nullif(btrim(b.category), ''), 'Other')), coalesce(nullif(btrim(b.category), ''), 'Other'), true FROM batch_listings b
WHERE NOT EXISTS (SELECT FROM categories c WHERE c.slug = move_in_slug(coalesce(nullif(btrim(b.category), ''), 'Other'))
                  OR lower(c.name) = lower(coalesce(nullif(btrim(b.category), ''), 'Other')))
ORDER BY 1 ON CONFLICT DO NOTHING;
CREATE TEMP TABLE named AS
SELECT w.category, w.subcategory, (SELECT c.id FROM categories c WHERE c.slug = move_in_slug(coalesce(nullif(btrim(w.category), ''), 'Other'))
        OR lower(c.name) = lower(coalesce(nullif(btrim(w.category), ''), 'Other'))
        ORDER BY c.slug = move_in_slug(coalesce(nullif(btrim(w.category), ''), 'Other')) DESC LIMIT 1) AS top
FROM (SELECT DISTINCT category, nullif(btrim(subcategory), '') AS subcategory FROM batch_listings) w;
INSERT INTO categories (parent_id, slug, name, is_own)
SELECT DISTINCT ON (2) n.top, c.slug || '-' || move_in_slug(n.subcategory), n.subcategory, true FROM named n JOIN categories c ON c.id = n.top
WHERE n.subcategory IS NOT NULL AND NOT EXISTS (SELECT FROM categories s WHERE s.parent_id = n.top AND lower(s.name) = lower(n.subcategory))
ORDER BY 2 ON CONFLICT DO NOTHING;
INSERT INTO listings (id, source_id, external_id, kind, feed, slug, title, description, category_id, status, location_text, attributes, outside_url,
                      outside_seller, published_at, listed_at, price_minor, price_to_minor, currency, unit, in_stock, created_at, updated_at)
SELECT move_in_key('marketplace-watch.listings', b.id), s.id, b.external_id, 'product', 'discover', move_in_slug(b.title), b.title, coalesce(b.description, ''),
       coalesce((SELECT c.id FROM categories c WHERE c.parent_id = n.top AND lower(c.name) = lower(n.subcategory) LIMIT 1), n.top),
       CASE WHEN b.is_deleted THEN 'removed' WHEN b.is_sold THEN 'sold' ELSE 'active' END, coalesce(b.location, ''),
       CASE WHEN jsonb_typeof(b.metadata) = 'object' THEN b.metadata ELSE '{}' END || coalesce(a.attributes, '{}'), b.listing_url,
       nullif(jsonb_strip_nulls(jsonb_build_object('name', nullif(b.seller_name, ''), 'id', nullif(b.seller_id, ''))), '{}'),
       coalesce(b.scraped_date, b.created_at, now()), b.listed_date,
       CASE WHEN coalesce(b.currency, 'USD') = :currency THEN minor_units(b.price, :currency) END,
       CASE WHEN coalesce(b.currency, 'USD') = :currency THEN minor_units(b.price, :currency) END,
       CASE WHEN coalesce(b.currency, 'USD') = :currency AND b.price IS NOT NULL THEN :currency END, 'piece', true,
       coalesce(b.created_at, now()), coalesce(b.updated_at, b.created_at, now())
FROM batch_listings b JOIN sources s ON s.code = move_in_slug(b.source)
JOIN named n ON n.category IS NOT DISTINCT FROM b.category AND n.subcategory IS NOT DISTINCT FROM nullif(btrim(b.subcategory), '')
LEFT JOIN (SELECT listing_id, jsonb_object_agg(key, value) AS attributes FROM batch_listing_attributes GROUP BY 1) a ON a.listing_id = b.id
ON CONFLICT (id) DO NOTHING;
INSERT INTO variants (id, listing_id, unit, created_at, updated_at)
SELECT l.id, l.id, 'piece', l.created_at, l.updated_at FROM batch_listings b JOIN listings l ON l.id = move_in_key('marketplace-watch.listings', b.id) ON CONFLICT (id) DO NOTHING;
INSERT INTO prices (id, variant_id, currency, amount_minor, valid_from)
SELECT move_in_key('marketplace-watch.listings', b.id), move_in_key('marketplace-watch.listings', b.id), coalesce(b.currency, 'USD'), minor_units(b.price, coalesce(b.currency, 'USD')),
       least(coalesce(b.scraped_date, b.created_at, now()), now())
FROM batch_listings b WHERE b.price IS NOT NULL ON CONFLICT DO NOTHING;
INSERT INTO listing_images (listing_id, position, url, width, height, bytes, format, alt, created_at)
SELECT l.id, row_number() OVER (PARTITION BY l.id ORDER BY b.position, b.id) - 1, b.url, b.width, b.height, b.size, b.format, l.title, coalesce(b.created_at, now())
FROM batch_images b JOIN listings l ON l.id = move_in_key('marketplace-watch.listings', b.listing_id)
WHERE NOT EXISTS (SELECT FROM listing_images i WHERE i.listing_id = l.id);
DROP TABLE named;

-- step: alerts
-- table: alerts by id
-- read: id bigint, name text, user_id bigint, criteria jsonb, query text, created_at timestamp, updated_at timestamp, last_checked timestamp,
--    is_active boolean, notification_settings jsonb,
--    asked jsonb = jsonb_build_object('query', query, 'criteria', criteria) of query criteria
-- seal: asked as alert
-- refuse alerts: its person was refused or is missing | NOT EXISTS (SELECT FROM users u WHERE u.id = move_in_key('marketplace-watch.users', b.user_id))
-- refuse alerts: it asks for nothing, or for what alerts here do not know | b.asked_enc IS NULL
-- refuse alerts: the name is missing | coalesce(btrim(b.name), '') = ''
-- refuse alerts: a moment is not possible | move_in_bad_moment(b.created_at) OR move_in_bad_moment(b.updated_at) OR move_in_bad_moment(b.last_checked)
-- refuse alerts: the same person has one that asks for the same | twice encode(asked_index, 'hex') || user_id
-- refuse alerts: the same person has one that asks for the same | EXISTS (SELECT FROM alerts a WHERE a.user_id = move_in_key('marketplace-watch.users', b.user_id)
--    AND a.criteria_hash = b.asked_index AND a.id <> move_in_key('marketplace-watch.alerts', b.id))
-- count alerts: | | alerts t ON t.id = move_in_key('marketplace-watch.alerts', b.id)
INSERT INTO alerts (id, user_id, name, query, criteria, criteria_hash, is_active, notification_settings, last_checked_at, created_at, updated_at)
SELECT move_in_key('marketplace-watch.alerts', b.id), move_in_key('marketplace-watch.users', b.user_id), left(btrim(b.name), 80), a.asked ->> 'query', a.asked -> 'criteria', b.asked_index,
       coalesce(b.is_active, true),
       jsonb_build_object('email', coalesce(b.notification_settings -> 'email' = 'true', true), 'push', coalesce(b.notification_settings -> 'push' = 'true', false),
                          'frequency', CASE WHEN b.notification_settings ->> 'frequency' IN ('daily', 'weekly') THEN b.notification_settings ->> 'frequency' ELSE 'instant' END),
       coalesce(b.last_checked, now()), coalesce(b.created_at, now()), coalesce(b.updated_at, b.created_at, now())
FROM batch_alerts b CROSS JOIN LATERAL (SELECT convert_from(b.asked_enc, 'UTF8')::jsonb AS asked) a ON CONFLICT (id) DO NOTHING;

-- step: alert_matches
-- table: alert_matches by id
-- read: id bigint, alert_id bigint, listing_id bigint, user_id bigint, matched_at timestamp, notified_at timestamp, is_read boolean, is_saved boolean
-- refuse alert_matches: its alert was refused or is missing, or is another person’s |
--    NOT EXISTS (SELECT FROM alerts a WHERE a.id = move_in_key('marketplace-watch.alerts', b.alert_id) AND a.user_id = move_in_key('marketplace-watch.users', b.user_id))
-- refuse alert_matches: its listing was refused or is missing | NOT EXISTS (SELECT FROM listings l WHERE l.id = move_in_key('marketplace-watch.listings', b.listing_id))
-- refuse alert_matches: a moment is not possible | move_in_bad_moment(b.matched_at) OR move_in_bad_moment(b.notified_at)
-- refuse alert_matches: another row is the same find | twice concat_ws('/', alert_id, listing_id)
-- count alert_matches: | | alert_matches t ON t.alert_id = move_in_key('marketplace-watch.alerts', b.alert_id) AND t.listing_id = move_in_key('marketplace-watch.listings', b.listing_id)
INSERT INTO alert_matches (alert_id, listing_id, user_id, matched_at, notified_at, is_read, is_saved)
SELECT move_in_key('marketplace-watch.alerts', b.alert_id), move_in_key('marketplace-watch.listings', b.listing_id), move_in_key('marketplace-watch.users', b.user_id), coalesce(b.matched_at, now()),
       coalesce(b.notified_at, b.matched_at, now()), coalesce(b.is_read, false), coalesce(b.is_saved, false)
FROM batch_alert_matches b ON CONFLICT DO NOTHING;

-- step: notifications
-- table: notifications by id
-- read: id bigint, user_id bigint, type text, title text, content text, data jsonb, created_at timestamp, read_at timestamp
-- refuse notifications: its person was refused or is missing | NOT EXISTS (SELECT FROM users u WHERE u.id = move_in_key('marketplace-watch.users', b.user_id))
-- refuse notifications: it is of a kind that people are not told of here | coalesce(b.type, '') NOT LIKE 'alert%'
-- refuse notifications: the title or the text is too long | char_length(coalesce(b.title, '')) > 300 OR char_length(b.content) > 2000
-- refuse notifications: a moment is not possible | move_in_bad_moment(b.created_at) OR move_in_bad_moment(b.read_at)
-- count notifications: | | notices t ON t.id = move_in_key('marketplace-watch.notifications', b.id)
INSERT INTO notices (id, user_id, kind, subject_id, title, path, at, read_at, content, data)
SELECT move_in_key('marketplace-watch.notifications', b.id), move_in_key('marketplace-watch.users', b.user_id), CASE b.type WHEN 'alert_digest' THEN b.type ELSE 'alert_match' END,
       move_in_key('marketplace-watch.notifications', b.id), coalesce(b.title, ''), '/alerts', coalesce(b.created_at, now()), b.read_at, coalesce(b.content, ''), coalesce(b.data, '{}')
FROM batch_notifications b ON CONFLICT DO NOTHING;
