"""The outermost layer: chooses the store by host name, adds headers, compresses, counts queries, writes the access
log.

Plain ASGI, because it runs for every request and must cost next to nothing.
"""

import re
import time
from collections.abc import Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any

import structlog

from tradepost.core import metrics
from tradepost.core.database import count_queries
from tradepost.core.ids import readable_code
from tradepost.core.limits import WINDOW_S, Counted, noting, tightest
from tradepost.core.replicas import Reading
from tradepost.core.tracing import TRACE_HEADERS, Recorder, tell_request
from tradepost.flows.store import Store
from tradepost.web.compression import Compressed, takes_gzip
from tradepost.web.lagging import position_headers, reading_of
from tradepost.web.live import LINE, EventStream, Refusal, Socket
from tradepost.web.metrics import PATH as METRICS_PATH
from tradepost.web.metrics import Watch
from tradepost.web.proxies import Networks, is_proxy, visitor_of
from tradepost.web.security import security_headers, with_video
from tradepost.web.slow_bodies import in_time

log = structlog.get_logger("tradepost.http")

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BROKEN_OFF = frozenset({409, 503})  # what ChangedMeanwhile and DatabaseUnreachable are told as
_HOST = re.compile(r"([A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(:([0-9]{1,5}))?")


def _is_host(text: str) -> bool:
    """Whether a Host header names a host, and a port that exists: addresses built from another one are errors."""
    found = _HOST.fullmatch(text)
    return found is not None and int(found[3] or 0) < 65_536


