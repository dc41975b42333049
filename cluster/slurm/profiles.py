"""Profiles: what a user says of a cluster once, in `~/.config/orrery/clusters.yaml`.

default:                  # what --on slurm takes
  partition: cpu
gpus:                     # what --on slurm:gpus takes
  partition: a100
  gres: gpu:1
  setup: [module load cuda]
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from cluster.contract import ClusterError
from cluster.slurm.settings import SlurmSettings

DEFAULT: Final = "default"
"""The profile that `--on slurm` takes, where there is one of that name."""


def settings_for(profile: str | None, study: SlurmSettings) -> SlurmSettings:
    """Defaults, then the profile, then what the study says itself (in its file or by `-s`).

    Raises `ClusterError` for a profile that is not there, and for one that cannot be read.
    """
    said = {**_profile(profile), **study.model_dump(include=study.model_fields_set)}
    return SlurmSettings.model_validate(said)


def profiles_file() -> Path:
    """`$ORRERY_CLUSTERS`, or `orrery/clusters.yaml` in the user's configuration folder."""
    given = os.environ.get("ORRERY_CLUSTERS")
    if given:
        return Path(given).expanduser()
    folder = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(folder, "orrery", "clusters.yaml").expanduser()


def _profile(name: str | None) -> dict[str, Any]:
    """What a profile says itself."""
    file = profiles_file()
    try:
        text = file.read_text()
    except FileNotFoundError:
        if name is None and "ORRERY_CLUSTERS" not in os.environ:
            return {}
        raise ClusterError(
            f"SLURM profiles: there is no file '{file}'. Write one, or leave out "
            + (f"':{name}'." if name else "ORRERY_CLUSTERS.")
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ClusterError(f"SLURM profiles: '{file}' cannot be read: {error}") from error
    profiles = _mapping(_parsed(text, file), f"{file}: a file of profiles")
    if not profiles:
        raise ClusterError(f"{file} holds no profiles. Write one, or remove the file.")
    wanted = DEFAULT if name is None else name
    if wanted not in profiles:
        if name is None:
            return {}
        raise ClusterError(f"{file}: no profile '{name}'. {_near(name, profiles)}")
    where = f"{file}: profile '{wanted}'"
    said = _mapping(profiles[wanted] or {}, where)
    _validate(said, where)
    return said


def _parsed(text: str, file: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        told = str(error).replace("\n", " ")
        raise ClusterError(f"{file}: this is no YAML: {told}") from error


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ClusterError(f"{where} is made of names and values, as in 'partition: gpu'")
    return value


def _validate(said: dict[str, Any], where: str) -> None:
    try:
        SlurmSettings.model_validate(said)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise ClusterError(
                f"{where}: no setting '{key}'. {_near(key, SlurmSettings.model_fields)} Other "
                "options of sbatch go into 'extra'."
            ) from None
        told = first["msg"].removeprefix("Value error, ")
        raise ClusterError(f"{where}: {key} = {first['input']!r}: {told}") from None


def _near(given: str, valid: Iterable[str]) -> str:
    names = sorted(valid)
    near = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    return (f"Did you mean '{near[0]}'? " if near else "") + f"Valid: {', '.join(names) or 'none'}."
