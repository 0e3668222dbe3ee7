"""Which gateways a store has: those its settings offer and whose keys are there."""

from collections.abc import Mapping

from tradepost.core.crypto import Keyring
from tradepost.core.database import Database
from tradepost.core.settings import Settings
from tradepost.flows.preset import StoreSettings
from tradepost.payments.adapters.cash import CashGateway
from tradepost.payments.adapters.sandbox import SandboxGateway
from tradepost.payments.ports import Gateway


def open_gateways(
    settings: StoreSettings, _installation: Settings, db: Database, keys: Keyring, base_url: str
) -> dict[str, Gateway]:
    """Return the store's gateways by code, in the order its settings give."""
    made: dict[str, Gateway] = {}
    for code in settings.payments.gateways:
        match code:
            case "sandbox":
                made[code] = SandboxGateway(db, keys.derived_key("sandbox-webhook"), base_url)
            case "cash":
                made[code] = CashGateway()
    return made


def webhook_url(base_url: str, gateway: str) -> str:
    """Return the address a gateway calls."""
    return f"{base_url}/api/webhooks/{gateway}"


def takes_test_payments_only(gateways: Mapping[str, Gateway]) -> bool:
    """Whether no gateway of the store moves real money by itself."""
    return all(g.about.is_test or g.about.is_offline for g in gateways.values())
