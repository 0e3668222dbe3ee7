"""The engine room in the back office: probes, the queue, jobs that gave up."""

from litestar import Response, get, post
from litestar.params import FromQuery
from litestar.response import Redirect

from tradepost.flows.browse_tables import read_table, tables
from tradepost.flows.engine import decide_jobs, get_engine
from tradepost.flows.process_diagrams import HEIGHT, WIDTH, get_diagrams
from tradepost.web.forms import read_form
from tradepost.web.pages import go, page
from tradepost.web.typing import GivenCaller, GivenStore, HttpRequest

ENGINE = "/office/engine"


@get(ENGINE, include_in_schema=False)
async def engine_page(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Show how the engine room does."""
    return await page(request, store, caller, "office_engine", engine=await get_engine(store, caller), tab="engine")


@post(f"{ENGINE}/jobs", include_in_schema=False)
async def decide_failed(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Redirect:
    """Try failed jobs again, or forget them."""
    form = await read_form(request)
    ids = [int(text) for text in form.below("job") if text.isascii() and text.isdigit() and len(text) < 19]
    retry = form.get("action") == "retry"
    done = await decide_jobs(store, caller, ids, retry=retry)
    if not done:
        return go(request, ENGINE, say="Tick the jobs you mean first.", tone="warn")
    return go(request, ENGINE, say=f"{done} to be tried again." if retry else f"{done} forgotten.")


@get("/office/processes", include_in_schema=False)
async def processes_page(request: HttpRequest, store: GivenStore, caller: GivenCaller) -> Response[str]:
    """Show the store's processes as drawings."""
    diagrams = await get_diagrams(store, caller)
    return await page(
        request, store, caller, "office_processes", diagrams=diagrams, size=(WIDTH, HEIGHT), tab="processes"
    )


@get("/office/data", include_in_schema=False)
async def data_page(
    request: HttpRequest, store: GivenStore, caller: GivenCaller, table: FromQuery[str] = ""
) -> Response[str]:
    """Show the tables of the store, and the latest rows of one."""
    caller.check_can("manage_store")
    found = await read_table(store, caller, table) if table else None
    return await page(request, store, caller, "office_data", tables=tables(), found=found, tab="data")


engine_routes = [engine_page, decide_failed, processes_page, data_page]
