"""The courses orders take: states, moves, who may make them, their timers and effects, as data of the store.

Owns the reading of processes and the questions an order asks of one. Pure but for the two reads; the database refuses an
undeclared move whatever this code thinks.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from typing import Literal
from weakref import WeakKeyDictionary

import msgspec
from sqlalchemy import text

from tradepost.core.database import Database, Transaction
from tradepost.core.money import percent_of, to_minor
from tradepost.orders.types import Move, Party, Tone

EFFECTS = (
    "sell_stock", "release_stock", "restock", "refund_payment", "hold_money", "release_money", "open_fulfilments",
    "complete_fulfilments", "earn_points", "reverse_points", "notify_buyer", "notify_seller", "take_deposit", "take_balance",
    "keep_deposit", "exchange",
)  # fmt: skip
MONEY_EFFECTS = frozenset(EFFECTS) - {"open_fulfilments", "complete_fulfilments", "notify_buyer", "notify_seller"}
_WHOLE = {"sell_stock", "release_stock", "take_deposit", "take_balance", "keep_deposit", "exchange"}
Purpose = Literal["full", "deposit", "balance"]


class Deposit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is paid first: so many percent of the total, or an amount in major units of the order's currency.

    `keeps`: so many percent of it stay with the sellers after a move with the effect keep_deposit.
    """

    percent: Decimal | None = None
    amount: Decimal | None = None
    keeps: Decimal = Decimal(100)

    def of(self, total_minor: int, currency: str) -> int:
        """Return the deposit on a total, in minor units: at least one, at most all of it."""
        wanted = to_minor(self.amount, currency) if self.amount is not None else 0
        if self.percent is not None:
            wanted = percent_of(total_minor, self.percent)
        return min(total_minor, max(wanted, 1))


