-- Moving in: how far an import of another system's database has come, what it refused, and what its statements ask.

CREATE TABLE move_in_steps (
    system TEXT NOT NULL,
    step TEXT NOT NULL,
    position INTEGER NOT NULL,
    last_key TEXT,
    is_done BOOLEAN DEFAULT 'false' NOT NULL,
    tally JSONB DEFAULT '{}' NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_move_in_steps PRIMARY KEY (system, step)
);
COMMENT ON TABLE move_in_steps IS 'How far each step of an import has come, written with each batch, so that a killed one goes on.';
CREATE TABLE move_in_notes (
    system TEXT NOT NULL,
    table_name TEXT NOT NULL,
    row_key TEXT NOT NULL,
    reason TEXT NOT NULL,
    is_refused BOOLEAN NOT NULL,
    CONSTRAINT pk_move_in_notes PRIMARY KEY (system, table_name, row_key, reason)
);
COMMENT ON TABLE move_in_notes IS 'Rows of another system that an import refused, or kept with a change, and why; never their values.';

-- Rows keep the times they had: set by an import for its own transactions only.
CREATE OR REPLACE FUNCTION touch_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('app.keep_times', true) = 'on' THEN
        RETURN NEW;
    END IF;
    NEW.updated_at := now();
    RETURN NEW;
END $$;

-- The id of a row that had a number: always the same, in the order of the numbers, before every id that is made here (UUID version 8).
CREATE FUNCTION move_in_key(of_table text, number bigint) RETURNS uuid LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN ('00' || substr(md5(of_table), 1, 6) || '-' || substr(md5(of_table), 7, 4) || '-8000-80' || substr(lpad(to_hex(number), 16, '0'), 3, 2)
            || '-' || substr(lpad(to_hex(number), 16, '0'), 5))::uuid;

CREATE FUNCTION minor_units(amount numeric, of_currency text) RETURNS bigint LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN round(amount / major_units(1, of_currency))::bigint;

CREATE FUNCTION move_in_bad_amount(amount numeric, of_currency text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN amount IS NOT NULL AND NOT coalesce(amount >= 0 AND amount < 1e12 AND amount % major_units(1, of_currency) = 0, false);

CREATE FUNCTION move_in_bad_moment(moment timestamptz) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN moment IS NOT NULL AND NOT (moment >= '1900-01-01Z'::timestamptz AND moment < '2200-01-01Z'::timestamptz);

-- A password's hash in a form that signing in reads; anything else is left out, because it could be a password in plain text.
CREATE FUNCTION move_in_hash(hash text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE WHEN char_length(hash) <= 255 AND hash ~ '^(\$argon2(id|i|d)\$|argon2\$argon2|\$2[aby]\$\d\d\$.{53}$|bcrypt(_sha256)?\$\$2[aby]\$\d\d\$.{53}$|pbkdf2_sha(256|1)\$\d{1,8}\$[^$]+\$[A-Za-z0-9+/=]+$)'
           THEN hash END;

CREATE FUNCTION move_in_slug(name text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN coalesce(nullif(btrim(left(regexp_replace(lower(name), '[^a-z0-9]+', '-', 'g'), 60), '-'), ''), 'u-' || left(md5(name), 8));

-- A name to sign in by: the one somebody had where it may be one here, else what is left of it with a mark of its own.
CREATE FUNCTION move_in_username(name text, mark text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN coalesce(nullif(btrim(left(regexp_replace(coalesce(name, ''), '[^A-Za-z0-9_]+', '-', 'g'), 40), '-'), ''), 'member') || '-' || left(md5(mark), 8);

-- Looks at all orders of a change at once and touches those whose sums are other ones; what is placed with the right totals stays.
CREATE OR REPLACE FUNCTION orders_sum_up() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    of_order uuid;
BEGIN
    FOR of_order IN
        SELECT o.id FROM orders o
        CROSS JOIN LATERAL (SELECT coalesce(sum(shipping_minor), 0) AS shipping FROM fulfilments WHERE order_id = o.id) f
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(gross_minor), 0) AS gross, coalesce(sum(discount_minor), 0) AS discount,
                   coalesce(sum(points_minor), 0) AS points, coalesce(sum(tax_minor), 0) AS tax,
                   coalesce(sum(included_tax_minor), 0) AS included, coalesce(array_agg(DISTINCT seller_id), '{}') AS sellers
            FROM order_lines WHERE order_id = o.id
        ) s
        WHERE o.id IN (SELECT order_id FROM changed)
          AND (o.subtotal_minor, o.discount_minor, o.points_minor, o.tax_minor, o.included_tax_minor, o.shipping_minor, o.seller_ids)
              IS DISTINCT FROM (s.gross, s.discount, s.points, s.tax, s.included, f.shipping, s.sellers)
        ORDER BY o.id
    LOOP
        PERFORM sum_up_order(of_order);
    END LOOP;
    RETURN NULL;
END $$;
