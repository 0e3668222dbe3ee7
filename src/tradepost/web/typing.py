"""Names for what handlers are given, and for the framework's generic types."""

from typing import Any

from litestar import Request, WebSocket
from litestar.connection import ASGIConnection
from litestar.di import NamedDependency

from tradepost.accounts.types import Caller
from tradepost.flows.store import Store

HttpRequest = Request[Any, Any, Any]
HttpSocket = WebSocket[Any, Any, Any]
HttpConnection = ASGIConnection[Any, Any, Any, Any]
GivenStore = NamedDependency[Store]
GivenCaller = NamedDependency[Caller]
