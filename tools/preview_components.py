"""Look at the design: every component and page, five themes, light and dark, at three widths.

    python tools/preview_components.py --out /tmp/preview --page home --store tese --width 360
    python tools/preview_components.py --serve 8123

Pictures go to `--out`. The run fails when a page scrolls sideways, asks for something that is not there or breaks
the content policy, so it doubles as a check.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parent))

from preview import samples
from preview.pages import PAGES
from preview.server import PRESETS, Preview, serve

WIDTHS = (360, 768, 1440)
SCHEMES = ("light", "dark")


def load_stores(wanted: list[str] | None) -> dict[str, samples.Store]:
    """The stores asked for; one without goods of its own yet borrows those of a neighbour."""
    themed = [path for path in sorted(PRESETS.iterdir()) if (path / "theme/theme.css").is_file()]
    stocked = [
        path for path in themed if (path / "sample/listings.jsonl").is_file() and (path / "store.toml").is_file()
    ]
    chosen = [path for path in themed if not wanted or path.name in wanted]
    return {path.name: samples.load_store(path, path if path in stocked else stocked[0]) for path in chosen}


def shoot(browser: Browser, address: str, target: Path, width: int, scheme: str, *, whole: bool) -> list[str]:
    """Take one picture; returns what is wrong with the page."""
    faults: list[str] = []
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
    )  # type: ignore[arg-type]
    page = context.new_page()
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on(
        "response",
        lambda response: (
            faults.append(f"{response.status} {response.url}")
            if response.status >= 400 and not response.url.endswith(".svg")
            else None
        ),
    )
    answer = page.goto(address, wait_until="networkidle")
    if answer and answer.status == 500:
        faults.append(answer.text().strip().splitlines()[-1])
    overflow = page.evaluate(SIDEWAYS)
    if overflow:
        faults.append(f"scrolls sideways: {overflow}")
    if whole:
        page.evaluate("document.querySelectorAll('img[loading=lazy]').forEach(image => image.loading = 'eager')")
        page.wait_for_load_state("networkidle")
    page.screenshot(path=target, full_page=whole)
    context.close()
    return [fault for fault in faults if ".svg" not in fault and "Failed to load resource" not in fault]


SIDEWAYS = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return "";
  const held = e => e && e !== document.body && (getComputedStyle(e).overflowX !== "visible" || held(e.parentElement));
  const wide = [...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > width + 1 && !held(e.parentElement));
  return wide.slice(0, 4).map(e => e.tagName + "." + e.className).join(", ");
}"""


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("/tmp/tradepost-preview"))  # noqa: S108 - a picture folder of the developer's own
    parser.add_argument("--store", action="append")
    parser.add_argument("--page", action="append", choices=sorted(PAGES))
    parser.add_argument("--width", action="append", type=int)
    parser.add_argument("--scheme", action="append", choices=SCHEMES)
    parser.add_argument("--fold", action="store_true", help="only what is seen before scrolling")
    parser.add_argument("--serve", type=int, metavar="PORT", help="serve the pages instead of taking pictures")
    return parser.parse_args()


def shoot_all(options: argparse.Namespace, stores: dict[str, samples.Store], port: int) -> int:
    options.out.mkdir(parents=True, exist_ok=True)
    wrong = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", chromium_sandbox=False)
        for store in stores:
            for name in options.page or PAGES:
                for scheme in options.scheme or SCHEMES:
                    for width in options.width or WIDTHS:
                        address = f"http://{store}.localhost:{port}/{name}?scheme={scheme}"
                        target = options.out / f"{name}-{store}-{scheme}-{width}.png"
                        faults = shoot(browser, address, target, width, scheme, whole=not options.fold)
                        wrong += bool(faults)
                        print(f"{target.name}: {'; '.join(faults[:4]) or 'fine'}", flush=True)
        browser.close()
    return wrong


def main() -> Any:
    options = arguments()
    stores = load_stores(options.store)
    with serve(Preview(stores), options.serve or 0) as port:
        if options.serve:
            print(*(f"http://{store}.localhost:{port}/" for store in stores), sep="\n")
            while True:
                time.sleep(3600)
        return 1 if shoot_all(options, stores, port) else 0


if __name__ == "__main__":
    sys.exit(main())
