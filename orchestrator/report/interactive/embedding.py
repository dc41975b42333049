"""Plots in a page that stands alone: their places, their data, and the script that draws them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib import resources

from orchestrator.report.interactive.plot import DARK, Plot
from orchestrator.report.tables_html import table_html

MOST_DESCRIBED = 24
"""Rows of a table that describes its plot word by word; a longer one is tied to it as details."""
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "img-src data: blob:; base-uri 'none'; form-action 'none'"
)
"""Of the page: no request, whatever a script or a picture asks for."""
KEYS = (
    "Plots answer to a pointer (drag to zoom, double-click to go back), and to the arrow keys once "
    "they are reached with the tab key. Their figures are in the table under each."
)


@dataclass(frozen=True)
class Plots:
    """The plots of a page by what they stand in place of; without any the page has no script."""

    by_name: Mapping[str, Sequence[Plot]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any(self.by_name.values())

    def shown(self, name: str, instead: str) -> str:
        """The plots of that name, and `instead` where no script runs; `instead` without any."""
        plots = self.by_name.get(name, ())
        if not plots:
            return instead
        body = "".join(_figure(plot, self._id(name, i)) for i, plot in enumerate(plots))
        return f'<noscript>{instead}</noscript><div class="plots">{body}</div>'

    def scripts(self) -> str:
        """What the end of the page holds: plotly, once, the figures, and what draws them."""
        if not self:
            return ""
        from plotly.offline import get_plotlyjs

        data = "".join(
            f'<script type="application/json" id="{self._id(name, i)}-data">{plot.to_json()}'
            "</script>\n"
            for name, plots in self.by_name.items()
            for i, plot in enumerate(plots)
        )
        script = resources.files(__package__).joinpath("page.js").read_text("utf-8")
        return (
            f'<div id="said" class="unseen" role="status"></div>\n{data}'
            f'<script type="application/json" id="dark-colours">{json.dumps(DARK)}</script>\n'
            f"<script>{get_plotlyjs()}</script>\n<script>{script}</script>"
        )

    def _id(self, name: str, place: int) -> str:
        return f"plot-{list(self.by_name).index(name) + 1}-{place + 1}"


def _figure(plot: Plot, at: str) -> str:
    told = len(plot.figures.rows) <= MOST_DESCRIBED
    tied = f'aria-describedby="{at}-note{f" {at}-figures" if told else ""}"'
    tied += "" if told else f' aria-details="{at}-figures"'
    table = table_html(
        f"Figures of the plot: {plot.figures.caption}",
        plot.figures.head,
        plot.figures.rows,
        plot.figures.numbers,
        identity=f"{at}-figures",
    )
    return (
        f'<figure class="plot{" wide" if plot.wide else ""}"><figcaption>'
        f'<strong id="{at}-title">{escape(plot.title)}</strong></figcaption>'
        f'<div class="canvas" id="{at}" data-plot="{at}-data" role="img" hidden '
        f'aria-labelledby="{at}-title" {tied}></div>'
        f'<p class="soft" id="{at}-note">{escape(plot.note)}</p>'
        f"<details><summary>Figures of this plot</summary>{table}</details></figure>"
    )
