"""What alerts of another system ask for, as ours ask: the names of the parts differ, and prices are in major units there."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from tradepost.alerts.criteria import Criteria
from tradepost.alerts.rules import criteria_hash, criteria_of_form
from tradepost.core.money import to_minor
from tradepost.core.text import slugify

_NAMES: Final[Mapping[str, str]] = {
    "min_price": "min_minor", "price_min": "min_minor", "max_price": "max_minor", "price_max": "max_minor", "keywords": "words",
    "words": "words", "exclude": "without", "exclude_keywords": "without", "category": "category", "condition": "conditions",
    "conditions": "conditions", "brand": "brands", "brands": "brands", "source": "sources", "sources": "sources", "currency": "currency",
    "attributes": "attributes",
}  # fmt: skip
_MANY: Final = frozenset({"words", "without", "conditions", "brands", "sources"})


def as_alert(given: Mapping[str, Any], currency: str) -> tuple[bytes, bytes] | None:
    """Return what an alert asks (JSON of `query` and `criteria`) and its hash; None where it asks nothing, or what we do not know."""
    criteria = given.get("criteria") or {}
    if not isinstance(criteria, dict) or criteria.keys() - _NAMES.keys():
        return None
    try:
        asked = {
            _NAMES[name]: _value(_NAMES[name], value, currency)
            for name, value in criteria.items()
            if value not in (None, "", [])
        }
        query, kept = criteria_of_form(msgspec.convert({"query": given.get("query") or "", **asked}, Criteria))
    except (msgspec.ValidationError, InvalidOperation, ValueError, TypeError):
        return None
    if not query and not kept:
        return None
    return msgspec.json.encode({"query": query, "criteria": kept}), criteria_hash(query, kept)


def _value(name: str, value: Any, currency: str) -> Any:
    if name in {"min_minor", "max_minor"}:
        return to_minor(str(Decimal(str(value))), currency)
    if name in _MANY:
        many = value if isinstance(value, list) else [value]
        return [slugify(one) if name == "sources" else str(one) for one in many]
    if name == "attributes":
        return {key: one if isinstance(one, list) else [str(one)] for key, one in value.items()}
    return slugify(value) if name == "category" else value
