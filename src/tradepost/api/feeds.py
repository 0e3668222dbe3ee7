"""Feeds and neighbours, for programs."""

from typing import Annotated, Any

from litestar import get
from litestar.params import FromPath, QueryParameter

from tradepost.accounts.queries import PersonNear
from tradepost.catalog.feeds import FeedPage
from tradepost.core.errors import FieldErrors
from tradepost.flows import feeds
from tradepost.web.typing import GivenCaller, GivenStore

Cursor = Annotated[str | None, QueryParameter(max_length=400, description="`after` of the page before.")]
Limit = Annotated[int, QueryParameter(ge=1, le=100, description="How many rows.")]
Lat = Annotated[float | None, QueryParameter(ge=-90, le=90, description="Degrees north; with `lon`.")]
Lon = Annotated[float | None, QueryParameter(ge=-180, le=180, description="Degrees east; with `lat`.")]
Radius = Annotated[int, QueryParameter(ge=500, le=200_000, description="Metres.")]


def _near(lat: float | None, lon: float | None) -> tuple[float, float] | None:
    if (lat is None) != (lon is None):
        raise FieldErrors({"lat" if lat is None else "lon": "A position takes both, latitude and longitude."})
    return None if lat is None or lon is None else (lat, lon)


@get("/feeds/{feed:str}", tags=["Feeds"])
async def feed(
    store: GivenStore,
    caller: GivenCaller,
    feed: FromPath[str],
    lat: Lat = None,
    lon: Lon = None,
    after: Cursor = None,
    limit: Limit = 24,
) -> FeedPage:
    """Return a page of a feed with the reason why each listing is there. A page may be short while `after` goes on."""
    return await feeds.read_feed(store, caller, feed, near=_near(lat, lon), after=after, limit=limit)


@get("/people-near", tags=["Feeds"])
async def people_near(
    store: GivenStore,
    caller: GivenCaller,
    lat: Annotated[float, QueryParameter(ge=-90, le=90)],
    lon: Annotated[float, QueryParameter(ge=-180, le=180)],
    radius_m: Radius = 25_000,
    limit: Limit = 24,
) -> list[PersonNear]:
    """List people near a position who have something on offer, the nearest first; distances are rough on purpose."""
    return await feeds.people_near(store, caller, (lat, lon), radius_m=radius_m, limit=limit) or []


feed_routes: list[Any] = [feed, people_near]
