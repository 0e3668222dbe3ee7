"""One spelling for what was typed: small letters, numbers by a word of their own, misspelled words mended.

A word that is known (to the examples, to the store, or whole to the language model's own vocabulary) is never touched. Pure functions.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from tradepost.core.text import edit_distance

NUMBER: Final = "number"
_TOKEN: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?|\d+(?:[.,]\d+)*|[?]")
_SHORTEST, _TWICE = 4, 7  # letters of a word that is mended at all, and of one that may be two edits away
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"


def tokens(text: str) -> list[str]:
    """Return the words, numbers and question marks of a text, in small letters."""
    return [t.replace("’", "'") for t in _TOKEN.findall(text.lower())]


class Spelling:
    """Mends words by those that are `known`, with how often each was seen, and by the whole words of a `lexicon`, the commonest first."""

    def __init__(self, known: Mapping[str, int], lexicon: Mapping[str, int] | None = None) -> None:
        self._known = known
        self._lexicon = lexicon or {}
        self._mended: dict[str, str] = {}

    def mend(self, word: str) -> str:
        """Return the word that was meant, or the same one."""
        if len(word) < _SHORTEST or not word.isalpha() or word in self._known or word in self._lexicon:
            return word
        found = self._mended.get(word)
        if found is None:
            found = self._nearest(word)
            if len(self._mended) < 20_000:
                self._mended[word] = found
        return found

    def _nearest(self, word: str) -> str:
        once = set(edits(word))
        near = once & self._known.keys()
        if near:
            return max(near, key=lambda w: (self._known[w], w))
        common = once & self._lexicon.keys()
        if common:
            return min(common, key=lambda w: (self._lexicon[w], w))
        if len(word) >= _TWICE:
            far = {
                w
                for w in self._known
                if abs(len(w) - len(word)) <= 2 and len(w) >= _TWICE - 1 and _is_near(w, word, once)
            }
            if far:
                return max(far, key=lambda w: (self._known[w], w))
        return word

    def tidy(self, text: str) -> str:
        """Return a text in the one spelling: mended words, `number` for each number."""
        return " ".join(NUMBER if t[0].isdigit() else self.mend(t) for t in tokens(text))


def edits(word: str) -> Iterator[str]:
    """Yield everything one edit away: a letter too few, too many, another, or two swapped."""
    for i in range(len(word) + 1):
        head, tail = word[:i], word[i:]
        if tail:
            yield head + tail[1:]
        if len(tail) > 1:
            yield head + tail[1] + tail[0] + tail[2:]
        for letter in _LETTERS:
            if tail:
                yield head + letter + tail[1:]
            yield head + letter + tail


def _is_near(known: str, word: str, once: Collection[str]) -> bool:
    """Whether a known word is two edits away."""
    return known in once or edit_distance(known, word) <= 2
