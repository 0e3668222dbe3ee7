"""The outside service that looks at identity documents, where the operator names one.

What is sent: `POST {url}` with a bearer token and JSON `{id, kind, data: {name, number, valid_until}, documents: [{media_type, content}]}`,
the content in base64. What comes back: JSON `{status: pending | verified | rejected, reason, reference}`. Anything else is asked again.
"""

import base64

import httpx
import msgspec

from tradepost.accounts.verification_types import IdentityCase, Verdict
from tradepost.core.errors import Unavailable
from tradepost.core.settings import IdentitySettings


class IdentityServiceAway(Unavailable):
    """The identity service does not answer as it should; it is asked again."""


class OutsideIdentityService:
    """Asks a service over HTTP."""

    def __init__(self, settings: IdentitySettings) -> None:
        self._settings = settings

    async def look_at(self, case: IdentityCase) -> Verdict:
        """Return the service's verdict. Raises `IdentityServiceAway`."""
        body = msgspec.json.encode({
            "id": case.id, "kind": case.kind, "data": case.data,
            "documents": [
                {"media_type": d.media_type, "content": base64.b64encode(d.data).decode()} for d in case.documents
            ],
        })  # fmt: skip
        headers = {"authorization": f"Bearer {self._settings.key}", "content-type": "application/json"}
        try:
            async with httpx.AsyncClient(timeout=self._settings.timeout_ms / 1000, trust_env=False) as client:
                answer = await client.post(self._settings.url, content=body, headers=headers)
            answer.raise_for_status()
            return msgspec.json.decode(answer.content, type=Verdict)
        except (httpx.HTTPError, msgspec.MsgspecError) as error:
            raise IdentityServiceAway from error


def open_identity_service(settings: IdentitySettings) -> OutsideIdentityService | None:
    """Return the service that the settings name, or None: then the staff look at everything."""
    return OutsideIdentityService(settings) if settings.url else None
