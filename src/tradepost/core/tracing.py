"""Traces of requests, statements and jobs for an OpenTelemetry collector; where the settings name none, nothing of it is imported.

Owns what is said in a span. Promises that no span holds a value of a row, an address somebody asked for, or anything else of a
person; that statements have spans only within a request or a job that is traced, and only so many; and that a collector that is away
costs nothing but spans: they are dropped, and one line a minute says so. Sending is done by a thread of its own.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import structlog

from tradepost.core.errors import Invalid
from tradepost.core.settings import TracingSettings

if TYPE_CHECKING:  # the packages of the extra `tracing`, which need not be there
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Tracer

TRACE_HEADERS: Final = frozenset({b"traceparent", b"tracestate"})
MOST_STATEMENTS: Final = 500
NOT_INSTALLED: Final = (
    "tracing.endpoint is set, but the packages that make traces are not installed: "
    'run tools/bootstrap.sh tracing, or pip install "tradepost[tracing]"'
)
_log = structlog.get_logger()
_CHANGE: Final = re.compile(r"\s*(INSERT)\s+INTO\s+(\w+)|\s*(UPDATE)\s+(\w+)|\s*(DELETE)\s+FROM\s+(\w+)")
_STEPS: Final = re.compile(r"\s*(WITH)\s+(?:RECURSIVE\s+)?(\w+)")
_SELECT: Final = re.compile(r"\s*(SELECT)\b.*?\bFROM\s+([a-z_]\w*)\b(?!\s*\()", re.DOTALL)
_FIRST: Final = re.compile(r"\s*(\w+)")


@dataclass(eq=False)
class BadTracing(Invalid):
    """[tracing] {key} is not right: {problem}"""

    key: str
    problem: str


def check_tracing(settings: TracingSettings) -> None:
    """Raise `BadTracing` where the settings cannot be meant."""
    if not settings.endpoint:
        return
    try:
        place = urlsplit(settings.endpoint)
        is_address = place.scheme in {"http", "https"} and bool(place.hostname) and place.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        raise BadTracing("endpoint", "an address such as http://127.0.0.1:4318 is wanted")
    headers_of(settings)


def is_installed() -> bool:
    """Whether the packages of the extra `tracing` are there."""
    try:
        return all(find_spec(f"opentelemetry.{name}") for name in ("sdk.trace", "exporter.otlp.proto.http"))
    except ModuleNotFoundError:
        return False


def headers_of(settings: TracingSettings) -> dict[str, str]:
    """Return the headers that are sent along. Raises `BadTracing`, which names none of them: they are secrets."""
    found = {}
    for number, header in enumerate(settings.headers, 1):
        name, mark, value = header.partition("=")
        if not mark or not re.fullmatch(r"[A-Za-z0-9-]+", name.strip()):
            raise BadTracing("headers", f"number {number} is not name=value")
        found[name.strip()] = value.strip()
    return found


@lru_cache(maxsize=2000)
def named(sql: str) -> tuple[str, str]:
    """Return what a statement does and with which table, or the name of its first step; never anything that may be a value."""
    found = _STEPS.match(sql) or _CHANGE.match(sql) or _SELECT.match(sql)
    if found is not None:
        verb, thing = [part for part in found.groups() if part]
        return verb, thing
    first = _FIRST.match(sql)
    return (first[1].upper() if first else "statement"), ""


class Work:
    """A request or a job that is traced: its span, and how many of its statements have had one."""

    __slots__ = ("context", "span", "statements")

    def __init__(self, span: "Span", context: "Context") -> None:
        self.span = span
        self.context = context
        self.statements = 0


_work: ContextVar[Work | None] = ContextVar("traced_work", default=None)


class Recorder:
    """Makes the spans of a process; `close` sends what is left, for a moment at most."""

    def __init__(self, tracer: "Tracer", sending: Any) -> None:
        from opentelemetry import trace
        from opentelemetry.context import Context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracer = tracer
        self._sending = sending
        self._api = trace
        self._nothing = Context()
        self._format = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, method: str, parent: Mapping[str, str]) -> Iterator["Span"]:
        """Trace a request within the block, in the trace that the headers `parent` name."""
        with self._working(method, parent, self._api.SpanKind.SERVER, {}) as span:
            yield span

    @contextmanager
    def job(self, name: str, number: int, parent: Mapping[str, Any]) -> Iterator["Span"]:
        """Trace a try of a job within the block, in the trace of what enqueued it."""
        attributes = {
            "messaging.system": "pgqueuer",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": name,
            "messaging.message.id": str(number),
        }
        with self._working(f"process {name}", parent, self._api.SpanKind.CONSUMER, attributes) as span:
            yield span

    @contextmanager
    def _working(
        self, name: str, parent: Mapping[str, Any], kind: Any, attributes: Mapping[str, str]
    ) -> Iterator["Span"]:
        context = self._format.extract(parent, self._nothing) if parent else self._nothing
        span = self._tracer.start_span(name, context=context, kind=kind, attributes=attributes)
        work = Work(span, self._api.set_span_in_context(span, self._nothing)) if span.is_recording() else None
        token = _work.set(work)
        try:
            yield span
        except BaseException as error:
            fail(span, type(error).__name__)
            raise
        finally:
            _work.reset(token)
            if work is not None and work.statements > MOST_STATEMENTS:
                span.set_attribute("tradepost.statements_left_out", work.statements - MOST_STATEMENTS)
            span.end()

    def statement(self, sql: str, store: str) -> "Span | None":
        """Begin the span of a statement, where a request or a job that is traced sends it."""
        work = _work.get()
        if work is None or not work.span.is_recording():
            return None
        work.statements += 1
        if work.statements > MOST_STATEMENTS:
            return None
        verb, thing = named(sql)
        attributes = {"db.system.name": "postgresql", "db.namespace": store, "db.operation.name": verb}
        if thing and verb != "WITH":
            attributes["db.collection.name"] = thing
        return self._tracer.start_span(
            f"{verb} {thing}".rstrip(), context=work.context, kind=self._api.SpanKind.CLIENT, attributes=attributes
        )

    def carried(self) -> dict[str, str] | None:
        """Return what tells a job whose trace it belongs to, or None where nothing is traced."""
        work = _work.get()
        if work is None:
            return None
        told: dict[str, str] = {}
        self._format.inject(told, work.context)
        return told

    def close(self) -> None:
        """Send what is left, for a moment at most; blocks."""
        self._sending.close()


def tell_request(
    span: "Span", method: str, route: str, status: int, *, scheme: str, store: str, request_id: str
) -> None:
    """Say of a request what it was, by its route's template: the address itself may name a person."""
    said: dict[str, str | int] = {"http.request.method": method, "url.scheme": scheme, "tradepost.store": store}
    said["tradepost.request_id"] = request_id
    if route:
        span.update_name(f"{'HTTP' if method == '_OTHER' else method} {route}")
        said["http.route"] = route
    if status:
        said["http.response.status_code"] = status
    span.set_attributes(said)
    if status >= 500:
        fail(span, str(status))


def fail(span: "Span", kind: str) -> None:
    """Mark a span as failed, by the sort of error alone: what an error says may quote what somebody wrote."""
    from opentelemetry.trace import Status, StatusCode

    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))


def end(span: "Span", failure: str) -> None:
    """End the span of a statement, which failed where `failure` names an error."""
    if failure:
        fail(span, failure)
    span.end()


@asynccontextmanager
async def recording(settings: TracingSettings, role: str) -> AsyncIterator[Recorder | None]:
    """Make traces for the length of the block where the settings name a collector. Raises `BadTracing`.

    A store goes on without traces where the packages are not installed; the log and `tradepost doctor` say so.
    """
    check_tracing(settings)
    if settings.endpoint and not is_installed():
        _log.error("traces.not_made", reason=NOT_INSTALLED)
    if not settings.endpoint or not is_installed():
        yield None
        return
    from tradepost.core.trace_sending import Sending

    sending = Sending(
        settings.endpoint, headers_of(settings), settings.share, settings.service, f"{role}-{os.getpid()}"
    )
    try:
        yield Recorder(sending.tracer, sending)
    finally:
        await asyncio.to_thread(sending.close)
