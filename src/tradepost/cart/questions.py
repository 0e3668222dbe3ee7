"""What a seller asks whoever orders something that is made for them, as rows of a form; and the schema that these rows make.

Promises that a schema that came from questions gives the same questions again, that what the form does not show of a schema (colours of a
drawing, examples, values that differ from their titles) stays, and that every schema made here is one that `configured` understands. The
questions of one group are kept together under `extra_details`, where the document has them. Pure functions.
"""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, Literal, get_args

import msgspec

from tradepost.core.errors import FieldErrors
from tradepost.core.money import NotAnAmount, to_major, to_minor
from tradepost.core.text import is_plain, one_line, slugify

Kind = Literal["choice", "text", "piped", "yes_no", "picture"]
KINDS: Final[dict[str, str]] = {
    "choice": "One of several", "text": "Words", "piped": "Words in icing", "yes_no": "Yes or no", "picture": "A picture",
}  # fmt: skip
MOST_QUESTIONS, MOST_CHOICES, LONGEST_TITLE, LONGEST_VALUE, LONGEST_TEXT = 20, 40, 100, 50, 500
_GROUP, _GROUP_TITLE = "extra_details", "Finishing touches"
_DEAREST = 10**9
_CHOSEN = frozenset({"flavor", "size", "frosting"})
_NAMED = _CHOSEN | {"message", "image_reference"}


