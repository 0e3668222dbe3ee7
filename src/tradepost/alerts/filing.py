"""Where an alert is filed: under the rarest thing it requires, so that a listing meets few alerts that it is not for.

A term is a word, a tag, a place (a cell of the map), a price node, or two of them together where one alone is common. A listing is
looked up under every term it has; each alert is filed so that a listing that fits it has one of its terms.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from itertools import product
from typing import Final

import msgspec

from tradepost.alerts.criteria import Needs
from tradepost.search.filters import filters_of
from tradepost.search.types import SearchRequest

EVERYTHING: Final = "*"
WIDE: Final = 1 / 5000
"""From which share of all listings on a term is too common to stand alone."""
MOST_TERMS: Final = 24
BROAD: Final = 0.2
"""From which expected share of all listings on an alert is told in a digest."""
_LEVELS: Final = 8  # price bands are numbered with eight bits; 10^15 is in the 200th
_MOST_NODES: Final = 4
Share = Callable[[str], float]
"""Returns which share of all listings has a term."""


class Lexed(msgspec.Struct, frozen=True):
    """A word or phrase as the database understands it: a query for it, and the lexemes in it; both empty for a stop word."""

    query: str
    lexemes: tuple[str, ...]


class Filed(msgspec.Struct, frozen=True):
    """An alert's place in the index: its terms, those of them that are common and so stand with another, and the query to check."""

    terms: tuple[str, ...]
    wide: frozenset[str]
    wants: str | None
    share: float


def file_alert(needs: Needs, lexed: Mapping[str, Lexed], share: Share) -> Filed:
    """Return where an alert belongs, by how common each thing is that it requires."""
    groups = _groups(needs, lexed)
    narrow = _narrow(needs)
    alone = [(sum(map(share, group)), group, frozenset[str]()) for group in (*groups, *narrow) if len(group) <= 64]
    best = min(alone, default=(1.0, (EVERYTHING,), frozenset[str]()), key=lambda a: (a[0], len(a[1])))
    if best[0] > WIDE:
        best = min([best, *_pairs(groups, narrow, share)], key=lambda a: (a[0] * math.sqrt(len(a[1])), len(a[1])))
    whole = math.prod(min(1.0, sum(map(share, group))) for group in (*groups, *narrow))
    return Filed(best[1], best[2], wants_of(needs, lexed), whole)


def _groups(needs: Needs, lexed: Mapping[str, Lexed]) -> list[tuple[str, ...]]:
    """Return sets of terms of which a listing must have one each: every word, every group of tags."""
    words = dict.fromkeys(x for w in (*needs.words, *needs.phrases) for x in lexed[w].lexemes)
    return [*((word,) for word in words), *needs.any_of]


def _narrow(needs: Needs) -> list[tuple[str, ...]]:
    """Return the sets of places and of price nodes, and what happened: what common terms are put together with."""
    found = [cells_of(needs.near, needs.radius_m)] if needs.near and needs.radius_m else []
    if needs.min_minor is not None or needs.max_minor is not None:
        found.append(price_nodes(needs.currency or "", needs.min_minor or 0, needs.max_minor))
    found += [group for group in needs.any_of if group[0] in {"=~drop", "=~back"}]
    return [group for group in found if group]


def _pairs(
    groups: list[tuple[str, ...]], narrow: list[tuple[str, ...]], share: Share
) -> Iterable[tuple[float, tuple[str, ...], frozenset[str]]]:
    """Yield pairs with their share; two of a place, a price and what happened stand in the order of their first signs."""
    wide = [(g, x, frozenset(g)) for g in groups for x in narrow if g != x]
    for first, second, common in [*wide, *((a, b, frozenset[str]()) for a in narrow for b in narrow if a[0] < b[0])]:
        if len(first) * len(second) <= MOST_TERMS:
            cost = sum(map(share, first)) * sum(map(share, second))
            yield cost, tuple(f"{a}|{b}" for a, b in product(first, second)), common


def cells_of(near: tuple[float, float], radius_m: float) -> tuple[str, ...]:
    """Return the map cells that a circle touches, () where there are too many."""
    marks = filters_of(SearchRequest(near=near, radius_m=radius_m)).any_marks
    found = [f"@{mark}" for mark in marks[0]] if marks else []
    for name, last in (
        ("@cell=", 900),
        ("@area=", 90),
    ):  # what lies on the date line itself may be written as either side of it
        found += [f"{c.partition(',')[0]},{last}" for c in found if c.startswith(name) and c.endswith(f",-{last}")]
    return tuple(found)


def price_nodes(currency: str, low: int, high: int | None) -> tuple[str, ...]:
    """Return at most four nodes of the tree of price bands whose leaves cover a range, a little more where that needs less."""
    first = max(band_of(low) - 1, 0)  # one more at each end: the database may see a price at a border on its other side
    last = min(band_of(high) + 1, 2**_LEVELS - 1) if high is not None else 2**_LEVELS - 1
    for level in range(_LEVELS + 1):
        rounded = first >> level << level, (last >> level << level) + (1 << level) - 1
        nodes = tuple(_cover(*rounded))
        if len(nodes) <= _MOST_NODES:
            return tuple(f"${currency}{height}:{n}" for height, n in nodes)
    return ()


def _cover(first: int, last: int) -> Iterable[tuple[int, int]]:
    """Yield the nodes (height, number) of a binary tree whose leaves are just these."""
    height = 0
    while first <= last:
        if first & 1:
            yield height, first
            first += 1
        if not last & 1:
            yield height, last
            last -= 1
        first, last, height = first >> 1, last >> 1, height + 1


def band_of(minor: int) -> int:
    """Return the band of a price: four an octave. The database's `search_price_band` says the same."""
    return math.floor(4 * math.log2(max(minor, 0) + 1))


def wants_of(needs: Needs, lexed: Mapping[str, Lexed]) -> str | None:
    """Return words and tags as a query of the database over a listing's words and tags, None where there are none."""
    parts = [f"({q})" for w in (*needs.words, *needs.phrases) if (q := lexed[w].query)]
    parts += [f"!({q})" for w in needs.without if (q := lexed[w].query)]
    parts += [f"({' | '.join(map(_quoted, group))})" for group in needs.any_of]
    return " & ".join(parts) or None


def _quoted(tag: str) -> str:
    return "'" + tag.replace("\\", "\\\\").replace("'", "''") + "'"
