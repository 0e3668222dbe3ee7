DROP TABLE ingest_seen, ingest_errors, ingest_runs, source_states, outside_items;
UPDATE price_history SET availability = 'available' WHERE availability = 'out_of_stock';
ALTER TABLE price_history DROP CONSTRAINT ck_price_history_availability_known;
ALTER TABLE price_history ADD CONSTRAINT ck_price_history_availability_known CHECK (availability IN ('available', 'sold', 'deleted'));
UPDATE listing_images SET url = NULL WHERE file_id IS NOT NULL;
ALTER TABLE listing_images DROP CONSTRAINT ck_listing_images_file_or_url;
ALTER TABLE listing_images ADD CONSTRAINT ck_listing_images_file_or_url CHECK ((file_id IS NULL) <> (url IS NULL));
ALTER TABLE sources DROP COLUMN schedule, DROP COLUMN pause_s, DROP COLUMN terms, DROP CONSTRAINT ck_sources_kind_known,
    DROP CONSTRAINT ck_sources_code_form, DROP CONSTRAINT ck_sources_name_length;
SELECT audit_anew();
