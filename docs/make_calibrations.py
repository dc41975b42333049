"""Calibrates every shipped study and writes the table of docs/calibration.md.

    python docs/make_calibrations.py [STUDY ...]    simulates these (all), and writes the page
    python docs/make_calibrations.py --page         writes the page from docs/calibrations/

A study whose stored figures are of its rule and of this version is left out, but for `--again`.
With `--home FOLDER` scores of the trials that have finished there are drawn from too. Minutes for
each; one that was ended goes on with what it has not stored. A test says when page, results and
rules have drifted apart.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("calibration.md")
RESULTS = Path(__file__).with_name("calibrations")
KEPT = (
    "version",
    "study",
    "rule",
    "layout",
    "studies",
    "seed",
    "passes",
    "wrong",
    "parts",
    "power",
    "notes",
)
REAL = ("of finished trials", "as measured", "measured")
"""Conditions of cells that draw from finished trials."""
_MARK = re.compile(r"(<!-- studies -->\n).*?(<!-- end -->)", re.S)
HEAD = (
    "| command | rule | answer false | part | false positives | coverage | all at once | |",
    "|---|---|---|---|---|---|---|---|",
)


def simulate(name: str, home: str | None) -> dict[str, Any]:
    """The calibration of a shipped study, by default in a home where nothing has run; `real` names
    its cells that draw from finished trials. Raises `SystemExit` if it cannot be simulated."""
    with tempfile.TemporaryDirectory() as empty:
        start = [sys.executable, "-c", "from orchestrator.cli import main; main()"]
        words = [*start, "calibrate", name, "--json", "--home", home or empty]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True)
    try:
        found = json.loads(done.stdout)
    except ValueError:
        raise SystemExit(f"{name}: orrery calibrate ended with {done.returncode}") from None
    real = [one["cell"] for one in found["cells"] if not one["again"] and _is_real(one)]
    return {key: found[key] for key in KEPT} | {"real": real}


def _is_real(cell: dict[str, Any]) -> bool:
    return any(value in REAL for value in cell["conditions"].values())


def is_current(name: str) -> bool:
    """Whether what is stored of a study is of the rule it has, and of this version."""
    from orchestrator.rule_hash import rule_hash
    from orchestrator.study import Study

    found = stored().get(name, {})
    now = (rule_hash(Study.load(name).file), version("orrery"))
    return (found.get("rule"), found.get("version")) == now


def stored() -> dict[str, dict[str, Any]]:
    """By study what was found when it was simulated last."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}


def with_table(page: str, results: dict[str, dict[str, Any]]) -> str:
    """The page with the table of these results."""
    rows = [row for name in sorted(results) for row in _rows(results[name])]
    table = "\n".join([*HEAD, *rows])
    return _MARK.sub(lambda found: f"{found[1]}{table}\n{found[2]}", page)


def _rows(found: dict[str, Any]) -> list[str]:
    """A row for each part; what holds for the study stands in the first."""
    state = "passed" if found["passes"] else "not passed"
    state += " (also on real scores)" if found.get("real") else ""
    command = f"`orrery calibrate {found['study']}`"
    first = [command, f"`{found['rule']}`", _rate(found["wrong"])]
    rows = []
    for one in found["parts"]:
        name = one["part"] if one["answers"] else f"{one['part']} (in tables)"
        rates = [_rate(one[key]) for key in ("wrong", "covered", "families_covered")]
        rows.append(f"| {' | '.join([*first, name, *rates, state])} |")
        first, state = ["", "", ""], ""
    return rows


def _rate(found: dict[str, Any] | None) -> str:
    if found is None:
        return "n/a"
    return f"{found['rate'] * 100:.1f} [{found['low'] * 100:.1f}, {found['high'] * 100:.1f}]"


def main(words: list[str]) -> None:
    """Simulates what is asked for, one study after another, and writes the page after each."""
    from orchestrator.study import shipped_studies

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("studies", nargs="*", metavar="STUDY")
    parser.add_argument("--page", action="store_true", help="simulate nothing")
    parser.add_argument("--again", action="store_true", help="simulate what is current as well")
    parser.add_argument("--home", help="with trials that have finished")
    asked = parser.parse_args(words)
    RESULTS.mkdir(exist_ok=True)
    write_page()
    names = [] if asked.page else asked.studies or sorted(shipped_studies())
    for place, name in enumerate(names, 1):
        told = f"{place} of {len(names)}: {name}"
        if not asked.again and is_current(name):
            print(f"{told}: current", file=sys.stderr)
            continue
        print(told, file=sys.stderr)
        start = time.monotonic()
        found = simulate(name, asked.home)
        new = RESULTS / f"{name}.new"
        new.write_text(json.dumps(found, indent=1) + "\n")
        new.replace(RESULTS / f"{name}.json")
        write_page()
        state = "passed" if found["passes"] else "NOT PASSED"
        print(f"{told}: {state}, {time.monotonic() - start:.0f} s", file=sys.stderr)


def write_page() -> None:
    """The page with the table of what is stored."""
    PAGE.write_text(with_table(PAGE.read_text(), stored()))


if __name__ == "__main__":
    main(sys.argv[1:])
