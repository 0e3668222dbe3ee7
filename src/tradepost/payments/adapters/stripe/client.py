"""The SDK as we use it: without blocking, with limits of time, and without telling Stripe about the machine it runs on."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
import stripe
import structlog
from stripe import HTTPXClient, StripeClient

from tradepost.payments.types import GatewayDown

API_BASE = "https://api.stripe.com"
NAME = "Stripe"
# With one retry and its pause this stays below the checkout's own limit of 20 seconds.
_TIMEOUT = httpx.Timeout(8.0, connect=3.0)
_RETRIES = 1
_log = structlog.get_logger(__name__)

# Otherwise the SDK keeps an id of this machine in the home folder and sends it with how long requests took; it has no setting
# for one client alone.
stripe.enable_telemetry = False


class _Http(HTTPXClient):
    """The SDK's asynchronous transport; it names the library, and nothing of the system or of who started it."""

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """Send one request. (The SDK's own method uses a parameter of httpx that is on its way out.)"""
        plain = {name: value for name, value in headers.items() if not name.startswith("X-Stripe-Client")}
        plain["User-Agent"] = f"Tradepost (stripe-python {stripe.VERSION})"
        try:
            reply = await self._client_async.request(
                method, url, headers=plain, content=post_data or None, timeout=_TIMEOUT
            )
        except httpx.HTTPError as error:
            self._handle_request_error(error)
        return reply.content, reply.status_code, reply.headers


def open_http() -> HTTPXClient:
    """Return connections for `open_client`; whoever asks for them closes them (`close_async`)."""
    return _Http()


def open_client(secret_key: str, api_base: str, http: HTTPXClient) -> StripeClient:
    """Return the SDK's client for one account. `api_base`: another server than Stripe's own, for tests and proxies."""
    return StripeClient(
        secret_key, http_client=http, base_addresses={"api": api_base or API_BASE}, max_network_retries=_RETRIES
    )


@contextmanager
def asking() -> Iterator[None]:
    """Turn what the SDK raises where Stripe decided nothing into `GatewayDown`; what Stripe refused passes through."""
    try:
        yield
    except (stripe.AuthenticationError, stripe.PermissionError) as error:
        _log.error("stripe.refuses_us", code=error.code, request_id=error.request_id)
        raise GatewayDown(NAME) from error
    except (stripe.APIConnectionError, stripe.RateLimitError, stripe.APIError) as error:
        _log.warning("stripe.down", error=type(error).__name__, status=error.http_status, request_id=error.request_id)
        raise GatewayDown(NAME) from error


def is_missing(error: stripe.InvalidRequestError) -> bool:
    """Whether Stripe says that it does not know what was asked for."""
    return bool(error.code == "resource_missing" or error.http_status == 404)
