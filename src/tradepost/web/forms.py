"""Forms as browsers send them: read once, turned into typed inputs, shown again with what was wrong."""

import re
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import msgspec
from litestar.datastructures import UploadFile

from tradepost.core.errors import DomainError, FieldErrors
from tradepost.web.typing import HttpRequest

T = TypeVar("T")
LONGEST_FIELD = 100_000
_WHOLE = re.compile(r"-?[0-9]{1,15}")


class Form:
    """The fields of a posted form: texts by name, files by name."""

    def __init__(self, texts: dict[str, str], files: dict[str, list[UploadFile]]) -> None:
        self.texts = texts
        self.files = files

    def get(self, name: str, default: str = "") -> str:
        """Return a field's text without white space around it."""
        return self.texts.get(name, default).strip()

    def number(self, name: str, problem: str = "A number, please.") -> Decimal:
        """Return a field as a finite decimal number. Raises `FieldErrors`."""
        try:
            value = Decimal(self.get(name).replace(",", "."))
        except InvalidOperation:
            raise FieldErrors({name: problem}) from None
        if not value.is_finite() or value.adjusted() >= 12:  # not abs(): that overflows for the largest exponents
            raise FieldErrors({name: problem})
        return value

    def whole(self, name: str, default: int | None = None) -> int | None:
        """Return a field as a whole number, `default` where it is empty. Raises `FieldErrors`."""
        text = self.get(name)
        if not text:
            return default
        if not _WHOLE.fullmatch(text):
            raise FieldErrors({name: "A whole number, please."})
        return int(text)

    def below(self, prefix: str) -> dict[str, str]:
        """Return the fields whose names begin with `prefix.`, without it."""
        start = prefix + "."
        return {name[len(start) :]: text.strip() for name, text in self.texts.items() if name.startswith(start)}

    def into(self, kind: type[T], **values: Any) -> T:
        """Return the form as a typed input: fields of the same name, and `values` over them. Raises `FieldErrors`."""
        names = {f.encode_name for f in msgspec.structs.fields(kind)}  # type: ignore[arg-type]  # kind is a Struct
        found: dict[str, Any] = {n: t.strip() if n not in _AS_TYPED else t for n, t in self.texts.items() if n in names}
        try:
            return msgspec.convert(found | values, kind, strict=False)
        except msgspec.ValidationError as error:
            raise FieldErrors(field_problem(str(error))) from None


_AS_TYPED = {"password", "current", "new", "close"}


async def read_form(request: HttpRequest) -> Form:
    """Return the posted form; later fields of the same name win, files are kept in order. Raises `FieldErrors`."""
    texts: dict[str, str] = {}
    files: dict[str, list[UploadFile]] = {}
    for name, value in (await request.form()).multi_items():
        if isinstance(value, UploadFile):
            if value.filename:
                files.setdefault(name, []).append(value)
        elif len(str(value)) > LONGEST_FIELD:
            raise FieldErrors({name: "That is far too long."})
        else:
            texts[name] = str(value)
    return Form(texts, files)


def field_problem(message: str) -> dict[str, str]:
    """Return msgspec's complaint as a problem by field name."""
    problem, _, where = message.partition(" - at `$")
    name = where.rstrip("`").lstrip(".").split("[")[0]
    if "missing required field" in problem:
        return {problem.split("`")[1]: "This is needed."}
    return {name: problem[:1].upper() + problem[1:] + "."}


def problems_of(error: DomainError) -> dict[str, str]:
    """Return an error as problems by field, "" for the whole form, as templates show them."""
    if isinstance(error, FieldErrors):
        return error.errors
    return {getattr(error, "field", None) or "": error.message}


def first_problem(error: DomainError) -> str:
    """Return one sentence for an error: that of its first field where it has several."""
    return next(iter(problems_of(error).values()), error.message)
