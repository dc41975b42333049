"""The pictures of a study's oscillators, drawn on Agg canvases of their own: no display."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from workloads.phase_coupling.interventions.kept import Floats, Run
from workloads.phase_coupling.interventions.styles import (
    MOST_BANDS,
    OTHERS,
    Style,
    in_order,
    line_widths,
    others_text,
    styles_of,
)
from workloads.phase_coupling.metrics import TONES

TONE_COLOURS: Final = ("#b2182b", "#ef8a62", "#2a9d55", "#92c5de", "#4393c3", "#bbbbbb")
"""Of the tones, from the most to the least synchronous."""
TONE_LABELS: Final = tuple(
    f"{tone}, {r}"
    for tone, r in zip(
        TONES,
        ("R > .80", ".55 to .80", ".40 to .55", ".30 to .40", ".10 to .30", "< .10"),
        strict=True,
    )
)
_GRADIENT: Final = "gradient at the core"
"""Of some arms many times that of others."""
_TAIL: Final = 10.0
"""A shaded band leaves out so many per cent of the texts on either side."""
Arms = Mapping[str, Sequence[Run]]


def arms_of(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs by arm, in order of first appearance."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.arm, []).append(run)
    return found


def stacked(several: Sequence[Floats]) -> Floats:
    """Rows of several tables [n, tokens] as one, NaN where some are shorter."""
    known = [rows for rows in several if rows.size]
    if not known:
        return np.empty((0, 0))
    width = max(rows.shape[1] for rows in known)
    return np.vstack(
        [
            np.pad(rows, ((0, 0), (0, width - rows.shape[1])), constant_values=np.nan)
            for rows in known
        ]
    )


def over_steps(rows: Floats) -> tuple[list[int], Floats, Floats, Floats]:
    """Steps that any row has, counted from 1, with median and the ends of the middle 80 %."""
    steps = [step for step in range(rows.shape[1]) if np.isfinite(rows[:, step]).any()]
    here = rows[:, steps]
    low, middle, high = np.nanpercentile(here, [_TAIL, 50.0, 100.0 - _TAIL], axis=0)
    return [step + 1 for step in steps], middle, low, high


def training_rows(runs: Sequence[Run], column: str) -> Floats:
    """A column of the training steps, [runs, steps]; NaN where it was not measured."""
    rows = [run.column("steps", column) for run in runs]
    return stacked([np.array([row], dtype=np.float64) for row in rows if row])


def draw_r_over_steps(arms: Arms, path: Path) -> Path | None:
    """R by token of test texts and of what was sampled, and by step of training; median and the
    middle 80 %. None where no arm has oscillators."""
    panels = {
        "token of a test text": {
            arm: stacked([r.texts_r for r in runs]) for arm, runs in arms.items()
        },
        "token of a sample": {
            arm: stacked([r.samples_r for r in runs]) for arm, runs in arms.items()
        },
        "step of training": {arm: training_rows(runs, "r") for arm, runs in arms.items()},
    }
    styles = styles_of(arms)
    return _draw_lines(panels, styles, "order parameter R", path, limits=(-0.02, 1.02))


def draw_training(arms: Arms, path: Path) -> Path | None:
    """Loss, normalised entropy, gradient and frequency drift over the steps of training; None where
    nothing was trained."""
    shown = {
        "cross-entropy, nats": "ce",
        "normalised entropy U": "u",
        _GRADIENT: "core_gradient",
        "drift of the natural frequencies": "frequency_drift",
    }
    panels = {
        title: {arm: training_rows(runs, column) for arm, runs in arms.items()}
        for title, column in shown.items()
    }
    return _draw_lines(panels, styles_of(arms), "", path, titles_are_values=True)


def _draw_lines(
    panels: Mapping[str, Mapping[str, Floats]],
    styles: Mapping[str, Style],
    label: str,
    path: Path,
    limits: tuple[float, float] | None = None,
    titles_are_values: bool = False,
) -> Path | None:
    drawn = {title: _known(of) for title, of in panels.items()}
    shown = {title: of for title, of in drawn.items() if of}
    if not shown:
        return None
    arms = list(dict.fromkeys(arm for of in shown.values() for arm in of))
    widths = line_widths(arms, styles)
    banded = sum(styles[arm].named for arm in arms) <= MOST_BANDS
    figure = _figure(4.4 * len(shown) + 1, 4.4)
    for panel, (title, of) in zip(_row(figure, len(shown)), shown.items(), strict=True):
        for arm in in_order(of, styles):
            steps, middle, low, high = over_steps(of[arm])
            if banded and styles[arm].named:
                colour = styles[arm].colour
                panel.fill_between(steps, low, high, color=colour, alpha=0.12, linewidth=0)
            panel.plot(steps, middle, linewidth=widths[arm], **_line(arm, styles))
        panel.set_xlabel("step of training" if titles_are_values else title)
        panel.set_ylabel(title if titles_are_values else label)
        panel.grid(alpha=0.3)
        if title == _GRADIENT:
            panel.set_yscale("log")
        if limits is not None:
            panel.set_ylim(*limits)
    _legend(figure)
    figure.suptitle(
        f"Median {'and middle 80 % ' if banded else ''}of all texts and seeds; of lines that "
        f"coincide each is seen within the one before{others_text(arms, styles)}",
        fontsize=9,
    )
    figure.savefig(path, dpi=130)
    return path


def _known(of: Mapping[str, Floats]) -> dict[str, Floats]:
    return {arm: rows for arm, rows in of.items() if rows.size and np.isfinite(rows).any()}


def _line(arm: str, styles: Mapping[str, Style]) -> dict[str, str]:
    style = styles[arm]
    name = arm if style.named else OTHERS
    return {"color": style.colour, "linestyle": style.dash, "label": name}


def draw_residence(shares: Mapping[str, Sequence[float]], path: Path) -> Path:
    """A bar per arm: in which tone its tokens are. `shares`: arm -> share of each of `TONES`."""
    figure = _figure(8.0, 0.42 * len(shares) + 1.6)
    panel = _row(figure, 1)[0]
    left = np.zeros(len(shares))
    for number, label in enumerate(TONE_LABELS):
        part = np.array([of[number] for of in shares.values()])
        panel.barh(list(shares), part, left=left, color=TONE_COLOURS[number], label=label)
        left += part
    panel.invert_yaxis()
    panel.set_xlim(0, 1)
    panel.set_xlabel("share of the tokens of test texts")
    _legend(figure)
    figure.savefig(path, dpi=130)
    return path


def units_in_order(survival: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The units of all arms along the model: blocks by their number, then what comes after."""
    units = dict.fromkeys(unit for of in survival.values() for unit in of)
    blocks = [unit for unit in units if unit.startswith("block.")]
    after = [unit for unit in units if not unit.startswith("block.")]
    return [*sorted(blocks, key=lambda unit: int(unit.partition(".")[2])), *after]


