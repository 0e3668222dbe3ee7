"""The sandbox's side for sellers: accounts that anybody has at once, payouts and reversals in books of its own. No money moves."""

from uuid import UUID

from sqlalchemy import text

from tradepost.core.database import Database
from tradepost.payments.ports import (
    Onboarding,
    OnboardingRequest,
    PayoutAccount,
    PayoutOutcome,
    PayoutRequest,
    ReversalRequest,
)
from tradepost.payments.types import NoSuchAccount

_ACCOUNT, _PAYOUT = "sba_", "sbp_"
_PAY = text("""
    INSERT INTO sandbox_payouts (payout_id, account, amount_minor, currency) VALUES (:payout_id, :account, :amount_minor, :currency)
    ON CONFLICT (payout_id) DO NOTHING
""")
_REVERSE = text("""
    WITH taken AS (
        INSERT INTO sandbox_reversals (reversal_id, payout_id, amount_minor)
        SELECT :reversal_id, payout_id, :amount_minor FROM sandbox_payouts
        WHERE payout_id = :payout_id AND reversed_minor + :amount_minor <= amount_minor
        ON CONFLICT (reversal_id) DO NOTHING RETURNING payout_id
    ), counted AS (
        UPDATE sandbox_payouts p SET reversed_minor = reversed_minor + :amount_minor FROM taken WHERE p.payout_id = taken.payout_id
    )
    SELECT EXISTS (SELECT FROM taken) OR EXISTS (SELECT FROM sandbox_reversals WHERE reversal_id = :reversal_id)
""")


class SandboxPayouts:
    """Pays sellers out in the books of the sandbox."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def begin_onboarding(self, request: OnboardingRequest) -> Onboarding:
        """Open an account without a question; the seller goes straight back."""
        return Onboarding(account=request.account or f"{_ACCOUNT}{request.seller_id.hex}", url=request.return_url)

    async def look_up_account(self, account: str) -> PayoutAccount:
        """Return an account; each can be paid."""
        if not account.startswith(_ACCOUNT):
            raise NoSuchAccount
        return PayoutAccount(account=account, can_be_paid=True)

    async def pay_out(self, request: PayoutRequest) -> PayoutOutcome:
        """Write a payout down once for each id."""
        if not request.account.startswith(_ACCOUNT):
            return PayoutOutcome(state="failed", error="There is no such account.")
        await self._db.read(
            _PAY, fresh=True, payout_id=request.payout_id, account=request.account, amount_minor=request.amount_minor,
            currency=request.currency,
        )  # fmt: skip
        return PayoutOutcome(state="success", ref=f"{_PAYOUT}{request.payout_id.hex}")

    async def reverse_payout(self, request: ReversalRequest) -> PayoutOutcome:
        """Take money of a payout back once for each id, never more than was paid."""
        rows = await self._db.read(
            _REVERSE, fresh=True, reversal_id=request.reversal_id, payout_id=_payout_id(request.payout_ref),
            amount_minor=request.amount_minor,
        )  # fmt: skip
        if rows[0][0]:
            return PayoutOutcome(state="success", ref=f"sbx_{request.reversal_id.hex}")
        return PayoutOutcome(state="failed", error="More than was paid out, or never paid out.")


def _payout_id(ref: str) -> UUID | None:
    try:
        return UUID(ref.removeprefix(_PAYOUT))
    except ValueError:
        return None
