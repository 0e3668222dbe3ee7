"""`make bench`: measure the paths of the budgets; the last line is JSON, one object for each path measured."""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import (
    alerts,
    analytics,
    assistant,
    cache,
    chat,
    checkout,
    feed,
    imports,
    ingest,
    live,
    metrics,
    notifications,
    office,
    pages,
    search,
    show,
    slots,
    start,
    trust,
)  # the path must be set first when run as a file

MEASURES: dict[str, Callable[[Path], Awaitable[dict[str, Any]]]] = {
    "json_page": lambda _data: pages.measure("json_page"),
    "html_page": lambda _data: pages.measure("html_page"),
    "checkout": lambda _data: checkout.measure(),
    "search": search.measure,
    "alerts": alerts.measure,
    "cache": lambda _data: cache.measure(),
    "office": lambda _data: office.measure(),
    "analytics": lambda _data: analytics.measure(),
    "slots": lambda _data: slots.measure(),
    "chat": lambda _data: chat.measure(),
    "live": lambda _data: live.measure(),
    "trust": lambda _data: trust.measure(),
    "show": lambda _data: show.measure_show(),
    "auction": lambda _data: show.measure_auction(),
    "feed": lambda _data: feed.measure(),
    "assistant": lambda _data: assistant.measure(),
    "ingest": lambda _data: ingest.measure(),
    "import": lambda _data: imports.measure(),
    "metrics": lambda _data: metrics.measure(),
    "notifications": lambda _data: notifications.measure(),
    "start": lambda _data: start.measure(),
}


def main() -> None:
    """Run all measures, or those that --only names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help=f"comma-separated: {', '.join(MEASURES)}")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with the data sets")
    chosen = parser.parse_args()
    names = [n for n in chosen.only.split(",") if n] or list(MEASURES)
    unknown = set(names) - set(MEASURES)
    if unknown:
        parser.error(f"no such path: {', '.join(sorted(unknown))}")
    results = {}
    for name in names:
        print(f"== {name}", flush=True)
        results[name] = asyncio.run(_one(name, chosen.data))
    print(json.dumps(results))


async def _one(name: str, data: Path) -> dict[str, Any]:
    return await MEASURES[name](data)


if __name__ == "__main__":
    main()