async def _refuse(scope: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    await send(
        {"type": "http.response.start", "status": 400, "headers": [(b"content-type", b"text/plain; charset=utf-8")]}
    )
    await send({"type": "http.response.body", "body": b"This is not the address of a store."})


class Hosting:
    """Serves several stores on one port: `tese.localhost` is the store `tese`, the bare domain is the index, others are nothing.

    An installation of one store serves it at whatever address people come by.
    """

    def __init__(
        self,
        app: Any,
        stores: Mapping[str, Store],
        *,
        domain: str,
        secure: bool,
        proxies: Networks = (),
        show_costs: bool = False,
        compress: bool = True,
        watch: Watch | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self.app = app
        self.stores = stores
        self.only = next(iter(stores.values())) if len(stores) == 1 else None
        self.domain = domain
        self.secure = secure
        self.proxies = proxies
        self.show_costs = show_costs
        self.compress = compress
        self.watch = watch
        self.recorder = recorder
        self.headers = {
            code: security_headers((o for g in store.gateways.values() for o in g.about.origins), secure=secure)
            for code, store in stores.items()
        }
        self.headers[""] = security_headers(secure=secure)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Handle one ASGI connection."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        host = next((v for k, v in scope["headers"] if k == b"host"), b"").decode("latin-1")
        if not _is_host(host):
            await _refuse(scope, send)
            return
        name = host.rsplit(":", 1)[0].lower()
        scope["tradepost_store"] = self._store(name)
        scope["tradepost_is_index"] = self.only is None and name == self.domain
        scope["tradepost_stores"] = self.stores
        scope["tradepost_path"] = scope["path"]  # as it was asked for: Litestar takes slashes off its end
        if self.secure:  # as people came: a proxy that ends TLS speaks plain HTTP to us
            scope["scheme"] = "wss" if scope["type"] == "websocket" else "https"
        serve: Any = self._serve if scope["type"] == "http" else self._call
        if self.recorder is not None and scope["type"] == "http":
            serve = partial(self._traced, self.recorder, self._told_by_proxy(scope))
        if self.proxies and scope.get("client"):
            scope["client"] = (visitor_of(scope["client"][0], scope["headers"], self.proxies), 0)
        if self.watch is not None and scope["path"] == METRICS_PATH and self.watch.may_see(scope):
            await self.watch.answer(self.stores, send)
            return
        line = await serve(scope, receive, send)
        if line is not None:  # what the framework asked is asked: an open line holds nothing of it
            code = scope["tradepost_store"].code if scope["tradepost_store"] else ""
            scope.clear()
            metrics.OPEN_LINES.add(code)
            try:
                await line.run(receive, send)
            finally:
                metrics.OPEN_LINES.add(code, by=-1)

    def _store(self, name: str) -> Store | None:
        if self.only:
            return self.only
        code, dot, domain = name.partition(".")
        return self.stores.get(code) if dot and domain == self.domain else None

    def _told_by_proxy(self, scope: Any) -> dict[str, str]:
        """Return the trace that a request belongs to, as a proxy of ours says; nobody else chooses what is traced, or where."""
        if not self.proxies or not scope.get("client") or not is_proxy(scope["client"][0], self.proxies):
            return {}
        return {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"] if k in TRACE_HEADERS}

    async def _traced(
        self, recorder: Recorder, parent: Mapping[str, str], scope: Any, receive: Any, send: Any
    ) -> EventStream | None:
        """Handle a request within a span."""
        status = 0

        async def noting_status(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        with recorder.request(method, parent) as span:
            try:
                return await self._serve(scope, receive, noting_status)
            finally:
                store = scope["tradepost_store"]
                tell_request(
                    span, method, scope.get("path_template") or "", status, scheme=scope["scheme"],
                    store=store.code if store else "", request_id=scope.get("request_id", ""),
                )  # fmt: skip

    async def _call(self, scope: Any, receive: Any, send: Any) -> Socket | Refusal | None:
        """Handle a WebSocket; return it to run where somebody takes the call."""
        with count_queries(), noting():
            await self.app(scope, receive, send)
        line: Socket | Refusal | None = scope.get(LINE)
        if line is not None:
            store = scope["tradepost_store"]
            log.info("call", store=store.code if store else "", path=scope["path"])
            await line.begin(receive, send)
        return line

    async def _serve(self, scope: Any, receive: Any, send: Any) -> EventStream | None:
        """Handle a request; return what is left to run of an answer that stays open."""
        if scope["tradepost_is_index"] and scope["path"] == "/":
            scope["path"], scope["raw_path"] = "/stores", b"/stores"
        started, status = time.perf_counter(), 0
        store = scope["tradepost_store"]
        code = store.code if store else ""
        request_id = readable_code(10)
        scope["request_id"] = request_id
        out = Compressed(send) if self.compress and takes_gzip(scope["headers"]) else send
        reads = reading_of(store.db, scope) if store else nullcontext()
        with count_queries() as count, noting() as counted, reads as reading:
            again = _Again(scope, receive, reading) if reading is not None else None

            async def answer(message: Any) -> None:
                nonlocal status
                if again is not None and again.takes(message):
                    return
                if message["type"] == "http.response.start":
                    status = message["status"]
                    own = {name for name, _ in message["headers"]}
                    ours = self.headers[code]
                    if "tradepost_video" in scope:
                        ours = with_video(ours, scope["tradepost_video"])
                    message["headers"] = [
                        *message["headers"],
                        *(header for header in ours if header[0] not in own),
                        (b"x-request-id", request_id.encode()),
                    ]
                    if counted:
                        message["headers"] += _limit_headers(counted, own, status)
                    if store:
                        message["headers"] += await position_headers(store.db, scope, reading, secure=self.secure)
                    if self.show_costs:
                        message["headers"].append((b"x-query-count", str(count.queries).encode()))
                await out(message)

            heard = again.receive if again is not None else receive
            await self.app(scope, heard if scope["method"] == "GET" else in_time(heard), answer)
            if again is not None and again.is_wanted:
                again.restore(scope)
                await self.app(scope, receive, answer)
            line: EventStream | None = scope.get(LINE)
            if line is not None:
                await line.begin(answer)
        seconds = time.perf_counter() - started
        route = scope.get("path_template") or "none"
        method = scope["method"]
        metrics.REQUESTS.add(code, method if method in _METHODS else "other", route, str(status))
        metrics.REQUEST_SECONDS.note(seconds, route)
        log.info(
            "request", id=request_id, store=code,
            method=method, path=scope["path"], status=status, ms=round(seconds * 1000, 1),
            queries=count.queries,
        )  # fmt: skip
        return line


class _Again:
    """A read that a replica broke off: its error is kept from whoever asked, and it is done once more, by the primary.

    Nothing is repeated that was answered in part, changed something, or has read what came with the request.
    """

    def __init__(self, scope: Any, receive: Any, reading: Reading) -> None:
        self.is_wanted = False
        self._was_asked = {**scope, "state": dict(scope.get("state") or {})}
        self._receive = receive
        self._reading = reading
        self._is_open = True

    async def receive(self) -> Any:
        """Receive for the first attempt, after which there is nothing to receive again."""
        self._is_open = False
        return await self._receive()

    def takes(self, message: Any) -> bool:
        """Whether a message of the answer is not to be sent."""
        if self._is_open and message["type"] == "http.response.start":
            self._is_open = False
            self.is_wanted = message["status"] in _BROKEN_OFF and self._reading.may_repeat
        return self.is_wanted

    def restore(self, scope: Any) -> None:
        """Make the request what it was before the first attempt, and let the second one's answer through."""
        self.is_wanted = False
        scope.clear()
        scope.update(self._was_asked)


def _limit_headers(counted: list[Counted], own: set[bytes], status: int) -> list[tuple[bytes, bytes]]:
    """Return the fields of draft-ietf-httpapi-ratelimit-headers for the tightest limit, and when to come back after a 429."""
    limit = tightest(counted)
    headers = [
        (b"ratelimit-policy", f'"{limit.name}";q={limit.most};w={WINDOW_S}'.encode()),
        (b"ratelimit", f'"{limit.name}";r={limit.left};t={limit.resets_s}'.encode()),
    ]
    if status == 429 and b"retry-after" not in own:
        headers.append((b"retry-after", str(limit.resets_s).encode()))
    return headers
