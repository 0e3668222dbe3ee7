"""What the log says, and what it keeps to itself."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from tradepost.app import _handlers
from tradepost.core.log import HIDDEN, configure_logging, current_request_id, request_context
from tradepost.core.settings import LogSettings


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    configure_logging(LogSettings(format="json"), stream)
    yield stream
    configure_logging(LogSettings())


def logged(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_says_when_how_serious_and_what(lines: io.StringIO) -> None:
    structlog.get_logger().warning("cache.down", error="timeout", tries=3)
    (line,) = logged(lines)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "cache.down", "level": "warning", "error": "timeout", "tries": 3}


@pytest.mark.parametrize(
    "key",
    [
        *(
            "password",
            "new_password",
            "passwd",
            "passphrase",
            "secret",
            "secret_key",
            "webhook_secret",
            "token",
            "csrf_token",
        ),
        *(
            "access_token",
            "Authorization",
            "Cookie",
            "set-cookie",
            "api_key",
            "APIKEY",
            "private_key",
            "card_number",
            "cvc",
        ),
        *("session_hash", "session_id", "credentials", "otp"),
    ],
)
def test_a_secret_is_never_logged_at_any_depth(lines: io.StringIO, key: str) -> None:
    log = structlog.get_logger()
    log.info("a", **{key: "hunter2"})
    log.info("b", details={"headers": [{key: "hunter2"}, {"kind": "fine"}]}, kept=("x",))
    first, second = logged(lines)
    assert "hunter2" not in lines.getvalue()
    assert first[key] == HIDDEN
    assert second["details"] == {"headers": [{key: HIDDEN}, {"kind": "fine"}]}
    assert second["kept"] == ["x"]


@pytest.mark.parametrize("key", ["key", "idempotency_key", "primary_key", "sku", "card", "session"])
def test_what_only_looks_like_a_secret_is_logged(lines: io.StringIO, key: str) -> None:
    structlog.get_logger().info("a", **{key: "shown"})
    assert logged(lines)[0][key] == "shown"


def test_passwords_in_addresses_are_hidden_also_in_messages_and_tracebacks(lines: io.StringIO) -> None:
    away = OSError("cannot reach postgresql://shop:hunter2@db.internal/shop")
    structlog.get_logger().error("database.away", url="redis://:hunter2@cache/0", exc_info=away)
    logging.getLogger("some.library").error("no answer from amqp://me:hunter2@mq/")
    assert "hunter2" not in lines.getvalue()
    ours, theirs = logged(lines)
    assert f"postgresql://shop:{HIDDEN}@db.internal/shop" in ours["exception"]
    assert ours["url"] == f"redis://:{HIDDEN}@cache/0"
    assert (theirs["event"], theirs["logger"]) == (f"no answer from amqp://me:{HIDDEN}@mq/", "some.library")


def test_the_lines_of_one_request_carry_its_id(lines: io.StringIO) -> None:
    with request_context("abc-123") as request_id:
        assert current_request_id() == request_id == "abc-123"
        structlog.get_logger().info("a")
        logging.getLogger("some.library").warning("b")
    structlog.get_logger().info("c")
    assert current_request_id() is None
    assert [line.get("request_id") for line in logged(lines)] == ["abc-123", "abc-123", None]


@pytest.mark.parametrize("given", [None, "", "x" * 65, "line\nbreak", 'quote"', "<b>", "ä"])
def test_an_id_that_could_forge_a_line_is_replaced(given: str | None) -> None:
    with request_context(given) as request_id:
        assert request_id != given
        assert len(request_id) == 32


def test_levels_below_the_configured_one_are_left_out() -> None:
    stream = io.StringIO()
    configure_logging(LogSettings(level="warning", format="json"), stream)
    structlog.get_logger().info("quiet")
    structlog.get_logger().error("loud")
    logging.getLogger("httpx").info("HTTP Request: GET https://example.com/?token=1")
    configure_logging(LogSettings())
    assert [line["event"] for line in logged(stream)] == ["loud"]


def test_the_console_is_for_people() -> None:
    stream = io.StringIO()
    configure_logging(LogSettings(format="console"), stream)
    structlog.get_logger().info("job.failed", job="orders.sweep", password="hunter2")
    configure_logging(LogSettings())
    assert "job.failed" in stream.getvalue()
    assert "orders.sweep" in stream.getvalue()
    assert "hunter2" not in stream.getvalue()
    assert "{" not in stream.getvalue()


@pytest.mark.parametrize("settings", [LogSettings(level="loud"), LogSettings(format="xml")])
def test_a_level_or_format_that_does_not_exist_is_an_error(settings: LogSettings) -> None:
    with pytest.raises(ValueError, match=r"loud|xml"):
        configure_logging(settings)


def test_the_web_application_leaves_the_log_as_it_is(lines: io.StringIO) -> None:
    _handlers.__wrapped__()
    try:
        _ = 1 / 0
    except ZeroDivisionError as error:
        structlog.get_logger().error("unforeseen_error", exc_info=error, session_id="s3cret")
    (line,) = logged(lines)
    assert "Traceback" in line["exception"]
    assert line["session_id"] == HIDDEN
