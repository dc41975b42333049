"""One page with every picture of a study's oscillators: interactive, and works offline."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any, Final

import numpy as np

from workloads.phase_coupling.interventions.circle import mean_field
from workloads.phase_coupling.interventions.kept import Floats, Run
from workloads.phase_coupling.interventions.pictures import (
    TONE_COLOURS,
    TONE_LABELS,
    Arms,
    over_steps,
    stacked,
    training_rows,
    units_in_order,
)
from workloads.phase_coupling.interventions.styles import (
    OTHERS,
    Style,
    in_order,
    line_widths,
    others_text,
    styles_of,
)
from workloads.views import StudyView

_WITHIN: Final = "Of lines that coincide each is seen within the one before."


def write_page(
    study: StudyView,
    arms: Arms,
    circles: Mapping[str, Run],
    residence: Mapping[str, list[float]],
    survival: Mapping[str, Mapping[str, float]],
    points: Mapping[str, tuple[Floats, Floats]],
    path: Path,
) -> Path:
    """A click in a legend hides an arm. The program that draws is part of the file. Gives `path`.

    `points`: arm -> R and entropy of its samples; see `pictures` for the others.
    """
    styles = styles_of(arms)
    grey = others_text(arms, styles).removeprefix("; ")
    texts = {arm: stacked([run.texts_r for run in runs]) for arm, runs in arms.items()}
    samples = {arm: stacked([run.samples_r for run in runs]) for arm, runs in arms.items()}
    training = {arm: training_rows(runs, "r") for arm, runs in arms.items()}
    charts = [
        (
            "R over the tokens of test texts",
            "R is 1 where all oscillators are in step and 0 where they are spread evenly. Median "
            f"over texts and seeds. {_WITHIN}",
            _lines(texts, styles, "token"),
        ),
        (
            "R over the tokens of samples",
            f"The same where the model writes. {_WITHIN}",
            _lines(samples, styles, "token"),
        ),
        (
            "R over the steps of training",
            f"Median over seeds. {_WITHIN}",
            _lines(training, styles, "step"),
        ),
        (
            "Mean of all oscillators over the tokens of one text",
            "The mean of e^(i phase), of one seed: its distance from the middle is R. Oscillators "
            "that are held stay at a point.",
            _circles(circles, styles),
        ),
        (
            "Share of tokens by tone",
            "Tones are names for ranges of R.",
            _residence(residence),
        ),
        (
            "What survives, by layer",
            "How much the oscillators change of what each part of the model gives, relative to the "
            "model alone. Arms that change nothing are left out.",
            _survival(survival, styles),
        ),
        ("Entropy against R", "A point is a sample.", _points(points, styles)),
    ]
    shown = [chart for chart in charts if chart[2] is not None]
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        f"<title>{escape(study.name)}: oscillators</title>",
        "<style>body{font-family:sans-serif;max-width:1100px;margin:2em auto}</style></head><body>",
        f"<h1>{escape(study.name)}</h1><p>{escape(study.question)}</p>",
        f"<p><b>{escape(study.answer)}</b></p>",
        "<p>A click in a legend hides an arm, two show it alone."
        + (
            f" In lines and points, {grey}; what lies under the pointer tells its name."
            if grey
            else ""
        )
        + "</p>",
    ]
    for number, (title, about, figure) in enumerate(shown):
        figure.update_layout(template="plotly_white", height=480)
        html = figure.to_html(full_html=False, include_plotlyjs=number == 0)
        parts.append(f"<h2>{escape(title)}</h2><p>{escape(about)}</p>{html}")
    path.write_text("\n".join([*parts, "</body></html>"]), encoding="utf-8")
    return path


def _new() -> Any:
    import plotly.graph_objects as go

    return go.Figure()


def _lines(of: Mapping[str, Floats], styles: Mapping[str, Style], along: str) -> Any:
    if not any(rows.size and np.isfinite(rows).any() for rows in of.values()):
        return None
    figure, widths = _new(), line_widths(of, styles)
    for arm in in_order(of, styles):
        rows = of[arm]
        if rows.size and np.isfinite(rows).any():
            steps, middle, _, _ = over_steps(rows)
            figure.add_scatter(
                x=steps,
                y=_short(middle),
                mode="lines",
                line={**_line(styles[arm]), "width": widths[arm]},
                **_named(figure, arm, styles),
            )
    figure.update_xaxes(title=along)
    figure.update_yaxes(title="R", range=[-0.02, 1.02])
    return figure


def _circles(runs: Mapping[str, Run], styles: Mapping[str, Style]) -> Any:
    if not runs:
        return None
    figure = _new()
    around = np.linspace(0, 2 * np.pi, 121)
    figure.add_scatter(
        x=_short(np.cos(around)),
        y=_short(np.sin(around)),
        mode="lines",
        line={"color": "lightgray"},
        showlegend=False,
        hoverinfo="skip",
    )
    for arm in in_order(runs, styles):
        field = mean_field(runs[arm].phases)
        figure.add_scatter(
            x=_short(field[:, 0]),
            y=_short(field[:, 1]),
            mode="lines+markers",
            marker={"size": 5, "color": styles[arm].colour},
            line=_line(styles[arm]),
            **_named(figure, arm, styles),
            text=[
                f"{escape(arm)}, token {token + 1}: R {np.hypot(*z):.3f}"
                for token, z in enumerate(field)
            ],
            hovertemplate="%{text}<extra></extra>",
        )
    figure.update_xaxes(range=[-1.1, 1.1], scaleanchor="y", constrain="domain", title="cosine")
    figure.update_yaxes(range=[-1.1, 1.1], title="sine")
    return figure


def _residence(shares: Mapping[str, list[float]]) -> Any:
    if not shares:
        return None
    figure = _new()
    for number, label in enumerate(TONE_LABELS):
        figure.add_bar(
            y=list(shares),
            x=[of[number] for of in shares.values()],
            orientation="h",
            name=label,
            marker={"color": TONE_COLOURS[number]},
        )
    figure.update_layout(barmode="stack", legend={"traceorder": "normal"})
    figure.update_xaxes(title="share of the tokens of test texts", range=[0, 1])
    figure.update_yaxes(autorange="reversed")
    return figure


def _survival(survival: Mapping[str, Mapping[str, float]], styles: Mapping[str, Style]) -> Any:
    if not survival:
        return None
    figure = _new()
    units = units_in_order(survival)
    for arm in in_order(survival, styles):
        figure.add_scatter(
            x=units,
            y=[survival[arm].get(unit) or None for unit in units],
            mode="lines+markers",
            line=_line(styles[arm]),
            **_named(figure, arm, styles),
        )
    figure.update_yaxes(type="log", title="change relative to the model alone")
    return figure


def _points(points: Mapping[str, tuple[Floats, Floats]], styles: Mapping[str, Style]) -> Any:
    if not points:
        return None
    figure = _new()
    for arm in in_order(points, styles):
        r, entropy = points[arm]
        figure.add_scatter(
            x=_short(r),
            y=_short(entropy),
            mode="markers",
            marker={"color": styles[arm].colour, "opacity": 0.5, "size": 6},
            **_named(figure, arm, styles),
        )
    figure.update_xaxes(title="mean R of a sample", range=[-0.02, 1.02])
    figure.update_yaxes(title="its normalised entropy")
    return figure


def _line(style: Style) -> dict[str, str]:
    return {"color": style.colour, "dash": style.plotly_dash}


def _named(figure: Any, arm: str, styles: Mapping[str, Style]) -> dict[str, Any]:
    """An arm's entry in the legend; of grey arms the first has one, for all of them."""
    if styles[arm].named:
        return {"name": arm}
    first = not any(trace.legendgroup == OTHERS for trace in figure.data)
    return {"name": OTHERS, "legendgroup": OTHERS, "showlegend": first, "hovertext": arm}


def _short(values: Floats) -> list[float]:
    """Four digits are more than can be seen, and a page is as long as its digits."""
    return [round(float(value), 4) for value in values]
