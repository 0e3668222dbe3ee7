"""Training the classifier: softmax regression by L-BFGS, in seconds, on the CPU. Needs numpy, which the extra `vectors` brings.

Deterministic: the same examples give the same model. The regression is that of Malouf (2002); L-BFGS after Nocedal and Wright,
Numerical Optimization, algorithm 7.5, with a backtracking line search.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from tradepost.assistant.classifier import LIKENESS, MEANING, NEIGHBOURS, NONE, Model
from tradepost.assistant.features import MOST, Vocabulary
from tradepost.assistant.spelling import tokens
from tradepost.core.embeddings import Vector

_MEMORY, _SMALLEST_STEP, _PARTS, _SEED = 8, 1e-6, 5, 7


def count_words(sentences: Sequence[str]) -> dict[str, int]:
    """Return the words of examples with how often each is there: what misspelled words are mended by."""
    return dict(Counter(word for sentence in sentences for word in tokens(sentence) if word.isalpha()))


def matrix(vocabulary: Vocabulary, sentences: Sequence[str]) -> Any:
    """Return the weights of features, a row for each sentence."""
    import numpy as np

    found = np.zeros((len(sentences), len(vocabulary.places)), np.float32)
    for row, sentence in enumerate(sentences):
        for place, weight in vocabulary.weigh(sentence):
            found[row, place] = weight
    return found


def regress(inputs: Any, wanted: Any, classes: int, *, looseness: float = 100.0, rounds: int = 200) -> Any:
    """Return weights with the bias as the last row. `looseness`: the higher, the closer to the examples (C of LIBLINEAR).

    With fewer examples than features it works in the space that the examples span, which has the same optimum.
    """
    import numpy as np

    if inputs.shape[0] >= inputs.shape[1]:
        return _regress(inputs, wanted, classes, looseness, rounds)
    spread, axes = np.linalg.eigh(inputs @ inputs.T)
    kept = spread > spread.max() * 1e-6
    axes, length = axes[:, kept], np.sqrt(spread[kept])
    inner = _regress((axes * length).astype(np.float32), wanted, classes, looseness, rounds)
    return np.vstack([inputs.T @ ((axes / length) @ inner[:-1]), inner[-1]]).astype(np.float32)


def _regress(inputs: Any, wanted: Any, classes: int, looseness: float, rounds: int) -> Any:
    import numpy as np

    count, width = inputs.shape
    decay = 1.0 / (looseness * count)
    target = np.eye(classes, dtype=np.float32)[wanted]

    def loss(flat: Any) -> tuple[float, Any]:
        weights = flat.reshape(width + 1, classes)
        scores = inputs @ weights[:-1] + weights[-1]
        scores -= scores.max(1, keepdims=True)
        parts = np.exp(scores)
        whole = parts.sum(1, keepdims=True)
        value = -(scores[np.arange(count), wanted] - np.log(whole[:, 0])).mean() + decay / 2 * (weights[:-1] ** 2).sum()
        error = (parts / whole - target) / count
        slope = np.empty_like(weights)
        slope[:-1], slope[-1] = inputs.T @ error + decay * weights[:-1], error.sum(0)
        return float(value), slope.ravel()

    return _descend(loss, np.zeros((width + 1) * classes, np.float32), rounds).reshape(width + 1, classes)


def _descend(loss: Any, at: Any, rounds: int) -> Any:
    value, slope = loss(at)
    past: list[tuple[Any, Any, float]] = []
    for _ in range(rounds):
        way = _direction(slope, past)
        fall, step = float(slope @ way), 1.0
        there = at - way
        new_value, new_slope = loss(there)
        while new_value > value - 1e-4 * step * fall and step > _SMALLEST_STEP:
            step /= 2
            there = at - step * way
            new_value, new_slope = loss(there)
        moved, turned = there - at, new_slope - slope
        if float(moved @ turned) > 1e-12:
            past = [*past[1 - _MEMORY :], (moved, turned, 1.0 / float(moved @ turned))]
        is_done = abs(value - new_value) < 1e-7 * max(1.0, abs(value))
        at, value, slope = there, new_value, new_slope
        if is_done:
            break
    return at


def _direction(slope: Any, past: list[tuple[Any, Any, float]]) -> Any:
    import numpy as np

    way, shares = slope.copy(), []
    for moved, turned, weight in reversed(past):
        shares.append(weight * float(moved @ way))
        way -= shares[-1] * turned
    if past:
        moved, turned, _ = past[-1]
        way *= float(moved @ turned) / float(turned @ turned)
    else:
        way /= max(1e-9, float(np.linalg.norm(slope)))
    for (moved, turned, weight), share in zip(past, reversed(shares), strict=True):
        way += moved * (share - weight * float(turned @ way))
    return way


KEPT: Final = 0.995
"""The share of right answers on unseen examples that stay believed: the threshold is set there."""


def train_model(
    examples: Sequence[tuple[str, str]], vectors: Sequence[Vector], mark: str, *, most: int = MOST, folds: int = 5
) -> Model:
    """Return a model of (sentence in the one spelling, intent) pairs and the sentences' vectors.

    The threshold is set by `folds` of five: models that are each asked about the examples they have not seen. `most`: features kept.
    """
    import numpy as np

    sentences = [sentence for sentence, _ in examples]
    labels = tuple(sorted({intent for _, intent in examples}))
    wanted = np.array([labels.index(intent) for _, intent in examples])
    vocabulary = Vocabulary.of(sentences, most=most)
    meaning = np.asarray(vectors, np.float32)
    inputs = np.hstack([matrix(vocabulary, sentences), MEANING * meaning])
    weights = regress(inputs, wanted, len(labels))
    size = len(vocabulary.places)
    return Model(
        mark=mark, labels=labels, features=tuple(vocabulary.places), rarity=_bytes(np.array(vocabulary.rarity)),
        words=_bytes(weights[:size]), meaning=_bytes(weights[size:-1]), bias=_bytes(weights[-1]), examples=_bytes(meaning),
        owners=tuple(wanted.tolist()), threshold=_threshold(inputs, meaning, wanted, labels, folds),
    )  # fmt: skip


def _bytes(values: Any) -> bytes:
    found: bytes = values.astype("<f4").tobytes()
    return found


def _threshold(inputs: Any, meaning: Any, wanted: Any, labels: Sequence[str], folds: int) -> float:
    import numpy as np

    part = np.random.default_rng(_SEED).integers(0, _PARTS, len(wanted))
    known = np.array([label != NONE for label in labels])[wanted]
    found: list[float] = []
    for fold in range(folds):
        taught, asked = part != fold, (part == fold) & known
        weights = regress(inputs[taught], wanted[taught], len(labels), rounds=80)
        chances = likelihood(inputs[asked], weights)
        near = nearness(meaning[asked], meaning[taught], wanted[taught], len(labels))
        right = chances.argmax(1) == wanted[asked]
        found += beliefs(chances, near)[right].tolist()
    return float(np.quantile(found, 1 - KEPT)) if found else 0.0


def likelihood(inputs: Any, weights: Any) -> Any:
    """Return how likely each class is, a row for each input."""
    import numpy as np

    scores = inputs @ weights[:-1] + weights[-1]
    parts = np.exp(scores - scores.max(1, keepdims=True))
    return parts / parts.sum(1, keepdims=True)


def nearness(asked: Any, taught: Any, owners: Any, classes: int) -> Any:
    """Return the likeness of sentences to the nearest examples of each class, a row for each sentence."""
    import numpy as np

    alike = asked @ taught.T
    found = np.full((len(asked), classes), -1.0, np.float32)
    for n in range(classes):
        own = alike[:, owners == n]
        if own.shape[1]:
            found[:, n] = np.sort(own, axis=1)[:, -NEIGHBOURS:].mean(1)
    return found


def beliefs(chances: Any, near: Any) -> Any:
    """Return how far the likeliest class of each row is to be believed, as `classifier.belief`."""
    import numpy as np

    best = chances.argmax(1)
    rows = np.arange(len(best))
    return np.log(np.maximum(chances[rows, best], 1e-9)) + LIKENESS * near[rows, best]
