"""Every read of the figures: of views that hold even while a day is still to be summed up, and of what visitors did."""

from sqlalchemy import text

SALES = text("""
    SELECT day, orders, revenue_minor, refunded_minor FROM sales_by_day
    WHERE day BETWEEN :since AND :until AND currency = :currency ORDER BY day
""")
# Whole months from their sums, where none of their days waits to be summed up anew; the other days one by one.
BEST_SELLERS = text("""
    WITH whole AS MATERIALIZED (
        SELECT m AS month FROM unnest(CAST(:months AS date[])) m
        WHERE m NOT IN (SELECT CAST(date_trunc('month', CAST(c.day AS timestamp)) AS date) FROM sales_changed c)
    ), single AS MATERIALIZED (
        SELECT d AS day FROM unnest(CAST(:days AS date[])) d
        WHERE CAST(date_trunc('month', CAST(d AS timestamp)) AS date) NOT IN (SELECT month FROM whole)
    )
    SELECT s.listing_id, l.title, s.quantity, s.revenue_minor, s.orders
    FROM (SELECT listing_id, sum(quantity) AS quantity, CAST(sum(revenue_minor) AS bigint) AS revenue_minor, CAST(sum(orders) AS bigint) AS orders
          FROM (SELECT listing_id, quantity, revenue_minor, orders FROM sales_listing_months
                WHERE month = ANY (ARRAY(SELECT month FROM whole)) AND currency = :currency
                UNION ALL
                SELECT listing_id, quantity, revenue_minor, orders FROM sales_by_listing
                WHERE day = ANY (ARRAY(SELECT day FROM single)) AND currency = :currency) sold
          GROUP BY listing_id ORDER BY sum(revenue_minor) DESC, listing_id LIMIT :limit) s
    JOIN listings l ON l.id = s.listing_id ORDER BY s.revenue_minor DESC, s.listing_id
""")
SLOTS = text("""
    SELECT delivery_on AS day, CAST(sum(capacity) AS int) AS capacity, CAST(sum(taken) AS int) AS taken FROM delivery_slots
    WHERE delivery_on BETWEEN :since AND :until GROUP BY delivery_on ORDER BY delivery_on
""")
RETURNS = text("""
    SELECT reason, count(*) AS returns FROM returns
    WHERE created_at >= :begins AND created_at < :ends AND state <> 'withdrawn' GROUP BY reason ORDER BY count(*) DESC, reason
""")
REFRESH = text("SELECT refresh_sales()")

