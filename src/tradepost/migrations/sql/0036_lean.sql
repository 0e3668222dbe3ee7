-- Alerts count brands and attributes in whatever letters (alerts/compiling); those that were filed under what only seemed rare are filed anew.
CREATE INDEX ix_search_terms_tags ON search_terms (lower(term)) WHERE kind = 'tag';
-- Those that ask for no brand, attribute or source are filed as they should be, and nobody changed any of them just now.
SELECT set_config('app.keep_times', 'on', true);
UPDATE alerts SET compiled_at = NULL
    WHERE compiled_at IS NOT NULL AND is_active AND removed_at IS NULL
      AND (criteria ?| ARRAY['brands', 'attributes', 'sources']
           OR id IN (SELECT alert_id FROM alert_index WHERE term LIKE '=.%' OR term LIKE '=brand=%' OR term LIKE '=source=%'));
SELECT set_config('app.keep_times', '', true);

-- The same bands without numeric logarithms, which take as long as everything else about a document.
CREATE OR REPLACE FUNCTION search_price_band(minor bigint) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN floor(4 * (ln((minor + 1)::float8) / 0.6931471805599453))::integer;

-- As before, but what follows from a category is found once for each category, and the words of attributes come along, so that
-- `search_words_of` has no query within and is written into the statement that calls it.
DROP FUNCTION search_facts_of(uuid[], boolean);
CREATE FUNCTION search_facts_of(ids uuid[], with_text boolean) RETURNS TABLE (
    listing_id uuid, category_path text, metadata jsonb, tags text[], marks text[], seller_id uuid, price_minor bigint,
    price_to_minor bigint, in_stock boolean, location geo_point, popularity real, rating real, published_at timestamptz,
    title text, brand text, description text, category_names text, attribute_words text, skus text
) LANGUAGE sql STABLE AS $$
    WITH kinds AS MATERIALIZED (
        SELECT k.code, array_agg(f.field ->> 'key') AS keys
        FROM listing_kinds k CROSS JOIN LATERAL jsonb_array_elements(k.fields) AS f(field)
        WHERE (f.field ->> 'filter')::boolean GROUP BY k.code
    ), state AS MATERIALIZED (SELECT s.tiers FROM search_state s
    ), cats AS MATERIALIZED (
        SELECT c.id, c.path, string_to_array('category=' || replace(c.path, '/', '/category='), '/') AS tags,
               CASE WHEN with_text THEN (SELECT string_agg(above.name, ' . ') FROM categories above
                                         WHERE above.slug = ANY (string_to_array(c.path, '/'))) END AS names
        FROM categories c WHERE c.id IN (SELECT x.category_id FROM unnest(ids) AS i(id) JOIN listings x ON x.id = i.id)
    )
    SELECT l.id, c.path, l.attributes,
           c.tags || ARRAY['kind=' || l.kind, 'feed=' || l.feed]
           || CASE WHEN l.condition IS NOT NULL THEN ARRAY['condition=' || l.condition] ELSE '{}' END
           || CASE WHEN l.brand <> '' THEN ARRAY['brand=' || l.brand] ELSE '{}' END
           || coalesce((
               SELECT array_agg('.' || a.key || '=' || left(v.value, 80))
               FROM jsonb_each(l.attributes) AS a
               CROSS JOIN LATERAL unnest(CASE jsonb_typeof(a.value)
                   WHEN 'array' THEN ARRAY(SELECT jsonb_array_elements_text(a.value))
                   WHEN 'object' THEN '{}' WHEN 'null' THEN '{}' ELSE ARRAY[a.value #>> '{}'] END) AS v(value)
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
           ((l.rating_sum + 17.5) / (l.rating_count + 5))::real, l.published_at, l.title, l.brand, l.description, c.names,
           CASE WHEN with_text THEN (
               SELECT string_agg(CASE jsonb_typeof(a.value) WHEN 'boolean' THEN replace(a.key, '_', ' ') ELSE a.value #>> '{}' END, ' . ')
               FROM jsonb_each(l.attributes) AS a
               WHERE a.value = 'true' OR jsonb_typeof(a.value) IN ('string', 'array')) END,
           CASE WHEN with_text THEN (SELECT string_agg(v.sku, ' ') FROM variants v WHERE v.listing_id = l.id AND v.sku IS NOT NULL) END
    FROM unnest(ids) AS i(id)
    JOIN listings l ON l.id = i.id AND l.status = 'active'
    JOIN cats c ON c.id = l.category_id
    CROSS JOIN state s
    LEFT JOIN kinds k ON k.code = l.kind
$$;

DROP FUNCTION search_words_of(text, text, text, jsonb, text, text);
CREATE FUNCTION search_words_of(title text, brand text, categories text, attribute_words text, skus text, description text)
RETURNS tsvector LANGUAGE sql STABLE PARALLEL SAFE
    RETURN setweight(to_tsvector('public.store_words', search_text(title)), 'A')
        || setweight(to_tsvector('public.store_words', search_text(coalesce(brand, '') || ' ' || coalesce(categories, ''))), 'B')
        || setweight(to_tsvector('public.store_words',
                                 search_text(left(coalesce(attribute_words, ''), 4000) || ' ' || coalesce(skus, ''))), 'C')
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
            SELECT e.*, search_words_of(e.title, e.brand, e.category_names, e.attribute_words, e.skus, e.description) AS words
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
