-- Back to passwords, sessions and API tokens alone. Links, codes, passkeys and letters are lost.

DROP FUNCTION session_caller(bytea), token_caller(bytea), one_time_token(bytea), outside_login_holder(text, text),
    passkey_holder(bytea), has_second_step(uuid);
CREATE FUNCTION session_caller(hash bytea)
RETURNS TABLE (user_id uuid, username text, display_name text, email text, locale text, roles text[], permissions text[],
               created_at timestamptz, last_seen_at timestamptz, expires_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 1 AS $$
    SELECT s.user_id, u.username::text, u.display_name, u.email::text, u.locale, r.roles, r.permissions,
           s.created_at, s.last_seen_at, s.expires_at
    FROM sessions s
    LEFT JOIN users u ON u.id = s.user_id
    CROSS JOIN LATERAL person_roles(s.user_id) r
    WHERE s.id_hash = hash AND (s.user_id IS NULL OR u.is_active)
$$;
CREATE FUNCTION token_caller(hash bytea)
RETURNS TABLE (user_id uuid, username text, display_name text, email text, locale text, roles text[], permissions text[],
               created_at timestamptz, last_seen_at timestamptz, expires_at timestamptz, token_id uuid, scopes text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp ROWS 1 AS $$
    SELECT t.user_id, u.username::text, u.display_name, u.email::text, u.locale, r.roles, r.permissions,
           t.created_at, coalesce(t.last_used_at, t.created_at), t.expires_at, t.id, t.scopes
    FROM tokens t
    JOIN users u ON u.id = t.user_id AND u.is_active
    CROSS JOIN LATERAL person_roles(t.user_id) r
    WHERE t.token_hash = hash AND t.kind = 'api' AND t.revoked_at IS NULL
$$;
REVOKE ALL ON FUNCTION session_caller(bytea), token_caller(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION session_caller(bytea), token_caller(bytea) TO tradepost_app;

DROP POLICY actor ON outside_logins;
ALTER TABLE outside_logins
    DISABLE ROW LEVEL SECURITY,
    DROP CONSTRAINT uq_outside_logins_user_id_provider,
    DROP COLUMN email,
    DROP COLUMN last_used_at;
DROP TABLE mails, passkeys, recovery_codes, totp_secrets;
DELETE FROM tokens WHERE kind IN ('access', 'change_old', 'change_new', 'reopen', 'second_step');
ALTER TABLE tokens
    DROP CONSTRAINT ck_tokens_kind_known,
    ADD CONSTRAINT ck_tokens_kind_known CHECK (kind IN ('api', 'refresh', 'email', 'reset', 'sign_in')),
    DROP COLUMN about,
    DROP COLUMN used_at,
    DROP COLUMN family;
DROP INDEX ix_tokens_expires_at;
ALTER TABLE users DROP COLUMN closed_at;

CREATE OR REPLACE FUNCTION audit_forget(person uuid) RETURNS integer
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

DROP FUNCTION audit_passkeys(), audit_totp_secrets();
SELECT audit_anew();
