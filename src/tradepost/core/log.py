"""What happened, one line each, for people or for machines; never with a secret in it.

Owns how every logger of the process writes, those of libraries included, and the id that ties the lines of one request
together. Promises that values under keys that sound like secrets, and passwords in URLs, do not reach the log.
"""

import logging
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any, Final, TextIO

import structlog
from structlog.contextvars import bound_contextvars, get_contextvars, merge_contextvars
from structlog.typing import EventDict, Processor

from tradepost.core.ids import uuid7
from tradepost.core.settings import LogSettings

HIDDEN: Final = "[hidden]"
_SECRET_KEY: Final = re.compile(
    r"passw|passphrase|secret|token|authorization|cookie|credential|api_?key|private_?key|session_?(id|hash)|card_?number|cvc|cvv|\botp\b",
    re.IGNORECASE,
)
_PASSWORD_IN_URL: Final = re.compile(r"(?<=://)([^/\s:@]*):[^/\s@]+@")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TOO_DEEP: Final = 6


def configure_logging(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Have every logger of this process write to `stream` (standard error unless given) as the settings say.

    Repeating it replaces the former configuration. Raises ValueError for a level or format that does not exist.
    """
    level = logging.getLevelNamesMapping().get(settings.level.upper())
    if level is None or settings.format not in {"json", "console"}:
        raise ValueError(f"no such log level or format: {settings.level}, {settings.format}")
    target = stream or sys.stderr
    shared: list[Processor] = [
        merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_rendering(settings.format, target),
            ],
        )
    )
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(max(level, logging.INFO))  # libraries' debugging is for their authors
    logging.getLogger("tradepost").setLevel(level)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs whole URLs, and with them what they carry
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=lambda *_: logging.getLogger("tradepost"),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _rendering(form: str, target: TextIO) -> list[Processor]:
    if form == "json":
        return [structlog.processors.format_exc_info, hide_secrets, structlog.processors.JSONRenderer()]
    return [
        structlog.processors.format_exc_info,
        hide_secrets,
        structlog.dev.ConsoleRenderer(colors=target.isatty(), exception_formatter=structlog.dev.plain_traceback),
    ]


def hide_secrets(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """Replace what must not be logged: values of secret-sounding keys at any depth, passwords within URLs."""
    return _without_secrets(event, 0)  # type: ignore[no-any-return]  # a dict in, a dict out


def _without_secrets(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _PASSWORD_IN_URL.sub(rf"\1:{HIDDEN}@", value) if "://" in value else value
    if depth > _TOO_DEEP:
        return "…"
    if isinstance(value, MutableMapping | Mapping):
        return {k: HIDDEN if _SECRET_KEY.search(str(k)) else _without_secrets(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_without_secrets(item, depth + 1) for item in value]
    return value


@contextmanager
def request_context(given: str | None = None) -> Iterator[str]:
    """Tie together what is logged within the block, and return the id: `given` where it is a decent one, else a new one."""
    request_id = given if given and _REQUEST_ID.fullmatch(given) else uuid7().hex
    with bound_contextvars(request_id=request_id):
        yield request_id


def current_request_id() -> str | None:
    """Return the id of the request that this code runs for."""
    return get_contextvars().get("request_id")
