"""What a process knows of a language: its grammar, and a classifier taught by the product's examples and the store's own.

Promises that stores with the same examples share one classifier, that it is trained once and kept under the home's `models`, and that an
installation without the language model still understands, by the words of the nearest example.
"""

import asyncio
import hashlib
import os
import time
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Final, TypeGuard

import msgspec
import structlog
from sqlalchemy import text

from tradepost.assistant.classifier import Classifier, IntentModel, Model, Nearest
from tradepost.assistant.grammar import LANGUAGES, Grammar, load_grammar
from tradepost.assistant.lexicon import lexicon
from tradepost.assistant.preset import store_texts
from tradepost.assistant.speech import Speech
from tradepost.assistant.spelling import Spelling
from tradepost.assistant.training import count_words, train_model
from tradepost.core.embeddings import open_embedder, query_vectors
from tradepost.core.errors import DomainError
from tradepost.core.home import find_home, open_home
from tradepost.core.settings import EmbeddingSettings, parse
from tradepost.flows.store import Store

_log = structlog.get_logger("tradepost.assistant")
_FORM: Final = 1  # raised when the model's file changes its form
Examples = tuple[tuple[str, str], ...]


class ExampleFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`languages/<language>/examples.toml`: sentences by intent."""

    intents: dict[str, tuple[str, ...]]


class Mind(msgspec.Struct, frozen=True):
    """All that is needed to understand and to say something in one store and language; `words` are those of its listings."""

    language: str
    grammar: Grammar
    speech: Speech
    spelling: Spelling
    classifier: Classifier
    words: frozenset[str]


@lru_cache(maxsize=16)
def _own_examples(language: str) -> Examples:
    path = LANGUAGES / language / "examples.toml"
    if not path.exists():
        return _own_examples("en")
    found = parse(path.read_text("utf-8"), str(path), ExampleFile)
    return tuple((one, intent) for intent, says in found.intents.items() for one in says)


def examples_of(folder: Path, language: str) -> Examples:
    """Return the examples that a store's classifier learns from: (what is said, what is meant)."""
    store = tuple((one, e.intent) for e in store_texts(folder, language).examples for one in e.says)
    return (*_own_examples(language), *store)


_RENEWED_AFTER_S: Final = 600.0
_STORE_WORDS: Final = text("SELECT word FROM search_vocabulary ORDER BY documents DESC, word LIMIT 20000")
_minds: dict[tuple[str, Path, str, EmbeddingSettings], tuple[float, Mind]] = {}
_classifiers: dict[str, Classifier] = {}
_teaching = asyncio.Lock()


async def open_mind(store: Store, language: str = "en") -> Mind:
    """Return what understands this store's customers, taught the first time it is asked for; its words are read anew now and then."""
    key = store.code, store.preset_folder, language, store.installation.embeddings
    found = _minds.get(key)
    if _is_fresh(found):
        return found[1]
    async with _teaching:
        found = _minds.get(key)  # whoever had the lock before may have made it
        if not _is_fresh(found):
            found = _minds[key] = time.monotonic(), await _open(store, language)
    return found[1]


async def teach_ahead(store: Store, language: str = "en") -> None:
    """Train a store's classifier where none is kept yet, so that nobody's first question waits for it. Never raises."""
    settings = store.installation.embeddings
    examples = tidy_examples(examples_of(store.preset_folder, language))
    mark = _mark_of(settings, examples)
    if mark is None:
        return
    path = _model_path(settings, mark)
    try:
        async with _teaching:  # the stores of an installation mostly share one
            if not path.exists():
                await teach(settings, examples, path, mark)
    except (DomainError, OSError) as error:
        _log.warning("assistant.not_taught", store=store.code, error=str(error))


def _is_fresh(found: tuple[float, Mind] | None) -> TypeGuard[tuple[float, Mind]]:
    return found is not None and time.monotonic() - found[0] <= _RENEWED_AFTER_S


async def _open(store: Store, language: str) -> Mind:
    examples = examples_of(store.preset_folder, language)
    classifier = await open_classifier(store.installation.embeddings, tidy_examples(examples))
    own = dict.fromkeys(
        (row[0] for row in await store.db.read(_STORE_WORDS)), 0
    )  # known, but nothing is mended into them first
    spelling = Spelling({**own, **count_words([says for says, _ in examples])}, lexicon())
    return Mind(
        language, load_grammar(language), Speech(store.preset_folder, language), spelling, classifier, frozenset(own)
    )


def tidy_examples(examples: Examples, *more: str) -> Examples:
    """Return examples in the one spelling; `more` are sentences that are no examples, without an intent."""
    taught = Spelling(count_words([says for says, _ in examples]), lexicon())
    return tuple((taught.tidy(says), intent) for says, intent in (*examples, *((one, "") for one in more)))


async def open_classifier(settings: EmbeddingSettings, examples: Examples, *, anew: bool = False) -> Classifier:
    """Return a classifier of examples in the one spelling: in memory, from its file, or taught now (`anew`: in any case)."""
    mark = _mark_of(settings, examples)
    if mark is None:
        return Nearest(examples)
    if anew or mark not in _classifiers:
        path = _model_path(settings, mark)
        model = None if anew else await asyncio.to_thread(_read, path)
        _classifiers[mark] = IntentModel(model or await teach(settings, examples, path, mark))
    return _classifiers[mark]


def _read(path: Path) -> Model | None:
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Model)
    except (OSError, msgspec.MsgspecError):
        return None


def _mark_of(settings: EmbeddingSettings, examples: Sequence[tuple[str, str]]) -> str | None:
    """Return what names the classifier of examples, None where nothing here can train one."""
    embedder = open_embedder(settings)
    if embedder is None or find_spec("numpy") is None:
        return None
    return _mark(embedder.model, examples)


def _mark(model: str, examples: Sequence[tuple[str, str]]) -> str:
    return hashlib.sha256(msgspec.json.encode([_FORM, model, examples])).hexdigest()[:24]


def _model_path(settings: EmbeddingSettings, mark: str) -> Path:
    folder = Path(settings.folder) if settings.folder else open_home(find_home(os.environ)).folder("models")
    return folder / f"assistant-{mark}.msgpack"


async def teach(settings: EmbeddingSettings, examples: Examples, path: Path, mark: str) -> Model:
    """Train a classifier and keep it. Takes seconds, beside the event loop."""
    embedder = open_embedder(settings)
    vectors = await embedder.embed([one for one, _ in examples]) if embedder else []
    model = await asyncio.to_thread(train_model, examples, vectors, mark)
    await asyncio.to_thread(_keep, model, path)
    return model


def _keep(model: Model, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_suffix(f".{os.getpid()}.new")
    written.write_bytes(msgspec.msgpack.encode(model))
    written.replace(path)


async def vector_of(store: Store, mind: Mind, sentence: str) -> list[float] | None:
    """Return the vector of a sentence in the one spelling, where the classifier needs one."""
    vectors = query_vectors(store.installation.embeddings) if mind.classifier.needs_vector else None
    return await vectors.of(sentence, wait=True) if vectors else None
