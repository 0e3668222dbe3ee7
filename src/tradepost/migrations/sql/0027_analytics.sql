-- What visitors do, beside the facts of `events`: written in batches, kept for some months, each row let go with its month.

CREATE TABLE analytics_events (
    id uuid NOT NULL DEFAULT uuidv7(),
    at timestamptz NOT NULL DEFAULT now(),
    kind text NOT NULL,
    user_id uuid,
    session_hash bytea,
    visitor bytea,
    listing_id uuid,
    data jsonb NOT NULL DEFAULT '{}',
    CONSTRAINT pk_analytics_events PRIMARY KEY (id, at),
    CONSTRAINT ck_analytics_events_kind_known CHECK (kind IN ('listing_viewed', 'category_viewed', 'searched', 'cart_added', 'checkout_opened', 'order_placed', 'assistant_asked', 'assistant_handed_over'))
) PARTITION BY RANGE (at);
CREATE INDEX ix_analytics_events_kind_at ON analytics_events (kind, at) INCLUDE (visitor);
CREATE INDEX ix_analytics_events_user_id_at ON analytics_events (user_id, at) WHERE user_id IS NOT NULL;
CREATE TABLE analytics_events_default PARTITION OF analytics_events DEFAULT;
SELECT ensure_month_partitions('analytics_events', 3);
COMMENT ON TABLE analytics_events IS 'What visitors do: looks at listings, searches, carts, orders, questions. Counts, no accounts; one partition a month, dropped after a while.';

-- Whole months go; at least the present one and the one before stay.
CREATE FUNCTION analytics_drop_months(kept integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    part text;
    gone integer := 0;
BEGIN
    FOR part IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                WHERE i.inhparent = 'analytics_events'::regclass AND c.relname ~ '^analytics_events_p[0-9]{6}$'
                  AND right(c.relname, 6) < to_char(now() - make_interval(months => greatest(kept, 1)), 'YYYYMM') LOOP
        EXECUTE format('DROP TABLE %I', part);
        gone := gone + 1;
    END LOOP;
    RETURN gone;
END $$;
REVOKE ALL ON FUNCTION analytics_drop_months(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION analytics_drop_months(integer) TO tradepost_app;

-- An erased person's rows count on, and nobody can tell any more whose they were: the only change there is.
GRANT SELECT, INSERT, UPDATE (user_id, session_hash, visitor) ON analytics_events TO tradepost_app;
GRANT SELECT (id, at, kind, user_id, session_hash, listing_id, data) ON analytics_events TO tradepost_readonly;
ALTER TABLE analytics_events ENABLE ROW LEVEL SECURITY;
CREATE POLICY actor ON analytics_events FOR ALL TO tradepost_app
    USING (user_id = (SELECT app_user_id()) OR (SELECT app_sees_all()));
CREATE POLICY reporting ON analytics_events FOR SELECT TO tradepost_readonly USING (true);
