"""The sentences the assistant may say, and a check that what it said has a source.

The sentences are data; a store may have its own. Filling one in with a field it does not have is an error of ours, not a gap in a reply.
"""

import re
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec

from tradepost.assistant.grammar import LANGUAGES
from tradepost.assistant.preset import store_texts
from tradepost.assistant.types import Reply
from tradepost.core.settings import parse

_NUMBER: Final = re.compile(r"\d+(?:[.,:]\d+)*")


@lru_cache(maxsize=16)
def _phrases(language: str) -> dict[str, str]:
    path = LANGUAGES / language / "phrases.toml"
    if language != "en" and not path.exists():
        return _phrases("en")
    return parse(path.read_text("utf-8"), str(path), dict[str, str])


class Speech:
    """What a store says in a language."""

    def __init__(self, folder: Path, language: str) -> None:
        self._phrases = {**_phrases("en"), **_phrases(language), **store_texts(folder, language).phrases}

    def say(self, phrase: str, **values: Any) -> str:
        """Return a phrase with its fields filled in."""
        return self._phrases[phrase].format(**values)


def numbers_without_source(reply: Reply) -> list[str]:
    """Return the numbers in a reply's sentences that stand in none of its sources: there should be none.

    A source is what a tool returned or refused with in this turn, or what it was asked for, which are the person's own words.
    """
    known = set(_numbers(msgspec.json.encode([[s.arguments, s.result, s.error] for s in reply.sources]).decode()))
    if reply.pending is not None:
        known |= set(_numbers(msgspec.json.encode(reply.pending.arguments).decode()))
    return [number for text in reply.texts for number in _numbers(text) if number not in known]


def _numbers(text: str) -> list[str]:
    return [found.rstrip(".,:") for found in _NUMBER.findall(text)]
