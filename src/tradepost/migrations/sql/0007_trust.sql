-- Trust: an audit log that triggers write, verification, moderation, exports and erasure, and who may see and change what of it.

CREATE TABLE audit_log (
    id UUID DEFAULT uuidv7() NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    actor_role TEXT NOT NULL,
    actor_id UUID,
    behind_id UUID,
    database_user TEXT NOT NULL,
    action TEXT NOT NULL,
    table_name TEXT NOT NULL,
    row_key TEXT NOT NULL,
    before JSONB,
    after JSONB,
    CONSTRAINT pk_audit_log PRIMARY KEY (id, at),
    CONSTRAINT ck_audit_log_action_known CHECK (action IN ('insert', 'update', 'delete', 'look', 'act'))
)
 PARTITION BY RANGE (at);
CREATE INDEX ix_audit_log_actor_id_id ON audit_log (actor_id, id) WHERE actor_id IS NOT NULL;
CREATE INDEX ix_audit_log_row_key_id ON audit_log (row_key text_pattern_ops, id);
COMMENT ON TABLE audit_log IS 'Who changed which row when, and what it was before; written by triggers only. One partition a month.';

CREATE TABLE encryption_keys (
    key_id TEXT NOT NULL,
    first_used_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    retired_at TIMESTAMP WITH TIME ZONE,
    is_index BOOLEAN DEFAULT false NOT NULL,
    CONSTRAINT pk_encryption_keys PRIMARY KEY (key_id)
);
CREATE UNIQUE INDEX uq_encryption_keys_is_index ON encryption_keys (is_index) WHERE is_index;
COMMENT ON TABLE encryption_keys IS 'The keys that values in this database were encrypted with; none may be missing before it is retired.';

CREATE TABLE verifications (
    id UUID DEFAULT uuidv7() NOT NULL,
    user_id UUID NOT NULL,
    kind TEXT NOT NULL,
    status TEXT DEFAULT 'pending' NOT NULL,
    data_enc BYTEA,
    submitted_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    decided_at TIMESTAMP WITH TIME ZONE,
    decided_by UUID,
    rejection_reason TEXT,
    expires_at TIMESTAMP WITH TIME ZONE,
    cleared_at TIMESTAMP WITH TIME ZONE,
    outside_reference TEXT,
    CONSTRAINT pk_verifications PRIMARY KEY (id),
    CONSTRAINT ck_verifications_kind_known CHECK (kind IN ('email', 'phone', 'government_id', 'address', 'business')),
    CONSTRAINT ck_verifications_status_known CHECK (status IN ('pending', 'verified', 'rejected', 'expired', 'withdrawn')),
    CONSTRAINT ck_verifications_rejection_reason_length CHECK (char_length(rejection_reason) <= 1000),
    CONSTRAINT ck_verifications_rejected_with_reason CHECK ((status = 'rejected') = (rejection_reason IS NOT NULL)),
    CONSTRAINT ck_verifications_decided CHECK (status = 'pending' OR status = 'withdrawn' OR decided_at IS NOT NULL),
    CONSTRAINT fk_verifications_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT fk_verifications_decided_by FOREIGN KEY(decided_by) REFERENCES users (id) ON DELETE RESTRICT
);
CREATE INDEX ix_verifications_status ON verifications (status, submitted_at);
CREATE INDEX ix_verifications_user_id ON verifications (user_id);
CREATE UNIQUE INDEX uq_verifications_open ON verifications (user_id, kind) WHERE status = 'pending' OR status = 'verified';
COMMENT ON TABLE verifications IS 'That somebody is who they say: what they sent, encrypted, and what was decided. One open for each person and kind.';

CREATE TABLE verification_documents (
    verification_id UUID NOT NULL,
    position SMALLINT NOT NULL,
    storage_key TEXT NOT NULL,
    media_type TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    name_enc BYTEA NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_verification_documents PRIMARY KEY (verification_id, position),
    CONSTRAINT ck_verification_documents_media_type_known CHECK (media_type IN ('image/jpeg', 'image/png', 'image/webp', 'application/pdf')),
    CONSTRAINT fk_verification_documents_verification_id FOREIGN KEY(verification_id) REFERENCES verifications (id) ON DELETE CASCADE
);
COMMENT ON TABLE verification_documents IS 'A document of a verification; the file itself is encrypted, and deleted some time after the decision.';

