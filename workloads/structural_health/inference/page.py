"""The phase plot as a page: interactive, and works offline."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from workloads.structural_health.inference.metrics import ZONE
from workloads.structural_health.inference.phase import (
    COLOURS,
    ENTROPY_TITLE,
    KAPPA_TITLE,
    NO_KAPPA,
    Point,
    by_group,
    kappa_range,
)


def write_page(points: Sequence[Point], path: Path, title: str, said: Sequence[str] = ()) -> Path:
    """Every chunk with its run, its number and what was written; a click in the legend hides a
    group. `said`: paragraphs above. The program that draws is part of the file. Gives `path`."""
    paragraphs = "".join(f"<p>{escape(text)}</p>" for text in said if text)
    path.write_text(
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f"<title>{escape(title)}</title>"
        "<style>body{font-family:sans-serif;max-width:1100px;margin:2em auto}</style></head>"
        f"<body><h1>{escape(title)}</h1>{paragraphs}{_chart(points)}</body></html>",
        encoding="utf-8",
    )
    return path


def _chart(points: Sequence[Point]) -> str:
    from plotly.subplots import make_subplots

    figure = make_subplots(
        1, 2, shared_yaxes=True, column_widths=[0.1, 0.9], horizontal_spacing=0.02
    )
    for number, (group, of) in enumerate(by_group(points).items()):
        known = [point for point in of if point.row.kappa is not None]
        without = [point for point in of if point.row.kappa is None]
        for column, part, symbol in ((1, without, "x"), (2, known, "circle")):
            figure.add_scatter(
                row=1,
                col=column,
                x=[group if p.row.kappa is None else p.row.kappa for p in part],
                y=[p.row.entropy for p in part],
                text=[_hover(p) for p in part],
                hovertemplate="%{text}<extra></extra>",
                mode="markers",
                name=group,
                legendgroup=group,
                showlegend=column == (2 if known else 1),
                marker={
                    "color": COLOURS[number % len(COLOURS)],
                    "symbol": symbol,
                    "opacity": 0.6,
                },
            )
    figure.add_vrect(*ZONE, fillcolor="gray", opacity=0.2, line_width=0, row=1, col=2)
    figure.update_xaxes(title=NO_KAPPA, showticklabels=False, row=1, col=1)
    figure.update_xaxes(title=KAPPA_TITLE, range=list(kappa_range(points)), row=1, col=2)
    figure.update_yaxes(title=ENTROPY_TITLE, row=1, col=1)
    figure.update_layout(template="plotly_white", height=560)
    html: str = figure.to_html(full_html=False, include_plotlyjs=True)
    return html


def _hover(point: Point) -> str:
    row = point.row
    seed = "" if point.seed is None else f", seed {point.seed}"
    kappa = "none" if row.kappa is None else f"{row.kappa:.4f}"
    return (
        f"{escape(point.group)}{seed}, chunk {row.step}<br>κ {kappa}, H {row.entropy:.3f}"
        f"<br>{escape(row.text)}"
    )
