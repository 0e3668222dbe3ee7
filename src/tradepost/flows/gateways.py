"""Which gateways a store has: those its settings offer and whose keys are there."""

import re
from collections.abc import Mapping

from tradepost.core.crypto import Keyring
from tradepost.core.database import Database
from tradepost.core.settings import Settings, StoreKeys
from tradepost.flows.preset import StoreSettings
from tradepost.payments.adapters.cash import CashGateway
from tradepost.payments.adapters.paynow import PaynowGateway
from tradepost.payments.adapters.sandbox import SandboxGateway
from tradepost.payments.ports import Gateway
from tradepost.payments.types import GatewayUnknown, MethodUnknown, PhoneNeeded

_PHONE = re.compile(r"\+?[0-9][0-9 ()./-]{6,19}")


def open_gateways(
    settings: StoreSettings, installation: Settings, db: Database, keys: Keyring, base_url: str, *, is_demo: bool
) -> dict[str, Gateway]:
    """Return the store's gateways by code, in the order its settings give: those whose keys are there.

    The sandbox, which anybody can tell to approve, is for the demo, or where `test_payments` is set.
    """
    made: dict[str, Gateway] = {}
    own = installation.store.get(settings.store.code, StoreKeys())
    for code in settings.payments.gateways:
        match code:
            case "sandbox" if is_demo or installation.test_payments:
                made[code] = SandboxGateway(db, keys.derived_key("sandbox-webhook"), base_url)
            case "cash":
                made[code] = CashGateway()
            case "stripe" if (stripe := own.stripe.over(installation.stripe)).secret_key:
                # Only where it is used: the SDK costs half a second.
                from tradepost.payments.adapters.stripe.gateway import StripeGateway

                made[code] = StripeGateway(stripe, settings.store.code)
            case "paynow" if (paynow := own.paynow.over(installation.paynow)).integration_key:
                made[code] = PaynowGateway(paynow, settings.store.support_email)
    return made


def check_way(gateways: Mapping[str, Gateway], currency: str, code: str, method: str, payer: str) -> str:
    """Return the method of a gateway by which a buyer wants to pay: the first unless they chose one.

    Raises `GatewayUnknown`, also for one that does not take the currency, `MethodUnknown`, `PhoneNeeded`.
    """
    if code not in gateways or not takes(gateways[code], currency):
        raise GatewayUnknown(code[:40])
    about = gateways[code].about
    if not about.methods:
        return (
            method if method in about.unshown_methods else ""
        )  # a form with several gateways has one field for the method
    method = method or about.methods[0][0]
    if method not in dict(about.methods):
        raise MethodUnknown(about.name, method[:40])
    if method in about.phone_methods and not _PHONE.fullmatch(payer.strip()):
        raise PhoneNeeded
    return method


def takes(gateway: Gateway, currency: str) -> bool:
    """Whether a gateway takes a currency."""
    return not gateway.about.currencies or currency in gateway.about.currencies


def webhook_url(base_url: str, gateway: str) -> str:
    """Return the address a gateway calls."""
    return f"{base_url}/api/webhooks/{gateway}"
