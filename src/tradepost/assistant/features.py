"""What a classifier sees of a sentence beside its meaning: words, pairs of words, and pieces of words, weighed by how rare they are."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final

Weighed = tuple[tuple[int, float], ...]
MOST: Final = 20_000
_PIECES: Final = (3, 4, 5)


def word_features(words: Sequence[str]) -> Counter[str]:
    """Count words and pairs of neighbours."""
    found = Counter(f"w {word}" for word in words)
    found.update(f"b {a} {b}" for a, b in pairwise(words))
    return found


def piece_features(words: Iterable[str]) -> Counter[str]:
    """Count runs of three to five letters, with the edges of words marked."""
    found: Counter[str] = Counter()
    for word in words:
        edged = f"<{word}>"
        for size in _PIECES:
            found.update("c " + edged[i : i + size] for i in range(len(edged) - size + 1))
    return found


class Vocabulary:
    """The features that the examples have, each with its place and its rarity (logarithmic inverse document frequency)."""

    def __init__(self, places: Mapping[str, int], rarity: Sequence[float]) -> None:
        self.places = places
        self.rarity = rarity

    @classmethod
    def of(cls, sentences: Sequence[str], *, most: int = MOST) -> "Vocabulary":
        """Collect the features of sentences in the one spelling: all of them, or the `most` frequent."""
        seen: Counter[str] = Counter()
        for sentence in sentences:
            words = sentence.split()
            seen.update(word_features(words).keys())
            seen.update(piece_features(words).keys())
        kept = seen.most_common(most)
        rarity = [math.log((1 + len(sentences)) / (1 + count)) + 1 for _, count in kept]
        return cls({name: place for place, (name, _) in enumerate(kept)}, rarity)

    def weigh(self, sentence: str) -> Weighed:
        """Return the known features of a sentence with their weights: words and pieces each of length one."""
        words = sentence.split()
        return (*self._scaled(word_features(words)), *self._scaled(piece_features(words)))

    def _scaled(self, counts: Counter[str]) -> Weighed:
        places = self.places
        found = [
            (places[name], (1 + math.log(count)) * self.rarity[places[name]])
            for name, count in counts.items()
            if name in places
        ]
        length = math.sqrt(sum(weight * weight for _, weight in found)) or 1.0
        return tuple((place, weight / length) for place, weight in found)
