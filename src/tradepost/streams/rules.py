"""How bids become a price and entries a winner. Pure: whoever has the rows comes to the same."""

import hashlib
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID


class Terms(NamedTuple):
    """What an auction was opened with. `reserve_minor`: below it nothing is sold."""

    starts_minor: int
    increment_minor: int
    reserve_minor: int | None = None


class Standing(NamedTuple):
    """Who leads, at which price, and the most they would pay; all None before the first bid."""

    leader_id: UUID | None = None
    price_minor: int | None = None
    leader_max: int | None = None


def least_bid(terms: Terms, standing: Standing, bidder_id: UUID) -> int:
    """Return the least that somebody may bid: the start, an increment above the price, or more than they themselves would pay."""
    if standing.price_minor is None or standing.leader_max is None:
        return terms.starts_minor
    if standing.leader_id == bidder_id:
        return standing.leader_max + 1
    return standing.price_minor + terms.increment_minor


def next_standing(terms: Terms, standing: Standing, bidder_id: UUID, max_minor: int) -> Standing:
    """Return the standing after a bid that is high enough.

    The higher maximum leads, of equal ones the earlier; the price is the start, or an increment above the other's maximum, but never
    more than the leader's own. Whoever would pay the reserve pays it. Raising one's own maximum raises nothing else.
    """
    after = _contest(terms, standing, bidder_id, max_minor)
    leader_max, price = after.leader_max or 0, after.price_minor or 0
    if terms.reserve_minor is not None and leader_max >= terms.reserve_minor > price:
        return after._replace(price_minor=terms.reserve_minor)
    return after


def _contest(terms: Terms, standing: Standing, bidder_id: UUID, max_minor: int) -> Standing:
    if standing.leader_max is None or standing.price_minor is None:
        return Standing(bidder_id, terms.starts_minor, max_minor)
    if standing.leader_id == bidder_id:
        return Standing(bidder_id, standing.price_minor, max_minor)
    if max_minor > standing.leader_max:
        return Standing(bidder_id, min(max_minor, standing.leader_max + terms.increment_minor), max_minor)
    price = max(standing.price_minor, min(standing.leader_max, max_minor + terms.increment_minor))
    return Standing(standing.leader_id, price, standing.leader_max)


def replay(terms: Terms, bids: Iterable[tuple[UUID, int]]) -> Standing:
    """Return what bids (bidder and maximum, in their order) come to. Raises ValueError for one below the least."""
    standing = Standing()
    for bidder_id, max_minor in bids:
        if max_minor < least_bid(terms, standing, bidder_id):
            raise ValueError(f"{max_minor} was too little")
        standing = next_standing(terms, standing, bidder_id, max_minor)
    return standing


def commitment_of(seed: bytes) -> bytes:
    """Return what is published before the first entry: the SHA-256 of the seed."""
    return hashlib.sha256(seed).digest()


def draw(seed: bytes, entrants: Sequence[UUID]) -> int:
    """Return the number, from 1, of who wins: SHA-256 over the seed and the entrants' ids in their order, as a whole number, modulo.

    256 bits over at most millions: no entrant's chance differs from another's by more than 10^-70.
    """
    digest = hashlib.sha256(seed + b"".join(person.bytes for person in entrants)).digest()
    return int.from_bytes(digest) % len(entrants) + 1
