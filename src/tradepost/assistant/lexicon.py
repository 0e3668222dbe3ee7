"""The words that the language model knows whole, the commonest first: what a misspelled word may have meant."""

from functools import cache
from typing import Final

import msgspec

from tradepost.core.errors import Unavailable
from tradepost.core.minilm import weights_folder

_SHORTEST: Final = 2


class _Tokens(msgspec.Struct, frozen=True):
    vocab: dict[str, int]


class _Tokenizer(msgspec.Struct, frozen=True):
    model: _Tokens


@cache
def lexicon() -> dict[str, int]:
    """Return whole words with their place; none where the model is not installed."""
    try:
        path = weights_folder() / "tokenizer.json"
    except Unavailable:
        return {}
    found = msgspec.json.decode(path.read_bytes(), type=_Tokenizer).model.vocab
    return {
        word: place for word, place in found.items() if len(word) >= _SHORTEST and word.isascii() and word.isalpha()
    }
