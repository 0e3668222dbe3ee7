"""Every page of a store, as one visible list."""

from tradepost.web.address_book import address_routes
from tradepost.web.after_sale import after_sale_routes
from tradepost.web.alert_form import alert_pages
from tradepost.web.assets import asset_routes
from tradepost.web.assistant import assistant_routes
from tradepost.web.browse import browse_routes
from tradepost.web.buying import buying_routes
from tradepost.web.delivery_office import delivery_routes
from tradepost.web.desk import desk_routes
from tradepost.web.engine_office import engine_routes
from tradepost.web.feeds import feed_pages
from tradepost.web.figures_office import figures_routes
from tradepost.web.finding import finding_routes
from tradepost.web.health_office import health_routes
from tradepost.web.insights_office import insights_routes
from tradepost.web.kitchen_office import kitchen_routes
from tradepost.web.listing_office import listing_office_routes
from tradepost.web.made_to_order import made_to_order_routes
from tradepost.web.mailbox import mailbox_routes
from tradepost.web.measuring import measuring_routes
from tradepost.web.messages import message_pages
from tradepost.web.money_office import money_office_routes
from tradepost.web.notices import notice_pages
from tradepost.web.offers import offer_pages
from tradepost.web.office import office_routes
from tradepost.web.outside import outside_routes
from tradepost.web.people import people_routes
from tradepost.web.promo_office import promo_routes
from tradepost.web.recovery import recovery_routes
from tradepost.web.riding import riding_routes
from tradepost.web.saved_searches import saved_search_routes
from tradepost.web.search_office import search_office_routes
from tradepost.web.selling import selling_routes
from tradepost.web.settings_office import settings_routes
from tradepost.web.shows import show_pages
from tradepost.web.site import site_routes
from tradepost.web.source_office import source_office_routes
from tradepost.web.terms_office import terms_routes
from tradepost.web.tree_office import tree_office_routes
from tradepost.web.trust import trust_routes
from tradepost.web.ways_in import ways_in_routes

page_routes = [
    *browse_routes,
    *finding_routes,
    *alert_pages,
    *assistant_routes,
    *saved_search_routes,
    *search_office_routes,
    *money_office_routes,
    *buying_routes,
    *after_sale_routes,
    *selling_routes,
    *made_to_order_routes,
    *message_pages,
    *notice_pages,
    *offer_pages,
    *show_pages,
    *feed_pages,
    *people_routes,
    *recovery_routes,
    *ways_in_routes,
    *outside_routes,
    *address_routes,
    *mailbox_routes,
    *site_routes,
    *measuring_routes,
    *asset_routes,
    *trust_routes,
    *desk_routes,
    *delivery_routes,
    *kitchen_routes,
    *figures_routes,
    *insights_routes,
    *listing_office_routes,
    *tree_office_routes,
    *source_office_routes,
    *settings_routes,
    *terms_routes,
    *promo_routes,
    *riding_routes,
    *engine_routes,
    *health_routes,
    *office_routes,
]
