-- What a process asks for first, and which orders take it; money that was paid first belongs to the buyer until the rest is.

ALTER TABLE processes ADD COLUMN deposit jsonb, ADD COLUMN takes jsonb;
COMMENT ON TABLE processes IS
    'A named course that orders take, from the preset; what is paid first, and which orders take it instead of the usual.';
CREATE TRIGGER raise_rules_version AFTER INSERT OR UPDATE OR DELETE ON processes
    FOR EACH STATEMENT EXECUTE FUNCTION raise_rules_version();

ALTER TABLE orders DROP CONSTRAINT ck_orders_payment_state_known;
ALTER TABLE orders ADD CONSTRAINT ck_orders_payment_state_known
    CHECK (payment_state IN ('pending', 'deposit_paid', 'paid', 'failed', 'partly_refunded', 'refunded'));
ALTER TABLE ledger_accounts DROP CONSTRAINT ck_ledger_accounts_kind_known;
ALTER TABLE ledger_accounts ADD CONSTRAINT ck_ledger_accounts_kind_known
    CHECK (kind IN ('clearing', 'buyer', 'deposit', 'seller', 'held', 'fee', 'tax', 'shipping', 'points', 'promotion', 'payout',
                    'loss'));
