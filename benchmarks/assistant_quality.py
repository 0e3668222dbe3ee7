"""`make bench-assistant`: how well the assistant understands, refuses and finds; the last line is JSON.

`intent_10shot`, `in_scope` and `oos_recall` are of other people's data (benchmarks/assistant_intents.py); `dialogues_done` and
`unsupported_numbers` of the project's own scripted conversations over the five stores; `tau_done` is how many of the retail tasks end in
the expected state (benchmarks/assistant_retail.py).
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.assistant_intents import few_shots, strange_questions
from benchmarks.assistant_retail import measure
from benchmarks.assistant_talks import Outcome, hold, opened, scripts_of, settings
from benchmarks.ground import ground


async def converse(codes: tuple[str, ...]) -> list[Outcome]:
    """Hold every scripted conversation, store by store."""
    outcomes = []
    async with ground() as on:
        for code in codes:
            database = await on.store(code, 0)
            async with opened(on, code, database) as store:
                here = [await hold(store, script) for script in scripts_of(code)]
            print(f"{code}: {sum(not o.wrong for o in here)} of {len(here)} conversations done", flush=True)
            for outcome in here:
                if outcome.wrong or outcome.unsupported:
                    print(f"  {outcome.name}: {outcome.wrong} {' '.join(outcome.unsupported)}", flush=True)
            outcomes += here
    return outcomes


async def retail(data: Path) -> tuple[int, int, int]:
    """Return how many retail tasks are done, of how many, and how often a stranger was refused."""
    async with ground() as on:
        return await measure(on, data)


def main() -> None:
    """Measure all of it, or what --only names: intents, strange, talks, retail."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder with the data sets")
    parser.add_argument("--only", default="", help="comma-separated: intents, strange, talks, retail")
    chosen = parser.parse_args()
    parts = {p for p in chosen.only.split(",") if p} or {"intents", "strange", "talks", "retail"}
    figures: dict[str, float] = {}
    if "intents" in parts:
        figures["intent_10shot"] = round(few_shots(chosen.data), 4)
        print(f"intents, 10 examples of each: {figures['intent_10shot']}", flush=True)
    if "strange" in parts:
        in_scope, refused = strange_questions(chosen.data)
        figures |= {"in_scope": round(in_scope, 4), "oos_recall": round(refused, 4)}
        print(f"in scope {in_scope:.4f}, strange questions refused {refused:.4f}", flush=True)
    if "talks" in parts:
        outcomes = asyncio.run(converse(settings().stores))
        figures["dialogues_done"] = round(sum(not o.wrong for o in outcomes) / len(outcomes), 4)
        figures["unsupported_numbers"] = sum(len(o.unsupported) for o in outcomes)
        print(f"{len(outcomes)} conversations: {figures['dialogues_done']:.4f} done", flush=True)
    if "retail" in parts:
        done, whole, refused = asyncio.run(retail(chosen.data))
        figures |= {"tau_done": done, "tau_tasks": whole, "tau_refused": refused}
        print(f"retail: {done} of {whole} tasks done; strangers refused {refused} times", flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
