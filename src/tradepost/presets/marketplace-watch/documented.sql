-- The market watcher's document. Times have no zone there: UTC.
GRANT SELECT (id, user_id, kind, expires_at, created_at, device_info, ip) ON tokens TO tradepost_readonly;
GRANT SELECT (notification_settings) ON alerts TO tradepost_readonly;

CREATE VIEW documented.users WITH (security_invoker = true) AS
SELECT u.id, u.username::varchar(64) AS username, u.email::varchar(255) AS email,
       '!'::varchar(255) AS password_hash,  -- never shown; no password matches it
       CASE WHEN EXISTS (SELECT FROM user_roles r WHERE r.user_id = u.id AND r.role = 'admin') THEN 'admin' ELSE 'user' END::varchar(20) AS role,
       u.first_name::varchar(100) AS first_name, u.last_name::varchar(100) AS last_name,
       u.created_at AT TIME ZONE 'UTC' AS created_at, u.updated_at AT TIME ZONE 'UTC' AS updated_at,
       u.last_login_at AT TIME ZONE 'UTC' AS last_login, u.is_active
FROM users u;

-- Only the hash of a token is stored, and that is not shown either: its id stands for it.
CREATE VIEW documented.user_auth WITH (security_invoker = true) AS
SELECT t.id, t.user_id, t.id::varchar(255) AS token, t.kind::varchar(20) AS token_type,
       t.expires_at AT TIME ZONE 'UTC' AS expires_at, t.created_at AT TIME ZONE 'UTC' AS created_at, t.device_info,
       host(t.ip)::varchar(45) AS ip_address
FROM tokens t;

-- What members offer themselves has no outside id and address: its own id and address in the API stand for them.
CREATE VIEW documented.listings WITH (security_invoker = true) AS
SELECT l.id, coalesce(l.external_id, l.id::text)::varchar(100) AS external_id, l.title::varchar(255) AS title, l.description,
       major_units(l.price_minor, l.currency)::numeric(10, 2) AS price, l.currency::varchar(3) AS currency,
       l.location_text::varchar(255) AS location,
       coalesce(parent.name, c.name)::varchar(100) AS category,
       CASE WHEN parent.id IS NOT NULL THEN c.name END::varchar(100) AS subcategory,
       coalesce(l.outside_seller ->> 'name', u.display_name)::varchar(100) AS seller_name,
       coalesce(l.outside_seller ->> 'id', l.seller_id::text)::varchar(100) AS seller_id,
       coalesce(l.outside_url, '/api/v1/listings/' || l.id::text) AS listing_url,
       l.listed_at AT TIME ZONE 'UTC' AS listed_date,
       coalesce(l.published_at, l.created_at) AT TIME ZONE 'UTC' AS scraped_date,
       coalesce(s.code, 'members')::varchar(50) AS source,
       l.status = 'sold' AS is_sold, l.status = 'removed' AS is_deleted, l.attributes AS metadata,
       l.created_at AT TIME ZONE 'UTC' AS created_at, l.updated_at AT TIME ZONE 'UTC' AS updated_at
FROM listings l
JOIN categories c ON c.id = l.category_id
LEFT JOIN categories parent ON parent.id = c.parent_id
LEFT JOIN sources s ON s.id = l.source_id
LEFT JOIN users u ON u.id = l.seller_id
WHERE l.status <> 'draft';

CREATE VIEW documented.listing_attributes WITH (security_invoker = true) AS
SELECT documented.part_id(a.listing_id, a.key) AS id, a.listing_id, a.key::varchar(100) AS key, a.value,
       a.created_at AT TIME ZONE 'UTC' AS created_at
FROM listing_attributes a;

CREATE VIEW documented.images WITH (security_invoker = true) AS
SELECT documented.part_id(i.listing_id, i.position::text) AS id, i.listing_id, documented.picture_url(i.file_id, i.url) AS url,
       i.position, i.width, i.height, i.bytes AS size, i.format::varchar(10) AS format, i.created_at AT TIME ZONE 'UTC' AS created_at
FROM listing_images i;

CREATE VIEW documented.alerts WITH (security_invoker = true) AS
SELECT a.id, a.name::varchar(100) AS name, a.user_id,
       '{}'::jsonb AS criteria, NULL::varchar(255) AS query,  -- what somebody looks for is theirs
       a.created_at AT TIME ZONE 'UTC' AS created_at, a.updated_at AT TIME ZONE 'UTC' AS updated_at,
       a.last_checked_at AT TIME ZONE 'UTC' AS last_checked, a.is_active, a.notification_settings
FROM alerts a
WHERE a.removed_at IS NULL;

CREATE VIEW documented.alert_matches WITH (security_invoker = true) AS
SELECT md5(m.alert_id::text || m.listing_id::text)::uuid AS id, m.alert_id, m.listing_id, m.user_id,
       m.matched_at AT TIME ZONE 'UTC' AS matched_at, m.notified_at AT TIME ZONE 'UTC' AS notified_at, m.is_read, m.is_saved
FROM alert_matches m;

-- What an alert is called is its person's; a notice is pending while one of its ways is, and failed where none of them led anywhere.
CREATE VIEW documented.notifications WITH (security_invoker = true) AS
SELECT n.id, n.user_id, n.kind::varchar(50) AS type, CASE WHEN n.kind LIKE 'alert%' THEN n.kind ELSE n.title END::varchar(255) AS title,
       ''::text AS content, NULL::jsonb AS data, n.at AT TIME ZONE 'UTC' AS created_at,
       coalesce(d.sent_at, n.at) AT TIME ZONE 'UTC' AS sent_at, n.read_at AT TIME ZONE 'UTC' AS read_at,
       CASE WHEN n.read_at IS NOT NULL THEN 'read' WHEN d.pending > 0 THEN 'pending' WHEN d.failed > 0 AND d.sent = 0 THEN 'failed'
            ELSE 'sent' END::varchar(20) AS status
FROM notices n CROSS JOIN LATERAL (
    SELECT min(x.sent_at) AS sent_at, count(*) FILTER (WHERE x.state = 'pending') AS pending,
           count(*) FILTER (WHERE x.state = 'failed') AS failed, count(*) FILTER (WHERE x.state = 'sent') AS sent
    FROM deliveries x WHERE x.notice_id = n.id) AS d;
