"""What two listings of the same thing have in common: fingerprints that find candidates, and the judgement of a pair.

Titles become sets of words; a set's bands (min-wise hashes, eight of three) are shared by sets that are much alike and hardly ever by
others, so that candidates come from an index. A pair is the same thing when its words say so and nothing speaks against it: another
number in the title (128 and 256 GB, two model years) or another price.
"""

import io
import re
import unicodedata
import zlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

_WORD: Final = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+")
_EMPTY: Final = frozenset(
    [
        "a",
        "an",
        "and",
        "the",
        "of",
        "for",
        "with",
        "in",
        "on",
        "at",
        "by",
        "to",
        "or",
        "from",
        "is",
        "it",
        "its",
        "this",
        "very",
        "new",
        "used",
        "good",
        "great",
        "like",
        "sale",
        "sell",
        "selling",
        "nice",
        "condition",
        "der",
        "die",
        "das",
        "und",
        "mit",
        "für",
        "von",
        "le",
        "la",
        "les",
        "de",
        "du",
        "des",
        "et",
        "un",
        "une",
        "avec",
        "el",
        "los",
        "las",
        "y",
        "con",
        "para",
        "por",
        "il",
        "di",
        "e",
        "per",
    ]
)
_MASK: Final = (1 << 61) - 1
_BANDS, _ROWS = 8, 3
_SEEDS: Final = tuple(((n * 0x9E3779B97F4A7C15) | 1, n * 0xC2B2AE3D27D4EB4F) for n in range(1, _BANDS * _ROWS + 1))
_PICTURE_PARTS: Final = 4
ALIKE: Final = 0.6
"""How much of their words two titles share at least that are of the same thing."""
NEAR_PRICES: Final = 1.5
"""By which factor the prices of the same thing may differ."""


def title_words(title: str) -> frozenset[str]:
    """Return the words of a title that say what it is: without accents, case and filler."""
    plain = unicodedata.normalize("NFKD", title).lower() if not title.isascii() else title.lower()
    return frozenset(w for w in _WORD.findall(plain) if w not in _EMPTY)


def bands(title: str) -> tuple[int, ...]:
    """Return what titles much like this one share at least one of; nothing for a title of fewer than two words."""
    hashes = [_hashes(w) for w in title_words(title)]
    if len(hashes) < 2:
        return ()
    least = list(map(min, *hashes))
    return tuple(
        (least[n] * 3 + least[n + 1] * 5 + least[n + 2] * 7 + n) & _MASK for n in range(0, _BANDS * _ROWS, _ROWS)
    )


@lru_cache(maxsize=8192)
def _hashes(word: str) -> tuple[int, ...]:
    h = zlib.crc32(word.encode())
    return tuple((h * a + b) & _MASK for a, b in _SEEDS)


def picture_bands(picture_print: int) -> tuple[int, ...]:
    """Return what pictures much like this one share at least one of: the quarters of its fingerprint, told apart from words."""
    bits = picture_print & 0xFFFF_FFFF_FFFF_FFFF
    return tuple(-1 - ((n << 16) | ((bits >> (16 * n)) & 0xFFFF)) for n in range(_PICTURE_PARTS))


def picture_print(data: bytes) -> int:
    """Return a picture's fingerprint: in 64 places, whether it gets darker from left to right there (a difference hash)."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        small = picture.convert("L").resize((9, 8), Image.Resampling.LANCZOS)
    grey = small.tobytes()
    bits = sum(1 << (8 * y + x) for y in range(8) for x in range(8) if grey[9 * y + x] > grey[9 * y + x + 1])
    return bits - (1 << 64) if bits >> 63 else bits


def picture_distance(one: int, other: int) -> int:
    """Return in how many of 64 places two pictures' fingerprints differ."""
    return ((one ^ other) & 0xFFFF_FFFF_FFFF_FFFF).bit_count()


def share(one: Iterable[str], other: Iterable[str]) -> float:
    """Return how much two sets of words have in common, from 0 to 1 (Jaccard)."""
    left, right = frozenset(one), frozenset(other)
    return len(left & right) / len(left | right) if left or right else 0.0


def numbers(words: Iterable[str]) -> frozenset[str]:
    """Return the numbers among words."""
    return frozenset(w for w in words if w[0].isdigit())


def is_same_thing(
    one: str,
    other: str,
    *,
    prices: Sequence[int | None] = (),
    picture_bits: int | None = None,
    meaning: float | None = None,
) -> bool:
    """Whether two titles, with what else is known of the pair, are of the same thing.

    `prices` are both, in one currency; `picture_bits` in how many places their first pictures differ; `meaning` the cosine of
    their vectors. Numbers in the titles must not contradict each other.
    """
    left, right = title_words(one), title_words(other)
    if numbers(left) ^ numbers(right) and not (numbers(left) <= numbers(right) or numbers(right) <= numbers(left)):
        return False
    known = [p for p in prices if p]
    if len(known) == 2 and max(known) > NEAR_PRICES * min(known):
        return False
    alike = share(left, right)
    if alike >= ALIKE:
        return True
    seen_alike = picture_bits is not None and picture_bits <= 4
    meant_alike = meaning is not None and meaning >= 0.9
    return (alike >= 0.25 and seen_alike) or (alike >= 0.4 and meant_alike)
