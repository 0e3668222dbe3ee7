-- What is known of the database's own health, measured over time, and what was done about it.

CREATE TABLE engine_samples (
    taken_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    database_bytes BIGINT NOT NULL,
    connections INTEGER NOT NULL,
    blocks_hit BIGINT NOT NULL,
    blocks_read BIGINT NOT NULL,
    commits BIGINT NOT NULL,
    rollbacks BIGINT NOT NULL,
    live_rows BIGINT NOT NULL,
    dead_rows BIGINT NOT NULL,
    jobs_due INTEGER NOT NULL,
    jobs_failed INTEGER NOT NULL,
    lag_s DOUBLE PRECISION NOT NULL,
    CONSTRAINT pk_engine_samples PRIMARY KEY (taken_at)
);
COMMENT ON TABLE engine_samples IS 'The database''s own figures every ten minutes; counters are PostgreSQL''s, since its statistics began. After two weeks one a day stays.';

CREATE TABLE maintenance_runs (
    id UUID DEFAULT uuidv7() NOT NULL,
    kind TEXT NOT NULL,
    target TEXT NOT NULL,
    outcome TEXT DEFAULT 'running' NOT NULL,
    detail TEXT DEFAULT '' NOT NULL,
    found BIGINT DEFAULT 0 NOT NULL,
    bytes_before BIGINT,
    bytes_after BIGINT,
    began_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_maintenance_runs PRIMARY KEY (id),
    CONSTRAINT ck_maintenance_runs_kind_known CHECK (kind IN ('vacuum', 'analyze', 'reindex', 'leftover', 'months', 'retention', 'books')),
    CONSTRAINT ck_maintenance_runs_outcome_known CHECK (outcome IN ('running', 'done', 'failed'))
);
CREATE INDEX ix_maintenance_runs_kind_began_at ON maintenance_runs (kind, began_at);
COMMENT ON TABLE maintenance_runs IS 'What was done to keep the database well, or looked after in it, each with what came of it.';

GRANT SELECT, INSERT, DELETE ON engine_samples TO tradepost_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON maintenance_runs TO tradepost_app;
GRANT SELECT ON engine_samples, maintenance_runs TO tradepost_readonly;

-- Statistics of columns are hidden from whoever is under row-level security, so the owner of the tables estimates for the server:
-- sizes and numbers only, never a value of a row.
-- Bloat is what the rows would not need if they were written anew: pages now, less pages that so many rows of the average width fill.
CREATE FUNCTION table_health() RETURNS TABLE (
    name text, root text, is_parent boolean, rows_about bigint, dead_rows bigint, changed_rows bigint, table_bytes bigint,
    index_bytes bigint, toast_bytes bigint, bloat_bytes bigint, seq_scans bigint, seq_rows bigint, index_scans bigint,
    written_rows bigint, vacuumed_at timestamptz, analyzed_at timestamptz, frozen_age integer)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH widths AS (
        SELECT tablename, sum((1 - null_frac) * avg_width) AS width FROM pg_stats
        WHERE schemaname = 'public' AND NOT inherited GROUP BY tablename
    ), found AS (
        SELECT c.oid, c.relname, c.relkind, coalesce(pg_partition_root(c.oid)::regclass::text, c.relname) AS root,
               CASE WHEN s.n_live_tup > 0 THEN s.n_live_tup ELSE greatest(c.reltuples, 0)::bigint END AS rows_about,
               s.n_dead_tup, s.n_mod_since_analyze, s.seq_scan, s.seq_tup_read, s.idx_scan, s.n_tup_ins, s.n_tup_upd, s.n_tup_del,
               s.last_vacuum, s.last_autovacuum, s.last_analyze, s.last_autoanalyze, age(c.relfrozenxid) AS frozen_age,
               CASE WHEN c.relkind = 'r' THEN pg_relation_size(c.oid) ELSE 0 END AS main_bytes,
               CASE WHEN c.relkind = 'r' THEN pg_indexes_size(c.oid) ELSE 0 END AS all_indexes,
               CASE WHEN c.reltoastrelid <> 0 THEN pg_total_relation_size(c.reltoastrelid) ELSE 0 END AS toasted,
               coalesce((SELECT substring(o FROM 'fillfactor=([0-9]+)')::int FROM unnest(c.reloptions) AS o
                         WHERE o LIKE 'fillfactor=%'), 100) AS filled, w.width
        FROM pg_class c LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid LEFT JOIN widths w ON w.tablename = c.relname
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'e')
    )
    SELECT f.relname::text, f.root, f.relkind = 'p', f.rows_about, coalesce(f.n_dead_tup, 0), coalesce(f.n_mod_since_analyze, 0),
           f.main_bytes, f.all_indexes, f.toasted,
           CASE WHEN f.width IS NOT NULL AND f.relkind = 'r' THEN greatest(0, f.main_bytes - 8192 * ceil(
               f.rows_about / greatest(1, floor((8192 - 24) * f.filled / 100 / (28 + 8 * ceil(f.width / 8))))))::bigint END,
           coalesce(f.seq_scan, 0), coalesce(f.seq_tup_read, 0), coalesce(f.idx_scan, 0),
           coalesce(f.n_tup_ins + f.n_tup_upd + f.n_tup_del, 0), greatest(f.last_vacuum, f.last_autovacuum),
           greatest(f.last_analyze, f.last_autoanalyze), coalesce(f.frozen_age, 0)
    FROM found f ORDER BY f.relname
