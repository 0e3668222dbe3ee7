"""Every read of the figures: of the views that hold even while a day is still to be summed up."""

from sqlalchemy import text

SALES = text("""
    SELECT day, orders, revenue_minor, refunded_minor FROM sales_by_day
    WHERE day BETWEEN :since AND :until AND currency = :currency ORDER BY day
""")
BEST_SELLERS = text("""
    SELECT s.listing_id, l.title, s.quantity, s.revenue_minor, s.orders
    FROM (SELECT listing_id, sum(quantity) AS quantity, CAST(sum(revenue_minor) AS bigint) AS revenue_minor, CAST(sum(orders) AS bigint) AS orders
          FROM sales_by_listing WHERE day BETWEEN :since AND :until AND currency = :currency
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
