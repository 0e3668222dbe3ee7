-- Sales as migration 0020 made them.

DROP TRIGGER sales_changed ON fulfilments;
CREATE INDEX ix_orders_state_placed_at ON orders (state, placed_at DESC, id DESC);
DROP INDEX ix_orders_state_process_placed_at;
DROP INDEX ix_sales_listings_day;
CREATE INDEX ix_sales_listings_day ON sales_listings (day);
-- What the orders of these days say, straight from them.
CREATE OR REPLACE FUNCTION sum_up_days(days date[]) RETURNS TABLE (day date, currency char(3), orders bigint, revenue_minor numeric, refunded_minor numeric)
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
CREATE OR REPLACE FUNCTION sum_up_listings(days date[]) RETURNS TABLE (listing_id uuid, day date, currency char(3), quantity numeric, revenue_minor numeric, orders bigint)
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
    DELETE FROM sales_listings s WHERE s.day = ANY (days);
    INSERT INTO sales_days SELECT * FROM sum_up_days(days);
    INSERT INTO sales_listings SELECT * FROM sum_up_listings(days);
    RETURN cardinality(days);
END $$;
DROP TABLE sales_listing_months;
