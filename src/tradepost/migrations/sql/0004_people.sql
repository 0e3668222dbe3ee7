-- People: names that look alike, doors for cookies and API tokens, and row-level security on sessions and reviews.

-- What a username looks like at a glance, separators as one: two people must not be told apart by an l and a 1.
CREATE FUNCTION username_looks(name text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN translate(replace(replace(lower(name), 'rn', 'm'), 'vv', 'w'), '01i.-', 'oll__');
CREATE INDEX ix_users_username_looks ON users (username_looks(username::text));

-- What those who manage people search in.
CREATE INDEX ix_users_find ON users
    USING gin ((lower(username::text || ' ' || display_name || ' ' || coalesce(email::text, ''))) gin_trgm_ops);

CREATE INDEX ix_users_created_at ON users (created_at DESC, id DESC);

-- Followers and followed people, the latest first.
DROP INDEX ix_follows_followed_id;
CREATE INDEX ix_follows_followed_id ON follows (followed_id, created_at DESC, follower_id DESC);
CREATE INDEX ix_follows_follower_id ON follows (follower_id, created_at DESC, followed_id DESC);

-- The roles of a person, the one that allows most first, and everything they allow together.
CREATE FUNCTION person_roles(person uuid, OUT roles text[], OUT permissions text[]) LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(array_agg(ur.role ORDER BY cardinality(p.codes) DESC, ur.role), '{}'),
           ARRAY(SELECT DISTINCT rp.permission FROM user_roles o JOIN role_permissions rp ON rp.role = o.role
                 WHERE o.user_id = person)
    FROM user_roles ur
    CROSS JOIN LATERAL (SELECT ARRAY(SELECT rp.permission FROM role_permissions rp WHERE rp.role = ur.role)) AS p(codes)
    WHERE ur.user_id = person
$$;

-- A cookie's or a token's hash is its own permission to be looked up, before there is an actor. These two functions are the
-- only way past row-level security there, and they take nothing but the hash.
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

ALTER TABLE sessions ENABLE ROW LEVEL SECURITY;
CREATE POLICY actor ON sessions FOR ALL TO tradepost_app
    USING ((SELECT app_sees_all()) OR user_id = (SELECT app_user_id()) OR id_hash = (SELECT app_session()));

-- Everybody reads reviews that are shown; a review is written in one's own name; the seller may answer.
ALTER TABLE reviews ENABLE ROW LEVEL SECURITY;
CREATE POLICY reading ON reviews FOR SELECT TO tradepost_app
    USING (status = 'shown' OR (SELECT app_sees_all()) OR user_id = (SELECT app_user_id()));
CREATE POLICY writing ON reviews FOR INSERT TO tradepost_app
    WITH CHECK ((SELECT app_sees_all()) OR user_id = (SELECT app_user_id()));
CREATE POLICY changing ON reviews FOR UPDATE TO tradepost_app
    USING ((SELECT app_sees_all()) OR user_id = (SELECT app_user_id())
           OR EXISTS (SELECT FROM listings l WHERE l.id = listing_id AND l.seller_id = (SELECT app_user_id())));
CREATE POLICY removing ON reviews FOR DELETE TO tradepost_app
    USING ((SELECT app_sees_all()) OR user_id = (SELECT app_user_id()));
CREATE POLICY reporting ON reviews FOR SELECT TO tradepost_readonly USING (true);
