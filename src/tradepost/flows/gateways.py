"""Which gateways a store has: those its settings offer and whose keys are there."""

from tradepost.core.crypto import Keyring
from tradepost.core.database import Database
from tradepost.core.settings import Settings
from tradepost.flows.preset import StoreSettings
from tradepost.payments.adapters.cash import CashGateway
from tradepost.payments.adapters.sandbox import SandboxGateway
from tradepost.payments.ports import Gateway


def open_gateways(
    settings: StoreSettings, installation: Settings, db: Database, keys: Keyring, base_url: str, *, is_demo: bool
) -> dict[str, Gateway]:
    """Return the store's gateways by code, in the order its settings give.

    The sandbox, which anybody can tell to approve, is for the demo, or where `test_payments` is set.
    """
    made: dict[str, Gateway] = {}
    for code in settings.payments.gateways:
        match code:
            case "sandbox" if is_demo or installation.test_payments:
                made[code] = SandboxGateway(db, keys.derived_key("sandbox-webhook"), base_url)
            case "cash":
                made[code] = CashGateway()
    return made


def webhook_url(base_url: str, gateway: str) -> str:
    """Return the address a gateway calls."""
    return f"{base_url}/api/webhooks/{gateway}"
