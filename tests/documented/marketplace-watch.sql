-- The queries of the market watcher's document, as its repositories' ORM sends them.

-- with: loaf
SELECT listings.* FROM listings WHERE listings.id = $1;

-- with: '4711', 'harbour-classifieds'
SELECT listings.* FROM listings WHERE listings.external_id = $1 AND listings.source = $2;

-- with: 'Bikes', 1, 500, 'Portland', 'loaf'
SELECT listings.* FROM listings WHERE listings.category = $1 AND listings.price >= $2 AND listings.price <= $3 AND listings.location = $4 AND listings.title ILIKE $5 ORDER BY listings.scraped_date DESC LIMIT 20 OFFSET 0;

-- with: ann
SELECT u.*, a.* FROM users u JOIN alerts a ON a.user_id = u.id WHERE u.id = $1;

-- with: ann
SELECT m.* FROM alert_matches m WHERE m.user_id = $1 AND NOT m.is_read;

-- with: ann
SELECT t.* FROM user_auth t WHERE t.user_id = $1;

-- with: ann
SELECT n.* FROM notifications n WHERE n.user_id = $1 ORDER BY n.created_at DESC;