def draw_survival(
    survival: Mapping[str, Mapping[str, float]], styles: Mapping[str, Style], path: Path
) -> Path:
    """What the coupling changes, block by block to the probabilities, relative to what is there
    without it. `survival`: arm -> unit -> relative change, those of 0 left out."""
    units = units_in_order(survival)
    figure = _figure(max(6.0, 0.7 * len(units) + 3.5), 4.4)
    panel = _row(figure, 1)[0]
    widths = line_widths(survival, styles)
    for arm in in_order(survival, styles):
        of = survival[arm]
        places = [place for place, unit in enumerate(units) if of.get(unit)]
        panel.plot(
            places,
            [of[units[place]] for place in places],
            marker="o",
            markersize=4,
            linewidth=widths[arm],
            **_line(arm, styles),
        )
    panel.set_yscale("log")
    panel.set_xticks(range(len(units)), units, rotation=30, ha="right", fontsize=8)
    panel.set_ylabel("change relative to the model alone")
    panel.grid(alpha=0.3)
    figure.suptitle(others_text(survival, styles).removeprefix("; "), fontsize=9)
    _legend(figure)
    figure.savefig(path, dpi=130)
    return path


def draw_entropy_against_r(
    points: Mapping[str, tuple[Floats, Floats]], styles: Mapping[str, Style], path: Path
) -> Path:
    """Every sample by its mean R and its entropy; large: means of an arm."""
    figure = _figure(7.0, 4.6)
    panel = _row(figure, 1)[0]
    for arm in in_order(points, styles):
        (r, entropy), style = points[arm], styles[arm]
        panel.plot(r, entropy, "o", color=style.colour, markersize=3, alpha=0.3)
        panel.plot(
            [r.mean()],
            [entropy.mean()],
            "o",
            color=style.colour,
            markersize=9,
            markeredgecolor="black",
            label=arm if style.named else OTHERS,
        )
    panel.set_xlim(-0.02, 1.02)
    panel.set_xlabel("mean R of a sample")
    panel.set_ylabel("its normalised entropy")
    panel.grid(alpha=0.3)
    figure.suptitle(others_text(points, styles).removeprefix("; "), fontsize=9)
    _legend(figure)
    figure.savefig(path, dpi=130)
    return path


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _row(figure: Any, panels: int) -> Sequence[Any]:
    return list(np.atleast_1d(figure.subplots(1, panels)))


def _legend(figure: Any) -> None:
    """One legend for all panels, below them: each label once."""
    found: dict[str, Any] = {}
    for panel in figure.axes:
        for handle, label in zip(*panel.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        widest_pt = 30 + 5 * max(map(len, found))
        columns = max(1, int(72 * figure.get_figwidth() / widest_pt))
        figure.legend(
            found.values(), found, ncols=min(6, columns), fontsize=8, loc="outside lower center"
        )
