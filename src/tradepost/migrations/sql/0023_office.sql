-- What the staff shape themselves: the category tree, places, and the store's words and colours.

ALTER TABLE categories ADD COLUMN is_own BOOLEAN DEFAULT 'false' NOT NULL;
ALTER TABLE places ADD COLUMN is_active BOOLEAN DEFAULT 'true' NOT NULL;

CREATE TABLE former_categories (
    slug TEXT NOT NULL,
    category_id UUID,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_former_categories PRIMARY KEY (slug),
    CONSTRAINT fk_former_categories_category_id FOREIGN KEY(category_id) REFERENCES categories (id) ON DELETE SET NULL
);
CREATE INDEX ix_former_categories_category_id ON former_categories (category_id);

CREATE TABLE store_editions (
    number INTEGER NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    by_id UUID,
    changes JSONB NOT NULL,
    note TEXT DEFAULT '' NOT NULL,
    brings_back INTEGER,
    CONSTRAINT pk_store_editions PRIMARY KEY (number)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON store_editions
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE store_drafts (
    user_id UUID NOT NULL,
    changes JSONB NOT NULL,
    at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    CONSTRAINT pk_store_drafts PRIMARY KEY (user_id)
);

COMMENT ON TABLE categories IS 'The category tree; `path` is the slugs from the root, kept by a trigger that also refuses cycles. `is_own`: the staff''s, and no longer the preset''s to change.';
COMMENT ON TABLE former_categories IS 'Categories that the staff took away: their old addresses lead to `category_id`, and the preset does not bring them back.';
COMMENT ON TABLE store_editions IS 'What the staff set differently from the preset: each edition whole, the highest number in force. Never changed, only followed.';
COMMENT ON TABLE store_drafts IS 'What somebody tries before it becomes an edition: one each, seen by them alone.';

GRANT SELECT, INSERT, UPDATE, DELETE ON former_categories, store_drafts TO tradepost_app;
GRANT SELECT, INSERT ON store_editions TO tradepost_app;
ALTER TABLE store_drafts ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON store_drafts FOR ALL TO tradepost_app USING (user_id = (SELECT app_user_id()) OR (SELECT app_sees_all()));
GRANT SELECT ON former_categories, store_editions TO tradepost_readonly;

SELECT audit_table('former_categories');
SELECT audit_table('store_editions', 'INSERT');
SELECT audit_table('places', 'UPDATE OR DELETE');
SELECT audit_anew();
