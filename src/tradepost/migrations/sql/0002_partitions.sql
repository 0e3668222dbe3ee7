-- Months of the tables that grow without end, made ahead of time by the server's own role.

-- Runs as the owner of the tables, because making a partition needs that; whoever may run it can only make months.
-- A partition is made beside its parent and then attached: that waits for nobody who writes to other months. Rows that went to
-- the default partition, because no worker ran for months, move along.
CREATE OR REPLACE FUNCTION ensure_month_partitions(parent regclass, months integer) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    name text;
    at text;
    spare regclass;
    first timestamptz;
    last timestamptz;
    part text;
BEGIN
    SELECT c.relname, a.attname, nullif(p.partdefid, 0)::regclass INTO name, at, spare
    FROM pg_partitioned_table p
    JOIN pg_class c ON c.oid = p.partrelid
    JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
    WHERE p.partrelid = parent AND p.partstrat = 'r' AND p.partnatts = 1
      AND a.atttypid = 'timestamptz'::regtype AND c.relowner = current_user::regrole
      AND c.relnamespace = 'public'::regnamespace;
    IF NOT FOUND THEN
        RAISE EXCEPTION '% is not one of our tables with a partition a month', parent USING ERRCODE = 'wrong_object_type';
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('ensure_month_partitions'));
    FOR n IN 0..least(months, 24) LOOP
        first := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => n)) AT TIME ZONE 'UTC';
        last := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => n + 1)) AT TIME ZONE 'UTC';
        part := name || '_p' || to_char(first AT TIME ZONE 'UTC', 'YYYYMM');
        CONTINUE WHEN to_regclass(format('public.%I', part)) IS NOT NULL;
        EXECUTE format('CREATE TABLE public.%I (LIKE %s INCLUDING ALL)', part, parent);
        IF spare IS NOT NULL THEN
            EXECUTE format('WITH moved AS (DELETE FROM %s WHERE %I >= $1 AND %I < $2 RETURNING *)
                            INSERT INTO public.%I SELECT * FROM moved', spare, at, at, part) USING first, last;
        END IF;
        EXECUTE format('ALTER TABLE %s ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', parent, part, first, last);
    END LOOP;
END $$;

CREATE FUNCTION ensure_all_month_partitions(months integer) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT ensure_month_partitions(p.partrelid, months)
    FROM pg_partitioned_table p
    JOIN pg_class c ON c.oid = p.partrelid
    JOIN pg_attribute a ON a.attrelid = p.partrelid AND a.attnum = p.partattrs[0]
    WHERE p.partstrat = 'r' AND p.partnatts = 1 AND a.atttypid = 'timestamptz'::regtype
      AND c.relowner = current_user::regrole AND c.relnamespace = 'public'::regnamespace
    ORDER BY c.relname
$$;

REVOKE EXECUTE ON FUNCTION ensure_month_partitions(regclass, integer), ensure_all_month_partitions(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ensure_all_month_partitions(integer) TO tradepost_app;
