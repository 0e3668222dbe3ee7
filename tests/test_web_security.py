"""What protects pages: tokens of forms, where a request comes from, and who is signed in on pages that are not there."""

import pytest

from tests.visitor import Visitor, text_of
from tradepost.cli.demo import NotAPort, as_port
from tradepost.flows.store import Store

DARK = {"scheme": "dark"}


async def test_token_of_a_visitors_form_is_not_one_of_a_person(browse: Visitor) -> None:
    await browse.get("/")
    before = browse.token
    await browse.sign_up("tendai")
    answer = await browse.client.post("/scheme", data=DARK | {"csrf_token": before})
    assert answer.status_code == 403
    assert "This form has expired" in answer.text
    assert (await browse.client.post("/scheme", data=DARK | {"csrf_token": browse.token})).status_code == 303


async def test_token_of_one_session_is_not_good_for_the_next(browse: Visitor) -> None:
    """The cookie that the token is made from stays; the session does not."""
    await browse.sign_up("tendai")
    first = browse.token
    await browse.post("/sign-out")
    assert (await browse.client.post("/scheme", data=DARK | {"csrf_token": first})).status_code == 403
    await browse.get("/")
    await browse.post("/sign-in", {"login": "tendai", "password": "a-walnut-tree-in-may"})
    assert "Sign out" in (await browse.get("/")).text
    assert (await browse.client.post("/scheme", data=DARK | {"csrf_token": first})).status_code == 403
    assert (await browse.client.post("/scheme", data=DARK | {"csrf_token": browse.token})).status_code == 303


async def test_opening_a_cart_leaves_the_forms_of_the_page_good(browse: Visitor) -> None:
    """A visitor gets a session with the first thing in the cart; the page they look at has the token of before."""
    await browse.get("/")
    first = browse.token
    browse.client.cookies.set("session", "0" * 43, domain="market.localhost")
    assert (await browse.client.post("/scheme", data=DARK | {"csrf_token": first})).status_code == 303


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://market.localhost"}, 303),
        ({"origin": "http://MARKET.localhost"}, 303),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://tese.localhost"}, 403),
        ({"origin": "http://market.localhost.evil.example"}, 403),
        ({"origin": "http://market.localhost:81"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://["}, 403),
        ({"origin": "http://evil.example", "sec-fetch-site": "same-origin"}, 303),  # the browser's own word is the better one
        ({"origin": "http://market.localhost", "sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({}, 303),
    ],
)  # fmt: skip
async def test_a_post_from_another_site_is_refused(browse: Visitor, headers: dict[str, str], status: int) -> None:
    await browse.get("/")
    answer = await browse.client.post("/scheme", data=DARK | {"csrf_token": browse.token}, headers=headers)
    assert answer.status_code == status


@pytest.mark.parametrize("path", ["/nowhere", "/c/fruit/nowhere", "/orders/x/y/z", "/me/nothing/at/all"])
async def test_who_is_signed_in_is_so_on_pages_that_are_not_there(browse: Visitor, path: str) -> None:
    stranger = await browse.get(path)
    assert stranger.status_code == 404
    assert "Sign in" in text_of(stranger.text)
    await browse.sign_up("tendai")
    answer = await browse.get(path)
    assert answer.status_code == 404
    assert "Sign in" not in text_of(answer.text)
    assert "Your pages, Tendai" in text_of(answer.text)
    assert (await browse.client.post("/scheme", data=DARK | {"csrf_token": browse.token})).status_code == 303


async def test_a_page_that_is_not_there_needs_no_database(browse: Visitor, store: Store) -> None:
    await browse.sign_up("tendai")
    await store.db.close()
    assert (await browse.client.get("/nowhere")).status_code == 404


@pytest.mark.parametrize("text", ["abc", "", "0", "65536", "-1", "80.5", "٣٤", "999999999999", "80 81"])
def test_a_port_that_is_none_is_told_so_in_one_sentence(text: str) -> None:
    with pytest.raises(NotAPort) as refused:
        as_port(text)
    assert refused.value.message == (
        f"“{text}” is not a port; it is a whole number from 1 to 65535: PORT=8000 make demo."
    )
    assert as_port(" 8000 ") == 8000
