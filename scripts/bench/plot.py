"""Line charts as SVG, with nothing but the standard library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 420, 300  # of a chart, with LEFT … BOTTOM around the plot
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 52, 44
COLUMNS = 3
HEADING = 30
COLOURS = ("#1f6fb2", "#d1622b", "#3f8f4f", "#8a5fb0")
GREY = "#888888"


@dataclass
class Line:
    """Points joined by a line."""

    title: str
    points: list[tuple[float, float]]
    dashed: bool = False


@dataclass
class Chart:
    """Lines in one pair of axes, both from zero."""

    title: str
    x_title: str
    y_title: str
    lines: list[Line] = field(default_factory=list)


def ticks(most: float, least_step: float = 0) -> list[float]:
    """At most six round numbers from zero on that cover most."""
    size = 10 ** math.floor(math.log10(most / 5)) if most > 0 else 1
    size *= next(factor for factor in (1, 2, 2.5, 5, 10) if most / (size * factor) <= 5)
    size = max(size, least_step)
    return [size * i for i in range(math.ceil(most / size) + 1)]


def number(value: float) -> str:
    """A short label."""
    return f"{value / 1000:g}k" if value >= 10000 else f"{value:g}"


def text(x: float, y: float, content: str, anchor: str = "middle", size: int = 11, colour: str = "#222222") -> str:
    """Text in SVG."""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
    return f'<text {place} font-size="{size}" fill="{colour}">{escape(content)}</text>'


def draw(chart: Chart) -> list[str]:
    """A chart at the origin."""
    everything = [point for line in chart.lines for point in line.points]
    x_ticks = ticks(max((x for x, _ in everything), default=1), 1)
    y_ticks = ticks(max((y for _, y in everything), default=1))
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT + (right - LEFT) * x / x_ticks[-1], bottom - (bottom - TOP) * y / y_ticks[-1]

    parts = [text(WIDTH / 2, 18, chart.title, size=13), text(WIDTH / 2, HEIGHT - 6, chart.x_title)]
    parts.append(text(LEFT - 8, TOP - 8, chart.y_title, anchor="start"))
    for value in x_ticks:
        x, _ = place(value, 0)
        parts.append(f'<path d="M{x:.1f} {TOP}V{bottom}" stroke="#e4e4e4"/>')
        parts.append(text(x, bottom + 15, number(value)))
    for value in y_ticks:
        _, y = place(0, value)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{right}" stroke="#e4e4e4"/>')
        parts.append(text(LEFT - 6, y + 4, number(value), anchor="end"))
    for index, line in enumerate(chart.lines):
        colour = GREY if line.dashed else COLOURS[index % len(COLOURS)]
        places = [place(x, y) for x, y in line.points]
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        dash = ' stroke-dasharray="4 4"' if line.dashed else ""
        parts.append(f'<polyline points="{joined}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>')
        if not line.dashed:
            parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        parts.append(text(LEFT + 8, TOP + 14 + 14 * index, line.title, anchor="start", colour=colour))
    return parts


def write_svg(path: Path, charts: Sequence[Chart], heading: str) -> None:
    """All charts in rows, below a heading."""
    columns = min(COLUMNS, len(charts))
    rows = math.ceil(len(charts) / columns)
    width, height = columns * WIDTH, rows * HEIGHT + HEADING
    body = [text(10, 20, heading, anchor="start", size=13)]
    for index, chart in enumerate(charts):
        x, y = index % columns * WIDTH, index // columns * HEIGHT + HEADING
        body += [f'<g transform="translate({x} {y})">', *draw(chart), "</g>"]
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'font-family="sans-serif"><rect width="100%" height="100%" fill="#ffffff"/>\n'
        + "\n".join(body)
        + "\n</svg>\n",
        encoding="utf-8",
    )
