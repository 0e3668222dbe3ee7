"""Facts of live shows."""

from uuid import UUID

import msgspec


class ShowScheduled(msgspec.Struct, frozen=True):
    """Somebody planned a show."""

    stream_id: UUID
    host_id: UUID


class ShowStarted(msgspec.Struct, frozen=True):
    """A show went live."""

    stream_id: UUID
    host_id: UUID


class ShowEnded(msgspec.Struct, frozen=True):
    """A show ended, or was called off before it began."""

    stream_id: UUID
    host_id: UUID


class AuctionClosed(msgspec.Struct, frozen=True):
    """An auction came to its end; `winner_id` None: nobody bid enough."""

    auction_id: UUID
    stream_id: UUID
    winner_id: UUID | None
    bids: int


class GiveawayWinnerChosen(msgspec.Struct, frozen=True):
    """A giveaway has its winner."""

    giveaway_id: UUID
    stream_id: UUID
    winner_id: UUID
