"""Feeds as streams of rows: bytes in, rows out, never a whole document in memory.

A line or element that is broken is a row with a problem, and reading goes on behind it; where the form does not allow that (a JSON
document that breaks off), `Broken` says where, and what came before counts.
"""

import csv
import io
import re
from codecs import getincrementaldecoder, lookup
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Final

import ijson
import msgspec

from tradepost.core.errors import Invalid
from tradepost.sources.types import Raw

LONGEST_ROW: Final = 2_000_000
"""Bytes that a row may have; a longer one is refused, whatever it is."""
_LONGEST_SILENCE: Final = 8_000_000
Chunks = AsyncIterator[bytes]
_BOMS: Final = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


@dataclass(eq=False)
class Broken(Invalid):
    """It is broken at {place}: {problem}"""

    place: str
    problem: str


async def lines_of(chunks: Chunks) -> AsyncIterator[tuple[int, bytes]]:
    """Yield lines with their numbers from 1, without their ends; of one longer than a row may be only its beginning."""
    rest, number, is_cut = b"", 0, False
    async for chunk in chunks:
        parts = (rest + chunk).split(b"\n")
        rest = parts.pop()
        for part in parts:
            number += 1
            if not is_cut:
                yield number, part.rstrip(b"\r")
            is_cut = False
        if len(rest) > LONGEST_ROW:
            if not is_cut:
                yield number + 1, rest[: LONGEST_ROW + 1]
            rest, is_cut = b"", True
    if rest and not is_cut:
        yield number + 1, rest.rstrip(b"\r")


async def read_ndjson(chunks: Chunks) -> AsyncIterator[Raw]:
    """Yield the objects of newline-delimited JSON."""
    decode = msgspec.json.Decoder().decode
    async for number, found in lines_of(chunks):
        line = found.removeprefix(b"\xef\xbb\xbf") if number == 1 else found
        if not line or line.isspace():
            continue
        place = f"line {number:,}"
        if len(line) > LONGEST_ROW:
            yield Raw(place, {}, "The line is longer than two million bytes.", _shown(line))
            continue
        try:
            data = decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            yield Raw(place, {}, f"This is not JSON: {str(error)[:150]}", _shown(line))
            continue
        if isinstance(data, dict):
            yield Raw(place, data)
        else:
            yield Raw(place, {}, "This is not a JSON object.", _shown(line))


def _shown(line: bytes) -> str:
    return line[:300].decode("utf-8", "replace").replace("\x00", "")


async def read_json(chunks: Chunks, items: str = "") -> AsyncIterator[Raw]:
    """Yield the objects of an array in a JSON document: the array itself, or the one at the path `items` (`data.listings`).

    Without a path, the rows of an object are the first array in it. Raises `Broken` where the document is not JSON.
    """
    head, chunks = await _peeked(chunks)
    if not items and not head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
        found = re.search(rb'"([^"\\]{1,100})"\s*:\s*\[\s*\{', head)
        items = found[1].decode("utf-8", "replace") if found else ""
    ready = ijson.sendable_list()
    parser = ijson.items_coro(ready, f"{items}.item" if items else "item", use_float=True)
    number, line, problem, since = 0, 1, "", 0
    async for chunk in chunks:
        for at in range(0, len(chunk), 65_536):
            part = chunk[at : at + 65_536]
            since = len(part) if ready else since + len(part)
            if since > _LONGEST_SILENCE:
                raise Broken(f"row {number + 1:,}, line {line:,}", "it goes on for millions of bytes without a row.")
            ready.clear()
            problem = _sent(parser, part)
            for data in ready:
                number += 1
                place = f"row {number:,}"
                yield (
                    Raw(place, data)
                    if isinstance(data, dict)
                    else Raw(place, {}, "This is not a JSON object.", str(data)[:300])
                )
            if problem:
                until = line + part.count(b"\n")
                raise Broken(f"row {number + 1:,}, line{f's {line:,} to' if until > line else ''} {until:,}", problem)
            line += part.count(b"\n")
    problem = _sent(parser, b"")
    if problem:
        raise Broken(f"row {number + 1:,}, line {line:,}", problem)


def _sent(parser: Any, part: bytes) -> str:
    """Give a part of a document to its parser, nothing for its end; return what is wrong with it."""
    try:
        parser.send(part) if part else parser.close()
    except StopIteration:
        return ""
    except (ijson.JSONError, UnicodeDecodeError) as error:
        return " ".join(str(error).split())[:150]
    return ""


async def _peeked(chunks: Chunks, size: int = 65_536) -> tuple[bytes, Chunks]:
    """Return the beginning of a stream, and the stream with it."""
    head = b""
    async for chunk in chunks:
        head += chunk
        if len(head) >= size:
            break

    async def whole() -> AsyncIterator[bytes]:
        if head:
            yield head
        async for chunk in chunks:
            yield chunk

    return head, whole()


async def _texts(chunks: Chunks, encoding: str) -> AsyncIterator[str]:
    """Decode a stream: by its byte order mark, by what it is said to be, or as UTF-8 where it is that and Windows-1252 where not."""
    head, chunks = await _peeked(chunks)
    mark = next(((bom, name) for bom, name in _BOMS if head.startswith(bom)), None)
    name = mark[1] if mark else encoding or _guessed(head)
    decoder = getincrementaldecoder(name)(errors="replace")
    first = True
    async for chunk in chunks:
        text = decoder.decode(chunk)
        yield text.removeprefix("\ufeff") if first else text
        first = False
    if rest := decoder.decode(b"", final=True):
        yield rest


