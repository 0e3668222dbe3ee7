"""Tables as files that people open in a spreadsheet: CSV and XLSX, written and read.

Promises that no cell we write is a formula, whoever typed what is in it: text that a spreadsheet would take for one gets an
apostrophe in front. Reading is bounded, in rows, columns and unpacked size, and never runs anything.
"""

import csv
import io
import zipfile
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from xml.etree.ElementTree import ParseError

from openpyxl import Workbook, load_workbook
from openpyxl.utils.exceptions import InvalidFileException

from tradepost.core.errors import Invalid

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CSV = "text/csv; charset=utf-8"
_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
_MOST_UNPACKED = 200 * 1024 * 1024
_MOST_COLUMNS = 200


@dataclass(eq=False)
class NotASheet(Invalid):
    """This is not a table we can read: {why}."""

    why: str
    field: str | None = "file"


@dataclass(eq=False)
class TooManyRows(Invalid):
    """That is more than {most} rows; please send it in parts."""

    most: int
    field: str | None = "file"


def harmless(text: str) -> str:
    """Return text that no spreadsheet takes for a formula."""
    return "'" + text if text.lstrip(" ").startswith(_STARTS) else text


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return harmless("".join(c for c in value if c >= " " or c in "\n\t"))
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    return value


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


def write_csv(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Yield a table as CSV, some rows at a time, with a mark that lets spreadsheets know it is UTF-8."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    buffer.write("\ufeff")
    writer.writerow(head)
    for n, row in enumerate(rows, 1):
        writer.writerow([_plain(_cell(value)) for value in row])
        if n % 500 == 0:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


async def stream_csv(head: Sequence[str], pages: AsyncIterator[Sequence[Sequence[Any]]]) -> AsyncIterator[str]:
    """Yield a table as CSV whose rows come page by page, however many."""
    yield "".join(write_csv(head, ()))
    async for rows in pages:
        buffer = io.StringIO()
        csv.writer(buffer).writerows([_plain(_cell(value)) for value in row] for row in rows)
        yield buffer.getvalue()


def write_xlsx(title: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """Return a table as a workbook with one sheet, its head kept in view."""
    book = Workbook(write_only=True)
    sheet = book.create_sheet("".join(c for c in title if c not in "[]:*?/\\")[:31] or "Sheet")
    sheet.freeze_panes = "A2"
    sheet.append(list(head))
    for row in rows:
        sheet.append([_cell(value) for value in row])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def read_sheet(data: bytes, *, most_rows: int) -> list[list[str]]:
    """Return the rows of a CSV file or of a workbook's first sheet, as text. Raises `NotASheet`, `TooManyRows`."""
    rows: list[list[str]] = []
    for row in sheet_rows(data):
        if len(rows) > most_rows:
            raise TooManyRows(most_rows)
        rows.append(row)
    while rows and not any(rows[-1]):
        rows.pop()
    if not rows:
        raise NotASheet("it is empty")
    return rows


def sheet_rows(data: bytes) -> Iterator[list[str]]:
    """Yield the rows of a CSV file or of a workbook's first sheet as they are read, as text. Raises `NotASheet` when asked for them."""
    return _xlsx_rows(data) if _is_workbook(data) else _csv_rows(data)


def about_how_many(data: bytes) -> int:
    """Return about how many rows below the head a table has, without reading it: what its file says of itself. Raises `NotASheet`."""
    if not _is_workbook(data):
        return max(data.rstrip().count(b"\n"), 1)
    return max((_book(data).worksheets[0].max_row or 2) - 1, 1)


def _is_workbook(data: bytes) -> bool:
    return data[:4] == b"PK\x03\x04"


def _csv_rows(data: bytes) -> Iterator[list[str]]:
    if b"\x00" in data[:4096] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise NotASheet("it is neither CSV nor XLSX")
    text = _decoded(data)
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True):
            yield [_typed(cell) for cell in row[:_MOST_COLUMNS]]
    except csv.Error:
        raise NotASheet("a quotation mark is not closed, or a cell is far too long") from None


def _decoded(data: bytes) -> str:
    for encoding in ("utf-16",) if data.startswith((b"\xff\xfe", b"\xfe\xff")) else ("utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise NotASheet("its letters are in no encoding we know; save it as UTF-8")


def _typed(cell: str) -> str:
    """Take our own apostrophe off again."""
    text = cell.strip()
    return text[1:] if text.startswith("'") and text[1:].lstrip(" ").startswith(_STARTS) else text


def _xlsx_rows(data: bytes) -> Iterator[list[str]]:
    try:
        for row in _book(data).worksheets[0].iter_rows(values_only=True):
            yield [_typed(_plain(value)) for value in row[:_MOST_COLUMNS]]
    except (zipfile.BadZipFile, ParseError, zlib.error):
        raise NotASheet("the workbook is damaged") from None


def _book(data: bytes) -> Workbook:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            if sum(part.file_size for part in packed.infolist()) > _MOST_UNPACKED:
                raise NotASheet("unpacked it is far too large")
        return load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
    except (zipfile.BadZipFile, InvalidFileException, KeyError, ValueError, OSError):
        raise NotASheet("the workbook is damaged") from None
