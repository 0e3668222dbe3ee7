"""What a made-to-order thing may be, and what its choices add to the price.

A listing's `configuration_schema` is JSON Schema of objects, texts, numbers, booleans and `oneOf` choices, with `x-price`
(major units of the listing's currency) on a choice or on a boolean: https://json-schema.org/draft/2020-12. A text with `x-piped` is
written in icing; one with the format `picture` is the id of a stored picture; `x-allergens` on a choice or a boolean says what it
brings along. Pure functions.
"""

import hashlib
import unicodedata
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from tradepost.cart.types import BadConfiguration
from tradepost.core.money import plain_number, to_minor
from tradepost.core.text import is_plain

_LARGEST = 4000
_SIGNS = frozenset(".,;:!?&+-–—'’‘\"“”„«»()/#*=%@¡¿°€$£♥")


def configured(
    schema: dict[str, Any] | None, given: dict[str, Any] | None, currency: str
) -> tuple[dict[str, Any], int]:
    """Return a configuration with its defaults filled in, and what it adds to the unit price in minor units.

    Raises `BadConfiguration` for an unknown field, a missing one, or a value that the schema does not allow.
    """
    if not schema:
        if given:
            raise BadConfiguration("This is not made to order.", "configuration")
        return {}, 0
    value, surcharge = _object(schema, given or {}, "configuration", currency)
    if len(msgspec.json.encode(value)) > _LARGEST:
        raise BadConfiguration("That is too much text.", "configuration")
    return value, surcharge


def configuration_hash(configuration: dict[str, Any]) -> bytes:
    """Return what tells two configurations of the same variant apart."""
    return hashlib.sha256(msgspec.json.encode(configuration, order="deterministic")).digest()


def _object(schema: dict[str, Any], given: Any, where: str, currency: str) -> tuple[dict[str, Any], int]:
    if not isinstance(given, dict):
        raise BadConfiguration("This must be an object.", where)
    known = schema.get("properties", {})
    for name in given:
        if name not in known:
            raise BadConfiguration(f"There is no choice “{name[:60]}” here.", f"{where}.{name[:60]}")
    made: dict[str, Any] = {}
    surcharge = 0
    for name, field in known.items():
        value = given.get(name)
        if value in (None, ""):
            value = {} if field.get("type") == "object" else field.get("default")
        if value in (None, "") or (value is False and name not in given):
            if name in schema.get("required", ()):
                raise BadConfiguration(f"Please choose: {field.get('title', name)}.", f"{where}.{name}")
            continue
        made[name], more = _value(field, value, f"{where}.{name}", currency)
        surcharge += more
        if made[name] == {}:
            del made[name]
    return made, surcharge


def _value(field: dict[str, Any], value: Any, where: str, currency: str) -> tuple[Any, int]:
    title = field.get("title", where.rpartition(".")[2])
    if "oneOf" in field:
        for choice in field["oneOf"]:
            if choice.get("const") == value:
                return value, _price(choice, currency)
        raise BadConfiguration(f"{title}: that cannot be chosen.", where)
    match field.get("type"):
        case "object":
            return _object(field, value, where, currency)
        case "boolean":
            chosen = {"true": True, "on": True, "1": True, "false": False, "0": False}.get(str(value).lower())
            if chosen is None:
                raise BadConfiguration(f"{title}: yes or no.", where)
            return chosen, _price(field, currency) if chosen else 0
        case "number" | "integer":
            return _number(field, value, where, title), 0
        case _ if field.get("format") == "picture":
            return _picture(value, where, title), 0
        case _:
            return _text(field, value, where, title), 0


def _picture(value: Any, where: str, title: str) -> str:
    try:
        return str(UUID(str(value)))
    except ValueError:
        raise BadConfiguration(f"{title}: please choose the picture again.", where) from None


def cannot_be_piped(words: str) -> list[str]:
    """Return the signs of a text that no piping bag can write, each once: pictures above all, and scripts but the Latin one."""
    return list(dict.fromkeys(c for c in unicodedata.normalize("NFC", words) if not _is_pipeable(c)))


def _is_pipeable(sign: str) -> bool:
    if sign in _SIGNS or sign == " ":
        return True
    if not sign.isalnum() or len(unicodedata.normalize("NFKD", sign)) > 3:
        return False
    return sign.isascii() or unicodedata.name(sign, "").startswith("LATIN ")


def nested(fields: Mapping[str, str]) -> dict[str, Any]:
    """Return the fields of a form, whose names are paths with dots, as a configuration; empty ones are left out."""
    made: dict[str, Any] = {}
    for path, text in fields.items():
        if not text:
            continue
        *outer, last = path.split(".")[:4]
        here = made
        for name in outer:
            below = here.setdefault(name, {})
            if not isinstance(below, dict):
                break
            here = below
        else:
            here[last] = text
    return made


def allergens_of(schema: Mapping[str, Any] | None, configuration: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what the choices made bring along that people may not tolerate."""
    return tuple(dict.fromkeys(_allergens(schema or {}, configuration)))


def _allergens(schema: Mapping[str, Any], configuration: Mapping[str, Any]) -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        value = configuration.get(name)
        if isinstance(value, dict):
            yield from _allergens(field, value)
        elif value:
            chosen = next((c for c in field.get("oneOf", ()) if c.get("const") == value), field)
            if chosen.get("x-allergens"):
                yield str(chosen["x-allergens"])


def described(schema: Mapping[str, Any] | None, configuration: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return a configuration in the words of its schema, field by field; pictures are left out."""
    found: list[tuple[str, str]] = []
    fields = (schema or {}).get("properties", {})
    for name, value in configuration.items():
        field = fields.get(name, {})
        if isinstance(value, dict):
            found += described(field, value)
        elif field.get("format") != "picture" and value not in (None, "", False):
            label = str(field.get("title") or name.replace("_", " ").capitalize())
            chosen: dict[str, Any] = next((c for c in field.get("oneOf", ()) if c.get("const") == value), {})
            found.append((label, "yes" if value is True else str(chosen.get("title") or value)))
    return found


def _text(field: dict[str, Any], value: Any, where: str, title: str) -> str:
    most = int(field.get("maxLength", 500))
    if not isinstance(value, str) or not is_plain(value):
        raise BadConfiguration(f"{title}: plain text, please.", where)
    words = " ".join(value.split()) if field.get("x-piped") else value.strip()
    if len(words) > most:
        raise BadConfiguration(f"{title}: at most {most} characters; these are {len(words)}.", where)
    odd = cannot_be_piped(words) if field.get("x-piped") else []
    if odd:
        shown = " ".join(f"“{sign}”" for sign in odd[:3])
        raise BadConfiguration(f"{title}: we pipe letters, digits and plain signs by hand, but not {shown}.", where)
    return words


def _number(field: dict[str, Any], value: Any, where: str, title: str) -> int | float:
    try:
        number = Decimal(str(value))
    except ArithmeticError:
        raise BadConfiguration(f"{title}: a number, please.", where) from None
    lowest, highest = Decimal(str(field.get("minimum", -(10**9)))), Decimal(str(field.get("maximum", 10**9)))
    if not number.is_finite() or not lowest <= number <= highest:
        raise BadConfiguration(f"{title}: between {lowest:f} and {highest:f}.", where)
    if field.get("type") == "integer" and number != number.to_integral_value():
        raise BadConfiguration(f"{title}: a whole number, please.", where)
    return plain_number(number)


def _price(choice: dict[str, Any], currency: str) -> int:
    return to_minor(str(choice.get("x-price", "0")), currency)
