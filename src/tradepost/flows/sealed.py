"""Every encrypted column of a store, with the purpose it is encrypted for: what rotation writes anew and exports open."""

from typing import Final

from tradepost.accounts.queries import PHONE
from tradepost.accounts.second_steps import TOTP
from tradepost.accounts.verification_types import DATA, NAME
from tradepost.delivery.queries import ADDRESS
from tradepost.notifications.service import LETTER
from tradepost.notifications.ways import BROWSER, HOOK_SECRET, PUSH_KEY

ORDER_ADDRESS: Final = "order-address"
ORDER_EMAIL: Final = "order-email"

SEALED: Final[dict[tuple[str, str], str]] = {
    ("users", "phone_enc"): PHONE,
    ("verifications", "data_enc"): DATA,
    ("verification_documents", "name_enc"): NAME,
    ("totp_secrets", "secret_enc"): TOTP,
    ("mails", "letter_enc"): LETTER,
    ("push_subscriptions", "subscription_enc"): BROWSER,
    ("notice_hooks", "secret_enc"): HOOK_SECRET,
    ("push_keys", "private_enc"): PUSH_KEY,
    ("addresses", "address_enc"): ADDRESS,
    ("orders", "email_enc"): ORDER_EMAIL,
    ("orders", "shipping_address_enc"): ORDER_ADDRESS,
    ("orders", "billing_address_enc"): ORDER_ADDRESS,
}
"""(table, column) → purpose. A test finds an encrypted column that is missing here."""

INDEXED: Final[dict[tuple[str, str], tuple[str, str]]] = {("users", "phone_index"): ("phone_enc", PHONE)}
"""(table, blind index) → (the column it is made of, purpose)."""
