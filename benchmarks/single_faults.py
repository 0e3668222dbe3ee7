"""One thing that goes wrong at a time: a full disk, ten thousand connections at once, senders who never finish.

For each a store is served by one process as production does it; the fault is made, what people get meanwhile is counted, the fault
ends, and everything has to work again without anybody's help. `make faults ONLY=disk|storm|slow`.

    python benchmarks/single_faults.py storm slow
"""

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import asyncpg
import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.checkout_race import (  # the path must be set first when run as a file
    DATABASE,
    STORE,
    Arena,
    fill,
    short_lived_preset,
    start_process,
    until_opened,
)
from benchmarks.load import Client
from benchmarks.pages import free_port
from benchmarks.trading import Buyer, Good
from tradepost.core.embedded import embedded_services
from tradepost.migrations import create_database, migrate

CONNECTIONS, REQUESTS, SLOW = 10_000, 2_000, 1_000
LONGEST_ANSWER_S, LONGEST_SLOW_S = 60.0, 90.0
MOST_GROWTH_MB = 200
DISK_MB = 700
PAGE = "/api/v1/search?q=race"
LOST = (OSError, EOFError, TimeoutError)

Figures = dict[str, float]


class Served(Arena):
    """A store that one process serves, with goods and buyers."""

    goods: list[Good]
    buyers: list[Buyer]

    @property
    def port(self) -> int:
        """The port of the server."""
        return self.ports[0]

    @property
    def memory_mb(self) -> float:
        """What the server's process holds in memory."""
        status = Path(f"/proc/{self.processes['server 0'].pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    async def get(self, path: str = PAGE) -> int:
        """Return the status of a GET over a connection of its own, 0 for no answer."""
        return (await self.ask("GET", path, b"", ""))[0]

    async def ask(self, method: str, path: str, body: bytes, token: str, key: str = "") -> tuple[int, str]:
        """Return status and problem code of a request over a connection of its own, 0 for no answer."""
        client = Client(self.port, f"{STORE}.localhost", token)
        try:
            status, answer = await asyncio.wait_for(client.post(path, body, key, method), LONGEST_ANSWER_S)
        except LOST:
            return 0, ""
        finally:
            client.close()
        return status, msgspec.json.decode(answer).get("code", "") if status >= 400 else ""

    async def answers_again(self) -> bool:
        """Wait until a page is there."""
        until = time.monotonic() + LONGEST_ANSWER_S
        while time.monotonic() < until:
            if await self.get() == 200:
                return True
            await asyncio.sleep(0.2)
        return False

    async def order(self, n: int) -> tuple[int, str]:
        """Buy something as one of the buyers; return status and problem code of the first step that failed, or of the order."""
        buyer, good = self.buyers[n % len(self.buyers)], self.goods[n % len(self.goods)]
        line = {"variant_id": good.variant_id, "quantity": 1}
        put = await self.ask("POST", "/api/v1/cart/lines", msgspec.json.encode(line), buyer.token)
        if put[0] != 201:
            return put
        form = {"gateway": "sandbox", "method": "approve", "shipping": "counter-pickup", "shipping_address": _ADDRESS}
        return await self.ask("POST", "/api/v1/checkout", msgspec.json.encode(form), buyer.token, f"single-{n}")


_ADDRESS = {
    "name": "Single",
    "line1": "1 Main Street",
    "city": "Boston",
    "region": "MA",
    "postcode": "02101",
    "country": "US",
}


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Served]:
    """Serve a store below a folder for the length of the block."""
    arena = Served(random.Random(1), folder / "home", short_lived_preset(folder), stock=200)  # noqa: S311
    async with AsyncExitStack() as stack:
        arena.services = await stack.enter_async_context(embedded_services(arena.home))
        await create_database(arena.services.postgres.dsn(), DATABASE)
        await migrate(arena.services.postgres.dsn(DATABASE))
        arena.goods, arena.buyers, _ = await fill(arena)
        arena.ports = [free_port()]
        await start_process(arena, "server 0", "store", arena.port)
        try:
            await until_opened(arena.port)
            assert await arena.answers_again()
            yield arena
        finally:
            arena.processes["server 0"].kill()
            await arena.processes["server 0"].wait()


async def storm(arena: Served) -> Figures:
    """Ten thousand connect at once and say nothing, then two thousand ask at once; everybody else is served meanwhile."""
    before, held = arena.memory_mb, []

    async def connect() -> bool:
        with suppress(*LOST):
            held.append(await asyncio.wait_for(asyncio.open_connection("127.0.0.1", arena.port), LONGEST_ANSWER_S))
            return True
        return False

    connected = sum(await asyncio.gather(*(connect() for _ in range(CONNECTIONS))))
    during = Counter([await arena.get() for _ in range(20)])
    peak = arena.memory_mb
    for _, writer in held:
        writer.close()
    asked = Counter(await asyncio.gather(*(arena.get() for _ in range(REQUESTS))))
    after = await arena.answers_again()
    return {
        "connected": connected, "answered_meanwhile": during[200], "at_once_answered": asked[200], "at_once_busy": asked[503],
        "at_once_lost": asked[0], "growth_mb": round(peak - before), "server_errors": asked[500] + during[500],
        "faults": (during[200] < 20) + (asked[500] > 0) + (not after) + (peak - before > MOST_GROWTH_MB) + (connected < CONNECTIONS),
    }  # fmt: skip


