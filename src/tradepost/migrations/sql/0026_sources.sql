-- Outside markets: how they are read, what was seen of each listing, and what each reading brought.

ALTER TABLE sources
    ADD COLUMN schedule text NOT NULL DEFAULT '',
    ADD COLUMN pause_s real NOT NULL DEFAULT 2,
    ADD COLUMN terms text NOT NULL DEFAULT '',
    ADD CONSTRAINT ck_sources_kind_known CHECK (kind IN ('json_feed', 'ndjson_feed', 'csv_feed', 'rss_feed', 'sitemap', 'pages', 'search_page', 'folder', 'push')),
    ADD CONSTRAINT ck_sources_code_form CHECK (code ~ '^[a-z0-9]+(-[a-z0-9]+)*$'),
    ADD CONSTRAINT ck_sources_pause CHECK (pause_s BETWEEN 0 AND 3600),
    ADD CONSTRAINT ck_sources_name_length CHECK (char_length(name) BETWEEN 1 AND 100),
    ADD CONSTRAINT ck_sources_terms_length CHECK (char_length(terms) <= 2000);

-- A picture may be an outside one of which there is a copy here.
ALTER TABLE listing_images DROP CONSTRAINT ck_listing_images_file_or_url;
ALTER TABLE listing_images ADD CONSTRAINT ck_listing_images_file_or_url CHECK (file_id IS NOT NULL OR url IS NOT NULL);

ALTER TABLE price_history DROP CONSTRAINT ck_price_history_availability_known;
ALTER TABLE price_history ADD CONSTRAINT ck_price_history_availability_known
    CHECK (availability IN ('available', 'out_of_stock', 'sold', 'deleted'));

CREATE TABLE outside_items (
    source_id uuid NOT NULL,
    external_id text NOT NULL,
    listing_id uuid NOT NULL,
    raw_hash bytea NOT NULL,
    content_hash bytea NOT NULL,
    cluster_id uuid NOT NULL,
    bands bigint[] NOT NULL DEFAULT '{}',
    picture_print bigint,
    changed_at timestamptz NOT NULL DEFAULT now(),
    missing_since timestamptz,
    CONSTRAINT pk_outside_items PRIMARY KEY (source_id, external_id),
    CONSTRAINT uq_outside_items_listing_id UNIQUE (listing_id),
    CONSTRAINT fk_outside_items_source_id FOREIGN KEY (source_id) REFERENCES sources (id) ON DELETE CASCADE,
    CONSTRAINT fk_outside_items_listing_id FOREIGN KEY (listing_id) REFERENCES listings (id) ON DELETE CASCADE,
    CONSTRAINT ck_outside_items_external_id_length CHECK (char_length(external_id) BETWEEN 1 AND 300)
);
CREATE INDEX ix_outside_items_cluster_id ON outside_items (cluster_id);
CREATE INDEX ix_outside_items_bands ON outside_items USING gin (bands);
COMMENT ON TABLE outside_items IS
    'What was last seen of a listing at its source: hashes of the row as it came and of what was made of it, so that what has not changed is not written. Listings with one `cluster_id` are the same thing seen at several sources; `bands` and `picture_print` are what they are found by.';

CREATE TABLE source_states (
    source_id uuid NOT NULL,
    due_at timestamptz,
    failures integer NOT NULL DEFAULT 0,
    validators jsonb NOT NULL DEFAULT '{}',
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_source_states PRIMARY KEY (source_id),
    CONSTRAINT fk_source_states_source_id FOREIGN KEY (source_id) REFERENCES sources (id) ON DELETE CASCADE,
    CONSTRAINT ck_source_states_failures_not_negative CHECK (failures >= 0)
);
CREATE INDEX ix_source_states_due_at ON source_states (due_at) WHERE due_at IS NOT NULL;
COMMENT ON TABLE source_states IS
    'When a source is read next, how often reading it failed in a row, and what its server said to recognise an unchanged answer by.';

CREATE TABLE ingest_runs (
    id uuid NOT NULL DEFAULT uuidv7(),
    source_id uuid NOT NULL,
    began_by text NOT NULL,
    state text NOT NULL DEFAULT 'running',
    started_at timestamptz NOT NULL DEFAULT now(),
    moved_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    at_row bigint NOT NULL DEFAULT 0,
    document text NOT NULL DEFAULT '',
    seen bigint NOT NULL DEFAULT 0,
    inserted bigint NOT NULL DEFAULT 0,
    changed bigint NOT NULL DEFAULT 0,
    unchanged bigint NOT NULL DEFAULT 0,
    returned bigint NOT NULL DEFAULT 0,
    gone bigint NOT NULL DEFAULT 0,
    refused bigint NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0,
    whole bigint,
    message text NOT NULL DEFAULT '',
    CONSTRAINT pk_ingest_runs PRIMARY KEY (id),
    CONSTRAINT fk_ingest_runs_source_id FOREIGN KEY (source_id) REFERENCES sources (id) ON DELETE CASCADE,
    CONSTRAINT ck_ingest_runs_began_by_known CHECK (began_by IN ('schedule', 'hand', 'push', 'command')),
    CONSTRAINT ck_ingest_runs_state_known CHECK (state IN ('running', 'done', 'failed', 'stopped')),
    CONSTRAINT ck_ingest_runs_finished CHECK ((state = 'running') = (finished_at IS NULL))
);
CREATE INDEX ix_ingest_runs_source_id ON ingest_runs (source_id, id DESC);
CREATE UNIQUE INDEX uq_ingest_runs_running ON ingest_runs (source_id) WHERE state = 'running' AND began_by <> 'push';
COMMENT ON TABLE ingest_runs IS
    'One reading of a source: how far it is (`at_row`, of `whole` bytes where that is known), what it brought, and how it ended.';

CREATE TABLE ingest_errors (
    run_id uuid NOT NULL,
    n integer NOT NULL,
    place text NOT NULL,
    external_id text,
    reason text NOT NULL,
    excerpt text NOT NULL DEFAULT '',
    CONSTRAINT pk_ingest_errors PRIMARY KEY (run_id, n),
    CONSTRAINT fk_ingest_errors_run_id FOREIGN KEY (run_id) REFERENCES ingest_runs (id) ON DELETE CASCADE
);
COMMENT ON TABLE ingest_errors IS 'Rows of a source that were refused, where they are and why; the first thousands of a run.';

CREATE TABLE ingest_seen (
    run_id uuid NOT NULL,
    batch integer NOT NULL,
    listing_ids uuid[] NOT NULL,
    CONSTRAINT pk_ingest_seen PRIMARY KEY (run_id, batch),
    CONSTRAINT fk_ingest_seen_run_id FOREIGN KEY (run_id) REFERENCES ingest_runs (id) ON DELETE CASCADE
);
COMMENT ON TABLE ingest_seen IS
    'What a running reading has seen so far, one row a batch; what is not in it at the end has disappeared. Emptied with the run''s end.';

CREATE TRIGGER touch_updated_at BEFORE UPDATE ON source_states FOR EACH ROW EXECUTE FUNCTION touch_updated_at();
GRANT SELECT, INSERT, UPDATE, DELETE ON outside_items, source_states, ingest_runs, ingest_errors, ingest_seen TO tradepost_app;
GRANT SELECT ON outside_items, source_states, ingest_runs, ingest_errors TO tradepost_readonly;

-- Listings that were there before: each is a cluster of its own.
INSERT INTO outside_items (source_id, external_id, listing_id, raw_hash, content_hash, cluster_id)
    SELECT source_id, external_id, id, '', '', id FROM listings WHERE source_id IS NOT NULL;

SELECT audit_anew();
