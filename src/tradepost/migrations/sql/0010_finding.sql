-- What people do decides what is popular, what was scheduled shows when its time comes, and searches can be kept.

-- Interest in a listing: points for views, likes, carts and orders, halved every thirty days; `noted` is how many of the counted
-- points are in it already. Popularity is its logarithm.
ALTER TABLE listing_stats
    ADD COLUMN interest double precision NOT NULL DEFAULT 0,
    ADD COLUMN interest_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN noted bigint NOT NULL DEFAULT 0;
ALTER TABLE search_state
    ADD COLUMN interest_seen_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN due_seen_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX ix_prices_valid_from ON prices (valid_from);
CREATE INDEX ix_prices_valid_to ON prices (valid_to) WHERE valid_to IS NOT NULL;
CREATE INDEX ix_variants_backorder_until ON variants (backorder_until) WHERE backorder_until IS NOT NULL;

CREATE TABLE alerts (
    id uuid NOT NULL DEFAULT uuidv7(),
    user_id uuid NOT NULL,
    name text NOT NULL,
    query text NOT NULL DEFAULT '',
    criteria jsonb NOT NULL DEFAULT '{}',
    criteria_hash bytea NOT NULL,
    is_active boolean NOT NULL DEFAULT true,
    notification_settings jsonb NOT NULL DEFAULT '{}',
    last_checked_at timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_alerts PRIMARY KEY (id),
    CONSTRAINT fk_alerts_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT uq_alerts_user_id_criteria_hash UNIQUE (user_id, criteria_hash),
    CONSTRAINT ck_alerts_name_length CHECK (char_length(name) BETWEEN 1 AND 80),
    CONSTRAINT ck_alerts_query_length CHECK (char_length(query) <= 200),
    CONSTRAINT ck_alerts_criteria_size CHECK (pg_column_size(criteria) <= 8000),
    CONSTRAINT ck_alerts_asks_something CHECK (query <> '' OR criteria <> '{}')
);
CREATE INDEX ix_alerts_removed_at ON alerts (removed_at) WHERE removed_at IS NOT NULL;
COMMENT ON TABLE alerts IS
    'Searches that people keep: `query` are the words, `criteria` the filters, in one spelling for one meaning, so that equal ones have equal `criteria_hash`. A removed one can come back for a day.';
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON alerts FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

GRANT SELECT, INSERT, UPDATE, DELETE ON alerts TO tradepost_app;
GRANT SELECT (id, user_id, name, is_active, last_checked_at, removed_at, created_at, updated_at) ON alerts TO tradepost_readonly;
ALTER TABLE alerts ENABLE ROW LEVEL SECURITY;
CREATE POLICY actor ON alerts FOR ALL TO tradepost_app
    USING ((SELECT app_sees_all()) OR user_id = (SELECT app_user_id()));
CREATE POLICY reporting ON alerts FOR SELECT TO tradepost_readonly USING (true);
