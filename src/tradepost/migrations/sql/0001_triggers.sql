-- What the database itself keeps true: times of change, summaries, totals, legal moves, balanced books.

CREATE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END $$;

DO $$
DECLARE
    t text;
BEGIN
    FOR t IN SELECT table_name FROM information_schema.columns
             WHERE table_schema = 'public' AND column_name = 'updated_at' LOOP
        EXECUTE format('CREATE TRIGGER touch_updated_at BEFORE UPDATE ON %I FOR EACH ROW
                        EXECUTE FUNCTION touch_updated_at()', t);
    END LOOP;
END $$;

-- Categories: the path of slugs from the root, and no cycles.
CREATE FUNCTION categories_set_path() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    above text;
BEGIN
    -- One change of the tree at a time: two moves that each look right could make a cycle, and a new leaf must not miss that
    -- its branch is just being moved.
    PERFORM pg_advisory_xact_lock(hashtext('categories_set_path'));
    IF NEW.parent_id IS NULL THEN
        NEW.path := NEW.slug;
        RETURN NEW;
    END IF;
    SELECT path INTO above FROM categories WHERE id = NEW.parent_id;
    IF TG_OP = 'UPDATE' AND (above = OLD.path OR above LIKE OLD.path || '/%') THEN
        RAISE EXCEPTION 'a category cannot be below itself'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ck_categories_no_cycle';
    END IF;
    NEW.path := above || '/' || NEW.slug;
    RETURN NEW;
END $$;
CREATE TRIGGER set_path BEFORE INSERT OR UPDATE OF parent_id, slug ON categories
    FOR EACH ROW EXECUTE FUNCTION categories_set_path();

CREATE FUNCTION categories_move_subtree() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE categories SET path = NEW.path || substr(path, length(OLD.path) + 1) WHERE path LIKE OLD.path || '/%';
    RETURN NULL;
END $$;
CREATE TRIGGER move_subtree AFTER UPDATE OF parent_id, slug ON categories
    FOR EACH ROW WHEN (OLD.path IS DISTINCT FROM NEW.path) EXECUTE FUNCTION categories_move_subtree();

-- Listings: typed attributes and counters beside them.
CREATE FUNCTION listings_derive() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO listing_stats (listing_id) SELECT id FROM changed;
    INSERT INTO listing_attributes (listing_id, key, value, number)
        SELECT c.id, e.key, e.value #>> '{}',
               CASE WHEN jsonb_typeof(e.value) = 'number' THEN (e.value #>> '{}')::float8 END
        FROM changed c CROSS JOIN LATERAL jsonb_each(c.attributes) AS e(key, value)
        WHERE jsonb_typeof(e.value) <> 'null';
    RETURN NULL;
END $$;
CREATE TRIGGER derive_inserted AFTER INSERT ON listings
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION listings_derive();

CREATE FUNCTION listings_derive_updated() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM changed c JOIN before b USING (id) WHERE b.attributes IS DISTINCT FROM c.attributes) THEN
        RETURN NULL;
    END IF;
    DELETE FROM listing_attributes a USING changed c JOIN before b ON b.id = c.id
        WHERE a.listing_id = c.id AND b.attributes IS DISTINCT FROM c.attributes
          AND coalesce(jsonb_typeof(c.attributes -> a.key), 'null') = 'null';
    INSERT INTO listing_attributes (listing_id, key, value, number)
        SELECT c.id, e.key, e.value #>> '{}',
               CASE WHEN jsonb_typeof(e.value) = 'number' THEN (e.value #>> '{}')::float8 END
        FROM changed c JOIN before b USING (id) CROSS JOIN LATERAL jsonb_each(c.attributes) AS e(key, value)
        WHERE b.attributes IS DISTINCT FROM c.attributes AND jsonb_typeof(e.value) <> 'null'
        ON CONFLICT (listing_id, key) DO UPDATE SET value = excluded.value, number = excluded.number;
    RETURN NULL;
END $$;
CREATE TRIGGER derive_updated AFTER UPDATE ON listings
    REFERENCING NEW TABLE AS changed OLD TABLE AS before
    FOR EACH STATEMENT EXECUTE FUNCTION listings_derive_updated();

-- Listings: price, unit and stock of the cheapest active variant, and the first picture, as cards show them.
CREATE FUNCTION refresh_listing_summaries(ids uuid[]) RETURNS void LANGUAGE sql AS $$
    UPDATE listings l SET
        price_minor = s.price_minor, price_to_minor = s.price_to_minor, compare_at_minor = s.compare_at_minor,
        currency = s.currency, unit = s.unit, in_stock = s.in_stock
    FROM (
        SELECT i.id,
               min(p.amount_minor) AS price_minor,
               max(p.amount_minor) AS price_to_minor,
               (array_agg(p.compare_at_minor ORDER BY p.amount_minor, v.position))[1] AS compare_at_minor,
               (array_agg(p.currency ORDER BY p.amount_minor, v.position) FILTER (WHERE p.currency IS NOT NULL))[1] AS currency,
               (array_agg(v.unit ORDER BY p.amount_minor, v.position))[1] AS unit,
               coalesce(bool_or(v.id IS NOT NULL AND (v.on_hand IS NULL OR v.on_hand - v.reserved >= v.sale_step
                                                      OR v.backorder_until > now())), false) AS in_stock
        FROM unnest(ids) AS i(id)
        LEFT JOIN variants v ON v.listing_id = i.id AND v.is_active
        LEFT JOIN LATERAL (
            SELECT amount_minor, compare_at_minor, currency FROM prices
            WHERE variant_id = v.id AND valid_from <= now() AND (valid_to IS NULL OR valid_to > now())
              AND currency = (SELECT value FROM store_facts WHERE name = 'currency')
            LIMIT 1
        ) p ON true
        GROUP BY i.id
    ) s
    WHERE l.id = s.id
      AND (l.price_minor, l.price_to_minor, l.compare_at_minor, l.currency, l.unit, l.in_stock)
          IS DISTINCT FROM (s.price_minor, s.price_to_minor, s.compare_at_minor, s.currency, s.unit, s.in_stock)
$$;

CREATE FUNCTION variants_summarise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM refresh_listing_summaries(array_agg(DISTINCT listing_id)) FROM changed HAVING count(*) > 0;
    RETURN NULL;
END $$;
CREATE TRIGGER summarise_inserted AFTER INSERT ON variants
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION variants_summarise();
-- Row by row and with a condition, because nearly every update of a variant only moves its stock, twice an order: the listing
-- cares when that empties or refills it.
CREATE FUNCTION variants_summarise_one() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM refresh_listing_summaries(ARRAY[NEW.listing_id]);
    RETURN NULL;
END $$;
CREATE TRIGGER summarise_updated AFTER UPDATE ON variants FOR EACH ROW
    WHEN ((OLD.on_hand IS NULL OR OLD.on_hand - OLD.reserved >= OLD.sale_step, OLD.unit, OLD.sale_step, OLD.is_active, OLD.position,
           OLD.backorder_until) IS DISTINCT FROM
          (NEW.on_hand IS NULL OR NEW.on_hand - NEW.reserved >= NEW.sale_step, NEW.unit, NEW.sale_step, NEW.is_active, NEW.position,
           NEW.backorder_until))
    EXECUTE FUNCTION variants_summarise_one();
CREATE TRIGGER summarise_deleted AFTER DELETE ON variants
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION variants_summarise();

CREATE FUNCTION prices_summarise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM refresh_listing_summaries(array_agg(DISTINCT v.listing_id))
    FROM changed c JOIN variants v ON v.id = c.variant_id HAVING count(*) > 0;
    RETURN NULL;
END $$;
CREATE TRIGGER summarise_inserted AFTER INSERT ON prices
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION prices_summarise();
CREATE TRIGGER summarise_updated AFTER UPDATE ON prices
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION prices_summarise();
CREATE TRIGGER summarise_deleted AFTER DELETE ON prices
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION prices_summarise();

CREATE FUNCTION images_summarise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE listings l SET image_id = s.file_id
    FROM (
        SELECT i.listing_id, (
            SELECT file_id FROM listing_images
            WHERE listing_id = i.listing_id AND file_id IS NOT NULL ORDER BY position LIMIT 1) AS file_id
        FROM (SELECT DISTINCT listing_id FROM changed) i
    ) s
    WHERE l.id = s.listing_id AND l.image_id IS DISTINCT FROM s.file_id;
    RETURN NULL;
END $$;
CREATE TRIGGER summarise_inserted AFTER INSERT ON listing_images
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION images_summarise();
CREATE TRIGGER summarise_updated AFTER UPDATE ON listing_images
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION images_summarise();
CREATE TRIGGER summarise_deleted AFTER DELETE ON listing_images
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION images_summarise();

CREATE FUNCTION reviews_count() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP IN ('UPDATE', 'DELETE') AND OLD.status = 'shown' THEN
        UPDATE listings SET rating_count = rating_count - 1, rating_sum = rating_sum - OLD.rating WHERE id = OLD.listing_id;
    END IF;
    IF TG_OP IN ('INSERT', 'UPDATE') AND NEW.status = 'shown' THEN
        UPDATE listings SET rating_count = rating_count + 1, rating_sum = rating_sum + NEW.rating WHERE id = NEW.listing_id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER count_reviews AFTER INSERT OR DELETE OR UPDATE OF rating, status ON reviews
    FOR EACH ROW EXECUTE FUNCTION reviews_count();

CREATE FUNCTION likes_count() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        UPDATE listing_stats SET likes = likes + 1 WHERE listing_id = NEW.listing_id;
    ELSE
        UPDATE listing_stats SET likes = greatest(likes - 1, 0) WHERE listing_id = OLD.listing_id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER count_likes AFTER INSERT OR DELETE ON likes FOR EACH ROW EXECUTE FUNCTION likes_count();

-- Stock: `reserved` follows the reservations, `on_hand` the sales and the other movements; nothing else changes them.
CREATE FUNCTION stock_movements_apply() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    left_over numeric;
    owed reservations;
BEGIN
    UPDATE variants SET on_hand = on_hand + NEW.quantity
        WHERE id = NEW.variant_id AND on_hand IS NOT NULL
        RETURNING on_hand INTO left_over;
    IF NEW.quantity > 0 THEN
        -- What was sold before it came goes to those who ordered first.
        FOR owed IN SELECT * FROM reservations WHERE variant_id = NEW.variant_id AND state = 'owed'
                    ORDER BY created_at, order_id FOR UPDATE SKIP LOCKED LOOP
            EXIT WHEN left_over < owed.quantity;
            UPDATE reservations SET state = 'sold' WHERE order_id = owed.order_id AND variant_id = owed.variant_id;
            left_over := left_over - owed.quantity;
        END LOOP;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER apply_movement AFTER INSERT ON stock_movements
    FOR EACH ROW WHEN (NEW.reason NOT IN ('initial', 'sale')) EXECUTE FUNCTION stock_movements_apply();

-- Deferred to the commit, because a hot item's row is then locked for the length of the commit only, and in the order of
-- the rows, which are written sorted by variant.
CREATE FUNCTION reservations_apply() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    goods variants;
    before text := CASE WHEN TG_OP = 'UPDATE' THEN OLD.state ELSE 'none' END;
    holds boolean := NEW.state IN ('held', 'owed');
    held boolean := TG_OP = 'UPDATE' AND OLD.state IN ('held', 'owed');
BEGIN
    IF before = NEW.state OR (holds AND held) OR (before = 'sold' AND NEW.state = 'owed') THEN
        RETURN NULL;
    END IF;
    UPDATE variants SET
        reserved = reserved + CASE WHEN holds THEN NEW.quantity WHEN held THEN -NEW.quantity ELSE 0 END,
        on_hand = on_hand - CASE WHEN NEW.state = 'sold' THEN NEW.quantity ELSE 0 END
    WHERE id = NEW.variant_id AND (NEW.state <> 'sold' OR backorder_until IS NULL OR on_hand IS NULL OR on_hand >= NEW.quantity)
    RETURNING * INTO goods;
    IF NOT FOUND THEN
        -- Sold before it has come: it stays reserved, and is owed.
        IF NOT held THEN
            UPDATE variants SET reserved = reserved + NEW.quantity WHERE id = NEW.variant_id AND backorder_until > now();
        END IF;
        IF held OR FOUND THEN
            UPDATE reservations SET state = 'owed' WHERE order_id = NEW.order_id AND variant_id = NEW.variant_id;
            RETURN NULL;
        END IF;
    END IF;
    IF goods.id IS NULL OR (holds AND goods.reserved > goods.on_hand AND NOT coalesce(goods.backorder_until > now(), false)) THEN
        RAISE EXCEPTION 'not enough of %', NEW.variant_id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ck_variants_not_oversold';
    END IF;
    IF holds AND NEW.quantity % goods.sale_step <> 0 THEN
        RAISE EXCEPTION '% is sold in steps of %', NEW.variant_id, goods.sale_step
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ck_reservations_step';
    END IF;
    IF NEW.state = 'sold' THEN
        IF goods.on_hand IS NOT NULL THEN
            INSERT INTO stock_movements (variant_id, quantity, reason, order_id)
                VALUES (NEW.variant_id, -NEW.quantity, 'sale', NEW.order_id);
        END IF;
        UPDATE listing_stats SET sold = sold + NEW.quantity WHERE listing_id = goods.listing_id;
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER apply_reservation AFTER INSERT OR UPDATE OF state ON reservations
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION reservations_apply();

-- Orders: totals are the sums of the lines and of the shipping, whatever happens to either and however many do it at once.
-- As the owner, because a seller who changes one line must not have the order summed up from the lines he may see.
CREATE FUNCTION sum_up_order(of_order uuid) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    l record;
    delivery bigint;
BEGIN
    -- An order is placed with the right totals.
    IF EXISTS (
        SELECT FROM orders o
        CROSS JOIN LATERAL (SELECT coalesce(sum(shipping_minor), 0) AS shipping FROM fulfilments WHERE order_id = o.id) f
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(gross_minor), 0) AS gross, coalesce(sum(discount_minor), 0) AS discount,
                   coalesce(sum(points_minor), 0) AS points, coalesce(sum(tax_minor), 0) AS tax,
                   coalesce(sum(included_tax_minor), 0) AS included, coalesce(array_agg(DISTINCT seller_id), '{}') AS sellers
            FROM order_lines WHERE order_id = o.id
        ) s
        WHERE o.id = of_order
          AND (o.subtotal_minor, o.discount_minor, o.points_minor, o.tax_minor, o.included_tax_minor, o.shipping_minor, o.seller_ids)
              = (s.gross, s.discount, s.points, s.tax, s.included, f.shipping, s.sellers)
    ) THEN
        RETURN;
    END IF;
    -- Locking first makes the sums below see what a concurrent change committed meanwhile.
    PERFORM FROM orders WHERE id = of_order FOR UPDATE;
    SELECT coalesce(sum(gross_minor), 0) AS gross, coalesce(sum(discount_minor), 0) AS discount,
           coalesce(sum(points_minor), 0) AS points, coalesce(sum(tax_minor), 0) AS tax,
           coalesce(sum(included_tax_minor), 0) AS included, coalesce(array_agg(DISTINCT seller_id), '{}') AS sellers
        INTO l FROM order_lines WHERE order_id = of_order;
    SELECT coalesce(sum(shipping_minor), 0) INTO delivery FROM fulfilments WHERE order_id = of_order;
    UPDATE orders SET
        subtotal_minor = l.gross, discount_minor = l.discount, points_minor = l.points, tax_minor = l.tax,
        included_tax_minor = l.included, shipping_minor = delivery, seller_ids = l.sellers
    WHERE id = of_order
      AND (subtotal_minor, discount_minor, points_minor, tax_minor, included_tax_minor, shipping_minor, seller_ids)
          IS DISTINCT FROM (l.gross, l.discount, l.points, l.tax, l.included, delivery, l.sellers);
