-- The queries of the shop's document, as they stand there or as its program puts them together. $1 is given as `with` says.

SELECT p.*, c.name as category_name
FROM products p
LEFT JOIN categories c ON p.category_id = c.id
WHERE p.is_active = true;

-- with: ann
-- wrong: two columns are called id, and two created_at; programs that read by name see the last one
SELECT o.*, oi.*, p.name as product_name
FROM orders o
JOIN order_items oi ON o.id = oi.order_id
JOIN products p ON oi.product_id = p.id
WHERE o.user_id = $1;

WITH RECURSIVE category_tree AS (
    SELECT id, name, parent_id, 1 as level
    FROM categories
    WHERE parent_id IS NULL
    UNION ALL
    SELECT c.id, c.name, c.parent_id, ct.level + 1
    FROM categories c
    JOIN category_tree ct ON c.parent_id = ct.id
)
SELECT * FROM category_tree;

-- with: loaf
SELECT * FROM products WHERE id = $1 AND is_active = true;

-- with: 'loaf', category, 1, 100
SELECT * FROM products WHERE is_active = true AND to_tsvector('english', name || ' ' || COALESCE(description, '')) @@ plainto_tsquery('english', $1) AND category_id = $2 AND price >= $3 AND price <= $4;

-- with: 'session', loaf
SELECT * FROM cart_items WHERE session_id = $1 AND product_id = $2;

-- with: 1, loaf
-- wrong: the schema is for reading; things are put into carts by the product itself
-- fails: cannot update view
UPDATE cart_items SET quantity = quantity + $1, updated_at = NOW() WHERE id = $2;

-- with: 'session', loaf, 1
-- wrong: as above
-- fails: cannot insert into view
INSERT INTO cart_items (session_id, product_id, quantity) VALUES ($1, $2, $3);

-- with: 'session'
SELECT ci.*, p.name, p.price, p.image_url
FROM cart_items ci
JOIN products p ON ci.product_id = p.id
WHERE ci.session_id = $1;

-- with: ann, 'N9', 1
-- wrong: as above; orders come from the checkout
-- fails: cannot insert into view
INSERT INTO orders (user_id, order_number, total_amount)
VALUES ($1, $2, $3) RETURNING *;

-- with: ann, loaf, 1, 1, 1
-- wrong: as above
-- fails: cannot insert into view
INSERT INTO order_items (order_id, product_id, quantity, unit_price, total_price) VALUES ($1, $2, $3, $4, $5);

SELECT version FROM migrations ORDER BY version;

-- wrong: since PostgreSQL 13 the column is mean_exec_time
SELECT query, mean_time, calls
FROM pg_stat_statements
ORDER BY mean_time DESC
LIMIT 10;

SELECT schemaname, tablename, pg_size_pretty(pg_total_relation_size(schemaname||'.'||tablename)) as size
FROM pg_tables
WHERE schemaname = 'public'
ORDER BY pg_total_relation_size(schemaname||'.'||tablename) DESC;
