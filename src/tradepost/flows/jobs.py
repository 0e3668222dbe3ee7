"""Jobs that join modules: refunds to send, payments to stop, the sweep that finishes what a crash left, letters and links."""

from tradepost.core.database import SYSTEM
from tradepost.core.jobs import job, scheduled
from tradepost.flows import sweep
from tradepost.flows.account_links import LinkArgs, send_link
from tradepost.flows.letters import send_mail, send_text
from tradepost.flows.make_move import PaymentArgs
from tradepost.flows.pay_out import PayoutArgs, ReversalArgs, look_after_payouts, send_payout, send_reversal
from tradepost.flows.refund import RefundArgs, send_refund
from tradepost.flows.store import Store
from tradepost.notifications.service import MailArgs, TextArgs, forget_mails


@job("payments.send_refund", args=RefundArgs)
async def send_refund_job(store: Store, args: RefundArgs) -> None:
    """Ask the gateway to give money back."""
    await send_refund(store, args.refund_id)


@job("payments.cancel_payment", args=PaymentArgs)
async def cancel_payment_job(store: Store, args: PaymentArgs) -> None:
    """Stop a payment at its gateway; money that came meanwhile goes back."""
    await sweep.cancel_payment(store, args.payment_id)


@job("payments.send_payout", args=PayoutArgs)
async def send_payout_job(store: Store, args: PayoutArgs) -> None:
    """Have a gateway pay a seller."""
    await send_payout(store, args.payout_id)


@job("payments.send_reversal", args=ReversalArgs)
async def send_reversal_job(store: Store, args: ReversalArgs) -> None:
    """Have a gateway fetch money back that it has paid."""
    await send_reversal(store, args.reversal_id)


@scheduled("payments.look_after_payouts", cron="*/10 * * * *")
async def look_after_payouts_job(store: Store) -> None:
    """Pay sellers out when the store's schedule says so, and bring on what is under way."""
    await look_after_payouts(store)


@scheduled("orders.sweep", cron="* * * * *")
async def sweep_job(store: Store) -> None:
    """Fire timers, settle payments nobody reported, send refunds that are waiting."""
    await sweep.sweep(store)


@scheduled("orders.tidy_up", cron="17 3 * * *")
async def tidy_up_job(store: Store) -> None:
    """Forget old request keys and abandoned carts of visitors, let points expire."""
    await sweep.tidy_up(store)


@job("notifications.send_mail", args=MailArgs, tries=20)
async def send_mail_job(store: Store, args: MailArgs) -> None:
    """Hand a letter to the mail server."""
    await send_mail(store, args)


@job("notifications.send_text", args=TextArgs, tries=5)
async def send_text_job(store: Store, args: TextArgs) -> None:
    """Hand a text message to the service that sends them."""
    await send_text(store, args)


@job("accounts.send_link", args=LinkArgs)
async def send_link_job(store: Store, args: LinkArgs) -> None:
    """Send a link to whoever has the name or address that somebody typed, if anybody has."""
    await send_link(store, args)


@scheduled("notifications.forget_mails", cron="41 3 * * *")
async def forget_mails_job(store: Store) -> None:
    """Delete letters that are a month old."""
    async with store.db.transaction(actor=SYSTEM) as tx:
        await forget_mails(tx)
