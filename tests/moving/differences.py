"""What is not the same on both sides of an import, and what the rows of tests/moving/*.sql are refused for.

DIFFERENCES: by system, table and column, None for what the document's view does not show or computes, or how a value comes out.
KEYS: which table's number a column holds.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

Change = Callable[[Any, Mapping[str, Any]], Any]


def _slug(value: Any, _row: Mapping[str, Any]) -> Any:
    return {"Pies": "pies", None: "other"}.get(value, value)


DIFFERENCES: Final[dict[str, dict[str, dict[str, Change | None]]]] = {
    "omade": {
        "users": {"password_hash": None, "phone": None, "avatar_url": None, "social_provider": None},
        "products": {"category": _slug, "description": lambda value, _row: value or ""},
        "order_items": {"id": None},
        "custom_cake_configurations": {"id": None},
        "orders": {
            "delivery_schedule_id": lambda value, row: None if row["status"] in {"cancelled", "refunded"} else value,
        },
        "reviews": {"comment": lambda value, _row: value or ""},
        "loyalty_points": {"id": None},
    },
    "shop-assistant": {
        "users": {"password_hash": None, "phone": None},
        "categories": {"parent_id": lambda value, row: None if row["id"] == 14 else value},  # that one was a circle
        "products": {"category_id": None},
        "orders": {"shipping_address": None, "billing_address": None},
        "order_items": {"id": None, "total_price": None, "created_at": None},
        "cart_items": {"id": None, "session_id": None},
        "analytics": {"session_id": None, "id": None},
        "search_logs": {
            "user_id": None,
            "session_id": None,
            "search_type": lambda value, _row: "words" if value == "semantic" else value,
        },
    },
}

KEYS: Final[dict[str, dict[str, str]]] = {
    "shop-assistant": {
        f"{table}.{column}": f"shop-assistant.{of}"
        for table, column, of in (
            ("users", "id", "users"), ("categories", "id", "categories"), ("categories", "parent_id", "categories"),
            ("products", "id", "products"), ("orders", "id", "orders"), ("orders", "user_id", "users"),
            ("order_items", "order_id", "orders"), ("order_items", "product_id", "products"),
            ("cart_items", "product_id", "products"), ("analytics", "user_id", "users"), ("search_logs", "id", "search_logs"),
        )
    },
}  # fmt: skip

REFUSED: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "omade": (
        ("delivery_schedules", "the time is none such as 10:00-12:00"),
        ("delivery_schedules", "the day is not possible"),
        ("delivery_schedules", "the time ends before it begins"),
        ("loyalty_points", "its customer was refused or is missing"),
        ("loyalty_points", "there are less than no points"),
        ("order_items", "its order was refused"),
        ("order_items", "the quantity is not possible"),
        ("order_items", "it belongs to no orders row"),
        ("orders", "it has no lines"),
        ("orders", "its customer was refused or is missing"),
        ("orders", "the status is none of the document’s"),
        ("orders", "one of its lines was refused"),
        ("products", "the price is not possible"),
        ("products", "there is less than nothing in stock"),
        ("products", "the name is missing or longer than 255 letters"),
        ("products", "the description is longer than 20,000 letters"),
        ("promo_codes", "the code is none of 2 to 50 letters, digits, dashes"),
        ("promo_codes", "the amount is not possible"),
        ("promo_codes", "a moment is not possible"),
        ("reviews", "the rating is not 1 to 5"),
        ("reviews", "its product was refused or is missing"),
        ("users", "the e-mail address is missing or none"),
        ("users", "another row has this e-mail address"),
        ("users", "the name is missing or longer than 100 letters"),
        ("users", "the role is not one of the four"),
        ("users", "a moment is not possible"),
    ),
    "shop-assistant": (
        ("analytics", "a moment is not possible"),
        ("analytics", "it has no name"),
        ("cart_items", "its product was refused or is missing"),
        ("cart_items", "nobody is signed in to its session"),
        ("categories", "it breaks the rule ck_categories_no_cycle"),
        ("categories", "it is its own parent"),
        ("categories", "the name is missing or longer than 100 letters"),
        ("order_items", "it belongs to no orders row"),
        ("order_items", "its order was refused"),
        ("order_items", "its product was refused or is missing"),
        ("order_items", "the quantity is not possible"),
        ("orders", "it has no lines"),
        ("orders", "its customer was refused or is missing"),
        ("orders", "one of its lines was refused"),
        ("orders", "the status is none this shop has"),
        ("orders", "the total is not possible"),
        ("products", "another row has this SKU"),
        ("products", "the description is longer than 20,000 letters"),
        ("products", "the name is missing or longer than 255 letters"),
        ("products", "the price is not possible"),
        ("products", "the specifications are no object"),
        ("products", "there is less than nothing in stock"),
        ("search_logs", "a number is below nothing"),
        ("search_logs", "the question is missing or longer than 1,000 letters"),
        ("users", "a moment is not possible"),
        ("users", "another row has this e-mail address"),
        ("users", "the e-mail address is missing or none"),
    ),
}
