"""Draws the phase plot of a log of chunks: `--log FILE --out FILE.png` (or `.html`).

The log is what a trial of `inference-probe` leaves as `chunks.log`, or any file with such lines.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from workloads.errors import InputError
from workloads.structural_health.inference.chunks import read_log
from workloads.structural_health.inference.page import write_page
from workloads.structural_health.inference.phase import Point
from workloads.structural_health.inference.picture import draw_phase
from workloads.structural_health.inference.regimes import REGIMES


def main(arguments: Sequence[str] | None = None) -> int:
    """Draws, and gives 0; 2 for a log or a name that cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--log", type=Path, required=True, help="a log of chunks")
    parser.add_argument("--out", type=Path, required=True, help="the picture: .png or .html")
    given = parser.parse_args(arguments)
    if given.out.suffix not in (".html", ".png"):
        parser.exit(2, f"--out is {given.out}; valid: a name that ends in .png or .html\n")
    try:
        points = _points(given.log)
        if given.out.suffix == ".html":
            write_page(points, given.out, f"Phase plot of {given.log.name}")
        else:
            draw_phase(points, given.out)
    except InputError as error:
        parser.exit(2, f"{given.log}: {error}\n")
    except (OSError, UnicodeDecodeError) as error:
        parser.exit(2, f"{error}\n")
    without = sum(point.row.kappa is None for point in points)
    print(f"{given.out}: {len(points)} chunks, {without} of them without a consistency")
    return 0


def _points(log: Path) -> list[Point]:
    titles = {regime.tag: regime.title for regime in REGIMES.values()}
    rows = read_log(log.read_text(encoding="utf-8").splitlines())
    return [Point(titles.get(row.tag, row.tag), None, row) for row in rows]


if __name__ == "__main__":
    raise SystemExit(main())
