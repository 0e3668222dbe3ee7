-- What people are told, and by which ways: in the store, by letter, by push, by web hook; at once, or gathered.

ALTER TABLE notices DROP CONSTRAINT ck_notices_kind_known;
ALTER TABLE notices
    ADD COLUMN content text NOT NULL DEFAULT '',
    ADD COLUMN data jsonb NOT NULL DEFAULT '{}',
    ADD CONSTRAINT ck_notices_kind_known CHECK (kind IN ('show_planned', 'show_started', 'evidence', 'order', 'message', 'offer',
        'verification', 'alert_match', 'alert_digest')),
    ADD CONSTRAINT ck_notices_content_length CHECK (char_length(content) <= 2000);

CREATE TABLE deliveries (
    notice_id uuid NOT NULL,
    channel text NOT NULL,
    user_id uuid NOT NULL,
    state text NOT NULL DEFAULT 'pending',
    due_at timestamptz NOT NULL DEFAULT now(),
    tries integer NOT NULL DEFAULT 0,
    mail_id uuid,
    error text,
    sent_at timestamptz,
    CONSTRAINT pk_deliveries PRIMARY KEY (notice_id, channel),
    CONSTRAINT fk_deliveries_notice_id FOREIGN KEY (notice_id) REFERENCES notices (id) ON DELETE CASCADE,
    CONSTRAINT ck_deliveries_channel_known CHECK (channel IN ('email', 'push', 'webhook')),
    CONSTRAINT ck_deliveries_state_known CHECK (state IN ('pending', 'sent', 'failed'))
);
CREATE INDEX ix_deliveries_due_at ON deliveries (due_at) WHERE state = 'pending';
CREATE INDEX ix_deliveries_pending ON deliveries (user_id, channel, due_at) WHERE state = 'pending';
CREATE INDEX ix_deliveries_mail_id ON deliveries (mail_id) WHERE mail_id IS NOT NULL;
COMMENT ON TABLE deliveries IS
    'A notice on its way to its person by one channel: once for each, and not before `due_at`. While somebody sends it `due_at` lies ahead, so that another takes over if they die.';

CREATE TABLE notice_preferences (
    user_id uuid NOT NULL,
    topic text NOT NULL,
    channel text NOT NULL,
    frequency text NOT NULL,
    CONSTRAINT pk_notice_preferences PRIMARY KEY (user_id, topic, channel),
    CONSTRAINT fk_notice_preferences_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT ck_notice_preferences_topic_known CHECK (topic IN ('orders', 'messages', 'offers', 'shows', 'account', 'alerts')),
    CONSTRAINT ck_notice_preferences_channel_known CHECK (channel IN ('email', 'push', 'webhook')),
    CONSTRAINT ck_notice_preferences_frequency_known CHECK (frequency IN ('off', 'instant', 'hourly', 'daily', 'weekly'))
);
COMMENT ON TABLE notice_preferences IS 'How somebody wants to hear of what; where a row is missing, the usual holds. Alerts say it themselves, but “off” is above them.';

CREATE TABLE notice_times (
    user_id uuid NOT NULL,
    quiet_from time,
    quiet_to time,
    digest_hour integer NOT NULL DEFAULT 8,
    CONSTRAINT pk_notice_times PRIMARY KEY (user_id),
    CONSTRAINT fk_notice_times_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT ck_notice_times_quiet CHECK ((quiet_from IS NULL) = (quiet_to IS NULL) AND (quiet_from IS NULL OR quiet_from <> quiet_to)),
    CONSTRAINT ck_notice_times_digest_hour CHECK (digest_hour BETWEEN 0 AND 23)
);
COMMENT ON TABLE notice_times IS 'When somebody wants to be left alone, and when digests come; in their own time zone.';

CREATE TABLE push_subscriptions (
    id uuid NOT NULL DEFAULT uuidv7(),
    user_id uuid NOT NULL,
    endpoint_hash bytea NOT NULL,
    subscription_enc bytea NOT NULL,
    label text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_push_subscriptions PRIMARY KEY (id),
    CONSTRAINT uq_push_subscriptions_endpoint_hash UNIQUE (endpoint_hash),
    CONSTRAINT fk_push_subscriptions_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT ck_push_subscriptions_label_length CHECK (char_length(label) <= 200)
);
CREATE INDEX ix_push_subscriptions_user_id ON push_subscriptions (user_id);
COMMENT ON TABLE push_subscriptions IS 'Browsers that somebody lets us push notices to; forgotten when the push service says that they are gone.';

