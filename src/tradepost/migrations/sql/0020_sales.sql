-- Sales summed up by day and by listing.

CREATE TABLE sales_days (
    day DATE NOT NULL,
    currency CHAR(3) NOT NULL,
    orders INTEGER NOT NULL,
    revenue_minor BIGINT NOT NULL,
    refunded_minor BIGINT NOT NULL,
    CONSTRAINT pk_sales_days PRIMARY KEY (day, currency)
);
COMMENT ON TABLE sales_days IS 'The orders placed on a day, in the store''s time, that were handed over; summed up by refresh_sales().';

CREATE TABLE sales_listings (
    listing_id UUID NOT NULL,
    day DATE NOT NULL,
    currency CHAR(3) NOT NULL,
    quantity NUMERIC(16, 3) NOT NULL,
    revenue_minor BIGINT NOT NULL,
    orders INTEGER NOT NULL,
    CONSTRAINT pk_sales_listings PRIMARY KEY (listing_id, day, currency)
);
CREATE INDEX ix_sales_listings_day ON sales_listings (day);
COMMENT ON TABLE sales_listings IS 'What was sold of a listing in the orders of a day that were handed over; summed up by refresh_sales().';

CREATE TABLE sales_changed (
    id UUID DEFAULT uuidv7() NOT NULL,
    day DATE NOT NULL,
    CONSTRAINT pk_sales_changed PRIMARY KEY (id)
);
CREATE INDEX ix_sales_changed_day ON sales_changed (day);
COMMENT ON TABLE sales_changed IS 'A day whose orders changed since it was summed up, once for every change.';

-- The store's own days. Installing a store writes its time zone; until then it is UTC.
CREATE FUNCTION store_timezone() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce((SELECT value FROM store_facts WHERE name = 'timezone'), 'UTC');
-- An order is a sale when its goods have been handed over: the states that a move with that effect leads to.
CREATE VIEW sale_states WITH (security_invoker = true) AS
    SELECT DISTINCT process, to_state AS state FROM order_transitions WHERE 'complete_fulfilments' = ANY (effects);
GRANT SELECT ON sale_states TO tradepost_app, tradepost_readonly;
CREATE FUNCTION is_sale(of_process text, of_state text) RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT EXISTS (SELECT FROM order_transitions t
                   WHERE t.process = of_process AND t.to_state = of_state AND 'complete_fulfilments' = ANY (t.effects))
$$;

-- A day is noted as changed by rows that nobody else waits for; two orders of one day never meet here.
CREATE FUNCTION orders_sales_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    -- One look: of a row that is made or goes, the other half is null.
    IF EXISTS (SELECT FROM order_transitions t WHERE t.process = coalesce(NEW.process, OLD.process)
               AND t.to_state IN (OLD.state, NEW.state) AND 'complete_fulfilments' = ANY (t.effects)) THEN
        INSERT INTO sales_changed (day)
            VALUES ((CASE WHEN TG_OP = 'DELETE' THEN OLD.placed_at ELSE NEW.placed_at END AT TIME ZONE store_timezone())::date);
        IF TG_OP = 'UPDATE' AND OLD.placed_at <> NEW.placed_at THEN
            INSERT INTO sales_changed (day) VALUES ((OLD.placed_at AT TIME ZONE store_timezone())::date);
        END IF;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER sales_changed AFTER UPDATE ON orders FOR EACH ROW
    WHEN ((OLD.state, OLD.total_minor, OLD.currency, OLD.placed_at) IS DISTINCT FROM (NEW.state, NEW.total_minor, NEW.currency, NEW.placed_at))
    EXECUTE FUNCTION orders_sales_changed();
CREATE TRIGGER sales_changed_too AFTER INSERT OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION orders_sales_changed();

CREATE FUNCTION order_lines_sales_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    INSERT INTO sales_changed (day)
    SELECT DISTINCT (o.placed_at AT TIME ZONE store_timezone())::date FROM changed c JOIN orders o ON o.id = c.order_id
    WHERE is_sale(o.process, o.state);
    RETURN NULL;
END $$;
CREATE FUNCTION order_part_sales_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    INSERT INTO sales_changed (day)
    SELECT (o.placed_at AT TIME ZONE store_timezone())::date FROM orders o WHERE o.id = NEW.order_id AND is_sale(o.process, o.state);
    RETURN NULL;
END $$;
-- A line that costs something changes its order's total, and is noticed there; every checkout would pay for looking twice.
CREATE TRIGGER sales_changed_inserted AFTER INSERT ON order_lines FOR EACH ROW
    WHEN (NEW.total_minor = 0) EXECUTE FUNCTION order_part_sales_changed();
CREATE TRIGGER sales_changed_updated AFTER UPDATE ON order_lines REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION order_lines_sales_changed();
CREATE TRIGGER sales_changed_deleted AFTER DELETE ON order_lines REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION order_lines_sales_changed();

