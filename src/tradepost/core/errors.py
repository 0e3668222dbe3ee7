"""The six ways in which a request can be turned down.

Owns the kinds; modules declare their own errors as dataclasses below one of them. A domain error carries typed fields and
knows nothing of HTTP: edges hold one table each that maps a kind to a status, a page or an exit code.
"""

from dataclasses import dataclass, fields, is_dataclass
from typing import Any, ClassVar


class DomainError(Exception):
    """Something about this request is not possible."""

    kind: ClassVar[str] = "error"

    @property
    def code(self) -> str:
        """The stable name that programs may match on: the class name."""
        return type(self).__name__

    @property
    def details(self) -> dict[str, Any]:
        """The typed fields of the error, by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)} if is_dataclass(self) else {}

    @property
    def message(self) -> str:
        """The sentence a person reads: the first line of the class's docstring with the fields filled in."""
        template = (type(self).__doc__ or type(self).__name__).strip().splitlines()[0]
        return template.format(**self.details)

    def __str__(self) -> str:
        return self.message


class NotFound(DomainError):
    """There is nothing here under that name."""

    kind = "not_found"


class Refused(DomainError):
    """You may not do this."""

    kind = "refused"


class Conflict(DomainError):
    """Somebody or something was faster: the state has changed."""

    kind = "conflict"


class Invalid(DomainError):
    """A value in the request is not acceptable."""

    kind = "invalid"
    field: str | None = None


@dataclass(eq=False)
class FieldErrors(Invalid):
    """Please look at the marked fields again."""

    errors: dict[str, str]


class TooMany(DomainError):
    """Too many requests; wait a little."""

    kind = "too_many"


class Unavailable(DomainError):
    """A part of the system that is needed for this does not answer."""

    kind = "unavailable"
