"""Geo: the right metres everywhere on the sphere, and an index behind every question."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from tests.conftest import Servers
from tradepost.core.database import SYSTEM, Database, Transaction

HARARE, BULAWAYO, MUTARE = (-17.8294, 31.0539), (-20.1325, 28.6265), (-18.9707, 32.6709)
BERLIN, TOKYO, NEW_YORK, SYDNEY = (52.52, 13.405), (35.6895, 139.6917), (40.7128, -74.006), (-33.8688, 151.2093)
SUVA, APIA = (-18.1416, 178.4419), (-13.8333, -171.7667)
RADIUS_M = 6371008.7714
HALF_WAY_ROUND_M = 3.141592653589793 * RADIUS_M

DISTANCE = text("SELECT geo_distance_m(geo_point(:lat, :lon), :to_lat, :to_lon)")
WITHIN = text("SELECT geo_within(geo_point(:lat, :lon), :to_lat, :to_lon, :radius)")
ORDER = text("SELECT geo_order(geo_point(:lat, :lon), :to_lat, :to_lon)")
BACK = text("SELECT geo_lat(p), geo_lon(p) FROM (SELECT geo_point(:lat, :lon) AS p) AS made")
# Lists in, lists out: hundreds of examples in a few statements.
DISTANCES = text("""
    SELECT geo_distance_m(geo_point(a.lat, a.lon), a.to_lat, a.to_lon)
    FROM unnest(CAST(:lats AS float8[]), CAST(:lons AS float8[]), CAST(:to_lats AS float8[]), CAST(:to_lons AS float8[]))
         WITH ORDINALITY AS a(lat, lon, to_lat, to_lon, n) ORDER BY a.n
