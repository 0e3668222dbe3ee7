"""What `tradepost assistant` does; it needs no database."""

import os
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tradepost.core.embeddings import open_embedder
from tradepost.core.minilm import ModelMissing
from tradepost.core.settings import Settings, load_settings
from tradepost.flows.assistant_mind import examples_of, open_classifier, tidy_examples
from tradepost.flows.preset import find_presets

_console = Console()


def _settings() -> Settings:
    return load_settings(Path("tradepost.toml"), os.environ)


def _folders(settings: Settings, store: str) -> dict[str, Path]:
    return find_presets([store] if store else settings.stores, settings.presets)


async def train_stores(store: str, language: str) -> None:
    """Teach every store's classifier anew, those with the same examples once. Raises `ModelMissing`, `NoSuchStore`."""
    settings = _settings()
    if open_embedder(settings.embeddings) is None:
        raise ModelMissing
    for code, folder in _folders(settings, store).items():
        started = time.perf_counter()
        examples = examples_of(folder, language)
        await open_classifier(settings.embeddings, tidy_examples(examples), anew=True)
        intents = len({intent for _, intent in examples})
        _console.print(f"{code}: {len(examples)} examples of {intents} intents, {time.perf_counter() - started:.1f} s.")


async def show_guesses(store: str, language: str, sentence: str) -> None:
    """Print what a sentence may want. Raises `NoSuchStore`."""
    settings = _settings()
    examples = examples_of(_folders(settings, store)[store], language)
    classifier = await open_classifier(settings.embeddings, tidy_examples(examples))
    tidy = tidy_examples(examples, sentence)
    embedder = open_embedder(settings.embeddings)
    vector = (await embedder.embed([tidy[-1][0]]))[0] if embedder and classifier.needs_vector else None
    table = Table("intent", "likely", "believed")
    for found in classifier.guess(tidy[-1][0], vector):
        table.add_row(found.intent, f"{found.likely:.3f}", "yes" if found.is_believed else "no")
    _console.print(table)
