-- The query of the resale market's document, as its ORM sends it, and one over each index that the document names.

-- with: 10.18, 36.8
-- wrong: there the distance of plain geometry comes out in degrees and everything is within 5,000 of them; here it is metres
-- returns: Loaf
SELECT products.title FROM products WHERE ST_Distance(products.location, ST_Point($1, $2, 4326)) < 5000;

SELECT id FROM users WHERE email = 'ann@example.com' OR username = 'ann' OR phone = '1';

SELECT id FROM products WHERE category = 'Sneakers' AND feed_type = 'community' AND is_available;

SELECT id FROM streams WHERE user_id IS NOT NULL AND status = 'scheduled' AND category = 'Sneakers';

-- with: ann
SELECT id, seller_id FROM conversations WHERE buyer_id = $1;

SELECT m.* FROM messages m JOIN conversations c ON c.last_message_id = m.id;

SELECT id FROM offers WHERE status = 'pending';

-- with: ann
SELECT status, subtotal, platform_fee, seller_payout FROM transactions WHERE buyer_id = $1;

SELECT user_id FROM verifications WHERE status = 'verified';
