"""Rounds as pure geometry: which rider takes which stops, and in which order they are ridden."""

import math
from collections.abc import Sequence
from typing import TypeVar
from uuid import UUID

import msgspec

Point = tuple[float, float]
_EARTH_M = 6_371_008.8
K = TypeVar("K")


class Stop(msgspec.Struct, frozen=True):
    """Somewhere to go; `at` is (latitude, longitude), None where nobody knows. `words` breaks ties: the postcode and the street."""

    key: tuple[UUID, UUID]
    at: Point | None
    words: str


def metres(a: Point, b: Point) -> float:
    """Return the distance over ground between two positions in degrees."""
    (lat1, lon1), (lat2, lon2) = (map(math.radians, point) for point in (a, b))
    h = math.sin((lat2 - lat1) / 2) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin((lon2 - lon1) / 2) ** 2
    return 2 * _EARTH_M * math.asin(min(1.0, math.sqrt(h)))


def route(start: Point | None, stops: Sequence[Stop]) -> list[Stop]:
    """Return stops in the order to ride them: always to the nearest next one, neighbours by postcode and street."""
    left, here, ordered = sorted(stops, key=lambda s: s.words), start, []
    while left:
        following = min(left, key=lambda s: (_far(here, s.at), s.words))
        left.remove(following)
        ordered.append(following)
        here = following.at or here
    return ordered


def _far(here: Point | None, there: Point | None) -> float:
    if there is None:
        return math.inf
    return 0.0 if here is None else round(metres(here, there))


def share(start: Point | None, stops: Sequence[Stop], riders: Sequence[K], most: int) -> dict[K, list[Stop]]:
    """Return who rides where: as few riders as can carry `most` stops each, every one in a direction of their own.

    Riders come in the order in which they are to be asked, the least busy first. With too few riders everybody carries more.
    """
    if not riders or not stops:
        return {}
    count = min(len(riders), math.ceil(len(stops) / most))
    around = sorted(stops, key=lambda s: (_direction(start, s.at), s.words))
    size = math.ceil(len(around) / count)
    return {
        rider: route(start, around[n * size : (n + 1) * size])
        for n, rider in enumerate(riders[:count])
        if around[n * size : (n + 1) * size]
    }


def _direction(start: Point | None, there: Point | None) -> float:
    if start is None or there is None or start == there:
        return math.inf
    east = (there[1] - start[1]) * math.cos(math.radians(start[0]))
    return math.atan2(there[0] - start[0], east)
