-- What things are made of.

CREATE TABLE ingredients (
    id UUID DEFAULT uuidv7() NOT NULL,
    name citext NOT NULL,
    unit TEXT NOT NULL,
    on_hand NUMERIC(14, 3) DEFAULT '0' NOT NULL,
    reorder_at NUMERIC(14, 3) DEFAULT '0' NOT NULL,
    pack NUMERIC(14, 3) DEFAULT '1' NOT NULL,
    supplier TEXT DEFAULT '' NOT NULL,
    is_active BOOLEAN DEFAULT 'true' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_ingredients PRIMARY KEY (id),
    CONSTRAINT ck_ingredients_name_length CHECK (char_length(name) <= 80),
    CONSTRAINT ck_ingredients_unit_length CHECK (char_length(unit) <= 20),
    CONSTRAINT ck_ingredients_supplier_length CHECK (char_length(supplier) <= 120),
    CONSTRAINT ck_ingredients_amounts_make_sense CHECK (reorder_at >= 0 AND pack > 0),
    CONSTRAINT uq_ingredients_name UNIQUE (name)
);
COMMENT ON TABLE ingredients IS 'Something to make things of. A trigger keeps on_hand the sum of its movements; below reorder_at packs are to be ordered.';

CREATE TABLE recipe_lines (
    listing_id UUID NOT NULL,
    ingredient_id UUID NOT NULL,
    quantity NUMERIC(14, 3) NOT NULL,
    CONSTRAINT pk_recipe_lines PRIMARY KEY (listing_id, ingredient_id),
    CONSTRAINT ck_recipe_lines_quantity_positive CHECK (quantity > 0),
    CONSTRAINT fk_recipe_lines_listing_id FOREIGN KEY(listing_id) REFERENCES listings (id) ON DELETE CASCADE,
    CONSTRAINT fk_recipe_lines_ingredient_id FOREIGN KEY(ingredient_id) REFERENCES ingredients (id) ON DELETE RESTRICT
);
CREATE INDEX ix_recipe_lines_ingredient_id ON recipe_lines (ingredient_id);
COMMENT ON TABLE recipe_lines IS 'How much of an ingredient goes into one of a listing.';

CREATE TABLE ingredient_movements (
    id UUID DEFAULT uuidv7() NOT NULL,
    ingredient_id UUID NOT NULL,
    quantity NUMERIC(14, 3) NOT NULL,
    reason TEXT NOT NULL,
    note TEXT DEFAULT '' NOT NULL,
    baked_on DATE,
    actor_id UUID,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_ingredient_movements PRIMARY KEY (id),
    CONSTRAINT ck_ingredient_movements_reason_known CHECK (reason IN ('delivery', 'baked', 'waste', 'stock_take', 'correction')),
    CONSTRAINT ck_ingredient_movements_note_length CHECK (char_length(note) <= 300),
    CONSTRAINT ck_ingredient_movements_quantity_not_zero CHECK (quantity <> 0),
    CONSTRAINT ck_ingredient_movements_baking_has_a_day CHECK ((reason = 'baked') = (baked_on IS NOT NULL)),
    CONSTRAINT fk_ingredient_movements_ingredient_id FOREIGN KEY(ingredient_id) REFERENCES ingredients (id) ON DELETE RESTRICT
);
CREATE INDEX ix_ingredient_movements_baked_on ON ingredient_movements (baked_on) WHERE baked_on IS NOT NULL;
CREATE INDEX ix_ingredient_movements_ingredient_id_at ON ingredient_movements (ingredient_id, at DESC);
COMMENT ON TABLE ingredient_movements IS 'Every change of an ingredient''s stock with its cause; never changed.';

CREATE INDEX ix_fulfilments_in_hand ON fulfilments (opened_at) WHERE opened_at IS NOT NULL AND handed_over_at IS NULL;

-- The stock of an ingredient is the sum of its movements, by this trigger alone.
CREATE FUNCTION ingredient_movements_apply() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public AS $$
BEGIN
    UPDATE ingredients SET on_hand = on_hand + NEW.quantity WHERE id = NEW.ingredient_id;
    RETURN NULL;
END $$;
CREATE TRIGGER apply_movement AFTER INSERT ON ingredient_movements FOR EACH ROW EXECUTE FUNCTION ingredient_movements_apply();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ingredient_movements
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON ingredients FOR EACH ROW EXECUTE FUNCTION touch_updated_at();

GRANT SELECT, INSERT, UPDATE, DELETE ON recipe_lines TO tradepost_app;
GRANT SELECT, INSERT, DELETE ON ingredients TO tradepost_app;
GRANT UPDATE (name, unit, reorder_at, pack, supplier, is_active) ON ingredients TO tradepost_app;
GRANT SELECT, INSERT ON ingredient_movements TO tradepost_app;
GRANT SELECT ON ingredients, recipe_lines, ingredient_movements TO tradepost_readonly;
DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['ingredients', 'recipe_lines', 'ingredient_movements'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY actor ON %I FOR ALL TO tradepost_app USING ((SELECT app_sees_all()))', t);
        EXECUTE format('CREATE POLICY reporting ON %I FOR SELECT TO tradepost_readonly USING (true)', t);
    END LOOP;
    PERFORM audit_table('recipe_lines');
    PERFORM audit_table('ingredients', 'INSERT OR DELETE OR UPDATE OF name, unit, reorder_at, pack, supplier, is_active');
END $$;
