"""Draw how many cores people need at the same time, from the measured cost of what they do: docs/images/capacity.svg.

The figures are those of docs/reference/performance.md; the picture is arithmetic on them, and says nothing that they do not.
"""

from pathlib import Path

from benchmarks.chart import Line, growth_chart

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "capacity.svg"
CORES_MEASURED = 2
PAGES_S, SEARCHES_S, ORDERS_S, DELIVERIES_S = 430, 105, 117, 19_960  # what those two cores carried of each
SIZES = (10, 100, 1_000, 10_000, 100_000)


def cores(people: int, *, pages: float = 0, searches: float = 0, orders: float = 0, deliveries: float = 0) -> float:
    """Return the cores for people who each do so much of each thing in a second."""
    busy = pages / PAGES_S + searches / SEARCHES_S + orders / ORDERS_S + deliveries / DELIVERIES_S
    return float(f"{people * busy * CORES_MEASURED:.2g}")


def main() -> None:
    """Draw."""
    lines = [
        Line(
            "looking around and buying", "ours", {n: cores(n, pages=0.08, searches=0.02, orders=0.002) for n in SIZES}
        ),
        Line("pages only", "soft", {n: cores(n, pages=0.1) for n in SIZES}),
        Line("watching a show", "peer", {n: cores(n, deliveries=2) for n in SIZES}),
    ]
    PICTURE.write_text(growth_chart("Cores for people at the same time", "", "cores", lines, unit=""), "utf-8")


if __name__ == "__main__":
    main()
