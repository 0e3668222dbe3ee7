-- Ways in: one-time links, second steps, passkeys, outside logins, tokens that take turns; and the letters that go with them.

ALTER TABLE users ADD COLUMN closed_at timestamptz;

-- `about` is the address a link proves, `used_at` when a one-time token was used, `family` the sign-in a pair of tokens comes from.
ALTER TABLE tokens
    ADD COLUMN about text,
    ADD COLUMN used_at timestamptz,
    ADD COLUMN family uuid,
    DROP CONSTRAINT ck_tokens_kind_known,
    ADD CONSTRAINT ck_tokens_kind_known CHECK (kind IN ('api', 'access', 'refresh', 'email', 'reset', 'sign_in', 'change_old',
                                                        'change_new', 'reopen', 'second_step')),
    ADD CONSTRAINT ck_tokens_about_length CHECK (char_length(about) <= 255);
CREATE INDEX ix_tokens_family ON tokens (family) WHERE family IS NOT NULL;
CREATE INDEX ix_tokens_expires_at ON tokens (expires_at);

ALTER TABLE outside_logins
    ADD COLUMN email text DEFAULT '' NOT NULL,
    ADD COLUMN last_used_at timestamptz,
    ADD CONSTRAINT uq_outside_logins_user_id_provider UNIQUE (user_id, provider),
    ADD CONSTRAINT ck_outside_logins_email_length CHECK (char_length(email) <= 255);

CREATE TABLE totp_secrets (
    user_id uuid NOT NULL CONSTRAINT pk_totp_secrets PRIMARY KEY
        CONSTRAINT fk_totp_secrets_user_id REFERENCES users (id) ON DELETE CASCADE,
    secret_enc bytea NOT NULL,
    last_step bigint,
    confirmed_at timestamptz,
    created_at timestamptz DEFAULT now() NOT NULL
);
COMMENT ON TABLE totp_secrets IS 'What a person''s authenticator app computes its codes from, encrypted; good once it is confirmed.';

CREATE TABLE recovery_codes (
    user_id uuid NOT NULL CONSTRAINT fk_recovery_codes_user_id REFERENCES users (id) ON DELETE CASCADE,
    code_hash bytea NOT NULL,
    used_at timestamptz,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT pk_recovery_codes PRIMARY KEY (user_id, code_hash)
);
COMMENT ON TABLE recovery_codes IS 'Codes on paper that stand in for a lost second step, each once; kept as SHA-256.';

CREATE TABLE passkeys (
    id uuid DEFAULT uuidv7() NOT NULL CONSTRAINT pk_passkeys PRIMARY KEY,
    credential_id bytea NOT NULL CONSTRAINT uq_passkeys_credential_id UNIQUE,
    user_id uuid NOT NULL CONSTRAINT fk_passkeys_user_id REFERENCES users (id) ON DELETE CASCADE,
    public_key bytea NOT NULL,
    sign_count bigint DEFAULT '0' NOT NULL,
    name text NOT NULL,
    is_backed_up boolean DEFAULT 'false' NOT NULL,
    last_used_at timestamptz,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT ck_passkeys_name_length CHECK (char_length(name) <= 60),
    CONSTRAINT ck_passkeys_credential_id_length CHECK (octet_length(credential_id) <= 1023)
);
CREATE INDEX ix_passkeys_user_id ON passkeys (user_id);
COMMENT ON TABLE passkeys IS 'Keys in people''s devices that sign them in; only the public half is here.';

CREATE TABLE mails (
    id uuid DEFAULT uuidv7() NOT NULL CONSTRAINT pk_mails PRIMARY KEY,
    user_id uuid CONSTRAINT fk_mails_user_id REFERENCES users (id) ON DELETE CASCADE,
    kind text NOT NULL,
    letter_enc bytea,
    state text DEFAULT 'queued' NOT NULL,
    error text,
    sent_at timestamptz,
    created_at timestamptz DEFAULT now() NOT NULL,
    CONSTRAINT ck_mails_kind_length CHECK (char_length(kind) <= 40),
    CONSTRAINT ck_mails_state_known CHECK (state IN ('queued', 'sent', 'kept', 'failed')),
    CONSTRAINT ck_mails_letter_until_sent CHECK (letter_enc IS NOT NULL OR state IN ('sent', 'failed'))
);
CREATE INDEX ix_mails_user_id ON mails (user_id);
CREATE INDEX ix_mails_created_at ON mails (created_at);
COMMENT ON TABLE mails IS 'Letters on their way: encrypted until the mail server has them, then only that they went; kept where there is no mail server.';

GRANT SELECT, INSERT, UPDATE, DELETE ON totp_secrets, recovery_codes, passkeys, mails TO tradepost_app;

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['totp_secrets', 'recovery_codes', 'passkeys', 'outside_logins'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY actor ON %I FOR ALL TO tradepost_app '
                       'USING ((SELECT app_sees_all()) OR user_id = (SELECT app_user_id()))', t);
    END LOOP;
END $$;

-- Anybody may cause a letter; only jobs read one.
ALTER TABLE mails ENABLE ROW LEVEL SECURITY;
CREATE POLICY writing ON mails FOR INSERT TO tradepost_app WITH CHECK (true);
CREATE POLICY sending ON mails FOR ALL TO tradepost_app USING ((SELECT app_sees_all()));

-- Who added or took away a way in, and when, is in the audit log; what they prove themselves with is not.
SELECT audit_table('passkeys', 'INSERT OR DELETE');
SELECT audit_table('totp_secrets', 'INSERT OR DELETE OR UPDATE OF confirmed_at');
SELECT audit_anew();

