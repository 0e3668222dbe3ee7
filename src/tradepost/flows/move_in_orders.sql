-- Orders of the past, written whole: what `-- include: orders` of an import.sql stands for. It wants `-- include: timers` and two temporary tables:
-- heads (id, number, buyer_id, process, state, payment_state, method, gateway, reference, total, tax, ship_enc, bill_enc, way, note, is_over,
--        is_charged, placed_at, updated_at, settled_at), is_over where the goods were handed over, and
-- lines (order_id, line_no, seller_id, listing_id, variant_id, quantity, unit_price, gross, commission), amounts in minor units.
-- Tax that the total has room for was added, other tax is in the prices; what the total lacks of the rest is a discount, what it has more the delivery.
-- `-- include: books` afterwards books what a table paid (id of the payment, order_id, gateway, is_over, is_refunded, at) says was paid.
-- Orders that are here stay as they are.
DELETE FROM heads h USING orders o WHERE o.id = h.id;
DELETE FROM lines l WHERE NOT EXISTS (SELECT FROM heads h WHERE h.id = l.order_id);
ANALYZE heads;
ANALYZE lines;
CREATE TEMP TABLE sums AS
SELECT h.id, s.subtotal, s.sellers, s.first_seller, t.added, h.tax - t.added AS included,
       greatest(s.subtotal + t.added - h.total, 0) AS discount, greatest(h.total - s.subtotal - t.added, 0) AS shipping
FROM heads h
JOIN (SELECT order_id, sum(gross)::bigint AS subtotal, array_agg(DISTINCT seller_id) AS sellers, (array_agg(seller_id ORDER BY line_no))[1] AS first_seller
      FROM lines GROUP BY 1) s ON s.order_id = h.id
CROSS JOIN LATERAL (SELECT CASE WHEN h.total >= s.subtotal + h.tax THEN h.tax ELSE 0 END AS added) t;
ANALYZE sums;
CREATE TEMP TABLE parts_of_lines AS
SELECT l.*, div(s.discount::numeric * w.upto, greatest(s.subtotal, 1)) - div(s.discount::numeric * (w.upto - l.gross), greatest(s.subtotal, 1)) AS discount,
       div(s.added::numeric * w.upto, greatest(s.subtotal, 1)) - div(s.added::numeric * (w.upto - l.gross), greatest(s.subtotal, 1)) AS added,
       div(s.included::numeric * w.upto, greatest(s.subtotal, 1)) - div(s.included::numeric * (w.upto - l.gross), greatest(s.subtotal, 1)) AS included
FROM (SELECT order_id, line_no, sum(gross) OVER (PARTITION BY order_id ORDER BY line_no) AS upto FROM lines) w
JOIN lines l USING (order_id, line_no) JOIN sums s ON s.id = l.order_id;
INSERT INTO orders (id, number, buyer_id, session_hash, seller_ids, process, state, due_at, payment_state, currency, tax_inclusive, subtotal_minor,
                    discount_minor, shipping_minor, tax_minor, included_tax_minor, shipping_address_enc, billing_address_enc, payment_method,
                    shipping_method, note, placed_at, state_since, updated_at)
SELECT h.id, h.number, h.buyer_id, CASE WHEN h.buyer_id IS NULL THEN sha256(('imported/' || h.id)::bytea) END, s.sellers, h.process, h.state,
       CASE WHEN t.is_whole OR h.payment_state = 'pending' THEN greatest(now(), h.updated_at) + t.timer END, h.payment_state, :currency, s.added = 0, s.subtotal, s.discount, s.shipping, s.added, s.included, h.ship_enc, h.bill_enc, h.method, h.way, h.note,
       h.placed_at, h.updated_at, h.updated_at
FROM heads h JOIN sums s USING (id) LEFT JOIN timers t USING (process, state);
-- Together, so that the order’s sums are right when they are looked at.
WITH parts AS (
    INSERT INTO fulfilments (order_id, seller_id, buyer_id, session_hash, process, state, state_since, due_at, shipping_minor, shipping_refunded_minor,
                             opened_at, handed_over_at, created_at, updated_at)
    SELECT h.id, seller, h.buyer_id, CASE WHEN h.buyer_id IS NULL THEN sha256(('imported/' || h.id)::bytea) END, h.process, h.state, h.updated_at,
           CASE WHEN NOT t.is_whole AND h.payment_state <> 'pending' THEN greatest(now(), h.updated_at) + t.timer END, d.shipping,
           CASE WHEN h.payment_state = 'refunded' THEN d.shipping ELSE 0 END, CASE WHEN h.payment_state <> 'pending' THEN h.placed_at END,
           CASE WHEN h.is_over THEN h.updated_at END, h.placed_at, h.updated_at
    FROM heads h JOIN sums s USING (id) LEFT JOIN timers t USING (process, state) CROSS JOIN LATERAL unnest(s.sellers) AS seller
    CROSS JOIN LATERAL (SELECT CASE WHEN seller = s.first_seller THEN s.shipping ELSE 0 END AS shipping) d
)
INSERT INTO order_lines (order_id, line_no, buyer_id, session_hash, seller_id, listing_id, variant_id, title, sku, unit, quantity, unit_price_minor,
                         gross_minor, discount_minor, tax_minor, included_tax_minor, commission_minor, refunded_minor, snapshot)
SELECT l.order_id, l.line_no, h.buyer_id, CASE WHEN h.buyer_id IS NULL THEN sha256(('imported/' || h.id)::bytea) END, l.seller_id, l.listing_id,
       l.variant_id, t.title, v.sku, v.unit, l.quantity, l.unit_price, l.gross, l.discount, l.added, l.included, l.commission,
       CASE WHEN h.payment_state = 'refunded' THEN l.gross - l.discount + l.added ELSE 0 END, jsonb_build_object('slug', t.slug, 'kind', t.kind)
FROM parts_of_lines l JOIN heads h ON h.id = l.order_id JOIN listings t ON t.id = l.listing_id JOIN variants v ON v.id = l.variant_id;
INSERT INTO order_events (order_id, seq, at, actor_id, actor_role, kind, to_state, buyer_id, session_hash)
SELECT h.id, 1, h.placed_at, h.buyer_id, 'buyer', 'placed', h.state, h.buyer_id, CASE WHEN h.buyer_id IS NULL THEN sha256(('imported/' || h.id)::bytea) END
FROM heads h;
INSERT INTO payments (id, order_id, buyer_id, session_hash, gateway, method, amount_minor, refunded_minor, currency, state, gateway_ref, is_offline,
                      settled_at, created_at, updated_at)
SELECT h.id, h.id, h.buyer_id, CASE WHEN h.buyer_id IS NULL THEN sha256(('imported/' || h.id)::bytea) END, h.gateway, h.method, h.total,
       CASE WHEN h.payment_state = 'refunded' THEN h.total ELSE 0 END, :currency,
       CASE h.payment_state WHEN 'paid' THEN 'success' WHEN 'pending' THEN 'initiated' ELSE h.payment_state END, h.reference, true,
       CASE WHEN h.payment_state IN ('paid', 'refunded') THEN h.settled_at END, h.placed_at, h.updated_at
FROM heads h WHERE h.is_charged;
DROP TABLE heads, lines, sums, parts_of_lines, timers;
