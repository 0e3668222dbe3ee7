-- Search: one document for each listing that can be found, as fresh as the transaction that changed the listing.

-- The store's words: accents and endings taken off. `search_use_language` chooses the endings.
CREATE TEXT SEARCH CONFIGURATION store_words (COPY = pg_catalog.english);
ALTER TEXT SEARCH CONFIGURATION store_words
    ALTER MAPPING FOR hword, hword_part, word WITH public.unaccent, pg_catalog.english_stem;

CREATE FUNCTION search_use_language(language text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF language = (SELECT s.language FROM search_state s) THEN
        RETURN false;
    END IF;
    EXECUTE format('ALTER TEXT SEARCH CONFIGURATION store_words ALTER MAPPING FOR asciiword, asciihword, hword_asciipart,
                    hword, hword_part, word WITH public.unaccent, pg_catalog.%I',
                   CASE language WHEN 'simple' THEN 'simple' ELSE language || '_stem' END);
    UPDATE search_state s SET language = search_use_language.language;
    RETURN true;
END $$;

-- The parser takes a/b for a path, a-b for a compound and a_b for one word; shoppers write them with and without.
CREATE FUNCTION search_text(t text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN translate(t, '/\_|~^-', '       ');

CREATE TABLE search_documents (
    listing_id uuid NOT NULL,
    title text NOT NULL,
    category_path text NOT NULL,
    metadata jsonb NOT NULL DEFAULT '{}',
    words tsvector NOT NULL,
    trigrams text NOT NULL,
    tags text[] NOT NULL DEFAULT '{}',
    marks text[] NOT NULL DEFAULT '{}',
    length integer NOT NULL DEFAULT 0,
    seller_id uuid,
    price_minor bigint,
    price_to_minor bigint,
    in_stock boolean NOT NULL DEFAULT false,
    location geo_point,
    popularity real NOT NULL DEFAULT 0,
    rating real NOT NULL DEFAULT 0,
    published_at timestamptz NOT NULL,
    signature bit(384),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_search_documents PRIMARY KEY (listing_id),
    CONSTRAINT fk_search_documents_listing_id FOREIGN KEY (listing_id) REFERENCES listings (id) ON DELETE CASCADE
) WITH (fillfactor = 90, toast_tuple_target = 8160);  -- ranking reads the words of a thousand rows: they stay where the rows are
-- A pending list is read by every search, so it is kept short.
CREATE INDEX ix_search_documents_find ON search_documents USING gin (words, tags, marks) WITH (gin_pending_list_limit = 512);
CREATE INDEX ix_search_documents_trigrams ON search_documents USING gin (trigrams gin_trgm_ops) WITH (gin_pending_list_limit = 512);
CREATE INDEX ix_search_documents_location ON search_documents USING gist (location);
CREATE INDEX ix_search_documents_newest ON search_documents (published_at DESC, listing_id DESC);
CREATE INDEX ix_search_documents_popular ON search_documents (popularity DESC, listing_id DESC);
CREATE INDEX ix_search_documents_price ON search_documents (price_minor, listing_id) WHERE price_minor IS NOT NULL;
CREATE INDEX ix_search_documents_rated ON search_documents (rating DESC, listing_id DESC);
COMMENT ON TABLE search_documents IS
    'One row for each listing that can be found. `tags` are what can be counted (category=fruit, .organic=true), `marks` are what only narrows (in stock, price band, map cell, popularity tier); `signature` is the signs of the vector.';

CREATE TABLE search_vectors (
    listing_id uuid NOT NULL,
    embedding vector(384) NOT NULL,
    model text NOT NULL,
    text_hash bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_search_vectors PRIMARY KEY (listing_id),
    CONSTRAINT fk_search_vectors_listing_id FOREIGN KEY (listing_id) REFERENCES search_documents (listing_id) ON DELETE CASCADE
);
CREATE INDEX ix_search_vectors_near ON search_vectors USING hnsw ((embedding::halfvec(384)) halfvec_cosine_ops)
    WITH (m = 16, ef_construction = 64);
COMMENT ON TABLE search_vectors IS 'What a document means, as a vector of length one; apart from it because it is wide and follows later.';

-- The nearest by the vector index, `reach` of them; filters are the caller's, who reaches further the more they leave out.
CREATE FUNCTION search_nearest(wanted vector, reach integer) RETURNS TABLE (listing_id uuid) LANGUAGE plpgsql STABLE ROWS 100
SET hnsw.ef_search = 160 SET hnsw.iterative_scan = relaxed_order SET ivfflat.probes = 30 SET ivfflat.iterative_scan = relaxed_order
AS $$
BEGIN
    RETURN QUERY SELECT v.listing_id FROM search_vectors v
        ORDER BY v.embedding::halfvec(384) <=> wanted::halfvec(384) LIMIT reach;
END $$;

CREATE TABLE search_queue (
    listing_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_search_queue PRIMARY KEY (listing_id)
);
COMMENT ON TABLE search_queue IS 'Documents that wait for their vector.';

CREATE TABLE search_terms (
    kind text NOT NULL,
    term text NOT NULL,
    documents integer NOT NULL,
    CONSTRAINT pk_search_terms PRIMARY KEY (kind, term),
    CONSTRAINT ck_search_terms_kind_known CHECK (kind IN ('word', 'tag', 'mark'))
);
COMMENT ON TABLE search_terms IS 'In how many documents a word, tag or mark occurs; counted by a job.';

CREATE TABLE search_vocabulary (
    word text NOT NULL,
    stem text NOT NULL,
    documents integer NOT NULL,
    deletes text[] NOT NULL DEFAULT '{}',
    CONSTRAINT pk_search_vocabulary PRIMARY KEY (word)
);
CREATE INDEX ix_search_vocabulary_trigrams ON search_vocabulary USING gin (word gin_trgm_ops);
CREATE INDEX ix_search_vocabulary_deletes ON search_vocabulary USING gin (deletes);
CREATE INDEX ix_search_vocabulary_prefix ON search_vocabulary (word text_pattern_ops);
COMMENT ON TABLE search_vocabulary IS 'Words as they are written, without accents, with the number of titles that have them: typos are corrected to them. `deletes` is the word, and what is left of it without one letter.';

-- Two words that come to the same by leaving out a letter of each differ by two mistakes at most, and any one mistake shows here.
CREATE FUNCTION search_deletes(word text) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ARRAY[word] || ARRAY(SELECT DISTINCT overlay(word PLACING '' FROM n FOR 1) FROM generate_series(1, char_length(word)) AS n);

CREATE TABLE search_state (
    id integer NOT NULL DEFAULT 1,
    language text NOT NULL DEFAULT 'english',
    documents integer NOT NULL DEFAULT 0,
    average_length real NOT NULL DEFAULT 1,
    tiers real[] NOT NULL DEFAULT '{}',
    settings jsonb NOT NULL DEFAULT '{}',
    counted_at timestamptz,
    CONSTRAINT pk_search_state PRIMARY KEY (id),
    CONSTRAINT ck_search_state_one_row CHECK (id = 1)
);
INSERT INTO search_state DEFAULT VALUES;
COMMENT ON TABLE search_state IS 'One row: counts of the whole, popularity from which a tier begins, weights that staff chose.';

CREATE TABLE search_synonyms (
    id uuid NOT NULL DEFAULT uuidv7(),
    word text NOT NULL,
    means text NOT NULL,
    both_ways boolean NOT NULL DEFAULT true,
    created_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT pk_search_synonyms PRIMARY KEY (id),
    CONSTRAINT uq_search_synonyms_word_means UNIQUE (word, means),
    CONSTRAINT ck_search_synonyms_word_length CHECK (char_length(word) BETWEEN 1 AND 60),
    CONSTRAINT ck_search_synonyms_means_length CHECK (char_length(means) BETWEEN 1 AND 60),
    CONSTRAINT ck_search_synonyms_not_itself CHECK (word <> means)
);
CREATE INDEX ix_search_synonyms_means ON search_synonyms (means) WHERE both_ways;
COMMENT ON TABLE search_synonyms IS 'Other words for a word in this store.';

CREATE TABLE search_log (
    id uuid NOT NULL DEFAULT uuidv7(),
    at timestamptz NOT NULL DEFAULT now(),
    query text NOT NULL,
    corrected text,
    user_id uuid,
    session_hash bytea,
    results_count integer NOT NULL,
    search_type text NOT NULL,
    response_ms real NOT NULL,
    filters jsonb NOT NULL DEFAULT '{}',
    clicked_id uuid,
    clicked_at timestamptz,
    ordered_id uuid,
    ordered_at timestamptz,
    CONSTRAINT pk_search_log PRIMARY KEY (id, at),
    CONSTRAINT ck_search_log_search_type_known CHECK (search_type IN ('words', 'vectors', 'both', 'browse', 'similar'))
) PARTITION BY RANGE (at);
CREATE INDEX ix_search_log_nothing_found ON search_log (at) WHERE results_count = 0;
CREATE INDEX ix_search_log_session_hash_at ON search_log (session_hash, at) WHERE session_hash IS NOT NULL;
CREATE INDEX ix_search_log_user_id_at ON search_log (user_id, at) WHERE user_id IS NOT NULL;
CREATE TABLE search_log_default PARTITION OF search_log DEFAULT;
SELECT ensure_month_partitions('search_log', 3);
COMMENT ON TABLE search_log IS 'Every search: what was asked, what was found and how fast, what was clicked and ordered. One partition a month.';

-- What a transaction changed, until it commits. No row of these tables ever outlives its transaction.
CREATE UNLOGGED TABLE search_changes (
    transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
    listing_id uuid NOT NULL,
    words boolean NOT NULL,
    CONSTRAINT pk_search_changes PRIMARY KEY (transaction, listing_id)
);
CREATE UNLOGGED TABLE search_changed (
    transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT pk_search_changed PRIMARY KEY (transaction)
);
COMMENT ON TABLE search_changes IS 'Listings that the present transaction changed; emptied at its commit. `words`: the text changed too.';
COMMENT ON TABLE search_changed IS 'One row while a transaction has changed listings: its deferred trigger refreshes their documents at the commit.';

-- Four bands an octave: a price within a factor of 1.19.
CREATE FUNCTION search_price_band(minor bigint) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN floor(4 * log(2.0, minor + 1))::integer;

-- What documents are made of: everything but the words, and their text where it is asked for.
CREATE FUNCTION search_facts_of(ids uuid[], with_text boolean) RETURNS TABLE (
    listing_id uuid, category_path text, metadata jsonb, tags text[], marks text[], seller_id uuid, price_minor bigint,
    price_to_minor bigint, in_stock boolean, location geo_point, popularity real, rating real, published_at timestamptz,
    title text, brand text, description text, category_names text, skus text
) LANGUAGE sql STABLE AS $$
    WITH kinds AS MATERIALIZED (
        SELECT k.code, array_agg(f.field ->> 'key') AS keys
        FROM listing_kinds k CROSS JOIN LATERAL jsonb_array_elements(k.fields) AS f(field)
        WHERE (f.field ->> 'filter')::boolean GROUP BY k.code
    ), state AS MATERIALIZED (SELECT s.tiers FROM search_state s)
    SELECT l.id, c.path, l.attributes,
           string_to_array('category=' || replace(c.path, '/', '/category='), '/')
           || ARRAY['kind=' || l.kind, 'feed=' || l.feed]
           || CASE WHEN l.condition IS NOT NULL THEN ARRAY['condition=' || l.condition] ELSE '{}' END
           || CASE WHEN l.brand <> '' THEN ARRAY['brand=' || l.brand] ELSE '{}' END
           || coalesce((
               SELECT array_agg('.' || a.key || '=' || left(v.value, 80))
               FROM jsonb_each(l.attributes) AS a
               CROSS JOIN LATERAL (
                   SELECT e.value FROM jsonb_array_elements_text(CASE WHEN jsonb_typeof(a.value) = 'array' THEN a.value END) AS e
                   UNION ALL SELECT a.value #>> '{}' WHERE jsonb_typeof(a.value) IN ('string', 'number', 'boolean')
               ) AS v
               WHERE a.key = ANY (k.keys) AND v.value <> ''), '{}'),
           ARRAY['week=' || floor(extract(epoch FROM l.published_at) / 604800)::bigint]
           || CASE WHEN l.in_stock THEN ARRAY['stock'] ELSE '{}' END
           || CASE WHEN l.seller_id IS NOT NULL THEN ARRAY['seller=' || l.seller_id] ELSE '{}' END
           || CASE WHEN l.price_minor IS NOT NULL THEN ARRAY['price=' || search_price_band(l.price_minor)] ELSE '{}' END
           || CASE WHEN l.location IS NOT NULL THEN ARRAY[
                  'cell=' || floor(geo_lat(l.location) * 5) || ',' || floor(geo_lon(l.location) * 5),
                  'area=' || floor(geo_lat(l.location) / 2) || ',' || floor(geo_lon(l.location) / 2)] ELSE '{}' END
           || coalesce((SELECT array_agg('tier=' || t.n) FROM unnest(s.tiers) WITH ORDINALITY AS t(least, n)
                        WHERE l.popularity >= t.least OR (t.n = 1 AND l.published_at > now() - interval '7 days')), '{}'),
           l.seller_id, l.price_minor, l.price_to_minor, l.in_stock, l.location, l.popularity,
           ((l.rating_sum + 17.5) / (l.rating_count + 5))::real, l.published_at, l.title, l.brand, l.description,
           CASE WHEN with_text THEN (SELECT string_agg(above.name, ' . ') FROM categories above
                                     WHERE above.slug = ANY (string_to_array(c.path, '/'))) END,
           CASE WHEN with_text THEN (SELECT string_agg(v.sku, ' ') FROM variants v WHERE v.listing_id = l.id AND v.sku IS NOT NULL) END
    FROM unnest(ids) AS i(id)
    JOIN listings l ON l.id = i.id AND l.status = 'active'
    JOIN categories c ON c.id = l.category_id
    CROSS JOIN state s
    LEFT JOIN kinds k ON k.code = l.kind
$$;

-- A document's words by weight: A title, B brand and categories, C attributes and SKUs, D description.
CREATE FUNCTION search_words_of(title text, brand text, categories text, attributes jsonb, skus text, description text)
RETURNS tsvector LANGUAGE sql STABLE PARALLEL SAFE
    RETURN setweight(to_tsvector('public.store_words', search_text(title)), 'A')
        || setweight(to_tsvector('public.store_words', search_text(coalesce(brand, '') || ' ' || coalesce(categories, ''))), 'B')
        || setweight(to_tsvector('public.store_words', search_text(left(coalesce((
               SELECT string_agg(CASE jsonb_typeof(a.value) WHEN 'boolean' THEN replace(a.key, '_', ' ') ELSE a.value #>> '{}' END, ' . ')
               FROM jsonb_each(attributes) AS a
               WHERE a.value = 'true' OR jsonb_typeof(a.value) IN ('string', 'array')), ''), 4000) || ' ' || coalesce(skus, ''))), 'C')
        || setweight(to_tsvector('public.store_words', search_text(left(description, 6000))), 'D');

CREATE FUNCTION search_drop_absent(ids uuid[]) RETURNS void LANGUAGE sql AS $$
    DELETE FROM search_documents d WHERE d.listing_id = ANY (ids)
        AND NOT EXISTS (SELECT FROM listings l WHERE l.id = d.listing_id AND l.status = 'active')
$$;

CREATE FUNCTION search_refresh_words(ids uuid[]) RETURNS void LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    WITH put AS (
        INSERT INTO search_documents AS d (listing_id, title, category_path, metadata, words, trigrams, tags, marks, length, seller_id,
            price_minor, price_to_minor, in_stock, location, popularity, rating, published_at)
        SELECT f.listing_id, f.title, f.category_path, f.metadata, f.words, lower(unaccent(concat_ws(' ', f.title, f.brand))), f.tags,
               f.marks, length(f.words), f.seller_id, f.price_minor, f.price_to_minor, f.in_stock, f.location, f.popularity, f.rating,
               f.published_at
        FROM (
            SELECT e.*, search_words_of(e.title, e.brand, e.category_names, e.metadata, e.skus, e.description) AS words
            FROM search_facts_of(ids, true) e OFFSET 0
        ) f
        ON CONFLICT (listing_id) DO UPDATE SET
            title = excluded.title, category_path = excluded.category_path, metadata = excluded.metadata, words = excluded.words,
            trigrams = excluded.trigrams, tags = excluded.tags, marks = excluded.marks, length = excluded.length,
            seller_id = excluded.seller_id, price_minor = excluded.price_minor, price_to_minor = excluded.price_to_minor,
            in_stock = excluded.in_stock, location = excluded.location, popularity = excluded.popularity,
            rating = excluded.rating, published_at = excluded.published_at, updated_at = now()
        RETURNING d.listing_id
    )
    INSERT INTO search_queue (listing_id) SELECT listing_id FROM put
        ON CONFLICT (listing_id) DO UPDATE SET created_at = clock_timestamp();
    PERFORM search_drop_absent(ids);
END $$;

CREATE FUNCTION search_refresh_facts(ids uuid[]) RETURNS void LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    UPDATE search_documents d SET
        category_path = f.category_path, metadata = f.metadata, tags = f.tags, marks = f.marks, seller_id = f.seller_id,
        price_minor = f.price_minor, price_to_minor = f.price_to_minor, in_stock = f.in_stock, location = f.location,
        popularity = f.popularity, rating = f.rating, published_at = f.published_at, updated_at = now()
    FROM search_facts_of(ids, false) f
    WHERE d.listing_id = f.listing_id
      AND (d.tags, d.marks, d.metadata, d.price_minor, d.price_to_minor, d.popularity, d.rating, d.published_at)
          IS DISTINCT FROM (f.tags, f.marks, f.metadata, f.price_minor, f.price_to_minor, f.popularity, f.rating, f.published_at);
    PERFORM search_drop_absent(ids);
END $$;

CREATE FUNCTION search_note(ids uuid[], words boolean) RETURNS void LANGUAGE sql AS $$
    INSERT INTO search_changes AS c (listing_id, words) SELECT DISTINCT i.id, search_note.words FROM unnest(ids) AS i(id)
        ON CONFLICT ON CONSTRAINT pk_search_changes DO UPDATE SET words = true WHERE excluded.words AND NOT c.words;
    INSERT INTO search_changed DEFAULT VALUES ON CONFLICT DO NOTHING
$$;

CREATE FUNCTION search_apply() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    whole uuid[];
    part uuid[];
BEGIN
    DELETE FROM search_changed WHERE transaction = NEW.transaction;
    WITH mine AS (DELETE FROM search_changes WHERE transaction = NEW.transaction RETURNING listing_id, words)
    SELECT array_agg(listing_id ORDER BY listing_id) FILTER (WHERE words),
           array_agg(listing_id ORDER BY listing_id) FILTER (WHERE NOT words) INTO whole, part FROM mine;
    IF whole IS NOT NULL THEN
        PERFORM search_refresh_words(whole);
    END IF;
    IF part IS NOT NULL THEN
        PERFORM search_refresh_facts(part);
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER apply_changes AFTER INSERT ON search_changed
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION search_apply();

CREATE FUNCTION listings_note_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM search_note(array_agg(id), true) FROM changed WHERE status = 'active' HAVING count(*) > 0;
    RETURN NULL;
END $$;
CREATE TRIGGER note_inserted AFTER INSERT ON listings
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION listings_note_inserted();

-- EXCEPT, not a join: transition tables have no statistics, and the plan that one changed row gave a session would compare
-- every row of a bulk change with every other.
CREATE FUNCTION listings_note_updated() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ids uuid[];
BEGIN
    SELECT array_agg(DISTINCT d.id) INTO ids FROM (
        SELECT id, status = 'active', title, description, brand, category_id, attributes FROM changed WHERE status = 'active'
        EXCEPT
        SELECT id, status = 'active', title, description, brand, category_id, attributes FROM before
    ) d;
    IF ids IS NOT NULL THEN
        PERFORM search_note(ids, true);
    END IF;
    SELECT array_agg(DISTINCT d.id) INTO ids FROM (
        SELECT id, status = 'active', kind, feed, condition, seller_id, price_minor, price_to_minor, in_stock, published_at,
               popularity, rating_count, rating_sum, location::text FROM changed
        EXCEPT
        SELECT id, status = 'active', kind, feed, condition, seller_id, price_minor, price_to_minor, in_stock, published_at,
               popularity, rating_count, rating_sum, location::text FROM before
    ) d;
    IF ids IS NOT NULL THEN
        PERFORM search_note(ids, false);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER note_updated AFTER UPDATE ON listings
    REFERENCING NEW TABLE AS changed OLD TABLE AS before FOR EACH STATEMENT EXECUTE FUNCTION listings_note_updated();

-- SKUs are words too.
CREATE FUNCTION variants_note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        PERFORM search_note(array_agg(d.listing_id), true)
            FROM (SELECT id, listing_id, sku FROM changed EXCEPT SELECT id, listing_id, sku FROM before) d HAVING count(*) > 0;
    ELSE
        PERFORM search_note(array_agg(listing_id), true) FROM changed WHERE sku IS NOT NULL HAVING count(*) > 0;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER note_inserted AFTER INSERT ON variants
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION variants_note();
CREATE TRIGGER note_updated AFTER UPDATE ON variants
    REFERENCING NEW TABLE AS changed OLD TABLE AS before FOR EACH STATEMENT EXECUTE FUNCTION variants_note();
CREATE TRIGGER note_deleted AFTER DELETE ON variants
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION variants_note();

-- The same care for the summaries of the foundation: their cost follows the rows that change, in any session.
CREATE OR REPLACE FUNCTION listings_derive_updated() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ids uuid[];
BEGIN
    SELECT array_agg(d.id) INTO ids
    FROM (SELECT id, attributes FROM changed EXCEPT SELECT id, attributes FROM before) d;
    IF ids IS NULL THEN
        RETURN NULL;
    END IF;
    DELETE FROM listing_attributes a USING listings l
        WHERE l.id = ANY (ids) AND a.listing_id = l.id AND coalesce(jsonb_typeof(l.attributes -> a.key), 'null') = 'null';
    INSERT INTO listing_attributes (listing_id, key, value, number)
        SELECT l.id, e.key, e.value #>> '{}',
               CASE WHEN jsonb_typeof(e.value) = 'number' THEN (e.value #>> '{}')::float8 END
        FROM listings l CROSS JOIN LATERAL jsonb_each(l.attributes) AS e(key, value)
        WHERE l.id = ANY (ids) AND jsonb_typeof(e.value) <> 'null'
        ON CONFLICT (listing_id, key) DO UPDATE SET value = excluded.value, number = excluded.number;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION variants_summarise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        -- Most updates only move stock; the listing cares when that empties or refills a variant.
        PERFORM refresh_listing_summaries(array_agg(DISTINCT d.listing_id)) FROM (
            SELECT id, listing_id, on_hand IS NULL OR on_hand - reserved >= sale_step, unit, sale_step, is_active, position,
                   backorder_until FROM changed
            EXCEPT
            SELECT id, listing_id, on_hand IS NULL OR on_hand - reserved >= sale_step, unit, sale_step, is_active, position,
                   backorder_until FROM before
        ) d HAVING count(*) > 0;
    ELSE
        PERFORM refresh_listing_summaries(array_agg(DISTINCT listing_id)) FROM changed HAVING count(*) > 0;
    END IF;
    RETURN NULL;
END $$;

-- A plan made for an empty table would read prices from end to end for every variant of a bulk load.
ALTER FUNCTION refresh_listing_summaries(uuid[]) SET plan_cache_mode = force_custom_plan;

GRANT SELECT, INSERT, UPDATE, DELETE ON search_documents, search_vectors, search_queue, search_terms, search_vocabulary,
    search_synonyms, search_changes, search_changed TO tradepost_app;
GRANT SELECT, UPDATE ON search_state TO tradepost_app;
GRANT SELECT, INSERT, UPDATE ON search_log TO tradepost_app;
GRANT SELECT ON search_documents, search_vectors, search_terms, search_vocabulary, search_state, search_synonyms TO tradepost_readonly;
GRANT SELECT (id, at, query, corrected, results_count, search_type, response_ms, filters, clicked_id, clicked_at, ordered_id, ordered_at)
    ON search_log TO tradepost_readonly;
REVOKE EXECUTE ON FUNCTION search_use_language(text) FROM PUBLIC;

-- Whose searches they are is nobody's business but staff's; everybody may add a search and note what came of their own.
ALTER TABLE search_log ENABLE ROW LEVEL SECURITY;
CREATE POLICY actor ON search_log FOR ALL TO tradepost_app
    USING ((SELECT app_sees_all()) OR user_id = (SELECT app_user_id()) OR session_hash = (SELECT app_session()))
    WITH CHECK (true);
CREATE POLICY reporting ON search_log FOR SELECT TO tradepost_readonly USING (true);

-- Stores that have listings already.
SELECT search_refresh_words(array_agg(id)) FROM (SELECT id, ntile(1 + (SELECT count(*)::int / 5000 FROM listings)) OVER (ORDER BY id) AS part
    FROM listings WHERE status = 'active') l GROUP BY part;
