-- A function of its own for each audited table: comparing column by column takes half the time of turning both rows into JSON,
-- and an order's moves, which its history tells already, are not told twice.

DROP FUNCTION audit_table(regclass, text);

-- Put triggers on a table, or make them anew when it has new columns. Secret is every column of bytes, and what is named like a secret:
-- of these it is said only that they changed. `told` are columns whose changes, and the row's making, another table tells.
CREATE FUNCTION audit_table(audited regclass, moves text DEFAULT 'INSERT OR UPDATE OR DELETE', told text[] DEFAULT '{}') RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    of_table text := (SELECT relname FROM pg_class WHERE oid = audited);
    key_of text;
    hide text;
    compare text;
    others text;
BEGIN
    SELECT string_agg(format('%%1$s.%I', a.attname), ', ' ORDER BY array_position(i.indkey::int2[], a.attnum)) INTO key_of
    FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
    WHERE i.indrelid = audited AND i.indisprimary;
    WITH c AS (
        SELECT a.attname AS name, a.attnum AS position,
               (a.atttypid = 'bytea'::regtype OR a.attname ~ '(_hash|_enc|_index|password|secret|gateway_secret)$')
               AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = audited AND i.indisprimary AND a.attnum = ANY (i.indkey)) AS is_secret
        FROM pg_attribute a
        WHERE a.attrelid = audited AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> 'updated_at' AND NOT a.attname = ANY (told)
    )
    SELECT string_agg(format(
               CASE WHEN is_secret
                    THEN 'IF NEW.%1$I IS DISTINCT FROM OLD.%1$I THEN '
                         'was := was || jsonb_build_object(%1$L, CASE WHEN OLD.%1$I IS NOT NULL THEN ''…'' END); '
                         'is_now := is_now || jsonb_build_object(%1$L, CASE WHEN NEW.%1$I IS NOT NULL THEN ''…'' END); END IF;'
                    ELSE 'IF NEW.%1$I IS DISTINCT FROM OLD.%1$I THEN was := was || jsonb_build_object(%1$L, OLD.%1$I); '
                         'is_now := is_now || jsonb_build_object(%1$L, NEW.%1$I); END IF;' END, name), E'\n        ' ORDER BY position),
           string_agg(format('IF whole ->> %1$L IS NOT NULL THEN whole := jsonb_set(whole, ''{%1$s}'', ''"…"''); END IF;', name),
                      E'\n        ' ORDER BY position) FILTER (WHERE is_secret),
           string_agg(quote_ident(name), ', ' ORDER BY position)
        INTO compare, hide, others FROM c;
    EXECUTE format($f$
        CREATE OR REPLACE FUNCTION %I() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $body$
DECLARE
    was jsonb;
    is_now jsonb;
    whole jsonb;
    of_key text;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        was := '{}';
        is_now := '{}';
        %s
        IF is_now = '{}' THEN
            RETURN NULL;
        END IF;
    ELSE
        whole := CASE WHEN TG_OP = 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END;
        %s
        IF TG_OP = 'DELETE' THEN
            was := whole;
        ELSE
            is_now := whole;
        END IF;
    END IF;
    IF TG_OP = 'DELETE' THEN
        of_key := concat_ws('/', %s);
    ELSE
        of_key := concat_ws('/', %s);
    END IF;
    INSERT INTO audit_log (actor_role, actor_id, behind_id, database_user, action, table_name, row_key, before, after)
    VALUES (coalesce(current_setting('app.role', true), ''), nullif(current_setting('app.user_id', true), '')::uuid,
            nullif(current_setting('app.behind', true), '')::uuid, session_user, lower(TG_OP), TG_TABLE_NAME, of_key, was, is_now);
    RETURN NULL;
END $body$
    $f$, 'audit_' || of_table, compare, coalesce(hide, ''), format(key_of, 'OLD'), format(key_of, 'NEW'));
    EXECUTE format('REVOKE ALL ON FUNCTION %I() FROM PUBLIC', 'audit_' || of_table);
    EXECUTE format('DROP TRIGGER IF EXISTS audit ON %s', audited);
    EXECUTE format('DROP TRIGGER IF EXISTS audit_update ON %s', audited);
    IF told = '{}' THEN
        EXECUTE format('CREATE TRIGGER audit AFTER %s ON %s FOR EACH ROW EXECUTE FUNCTION %I()', moves, audited, 'audit_' || of_table);
    ELSE
        EXECUTE format('CREATE TRIGGER audit AFTER DELETE ON %s FOR EACH ROW EXECUTE FUNCTION %I()', audited, 'audit_' || of_table);
        -- Not WHEN: PostgreSQL would read a comparison of so many columns anew for every statement.
        EXECUTE format('CREATE TRIGGER audit_update AFTER UPDATE OF %s ON %s FOR EACH ROW EXECUTE FUNCTION %I()', others, audited, 'audit_' || of_table);
    END IF;
END $$;

-- Make the functions of every audited table anew; the moves stay as they are. For migrations that add or drop columns.
CREATE FUNCTION audit_anew() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    t record;
BEGIN
    FOR t IN
        SELECT g.tgrelid::regclass AS audited,
               regexp_replace(pg_get_triggerdef(g.oid), '^CREATE TRIGGER audit AFTER (.*) ON .* FOR EACH ROW .*$', '\1') AS moves
        FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid
        WHERE g.tgname = 'audit' AND NOT g.tgisinternal AND c.relname NOT IN ('orders', 'fulfilments', 'payments') ORDER BY c.relname
    LOOP
        PERFORM audit_table(t.audited, t.moves);
    END LOOP;
    -- `order_events` tells the moves, and with the order how it was made; `payments` and the ledger tell what was paid.
    PERFORM audit_table('orders', told => '{state,state_since,due_at,payment_state}');
    PERFORM audit_table('fulfilments', told => '{state,state_since,opened_at,due_at}');
    PERFORM audit_table('payments', told => '{checked_at}');
END $$;
SELECT audit_anew();
DROP FUNCTION audit_row();

-- A move that the order's history does not tell is refused; the statement that moves also tells.
CREATE FUNCTION check_told() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'orders' THEN
        IF EXISTS (SELECT FROM order_events WHERE order_id = NEW.id AND to_state = NEW.state) THEN
            RETURN NULL;
        END IF;
    ELSIF EXISTS (SELECT FROM order_events WHERE order_id = NEW.order_id AND to_state = NEW.state) THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'the move to % is not told in order_events', NEW.state
        USING ERRCODE = 'check_violation', CONSTRAINT = 'ck_' || TG_TABLE_NAME || '_told';
END $$;
CREATE TRIGGER check_told AFTER UPDATE ON orders FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION check_told();
CREATE TRIGGER check_told AFTER UPDATE ON fulfilments FOR EACH ROW
    WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION check_told();
