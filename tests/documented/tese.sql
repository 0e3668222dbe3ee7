-- The queries of the farm market's document: those in SQL as they stand there, those in Django's words as Django sends them.

SELECT l.*, u.* FROM teseapi_listing l INNER JOIN teseapi_user u ON (l.user_id = u.id);

-- wrong: pictures hang on a UUID while listings there have integers; here both are UUIDs
SELECT * FROM teseapi_listingimage WHERE content_type_id = 1 AND object_id IN (SELECT id FROM teseapi_listing);

SELECT l.*, u.* FROM teseapi_listing l INNER JOIN teseapi_user u ON (l.user_id = u.id) WHERE l.status = 'active' ORDER BY l.created_at DESC;

-- with: ann
SELECT c.*, l.*, u.* FROM teseapi_cartitem c LEFT OUTER JOIN teseapi_listing l ON (c.listing_id = l.id) LEFT OUTER JOIN teseapi_user u ON (l.user_id = u.id) WHERE c.user_id = $1;

-- long path
-- with: vector
-- wrong: the variable in the example does not exist; the field's distance is meant
SELECT * FROM search_searchindexentry ORDER BY (embedding <=> $1) LIMIT 10;

-- wrong: orders that are packed or delivered have been paid too and drop out
SELECT u.username, SUM(o.total_amount) AS total_sales, COUNT(o.id) AS order_count FROM teseapi_order o INNER JOIN teseapi_user u ON (o.user_id = u.id) WHERE o.status = 'PAID' GROUP BY u.username;

SELECT category, AVG(price) AS avg_price, COUNT(id) AS count FROM teseapi_listing GROUP BY category;

-- wrong: each order counts once for every line in its buyer's cart, and what lies in a cart was not bought; order items hold the category's sales
SELECT 
    l.category,
    COUNT(*) as listing_count,
    AVG(o.total_amount) as avg_order_value
FROM teseapi_listing l
LEFT JOIN teseapi_cartitem ci ON ci.listing_id = l.id
LEFT JOIN teseapi_order o ON o.user_id = ci.user_id
WHERE l.status = 'active'
GROUP BY l.category
ORDER BY listing_count DESC;

-- wrong: names one table there; here it is a view, and the tables behind it are listings, variants and prices
-- fails: is not a table or materialized view
REINDEX TABLE teseapi_listing;

SELECT * FROM pg_stat_user_indexes 
WHERE schemaname = 'public';

SELECT l.*, u.* FROM teseapi_listing l INNER JOIN teseapi_user u ON (l.user_id = u.id) WHERE l.status = 'active' LIMIT 20;

-- with: ann
SELECT c.* FROM messaging_conversation c INNER JOIN messaging_conversation_participants p ON (c.id = p.conversation_id) WHERE p.user_id = $1 ORDER BY c.updated_at DESC;

-- with: ann
SELECT COUNT(*) FROM messaging_message m INNER JOIN messaging_conversation_participants p ON (m.conversation_id = p.conversation_id) WHERE p.user_id = $1 AND NOT m.is_read;
