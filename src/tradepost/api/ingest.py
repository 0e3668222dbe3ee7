"""Listings of outside markets, sent by programs."""

from typing import Any
from uuid import UUID

from litestar import get, post
from litestar.enums import MediaType
from litestar.exceptions import ClientException
from litestar.params import FromPath, FromQuery
from litestar.status_codes import HTTP_200_OK

from tradepost.api.repeatable import OWN_KEY
from tradepost.flows.manage_sources import read_run, see_sources
from tradepost.flows.push_listings import PERMISSION, Receipt, receive_rows
from tradepost.sources.formats import read_csv, read_json, read_ndjson
from tradepost.sources.types import SourceHealth
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

NDJSON = ("application/x-ndjson", "application/jsonl", "application/ndjson")


@post(
    "/ingest",
    tags=["Outside markets"],
    status_code=HTTP_200_OK,
    media_type=MediaType.JSON,
    request_max_body_size=None,
    opt={OWN_KEY: True},
)
async def ingest(
    request: HttpRequest,
    store: GivenStore,
    caller: GivenCaller,
    source: FromQuery[str] = "",
    complete: FromQuery[bool] = False,
) -> Receipt:
    """Send listings of a source: a JSON array, `{"items": […]}`, NDJSON or CSV, of any length; it is read while it arrives.

    Repeating it changes nothing more: a listing is its `id` at the source. Rows that cannot be understood are in `errors`, the
    others count. With `complete` these are all the source has, and what is missing is taken off.
    """
    caller.check_scope(PERMISSION)
    caller.check_can(PERMISSION)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    chunks = request.stream()
    if kind in NDJSON:
        rows = read_ndjson(chunks)
    elif kind == "application/json":
        rows = read_json(chunks)
    elif kind == "text/csv":
        rows = read_csv(chunks)
    else:
        raise ClientException("Send application/json, application/x-ndjson or text/csv.", status_code=415)
    return await receive_rows(store, caller, source, rows, complete=complete)


@get("/sources", tags=["Outside markets"])
async def sources(store: GivenStore, caller: GivenCaller) -> tuple[SourceHealth, ...]:
    """List the outside markets with how reading them goes. For staff."""
    return tuple(await see_sources(store, caller))


@get("/sources/{code:str}/runs/{run_id:uuid}", tags=["Outside markets"])
async def run_report(store: GivenStore, caller: GivenCaller, code: FromPath[str], run_id: FromPath[UUID]) -> Receipt:
    """Return one reading of a source with the first rows it refused. For staff."""
    return await read_run(store, caller, code, run_id)


ingest_routes: list[Any] = [ingest, sources, run_report]
