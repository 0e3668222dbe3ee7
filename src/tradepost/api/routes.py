"""Every route of the API, as one visible list."""

from litestar import Router

from tradepost.api.agents import agent_routes
from tradepost.api.alerts import alert_routes
from tradepost.api.assistant import assistant_api_routes
from tradepost.api.buying import buying_routes
from tradepost.api.catalog import catalog_routes
from tradepost.api.docs import docs_routes
from tradepost.api.engine import engine_api_routes
from tradepost.api.feeds import feed_routes
from tradepost.api.ingest import ingest_routes
from tradepost.api.messages import message_routes
from tradepost.api.money import money_routes
from tradepost.api.notices import notice_routes, unsubscribe_routes
from tradepost.api.offers import offer_routes
from tradepost.api.people import people_routes
from tradepost.api.repeatable import RepeatableRequests
from tradepost.api.search import search_routes
from tradepost.api.shows import show_routes
from tradepost.api.webhooks import webhook_routes

api_routes = [
    Router(
        "/api/v1",
        route_handlers=[
            *catalog_routes,
            *buying_routes,
            *money_routes,
            *people_routes,
            *search_routes,
            *message_routes,
            *notice_routes,
            *offer_routes,
            *alert_routes,
            *ingest_routes,
            *show_routes,
            *feed_routes,
            *assistant_api_routes,
            *engine_api_routes,
        ],
        middleware=[RepeatableRequests()],
    ),
    *webhook_routes,
    *unsubscribe_routes,
    *agent_routes,
    *docs_routes,
]
