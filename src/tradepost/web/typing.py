"""Names for the framework's generic types, as this package uses them."""

from typing import Any

from litestar import Request

HttpRequest = Request[Any, Any, Any]
