-- Search in reverse: which alerts a new or changed listing is for.

ALTER TABLE alerts
    ALTER COLUMN notification_settings SET DEFAULT '{"email": true, "push": false, "frequency": "instant"}',
    ADD COLUMN compiled_at timestamptz,
    ADD COLUMN compiled_for integer NOT NULL DEFAULT 0,
    ADD COLUMN is_broad boolean NOT NULL DEFAULT false,
    ADD COLUMN digest_at timestamptz;
UPDATE alerts SET notification_settings = DEFAULT WHERE notification_settings = '{}';
CREATE INDEX ix_alerts_digest_at ON alerts (digest_at) WHERE digest_at IS NOT NULL;
CREATE INDEX ix_alerts_not_compiled ON alerts (id) WHERE compiled_at IS NULL;

CREATE TABLE alert_index (
    term text COLLATE "C" NOT NULL,
    alert_id uuid NOT NULL,
    user_id uuid NOT NULL,
    wants tsquery,
    min_minor bigint,
    max_minor bigint,
    currency char(3),
    lat double precision,
    lon double precision,
    radius_m double precision,
    ranges jsonb,
    is_verified boolean NOT NULL DEFAULT false,
    max_age_days integer,
    drop_minor bigint,
    drop_percent integer,
    CONSTRAINT pk_alert_index PRIMARY KEY (term, alert_id),
    CONSTRAINT fk_alert_index_alert_id FOREIGN KEY (alert_id) REFERENCES alerts (id) ON DELETE CASCADE
);
CREATE INDEX ix_alert_index_alert_id ON alert_index (alert_id);
COMMENT ON TABLE alert_index IS
    'Alerts as the matcher reads them, each under the rarest `term` it requires (several where one of several will do); the other columns are what remains to be checked.';

CREATE TABLE alert_wide_terms (
    term text COLLATE "C" NOT NULL,
    CONSTRAINT pk_alert_wide_terms PRIMARY KEY (term)
);
COMMENT ON TABLE alert_wide_terms IS 'Common terms that alerts are filed under together with a place or a price: “phone” and “area=3,4”.';

CREATE TABLE alert_queue (
    id bigint GENERATED ALWAYS AS IDENTITY,
    listing_id uuid NOT NULL,
    is_new boolean NOT NULL,
    price_before bigint,
    was_in_stock boolean NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT pk_alert_queue PRIMARY KEY (id)
);
COMMENT ON TABLE alert_queue IS 'Listings that are new or changed and wait to be matched, with what they cost and whether they were to be had before.';

CREATE TABLE alert_matches (
    alert_id uuid NOT NULL,
    listing_id uuid NOT NULL,
    user_id uuid NOT NULL,
    cluster_id uuid,
    reason text NOT NULL DEFAULT 'new',
    price_minor bigint,
    price_before bigint,
    currency char(3),
    matched_at timestamptz NOT NULL DEFAULT now(),
    notified_at timestamptz,
    is_read boolean NOT NULL DEFAULT false,
    is_saved boolean NOT NULL DEFAULT false,
    CONSTRAINT pk_alert_matches PRIMARY KEY (alert_id, listing_id),
    CONSTRAINT fk_alert_matches_alert_id FOREIGN KEY (alert_id) REFERENCES alerts (id) ON DELETE CASCADE,
    CONSTRAINT fk_alert_matches_listing_id FOREIGN KEY (listing_id) REFERENCES listings (id) ON DELETE CASCADE,
    CONSTRAINT fk_alert_matches_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT ck_alert_matches_reason_known CHECK (reason IN ('new', 'changed', 'price_drop', 'back_in_stock'))
);
CREATE INDEX ix_alert_matches_latest ON alert_matches (user_id, matched_at DESC, listing_id DESC);
CREATE INDEX ix_alert_matches_listing_id ON alert_matches (listing_id);
CREATE INDEX ix_alert_matches_untold ON alert_matches (alert_id, matched_at) WHERE notified_at IS NULL;
CREATE UNIQUE INDEX uq_alert_matches_alert_id_cluster_id ON alert_matches (alert_id, cluster_id) WHERE cluster_id IS NOT NULL;
COMMENT ON TABLE alert_matches IS
    'What an alert found: each listing once, and of one thing offered in several places (`cluster_id`) the first. `price_minor`: what it cost when its person was last told.';

-- Every way in which a listing changes ends in its document, so this is where it is noted: at the commit, and only while there is an
-- alert at all. The job is the transaction's own: two of them never wait for each other.
CREATE FUNCTION alerts_call_matcher() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO pgqueuer (priority, entrypoint, payload, execute_after, dedupe_key, status)
    VALUES (0, 'alerts.match_waiting', NULL, now(), 'alerts.match_waiting:' || pg_current_xact_id(), 'queued')
    ON CONFLICT DO NOTHING;
END $$;

CREATE FUNCTION alerts_note_inserted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM changed) AND EXISTS (SELECT FROM alert_index) THEN
        INSERT INTO alert_queue (listing_id, is_new, was_in_stock) SELECT listing_id, true, false FROM changed;
        PERFORM alerts_call_matcher();
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER note_for_alerts_inserted AFTER INSERT ON search_documents
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION alerts_note_inserted();

CREATE FUNCTION alerts_note_updated() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM alert_index) THEN
        INSERT INTO alert_queue (listing_id, is_new, price_before, was_in_stock)
            VALUES (NEW.listing_id, false, OLD.price_minor, OLD.in_stock);
        PERFORM alerts_call_matcher();
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER note_for_alerts_updated AFTER UPDATE ON search_documents FOR EACH ROW
    WHEN (NEW.price_minor IS DISTINCT FROM OLD.price_minor OR (NEW.in_stock AND NOT OLD.in_stock) OR NEW.tags <> OLD.tags
          OR NEW.metadata <> OLD.metadata OR NEW.location::text IS DISTINCT FROM OLD.location::text OR NEW.words <> OLD.words)
    EXECUTE FUNCTION alerts_note_updated();

GRANT SELECT, INSERT, UPDATE, DELETE ON alert_index, alert_wide_terms, alert_matches TO tradepost_app;
GRANT SELECT, UPDATE, DELETE ON alert_queue TO tradepost_app;
GRANT SELECT ON alert_queue, alert_wide_terms TO tradepost_readonly;
GRANT SELECT ON alert_matches TO tradepost_readonly;
REVOKE EXECUTE ON FUNCTION alerts_call_matcher() FROM PUBLIC;

ALTER TABLE alert_index ENABLE ROW LEVEL SECURITY;
CREATE POLICY actor ON alert_index FOR ALL TO tradepost_app
    USING ((SELECT app_sees_all()) OR user_id = (SELECT app_user_id()));
ALTER TABLE alert_matches ENABLE ROW LEVEL SECURITY;
CREATE POLICY actor ON alert_matches FOR ALL TO tradepost_app
    USING ((SELECT app_sees_all()) OR user_id = (SELECT app_user_id()));
CREATE POLICY reporting ON alert_matches FOR SELECT TO tradepost_readonly USING (true);
