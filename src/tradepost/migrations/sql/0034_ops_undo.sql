-- The way back.

ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE MAINTAIN ON TABLES FROM tradepost_app;
DO $$
DECLARE
    t text;
BEGIN
    FOR t IN SELECT c.relname FROM pg_class c
             WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.relowner = current_user::regrole
               AND c.relname <> 'alembic_version' LOOP
        EXECUTE format('REVOKE MAINTAIN ON public.%I FROM tradepost_app', t);
    END LOOP;
END $$;
DROP FUNCTION table_health(), index_health(), replication_health(), drop_leftover_index(text);
DROP TABLE engine_samples, maintenance_runs;
