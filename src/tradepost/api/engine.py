"""How a store's database does, for programs that watch over it."""

from litestar import get

from tradepost.flows.engine import DatabaseHealth, get_database_health
from tradepost.web.typing import GivenCaller, GivenStore


@get("/engine/health", tags=["Operations"])
async def engine_health(store: GivenStore, caller: GivenCaller) -> DatabaseHealth:
    """Tell how the database does: sizes, rows, indexes, slow statements without values, replicas, maintenance, advice. For staff."""
    return await get_database_health(store, caller)


engine_api_routes = [engine_health]
