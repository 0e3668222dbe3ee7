"""A turn of the assistant without a language model: how long it takes, alone and fifty conversations at a time, and what the model weighs.

Turns are those of the scripted conversations of the shop-assistant store, asked again and again by new visitors. `p95_ms` is of one
conversation after another; `p95_50_ms` of fifty people at a time who read an answer for one to three seconds before they say the next
thing; `turns_s` how many turns a second fifty make who never pause, of which each then waits `p95_flat_ms`. `model_mb` is by how much the
process grows when it learns to understand, for all five stores together. CPU is of the process that answers; the database is another.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from benchmarks.assistant_talks import Script, caller_of, opened, scripts_of, settings
from benchmarks.ground import ground
from tradepost.assistant.types import DialogueState
from tradepost.flows.assistant import answer
from tradepost.flows.assistant_mind import open_mind
from tradepost.flows.store import Store

STORE, ROUNDS, AT_ONCE = "shop-assistant", 3, 50


async def measure() -> dict[str, Any]:
    """Open every store, let one understand, then talk."""
    async with ground() as on, AsyncExitStack() as stack:
        stores = {}
        for code in settings().stores:
            stores[code] = await stack.enter_async_context(opened(on, code, await on.store(code, 0)))
        before = _resident_mb()
        for store in stores.values():
            await answer(store, await caller_of(store, ""), "hello", DialogueState())
        grown = _resident_mb() - before
        minds = [await open_mind(store) for store in stores.values()]
        store = stores[STORE]
        scripts = [s for s in scripts_of(STORE) if not s.person]
        await _talk(store, scripts)
        started, cpu = time.perf_counter(), time.process_time()
        alone = [took for _ in range(ROUNDS) for took in await _talk(store, scripts)]
        cpu_ms = (time.process_time() - cpu) / len(alone) * 1000
        parts = [scripts[n::AT_ONCE] or scripts[:1] for n in range(AT_ONCE)]
        reading = await _together(store, parts, pauses=True)
        started = time.perf_counter()
        flat = await _together(store, [part * ROUNDS for part in parts], pauses=False)
        rate = len(flat) / (time.perf_counter() - started)
    result = {
        "p50_ms": _share(alone, 0.5), "p95_ms": _share(alone, 0.95), "cpu_ms": round(cpu_ms, 1), "p95_50_ms": _share(reading, 0.95),
        "turns_s": round(rate, 1), "p95_flat_ms": _share(flat, 0.95), "model_mb": round(grown, 1), "classifiers": len({id(m.classifier) for m in minds}),
    }  # fmt: skip
    print(f"assistant: {result}")
    return result


async def _together(store: Store, parts: Sequence[Sequence[Script]], *, pauses: bool) -> list[float]:
    """Hold the conversations of each part after each other, all parts at a time; return how long each turn took."""
    readers = [random.Random(n) if pauses else None for n in range(len(parts))]  # noqa: S311  # pauses, no secret
    found = await asyncio.gather(*(_talk(store, part, reader) for part, reader in zip(parts, readers, strict=True)))
    return [took for some in found for took in some]


async def _talk(store: Store, scripts: Sequence[Script], pauses: random.Random | None = None) -> list[float]:
    """Hold conversations; return how long each turn took, in seconds."""
    took = []
    for script in scripts:
        caller, state = await caller_of(store, ""), DialogueState()
        for step in script.steps:
            if pauses is not None:
                await asyncio.sleep(pauses.uniform(1, 3))
            started = time.perf_counter()
            state = (await answer(store, caller, step.say, state)).state
            took.append(time.perf_counter() - started)
    return took


def _share(seconds: Sequence[float], part: float) -> float:
    ordered = sorted(seconds)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * part))] * 1000, 1)


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * 4096 / 1e6
