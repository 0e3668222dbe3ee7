-- Functions that the tables of the foundation need: keys, geo, the transaction's actor.

DO $$
BEGIN
    -- PostgreSQL 18 has uuidv7() in core; before, one of the same name and meaning (RFC 9562, section 6.2, method 3): milliseconds and
    -- 12 bits of their fraction, so that rows of one statement sort in the order they were made.
    IF to_regprocedure('pg_catalog.uuidv7()') IS NULL THEN
        CREATE FUNCTION public.uuidv7() RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $f$
            SELECT (substring(overlay(encode(int8send((extract(epoch FROM clock_timestamp()) * 4096000)::bigint), 'hex')
                                      PLACING '7' FROM 14 FOR 0) FROM 2)
                    || substring(encode(uuid_send(gen_random_uuid()), 'hex') FROM 17))::uuid
        $f$;
    END IF;
END $$;

CREATE FUNCTION app_user_id() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(current_setting('app.user_id', true), '')::uuid;
CREATE FUNCTION app_session() RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE
    RETURN decode(nullif(current_setting('app.session', true), ''), 'hex');
CREATE FUNCTION app_sees_all() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(current_setting('app.role', true), '') IN ('staff', 'system');

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'postgis') THEN
        CREATE DOMAIN geo_point AS geography(Point, 4326);
        CREATE FUNCTION geo_point(lat float8, lon float8) RETURNS geo_point LANGUAGE sql IMMUTABLE PARALLEL SAFE
            RETURN st_setsrid(st_makepoint(lon, lat), 4326)::geography::geo_point;
        CREATE FUNCTION geo_lat(loc geo_point) RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE
            RETURN st_y(loc::geometry);
        CREATE FUNCTION geo_lon(loc geo_point) RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE
            RETURN st_x(loc::geometry);
        CREATE FUNCTION geo_distance_m(loc geo_point, lat float8, lon float8) RETURNS float8
            LANGUAGE sql IMMUTABLE PARALLEL SAFE
            RETURN st_distance(loc::geography, st_setsrid(st_makepoint(lon, lat), 4326)::geography, false);
        CREATE FUNCTION geo_within(loc geo_point, lat float8, lon float8, radius_m float8) RETURNS boolean
            LANGUAGE sql IMMUTABLE PARALLEL SAFE
            RETURN st_dwithin(loc::geography, st_setsrid(st_makepoint(lon, lat), 4326)::geography, radius_m, false);
        CREATE FUNCTION geo_order(loc geo_point, lat float8, lon float8) RETURNS float8
            LANGUAGE sql IMMUTABLE PARALLEL SAFE
            RETURN loc::geography <-> st_setsrid(st_makepoint(lon, lat), 4326)::geography;
    ELSE
        -- A point on the sphere of PostGIS' mean radius (6,371,008.77 m), so that both engines give the same metres.
        CREATE DOMAIN geo_point AS cube CHECK (cube_is_point(VALUE) AND cube_dim(VALUE) = 3);
        CREATE FUNCTION geo_point(lat float8, lon float8) RETURNS geo_point LANGUAGE sql IMMUTABLE PARALLEL SAFE
            RETURN cube(cube(cube(
                6371008.7714 * cos(radians(lat)) * cos(radians(lon))),
                6371008.7714 * cos(radians(lat)) * sin(radians(lon))),
                6371008.7714 * sin(radians(lat)))::geo_point;
        CREATE FUNCTION geo_lat(loc geo_point) RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE
            -- greatest() and least() pass over a null, so that is asked for first.
            RETURN CASE WHEN loc IS NOT NULL
                THEN degrees(asin(greatest(-1.0, least(1.0, cube_ll_coord(loc::cube, 3) / 6371008.7714)))) END;
        CREATE FUNCTION geo_lon(loc geo_point) RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE
            RETURN degrees(atan2(cube_ll_coord(loc::cube, 2), cube_ll_coord(loc::cube, 1)));
        CREATE FUNCTION geo_distance_m(loc geo_point, lat float8, lon float8) RETURNS float8
            LANGUAGE sql IMMUTABLE PARALLEL SAFE
            -- least() passes over a null, so that is asked for first.
            RETURN CASE WHEN loc IS NOT NULL AND lat IS NOT NULL AND lon IS NOT NULL THEN 2 * 6371008.7714 * asin(least(1.0,
                cube_distance(loc::cube, geo_point(lat, lon)::cube) / (2 * 6371008.7714))) END;
        CREATE FUNCTION geo_within(loc geo_point, lat float8, lon float8, radius_m float8) RETURNS boolean
            LANGUAGE sql IMMUTABLE PARALLEL SAFE
            -- The chord of the radius; half the sphere away, 20,015,114 m, it is the diameter.
            RETURN loc::cube <@ cube_enlarge(geo_point(lat, lon)::cube, CASE WHEN radius_m >= 20015114
                        THEN 2 * 6371008.7714 ELSE 2 * 6371008.7714 * sin(radius_m / (2 * 6371008.7714)) END, 3)
                AND cube_distance(loc::cube, geo_point(lat, lon)::cube) <= CASE WHEN radius_m >= 20015114
                        THEN 2 * 6371008.7714 ELSE 2 * 6371008.7714 * sin(radius_m / (2 * 6371008.7714)) END;
        CREATE FUNCTION geo_order(loc geo_point, lat float8, lon float8) RETURNS float8
            LANGUAGE sql IMMUTABLE PARALLEL SAFE
            RETURN loc::cube <-> geo_point(lat, lon)::cube;
    END IF;
END $$;

CREATE FUNCTION ensure_month_partitions(parent regclass, months integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first date;
    part text;
BEGIN
    FOR n IN 0..months LOOP
        first := (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => n))::date;
        part := format('%s_p%s', parent::text, to_char(first, 'YYYYMM'));
        IF to_regclass(part) IS NULL THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF %s FOR VALUES FROM (%L) TO (%L)',
                           part, parent, first::text || ' 00:00+00', (first + interval '1 month')::date::text || ' 00:00+00');
        END IF;
    END LOOP;
END $$;
