"""Every read of the figures: of the views that hold even while a day is still to be summed up."""

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