""")

Point = tuple[float, float]
latitudes = st.floats(-90, 90, allow_nan=False, allow_subnormal=False)
longitudes = st.floats(-180, 180, allow_nan=False, allow_subnormal=False)
points = st.tuples(latitudes, longitudes)
with_a_database = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest_asyncio.fixture(scope="module")
async def database_name(servers: Servers, migrated: str) -> AsyncIterator[str]:
    """Share one database with 20,000 places on a grid around Harare among these tests."""
    name = await servers.clone(migrated)
    owner = await Database.open(servers.dsn(name, "postgres"), size=1)
    async with owner.transaction(actor=SYSTEM) as tx:
        await tx.run(
            text("""
                INSERT INTO places (country, region, district, name, location)
                SELECT 'ZW', 'Grid', x::text, y::text, geo_point(-17.8294 + (y - 50) * 0.02, 31.0539 + (x - 100) * 0.02)
                FROM generate_series(1, 200) AS x, generate_series(1, 100) AS y
            """)
        )
        await tx.run(text("ANALYZE places"))
    await owner.close()
    yield name
    await servers.drop(name)


@pytest_asyncio.fixture
async def tx(db: Database) -> AsyncIterator[Transaction]:
    async with db.transaction(actor=SYSTEM, read_only=True) as opened:
        yield opened


async def metres(tx: Transaction, one: Point, other: Point) -> float:
    return float(await tx.value(DISTANCE, lat=one[0], lon=one[1], to_lat=other[0], to_lon=other[1]))


async def is_within(tx: Transaction, one: Point, other: Point, radius: float) -> bool:
    found: bool = await tx.value(WITHIN, lat=one[0], lon=one[1], to_lat=other[0], to_lon=other[1], radius=radius)
    return found


# Great-circle distances on the mean sphere, from the haversine formula with R = 6371.0088 km.
@pytest.mark.parametrize(
    ("one", "other", "kilometres"),
    [
        (HARARE, BULAWAYO, 361.5),
        (HARARE, MUTARE, 212.6),
        (BERLIN, TOKYO, 8916.1),
        (BERLIN, NEW_YORK, 6385.0),
        (NEW_YORK, SYDNEY, 15988.8),
        (SUVA, APIA, 1150.7),
    ],
)
async def test_the_distance_between_cities_is_what_maps_say(
    tx: Transaction, one: Point, other: Point, kilometres: float
) -> None:
    assert await metres(tx, one, other) / 1000 == pytest.approx(kilometres, rel=2e-4)
    assert await metres(tx, other, one) == pytest.approx(await metres(tx, one, other))


async def test_a_degree_of_latitude_is_the_same_everywhere(tx: Transaction) -> None:
    degree = HALF_WAY_ROUND_M / 180
    for lat, lon in ((0.0, 0.0), (59.0, 10.0), (-90.0, 0.0), (89.0, -120.0)):
        assert await metres(tx, (lat, lon), (lat + 1, lon)) == pytest.approx(degree, rel=1e-6)


async def test_metres_are_right_next_door(tx: Transaction) -> None:
    metre = 180 / HALF_WAY_ROUND_M
    assert await metres(tx, HARARE, (HARARE[0] + metre, HARARE[1])) == pytest.approx(1, rel=1e-3)
    assert await metres(tx, HARARE, HARARE) == pytest.approx(0, abs=1e-3)


async def test_the_date_line_is_no_border(tx: Transaction) -> None:
    west, east = (-18.0, 179.99), (-18.0, -179.99)
    assert await metres(tx, west, east) == pytest.approx(2115, abs=10)
    assert await metres(tx, (0.0, 180.0), (0.0, -180.0)) == pytest.approx(0, abs=0.01)
    assert await is_within(tx, west, east, 2200)
    assert not await is_within(tx, west, east, 2000)


async def test_at_a_pole_every_longitude_is_the_same_place(tx: Transaction) -> None:
    for pole in (90.0, -90.0):
        assert await metres(tx, (pole, 0.0), (pole, 137.0)) == pytest.approx(0, abs=0.01)
        assert await is_within(tx, (pole, -40.0), (pole, 90.0), 1)
    assert await metres(tx, (90.0, 0.0), (-90.0, 0.0)) == pytest.approx(HALF_WAY_ROUND_M, rel=1e-6)


@pytest.mark.parametrize(
    "point", [HARARE, SYDNEY, (0.0, 0.0), (90.0, 0.0), (-90.0, 0.0), (12.5, -180.0), (12.5, 179.5)]
)
async def test_a_point_gives_back_its_latitude_and_longitude(tx: Transaction, point: Point) -> None:
    lat, lon = await tx.one(BACK, lat=point[0], lon=point[1])
    assert lat == pytest.approx(point[0], abs=1e-9)
    if abs(point[0]) < 90:
        assert (lon - point[1] + 180) % 360 - 180 == pytest.approx(0, abs=1e-9)


@with_a_database
@given(st.lists(st.tuples(points, points), min_size=1, max_size=40))
@example([((0.0, 0.0), (0.0, 180.0)), ((90.0, 0.0), (-90.0, 0.0)), ((0.0, -180.0), (0.0, 180.0))])
async def test_distances_are_the_same_both_ways_and_never_more_than_half_way_round(
    tx: Transaction, pairs: list[tuple[Point, Point]]
) -> None:
    def columns(there: int, back: int) -> dict[str, Any]:
        return {
            "lats": [p[there][0] for p in pairs],
            "lons": [p[there][1] for p in pairs],
            "to_lats": [p[back][0] for p in pairs],
            "to_lons": [p[back][1] for p in pairs],
        }

    forth = await tx.values(DISTANCES, **columns(0, 1))
    back = await tx.values(DISTANCES, **columns(1, 0))
    assert forth == pytest.approx(back, abs=1)
    assert all(0 <= distance <= HALF_WAY_ROUND_M + 1 for distance in forth)


@with_a_database
@given(points, points, st.floats(0, 2 * HALF_WAY_ROUND_M, allow_subnormal=False))
@example((0.0, 0.0), (0.0, 180.0), 20_015_200.0)
@example((10.0, 10.0), (10.0, 10.0), 0.0)
@example((10.0, 10.0), (-10.0, 190.0), 20_014_000.0)
async def test_within_says_what_the_distance_says(tx: Transaction, one: Point, other: Point, radius: float) -> None:
    distance = await metres(tx, one, other)
    if abs(distance - radius) > 1:
        assert await is_within(tx, one, other, radius) == (distance <= radius)


@with_a_database
@given(points, points, points)
async def test_the_order_is_that_of_the_distances(tx: Transaction, here: Point, one: Point, other: Point) -> None:
    near, far = sorted([one, other], key=lambda p: p)
    distances = [await metres(tx, p, here) for p in (near, far)]
    orders = [await tx.value(ORDER, lat=p[0], lon=p[1], to_lat=here[0], to_lon=here[1]) for p in (near, far)]
    if abs(distances[0] - distances[1]) > 100:
        assert (distances[0] < distances[1]) == (orders[0] < orders[1])


async def test_a_negative_radius_holds_nothing(tx: Transaction) -> None:
    assert not await is_within(tx, HARARE, HARARE, -1000)


async def test_from_nowhere_there_is_no_distance(tx: Transaction) -> None:
    assert await tx.value(text("SELECT geo_distance_m(NULL, 1, 2)")) is None
    assert await tx.value(text("SELECT geo_distance_m(geo_point(1, 2), NULL, 2)")) is None
    assert await tx.value(text("SELECT geo_lat(NULL)")) is None
    assert not await tx.value(text("SELECT geo_within(NULL, 1, 2, 1000)"))


async def plan(tx: Transaction, sql: str) -> str:
    return "\n".join(row[0] for row in await tx.all(text(f"EXPLAIN (COSTS OFF) {sql}")))


WITHIN_10_KM = "SELECT id FROM places WHERE geo_within(location, {lat}, {lon}, {radius})"
NEAREST_20 = "SELECT id FROM places ORDER BY geo_order(location, {lat}, {lon}) LIMIT 20"
LITERALS = {"lat": -17.8, "lon": 31.0, "radius": 10000}


async def test_a_radius_is_looked_up_in_the_index(tx: Transaction) -> None:
    assert re.search(
        r"Index (Only )?Scan (using|on) ix_places_location", await plan(tx, WITHIN_10_KM.format(**LITERALS))
    )


async def test_the_nearest_come_out_of_the_index_in_order(tx: Transaction) -> None:
    found = await plan(tx, NEAREST_20.format(**LITERALS))
    assert "Index Scan using ix_places_location" in found
    assert "Order By: " in found
    assert "Sort" not in found


async def test_prepared_statements_keep_the_index(tx: Transaction) -> None:
    parameters = {"lat": "$1", "lon": "$2", "radius": "$3"}
    await tx.run(text("SET LOCAL plan_cache_mode = force_generic_plan"))
    await tx.run(text(f"PREPARE radius(float8, float8, float8) AS {WITHIN_10_KM.format(**parameters)}"))
    await tx.run(text(f"PREPARE nearest(float8, float8) AS {NEAREST_20.format(**parameters)}"))
    assert "ix_places_location" in await plan(tx, "EXECUTE radius(-17.8, 31.0, 10000)")
    nearest = await plan(tx, "EXECUTE nearest(-17.8, 31.0)")
    assert "Index Scan using ix_places_location" in nearest
    assert "Sort" not in nearest
    await tx.run(text("DEALLOCATE ALL"))


async def test_the_index_finds_what_a_full_scan_finds(tx: Transaction) -> None:
    here = {"lat": -17.31, "lon": 31.55}
    count = text("SELECT count(*) FROM places WHERE geo_within(location, :lat, :lon, :radius)")
    by_hand = text("SELECT count(*) FROM places WHERE geo_distance_m(location, :lat, :lon) <= :radius")
    nearest = text("SELECT district, name FROM places ORDER BY geo_order(location, :lat, :lon), id LIMIT 30")
    sorted_out = text("SELECT district, name FROM places ORDER BY geo_distance_m(location, :lat, :lon), id LIMIT 30")
    for radius in (10.0, 1_500.0, 10_000.0, 80_000.0):
        found = await tx.value(count, **here, radius=radius)
        assert found == await tx.value(by_hand, **here, radius=radius)
    assert found > 1000
    assert {tuple(r) for r in await tx.all(nearest, **here)} == {tuple(r) for r in await tx.all(sorted_out, **here)}
