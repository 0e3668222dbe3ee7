"""Two server processes on one database, one cache and one folder of files: nobody needs to come back to the same one."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.conftest import MARKET, Servers
from tests.serving import free_port, launched
from tests.shop import Shop
from tests.visitor import Visitor


@pytest.fixture
def pair(servers: Servers, store_dsn: str, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """Two servers of one store, each a process of its own; their addresses."""
    with ExitStack() as stack:
        addresses = []
        for _ in range(2):
            port = free_port()
            process = launched(store_dsn, servers.cache_url, tmp_path / "files", MARKET, port)
            stack.callback(_end, process)
            addresses.append(f"http://127.0.0.1:{port}")
        yield addresses[0], addresses[1]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(20)


async def test_a_visit_goes_on_at_another_server(pair: tuple[str, str], shop: Shop) -> None:
    first, second = pair
    variant = await shop.goods("Hammer", stock=2)
    async with httpx.AsyncClient(base_url=first) as client:
        visit = Visitor(client)
        await visit.sign_up("newcomer")
        client.base_url = second
        assert (await visit.get("/me", follow=False)).status_code == 200
        placed = await visit.order(str(variant), gateway="sandbox", method="approve")
        assert placed.status_code == 303, placed.text[:500]
        client.base_url = first
        assert "Hammer" in (await visit.get("/orders")).text
        await visit.post("/sign-out")
        client.base_url = second
        assert (await visit.get("/me", follow=False)).status_code == 303
