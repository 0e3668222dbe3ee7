"""The web application: one Litestar app for all stores of the process, behind the host-name router."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from litestar import Litestar, Response
from litestar.di import Provide
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin

from tradepost import __version__
from tradepost.api.errors import problem
from tradepost.api.routes import api_routes
from tradepost.core.tracing import Recorder
from tradepost.flows.store import Store
from tradepost.web.context import provide_caller, provide_store
from tradepost.web.errors import error_page
from tradepost.web.hosting import Hosting
from tradepost.web.metrics import Watch
from tradepost.web.proxies import Networks
from tradepost.web.routes import page_routes
from tradepost.web.typing import HttpRequest

LARGEST_BODY = 16 * 1024 * 1024
MOST_PARTS = 4_000  # a listing of 200 variants has some 2,700 fields


def create_app(
    stores: Mapping[str, Store],
    *,
    domain: str = "localhost",
    secure: bool = False,
    proxies: Networks = (),
    show_costs: bool = False,
    compress: bool = True,
    watch: Watch | None = None,
    recorder: Recorder | None = None,
) -> Hosting:
    """Return the ASGI application for these stores, keyed by code."""
    return Hosting(
        _handlers(), stores, domain=domain, secure=secure, proxies=proxies, show_costs=show_costs, compress=compress, watch=watch,
        recorder=recorder,
    )  # fmt: skip


@cache
def _handlers() -> Litestar:
    """Return the one Litestar application of the process: the store comes with each request."""
    handlers: list[Any] = [*page_routes, *api_routes]
    return Litestar(
        route_handlers=handlers,
        dependencies={"store": Provide(provide_store, sync_to_thread=False), "caller": Provide(provide_caller)},
        exception_handlers={Exception: _answer_error},
        openapi_config=OpenAPIConfig(
            title="Tradepost",
            version=__version__,
            path="/api/schema",
            render_plugins=[JsonRenderPlugin()],
            description="Every request that changes something may carry an `Idempotency-Key`: repeated with the same key and "
            "body within a day, it does nothing again and gets the same reply.",
        ),
        request_max_body_size=LARGEST_BODY,
        multipart_form_part_limit=MOST_PARTS,
        signature_namespace={"Store": Store},
        logging_config=None,  # ours stays: Litestar’s own would write without tracebacks and with secrets
        debug=False,
    )


def _answer_error(request: HttpRequest, error: Exception) -> Response[Any]:
    return problem(request, error) if request.url.path.startswith("/api/") else error_page(request, error)
