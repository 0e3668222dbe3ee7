"""What a made-to-order thing may be, and what its choices add to the price.

A listing's `configuration_schema` is JSON Schema of objects, texts, numbers, booleans and `oneOf` choices, with `x-price`
(major units of the listing's currency) on a choice or on a boolean: https://json-schema.org/draft/2020-12. Pure functions.
"""

import hashlib
from decimal import Decimal
from typing import Any

import msgspec

from tradepost.cart.types import BadConfiguration
from tradepost.core.money import to_minor
from tradepost.core.text import is_plain

_LARGEST = 4000


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
        case _:
            return _text(field, value, where, title), 0


def _text(field: dict[str, Any], value: Any, where: str, title: str) -> str:
    most = int(field.get("maxLength", 500))
    if not isinstance(value, str) or not is_plain(value):
        raise BadConfiguration(f"{title}: plain text, please.", where)
    if len(value.strip()) > most:
        raise BadConfiguration(f"{title}: at most {most} characters.", where)
    return value.strip()


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
    return int(number) if number == number.to_integral_value() else float(number)


def _price(choice: dict[str, Any], currency: str) -> int:
    return to_minor(str(choice.get("x-price", "0")), currency)