# Each step after the one before it, in one visit: a browser of one day.
FUNNEL = text("""
    WITH seen AS (
        SELECT visitor, min(at) AS at FROM analytics_events
        WHERE kind = 'listing_viewed' AND at >= :begins AND at < :ends AND visitor IS NOT NULL GROUP BY visitor
    ), carted AS (
        SELECT e.visitor, min(e.at) AS at FROM analytics_events e JOIN seen s ON s.visitor = e.visitor AND e.at >= s.at
        WHERE e.kind = 'cart_added' AND e.at >= :begins AND e.at < :ends GROUP BY e.visitor
    ), opened AS (
        SELECT e.visitor, min(e.at) AS at FROM analytics_events e JOIN carted s ON s.visitor = e.visitor AND e.at >= s.at
        WHERE e.kind = 'checkout_opened' AND e.at >= :begins AND e.at < :ends GROUP BY e.visitor
    ), placed AS (
        SELECT e.visitor FROM analytics_events e JOIN opened s ON s.visitor = e.visitor AND e.at >= s.at
        WHERE e.kind = 'order_placed' AND e.at >= :begins AND e.at < :ends GROUP BY e.visitor
    )
    SELECT 'listing_viewed' AS kind, count(*) AS visits FROM seen
    UNION ALL SELECT 'cart_added', count(*) FROM carted
    UNION ALL SELECT 'checkout_opened', count(*) FROM opened
    UNION ALL SELECT 'order_placed', count(*) FROM placed
""")
VISIT_DAYS = text("""
    SELECT CAST(at AT TIME ZONE :zone AS date) AS day, count(DISTINCT visitor) AS visits,
           count(DISTINCT visitor) FILTER (WHERE kind = 'order_placed') AS ordered
    FROM analytics_events WHERE at >= :begins AND at < :ends AND visitor IS NOT NULL GROUP BY 1 ORDER BY 1
""")
INTEREST = text("""
    WITH looked AS MATERIALIZED (
        SELECT listing_id, count(DISTINCT visitor) AS visits FROM analytics_events
        WHERE kind = 'listing_viewed' AND at >= :begins AND at < :ends AND listing_id IS NOT NULL
        GROUP BY listing_id ORDER BY count(DISTINCT visitor) DESC, listing_id LIMIT :limit
    )
    SELECT k.listing_id, l.title, k.visits,
           (SELECT count(DISTINCT o.id) FROM order_lines ol JOIN orders o ON o.id = ol.order_id
            WHERE ol.listing_id = k.listing_id AND o.placed_at >= :begins AND o.placed_at < :ends) AS orders
    FROM looked k JOIN listings l ON l.id = k.listing_id ORDER BY k.visits DESC, k.listing_id
""")
SEARCH_TERMS = text("""
    SELECT lower(query) AS query, count(*) AS searches, count(*) FILTER (WHERE results_count = 0) AS unanswered,
           count(clicked_id) AS clicked, count(ordered_id) AS ordered
    FROM search_log WHERE at >= :begins AND at < :ends GROUP BY lower(query) ORDER BY count(*) DESC, lower(query) LIMIT :limit
""")
# Who they are is only told for people; each order of a visitor is a first one.
COHORTS = text("""
    WITH placed AS (
        SELECT buyer_id, CAST(date_trunc('month', placed_at AT TIME ZONE :zone) AS date) AS month, sum(total_minor) AS revenue_minor
        FROM orders WHERE currency = :currency AND buyer_id IS NOT NULL AND (process, state) IN (SELECT process, state FROM sale_states)
        GROUP BY 1, 2
    ), known AS (SELECT *, min(month) OVER (PARTITION BY buyer_id) AS first FROM placed)
    SELECT first AS month, CAST((extract(year FROM month) - extract(year FROM first)) * 12 + extract(month FROM month) - extract(month FROM first) AS int) AS later,
           count(*) AS people, CAST(sum(revenue_minor) AS bigint) AS revenue_minor
    FROM known WHERE first >= :since GROUP BY 1, 2 ORDER BY 1, 2
""")
REVENUE_MONTHS = text("""
    WITH placed AS (
        SELECT buyer_id, CAST(date_trunc('month', placed_at AT TIME ZONE :zone) AS date) AS month, total_minor,
               buyer_id IS NOT NULL AND lag(id) OVER (PARTITION BY buyer_id ORDER BY placed_at, id) IS NOT NULL AS is_again
        FROM orders WHERE currency = :currency AND (process, state) IN (SELECT process, state FROM sale_states)
    )
    SELECT month, CAST(coalesce(sum(total_minor) FILTER (WHERE NOT is_again), 0) AS bigint) AS first_minor,
           CAST(coalesce(sum(total_minor) FILTER (WHERE is_again), 0) AS bigint) AS again_minor,
           count(DISTINCT buyer_id) + count(*) FILTER (WHERE buyer_id IS NULL) AS buyers
    FROM placed WHERE month >= :since GROUP BY 1 ORDER BY 1
""")
ASKED = text("""
    WITH asked AS (
        SELECT visitor, min(at) AS at FROM analytics_events
        WHERE kind = 'assistant_asked' AND at >= :begins AND at < :ends AND visitor IS NOT NULL GROUP BY visitor
    )
    SELECT count(*) AS asked, count(*) FILTER (WHERE EXISTS (
        SELECT FROM analytics_events e WHERE e.kind = 'order_placed' AND e.visitor = a.visitor AND e.at >= a.at AND e.at < :ends
    )) AS ordered
    FROM asked a
""")
