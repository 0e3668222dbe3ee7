DROP INDEX ix_search_terms_tags;

CREATE OR REPLACE FUNCTION search_price_band(minor bigint) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN floor(4 * log(2.0, minor + 1))::integer;

DROP FUNCTION search_facts_of(uuid[], boolean);
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

DROP FUNCTION search_words_of(text, text, text, text, text, text);
CREATE FUNCTION search_words_of(title text, brand text, categories text, attributes jsonb, skus text, description text)
RETURNS tsvector LANGUAGE sql STABLE PARALLEL SAFE
    RETURN setweight(to_tsvector('public.store_words', search_text(title)), 'A')
        || setweight(to_tsvector('public.store_words', search_text(coalesce(brand, '') || ' ' || coalesce(categories, ''))), 'B')
        || setweight(to_tsvector('public.store_words', search_text(left(coalesce((
               SELECT string_agg(CASE jsonb_typeof(a.value) WHEN 'boolean' THEN replace(a.key, '_', ' ') ELSE a.value #>> '{}' END, ' . ')
               FROM jsonb_each(attributes) AS a
               WHERE a.value = 'true' OR jsonb_typeof(a.value) IN ('string', 'array')), ''), 4000) || ' ' || coalesce(skus, ''))), 'C')
        || setweight(to_tsvector('public.store_words', search_text(left(description, 6000))), 'D');

CREATE OR REPLACE FUNCTION search_refresh_words(ids uuid[]) RETURNS void LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
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
