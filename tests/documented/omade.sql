-- The queries of the bakery's document, as they stand there. One statement ends where an empty line follows.
-- `long path`: needs `search_path = documented, public, pg_catalog`, because it names columns that PostgreSQL's own views do not have.
-- `wrong`: what the document's example does not do as it means to, and what does.

SELECT 
    schemaname,
    tablename,
    pg_size_pretty(pg_total_relation_size(schemaname||'.'||tablename)) as size
FROM pg_tables 
WHERE schemaname = 'public'
ORDER BY pg_total_relation_size(schemaname||'.'||tablename) DESC;

-- long path
-- wrong: PostgreSQL calls the column relname; the schema's own view adds tablename
SELECT 
    schemaname,
    tablename,
    n_tup_ins as inserts,
    n_tup_upd as updates,
    n_tup_del as deletes,
    n_live_tup as live_rows
FROM pg_stat_user_tables
ORDER BY n_live_tup DESC;

-- long path
-- wrong: PostgreSQL calls the columns relname and indexrelname
SELECT 
    schemaname,
    tablename,
    indexname,
    idx_tup_read,
    idx_tup_fetch
FROM pg_stat_user_indexes
ORDER BY idx_tup_read DESC;

-- wrong: since PostgreSQL 13 the columns are total_exec_time and mean_exec_time
SELECT 
    query,
    calls,
    total_time,
    mean_time,
    rows
FROM pg_stat_statements
ORDER BY mean_time DESC
LIMIT 10;

-- long path
-- wrong: as above, relname
SELECT 
    schemaname, 
    tablename, 
    n_dead_tup, 
    n_live_tup,
    ROUND(n_dead_tup::numeric / (n_live_tup + n_dead_tup) * 100, 2) as dead_ratio
FROM pg_stat_user_tables 
WHERE n_live_tup > 0
ORDER BY dead_ratio DESC;

PREPARE get_user_orders AS 
SELECT * FROM orders WHERE user_id = $1 AND status = $2 ORDER BY created_at DESC;

-- wrong: user-uuid stands for an id and is none; with a person's id it answers
-- fails: invalid input syntax for type uuid
EXECUTE get_user_orders('user-uuid', 'delivered');

-- wrong: reviews and sales multiply each other, and sales that were never delivered count; the view product_stats sums them apart
SELECT 
    p.id,
    p.name,
    p.category,
    p.price,
    p.stock,
    COALESCE(AVG(r.rating), 0) as avg_rating,
    COUNT(r.id) as review_count,
    COALESCE(SUM(oi.quantity), 0) as total_sold
FROM products p
LEFT JOIN reviews r ON p.id = r.product_id
LEFT JOIN order_items oi ON p.id = oi.product_id
LEFT JOIN orders o ON oi.order_id = o.id AND o.status = 'delivered'
GROUP BY p.id, p.name, p.category, p.price, p.stock;

-- wrong: u.created_at is neither grouped nor summed, which works on a table with a primary key only; the view user_order_summary answers
-- fails: must appear in the GROUP BY clause
SELECT 
    u.id as user_id,
    u.name,
    u.email,
    COUNT(o.id) as total_orders,
    COALESCE(SUM(o.total_amount), 0) as total_spent,
    COALESCE(MAX(o.created_at), u.created_at) as last_order_date,
    lp.points as loyalty_points
FROM users u
LEFT JOIN orders o ON u.id = o.user_id AND o.status = 'delivered'
LEFT JOIN loyalty_points lp ON u.id = lp.user_id
GROUP BY u.id, u.name, u.email, lp.points;

-- wrong: a day is one of the session's time zone; in the view daily_sales it is one of the store's
SELECT 
    DATE(created_at) as sale_date,
    COUNT(*) as order_count,
    SUM(total_amount) as total_revenue,
    AVG(total_amount) as avg_order_value
FROM orders
WHERE status = 'delivered'
GROUP BY DATE(created_at)
ORDER BY sale_date DESC;

SELECT * FROM product_stats;

SELECT * FROM user_order_summary;

SELECT * FROM daily_sales;
