-- Tables that are too long to be brought in while somebody waits: what became of each, and of each of their rows.

CREATE TABLE listing_imports (
    id UUID DEFAULT uuidv7() NOT NULL,
    by_id UUID NOT NULL,
    name TEXT NOT NULL,
    state TEXT DEFAULT 'checking' NOT NULL,
    rows_about INTEGER DEFAULT 0 NOT NULL,
    rows_done INTEGER DEFAULT 0 NOT NULL,
    counts JSONB DEFAULT '{}' NOT NULL,
    problem TEXT DEFAULT '' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE DEFAULT now() NOT NULL,
    ended_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT pk_listing_imports PRIMARY KEY (id),
    CONSTRAINT ck_listing_imports_state_known
        CHECK (state IN ('checking', 'checked', 'refused', 'importing', 'done', 'cancelled', 'failed')),
    CONSTRAINT ck_listing_imports_name_length CHECK (char_length(name) <= 200),
    CONSTRAINT fk_listing_imports_by_id FOREIGN KEY(by_id) REFERENCES users (id) ON DELETE RESTRICT
);
CREATE INDEX ix_listing_imports_by_id ON listing_imports (by_id);
CREATE INDEX ix_listing_imports_created_at ON listing_imports (created_at);
COMMENT ON TABLE listing_imports IS 'A table of listings that a job checks and brings in, whole or not at all. The file is kept under its id until the end.';

CREATE TABLE listing_import_rows (
    import_id UUID NOT NULL,
    number INTEGER NOT NULL,
    sku TEXT NOT NULL,
    title TEXT NOT NULL,
    does TEXT NOT NULL,
    problems JSONB DEFAULT '{}' NOT NULL,
    CONSTRAINT pk_listing_import_rows PRIMARY KEY (import_id, number),
    CONSTRAINT ck_listing_import_rows_does_known CHECK (does IN ('new', 'changed', 'same', 'refused')),
    CONSTRAINT fk_listing_import_rows_import_id FOREIGN KEY(import_id) REFERENCES listing_imports (id) ON DELETE CASCADE
);
CREATE INDEX ix_listing_import_rows_does ON listing_import_rows (import_id, does, number);
COMMENT ON TABLE listing_import_rows IS 'What each row of an imported table leads to, with the problems of those that are refused.';

GRANT SELECT, INSERT, UPDATE, DELETE ON listing_imports, listing_import_rows TO tradepost_app;
GRANT SELECT ON listing_imports, listing_import_rows TO tradepost_readonly;

ALTER TABLE listing_imports ENABLE ROW LEVEL SECURITY;
CREATE POLICY actor ON listing_imports FOR ALL TO tradepost_app
    USING (by_id = (SELECT app_user_id()) OR (SELECT app_sees_all()));
CREATE POLICY reporting ON listing_imports FOR SELECT TO tradepost_readonly USING (true);
ALTER TABLE listing_import_rows ENABLE ROW LEVEL SECURITY;
CREATE POLICY actor ON listing_import_rows FOR ALL TO tradepost_app
    USING ((SELECT app_sees_all()) OR EXISTS (SELECT FROM listing_imports i WHERE i.id = import_id));
CREATE POLICY reporting ON listing_import_rows FOR SELECT TO tradepost_readonly USING (true);

-- Orders by how they are paid, also by a way that nobody ever used: without this the whole table would be read to find none.
CREATE INDEX ix_orders_payment_method ON orders (payment_method, placed_at DESC, id DESC);
