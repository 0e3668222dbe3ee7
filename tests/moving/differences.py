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

_TESE: Final[dict[str, dict[str, Change | None]]] = {
    "teseapi_user": {
        "password": None,
        "phone_number": None,
    },
    "teseapi_category": {"id": None, "parent_id": None, "slug": None},
    "teseapi_location": {"id": None},
    "teseapi_listingimage": {"id": None, "content_type_id": None, "object_id": lambda value, _row: _listing(value)},
    "teseapi_listing": {},
    "teseapi_cartitem": {"id": None},
    "teseapi_order": {"shipping_info": None, "items": None, "transaction_ref": None},
    "messaging_conversation": {"updated_at": None},
    "messaging_conversation_participants": {"id": None},
    "messaging_message": {"content": None},
}

_HIDDEN: Final[dict[str, Change | None]] = {"is_read": None, "read_at": None, "content": None, "media_url": None}
DIFFERENCES["souk-loop"] = {
    "users": {"hashed_password": None, "phone": None, "is_verified": None, "location": None},
    "products": {"location": None, "thumbnail_url": None},
    "streams": {"thumbnail_url": None},
    "conversations": {
        "last_message_id": None,
        "last_message_at": None,
        "updated_at": None,
    },
    "messages": _HIDDEN,
    "offers": {"message": None},
    "transactions": {
        "id": None,
        "charge_id": None,
        "total": None,
        "currency": None,
        "payout_at": None,
        "paid_at": None,
        "platform_fee": lambda value, _row: value or 0,
    },
    "verifications": {"verification_data": None},
}


def _listing(value: Any) -> Any:
    """Read the number of a listing that stands in a column for UUIDs."""
    from tests.test_move_in import imported_id

    return imported_id("tese.listings", value.int)


DIFFERENCES["tese"] = _TESE
DIFFERENCES["marketplace-watch"] = {
    "users": {"password_hash": None},
    "listings": {
        "metadata": None,
        "description": lambda value, _row: value or "",
        "currency": lambda value, row: None if row["price"] is None else value,
    },
    "listing_attributes": {"id": None, "created_at": None},
    "images": {"id": None},
    "alerts": {"criteria": None, "query": None},
    "alert_matches": {"id": None},
    "notifications": {"title": None, "content": None, "data": None},
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
    "marketplace-watch": {
        f"{table}.{column}": f"marketplace-watch.{of}"
        for table, column, of in (
            ("users", "id", "users"), ("listings", "id", "listings"), ("listing_attributes", "listing_id", "listings"),
            ("images", "listing_id", "listings"), ("alerts", "id", "alerts"), ("alerts", "user_id", "users"),
            ("alert_matches", "alert_id", "alerts"), ("alert_matches", "listing_id", "listings"), ("alert_matches", "user_id", "users"),
            ("notifications", "id", "notifications"), ("notifications", "user_id", "users"),
        )
    },
    "tese": {
        f"{table}.{column}": f"tese.{of}"
        for table, column, of in (
            ("teseapi_user", "id", "users"), ("teseapi_listing", "id", "listings"), ("teseapi_listing", "user_id", "users"),
            ("teseapi_cartitem", "user_id", "users"), ("teseapi_cartitem", "listing_id", "listings"), ("teseapi_order", "id", "orders"),
            ("teseapi_order", "user_id", "users"), ("teseapi_payment", "id", "payments"), ("teseapi_payment", "order_id", "orders"),
            ("messaging_conversation", "id", "conversations"), ("messaging_conversation_participants", "conversation_id", "conversations"),
            ("messaging_conversation_participants", "user_id", "users"), ("messaging_message", "id", "messages"),
            ("messaging_message", "conversation_id", "conversations"), ("messaging_message", "sender_id", "users"),
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
    "tese": (
        ("messaging_conversation", "fewer than two or more than twenty people are in it"),
        ("messaging_conversation_participants", "its conversation was refused"),
        ("messaging_message", "it is empty or longer than 4,000 letters"),
        ("messaging_message", "its conversation was refused"),
        ("messaging_message", "its sender does not take part"),
        ("teseapi_cartitem", "its listing was refused or is missing"),
        ("teseapi_cartitem", "the quantity is not possible"),
        ("teseapi_category", "the name is missing or longer than 100 letters"),
        ("teseapi_listing", "its owner was refused or is missing"),
        ("teseapi_listing", "the name is missing or longer than 255 letters"),
        ("teseapi_listing", "the price is not possible"),
        ("teseapi_listing", "the status is none of the three"),
        ("teseapi_listing", "the type is none of the three"),
        ("teseapi_listingimage", "its listing was refused or is missing"),
        ("teseapi_listingimage", "the address is none of the web"),
        ("teseapi_location", "the region is missing"),
        ("teseapi_order", "a line has no listing, quantity or price that is possible"),
        ("teseapi_order", "it has no lines"),
        ("teseapi_order", "its customer was refused or is missing"),
        ("teseapi_order", "one of its listings was refused or is missing"),
        ("teseapi_order", "the status is none of the seven"),
        ("teseapi_payment", "another payment of this order is open or has paid it"),
        ("teseapi_payment", "it belongs to no teseapi_order row"),
        ("teseapi_payment", "its order was refused"),
        ("teseapi_payment", "the status is none of the four"),
        ("teseapi_user", "a moment is not possible"),
        ("teseapi_user", "another row has this e-mail address"),
        ("teseapi_user", "the e-mail address is missing or none"),
    ),
    "marketplace-watch": (
        ("alert_matches", "its alert was refused or is missing, or is another person’s"),
        ("alert_matches", "its listing was refused or is missing"),
        ("alerts", "it asks for nothing, or for what alerts here do not know"),
        ("alerts", "its person was refused or is missing"),
        ("alerts", "the same person has one that asks for the same"),
        ("images", "its listing was refused"),
        ("images", "the address is none of the web"),
        ("listing_attributes", "it belongs to no listings row"),
        ("listing_attributes", "its listing was refused"),
        ("listing_attributes", "the listing has another of this name"),
        ("listings", "another row has this number at this source"),
        ("listings", "the address is none of the web"),
        ("listings", "the currency is none"),
        ("listings", "the price is not possible"),
        ("listings", "the title is missing or longer than 255 letters"),
        ("notifications", "it is of a kind that people are not told of here"),
        ("notifications", "its person was refused or is missing"),
        ("users", "another row has this e-mail address"),
        ("users", "the e-mail address is missing or none"),
    ),
    "souk-loop": (
        ("conversations", "the two are one"),
        ("messages", "it belongs to no conversations row"),
        ("messages", "its conversation was refused"),
        ("messages", "its sender does not take part"),
        ("offers", "the amount is not possible"),
        ("products", "its seller was refused or is missing"),
        ("products", "the condition or the feed is none of the document’s"),
        ("products", "the price is not possible, or in another currency than the store’s"),
        ("streams", "the status is none of the three"),
        ("transactions", "fee and payout are not what was paid"),
        ("transactions", "the status is none of the five"),
        ("users", "the e-mail address is missing or none"),
        ("users", "the role is not one of the four"),
        ("verifications", "the type or the status is none of the document’s"),
    ),
}
