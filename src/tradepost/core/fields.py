"""The fields of a form: the limits its Struct declares, checked all at once, in words for people.

msgspec refuses the first field that breaks its `Meta` while it decodes; a person who fills in a form wants to hear of every
one. It knows no form of its own.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import inspect

from tradepost.core.errors import FieldErrors
from tradepost.core.text import is_plain


def broken_limits(form: msgspec.Struct) -> dict[str, str]:
    """Return what is wrong with each field of a form by its own `Meta`: lengths, bounds, unprintable characters."""
    found: dict[str, str] = {}
    for name, kind in _kinds(type(form)):
        problem = _problem(getattr(form, name), kind)
        if problem:
            found[name] = problem
    return found


def check_fields(problems: Mapping[str, str | None]) -> None:
    """Raise `FieldErrors` with those fields that have a problem, if any has."""
    errors = {field: problem for field, problem in problems.items() if problem}
    if errors:
        raise FieldErrors(errors)


@lru_cache(maxsize=128)
def _kinds(form: type[msgspec.Struct]) -> tuple[tuple[str, Any], ...]:
    described = inspect.type_info(form)
    return tuple((f.name, _limited(f.type)) for f in described.fields)  # type: ignore[attr-defined]  # a Struct's has them


def _limited(kind: Any) -> Any:
    """Return the part of an optional type that carries limits."""
    if isinstance(kind, inspect.UnionType):
        return next((t for t in kind.types if isinstance(t, inspect.StrType | inspect.IntType)), kind)
    return kind


def _problem(value: Any, kind: Any) -> str | None:
    if isinstance(kind, inspect.StrType) and isinstance(value, str):
        return _text_problem(value, kind)
    if isinstance(kind, inspect.IntType) and isinstance(value, int):
        if kind.ge is not None and value < kind.ge:
            return f"At least {kind.ge}."
        if kind.le is not None and value > kind.le:
            return f"At most {kind.le}."
    return None


def _text_problem(value: str, kind: inspect.StrType) -> str | None:
    if kind.max_length is not None and len(value) > kind.max_length:
        return f"At most {kind.max_length} characters."
    if not is_plain(value):
        return "There is a character in it that cannot be shown."
    if kind.min_length and not value.strip():
        return "This is needed."
    if kind.min_length and len(value.strip()) < kind.min_length:
        return f"At least {kind.min_length} characters."
    return None
