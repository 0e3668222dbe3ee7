"""Telling what a sentence wants: softmax regression over its words, its pieces of words and its vector of meaning.

A guess is believed when the model is sure and the sentence is like the examples of what it guessed: a question about something else
altogether can make a model sure, but it is like nothing that it was taught. Where numpy or the vectors are missing, `Nearest` decides by
the words of the nearest example.
"""

import math
from collections.abc import Sequence
from typing import Any, Final, Protocol

import msgspec

from tradepost.assistant.features import Vocabulary, Weighed
from tradepost.core.embeddings import Vector

MEANING: Final = 2.0
"""How much the vector of a sentence (length one) weighs beside words and pieces (length one each): chosen on the intents benchmark."""
LIKENESS: Final = 5.0
"""How much likeness to the examples weighs beside the logarithm of how likely the intent is."""
NEIGHBOURS: Final = 3
NONE: Final = "none"
"""The intent of everything that the assistant cannot do."""


class Guess(msgspec.Struct, frozen=True):
    """What a sentence may want, how likely that is (0 to 1), and whether it is to be believed."""

    intent: str
    likely: float
    is_believed: bool


class Classifier(Protocol):
    """Guesses what a sentence wants."""

    @property
    def needs_vector(self) -> bool:
        """Whether a sentence must come with its vector."""
        ...

    def guess(self, sentence: str, vector: Vector | None) -> tuple[Guess, ...]:
        """Return what a sentence in the one spelling may want, the likeliest first."""
        ...


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A trained model as its file has it: matrices as rows of 32-bit numbers.

    `mark` tells from what it was trained; `examples` are the vectors of the examples, `owners` the place of each one's label.
    """

    mark: str
    labels: tuple[str, ...]
    features: tuple[str, ...]
    rarity: bytes
    words: bytes
    meaning: bytes
    bias: bytes
    examples: bytes
    owners: tuple[int, ...]
    threshold: float


class IntentModel:
    """A trained model, ready to be asked. Needs numpy."""

    needs_vector = True

    def __init__(self, model: Model) -> None:
        import numpy as np

        self.mark, self.labels, self.threshold = model.mark, model.labels, model.threshold
        kinds, size = len(model.labels), len(model.features)
        rarity = np.frombuffer(model.rarity, "<f4").tolist()
        self._vocabulary = Vocabulary({name: n for n, name in enumerate(model.features)}, rarity)
        self._words = np.frombuffer(model.words, "<f4").reshape(size, kinds)
        self._meaning = np.frombuffer(model.meaning, "<f4").reshape(-1, kinds)
        self._bias = np.frombuffer(model.bias, "<f4")
        self._examples = np.frombuffer(model.examples, "<f4").reshape(len(model.owners), -1)
        self._of = [np.flatnonzero(np.array(model.owners) == n) for n in range(kinds)]

    def guess(self, sentence: str, vector: Vector | None) -> tuple[Guess, ...]:
        """Return what a sentence in the one spelling may want, the likeliest first."""
        import numpy as np

        seen = np.asarray(vector, np.float32)
        scores = self._bias + MEANING * (seen @ self._meaning)
        weighed = self._vocabulary.weigh(sentence)
        if weighed:
            places, weights = zip(*weighed, strict=True)
            scores = scores + np.asarray(weights, np.float32) @ self._words[list(places)]
        chances = np.exp(scores - scores.max())
        chances = chances / chances.sum()
        likeness = self._examples @ seen
        found = []
        for n in np.argsort(-chances)[:5].tolist():
            near = np.sort(likeness[self._of[n]])[-NEIGHBOURS:].mean()
            believed = belief(float(chances[n]), float(near)) >= self.threshold
            found.append(Guess(self.labels[n], float(chances[n]), bool(believed)))
        return tuple(found)


def belief(likely: float, near: float) -> float:
    """Return how far a guess is to be believed: likeliness and likeness to what was taught."""
    return math.log(max(likely, 1e-9)) + LIKENESS * near


class Nearest:
    """Guesses by the words of the nearest example: for an installation without vectors. Needs nothing and no training."""

    needs_vector = False
    _BELIEVED: Final = 1.0  # of 2: words and pieces count one each

    def __init__(self, examples: Sequence[tuple[str, str]]) -> None:
        self._vocabulary = Vocabulary.of([sentence for sentence, _ in examples])
        self._holders: dict[int, list[tuple[int, float]]] = {}
        self._intents = [intent for _, intent in examples]
        for n, (sentence, _) in enumerate(examples):
            for place, weight in self._vocabulary.weigh(sentence):
                self._holders.setdefault(place, []).append((n, weight))

    def guess(self, sentence: str, vector: Vector | None = None) -> tuple[Guess, ...]:  # noqa: ARG002  # the protocol's
        """Return what a sentence in the one spelling may want, the likeliest first."""
        best: dict[str, float] = {}
        for n, likeness in self._likeness(self._vocabulary.weigh(sentence)).items():
            intent = self._intents[n]
            best[intent] = max(best.get(intent, 0.0), likeness)
        ranked = sorted(best.items(), key=lambda pair: (-pair[1], pair[0]))[:5]
        return tuple(Guess(intent, likeness / 2, likeness >= self._BELIEVED) for intent, likeness in ranked)

    def _likeness(self, weighed: Weighed) -> dict[int, float]:
        found: dict[int, float] = {}
        for place, weight in weighed:
            for n, other in self._holders.get(place, ()):
                found[n] = found.get(n, 0.0) + weight * other
        return found


def as_matrix(vectors: Sequence[Vector]) -> Any:
    """Return vectors as a matrix, a row each."""
    import numpy as np

    return np.asarray(vectors, np.float32)
