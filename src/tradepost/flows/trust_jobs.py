"""Jobs of trust and privacy: suspensions that end, documents that are deleted, copies, erasure, badges."""

from datetime import timedelta

from tradepost.core.jobs import job, scheduled
from tradepost.flows import moderate, privacy, verify
from tradepost.flows.badges import refresh_badges
from tradepost.flows.identity import open_identity_service
from tradepost.flows.privacy import ExportArgs
from tradepost.flows.store import Store
from tradepost.flows.verify import VerificationArgs


@scheduled("moderation.end_suspensions", cron="*/10 * * * *")
async def end_suspensions(store: Store) -> None:
    """Let people whose suspension is over do everything again, and show what they sell."""
    await moderate.end_suspensions(store)


@job("accounts.make_export", args=ExportArgs, time_limit=timedelta(minutes=30))
async def make_export(store: Store, args: ExportArgs) -> None:
    """Make a copy of everything about a person."""
    await privacy.make_export(store, args.export_id)


@job("accounts.ask_identity_service", args=VerificationArgs)
async def ask_identity_service(store: Store, args: VerificationArgs) -> None:
    """Let the outside service look at a submission; without one it waits for the staff."""
    service = open_identity_service(store.installation.identity)
    if service is not None:
        await verify.ask_identity_service(store, service, args.verification_id)


@scheduled("accounts.tidy_verifications", cron="27 2 * * *")
async def tidy_verifications(store: Store) -> None:
    """End verifications that are too old, and delete documents some days after the decision."""
    await verify.tidy_verifications(store)


@scheduled("accounts.erase_people", cron="7 * * * *")
async def erase_people(store: Store) -> None:
    """Erase people who asked for it and did not come back in time."""
    await privacy.erase_due(store)


@scheduled("accounts.keep_no_longer", cron="47 3 * * *")
async def keep_no_longer(store: Store) -> None:
    """Delete copies whose time is over and months of the audit log that are old."""
    await privacy.keep_no_longer(store)


@scheduled("accounts.refresh_badges", cron="13 1 * * *")
async def badges(store: Store) -> None:
    """Give and take distinctions by what people did."""
    await refresh_badges(store)
