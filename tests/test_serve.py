"""Several stores on an operator's own servers: each keeps to its own database, cache and files."""

import re
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from tests.conftest import MARKET, Servers
from tradepost.accounts.types import Caller
from tradepost.app import create_app
from tradepost.cli.serve import AddressShared, check_addresses, files_address, files_of
from tradepost.core.crypto import Keyring
from tradepost.core.database import SYSTEM
from tradepost.core.home import open_home
from tradepost.core.settings import DatabaseSettings, FileSettings, Settings
from tradepost.flows.sign_in import load_caller, open_visit
from tradepost.flows.store import Store, open_store
from tradepost.web.proxies import NotANetwork, networks_of, visitor_of


@pytest.mark.parametrize("field", ["url", "owner_url", "replica_urls"])
def test_two_stores_never_share_a_database(field: str) -> None:
    def at(url: str) -> DatabaseSettings:
        return DatabaseSettings(replica_urls=(url,)) if field == "replica_urls" else DatabaseSettings(**{field: url})

    shared = at("postgresql://db/market")
    with pytest.raises(AddressShared) as refused:
        check_addresses(Settings(stores=("tese", "omade"), database=shared))
    assert refused.value.message.startswith(f"The setting “database.{field}” must contain {{database}}")
    check_addresses(Settings(stores=("tese",), database=shared))
    check_addresses(Settings(stores=("tese", "omade"), database=at("postgresql://db/{database}")))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/srv/files", "/srv/files/tese"),
        ("s3://bucket", "s3://bucket/tese"),
        (
            "s3://bucket/shops/?endpoint=http://s3:9000&region=eu",
            "s3://bucket/shops/tese?endpoint=http://s3:9000&region=eu",
        ),
    ],
)
def test_every_store_has_a_folder_of_its_own_for_files(url: str, expected: str, tmp_path: Path) -> None:
    assert files_address(url, "tese") == expected
    assert files_of(Settings(files=FileSettings(url=url)), open_home(tmp_path), "tese") == expected


def test_files_live_in_the_home_where_the_settings_name_no_place(tmp_path: Path) -> None:
    home = open_home(tmp_path)
    assert files_of(Settings(), home, "tese") == str(home.files("tese"))


async def test_what_one_store_remembers_of_a_session_opens_no_other(
    servers: Servers, market: str, tmp_path: Path
) -> None:
    """Both stores share a cache, and a cookie of one is brought to the other."""
    async with AsyncExitStack() as stack:
        stores = []
        for code in ("one", "two"):
            name = await servers.clone(market)
            stack.push_async_callback(servers.drop, name)
            opened = open_store(
                code, Settings(stores=("one", "two")), dsn=servers.dsn(name, "tradepost_app"), cache_url=servers.cache_url,
                files_url=str(tmp_path / code), keys=Keyring.from_secret("test", b"0" * 32), preset_folder=MARKET,
                cache_prefix=f"{code}:",
            )  # fmt: skip
            stores.append(await stack.enter_async_context(opened))
        here, there = stores
        visit = await open_visit(here, Caller(address="192.0.2.1"))
        assert (await load_caller(here, visit.token, "192.0.2.1")).session is not None
        assert (await load_caller(there, visit.token, "192.0.2.1")).session is None


async def test_the_bare_domain_lists_the_stores(store: Store) -> None:
    transport = httpx.ASGITransport(app=create_app({"market": store, "bakery": store}))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.get("/")
        assert answer.status_code == 200
        assert answer.text.count(f'href="{store.base_url}"') == 2
        assert (await client.get("/cart")).status_code == 404
    async with httpx.AsyncClient(transport=transport, base_url="http://market.localhost") as client:
        assert "stores__item" not in (await client.get("/")).text
        assert (await client.get("/stores")).status_code == 404


