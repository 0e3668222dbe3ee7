"""Text as people type it: one spelling for the same letters, and nothing in it that cannot be seen.

Promises that text which passes `is_plain` can be stored and printed, and that what `one_line` returns of it can be put in a mail
header's value without harm. It does not escape anything: that is the templates' work.
"""

import re
import unicodedata

_JOINERS = {"\u200c", "\u200d", "\u200e", "\u200f"}  # Persian, emoji and right-to-left text need them


def one_line(text: str) -> str:
    """Return text with runs of white space as one space, none at the ends, and invisible formatting left out."""
    return " ".join(_composed(text).split())


def paragraphs(text: str) -> str:
    """Return text with its line breaks, at most one empty line in a row, and invisible formatting left out."""
    if "\n" not in text and "\r" not in text:
        return _composed(text).strip()
    lines = [line.rstrip() for line in _composed(text).replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def is_plain(text: str) -> bool:
    """Whether text holds no control character (line breaks and tabs aside) and no half of a surrogate pair."""
    return all(c in "\n\r\t" or unicodedata.category(c) not in {"Cc", "Cs"} for c in text)


def edit_distance(a: str, b: str, most: int = 3) -> int:
    """Return how many letters must be added, dropped, changed or swapped with their neighbour; `most` where it is that or more."""
    if abs(len(a) - len(b)) >= most:
        return most
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        older, before, row = before, row, [i]
        for j, y in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
        if min(row) >= most:
            return most
    return min(row[-1], most)


def _composed(text: str) -> str:
    """Compose letters with their accents; leave out marks that only turn the text around or hide in it."""
    if text.isascii():
        return text
    kept = (c for c in text if c in _JOINERS or unicodedata.category(c) != "Cf")
    return unicodedata.normalize("NFC", "".join(kept))


def slugify(text: str) -> str:
    """Return text as a part of a page's address: lower-case ASCII letters, digits and hyphens, at most 80 long."""
    plain = text if text.isascii() else unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    plain = plain.lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:80].rstrip("-") or "listing"
