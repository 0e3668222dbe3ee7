-- Promo codes, points and delivery windows: counts that are kept by the rows behind them. Then who may see and change what.

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['promo_codes', 'promo_uses', 'loyalty_accounts', 'delivery_slots', 'slot_bookings', 'tax_rates',
                             'shipping_options', 'returns', 'commission_rules', 'sandbox_charges'] LOOP
        EXECUTE format('CREATE TRIGGER touch_updated_at BEFORE UPDATE ON %I FOR EACH ROW
                        EXECUTE FUNCTION touch_updated_at()', t);
    END LOOP;
END $$;

-- Deferred to the commit, as stock is, so that a popular code's row is locked for the length of the commit only.
CREATE FUNCTION promo_uses_apply() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
DECLARE
    most integer;
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.state = NEW.state THEN
        RETURN NULL;
    END IF;
    IF NEW.state = 'given_back' THEN
        UPDATE promo_codes SET used_count = used_count - 1 WHERE id = NEW.promo_id AND TG_OP = 'UPDATE';
        RETURN NULL;
    END IF;
    UPDATE promo_codes SET used_count = used_count + 1 WHERE id = NEW.promo_id RETURNING per_person_limit INTO most;
    IF most < (SELECT count(*) FROM promo_uses WHERE promo_id = NEW.promo_id AND person = NEW.person AND state = 'used') THEN
        RAISE EXCEPTION 'promo code used up by this person'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'ck_promo_uses_per_person';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER apply_use AFTER INSERT OR UPDATE OF state ON promo_uses
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION promo_uses_apply();

CREATE FUNCTION slot_bookings_apply() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.state = NEW.state AND OLD.slot_id = NEW.slot_id THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.state = 'booked' THEN
        UPDATE delivery_slots SET taken = taken - 1 WHERE id = OLD.slot_id;
    END IF;
    IF NEW.state = 'booked' THEN
        UPDATE delivery_slots SET taken = taken + 1 WHERE id = NEW.slot_id;
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER apply_booking AFTER INSERT OR UPDATE OF state, slot_id ON slot_bookings
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slot_bookings_apply();

-- Points: the account is locked before an entry gets its number, and moved by the entry after it is really there (an insert
-- that ON CONFLICT DO NOTHING skips has passed the first trigger, not the second).
CREATE FUNCTION loyalty_entries_number() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    INSERT INTO loyalty_accounts (user_id) VALUES (NEW.user_id) ON CONFLICT DO NOTHING;
    SELECT last_seq + 1 INTO NEW.seq FROM loyalty_accounts WHERE user_id = NEW.user_id FOR NO KEY UPDATE;
    RETURN NEW;
END $$;
CREATE TRIGGER number_entry BEFORE INSERT ON loyalty_entries FOR EACH ROW EXECUTE FUNCTION loyalty_entries_number();

CREATE FUNCTION loyalty_entries_apply() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    UPDATE loyalty_accounts SET points = points + NEW.points, last_seq = NEW.seq WHERE user_id = NEW.user_id;
    RETURN NULL;
END $$;
CREATE TRIGGER apply_entry AFTER INSERT ON loyalty_entries FOR EACH ROW EXECUTE FUNCTION loyalty_entries_apply();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON loyalty_entries
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The rules that price and move an order are few and read by every checkout: servers keep them as long as this number stays.
INSERT INTO store_facts (name, value) VALUES ('rules_version', '1');
CREATE FUNCTION raise_rules_version() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    UPDATE store_facts SET value = (value::bigint + 1)::text WHERE name = 'rules_version';
    RETURN NULL;
END $$;
DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['tax_rates', 'shipping_options', 'commission_rules', 'order_states', 'order_transitions'] LOOP
        EXECUTE format('CREATE TRIGGER raise_rules_version AFTER INSERT OR UPDATE OR DELETE ON %I
                        FOR EACH STATEMENT EXECUTE FUNCTION raise_rules_version()', t);
    END LOOP;
END $$;
CREATE TRIGGER raise_rules_version AFTER UPDATE OF path ON categories
    FOR EACH STATEMENT EXECUTE FUNCTION raise_rules_version();

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['promo_codes', 'promo_uses', 'loyalty_accounts', 'loyalty_entries', 'delivery_slots', 'slot_bookings',
                             'tax_rates', 'shipping_options', 'returns', 'commission_rules', 'sandbox_charges',
                             'sandbox_refunds'] LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO tradepost_app', t);
        EXECUTE format('GRANT SELECT ON %I TO tradepost_readonly', t);
    END LOOP;
END $$;
-- Counts belong to their triggers.
REVOKE INSERT, UPDATE, DELETE ON loyalty_accounts FROM tradepost_app;
REVOKE UPDATE, DELETE ON loyalty_entries FROM tradepost_app;
REVOKE UPDATE ON promo_codes, delivery_slots FROM tradepost_app;
GRANT UPDATE (description, kind, percent, amount_minor, currency, valid_from, valid_to, usage_limit, per_person_limit,
    minimum_minor, category_ids, seller_id, stacks, is_active) ON promo_codes TO tradepost_app;
GRANT UPDATE (delivery_on, starts_at, ends_at, capacity, rider_id, status) ON delivery_slots TO tradepost_app;

DO $$
DECLARE
    rule record;
BEGIN
    FOR rule IN SELECT * FROM (VALUES
        ('promo_uses', 'EXISTS (SELECT FROM orders o WHERE o.id = order_id)'),
        ('slot_bookings', 'EXISTS (SELECT FROM orders o WHERE o.id = order_id)'),
        ('returns', 'buyer_id = (SELECT app_user_id()) OR session_hash = (SELECT app_session()) OR seller_id = (SELECT app_user_id())'),
        ('ledger_accounts', 'owner_id = (SELECT app_user_id())'),
        ('ledger_entries', 'EXISTS (SELECT FROM ledger_accounts a WHERE a.id = account_id)')
    ) AS r(tbl, test) LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', rule.tbl);
        EXECUTE format('CREATE POLICY actor ON %I FOR ALL TO tradepost_app USING ((SELECT app_sees_all()) OR %s)', rule.tbl, rule.test);
        EXECUTE format('CREATE POLICY reporting ON %I FOR SELECT TO tradepost_readonly USING (true)', rule.tbl);
    END LOOP;
END $$;
-- A person sees the own points and may only spend them; earning is the system's.
ALTER TABLE loyalty_accounts ENABLE ROW LEVEL SECURITY;
CREATE POLICY actor ON loyalty_accounts FOR SELECT TO tradepost_app
    USING ((SELECT app_sees_all()) OR user_id = (SELECT app_user_id()));
CREATE POLICY reporting ON loyalty_accounts FOR SELECT TO tradepost_readonly USING (true);
ALTER TABLE loyalty_entries ENABLE ROW LEVEL SECURITY;
CREATE POLICY actor ON loyalty_entries FOR SELECT TO tradepost_app
    USING ((SELECT app_sees_all()) OR user_id = (SELECT app_user_id()));
CREATE POLICY spending ON loyalty_entries FOR INSERT TO tradepost_app
    WITH CHECK ((SELECT app_sees_all()) OR (user_id = (SELECT app_user_id()) AND points < 0));
CREATE POLICY reporting ON loyalty_entries FOR SELECT TO tradepost_readonly USING (true);