-- Whether somebody must prove more than a password: what a sign-in asks before there is an actor.
CREATE FUNCTION has_second_step(person uuid) RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
    SELECT EXISTS (SELECT FROM totp_secrets t WHERE t.user_id = person AND t.confirmed_at IS NOT NULL)
        OR EXISTS (SELECT FROM passkeys p WHERE p.user_id = person)
$$;

-- More doors that take nothing but a secret's hash, or what a provider or a device vouches for.
CREATE FUNCTION one_time_token(hash bytea)
RETURNS TABLE (token_id uuid, user_id uuid, kind text, about text, family uuid, scopes text[], expires_at timestamptz,
               used_at timestamptz, revoked_at timestamptz, is_active boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 1 AS $$
    SELECT t.id, t.user_id, t.kind, t.about, t.family, t.scopes, t.expires_at, t.used_at, t.revoked_at, u.is_active
    FROM tokens t JOIN users u ON u.id = t.user_id
    WHERE t.token_hash = hash AND t.kind NOT IN ('api', 'access')
$$;
CREATE FUNCTION outside_login_holder(at_provider text, as_subject text)
RETURNS TABLE (user_id uuid, is_active boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 1 AS $$
    SELECT o.user_id, u.is_active FROM outside_logins o JOIN users u ON u.id = o.user_id
    WHERE o.provider = at_provider AND o.subject = as_subject
$$;
CREATE FUNCTION passkey_holder(credential bytea)
RETURNS TABLE (user_id uuid, public_key bytea, sign_count bigint, is_active boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 1 AS $$
    SELECT p.user_id, p.public_key, p.sign_count, u.is_active FROM passkeys p JOIN users u ON u.id = p.user_id
    WHERE p.credential_id = credential
$$;

-- A session says when its person last proved who they are, and whether the account has a second step.
DROP FUNCTION session_caller(bytea);
CREATE FUNCTION session_caller(hash bytea)
RETURNS TABLE (user_id uuid, username text, display_name text, email text, locale text, roles text[], permissions text[],
               created_at timestamptz, last_seen_at timestamptz, expires_at timestamptz, proved_at timestamptz,
               has_second_step boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 1 AS $$
    SELECT s.user_id, u.username::text, u.display_name, u.email::text, u.locale, r.roles, r.permissions,
           s.created_at, s.last_seen_at, s.expires_at, (s.data ->> 'proved_at')::timestamptz,
           s.user_id IS NOT NULL AND has_second_step(s.user_id)
    FROM sessions s
    LEFT JOIN users u ON u.id = s.user_id
    CROSS JOIN LATERAL person_roles(s.user_id) r
    WHERE s.id_hash = hash AND (s.user_id IS NULL OR u.is_active)
$$;
DROP FUNCTION token_caller(bytea);
CREATE FUNCTION token_caller(hash bytea)
RETURNS TABLE (user_id uuid, username text, display_name text, email text, locale text, roles text[], permissions text[],
               created_at timestamptz, last_seen_at timestamptz, expires_at timestamptz, has_second_step boolean,
               token_id uuid, scopes text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 1 AS $$
    SELECT t.user_id, u.username::text, u.display_name, u.email::text, u.locale, r.roles, r.permissions,
           t.created_at, coalesce(t.last_used_at, t.created_at), t.expires_at, has_second_step(t.user_id), t.id, t.scopes
    FROM tokens t
    JOIN users u ON u.id = t.user_id AND u.is_active
    CROSS JOIN LATERAL person_roles(t.user_id) r
    WHERE t.token_hash = hash AND t.kind IN ('api', 'access') AND t.revoked_at IS NULL
$$;
REVOKE ALL ON FUNCTION session_caller(bytea), token_caller(bytea), has_second_step(uuid), one_time_token(bytea),
    outside_login_holder(text, text), passkey_holder(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_caller(bytea), token_caller(bytea), has_second_step(uuid), one_time_token(bytea),
    outside_login_holder(text, text), passkey_holder(bytea) TO tradepost_app;

-- An erased person's words in the log: the address a link was about, what they called a passkey.
CREATE OR REPLACE FUNCTION audit_forget(person uuid) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    entry record;
    done integer := 0;
    personal text[] := ARRAY['username', 'email', 'first_name', 'last_name', 'display_name', 'bio', 'business_name', 'service_type',
                             'location_text', 'location', 'label', 'subject', 'name', 'device_info', 'ip', 'note', 'comment', 'details',
                             'about'];
BEGIN
    IF NOT EXISTS (SELECT FROM users WHERE id = person AND erased_at IS NOT NULL) THEN
        RAISE EXCEPTION 'only of a person who is erased' USING ERRCODE = 'insufficient_privilege';
    END IF;
    FOR entry IN SELECT id, at, row_key FROM audit_log
                 WHERE (table_name = 'users' AND row_key = person::text)
                    OR (actor_id = person AND table_name IN ('addresses', 'tokens', 'outside_logins', 'passkeys', 'reviews', 'reports', 'orders'))
                    OR (table_name IN ('tokens', 'outside_logins', 'passkeys')
                        AND coalesce(after ->> 'user_id', before ->> 'user_id') = person::text) LOOP
        PERFORM set_config('app.erasing', entry.row_key, true);
        UPDATE audit_log SET before = audit_blank(before, personal), after = audit_blank(after, personal)
        WHERE id = entry.id AND at = entry.at;
        done := done + 1;
    END LOOP;
    PERFORM set_config('app.erasing', '', true);
    PERFORM audit_write('act', 'users', person::text, NULL, jsonb_build_object('erased_from_log', done));
    RETURN done;
END $$;
