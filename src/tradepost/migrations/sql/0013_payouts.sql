-- Paying sellers out: more states, who decided, what was fetched back; accounts at gateways; runs. A seller sees only theirs.

ALTER TABLE payouts ADD COLUMN reversed_minor bigint DEFAULT 0 NOT NULL, ADD COLUMN run_id uuid, ADD COLUMN decided_by uuid,
    ADD COLUMN settled_at timestamptz;
ALTER TABLE payouts DROP CONSTRAINT ck_payouts_state_known;
ALTER TABLE payouts ADD CONSTRAINT ck_payouts_state_known CHECK (state IN ('requested', 'sent', 'paid', 'failed'));
ALTER TABLE payouts ADD CONSTRAINT ck_payouts_reversed_within_amount CHECK (reversed_minor BETWEEN 0 AND amount_minor);
DROP INDEX uq_payouts_open;
CREATE UNIQUE INDEX uq_payouts_open ON payouts (seller_id, currency) WHERE state IN ('requested', 'sent');
CREATE INDEX ix_payouts_created_at ON payouts (created_at DESC, id DESC);
COMMENT ON TABLE payouts IS
    'Money paid out to a seller, by a gateway or by people (manual). Sent: the gateway has it and has not said yet.';

CREATE TABLE payout_accounts (
    seller_id uuid NOT NULL,
    gateway text NOT NULL,
    account text NOT NULL,
    can_be_paid boolean DEFAULT false NOT NULL,
    missing text[] DEFAULT '{}' NOT NULL,
    created_at timestamptz DEFAULT now() NOT NULL,
    updated_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_payout_accounts PRIMARY KEY (seller_id, gateway),
    CONSTRAINT fk_payout_accounts_seller_id FOREIGN KEY (seller_id) REFERENCES users (id) ON DELETE RESTRICT
);
COMMENT ON TABLE payout_accounts IS 'A seller''s account at a gateway that pays out, and what the gateway last said of it.';

CREATE TABLE payout_runs (
    id uuid DEFAULT uuidv7() NOT NULL CONSTRAINT pk_payout_runs PRIMARY KEY,
    started_by uuid,
    started_at timestamptz DEFAULT now() NOT NULL
);
COMMENT ON TABLE payout_runs IS 'Everybody paid out at once: by somebody, or (nobody) by the schedule.';

CREATE TABLE payout_reversals (
    id uuid DEFAULT uuidv7() NOT NULL CONSTRAINT pk_payout_reversals PRIMARY KEY,
    payout_id uuid NOT NULL CONSTRAINT fk_payout_reversals_payout_id REFERENCES payouts (id) ON DELETE RESTRICT,
    seller_id uuid NOT NULL CONSTRAINT fk_payout_reversals_seller_id REFERENCES users (id) ON DELETE RESTRICT,
    amount_minor bigint NOT NULL,
    currency char(3) NOT NULL,
    state text DEFAULT 'requested' NOT NULL,
    gateway_ref text,
    error text,
    requested_by uuid,
    created_at timestamptz DEFAULT now() NOT NULL,
    updated_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT ck_payout_reversals_amount_positive CHECK (amount_minor > 0),
    CONSTRAINT ck_payout_reversals_state_known CHECK (state IN ('requested', 'success', 'failed'))
);
COMMENT ON TABLE payout_reversals IS
    'Money of a payout that its gateway fetches back, because refunds took more than the seller had.';
CREATE INDEX ix_payout_reversals_payout_id ON payout_reversals (payout_id);
CREATE INDEX ix_payout_reversals_seller_id ON payout_reversals (seller_id);

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['payout_accounts', 'payout_reversals'] LOOP
        EXECUTE format('CREATE TRIGGER touch_updated_at BEFORE UPDATE ON %I FOR EACH ROW EXECUTE FUNCTION touch_updated_at()', t);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY actor ON %I FOR ALL TO tradepost_app '
                       'USING ((SELECT app_sees_all()) OR seller_id = (SELECT app_user_id()))', t);
        EXECUTE format('CREATE POLICY reporting ON %I FOR SELECT TO tradepost_readonly USING (true)', t);
        PERFORM audit_table(t::regclass);
    END LOOP;
    FOREACH t IN ARRAY ARRAY['payout_accounts', 'payout_runs', 'payout_reversals'] LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE ON %I TO tradepost_app', t);
        EXECUTE format('GRANT SELECT ON %I TO tradepost_readonly', t);
    END LOOP;
END $$;
ALTER TABLE payout_runs ENABLE ROW LEVEL SECURITY;
CREATE POLICY actor ON payout_runs FOR ALL TO tradepost_app USING ((SELECT app_sees_all()));
CREATE POLICY reporting ON payout_runs FOR SELECT TO tradepost_readonly USING (true);
