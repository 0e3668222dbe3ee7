"""Jobs of orders and money: refunds to send, payments to stop, and the sweep that finishes what a crash left."""

from tradepost.core.jobs import job, scheduled
from tradepost.flows import sweep
from tradepost.flows.make_move import PaymentArgs
from tradepost.flows.refund import RefundArgs, send_refund
from tradepost.flows.store import Store


@job("payments.send_refund", args=RefundArgs)
async def send_refund_job(store: Store, args: RefundArgs) -> None:
    """Ask the gateway to give money back."""
    await send_refund(store, args.refund_id)


@job("payments.cancel_payment", args=PaymentArgs)
async def cancel_payment_job(store: Store, args: PaymentArgs) -> None:
    """Stop a payment at its gateway; money that came meanwhile goes back."""
    await sweep.cancel_payment(store, args.payment_id)


@scheduled("orders.sweep", cron="* * * * *")
async def sweep_job(store: Store) -> None:
    """Fire timers, settle payments nobody reported, send refunds that are waiting."""
    await sweep.sweep(store)


@scheduled("orders.tidy_up", cron="17 3 * * *")
async def tidy_up_job(store: Store) -> None:
    """Forget old request keys and abandoned carts of visitors, let points expire."""
    await sweep.tidy_up(store)