def _guessed(head: bytes) -> str:
    try:
        head[: len(head) - 4 if len(head) > 4 else None].decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 8:
            return "cp1252"
    return "utf-8"


def known_encoding(name: str) -> str:
    """Return an encoding's name as Python knows it, empty for one that it does not."""
    try:
        return lookup(name.strip().strip("\"'")).name if name else ""
    except (LookupError, ValueError):
        return ""


async def read_csv(chunks: Chunks, *, delimiter: str = "", encoding: str = "") -> AsyncIterator[Raw]:
    """Yield the rows of a table with a head line, by the names of its columns. Commas, semicolons, tabs and pipes are told apart."""
    names: list[str] = []
    async for first, lines in _records(_texts(chunks, encoding)):
        if not names:
            delimiter = delimiter or _delimiter(lines[0])
        for place, cells in _cells(first, lines, delimiter):
            if not names:
                names = [name.strip() for name in cells]
            elif len(cells) == 1 and not cells[0].strip():
                continue
            elif len(cells) != len(names):
                yield Raw(
                    place, {}, f"It has {len(cells)} cells, the head has {len(names)}.", delimiter.join(cells)[:300]
                )
            else:
                yield Raw(place, {n: c for n, c in zip(names, cells, strict=True) if c != ""})


async def _records(texts: AsyncIterator[str]) -> AsyncIterator[tuple[int, list[str]]]:
    """Yield stretches of lines between which no quotation is open, with the number of their first."""
    rest, first, pending = "", 1, []
    is_open, size = False, 0
    async for text in texts:
        parts = (rest + text).split("\n")
        rest = parts.pop()[-LONGEST_ROW:]
        done = 0
        for line in parts:
            pending.append(line)
            size += len(line)
            is_open ^= bool(line.count('"') & 1)
            if not is_open or size > LONGEST_ROW:
                done, is_open, size = len(pending), False, 0
        if done:
            yield first, pending[:done]
            first += done
            pending = pending[done:]
    if rest:
        pending.append(rest)
    if pending:
        yield first, pending


def _cells(first: int, lines: list[str], delimiter: str) -> Iterator[tuple[str, list[str]]]:
    source = (line.replace("\x00", "") + "\n" for line in lines)
    reader = csv.reader(source, delimiter=delimiter)
    while True:
        at = first + reader.line_num
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            continue
        if cells:
            yield f"line {at:,}", cells


def _delimiter(head: str) -> str:
    return max(",;\t|", key=head.count)


async def read_xml(chunks: Chunks) -> AsyncIterator[Raw]:
    """Yield the items of RSS, Atom, or any XML of repeated `item`, `entry`, `product`, `offer` or `listing` elements."""
    from lxml import etree

    parser = etree.XMLPullParser(
        events=("end",), recover=True, resolve_entities=False, no_network=True, huge_tree=False, load_dtd=False
    )
    number = since = 0
    try:
        async for chunk in chunks:
            for at in range(0, len(chunk), 65_536):
                since += 65_536
                if since > _LONGEST_SILENCE:
                    raise Broken(f"item {number + 1:,}", "it goes on for millions of bytes without an item.")
                parser.feed(chunk[at : at + 65_536])
                for _, element in parser.read_events():
                    if _name(element) in _ITEMS and _is_outermost(element):
                        number, since = number + 1, 0
                        yield Raw(f"item {number:,}", _as_dict(element))
                        _drop(element)
        parser.close()
    except etree.XMLSyntaxError as error:
        raise Broken(f"item {number + 1:,}", str(error)[:150]) from None


_ITEMS: Final = frozenset(("item", "entry", "product", "offer", "listing", "ad", "url"))


def _name(element: Any) -> str:
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def _is_outermost(element: Any) -> bool:
    above = element.getparent()
    while above is not None:
        if _name(above) in _ITEMS:
            return False
        above = above.getparent()
    return True


def _drop(element: Any) -> None:
    """Forget an element that was read, and what stands before it, so that the tree does not grow with the document."""
    element.clear(keep_tail=False)
    above = element.getparent()
    while above is not None and element.getprevious() is not None:
        del above[0]


def _as_dict(element: Any) -> dict[str, Any]:
    """Return an element's children by their names without namespaces; what comes more than once is a list."""
    found: dict[str, Any] = {k.rpartition("}")[2]: v for k, v in element.attrib.items()}
    for child in element:
        name = _name(child)
        if not name:
            continue
        value: Any = (
            _as_dict(child)
            if len(child) or (child.attrib and not (child.text or "").strip())
            else (child.text or "").strip()
        )
        if name in found:
            found[name] = [*(found[name] if isinstance(found[name], list) else [found[name]]), value]
        else:
            found[name] = value
    return found


def in_memory(data: bytes, size: int = 65_536) -> Chunks:
    """Return bytes that are there already as a stream."""

    async def chunks() -> AsyncIterator[bytes]:
        stream = io.BytesIO(data)
        while part := stream.read(size):
            yield part

    return chunks()