-- What the orders of these days say, straight from them.
CREATE FUNCTION sum_up_days(days date[]) RETURNS TABLE (day date, currency char(3), orders bigint, revenue_minor numeric, refunded_minor numeric)
LANGUAGE sql STABLE SET search_path = public AS $$
    SELECT d.day, o.currency, count(*), sum(o.total_minor),
           sum((SELECT coalesce(sum(l.refunded_minor), 0) FROM order_lines l WHERE l.order_id = o.id)
               + (SELECT coalesce(sum(f.shipping_refunded_minor), 0) FROM fulfilments f WHERE f.order_id = o.id))
    FROM unnest(days) AS d(day)
    JOIN orders o ON o.placed_at >= d.day::timestamp AT TIME ZONE store_timezone()
                 AND o.placed_at < (d.day + 1)::timestamp AT TIME ZONE store_timezone()
    JOIN sale_states s ON s.process = o.process AND s.state = o.state
    GROUP BY d.day, o.currency
$$;
CREATE FUNCTION sum_up_listings(days date[]) RETURNS TABLE (listing_id uuid, day date, currency char(3), quantity numeric, revenue_minor numeric, orders bigint)
LANGUAGE sql STABLE SET search_path = public AS $$
    SELECT l.listing_id, d.day, o.currency, sum(l.quantity), sum(l.total_minor), count(DISTINCT o.id)
    FROM unnest(days) AS d(day)
    JOIN orders o ON o.placed_at >= d.day::timestamp AT TIME ZONE store_timezone()
                 AND o.placed_at < (d.day + 1)::timestamp AT TIME ZONE store_timezone()
    JOIN sale_states s ON s.process = o.process AND s.state = o.state
    JOIN order_lines l ON l.order_id = o.id
    GROUP BY l.listing_id, d.day, o.currency
$$;

-- Sum up the days that changed; return how many. What changes meanwhile has a row of its own, and is summed up the next time.
CREATE FUNCTION refresh_sales() RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    days date[];
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('refresh_sales'));
    WITH gone AS (DELETE FROM sales_changed RETURNING sales_changed.day)
        SELECT array_agg(DISTINCT g.day) INTO days FROM gone g;
    IF days IS NULL THEN
        RETURN 0;
    END IF;
    DELETE FROM sales_days s WHERE s.day = ANY (days);
    DELETE FROM sales_listings s WHERE s.day = ANY (days);
    INSERT INTO sales_days SELECT * FROM sum_up_days(days);
    INSERT INTO sales_listings SELECT * FROM sum_up_listings(days);
    RETURN cardinality(days);
END $$;
-- Sum up everything anew: after an import, or when the store moves to another time zone.
CREATE FUNCTION rebuild_sales() RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    INSERT INTO sales_changed (day)
        SELECT DISTINCT (placed_at AT TIME ZONE store_timezone())::date FROM orders
        UNION SELECT s.day FROM sales_days s;
    RETURN refresh_sales();
END $$;
REVOKE ALL ON FUNCTION refresh_sales(), rebuild_sales() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION refresh_sales() TO tradepost_app;

-- The summaries where they hold, the orders themselves where a day has changed since.
CREATE VIEW sales_by_day WITH (security_invoker = true) AS
    SELECT s.day, s.currency, s.orders::bigint AS orders, s.revenue_minor::bigint AS revenue_minor, s.refunded_minor::bigint AS refunded_minor
    FROM sales_days s WHERE NOT EXISTS (SELECT FROM sales_changed c WHERE c.day = s.day)
    UNION ALL
    SELECT n.day, n.currency, n.orders, n.revenue_minor::bigint, n.refunded_minor::bigint
    FROM sum_up_days(ARRAY(SELECT DISTINCT c.day FROM sales_changed c)) n;
CREATE VIEW sales_by_listing WITH (security_invoker = true) AS
    SELECT s.listing_id, s.day, s.currency, s.quantity, s.revenue_minor::bigint AS revenue_minor, s.orders::bigint AS orders
    FROM sales_listings s WHERE NOT EXISTS (SELECT FROM sales_changed c WHERE c.day = s.day)
    UNION ALL
    SELECT n.listing_id, n.day, n.currency, n.quantity, n.revenue_minor::bigint, n.orders
    FROM sum_up_listings(ARRAY(SELECT DISTINCT c.day FROM sales_changed c)) n;

INSERT INTO sales_changed (day) SELECT DISTINCT (placed_at AT TIME ZONE store_timezone())::date FROM orders;

-- An amount in the unit people say, by ISO 4217: most currencies have two digits after the point.
CREATE FUNCTION major_units(minor bigint, of_currency text) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN of_currency IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI', 'VND', 'VUV', 'XAF', 'XOF', 'XPF')
                THEN minor::numeric
                WHEN of_currency IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN round(minor / 1000.0, 3)
                WHEN of_currency IN ('CLF', 'UYW') THEN round(minor / 10000.0, 4)
                ELSE round(minor / 100.0, 2) END
$$;

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['sales_days', 'sales_listings', 'sales_changed'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY actor ON %I FOR SELECT TO tradepost_app USING ((SELECT app_sees_all()))', t);
        EXECUTE format('CREATE POLICY reporting ON %I FOR SELECT TO tradepost_readonly USING (true)', t);
        EXECUTE format('GRANT SELECT ON %I TO tradepost_app, tradepost_readonly', t);
    END LOOP;
END $$;
GRANT SELECT ON sales_by_day, sales_by_listing TO tradepost_app, tradepost_readonly;
