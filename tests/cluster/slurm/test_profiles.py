"""Profiles: defaults, then the profile, then what the study says."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.contract import ClusterError
from cluster.slurm.profiles import settings_for
from cluster.slurm.settings import SlurmSettings


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ORRERY_CLUSTERS", str(tmp_path / "clusters.yaml"))
    return tmp_path / "clusters.yaml"


def test_what_the_study_says_goes_before_the_profile_and_that_before_the_defaults(
    file: Path,
) -> None:
    file.write_text("gpus: {partition: a100, time: '30', setup: [module load cuda]}\n")
    found = settings_for("gpus", SlurmSettings(time="01:00:00"))
    assert (found.partition, found.setup) == ("a100", ["module load cuda"])
    assert found.time == "01:00:00"  # said by the study, though it is the default too
    assert found.signal_s == SlurmSettings().signal_s


def test_a_profile_called_default_is_taken_where_none_is_named(file: Path) -> None:
    file.write_text("default: {partition: cpu}\n")
    assert settings_for(None, SlurmSettings()).partition == "cpu"
    file.write_text("gpus: {partition: a100}\n")
    assert settings_for(None, SlurmSettings()) == SlurmSettings()


def test_no_file_is_needed_unless_one_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ORRERY_CLUSTERS", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert settings_for(None, SlurmSettings()) == SlurmSettings()
    with pytest.raises(ClusterError, match=r"no file '.*orrery/clusters.yaml'.*':gpus'"):
        settings_for("gpus", SlurmSettings())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("gpu: {partition: a}", r"no profile 'gpus'. Did you mean 'gpu'\? Valid: gpu."),
        ("gpus: {partion: a}", r"'gpus': no setting 'partion'. Did you mean 'partition'\?"),
        ("gpus: {time: soon}", r"'gpus': time = 'soon': 'soon' is no time limit: give minutes"),
        ("gpus: [a, b]", r"'gpus' is made of names and values"),
        ("gpus: {", r"this is no YAML: .*line 1"),
        ("- gpus", r"a file of profiles is made of names and values"),
    ],
)
def test_a_profile_that_is_wrong_is_told_with_its_file(file: Path, text: str, told: str) -> None:
    file.write_text(text)
    with pytest.raises(ClusterError, match=told) as raised:
        settings_for("gpus", SlurmSettings())
    assert str(raised.value).startswith(str(file))


def test_an_empty_file_is_told(file: Path) -> None:
    file.write_text("# nothing yet\n")
    with pytest.raises(ClusterError, match=r"clusters.yaml holds no profiles"):
        settings_for(None, SlurmSettings())
