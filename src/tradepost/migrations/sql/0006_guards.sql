-- A visitor may begin a session and end one, but make it nobody's but their own.
ALTER POLICY actor ON sessions
    WITH CHECK ((SELECT app_sees_all()) OR user_id = (SELECT app_user_id()) OR (user_id IS NULL AND id_hash = (SELECT app_session())));

-- What people wish for and like is theirs; the counts on listings are everybody's.
DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['wishlists', 'likes'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY actor ON %I FOR ALL TO tradepost_app '
                       'USING ((SELECT app_sees_all()) OR user_id = (SELECT app_user_id()))', t);
        EXECUTE format('CREATE POLICY reporting ON %I FOR SELECT TO tradepost_readonly USING (true)', t);
    END LOOP;
END $$;

-- Links that people follow lead to the web: no scripts, no files.
ALTER TABLE listings
    ADD CONSTRAINT ck_listings_outside_url CHECK (outside_url ~ '^https?://'),
    ADD CONSTRAINT ck_listings_video_url CHECK (video_url ~ '^https?://');

-- Two variants may trade their options in one transaction.
ALTER TABLE variants DROP CONSTRAINT uq_variants_listing_id_options;
ALTER TABLE variants
    ADD CONSTRAINT uq_variants_listing_id_options UNIQUE (listing_id, options) DEFERRABLE INITIALLY DEFERRED;

CREATE INDEX ix_listings_category_popular ON listings (category_id, popularity DESC, id DESC) WHERE status = 'active';
CREATE INDEX ix_listings_seller_newest ON listings (seller_id, published_at DESC, id DESC) WHERE status = 'active';
CREATE INDEX ix_listing_images_file_id ON listing_images (file_id);

-- Points are taken back from a row that is locked, and to lock a row one must be allowed to change something of it.
GRANT UPDATE (updated_at) ON loyalty_accounts TO tradepost_app;
CREATE POLICY locking ON loyalty_accounts FOR UPDATE TO tradepost_app USING ((SELECT app_sees_all()));
