"""How well the assistant's classifier learns: 10 examples an intent, and knowing what it was never taught.

The same code that trains a store's model is given other people's data: `bitext_intents/open` (10 examples of each intent, chosen with
seed 7, the rest is asked) and `clinc150/open` (its train part is taught, its own out-of-scope examples as “none”; its validation part is
asked). The threshold comes from held-out parts of what is taught, never from what is asked.
"""

import asyncio
import csv
import hashlib
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ground import HOME
from tradepost.assistant.classifier import MEANING, NONE, Model
from tradepost.assistant.features import Vocabulary
from tradepost.assistant.lexicon import lexicon
from tradepost.assistant.spelling import Spelling
from tradepost.assistant.training import beliefs, count_words, likelihood, matrix, nearness, train_model
from tradepost.core.embeddings import LocalModel

SHOTS, SEED = 10, 7
STRANGE_AGAIN = 3  # there are 100 sentences out of scope beside 100 of each of 150 intents
_TO_ASK = 256


def vectors_of(sentences: Sequence[str]) -> Any:
    """Return the sentences' vectors; kept beside the benchmarks' stores, because making 20,000 takes minutes."""
    folder = HOME.parent / "bench-vectors"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (hashlib.sha256("\n".join(sentences).encode()).hexdigest()[:24] + ".npy")
    if not path.exists():
        found = asyncio.run(LocalModel(HOME.parent / "models", 2).embed(sentences))
        np.save(path, np.asarray(found, np.float32))
    return np.load(path)


def asked(model: Model, sentences: Sequence[str], vectors: Any) -> tuple[Any, Any]:
    """Return the chances of every label and how far the best is believed, for many sentences at once."""
    vocabulary = Vocabulary({n: i for i, n in enumerate(model.features)}, np.frombuffer(model.rarity, "<f4").tolist())
    kinds = len(model.labels)
    weights = np.vstack(
        [np.frombuffer(part, "<f4").reshape(-1, kinds) for part in (model.words, model.meaning, model.bias)]
    )
    taught = np.frombuffer(model.examples, "<f4").reshape(len(model.owners), -1)
    chances, believed = [], []
    for start in range(0, len(sentences), _TO_ASK):
        part = vectors[start : start + _TO_ASK]
        rows = np.hstack([matrix(vocabulary, sentences[start : start + _TO_ASK]), MEANING * part])
        chances.append(likelihood(rows, weights))
        believed.append(beliefs(chances[-1], nearness(part, taught, np.array(model.owners), kinds)))
    return np.vstack(chances), np.concatenate(believed)


def few_shots(data: Path, seed: int = SEED) -> float:
    """Return the share of support requests understood after 10 examples of each intent."""
    with (data / "bitext_intents" / "open" / "intents.csv").open(encoding="utf-8", newline="") as lines:
        rows = [(row["utterance"], row["intent"]) for row in csv.DictReader(lines)]
    chance = random.Random(seed)  # noqa: S311  # a choice of examples, no secret
    taught: set[int] = set()
    for intent in sorted({intent for _, intent in rows}):
        taught.update(chance.sample([n for n, row in enumerate(rows) if row[1] == intent], SHOTS))
    spelling = Spelling(count_words([rows[n][0] for n in taught]), lexicon())
    tidy = [spelling.tidy(text) for text, _ in rows]
    vectors = vectors_of(tidy)
    ours = sorted(taught)
    model = train_model([(tidy[n], rows[n][1]) for n in ours], vectors[ours], "bench", folds=1)
    rest = [n for n in range(len(rows)) if n not in taught]
    chances, _ = asked(model, [tidy[n] for n in rest], vectors[rest])
    right = [model.labels[best] == rows[n][1] for best, n in zip(chances.argmax(1), rest, strict=True)]
    return sum(right) / len(right)


def strange_questions(data: Path) -> tuple[float, float]:
    """Return the share of questions in scope that are understood and believed, and the share of strange ones that are refused."""
    parts = json.loads((data / "clinc150" / "open" / "data.json").read_text("utf-8"))
    spelling = Spelling(count_words([text for text, _ in parts["train"]]), lexicon())
    tidy = {name: [spelling.tidy(text) for text, _ in rows] for name, rows in parts.items()}
    seen = {name: vectors_of(sentences) for name, sentences in tidy.items()}
    examples = [(s, intent) for s, (_, intent) in zip(tidy["train"], parts["train"], strict=True)]
    examples += [(s, NONE) for s in tidy["oos_train"]] * STRANGE_AGAIN
    model = train_model(
        examples, np.vstack([seen["train"]] + [seen["oos_train"]] * STRANGE_AGAIN), "bench", most=4096, folds=1
    )
    chances, believed = asked(model, tidy["val"], seen["val"])
    best = [model.labels[n] for n in chances.argmax(1)]
    wanted = [intent for _, intent in parts["val"]]
    right = [a == b and c >= model.threshold for a, b, c in zip(best, wanted, believed, strict=True)]
    chances, believed = asked(model, tidy["oos_val"], seen["oos_val"])
    refused = [model.labels[n] == NONE or c < model.threshold for n, c in zip(chances.argmax(1), believed, strict=True)]
    return sum(right) / len(right), sum(refused) / len(refused)