async def slow(arena: Served) -> Figures:
    """A thousand send headers and a thousand bodies that never end; all are let go, and memory stays what it was."""
    before = arena.memory_mb
    head = f"POST /api/v1/checkout HTTP/1.1\r\nHost: {STORE}.localhost\r\nContent-Type: application/json\r\n"
    starts = (
        f"{head}X-Slow: ",
        f"{head}Authorization: Bearer {arena.buyers[0].token}\r\nContent-Length: 100000\r\n\r\n{{",
    )

    async def send(start: str) -> str:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", arena.port)
            writer.write(start.encode())
            answer = await asyncio.wait_for(reader.read(200), LONGEST_SLOW_S)
            writer.close()
        except TimeoutError:
            return "kept"
        except OSError:
            return "let go"
        return answer.split(b" ")[1].decode() if answer else "let go"

    sending = [asyncio.create_task(send(start)) for start in starts for _ in range(SLOW)]
    await asyncio.sleep(5)
    during, peak = Counter([await arena.get() for _ in range(20)]), arena.memory_mb
    ends = Counter(await asyncio.gather(*sending))
    after = await arena.answers_again()
    return {
        "answered_meanwhile": during[200], "kept": ends["kept"], "let_go": ends["let go"], "told_408": ends["408"],
        "growth_mb": round(peak - before),
        "faults": (during[200] < 20) + (ends["kept"] > 0) + (not after) + (peak - before > MOST_GROWTH_MB),
    }  # fmt: skip


async def disk(arena: Served) -> Figures:
    """The disk of the database fills up: pages are served and orders refused with the reason, until there is room again."""
    first = [await arena.order(n) for n in range(3)]
    filler = arena.home / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 16))
    with suppress(OSError), filler.open("ab", buffering=0) as file:
        while True:
            file.write(b"\0")
    refused: Counter[str] = Counter()
    pages: Counter[int] = Counter()
    acknowledged = sum(status == 201 for status, _ in first)
    for n in range(3, 200):
        status, code = await arena.order(n)
        acknowledged += status == 201
        refused[code or str(status)] += status != 201
        pages[await arena.get()] += 1
        if refused["NoRoomLeft"] >= 10:
            break
    filler.unlink()
    after = await arena.answers_again()
    again = Counter([(await arena.order(n))[0] for n in range(200, 210)])
    assert arena.services is not None
    owner = await asyncpg.connect(arena.services.postgres.dsn(DATABASE))
    orders = await owner.fetchval("SELECT count(*) FROM orders")
    await owner.close()
    print(f"  disk: refused {dict(+refused)}, pages {dict(pages)}")
    return {
        "orders_before": sum(status == 201 for status, _ in first), "refused_with_the_reason": refused["NoRoomLeft"],
        "pages_meanwhile": pages[200], "pages_not": pages.total() - pages[200], "orders_after": again[201],
        "orders_lost": max(0, acknowledged + again[201] - orders), "server_errors": refused["500"] + refused["InternalError"] + pages[500],
        "faults": (refused["NoRoomLeft"] == 0) + refused["InternalError"] + pages[500] + (not after) + (again[201] < 10)
        + (acknowledged + again[201] > orders),
    }  # fmt: skip


@contextmanager
def _folder(*, is_small: bool) -> Iterator[Path]:
    """Give a folder, on a disk of its own where it is to be filled."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        if is_small:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=755", "tradepost", name], check=True)
        try:
            yield folder
        finally:
            if is_small:
                subprocess.run(["umount", "--lazy", name], check=True)


async def _run(scenario: Callable[[Served], Awaitable[Figures]]) -> Figures:
    with _folder(is_small=scenario is disk) as folder:
        async with served(folder) as arena:
            return await scenario(arena)


SCENARIOS = {"storm": storm, "slow": slow, "disk": disk}


def main() -> None:
    """Run the scenarios that are named, or all; exit with 1 where one went wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="scenario", help=f"of {', '.join(SCENARIOS)}; all unless given")
    chosen = parser.parse_args().scenarios or list(SCENARIOS)
    figures = {name: asyncio.run(_run(SCENARIOS[name])) for name in chosen}
    print(json.dumps(figures))
    sys.exit(any(found["faults"] for found in figures.values()))


if __name__ == "__main__":
    main()