$$;

CREATE FUNCTION index_health() RETURNS TABLE (
    name text, table_name text, root text, method text, index_bytes bigint, bloat_bytes bigint, scans bigint, rows_read bigint,
    used_at timestamptz, is_constraint boolean, is_valid boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    WITH stats AS MATERIALIZED (  -- read once: the view is four joins, and PostgreSQL would make them anew for every column
        SELECT tablename, attname, null_frac, avg_width FROM pg_stats WHERE schemaname = 'public' AND NOT inherited
    ), widths AS (
        SELECT x.indexrelid, sum((1 - p.null_frac) * p.avg_width) AS width, count(p.avg_width) = x.indnatts AS is_known
        FROM pg_index x
        JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid
        CROSS JOIN LATERAL unnest(string_to_array(x.indkey::text, ' ')::int[]) WITH ORDINALITY AS k(number, place)
        JOIN pg_attribute a ON a.attrelid = CASE WHEN k.number = 0 THEN i.oid ELSE t.oid END
            AND a.attnum = CASE WHEN k.number = 0 THEN k.place ELSE k.number END
        LEFT JOIN stats p ON p.attname = a.attname AND p.tablename = CASE WHEN k.number = 0 THEN i.relname ELSE t.relname END
        WHERE i.relnamespace = 'public'::regnamespace
        GROUP BY x.indexrelid, x.indnatts
    )
    SELECT i.relname::text, t.relname::text, coalesce(pg_partition_root(t.oid)::regclass::text, t.relname), m.amname::text,
           pg_relation_size(i.oid),
           CASE WHEN m.amname = 'btree' AND w.is_known AND i.reltuples >= 0 AND x.indisvalid THEN greatest(0, pg_relation_size(i.oid) - 8192 * (1 + ceil(
               i.reltuples / greatest(1, floor((8192 - 40) * 0.9 / (12 + 8 * ceil(w.width / 8)))))))::bigint END,
           coalesce(s.idx_scan, 0), coalesce(s.idx_tup_read, 0), s.last_idx_scan,
           x.indisunique OR x.indisexclusion OR EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.oid), x.indisvalid
    FROM pg_index x
    JOIN pg_class i ON i.oid = x.indexrelid AND i.relkind = 'i' JOIN pg_class t ON t.oid = x.indrelid AND t.relkind = 'r'
    JOIN pg_am m ON m.oid = i.relam
    LEFT JOIN widths w ON w.indexrelid = i.oid LEFT JOIN pg_stat_all_indexes s ON s.indexrelid = i.oid
    WHERE i.relnamespace = 'public'::regnamespace
    ORDER BY i.relname
$$;

-- Who follows this server, and how far behind; nothing is told where the owner may not read statistics of the whole server.
CREATE FUNCTION replication_health() RETURNS TABLE (
    name text, state text, lag_bytes bigint, lag_s double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT r.application_name, coalesce(r.state, ''),
           CASE WHEN NOT pg_is_in_recovery() THEN pg_wal_lsn_diff(pg_current_wal_lsn(), r.replay_lsn)::bigint END,
           extract(epoch FROM r.replay_lag)::float8
    FROM pg_stat_replication r ORDER BY r.application_name
$$;

-- REINDEX CONCURRENTLY that was cut off leaves an index that takes every write and answers nothing.
CREATE FUNCTION drop_leftover_index(leftover text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET lock_timeout = '2s' AS $$
BEGIN
    PERFORM FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
    WHERE i.relname = leftover AND i.relnamespace = 'public'::regnamespace AND NOT x.indisvalid
      AND i.relname ~ '_cc(new|old)[0-9]*$' AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.oid);
    IF NOT FOUND THEN
        RAISE EXCEPTION '% is not what an interrupted REINDEX has left', leftover USING ERRCODE = 'wrong_object_type';
    END IF;
    EXECUTE format('DROP INDEX public.%I', leftover);
END $$;

REVOKE ALL ON FUNCTION table_health(), index_health(), replication_health(), drop_leftover_index(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION table_health(), index_health(), replication_health(), drop_leftover_index(text) TO tradepost_app;

-- Cleaning up is no more than the server's role may do to rows anyway, and needs no ownership since PostgreSQL 17.
DO $$
DECLARE
    t text;
BEGIN
    FOR t IN SELECT c.relname FROM pg_class c
             WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.relowner = current_user::regrole
               AND c.relname <> 'alembic_version' LOOP
        EXECUTE format('GRANT MAINTAIN ON public.%I TO tradepost_app', t);
    END LOOP;
END $$;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT MAINTAIN ON TABLES TO tradepost_app;