CREATE TABLE badges (
    code TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    position SMALLINT NOT NULL,
    CONSTRAINT pk_badges PRIMARY KEY (code)
);
COMMENT ON TABLE badges IS 'The distinctions that people get for what they did; given and taken by a job that counts the facts.';

CREATE TABLE user_badges (
    user_id UUID NOT NULL,
    badge TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_user_badges PRIMARY KEY (user_id, badge),
    CONSTRAINT fk_user_badges_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT fk_user_badges_badge FOREIGN KEY(badge) REFERENCES badges (code)
);
COMMENT ON TABLE user_badges IS 'Which distinctions a person has.';

CREATE TABLE data_exports (
    id UUID DEFAULT uuidv7() NOT NULL,
    user_id UUID NOT NULL,
    state TEXT DEFAULT 'waiting' NOT NULL,
    done INTEGER DEFAULT '0' NOT NULL,
    parts INTEGER DEFAULT '0' NOT NULL,
    storage_key TEXT,
    bytes INTEGER,
    problem TEXT,
    ready_at TIMESTAMP WITH TIME ZONE,
    expires_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_data_exports PRIMARY KEY (id),
    CONSTRAINT ck_data_exports_state_known CHECK (state IN ('waiting', 'running', 'ready', 'failed', 'expired')),
    CONSTRAINT fk_data_exports_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX ix_data_exports_user_id ON data_exports (user_id, created_at DESC);
CREATE UNIQUE INDEX uq_data_exports_under_way ON data_exports (user_id) WHERE state = 'waiting' OR state = 'running';
COMMENT ON TABLE data_exports IS 'Everything about a person, asked for by that person: a zip that is encrypted where it lies and soon gone.';

CREATE TABLE impersonations (
    id UUID DEFAULT uuidv7() NOT NULL,
    staff_id UUID NOT NULL,
    person_id UUID NOT NULL,
    session_hash BYTEA NOT NULL,
    reason TEXT NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    ends_at TIMESTAMP WITH TIME ZONE NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_impersonations PRIMARY KEY (id),
    CONSTRAINT ck_impersonations_reason_length CHECK (char_length(reason) <= 500),
    CONSTRAINT fk_impersonations_staff_id FOREIGN KEY(staff_id) REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT fk_impersonations_person_id FOREIGN KEY(person_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX ix_impersonations_person_id ON impersonations (person_id, created_at DESC);
CREATE INDEX ix_impersonations_staff_id ON impersonations (staff_id);
COMMENT ON TABLE impersonations IS 'That somebody of the staff looked at the store as a person would: for how long and why. Nothing can be changed meanwhile.';

CREATE TABLE decisions (
    id UUID DEFAULT uuidv7() NOT NULL,
    subject_kind TEXT NOT NULL,
    subject_id UUID NOT NULL,
    person_id UUID,
    action TEXT NOT NULL,
    reason TEXT NOT NULL,
    until TIMESTAMP WITH TIME ZONE,
    effect JSONB DEFAULT '{}' NOT NULL,
    decided_by UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    undone_by UUID,
    undo_reason TEXT,
    CONSTRAINT pk_decisions PRIMARY KEY (id),
    CONSTRAINT ck_decisions_subject_kind_known CHECK (subject_kind IN ('listing', 'person', 'review', 'message')),
    CONSTRAINT ck_decisions_action_known CHECK (action IN ('none', 'warn', 'hide', 'suspend', 'ban')),
    CONSTRAINT ck_decisions_reason_length CHECK (char_length(reason) <= 2000),
    CONSTRAINT ck_decisions_undo_reason_length CHECK (char_length(undo_reason) <= 2000),
    CONSTRAINT ck_decisions_suspension_ends CHECK ((action = 'suspend') = (until IS NOT NULL)),
    CONSTRAINT ck_decisions_undone_whole CHECK (undone_by IS NULL OR (ended_at IS NOT NULL AND undo_reason IS NOT NULL)),
    CONSTRAINT fk_decisions_person_id FOREIGN KEY(person_id) REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT fk_decisions_decided_by FOREIGN KEY(decided_by) REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT fk_decisions_undone_by FOREIGN KEY(undone_by) REFERENCES users (id) ON DELETE RESTRICT
);
CREATE INDEX ix_decisions_person_id ON decisions (person_id, created_at DESC);
CREATE INDEX ix_decisions_subject_id ON decisions (subject_id, created_at DESC);
CREATE INDEX ix_decisions_until ON decisions (until) WHERE until IS NOT NULL AND ended_at IS NULL;
COMMENT ON TABLE decisions IS 'What somebody of the staff decided about a listing, a person or a review, why, and what it did.';

CREATE TABLE reports (
    id UUID DEFAULT uuidv7() NOT NULL,
    subject_kind TEXT NOT NULL,
    subject_id UUID NOT NULL,
    reporter_id UUID NOT NULL,
    reason TEXT NOT NULL,
    details TEXT DEFAULT '' NOT NULL,
    decision_id UUID,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_reports PRIMARY KEY (id),
    CONSTRAINT ck_reports_subject_kind_known CHECK (subject_kind IN ('listing', 'person', 'review', 'message')),
    CONSTRAINT ck_reports_reason_known CHECK (reason IN ('counterfeit', 'forbidden', 'fraud', 'abuse', 'spam', 'wrong', 'other')),
    CONSTRAINT ck_reports_details_length CHECK (char_length(details) <= 2000),
    CONSTRAINT fk_reports_reporter_id FOREIGN KEY(reporter_id) REFERENCES users (id) ON DELETE RESTRICT,
    CONSTRAINT fk_reports_decision_id FOREIGN KEY(decision_id) REFERENCES decisions (id) ON DELETE RESTRICT
);
CREATE INDEX ix_reports_decision_id ON reports (decision_id);
CREATE INDEX ix_reports_open ON reports (subject_kind, subject_id, created_at) WHERE decision_id IS NULL;
CREATE INDEX ix_reports_reporter_id ON reports (reporter_id, created_at DESC);
CREATE UNIQUE INDEX uq_reports_open ON reports (subject_id, reporter_id) WHERE decision_id IS NULL;
COMMENT ON TABLE reports IS 'What somebody said is wrong with a listing, a person or a review. One open for each reporter and subject.';

CREATE TABLE appeals (
    decision_id UUID NOT NULL,
    text TEXT NOT NULL,
    state TEXT DEFAULT 'open' NOT NULL,
    answer TEXT,
    decided_by UUID,
    decided_at TIMESTAMP WITH TIME ZONE,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_appeals PRIMARY KEY (decision_id),
    CONSTRAINT ck_appeals_state_known CHECK (state IN ('open', 'granted', 'refused')),
    CONSTRAINT ck_appeals_text_length CHECK (char_length(text) <= 2000),
    CONSTRAINT ck_appeals_answer_length CHECK (char_length(answer) <= 2000),
    CONSTRAINT ck_appeals_decided CHECK ((state = 'open') = (decided_at IS NULL)),
    CONSTRAINT fk_appeals_decision_id FOREIGN KEY(decision_id) REFERENCES decisions (id) ON DELETE RESTRICT,
    CONSTRAINT fk_appeals_decided_by FOREIGN KEY(decided_by) REFERENCES users (id) ON DELETE RESTRICT
);
CREATE INDEX ix_appeals_open ON appeals (created_at) WHERE state = 'open';
COMMENT ON TABLE appeals IS 'That a person does not accept a decision about them; one for each decision.';

CREATE TABLE blocks (
    user_id UUID NOT NULL,
    blocked_id UUID NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_blocks PRIMARY KEY (user_id, blocked_id),
    CONSTRAINT ck_blocks_not_oneself CHECK (user_id <> blocked_id),
    CONSTRAINT fk_blocks_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT fk_blocks_blocked_id FOREIGN KEY(blocked_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE INDEX ix_blocks_blocked_id ON blocks (blocked_id);
COMMENT ON TABLE blocks IS 'Who wants nothing to do with whom; the blocked person is not told.';

ALTER TABLE users ADD COLUMN suspended_until timestamptz, ADD COLUMN erase_at timestamptz;
CREATE INDEX ix_users_erase_at ON users (erase_at) WHERE erase_at IS NOT NULL;
ALTER TABLE listings
    ADD COLUMN hidden_by uuid,
    ADD CONSTRAINT ck_listings_hidden_stays CHECK (hidden_by IS NULL OR status <> 'active');
CREATE INDEX ix_listings_hidden_by ON listings (hidden_by) WHERE hidden_by IS NOT NULL;

INSERT INTO badges (code, name, description, position) VALUES
    ('verified', 'Verified', 'Showed who they are', 1),
    ('top_rated', 'Top rated', '4.5 stars or more over at least ten reviews', 2),
    ('quick', 'Quick to send', 'Sends nine of ten orders within two days', 3),
    ('regular', 'Regular', 'Sold fifty orders or more', 4),
    ('first_sale', 'First sale', 'Sold something here', 5),
    ('long_here', 'Long here', 'A member for two years or more', 6);

SELECT ensure_month_partitions('audit_log', 3);
CREATE TABLE audit_log_default PARTITION OF audit_log DEFAULT;

-- Who does it, as the transaction says; the database's own user where nobody said anything.
CREATE FUNCTION audit_write(action text, of_table text, of_key text, was jsonb, is_now jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    INSERT INTO audit_log (actor_role, actor_id, behind_id, database_user, action, table_name, row_key, before, after)
    VALUES (coalesce(current_setting('app.role', true), ''), nullif(current_setting('app.user_id', true), '')::uuid,
            nullif(current_setting('app.behind', true), '')::uuid, session_user, action, of_table, of_key, was, is_now)
$$;

-- TG_ARGV: the columns of the key, and those whose values are left out: of these it is said only that they changed.
CREATE FUNCTION audit_row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    was jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    is_now jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    whole jsonb := coalesce(is_now, was);
    of_key text := '';
    part text;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        SELECT jsonb_object_agg(n.key, was -> n.key), jsonb_object_agg(n.key, n.value) INTO was, is_now
        FROM jsonb_each(is_now) n WHERE n.key <> 'updated_at' AND n.value IS DISTINCT FROM was -> n.key;
        IF is_now IS NULL THEN
            RETURN NULL;
        END IF;
    END IF;
    FOREACH part IN ARRAY TG_ARGV[1]::text[] LOOP
        IF was ->> part IS NOT NULL THEN
            was := jsonb_set(was, ARRAY[part], '"…"');
        END IF;
        IF is_now ->> part IS NOT NULL THEN
            is_now := jsonb_set(is_now, ARRAY[part], '"…"');
        END IF;
    END LOOP;
    FOREACH part IN ARRAY TG_ARGV[0]::text[] LOOP
        of_key := of_key || CASE WHEN of_key = '' THEN '' ELSE '/' END || coalesce(whole ->> part, '');
    END LOOP;
    INSERT INTO audit_log (actor_role, actor_id, behind_id, database_user, action, table_name, row_key, before, after)
    VALUES (coalesce(current_setting('app.role', true), ''), nullif(current_setting('app.user_id', true), '')::uuid,
            nullif(current_setting('app.behind', true), '')::uuid, session_user, lower(TG_OP), TG_TABLE_NAME, of_key, was, is_now);
    RETURN NULL;
END $$;

-- Put the trigger on a table. Secret is every column of bytes, and what is named like a secret.
CREATE FUNCTION audit_table(audited regclass, moves text DEFAULT 'INSERT OR UPDATE OR DELETE') RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    keys text[];
    secrets text[];
BEGIN
    SELECT array_agg(a.attname ORDER BY array_position(i.indkey::int2[], a.attnum)) INTO keys
    FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
    WHERE i.indrelid = audited AND i.indisprimary;
    SELECT coalesce(array_agg(a.attname ORDER BY a.attname), '{}') INTO secrets
    FROM pg_attribute a WHERE a.attrelid = audited AND a.attnum > 0 AND NOT a.attisdropped AND NOT a.attname = ANY (keys)
      AND (a.atttypid = 'bytea'::regtype OR a.attname ~ '(_hash|_enc|_index|password|secret|gateway_secret)$');
    EXECUTE format('DROP TRIGGER IF EXISTS audit ON %s', audited);
    EXECUTE format('CREATE TRIGGER audit AFTER %s ON %s FOR EACH ROW EXECUTE FUNCTION audit_row(%L, %L)',
                   moves, audited, keys::text, secrets::text);
END $$;

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY[
        'users', 'roles', 'role_permissions', 'user_roles', 'tokens', 'outside_logins', 'addresses', 'verifications',
        'verification_documents', 'impersonations', 'orders', 'payments', 'refunds', 'payouts', 'returns', 'tax_rates',
        'shipping_options', 'commission_rules', 'order_states', 'order_transitions', 'categories', 'sources', 'reviews',
        'reports', 'decisions', 'appeals', 'blocks', 'search_synonyms'] LOOP
        PERFORM audit_table(t::regclass);
    END LOOP;
    -- Their making is in the order, in the listing's own history or in a bulk load; what is changed or taken away later is not.
    FOREACH t IN ARRAY ARRAY['order_lines', 'fulfilments', 'prices', 'files', 'line_configurations'] LOOP
        PERFORM audit_table(t::regclass, 'UPDATE OR DELETE');
    END LOOP;
    -- Counters and summaries change all day, by triggers.
    PERFORM audit_table('listings', 'DELETE OR UPDATE OF seller_id, kind, title, description, category_id, brand, condition, status, '
                                    'attributes, outside_url, hidden_by');
    PERFORM audit_table('promo_codes', 'INSERT OR DELETE OR UPDATE OF code, kind, percent, amount_minor, valid_from, valid_to, '
                                       'usage_limit, per_person_limit, minimum_minor, is_active');
    PERFORM audit_table('delivery_slots', 'INSERT OR DELETE OR UPDATE OF delivery_on, starts_at, ends_at, capacity, rider_id, status');
END $$;

CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON audit_log FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_rows BEFORE UPDATE ON audit_log FOR EACH ROW
    WHEN (coalesce(current_setting('app.erasing', true), '') <> OLD.row_key) EXECUTE FUNCTION refuse_change();

-- What the server may note itself: that somebody looked at something, or did what no row tells.
CREATE FUNCTION audit_note(action text, of_table text, of_key text, detail jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF action NOT IN ('look', 'act') THEN
        RAISE EXCEPTION 'changes of rows are noted by triggers' USING ERRCODE = 'insufficient_privilege';
    END IF;
    PERFORM audit_write(action, of_table, of_key, NULL, detail);
END $$;

-- Take an erased person's own words out of the log; that they were there, and who changed them when, stays.
CREATE FUNCTION audit_forget(person uuid) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    entry record;
    done integer := 0;
    personal text[] := ARRAY['username', 'email', 'first_name', 'last_name', 'display_name', 'bio', 'business_name', 'service_type',
                             'location_text', 'location', 'label', 'subject', 'name', 'device_info', 'ip', 'note', 'comment', 'details'];
BEGIN
    IF NOT EXISTS (SELECT FROM users WHERE id = person AND erased_at IS NOT NULL) THEN
        RAISE EXCEPTION 'only of a person who is erased' USING ERRCODE = 'insufficient_privilege';
    END IF;
    FOR entry IN SELECT id, at, row_key FROM audit_log
                 WHERE (table_name = 'users' AND row_key = person::text)
                    OR (actor_id = person AND table_name IN ('addresses', 'tokens', 'outside_logins', 'reviews', 'reports', 'orders')) LOOP
        PERFORM set_config('app.erasing', entry.row_key, true);
        UPDATE audit_log SET before = audit_blank(before, personal), after = audit_blank(after, personal)
        WHERE id = entry.id AND at = entry.at;
        done := done + 1;
    END LOOP;
    PERFORM set_config('app.erasing', '', true);
    PERFORM audit_write('act', 'users', person::text, NULL, jsonb_build_object('erased_from_log', done));
    RETURN done;
END $$;
CREATE FUNCTION audit_blank(found jsonb, personal text[]) RETURNS jsonb LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (SELECT jsonb_object_agg(e.key, CASE WHEN e.key = ANY (personal) AND e.value <> 'null' THEN '"erased"' ELSE e.value END)
            FROM jsonb_each(found) e);

-- Drop whole months that are older than so many; never less than half a year.
CREATE FUNCTION audit_drop_months(kept integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    part text;
    gone integer := 0;
BEGIN
    FOR part IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                WHERE i.inhparent = 'audit_log'::regclass AND c.relname ~ '^audit_log_p[0-9]{6}$'
                  AND right(c.relname, 6) < to_char(now() - make_interval(months => greatest(kept, 6)), 'YYYYMM') LOOP
        EXECUTE format('DROP TABLE %I', part);
        gone := gone + 1;
    END LOOP;
    RETURN gone;
END $$;

-- Two people of whom one blocks the other have nothing to do with each other.
CREATE FUNCTION is_blocked(one uuid, other uuid) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT EXISTS (SELECT FROM blocks WHERE (user_id, blocked_id) IN ((one, other), (other, one)))
$$;
CREATE FUNCTION follows_check_block() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF is_blocked(NEW.follower_id, NEW.followed_id) THEN
        RAISE EXCEPTION 'blocked' USING ERRCODE = 'check_violation', CONSTRAINT = 'ck_follows_not_blocked';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER check_block BEFORE INSERT ON follows FOR EACH ROW EXECUTE FUNCTION follows_check_block();
CREATE FUNCTION blocks_end_follows() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    DELETE FROM follows WHERE (follower_id, followed_id) IN ((NEW.user_id, NEW.blocked_id), (NEW.blocked_id, NEW.user_id));
    RETURN NULL;
END $$;
CREATE TRIGGER end_follows AFTER INSERT ON blocks FOR EACH ROW EXECUTE FUNCTION blocks_end_follows();

-- What the staff hid stays hidden until the staff show it again, whoever owns it.
CREATE FUNCTION refuse_showing() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT app_sees_all() AND session_user = 'tradepost_app' THEN
        RAISE EXCEPTION '% was hidden by the staff', TG_TABLE_NAME
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ck_' || TG_TABLE_NAME || '_hidden_stays';
    END IF;
    RETURN coalesce(NEW, OLD);
END $$;
CREATE TRIGGER hidden_stays BEFORE UPDATE OF status ON reviews FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status) EXECUTE FUNCTION refuse_showing();
CREATE TRIGGER hidden_is_kept BEFORE DELETE ON reviews FOR EACH ROW
    WHEN (OLD.status = 'hidden') EXECUTE FUNCTION refuse_showing();
CREATE TRIGGER hidden_stays BEFORE UPDATE OF hidden_by ON listings FOR EACH ROW
    WHEN (OLD.hidden_by IS DISTINCT FROM NEW.hidden_by) EXECUTE FUNCTION refuse_showing();

-- An account that is opened again is not erased.
CREATE FUNCTION users_keep_reopened() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.erase_at := NULL;
    RETURN NEW;
END $$;
CREATE TRIGGER keep_reopened BEFORE UPDATE OF is_active ON users FOR EACH ROW
    WHEN (NOT OLD.is_active AND NEW.is_active) EXECUTE FUNCTION users_keep_reopened();

-- Whoever is suspended may sign in, look and answer, and is allowed nothing else.
CREATE OR REPLACE FUNCTION person_roles(person uuid, OUT roles text[], OUT permissions text[]) LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(array_agg(ur.role ORDER BY cardinality(p.codes) DESC, ur.role), '{}'),
           ARRAY(SELECT DISTINCT rp.permission FROM user_roles o JOIN role_permissions rp ON rp.role = o.role
                 WHERE o.user_id = person
                   AND NOT EXISTS (SELECT FROM users u WHERE u.id = person AND u.suspended_until > now()))
    FROM user_roles ur
    CROSS JOIN LATERAL (SELECT ARRAY(SELECT rp.permission FROM role_permissions rp WHERE rp.role = ur.role)) AS p(codes)
    WHERE ur.user_id = person
$$;

REVOKE ALL ON FUNCTION audit_write(text, text, text, jsonb, jsonb), audit_note(text, text, text, jsonb), audit_forget(uuid),
    audit_drop_months(integer), audit_table(regclass, text), is_blocked(uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit_note(text, text, text, jsonb), audit_forget(uuid), audit_drop_months(integer),
    is_blocked(uuid, uuid) TO tradepost_app;

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['verifications', 'verification_documents', 'user_badges', 'data_exports', 'impersonations', 'decisions',
                             'reports', 'appeals', 'blocks'] LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO tradepost_app', t);
    END LOOP;
    -- Decisions and looks are never unmade, only ended.
    REVOKE DELETE ON decisions, impersonations FROM tradepost_app;
    FOREACH t IN ARRAY ARRAY['user_badges', 'badges', 'decisions', 'reports', 'appeals'] LOOP
        EXECUTE format('GRANT SELECT ON %I TO tradepost_readonly', t);
    END LOOP;
END $$;
GRANT SELECT ON audit_log, badges TO tradepost_app;
GRANT SELECT, INSERT, UPDATE ON encryption_keys TO tradepost_app;
GRANT SELECT (suspended_until, erase_at) ON users TO tradepost_readonly;

DO $$
DECLARE
    rule record;
    t text;
BEGIN
    FOR rule IN SELECT * FROM (VALUES
        ('verifications', 'ALL', 'user_id = (SELECT app_user_id())'),
        ('verification_documents', 'ALL', 'EXISTS (SELECT FROM verifications v WHERE v.id = verification_id)'),
        ('data_exports', 'ALL', 'user_id = (SELECT app_user_id())'),
        ('impersonations', 'SELECT', 'person_id = (SELECT app_user_id())'),
        ('reports', 'ALL', 'reporter_id = (SELECT app_user_id())'),
        ('decisions', 'SELECT', 'person_id = (SELECT app_user_id())'),
        ('appeals', 'ALL', 'EXISTS (SELECT FROM decisions d WHERE d.id = decision_id)'),
        ('blocks', 'ALL', 'user_id = (SELECT app_user_id())'),
        ('audit_log', 'SELECT', 'false')
    ) AS r(tbl, command, test) LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', rule.tbl);
        EXECUTE format('CREATE POLICY actor ON %I FOR %s TO tradepost_app USING ((SELECT app_sees_all()) OR %s)',
                       rule.tbl, rule.command, rule.test);
    END LOOP;
    FOREACH t IN ARRAY ARRAY['reports', 'decisions', 'appeals'] LOOP
        EXECUTE format('CREATE POLICY reporting ON %I FOR SELECT TO tradepost_readonly USING (true)', t);
    END LOOP;
END $$;
-- A rider sees the parts they carry, and of their orders what those parts are of.
CREATE POLICY carrying ON orders FOR SELECT TO tradepost_app
    USING (id = ANY (ARRAY(SELECT f.order_id FROM fulfilments f WHERE f.rider_id = (SELECT app_user_id()))));
CREATE POLICY carrying ON order_lines FOR SELECT TO tradepost_app
    USING (order_id = ANY (ARRAY(SELECT f.order_id FROM fulfilments f WHERE f.rider_id = (SELECT app_user_id())))
           AND EXISTS (SELECT FROM fulfilments f WHERE f.order_id = order_lines.order_id AND f.seller_id = order_lines.seller_id
                       AND f.rider_id = (SELECT app_user_id())));

CREATE POLICY deciding ON decisions FOR ALL TO tradepost_app USING ((SELECT app_sees_all()));
CREATE POLICY looking ON impersonations FOR ALL TO tradepost_app USING ((SELECT app_sees_all()));
-- A person asks for a decision and never makes it.
CREATE FUNCTION refuse_own_decision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT app_sees_all() AND session_user = 'tradepost_app' THEN
        RAISE EXCEPTION 'decided by the staff only' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER decided_by_staff BEFORE UPDATE ON verifications FOR EACH ROW
    WHEN (OLD.status IS DISTINCT FROM NEW.status AND NEW.status <> 'withdrawn') EXECUTE FUNCTION refuse_own_decision();
CREATE TRIGGER submitted_open BEFORE INSERT ON verifications FOR EACH ROW
    WHEN (NEW.status <> 'pending') EXECUTE FUNCTION refuse_own_decision();
CREATE TRIGGER decided_by_staff BEFORE UPDATE ON appeals FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION refuse_own_decision();
CREATE TRIGGER decided_by_staff BEFORE UPDATE ON reports FOR EACH ROW
    WHEN (OLD.decision_id IS DISTINCT FROM NEW.decision_id) EXECUTE FUNCTION refuse_own_decision();