class Takes(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which orders take a process instead of the usual one: those with something of these kinds or categories (slugs)."""

    kinds: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()

    def fits(self, kind: str, category_path: str) -> bool:
        """Whether a line of this kind, at this place in the tree, is one of those."""
        return kind in self.kinds or not set(self.categories).isdisjoint(category_path.split("/"))


class State(msgspec.Struct, frozen=True):
    """A state of a process."""

    code: str
    name: str
    documented: str
    tone: Tone
    is_open: bool
    is_final: bool
    position: int


class Transition(msgspec.Struct, frozen=True):
    """A move: who may make it, what it does, and after what time the system makes it."""

    from_state: str
    to_state: str
    actors: frozenset[str]
    label: str
    timer: timedelta | None
    effects: frozenset[str]

    @property
    def is_whole(self) -> bool:
        """Whether it goes with a payment, which is for all parts: then no seller's part makes it without the others."""
        return bool(self.effects & _WHOLE)

    @property
    def purpose(self) -> Purpose:
        """What the payment is for that makes this move."""
        if "take_balance" in self.effects:
            return "balance"
        return "deposit" if "take_deposit" in self.effects else "full"


class Course:
    """One process, ready to be asked."""

    def __init__(
        self, code: str, kind: str, initial: str, states: Sequence[State], moves: Sequence[Transition], *,
        deposit: Deposit | None = None, takes: Takes | None = None,
    ) -> None:  # fmt: skip
        self.code = code
        self.kind = kind
        self.initial = initial
        self.states = {s.code: s for s in states}
        self.moves = tuple(moves)
        self.deposit = deposit
        self.takes = takes
        self._paying = {"take_deposit", "take_balance"} if deposit else {"sell_stock"}

    @cached_property
    def _by_ends(self) -> dict[tuple[str, str], Transition]:
        return {(m.from_state, m.to_state): m for m in self.moves}

    def move(self, from_state: str, to_state: str) -> Transition | None:
        """Return the move between two states, if there is one."""
        return self._by_ends.get((from_state, to_state))

    def moves_from(self, state: str) -> list[Transition]:
        """Return every move out of a state, in the order of the file."""
        return [m for m in self.moves if m.from_state == state]

    def payment_move(self, state: str) -> Transition | None:
        """Return the move that a payment's success makes."""
        return next((m for m in self.moves_from(state) if m.effects & self._paying and "system" in m.actors), None)

    def first_amount(self, total_minor: int, currency: str) -> int:
        """Return what is paid first of a total: the deposit, or all of it."""
        return self.deposit.of(total_minor, currency) if self.deposit else total_minor

    def decline_move(self, state: str) -> Transition | None:
        """Return the move that a declined payment makes; None where the buyer may try again instead."""
        return next(
            (m for m in self.moves_from(state) if _drops(m) and "system" in m.actors and m.timer is None), None
        )  # fmt: skip

    def expiry_move(self, state: str) -> Transition | None:
        """Return the move that gives up an order nobody paid for."""
        found = [m for m in self.moves_from(state) if _drops(m) and "system" in m.actors]
        return min(found, key=lambda m: m.timer or timedelta.max, default=None)

    def timed_move(self, state: str) -> Transition | None:
        """Return the move that the system makes when a state has lasted too long; the earliest of several."""
        timed = [m for m in self.moves_from(state) if m.timer is not None]
        return min(timed, key=lambda m: m.timer or timedelta.max, default=None)

    def due_at(self, state: str, since: datetime) -> datetime | None:
        """Return when the system moves on an order that came into a state then."""
        move = self.timed_move(state)
        return since + move.timer if move and move.timer is not None else None

    def choices(
        self, state: str, parties: frozenset[Party], seller_id: object = None, *, is_one_of_several: bool = False
    ) -> tuple[Move, ...]:
        """Return the moves one of these parties may make from a state; with one seller's part only, or with everything."""
        return tuple(
            Move(to_state=m.to_state, label=m.label, tone=self.states[m.to_state].tone,
                 refunds="refund_payment" in m.effects, keeps_deposit="keep_deposit" in m.effects, hands_over="complete_fulfilments" in m.effects,
                 seller_id=seller_id)  # type: ignore[arg-type]  # a UUID or None
            for m in self.moves_from(state) if m.actors & parties and not (is_one_of_several and m.is_whole)
        )  # fmt: skip

    def path(self, from_state: str, to_state: str, parties: frozenset[Party]) -> list[Transition]:
        """Return the shortest chain of moves by these parties between two states; empty where there is none."""
        chains: list[list[Transition]] = [[]]
        seen = {from_state}
        while chains:
            chain = chains.pop(0)
            here = chain[-1].to_state if chain else from_state
            if here == to_state:
                return chain
            for move in self.moves_from(here):
                if move.to_state not in seen and move.actors & parties:
                    seen.add(move.to_state)
                    chains.append([*chain, move])
        return []


def _drops(move: Transition) -> bool:
    return "release_stock" in move.effects


_COURSES = text("SELECT code, kind, initial_state, deposit, takes FROM processes ORDER BY code")
_STATES = text("""
    SELECT process, code, name, documented, tone, is_open, is_final, position FROM order_states ORDER BY process, position
""")
_MOVES = text("""
    SELECT t.process, t.from_state, t.to_state, t.actors, t.label, t.timer, t.effects
    FROM order_transitions t JOIN order_states f ON (f.process, f.code) = (t.process, t.from_state)
    JOIN order_states s ON (s.process, s.code) = (t.process, t.to_state) ORDER BY t.process, f.position, s.position
""")
_VERSION = text("SELECT value FROM store_facts WHERE name = 'rules_version'")
_known: WeakKeyDictionary[Database, tuple[str, dict[str, Course]]] = WeakKeyDictionary()


async def courses(tx: Transaction, version: str | None = None) -> dict[str, Course]:
    """Return the store's processes by code; reads them where this process has not yet seen that version of the rules."""
    version = version or str(await tx.value(_VERSION))
    known = _known.get(tx.database)
    if known and known[0] == version:
        return known[1]
    found = await _read(tx)
    _known[tx.database] = version, found
    return found


async def _read(tx: Transaction) -> dict[str, Course]:
    states: dict[str, list[State]] = {}
    for row in await tx.all(_STATES):
        process, *values = row
        states.setdefault(process, []).append(State(*values))
    moves: dict[str, list[Transition]] = {}
    for row in await tx.all(_MOVES):
        moves.setdefault(row["process"], []).append(
            Transition(row["from_state"], row["to_state"], frozenset(row["actors"]), row["label"], row["timer"],
                       frozenset(row["effects"]))
        )  # fmt: skip
    return {
        code: Course(code, kind, initial, states.get(code, []), moves.get(code, []),
                     deposit=msgspec.convert(deposit, Deposit | None), takes=msgspec.convert(takes, Takes | None))
        for code, kind, initial, deposit, takes in await tx.all(_COURSES)
    }  # fmt: skip
