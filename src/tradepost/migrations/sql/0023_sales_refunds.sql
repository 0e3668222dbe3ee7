-- Delivery that is given back is given back on the day of its order, too.

CREATE FUNCTION fulfilments_sales_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    INSERT INTO sales_changed (day)
    SELECT (o.placed_at AT TIME ZONE store_timezone())::date FROM orders o WHERE o.id = NEW.order_id AND is_sale(o.process, o.state);
    RETURN NULL;
END $$;
CREATE TRIGGER sales_changed AFTER UPDATE ON fulfilments FOR EACH ROW
    WHEN (OLD.shipping_refunded_minor IS DISTINCT FROM NEW.shipping_refunded_minor)
    EXECUTE FUNCTION fulfilments_sales_changed();
-- Days that were summed up without it.
INSERT INTO sales_changed (day)
    SELECT DISTINCT (o.placed_at AT TIME ZONE store_timezone())::date FROM fulfilments f JOIN orders o ON o.id = f.order_id
    WHERE f.shipping_refunded_minor > 0;