@pytest.mark.parametrize(
    "host",
    ["market", "marketlocalhost", "shop.market.localhost", "elsewhere.example", "127.0.0.1", "[::1]:8000", "market.localhost.evil"],
)  # fmt: skip
async def test_an_unknown_host_is_told_so_in_plain_words(store: Store, host: str) -> None:
    """Neither a store nor the list of stores; in a demo with the way there."""
    demo = replace(store, is_demo=True)
    for stores, leads in (({"market": store, "bakery": store}, False), ({"market": demo, "bakery": demo}, True)):
        transport = httpx.ASGITransport(app=create_app(stores))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            for path in ("/", "/cart", "/stores", "/nowhere"):
                answer = await client.get(path, headers={"host": host})
                assert answer.status_code == 404
                assert "text/html" in answer.headers["content-type"]
                assert "There is no store at this address; it may be mistyped." in answer.text
                assert ('href="http://localhost:8000"' in answer.text) is leads
                assert "stores__item" not in answer.text
            assert (await client.get("/static/css/tradepost.css", headers={"host": host})).status_code == 200


async def test_cookies_are_for_https_only_where_the_settings_say_so(store: Store) -> None:
    """A proxy that ends TLS speaks plain HTTP to the server."""
    for secure in (True, False):
        transport = httpx.ASGITransport(app=create_app({store.code: store}, secure=secure))
        async with httpx.AsyncClient(transport=transport, base_url="http://market.localhost") as client:
            answer = await client.get("/")
        assert ("; Secure" in answer.headers["set-cookie"]) is secure
        assert ("strict-transport-security" in answer.headers) is secure


async def test_readiness_says_how_each_store_is(store: Store) -> None:
    """For a load balancer, which comes by address and not by name."""
    transport = httpx.ASGITransport(app=create_app({"market": store, "bakery": store}))
    async with httpx.AsyncClient(transport=transport, base_url="http://192.0.2.1") as client:
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (200, {"market": "up", "bakery": "up"})
        await store.db.close()
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"market": "down", "bakery": "down"})


@pytest.mark.parametrize(
    ("peer", "told", "expected"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # a stranger may write what they like
        ("10.0.0.2", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.2", "192.0.2.7, 198.51.100.1", "198.51.100.1"),  # what the visitor wrote comes first
        ("10.0.0.2", "198.51.100.1, 10.0.0.3", "198.51.100.1"),
        ("10.0.0.2", "10.0.0.4, 10.0.0.3", "10.0.0.4"),
        ("10.0.0.2", "198.51.100.1, nonsense", "10.0.0.2"),
        ("10.0.0.2", "", "10.0.0.2"),
        ("::1", "2001:db8::7", "2001:db8::7"),
    ],
)
def test_only_our_own_proxies_say_whom_they_bring(peer: str, told: str, expected: str) -> None:
    proxies = networks_of(("10.0.0.0/8", "::1"))
    assert visitor_of(peer, [(b"x-forwarded-for", told.encode())], proxies) == expected
    assert visitor_of(peer, [(b"x-forwarded-for", told.encode())], ()) == peer


def test_a_proxy_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(NotANetwork, match=r"“proxy\.local” in the settings"):
        networks_of(("10.0.0.0/8", "proxy.local"))


async def test_a_session_is_noted_with_the_visitors_address(store: Store) -> None:
    app = create_app({store.code: store}, proxies=networks_of(("127.0.0.1",)))
    transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 123))
    async with httpx.AsyncClient(transport=transport, base_url="http://market.localhost") as client:
        headers = {"x-forwarded-for": "198.51.100.1"}
        account = {"username": "fern", "email": "fern@example.com", "password": "a-walnut-tree-in-may"}
        token = re.search(r'name="csrf_token" value="([0-9a-f]+)"', (await client.get("/", headers=headers)).text)
        assert token
        headers["x-csrf-token"] = token[1]
        assert (await client.post("/api/v1/accounts", json=account, headers=headers)).status_code == 201
    async with store.db.transaction(actor=SYSTEM) as tx:
        assert await tx.values(text("SELECT host(ip) FROM sessions")) == ["198.51.100.1"]
