"""What a store's preset says for the assistant: `assistant/<language>.toml`, beside `store.toml`.

Owns the shape of that file; an unknown key is an error that names the file. A store without one has the product's own words only.
"""

from functools import lru_cache
from pathlib import Path

import msgspec

from tradepost.core.settings import parse


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class FactText(_Part, frozen=True, kw_only=True):
    """Something that the store says of itself, under a topic: hours, delivery, returns, payment, contact, place, about."""

    topic: str
    text: str
    link: str = ""


class Example(_Part, frozen=True, kw_only=True):
    """How people in this store say something: sentences of an intent."""

    intent: str
    says: tuple[str, ...]


class Policy(_Part, frozen=True, kw_only=True):
    """What the assistant's tools hold to beside the store's processes. `cancel_reasons`: none means any reason, or no reason."""

    cancel_reasons: tuple[str, ...] = ()


class StoreTexts(_Part, frozen=True, kw_only=True):
    """All of a store's file for one language. `words`: another word for one of the store's, “trainers” = “sneakers”."""

    facts: tuple[FactText, ...] = ()
    examples: tuple[Example, ...] = ()
    words: dict[str, str] = {}
    phrases: dict[str, str] = {}
    starters: tuple[str, ...] = ()
    policy: Policy = Policy()


@lru_cache(maxsize=64)
def store_texts(folder: Path, language: str = "en") -> StoreTexts:
    """Return what the preset in `folder` says in a language. Raises `BadSettings`."""
    path = folder / "assistant" / f"{language}.toml"
    return parse(path.read_text("utf-8"), str(path), StoreTexts) if path.exists() else StoreTexts()
