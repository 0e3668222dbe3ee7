-- The books of payments of the past: what `-- include: books` of an import.sql stands for. It wants a temporary table paid (id of the payment,
-- order_id, gateway, is_over, is_refunded, at), of orders that are here with their lines. is_over: the goods were handed over.
CREATE TEMP TABLE shares AS
SELECT p.id, p.order_id, p.gateway, f.seller_id, p.is_over AND NOT p.is_refunded AS is_over, p.is_refunded, p.at, sum(l.commission_minor)::bigint AS fee,
       sum(l.tax_minor + l.included_tax_minor)::bigint AS tax,
       (sum(l.gross_minor - l.discount_minor - l.included_tax_minor - l.commission_minor) + f.shipping_minor)::bigint AS own,
       (sum(l.gross_minor - l.discount_minor + l.tax_minor) + f.shipping_minor)::bigint AS paid
FROM paid p JOIN fulfilments f ON f.order_id = p.order_id JOIN order_lines l ON l.order_id = f.order_id AND l.seller_id = f.seller_id
GROUP BY p.id, p.order_id, p.gateway, f.seller_id, p.is_over, p.is_refunded, p.at, f.shipping_minor;
CREATE TEMP TABLE meant AS
SELECT id, order_id, at, CASE WHEN n < 5 THEN 'capture' WHEN n < 7 THEN 'imported_payout' ELSE 'imported_refund' END AS journal, kind, owner_id, name, sum(amount)::bigint AS amount
FROM shares CROSS JOIN LATERAL (VALUES
    (1, 'clearing', NULL::uuid, gateway, paid), (2, CASE WHEN is_over THEN 'seller' ELSE 'held' END, seller_id, '', -own),
    (3, 'fee', NULL, '', -fee), (4, 'tax', NULL, '', -tax),
    (5, 'seller', seller_id, '', CASE WHEN is_over THEN own ELSE 0 END), (6, 'clearing', NULL, gateway, CASE WHEN is_over THEN -own ELSE 0 END),
    (7, 'clearing', NULL, gateway, CASE WHEN is_refunded THEN -paid ELSE 0 END), (8, 'held', seller_id, '', CASE WHEN is_refunded THEN own ELSE 0 END),
    (9, 'fee', NULL, '', CASE WHEN is_refunded THEN fee ELSE 0 END), (10, 'tax', NULL, '', CASE WHEN is_refunded THEN tax ELSE 0 END)
) e(n, kind, owner_id, name, amount)
GROUP BY 1, 2, 3, 4, 5, 6, 7 HAVING sum(amount) <> 0;
INSERT INTO ledger_accounts (kind, owner_id, name, currency) SELECT DISTINCT kind, owner_id, name, :currency FROM meant
ON CONFLICT (kind, owner_id, name, currency) DO NOTHING;
-- What was handed over has been paid out for long, so nobody is paid twice; what was refunded has left again; all else is held, as what is paid here.
WITH journals AS (
    INSERT INTO ledger_journals (id, kind, reference, order_id, at)
    SELECT DISTINCT md5(journal || id::text)::uuid, journal, id::text, order_id, at FROM meant ON CONFLICT (kind, reference) DO NOTHING RETURNING id
)
INSERT INTO ledger_entries (journal_id, line_no, account_id, amount_minor)
SELECT j.id, row_number() OVER (PARTITION BY j.id ORDER BY a.id), a.id, m.amount
FROM meant m JOIN journals j ON j.id = md5(m.journal || m.id::text)::uuid
JOIN ledger_accounts a ON a.kind = m.kind AND a.owner_id IS NOT DISTINCT FROM m.owner_id AND a.name = m.name AND a.currency = :currency;
DROP TABLE paid, shares, meant;
