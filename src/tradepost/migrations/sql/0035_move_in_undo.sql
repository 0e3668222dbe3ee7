DROP FUNCTION move_in_username, move_in_slug, move_in_hash, move_in_bad_moment, move_in_bad_amount, minor_units, move_in_key;
CREATE OR REPLACE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END $$;
CREATE OR REPLACE FUNCTION orders_sum_up() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    of_order uuid;
BEGIN
    FOR of_order IN SELECT DISTINCT order_id FROM changed ORDER BY 1 LOOP
        PERFORM sum_up_order(of_order);
    END LOOP;
    RETURN NULL;
END $$;
DROP TABLE move_in_notes, move_in_steps;
