"""Calls of payment gateways. They carry no session: each is believed for its own signature."""

from typing import Any

from litestar import post
from litestar.params import FromPath
from litestar.status_codes import HTTP_200_OK

from tradepost.flows.settle_payment import receive_webhook
from tradepost.web.typing import GivenStore, HttpRequest

LARGEST_CALL = 256 * 1024


@post(
    "/api/webhooks/{gateway:str}",
    status_code=HTTP_200_OK,
    include_in_schema=False,
    request_max_body_size=LARGEST_CALL,
)
async def hear_gateway(request: HttpRequest, store: GivenStore, gateway: FromPath[str]) -> dict[str, str]:
    """Take a gateway's call and make true what it says; a repeated call changes nothing more."""
    event = await receive_webhook(store, gateway, dict(request.headers), await request.body())
    return {"received": event.event_id}


webhook_routes: list[Any] = [hear_gateway]