END $$;

CREATE FUNCTION orders_sum_up() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    of_order uuid;
BEGIN
    FOR of_order IN SELECT DISTINCT order_id FROM changed ORDER BY 1 LOOP
        PERFORM sum_up_order(of_order);
    END LOOP;
    RETURN NULL;
END $$;
CREATE FUNCTION orders_sum_up_one() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM sum_up_order(NEW.order_id);
    RETURN NULL;
END $$;
DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['order_lines', 'fulfilments'] LOOP
        EXECUTE format('CREATE TRIGGER sum_up_inserted AFTER INSERT ON %I REFERENCING NEW TABLE AS changed
                        FOR EACH STATEMENT EXECUTE FUNCTION orders_sum_up()', t);
        EXECUTE format('CREATE TRIGGER sum_up_deleted AFTER DELETE ON %I REFERENCING OLD TABLE AS changed
                        FOR EACH STATEMENT EXECUTE FUNCTION orders_sum_up()', t);
    END LOOP;
END $$;
CREATE TRIGGER sum_up_updated AFTER UPDATE ON order_lines FOR EACH ROW
    WHEN ((OLD.gross_minor, OLD.discount_minor, OLD.points_minor, OLD.tax_minor, OLD.included_tax_minor, OLD.seller_id)
          IS DISTINCT FROM
          (NEW.gross_minor, NEW.discount_minor, NEW.points_minor, NEW.tax_minor, NEW.included_tax_minor, NEW.seller_id))
    EXECUTE FUNCTION orders_sum_up_one();
CREATE TRIGGER sum_up_updated AFTER UPDATE ON fulfilments FOR EACH ROW
    WHEN (OLD.shipping_minor IS DISTINCT FROM NEW.shipping_minor) EXECUTE FUNCTION orders_sum_up_one();

-- An order, and each seller's part of one, moves only as its process says.
CREATE FUNCTION orders_check_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM order_transitions
                   WHERE process = NEW.process AND from_state = OLD.state AND to_state = NEW.state) THEN
        RAISE EXCEPTION 'no move from % to % in %', OLD.state, NEW.state, NEW.process
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ck_orders_legal_move';
    END IF;
    NEW.state_since := now();
    RETURN NEW;
END $$;
CREATE TRIGGER check_move BEFORE UPDATE OF state ON orders
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION orders_check_move();
CREATE TRIGGER check_move BEFORE UPDATE OF state ON fulfilments
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION orders_check_move();

-- The books: balanced at commit, never rewritten. A journal is written whole by one statement; entries that come later are
-- refused, since they could only unbalance it.
CREATE FUNCTION ledger_check_balance() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    off record;
BEGIN
    SELECT a.currency, sum(e.amount_minor) AS amount INTO off
    FROM ledger_entries e JOIN ledger_accounts a ON a.id = e.account_id
    WHERE e.journal_id = NEW.id GROUP BY a.currency HAVING sum(e.amount_minor) <> 0 LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'journal % is out of balance by % %', NEW.id, off.amount, off.currency
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ck_ledger_entries_balanced';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER check_balance AFTER INSERT ON ledger_journals
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger_check_balance();

-- Stands for the two foreign keys of an entry as well, at one look a statement instead of two an entry: what they point to is
-- never deleted.
CREATE FUNCTION ledger_check_whole() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    IF EXISTS (SELECT FROM added n JOIN ledger_entries e ON (e.journal_id, e.line_no) = (n.journal_id, n.line_no)
               LEFT JOIN ledger_journals j ON j.id = n.journal_id LEFT JOIN ledger_accounts a ON a.id = n.account_id
               WHERE a.id IS NULL OR j.xmin IS DISTINCT FROM e.xmin) THEN
        RAISE EXCEPTION 'a journal is written whole, in one statement, on accounts that exist'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ck_ledger_entries_balanced';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER check_whole AFTER INSERT ON ledger_entries
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION ledger_check_whole();

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME
        USING ERRCODE = 'check_violation', CONSTRAINT = 'ck_' || TG_TABLE_NAME || '_append_only';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger_journals
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON ledger_accounts
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
