"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from orchestrator.study import Study

StudyName = Annotated[
    str, typer.Argument(metavar="STUDY", help="A shipped study (orrery list) or a .yaml file.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "-s",
        "--set",
        metavar="KEY=VALUE",
        help="Change a setting, e.g. -s samples=300.",
        show_default=False,
    ),
]
Preset = Annotated[
    str | None, typer.Option("--preset", metavar="NAME", help="A preset of the study, e.g. smoke.")
]
HomeFolder = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="Where results are kept [ORRERY_HOME, ./.orrery]."),
]
On = Annotated[
    str,
    typer.Option(
        "--on",
        metavar="PLACE",
        help="Where to run: local, slurm[:PROFILE], slurm-array[:PROFILE], ray:HOST:PORT from a "
        "node of a Ray cluster, or ray:http://HOST:8265.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
To = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="URI",
        help="Where runs are published: sqlite:///FILE, http://…, postgresql://…, parquet:DIR, "
        "jsonl:DIR, wandb:PROJECT [ORRERY_TRACKING_URI, MLflow in the home].",
        show_default=False,
    ),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="ARM|TRIAL",
        help="Only this arm or trial id (may be repeated).",
        show_default=False,
    ),
]


def load_study(
    name: str, settings: list[str] | None, preset: str | None, home: Path | None
) -> Study:
    """The study as asked for, whether it has run or not."""
    from orchestrator.study import Study

    return Study.load(name, settings=parsed_settings(settings), preset=preset, home=home)


def known_study(
    name: str, settings: list[str] | None, preset: str | None, home: Path | None
) -> Study:
    """The instance that was last run under a bare name; the one asked for otherwise."""
    from orchestrator.study import Study

    if not settings and preset is None and not name.endswith((".yaml", ".yml")):
        last = Study.last_run(name, home=home)
        if last is not None:
            _say_which(name, last)
            return last
    return load_study(name, settings, preset, home)


def _say_which(name: str, last: Study) -> None:
    """A bare name means what ran last: where that is another than the name alone would run, the
    person is told, beside what machines read."""
    import json

    words = [f"--preset {last.preset}"] if last.preset else []
    for key, value in (last.settings or {}).items():
        words.append(f"-s {key}={value if isinstance(value, str) else json.dumps(value)}")
    if words:
        typer.echo(f"{name}: as it ran last, with {' '.join(words)} ({last.instance})", err=True)


def parsed_settings(settings: list[str] | None) -> dict[str, Any]:
    """What `-s key=value` options say. Raises `UsageError`."""
    from orchestrator.study_file import parse_setting

    return dict(parse_setting(text) for text in settings or [])


def print_json(data: Any) -> None:
    """One JSON document on standard output."""
    import json

    import msgspec

    text = json.dumps(data, ensure_ascii=False, allow_nan=False)
    typer.echo(msgspec.json.format(text, indent=1))  # json's own indenting is ten times slower