CREATE TABLE notice_hooks (
    user_id uuid NOT NULL,
    url text NOT NULL,
    secret_enc bytea NOT NULL,
    failures integer NOT NULL DEFAULT 0,
    error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_notice_hooks PRIMARY KEY (user_id),
    CONSTRAINT fk_notice_hooks_user_id FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT ck_notice_hooks_url_length CHECK (char_length(url) <= 2000)
);
COMMENT ON TABLE notice_hooks IS 'Where somebody''s own program is told, with the secret that signs what it gets.';

CREATE TABLE push_keys (
    id integer NOT NULL DEFAULT 1,
    private_enc bytea NOT NULL,
    public text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_push_keys PRIMARY KEY (id),
    CONSTRAINT ck_push_keys_one_row CHECK (id = 1)
);
COMMENT ON TABLE push_keys IS 'The store''s own key, by which push services know it (VAPID); made when it is first needed.';

-- When something is due: at once but for quiet hours, with the next full hour, or at the hour of digests, daily or on Mondays. Local
-- times that a change of the clock skips or repeats are what PostgreSQL makes of them.
CREATE FUNCTION notice_due(frequency text, zone text, quiet_from time, quiet_to time, digest_hour integer, at timestamptz)
RETURNS timestamptz LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    here timestamp := at AT TIME ZONE zone;
    due timestamp;
    is_quiet boolean;
BEGIN
    due := CASE frequency
        WHEN 'hourly' THEN date_trunc('hour', here) + interval '1 hour'
        WHEN 'daily' THEN date_trunc('day', here) + make_interval(hours => digest_hour)
        WHEN 'weekly' THEN date_trunc('week', here) + make_interval(hours => digest_hour)
        ELSE here END;
    IF frequency = 'daily' AND due <= here THEN
        due := due + interval '1 day';
    ELSIF frequency = 'weekly' AND due <= here THEN
        due := due + interval '7 days';
    END IF;
    is_quiet := quiet_from IS NOT NULL AND CASE WHEN quiet_from < quiet_to THEN due::time >= quiet_from AND due::time < quiet_to
                                                ELSE due::time >= quiet_from OR due::time < quiet_to END;
    IF is_quiet THEN
        due := due::date + quiet_to + CASE WHEN due::time >= quiet_to THEN interval '1 day' ELSE interval '0' END;
    END IF;
    RETURN CASE WHEN due = here THEN at ELSE due AT TIME ZONE zone END;
END $$;

GRANT SELECT, INSERT, UPDATE, DELETE ON deliveries, notice_preferences, notice_times, push_subscriptions, notice_hooks TO tradepost_app;
GRANT SELECT, INSERT, UPDATE ON push_keys TO tradepost_app;
GRANT SELECT ON deliveries, notice_preferences, notice_times TO tradepost_readonly;

ALTER TABLE deliveries ENABLE ROW LEVEL SECURITY;
CREATE POLICY actor ON deliveries FOR ALL TO tradepost_app USING (user_id = (SELECT app_user_id()) OR (SELECT app_sees_all()));
CREATE POLICY reporting ON deliveries FOR SELECT TO tradepost_readonly USING (true);
ALTER TABLE notice_preferences ENABLE ROW LEVEL SECURITY;
CREATE POLICY actor ON notice_preferences FOR ALL TO tradepost_app USING (user_id = (SELECT app_user_id()) OR (SELECT app_sees_all()));
CREATE POLICY reporting ON notice_preferences FOR SELECT TO tradepost_readonly USING (true);
ALTER TABLE notice_times ENABLE ROW LEVEL SECURITY;
CREATE POLICY actor ON notice_times FOR ALL TO tradepost_app USING (user_id = (SELECT app_user_id()) OR (SELECT app_sees_all()));
CREATE POLICY reporting ON notice_times FOR SELECT TO tradepost_readonly USING (true);
ALTER TABLE push_subscriptions ENABLE ROW LEVEL SECURITY;
CREATE POLICY actor ON push_subscriptions FOR ALL TO tradepost_app USING (user_id = (SELECT app_user_id()) OR (SELECT app_sees_all()));
ALTER TABLE notice_hooks ENABLE ROW LEVEL SECURITY;
CREATE POLICY actor ON notice_hooks FOR ALL TO tradepost_app USING (user_id = (SELECT app_user_id()) OR (SELECT app_sees_all()));
