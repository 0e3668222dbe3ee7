"""Core statements as asyncpg runs them: compiled once, several changes as one, rows as Structs."""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, get_args, get_origin
from weakref import WeakKeyDictionary

import msgspec
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.sql import ClauseElement

from tradepost.core.errors import DomainError


class Compiled(msgspec.Struct):
    """A statement as asyncpg takes it, with the names of its parameters in order."""

    sql: str
    names: tuple[str, ...]
    defaults: dict[str, Any]
    readers: dict[type, Callable[[Any], Any]]

    def chosen(self, params: Mapping[str, Any]) -> list[Any]:
        """Return the arguments among parameters that are also those of other statements."""
        return self.arguments({name: params[name] for name in self.names if name in params})

    def arguments(self, params: Mapping[str, Any]) -> list[Any]:
        """Return the arguments in order. Raises `TypeError` for one too many or too few."""
        if len(params) > len(self.names) or not params.keys() <= set(self.names):
            raise TypeError(f"unknown parameters {sorted(params.keys() - set(self.names))} for: {self.sql}")
        defaults = self.defaults
        try:
            return [params[n] if n in params else defaults[n] for n in self.names]
        except KeyError as missing:
            raise TypeError(f"missing parameter {missing} for: {self.sql}") from None


_compiled: WeakKeyDictionary[ClauseElement, Compiled] = WeakKeyDictionary()
_dialect = asyncpg_dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy ships this constructor untyped


def compiled(statement: ClauseElement) -> Compiled:
    """Return the asyncpg form of a Core statement, compiled on first use and kept as long as the statement lives."""
    found = _compiled.get(statement)
    if found is None:
        result = statement.compile(dialect=_dialect)
        names = tuple(result.positiontup or ())  # type: ignore[attr-defined]  # only SQLCompiler has it
        optional = {n: b.value for n, b in result.binds.items() if not b.required}  # type: ignore[attr-defined]  # as above
        if "POSTCOMPILE" in str(result):
            raise TypeError(f"expanding IN is not run on this path, use = ANY(:ids): {result}")
        found = _compiled[statement] = Compiled(str(result), names, optional, {})
    return found


class Change(msgspec.Struct, frozen=True):
    """A change that waits to be made with others. `refusal`: what is raised where it touches no row."""

    table: str
    sql: str
    arguments: list[Any]
    refusal: Callable[[], DomainError] | None


_CHANGED = re.compile(r"\s*(?:INSERT\s+INTO|UPDATE|DELETE\s+FROM)\s+(\w+)")
_PARAMETER = re.compile(r"\$(\d+)")


def table_of(sql: str) -> str:
    """Return the table that a change is of."""
    found = _CHANGED.match(sql)
    if found is None:
        raise TypeError(f"not an INSERT, UPDATE or DELETE: {sql}")
    return found[1]


def _shifted(sql: str, by: int) -> str:
    return _PARAMETER.sub(lambda found: f"${int(found[1]) + by}", sql)


@lru_cache(maxsize=1000)
def as_one(parts: tuple[tuple[str, str, int, bool], ...]) -> str:
    """Write changes (table, SQL, number of parameters, whether it may be refused) as one statement that counts the rows of those."""
    steps, counts, before = [], [], 0
    for table, sql, size, is_checked in parts:
        shifted = _shifted(sql, before)
        if is_checked:
            shifted += "" if "RETURNING" in sql else " RETURNING 1"
            counts.append(f"(SELECT count(*) FROM changed_{table})")
        steps.append(f"changed_{table} AS ({shifted})")
        before += size
    return f"WITH {', '.join(steps)} SELECT {', '.join(counts) or '1'}"


def _reader(names: tuple[str, ...], into: type[Any]) -> Callable[[Any], Any]:
    """Build the function that makes one Struct of one row: by position where the columns are in the Struct's order."""
    fields = {f.name: f for f in msgspec.structs.fields(into)}
    unknown = set(names) - fields.keys()
    missing = {n for n, f in fields.items() if f.required} - set(names)
    if unknown or missing:
        raise TypeError(
            f"{into.__name__}: columns without a field {sorted(unknown)}, fields without a column {sorted(missing)}"
        )
    nested = [n for n in names if _is_nested(fields[n].type)]
    if nested:
        return lambda row: msgspec.convert(dict(row), into)
    if names == into.__struct_fields__[: len(names)]:
        return lambda row: into(*row)
    return lambda row: into(**dict(row))


def _is_nested(annotation: Any) -> bool:
    arguments = get_args(annotation)
    if get_origin(annotation) is not None and arguments:
        return get_origin(annotation) in {tuple, frozenset} or any(_is_nested(a) for a in arguments)
    return isinstance(annotation, type) and issubclass(annotation, msgspec.Struct)


def reader_for(ready: Compiled, row: Any, into: type[Any]) -> Callable[[Any], Any]:
    """Return what makes one Struct of one row of a statement, built at its first row."""
    found = ready.readers.get(into)
    if found is None:
        found = ready.readers[into] = _reader(tuple(row.keys()), into)
    return found
