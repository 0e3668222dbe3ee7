"""What browsers post: forms from here, forms from elsewhere, and rubbish."""

from uuid import uuid4

import pytest
from litestar import Litestar

from tests.factories import Factory
from tests.visitor import Visitor
from tradepost.app import create_app
from tradepost.core.errors import FieldErrors
from tradepost.flows.store import Store
from tradepost.web.forms import Form

RUBBISH = {
    "quantity": "--5", "points": "--5", "version": "--1", "expected_total_minor": "1e9", "category_id": "x", "slot_id": "x",
    "seller_id": "x", "variant_id": "x", "id": "zz", "variant.0.sale_step": "NaN", "variant.0.on_hand": "1e400",
    "variant.0.price": "١٢", "variant.0.id": "x", "shipping_address.country": "zzz", "billing_address.name": "x",
    "title": "\u200b", "display_name": "", "phone": "1", "place": "\x01", "rating": "9", "role": "admin", "login": "\x07",
}  # fmt: skip
SAFE = {"GET", "HEAD", "OPTIONS"}


def changing(store: Store) -> list[tuple[str, str]]:
    """Return the method and path of every route that may change something."""
    inner: Litestar = create_app({store.code: store}).app
    return sorted(
        (method, route.path) for route in inner.routes for method in getattr(route, "methods", ()) if method not in SAFE
    )


def test_whatever_changes_something_asks_who_it_is_for(store: Store) -> None:
    """The caller's dependency is where the CSRF token is checked.

    Calls of payment gateways carry a signature instead; an app's requests for tokens bring all they need and read no cookie; the
    form of another provider does nothing but turn into a link. An agent's call counts its token and no cookie, and each tool asks for
    the scope; a mail program's “no more of these” is believed for the signature of its link.
    """
    inner: Litestar = create_app({store.code: store}).app
    unasked = [
        route.path
        for route in inner.routes
        for method, (handler, _) in getattr(route, "route_handler_map", {}).items()
        if method not in SAFE and "caller" not in handler.parsed_fn_signature.parameters
    ]
    assert sorted(unasked) == [
        "/api/mcp", "/api/unsubscribe/{token:str}", "/api/v1/tokens", "/api/v1/tokens/refresh", "/api/v1/tokens/revoke",
        "/api/webhooks/{gateway:str}", "/sign-in/with/{provider:str}/back",
    ]  # fmt: skip


@pytest.mark.parametrize("fields", [{}, RUBBISH], ids=["empty", "rubbish"])
async def test_no_form_breaks_a_page(browse: Visitor, store: Store, make: Factory, fields: dict[str, str]) -> None:
    """Every form of the pages, to a seller with something in the cart, without its fields or with nonsense in them."""
    listing_id = await make.listing(await make.person("seller"))
    variant_id = await make.variant_of(listing_id)
    await browse.sign_up("clumsy", "seller")
    await browse.post("/cart/add", {"variant_id": str(variant_id), "quantity": "1"})
    paths = [path for method, path in changing(store) if method == "POST" and not path.startswith("/api/")]
    assert len(paths) > 20
    failed = []
    for path in paths:
        if path == "/sign-out":
            continue
        for number in ("1", "99999999999"):
            address = (
                path.replace("{line_no:int}", number).replace("{username:str}", "clumsy").replace("{number:str}", "X-1")
            )
            address = address.replace("{payment_id:uuid}", str(uuid4())).replace("{action:str}", "publish")
            answer = await browse.post(address.replace("{listing_id:uuid}", str(listing_id)), fields)
            if answer.status_code >= 500:
                failed.append((address, answer.status_code))
    assert not failed


async def test_a_form_from_a_neighbour_is_refused_even_with_a_token(browse: Visitor) -> None:
    await browse.get("/")
    for site, status in [("same-origin", 303), ("none", 303), ("same-site", 403), ("cross-site", 403)]:
        answer = await browse.client.post(
            "/scheme", data={"csrf_token": browse.token, "scheme": "dark"}, headers={"sec-fetch-site": site}
        )
        assert answer.status_code == status


async def test_who_must_sign_in_comes_back_to_the_same_page(browse: Visitor) -> None:
    answer = await browse.get("/saved?a=1&b=x%26y", follow=False)
    assert answer.headers["location"] == "/sign-in?next=/saved%3Fa%3D1%26b%3Dx%2526y"


@pytest.mark.parametrize("text", ["--5", "5-", "-", "1.5", "٣", "1" * 16])
def test_what_is_no_whole_number_is_named(text: str) -> None:
    with pytest.raises(FieldErrors) as refused:
        Form({"points": text}, {}).whole("points")
    assert refused.value.errors == {"points": "A whole number, please."}
    assert Form({"points": "-5"}, {}).whole("points") == -5


async def test_a_page_names_its_charset_once(browse: Visitor) -> None:
    for path in ("/", "/nowhere", "/robots.txt", "/theme/theme.css"):
        assert (await browse.get(path)).headers["content-type"].count("charset=utf-8") == 1
