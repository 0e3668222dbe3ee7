-- The delivery plan, rounds, and tries to hand something over.

ALTER TABLE delivery_slots ADD COLUMN is_open boolean DEFAULT true NOT NULL;
ALTER TABLE shipping_options ADD COLUMN by_distance boolean DEFAULT false NOT NULL;
GRANT UPDATE (is_open) ON delivery_slots TO tradepost_app;

CREATE TABLE delivery_terms (
    id BOOLEAN DEFAULT 'true' NOT NULL,
    lead_minutes INTEGER DEFAULT '0' NOT NULL,
    cut_off TIME WITHOUT TIME ZONE,
    days_ahead INTEGER DEFAULT '14' NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_delivery_terms PRIMARY KEY (id),
    CONSTRAINT ck_delivery_terms_one_row CHECK (id),
    CONSTRAINT ck_delivery_terms_lead_range CHECK (lead_minutes BETWEEN 0 AND 129600),
    CONSTRAINT ck_delivery_terms_days_ahead_range CHECK (days_ahead BETWEEN 1 AND 90)
);
COMMENT ON TABLE delivery_terms IS 'For when orders are taken: how long before a window begins, until what time of the day before, how many days ahead.';

CREATE TABLE delivery_windows (
    id UUID DEFAULT uuidv7() NOT NULL,
    weekday SMALLINT NOT NULL,
    starts_at TIME WITHOUT TIME ZONE NOT NULL,
    ends_at TIME WITHOUT TIME ZONE NOT NULL,
    capacity INTEGER NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_delivery_windows PRIMARY KEY (id),
    CONSTRAINT uq_delivery_windows_weekday_starts_at_ends_at UNIQUE (weekday, starts_at, ends_at),
    CONSTRAINT ck_delivery_windows_weekday_range CHECK (weekday BETWEEN 0 AND 6),
    CONSTRAINT ck_delivery_windows_ends_after_start CHECK (ends_at > starts_at),
    CONSTRAINT ck_delivery_windows_capacity_range CHECK (capacity BETWEEN 1 AND 10000)
);
COMMENT ON TABLE delivery_windows IS 'The windows of a usual week (0 is Monday), from which the slots of the days to come are opened.';

CREATE TABLE delivery_days_off (
    day DATE NOT NULL,
    reason TEXT DEFAULT '' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_delivery_days_off PRIMARY KEY (day),
    CONSTRAINT ck_delivery_days_off_reason_length CHECK (char_length(reason) <= 200)
);
COMMENT ON TABLE delivery_days_off IS 'A day on which nothing is brought.';

CREATE TABLE delivery_zones (
    radius_m INTEGER NOT NULL,
    name TEXT NOT NULL,
    fee_minor BIGINT NOT NULL,
    free_from_minor BIGINT,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_delivery_zones PRIMARY KEY (radius_m),
    CONSTRAINT ck_delivery_zones_radius_range CHECK (radius_m BETWEEN 1 AND 20000000),
    CONSTRAINT ck_delivery_zones_fee_not_negative CHECK (fee_minor >= 0 AND free_from_minor > 0),
    CONSTRAINT ck_delivery_zones_name_length CHECK (char_length(name) <= 60)
);
COMMENT ON TABLE delivery_zones IS 'What delivery costs up to a distance from the store''s place; beyond the widest nothing is brought.';

CREATE TABLE delivery_stops (
    order_id UUID NOT NULL,
    seller_id UUID NOT NULL,
    position INTEGER DEFAULT '0' NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_delivery_stops PRIMARY KEY (order_id, seller_id)
);
COMMENT ON TABLE delivery_stops IS 'The place of a seller''s part on its rider''s round; who the rider is, the fulfilment knows.';

CREATE TABLE delivery_attempts (
    key UUID NOT NULL,
    order_id UUID NOT NULL,
    seller_id UUID NOT NULL,
    rider_id UUID,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    outcome TEXT NOT NULL,
    proof TEXT DEFAULT '' NOT NULL,
    reason TEXT DEFAULT '' NOT NULL,
    note TEXT DEFAULT '' NOT NULL,
    file_id UUID,
    CONSTRAINT pk_delivery_attempts PRIMARY KEY (key),
    CONSTRAINT ck_delivery_attempts_outcome_known CHECK (outcome IN ('handed_over', 'failed')),
    CONSTRAINT ck_delivery_attempts_proof_known CHECK (proof IN ('', 'pin', 'photo')),
    CONSTRAINT ck_delivery_attempts_reason_known CHECK (reason IN ('', 'nobody_home', 'wrong_address', 'refused', 'damaged', 'no_access', 'other')),
    CONSTRAINT ck_delivery_attempts_note_length CHECK (char_length(note) <= 500),
    CONSTRAINT fk_delivery_attempts_rider_id FOREIGN KEY(rider_id) REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT fk_delivery_attempts_file_id FOREIGN KEY(file_id) REFERENCES files (id) ON DELETE RESTRICT
);
CREATE INDEX ix_delivery_attempts_order_id ON delivery_attempts (order_id, at);
COMMENT ON TABLE delivery_attempts IS 'A try to hand something over, under a key of the rider''s phone, so that one sent twice counts once.';

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['delivery_terms', 'delivery_windows', 'delivery_zones', 'delivery_stops'] LOOP
        EXECUTE format('CREATE TRIGGER touch_updated_at BEFORE UPDATE ON %I FOR EACH ROW EXECUTE FUNCTION touch_updated_at()', t);
    END LOOP;
    FOREACH t IN ARRAY ARRAY['delivery_terms', 'delivery_windows', 'delivery_days_off', 'delivery_zones', 'delivery_stops',
                             'delivery_attempts'] LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO tradepost_app', t);
        EXECUTE format('GRANT SELECT ON %I TO tradepost_readonly', t);
    END LOOP;
    FOREACH t IN ARRAY ARRAY['delivery_terms', 'delivery_windows', 'delivery_days_off', 'delivery_zones'] LOOP
        PERFORM audit_table(t::regclass);
    END LOOP;
    FOREACH t IN ARRAY ARRAY['delivery_stops', 'delivery_attempts'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY actor ON %I FOR ALL TO tradepost_app USING ((SELECT app_sees_all()) OR EXISTS '
                       '(SELECT FROM fulfilments f WHERE (f.order_id, f.seller_id) = (%I.order_id, %I.seller_id)))', t, t, t);
        EXECUTE format('CREATE POLICY reporting ON %I FOR SELECT TO tradepost_readonly USING (true)', t);
    END LOOP;
    -- What happened at a door is never unsaid.
    REVOKE UPDATE, DELETE ON delivery_attempts FROM tradepost_app;
END $$;
