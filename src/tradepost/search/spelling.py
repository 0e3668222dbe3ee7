"""How the words of a query may be written in documents: mended, joined, parted, by another name."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import msgspec

from tradepost.search.queries import Known, QueryFacts, TermFacts
from tradepost.search.rules import Words, allowed_edits, best_correction

_OTHER_NAME = 0.8
_JOINED = 0.9
_ENDINGS = ("s", "es", "ed", "ing", "ly")


class Spelling(msgspec.Struct, frozen=True):
    """One way to write a word: as query text, with its weight and how many documents have it."""

    query: str
    weight: float
    documents: int


class Spellings(msgspec.Struct, frozen=True):
    """For each word of a query the ways to write it, each group to be had; and the query as mended, None where nothing was."""

    groups: tuple[tuple[Spelling, ...], ...]
    corrected: str | None = None

    @property
    def strict(self) -> str:
        """The query text that wants every word."""
        return " & ".join(_any(group) for group in self.groups)

    @property
    def loose(self) -> str:
        """The query text that does without one word, whichever; of two words with the rarer one."""
        if len(self.groups) == 2:
            return _any(min(self.groups, key=lambda g: g[0].documents))
        rest = (self.groups[:n] + self.groups[n + 1 :] for n in range(len(self.groups)))
        return " | ".join("(" + " & ".join(_any(g) for g in part) + ")" for part in rest)


def _any(group: Sequence[Spelling]) -> str:
    return "(" + " | ".join(f"({s.query})" for s in group) + ")"


def spell(wanted: Words, facts: QueryFacts) -> Spellings:
    """Return how the words of a query may be written. Words that mean nothing alone (of, the) are left out."""
    by_word = {t.word: t for t in facts.terms}
    groups: list[tuple[Spelling, ...]] = []
    shown: list[str] = []
    mended = False
    words = list(wanted.words)
    while words:
        word = words.pop(0)
        term, pair = by_word[word], by_word.get(word + words[0]) if words else None
        if pair and pair.titles and words and not (term.is_known and by_word[words[0]].is_known):
            words.pop(0)
            groups += _of_term(pair, facts)
            shown.append(pair.word)
            mended = True
            continue
        meant = mend(term)
        if meant:
            groups += [(_spelling(k, facts),) for k in meant]
            shown += [k.word for k in meant]
            mended = True
        else:
            groups += _of_term(term, facts)
            shown.append(word)
    groups = _with_pairs(wanted.words, groups, by_word) if not mended else groups
    return Spellings(tuple(groups[:12]), " ".join(shown) if mended else None)


def mend(term: TermFacts) -> tuple[Known, ...] | None:
    """Return the word or the two words that were meant, or None where this one is known or nothing is near.

    A form that nobody wrote of a word that somebody did (rugs, where there is a rug) is known.
    """
    limit = allowed_edits(term.word)
    if not term.stems or not limit or term.is_new:
        return None
    if term.titles or (any(term.documents) and term.word.endswith(_ENDINGS)):
        return None
    candidates = {k.word: k for k in term.similar if k.stem}
    found = best_correction(term.word, ((k.word, max(k.titles, k.documents)) for k in candidates.values()))
    if found:
        return None if candidates[found].stem == term.stems[0] else (candidates[found],)
    return term.split if term.split and not term.is_known else None


def _of_term(term: TermFacts, facts: QueryFacts) -> list[tuple[Spelling, ...]]:
    """Return a group for each stem (a compound has several); other names belong to a word of one stem."""
    stems = [Spelling(quoted(s), rarity(facts, n), n) for s, n in zip(term.stems, term.documents, strict=True)]
    if len(stems) != 1:
        return [(s,) for s in stems[:4]]
    others = [Spelling(query, _OTHER_NAME * stems[0].weight, 0) for query in term.others if query]
    return [(stems[0], *others)]


def _with_pairs(
    words: Sequence[str], groups: list[tuple[Spelling, ...]], by_word: Mapping[str, TermFacts]
) -> list[tuple[Spelling, ...]]:
    """Let two neighbours also be found as one word, or by the name that the two have together."""
    stems = {quoted(t.stems[0]): n for n, t in enumerate(by_word[w] for w in words) if len(t.stems) == 1}
    extra: dict[int, list[Spelling]] = {}
    for n, (a, b) in enumerate(pairwise(words)):
        joined, both = by_word.get(a + b), by_word.get(f"{a} {b}")
        found = (
            [Spelling(quoted(joined.stems[0]), 0.0, joined.documents[0])]
            if joined and joined.titles and len(joined.stems) == 1
            else []
        )
        found += [Spelling(query, 0.0, 0) for query in (both.others if both else ()) if query]
        for at in (n, n + 1):
            extra.setdefault(at, []).extend(found)
    made = []
    for group in groups:
        more = extra.get(stems.get(group[0].query, -1), [])
        made.append((*group, *(msgspec.structs.replace(s, weight=_JOINED * group[0].weight) for s in more))[:6])
    return made


def _spelling(known: Known, facts: QueryFacts) -> Spelling:
    return Spelling(quoted(known.stem), rarity(facts, known.documents), known.documents)


def quoted(stem: str) -> str:
    """Return a stem as query text."""
    return "'" + stem.replace("\\", "\\\\").replace("'", "''") + "'"


def rarity(facts: QueryFacts, documents: int) -> float:
    """Return what a word weighs by its rarity, as BM25 has it."""
    whole = max(facts.documents, documents, 1)
    return math.log(1 + (whole - documents + 0.5) / (documents + 0.5))