class Choice(msgspec.Struct, frozen=True):
    """One of several, what it adds to the price in major units, and what it brings along that people may not tolerate."""

    title: str
    price: str = ""
    allergens: str = ""

    @property
    def line(self) -> str:
        """The choice as a line of the form: “Pistachio | 4.00 | tree nuts”."""
        return f"{self.title} | {self.price} | {self.allergens}".rstrip(" |")


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is asked. `key` is empty for a new one; `detail`: among the finishing touches; `most`: letters."""

    key: str = ""
    title: str
    kind: Kind = "choice"
    is_required: bool = False
    is_detail: bool = False
    choices: tuple[Choice, ...] = ()
    most: int = 40
    price: str = ""
    allergens: str = ""
    hint: str = ""

    @property
    def lines(self) -> str:
        """The choices, one a line."""
        return "\n".join(choice.line for choice in self.choices)


def read_choices(text: str) -> tuple[Choice, ...]:
    """Return the choices that lines of a form say: title, price and allergens between upright strokes."""
    found = []
    for line in text.splitlines():
        title, price, allergens, *_ = [part.strip() for part in (line + "||").split("|")]
        if title:
            found.append(Choice(title, price.lstrip("+").strip(), allergens))
    return tuple(found)


def questions_of(schema: Mapping[str, Any] | None) -> list[Question]:
    """Return what a schema asks, in its order."""
    found = []
    required = (schema or {}).get("required", ())
    for key, field in _in_order(schema):
        if key == _GROUP and field.get("type") == "object":
            found += [
                _question(k, f, is_required=k in field.get("required", ()), is_detail=True) for k, f in _in_order(field)
            ]
        elif field.get("type") != "object":
            found.append(_question(key, field, is_required=key in required, is_detail=False))
    return found


def _in_order(schema: Mapping[str, Any] | None) -> list[tuple[str, dict[str, Any]]]:
    fields: dict[str, dict[str, Any]] = (schema or {}).get("properties", {})
    return sorted(fields.items(), key=lambda kf: (kf[1].get("x-order", 100), kf[0]))


def _question(key: str, field: dict[str, Any], *, is_required: bool, is_detail: bool) -> Question:
    return Question(
        key=key, title=str(field.get("title") or key.replace("_", " ").capitalize()), kind=_kind(field), is_required=is_required,
        is_detail=is_detail, most=int(field.get("maxLength", 40)) if _kind(field) in {"text", "piped"} else 40, price=_shown(field.get("x-price")),
        allergens=str(field.get("x-allergens", "")), hint=str(field.get("description", "")),
        choices=tuple(
            Choice(str(c.get("title") or c["const"]), _shown(c.get("x-price")), str(c.get("x-allergens", "")))
            for c in field.get("oneOf", ())
        ),
    )  # fmt: skip


def _kind(field: Mapping[str, Any]) -> Kind:
    if "oneOf" in field:
        return "choice"
    if field.get("type") == "boolean":
        return "yes_no"
    if field.get("format") == "picture":
        return "picture"
    return "piped" if field.get("x-piped") else "text"


def _shown(price: Any) -> str:
    return str(price) if price and Decimal(str(price)) else ""


def schema_of(questions: Iterable[Question], before: Mapping[str, Any] | None, currency: str) -> dict[str, Any] | None:
    """Return the schema that asks these questions, None for none; `before` is the one they were shown from.

    Raises `FieldErrors` under the names of the form: `q.<n>.title` and so on, counted from 0.
    """
    asked = list(questions)
    problems: dict[str, str] = {}
    if len(asked) > MOST_QUESTIONS:
        raise FieldErrors({"": f"At most {MOST_QUESTIONS} questions."})
    known = {**(before or {}).get("properties", {}), **_details(before)}
    top, group = _empty(), _empty()
    taken: set[str] = set()
    for n, question in enumerate(asked):
        is_same = question.key in known and _kind(known[question.key]) == question.kind
        key = question.key if is_same else _fresh_key(question, taken | set(known))
        if key in taken:
            problems[f"q.{n}.title"] = "This is asked already."
            continue
        taken.add(key)
        field = _field(n, question, known.get(key, {}), currency, problems)
        into = group if question.is_detail and key not in _NAMED else top
        into["properties"][key] = field | {"x-order": n + 1}
        if question.is_required and question.kind not in {"yes_no", "picture"}:
            into["required"].append(key)
    if problems:
        raise FieldErrors(problems)
    if group["properties"]:
        title = (before or {}).get("properties", {}).get(_GROUP, {}).get("title", _GROUP_TITLE)
        top["properties"][_GROUP] = group | {"title": title, "x-order": len(asked) + 1}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **top} if top["properties"] else None


def _empty() -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "required": [], "properties": {}}


def _details(schema: Mapping[str, Any] | None) -> dict[str, Any]:
    found: dict[str, Any] = (schema or {}).get("properties", {}).get(_GROUP, {}).get("properties", {})
    return found


def _fresh_key(question: Question, taken: set[str]) -> str:
    """Return a key of a new question: the documented one of the first words in icing and of the picture, or made of its title."""
    if question.kind == "picture":
        return "image_reference"  # there is one of an order's line
    if question.kind == "piped" and "message" not in taken:
        return "message"
    plain = re.sub(r"[^a-z0-9]+", "_", slugify(question.title)).strip("_")[:40] or "choice"
    plain = {"flavour": "flavor", "icing": "frosting"}.get(plain, plain)
    if plain in _NAMED and (question.kind != "choice" or plain not in _CHOSEN):
        plain += "_words"  # what the document keeps under that name has another form
    key, n = plain, 2
    while key in taken or key == _GROUP:
        key, n = f"{plain}_{n}", n + 1
    return key


def _field(n: int, asked: Question, before: dict[str, Any], currency: str, problems: dict[str, str]) -> dict[str, Any]:
    title = one_line(asked.title)
    if not title or len(title) > LONGEST_TITLE or not is_plain(title):
        problems[f"q.{n}.title"] = f"What is asked, in up to {LONGEST_TITLE} letters."
    if asked.kind not in get_args(Kind):
        problems[f"q.{n}.kind"] = "Choose one of these."
    kept = {k: before[k] for k in ("examples",) if k in before and _kind(before) == asked.kind}
    made: dict[str, Any] = {"title": title, **kept}
    if asked.hint:
        made["description"] = one_line(asked.hint)[:200]
    match asked.kind:
        case "choice":
            return made | _choices(n, asked, before, currency, problems)
        case "yes_no":
            price = _priced(asked.price, currency, f"q.{n}.price", problems)
            return made | {"type": "boolean", "default": False, "x-price": price, **_brings(asked.allergens)}
        case "picture":
            return made | {"type": "string", "format": "picture"}
        case _:
            if not 1 <= asked.most <= LONGEST_TEXT:
                problems[f"q.{n}.most"] = f"1 to {LONGEST_TEXT} letters."
            piped = {"x-piped": True} if asked.kind == "piped" else {}
            return made | {"type": "string", "maxLength": asked.most, **piped}


def _choices(
    n: int, asked: Question, before: dict[str, Any], currency: str, problems: dict[str, str]
) -> dict[str, Any]:
    where = f"q.{n}.choices"
    if not 1 <= len(asked.choices) <= MOST_CHOICES:
        problems[where] = f"1 to {MOST_CHOICES} choices, each on a line of its own."
    known = {str(c.get("title") or c["const"]): c for c in before.get("oneOf", ())}
    made: list[dict[str, Any]] = []
    for choice in asked.choices:
        old = known.get(choice.title, {})
        kept = {"x-color": old["x-color"]} if "x-color" in old else {}
        value = str(old.get("const", one_line(choice.title)[:LONGEST_VALUE]))
        if len(choice.title) > LONGEST_TITLE or not is_plain(choice.title) or value in [c["const"] for c in made]:
            problems[where] = f"“{choice.title[:40]}” is there twice, or too long."
        price = _priced(choice.price, currency, where, problems)
        made.append({"const": value, "title": choice.title, "x-price": price, **kept, **_brings(choice.allergens)})
    default = before.get("default")
    usual = default if default in [c["const"] for c in made] else made[0]["const"] if made else ""
    return {"type": "string", "maxLength": LONGEST_TITLE, "oneOf": made, "default": usual}


def _priced(text: str, currency: str, where: str, problems: dict[str, str]) -> str:
    try:
        minor = to_minor(text or "0", currency)
    except NotAnAmount:
        minor = -1
    if not 0 <= minor <= _DEAREST:
        problems[where] = f"“{text[:20]}” is not a price."
        return "0"
    return f"{to_major(minor, currency):f}"


def _brings(allergens: str) -> dict[str, str]:
    said = one_line(allergens)[:100]
    return {"x-allergens": said} if said else {}
