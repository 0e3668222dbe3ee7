-- What the documented views of every store share. The preset's own documented.sql comes after it; both run as tradepost_owner.
-- Every view is made with security_invoker: whoever asks sees what the tables let them see, row-level security included.

-- Minor units as a decimal number of major units (ISO 4217, as core/money.py has it; a test compares the two).
CREATE FUNCTION documented.amount(minor bigint, currency text) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN minor / CASE
        WHEN currency IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI', 'VND', 'VUV', 'XAF', 'XOF', 'XPF') THEN 1
        WHEN currency IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 1000
        WHEN currency IN ('CLF', 'UYW') THEN 10000
        ELSE 100
    END::numeric;

-- An id for a row whose key has two parts: the same one every time.
CREATE FUNCTION documented.part_id(whole uuid, part text) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN md5(whole::text || '/' || part)::uuid;

-- Where a picture is found, beneath the store's own address unless it lies elsewhere.
CREATE FUNCTION documented.picture_url(file_id uuid, url text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN coalesce(url, '/media/' || file_id::text || '/960.webp');

-- The server's statistics with the column names that the documents use. They win over PostgreSQL's own where the search path
-- names pg_catalog after this schema.
CREATE VIEW documented.pg_stat_user_tables WITH (security_invoker = true) AS
    SELECT s.relname AS tablename, s.* FROM pg_catalog.pg_stat_user_tables s;
CREATE VIEW documented.pg_stat_user_indexes WITH (security_invoker = true) AS
    SELECT s.relname AS tablename, s.indexrelname AS indexname, s.* FROM pg_catalog.pg_stat_user_indexes s;
CREATE VIEW documented.pg_stat_statements WITH (security_invoker = true) AS
    SELECT s.query, s.calls, s.total_exec_time AS total_time, s.mean_exec_time AS mean_time, s.rows,
           s.userid, s.dbid, s.queryid, s.total_exec_time, s.mean_exec_time
    FROM pg_stat_statements s;
