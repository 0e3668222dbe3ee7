"""Sending spans to a collector with OpenTelemetry's SDK; imported only where one is named, because it needs the extra `tracing`.

Promises that spans wait in a queue that does not grow, that a collector that is away is asked every few seconds and not for each
batch, that what is lost is told by one line a minute, and that ending takes no longer than `FLUSH_S`.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from threading import Thread
from typing import Final

import structlog
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from tradepost import __version__

_log = structlog.get_logger()
FLUSH_S: Final = 2.0
TRY_S: Final = 3.0
_REST_S: Final = 5.0
_SAY_EVERY_S: Final = 60.0
_PATH: Final = "/v1/traces"


class Careful(SpanExporter):
    """Sends batches, and for a while after one that could not be sent drops them instead."""

    def __init__(self, exporter: SpanExporter, endpoint: str) -> None:
        self._exporter = exporter
        self._endpoint = endpoint
        self._rest_until = self._silent_until = float("-inf")
        self._lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send a batch, or drop it."""
        if time.monotonic() >= self._rest_until:
            if self._exporter.export(spans) is SpanExportResult.SUCCESS:
                return SpanExportResult.SUCCESS
            self._rest_until = time.monotonic() + _REST_S
        self._lost += len(spans)
        if time.monotonic() >= self._silent_until:
            _log.warning("traces.not_sent", endpoint=self._endpoint, spans=self._lost)
            self._silent_until = time.monotonic() + _SAY_EVERY_S
            self._lost = 0
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """Send no more; who is trying again stops."""
        self._exporter.shutdown()


class Sending:
    """What makes spans, queues them and sends them: everything of the SDK that a process has."""

    def __init__(self, endpoint: str, headers: Mapping[str, str], share: float, service: str, process: str) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # a line for each failure; ours is one a minute
        bare = endpoint.rstrip("/").removesuffix(_PATH)
        self._exporter: SpanExporter = OTLPSpanExporter(
            bare + _PATH, headers=dict(headers), timeout=TRY_S, compression=Compression.Gzip
        )
        resource = Resource.create(
            {"service.name": service, "service.version": __version__, "service.instance.id": process}
        )
        self._provider = TracerProvider(ParentBased(TraceIdRatioBased(share)), resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(Careful(self._exporter, bare)))
        self.tracer = self._provider.get_tracer("tradepost", __version__)

    def close(self) -> None:
        """Send what is left; what takes longer than `FLUSH_S` is lost."""
        ending = Thread(target=self._provider.shutdown, name="traces-end", daemon=True)
        ending.start()
        ending.join(FLUSH_S)
        if ending.is_alive():
            self._exporter.shutdown()
