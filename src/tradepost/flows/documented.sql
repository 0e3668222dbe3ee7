-- What the documented views of every store share, and the three of sums that every store has. The preset's own documented.sql comes after it; both run as tradepost_owner.
-- Every view is made with security_invoker: whoever asks sees what the tables let them see, row-level security included.

-- An id for a row whose key has two parts: the same one every time.
CREATE FUNCTION documented.part_id(whole uuid, part text) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN md5(whole::text || '/' || part)::uuid;

-- Where a picture is found, beneath the store's own address unless it lies elsewhere.
CREATE FUNCTION documented.picture_url(file_id uuid, url text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN coalesce(url, '/media/' || file_id::text || '/960.webp');

-- The server's statistics with the column names that the documents use. They win over PostgreSQL's own where the search path
-- names pg_catalog after this schema.
CREATE VIEW documented.pg_stat_user_tables WITH (security_invoker = true) AS
    SELECT s.relname AS tablename, s.* FROM pg_catalog.pg_stat_user_tables s;
CREATE VIEW documented.pg_stat_user_indexes WITH (security_invoker = true) AS
    SELECT s.relname AS tablename, s.indexrelname AS indexname, s.* FROM pg_catalog.pg_stat_user_indexes s;
CREATE VIEW documented.pg_stat_statements WITH (security_invoker = true) AS
    SELECT s.query, s.calls, s.total_exec_time AS total_time, s.mean_exec_time AS mean_time, s.rows,
           s.userid, s.dbid, s.queryid, s.total_exec_time, s.mean_exec_time
    FROM pg_stat_statements s;

-- Each sum is made where its rows are, before anything is joined: joined first, a sale would count once for every review.
CREATE VIEW documented.product_stats WITH (security_invoker = true) AS
    SELECT l.id, l.title AS name, c.slug AS category, major_units(l.price_minor, l.currency) AS price,
           (SELECT sum(v.on_hand - v.reserved) FROM variants v WHERE v.listing_id = l.id AND v.is_active) AS stock,
           CASE WHEN l.rating_count > 0 THEN round(l.rating_sum::numeric / l.rating_count, 4) ELSE 0 END AS avg_rating,
           l.rating_count::bigint AS review_count, coalesce(s.quantity, 0) AS total_sold
    FROM listings l LEFT JOIN categories c ON c.id = l.category_id
    LEFT JOIN (SELECT listing_id, sum(quantity) AS quantity FROM sales_by_listing GROUP BY listing_id) s ON s.listing_id = l.id
    WHERE l.source_id IS NULL AND l.status NOT IN ('draft', 'removed');

CREATE VIEW documented.user_order_summary WITH (security_invoker = true) AS
    SELECT u.id AS user_id, u.display_name::varchar(255) AS name, u.email::varchar(255) AS email,
           coalesce(o.orders, 0) AS total_orders, coalesce(o.spent, 0) AS total_spent,
           coalesce(o.last_at, u.created_at) AS last_order_date, coalesce(a.points, 0) AS loyalty_points
    FROM users u
    LEFT JOIN (SELECT buyer_id, count(*) AS orders, sum(major_units(total_minor, currency)) AS spent, max(placed_at) AS last_at
               FROM orders JOIN sale_states USING (process, state) WHERE buyer_id IS NOT NULL GROUP BY buyer_id) o ON o.buyer_id = u.id
    LEFT JOIN loyalty_accounts a ON a.user_id = u.id
    WHERE u.erased_at IS NULL;

CREATE VIEW documented.daily_sales WITH (security_invoker = true) AS
    SELECT day AS sale_date, sum(orders)::bigint AS order_count, sum(major_units(revenue_minor, currency)) AS total_revenue,
           round(sum(major_units(revenue_minor, currency)) / sum(orders), 2) AS avg_order_value
    FROM sales_by_day GROUP BY day ORDER BY day DESC;
