-- Sales of long stretches and of many orders, and delivery that is given back.

-- Delivery that is given back is given back on the day of its order, too.
CREATE TRIGGER sales_changed AFTER UPDATE ON fulfilments FOR EACH ROW
    WHEN (OLD.shipping_refunded_minor IS DISTINCT FROM NEW.shipping_refunded_minor)
    EXECUTE FUNCTION order_part_sales_changed();

-- Day by day, so that however few days are asked for, only their orders are looked at.
CREATE OR REPLACE FUNCTION sum_up_days(days date[]) RETURNS TABLE (day date, currency char(3), orders bigint, revenue_minor numeric, refunded_minor numeric)
LANGUAGE sql STABLE SET search_path = public AS $$
    SELECT d.day, s.* FROM unnest(days) AS d(day) CROSS JOIN LATERAL (
        SELECT o.currency, count(*), sum(o.total_minor),
               sum((SELECT coalesce(sum(l.refunded_minor), 0) FROM order_lines l WHERE l.order_id = o.id)
                   + (SELECT coalesce(sum(f.shipping_refunded_minor), 0) FROM fulfilments f WHERE f.order_id = o.id))
        FROM orders o
        WHERE o.placed_at >= d.day::timestamp AT TIME ZONE store_timezone()
          AND o.placed_at < (d.day + 1)::timestamp AT TIME ZONE store_timezone()
          AND (o.process, o.state) IN (SELECT process, state FROM sale_states)
        GROUP BY o.currency) s
$$;
CREATE OR REPLACE FUNCTION sum_up_listings(days date[]) RETURNS TABLE (listing_id uuid, day date, currency char(3), quantity numeric, revenue_minor numeric, orders bigint)
LANGUAGE sql STABLE SET search_path = public AS $$
    SELECT s.listing_id, d.day, s.currency, s.quantity, s.revenue_minor, s.orders FROM unnest(days) AS d(day) CROSS JOIN LATERAL (
        SELECT l.listing_id, o.currency, sum(l.quantity) AS quantity, sum(l.total_minor) AS revenue_minor, count(DISTINCT o.id) AS orders
        FROM orders o JOIN order_lines l ON l.order_id = o.id
        WHERE o.placed_at >= d.day::timestamp AT TIME ZONE store_timezone()
          AND o.placed_at < (d.day + 1)::timestamp AT TIME ZONE store_timezone()
          AND (o.process, o.state) IN (SELECT process, state FROM sale_states)
        GROUP BY l.listing_id, o.currency) s
$$;

-- Whole months, for stretches of years: the sums of the days that are summed up.
CREATE TABLE sales_listing_months (
    listing_id UUID NOT NULL,
    month DATE NOT NULL,
    currency CHAR(3) NOT NULL,
    quantity NUMERIC(16, 3) NOT NULL,
    revenue_minor BIGINT NOT NULL,
    orders INTEGER NOT NULL,
    CONSTRAINT pk_sales_listing_months PRIMARY KEY (month, currency, listing_id)
);
COMMENT ON TABLE sales_listing_months IS 'What was sold of a listing in a month, by its first day: the sums of sales_listings, kept by refresh_sales().';
ALTER TABLE sales_listing_months ENABLE ROW LEVEL SECURITY;
CREATE POLICY actor ON sales_listing_months FOR SELECT TO tradepost_app USING ((SELECT app_sees_all()));
CREATE POLICY reporting ON sales_listing_months FOR SELECT TO tradepost_readonly USING (true);
GRANT SELECT ON sales_listing_months TO tradepost_app, tradepost_readonly;
INSERT INTO sales_listing_months
    SELECT listing_id, date_trunc('month', day)::date, currency, sum(quantity), sum(revenue_minor), sum(orders)
    FROM sales_listings GROUP BY 1, 2, 3 ORDER BY 2, 3, 1;

-- The days of a stretch lie together, with all that is asked of them.
DROP INDEX ix_sales_listings_day;
CREATE INDEX ix_sales_listings_day ON sales_listings (day) INCLUDE (currency, listing_id, quantity, revenue_minor, orders);

CREATE OR REPLACE FUNCTION refresh_sales() RETURNS integer LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
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
    INSERT INTO sales_days SELECT * FROM sum_up_days(days);
    -- A month is what it was, without what these days were, and with what they are.
    WITH gone AS (DELETE FROM sales_listings s WHERE s.day = ANY (days) RETURNING s.*)
    UPDATE sales_listing_months m
        SET quantity = m.quantity - g.quantity, revenue_minor = m.revenue_minor - g.revenue_minor, orders = m.orders - g.orders
        FROM (SELECT listing_id, date_trunc('month', day)::date AS month, currency, sum(quantity) AS quantity,
                     sum(revenue_minor) AS revenue_minor, sum(orders) AS orders FROM gone GROUP BY 1, 2, 3) g
        WHERE (m.listing_id, m.month, m.currency) = (g.listing_id, g.month, g.currency);
    WITH fresh AS (INSERT INTO sales_listings SELECT * FROM sum_up_listings(days) RETURNING *)
    INSERT INTO sales_listing_months AS m
        SELECT listing_id, date_trunc('month', day)::date, currency, sum(quantity), sum(revenue_minor), sum(orders) FROM fresh GROUP BY 1, 2, 3 ORDER BY 2, 3, 1
        ON CONFLICT (month, currency, listing_id) DO UPDATE
        SET quantity = m.quantity + excluded.quantity, revenue_minor = m.revenue_minor + excluded.revenue_minor, orders = m.orders + excluded.orders;
    DELETE FROM sales_listing_months m WHERE m.orders = 0 AND m.month = ANY (SELECT date_trunc('month', d)::date FROM unnest(days) d);
    RETURN cardinality(days);
END $$;

-- An order is found by its state in its process: two processes may call a state by the same name.
CREATE INDEX ix_orders_state_process_placed_at ON orders (state, process, placed_at DESC, id DESC);
DROP INDEX ix_orders_state_placed_at;

-- Days that were summed up without what was given back of their delivery.
INSERT INTO sales_changed (day)
    SELECT DISTINCT (o.placed_at AT TIME ZONE store_timezone())::date FROM fulfilments f JOIN orders o ON o.id = f.order_id
    WHERE f.shipping_refunded_minor > 0;
