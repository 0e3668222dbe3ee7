"""The worker, put together: which jobs there are, and which of them react to which events.

Whoever records events needs the subscriptions as much as whoever runs the jobs, so the server composes too.
"""

import asyncio
from datetime import timedelta
from importlib import import_module
from typing import Final

import msgspec
import structlog

from tradepost.accounts.events import VerificationDecided
from tradepost.alerts.events import AlertChanged, AlertRemoved, AlertSaved
from tradepost.core.events import check_subscriptions, subscribe
from tradepost.core.job_runner import Pace, run_jobs
from tradepost.core.jobs import DECLARED, Registry
from tradepost.flows.assistant_mind import teach_ahead
from tradepost.flows.editions import follow_editions
from tradepost.flows.store import Store
from tradepost.messaging.events import MessageSent
from tradepost.offers.events import OfferAccepted, OfferEnded, OfferMade
from tradepost.orders.events import OrderMoved, OrderPlaced
from tradepost.streams.events import ShowScheduled, ShowStarted

JOB_MODULES: Final = (
    "tradepost.core.housekeeping",
    "tradepost.accounts.jobs",
    "tradepost.search.jobs",
    "tradepost.alerts.jobs",
    "tradepost.flows.jobs",
    "tradepost.flows.plan_delivery",
    "tradepost.flows.assistant_sessions",
    "tradepost.flows.figures",
    "tradepost.flows.haggle",
    "tradepost.flows.import_listings",
    "tradepost.flows.manage_categories",
    "tradepost.flows.match_alerts",
    "tradepost.flows.notices",
    "tradepost.flows.send_notices",
    "tradepost.flows.tell_matches",
    "tradepost.flows.tell_people",
    "tradepost.flows.show_sales",
    "tradepost.flows.source_jobs",
    "tradepost.flows.search_jobs",
    "tradepost.flows.sweep_files",
    "tradepost.flows.trust_jobs",
    "tradepost.flows.upkeep",
)
# Which job reacts to which event: (event, job). The job's arguments are the event.
SUBSCRIPTIONS: Final[tuple[tuple[type[msgspec.Struct], str], ...]] = (
    (AlertSaved, "alerts.file_saved"),
    (AlertChanged, "alerts.file_changed"),
    (AlertRemoved, "alerts.file_removed"),
    (OrderPlaced, "search.attribute_order"),
    (OrderMoved, "notices.tell_of_order"),
    (OfferMade, "notices.tell_of_offer"),
    (OfferAccepted, "notices.tell_of_acceptance"),
    (OfferEnded, "notices.tell_of_refusal"),
    (VerificationDecided, "notices.tell_of_verification"),
    (ShowScheduled, "notices.tell_of_plan"),
    (ShowStarted, "notices.tell_of_start"),
)

READING_TIME: Final = timedelta(seconds=20)
"""How long a message waits to be read before its people are told elsewhere."""


def compose() -> Registry:
    """Import every module that declares jobs, subscribe them to events, and return all jobs. Repeating it changes nothing."""
    for module in JOB_MODULES:
        import_module(module)
    for event, job in SUBSCRIPTIONS:
        subscribe(event, job)
    subscribe(MessageSent, "notices.tell_of_messages", after=READING_TIME, once_per_subject=True)
    check_subscriptions(DECLARED)
    return DECLARED


async def run_worker(store: Store, stop: asyncio.Event, *, pace: Pace | None = None) -> None:
    """Do a store's jobs until `stop` is set: inside the server's process, or in one of its own (`tradepost worker`)."""
    with structlog.contextvars.bound_contextvars(store=store.code):
        beside = [asyncio.create_task(follow_editions(store, stop)), asyncio.create_task(teach_ahead(store))]
        try:
            await run_jobs(store, compose(), stop, pace=pace)
        finally:
            for task in beside:
                task.cancel()
            await asyncio.gather(*beside, return_exceptions=True)
