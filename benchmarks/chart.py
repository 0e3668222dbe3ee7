"""A picture of how figures grow, as SVG: both axes logarithmic, readable on light and dark pages, without a library."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

WIDTH, HEIGHT = 720, 400
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 52, 112
_LINE = 14
_STYLE = """
    text { font: 13px system-ui, sans-serif; fill: #24292f } .title { font-size: 16px; font-weight: 600 } .small { fill: #57606a }
    .grid { stroke: #d0d7de; stroke-width: 1 } .line { fill: none; stroke-width: 2.5 } .value { font-size: 12px; font-weight: 600 }
    .ours { stroke: #1a7f37 } .ours-thin { stroke: #1a7f37; stroke-dasharray: 2 5; stroke-linecap: round }
    .soft { stroke: #0969da } .peer { stroke: #cf222e } .paper { fill: #ffffff }
    @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .small { fill: #9198a1 } .grid { stroke: #3d444d } .paper { fill: #0d1117 }
    .ours, .ours-thin { stroke: #3fb950 } .soft { stroke: #58a6ff } .peer { stroke: #ff7b72 } }
"""


@dataclass(frozen=True)
class Line:
    """A named line: how it is drawn (a class of the style), and its values by size."""

    name: str
    style: str
    values: Mapping[int, float]


def growth_chart(title: str, across: str, up: str, lines: Sequence[Line], unit: str = "ms") -> str:
    """Return the picture; the values at the largest size are written beside their points."""
    sizes = sorted({n for line in lines for n in line.values})
    every = [v for line in lines for v in line.values.values()]
    low, high = 10 ** math.floor(math.log10(min(every))), 10 ** math.ceil(math.log10(max(every)))

    def x(size: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT - 60) * math.log(size / sizes[0]) / math.log(sizes[-1] / sizes[0])

    def y(value: float) -> float:
        return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * math.log(value / low) / math.log(high / low)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f'<style>{_STYLE}</style><rect class="paper" width="{WIDTH}" height="{HEIGHT}" rx="6"/>',
        f'<text class="title" x="{_LEFT}" y="28">{escape(title)}</text>',
    ]
    step = low
    while step <= high:
        parts.append(f'<path class="grid" d="M{_LEFT} {y(step):.1f}H{WIDTH - _RIGHT}"/>')
        parts.append(f'<text class="small" x="{_LEFT - 8}" y="{y(step) + 4:.1f}" text-anchor="end">{step:g}</text>')
        step *= 10
    parts.append(f'<text class="small" x="{_LEFT}" y="{_TOP - 6}">{escape(f"{up}, by {across}")}</text>')
    foot = HEIGHT - _BOTTOM + 20
    parts += [f'<text class="small" x="{x(n):.1f}" y="{foot}" text-anchor="middle">{n:,}</text>' for n in sizes]
    beside = _apart([y(max(line.values.items())[1]) + 4 for line in lines])
    for n, line in enumerate(lines):
        points = sorted(line.values.items())
        path = "L".join(f"{x(size):.1f} {y(value):.1f}" for size, value in points)
        last_size, last = points[-1]
        across_at, down_at = _LEFT + 320 * (n % 2), HEIGHT - _BOTTOM + 52 + 24 * (n // 2)
        parts += [
            f'<path class="line {line.style}" d="M{path}"/>',
            f'<text class="value" x="{x(last_size) + 8:.1f}" y="{beside[n]:.1f}">{f"{last:,.0f}" if last >= 100 else f"{last:.3g}"} {unit}</text>',
            f'<path class="line {line.style}" d="M{across_at} {down_at - 4}h28"/>',
            f'<text x="{across_at + 36}" y="{down_at}">{escape(line.name)}</text>',
        ]
    return "\n".join([*parts, "</svg>", ""])


def _apart(heights: Sequence[float]) -> list[float]:
    """Return heights of words beside each other's points, moved down so far that none covers another."""
    moved = list(heights)
    for before, n in pairwise(sorted(range(len(moved)), key=moved.__getitem__)):
        moved[n] = max(moved[n], moved[before] + _LINE)
    return moved
