"""What docs/structural-health.md shows can be run, and its words are those of the program."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest

from orchestrator import Study
from orchestrator.cli.options import parsed_settings
from workloads.contract import HEALTH_METRICS, Monitor
from workloads.structural_health.config import Fault
from workloads.structural_health.inference.metrics import METRICS
from workloads.structural_health.inference.regimes import REGIMES
from workloads.structural_health.inference_config import InferenceConfig

ROOT = Path(__file__).parents[3]
TEXT = (ROOT / "docs" / "structural-health.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
STUDIES = ("training-monitor", "hf-lora-telemetry", "inference-probe")


def commands(program: str) -> list[list[str]]:
    """The lines that call the program, as words, without its name."""
    blocks = re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)
    lines = [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]
    return [line[1:] for line in lines if line[:1] == [program]]


@pytest.mark.parametrize("words", commands("orrery"), ids=" ".join)
def test_every_shown_run_names_a_study_and_settings_that_exist(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert words[0] == "run"
    preset = words[words.index("--preset") + 1] if "--preset" in words else None
    pairs = [pair for flag, pair in pairwise(words) if flag == "-s"]
    settings = parsed_settings(pairs)
    study = Study.load(words[1], preset=preset, home=tmp_path)
    assert set(settings) <= set(study.workload.Config.model_fields)
    watched = {key: value for key, value in settings.items() if key.startswith("monitor")}
    if watched:
        study.workload.Config.model_validate(watched)


@pytest.mark.parametrize("words", commands("python"), ids=lambda words: words[1].split(".")[-1])
def test_every_shown_demo_takes_its_words(
    words: Sequence[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert words[0] == "-m"
    main: Callable[[Sequence[str]], Any] = import_module(words[1]).main
    with pytest.raises(SystemExit) as left:
        main(["--help"])
    assert not left.value.code
    shown = capsys.readouterr().out
    assert all(word in shown for word in words[2:] if word.startswith("--"))


def test_every_fault_regime_and_monitor_is_explained() -> None:
    named = set(re.findall(r"`([a-z_/]+)`", TEXT))
    assert set(get_args(Fault)) <= named
    assert set(REGIMES) <= named
    assert set(HEALTH_METRICS) <= named
    assert {f"health/{name}" for name in get_args(Monitor)} <= named
    assert {name for name in METRICS if name.startswith("chunk/")} <= named


def test_the_sizes_of_the_regimes_are_those_that_run() -> None:
    table = TEXT[TEXT.index("| `regime` |") :].splitlines()
    for name, regime in REGIMES.items():
        row = next(line for line in table if line.startswith(f"| `{name}`"))
        steps, tokens = re.findall(r"\d+", row.split("|")[2])[:2]
        assert (int(steps), int(tokens)) == (regime.steps, regime.chunk_tokens)
        assert ("greedy" in row) != regime.sampled
    drawn = InferenceConfig()
    sampled = next(line for line in table if line.startswith("| `decoupled`"))
    numbers = {float(number) for number in re.findall(r"\.\d+", sampled)}
    assert numbers == {drawn.temperature, drawn.top_p}


def test_the_cosines_that_the_text_gives_for_ratios_are_those_of_the_closed_form() -> None:
    from telemetry.probes.spectrum import implied_cosine

    for ratio, window, cosine in (
        (0.8, 5, 0.981),
        (0.8, 10, 0.992),
        (0.5, 5, 0.75),
        (0.7, 5, 0.945),
    ):
        found = implied_cosine(ratio, window)
        assert found == pytest.approx(cosine, abs=0.003)
        assert f"{cosine:g}".lstrip("0") in TEXT


@pytest.mark.parametrize("name", STUDIES)
def test_the_readme_names_every_study_and_the_page_says_what_came_of_it(name: str) -> None:
    assert f"orrery run {name}" in README
    assert re.search(rf"^#+ .*{name}", TEXT, re.MULTILINE)


def test_the_readme_s_three_lines_watch_a_model() -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    (code,) = (
        block
        for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL)
        if "telemetry.probes" in block
    )
    shape = GPT2Config(vocab_size=20, n_positions=8, n_embd=8, n_layer=1, n_head=2)
    model = GPT2LMHeadModel(shape)
    said: list[tuple[int, str]] = []
    stream = torch.Generator().manual_seed(0)
    names: dict[str, Any] = {
        "model": model,
        "batches": [torch.randint(0, 20, (2, 5), generator=stream) for _ in range(11)],
        "train": lambda model, batch: model(batch),
        "print": lambda *words: said.append(words),
    }
    exec(code, names)
    assert [state for _, state in said[:9]] == ["buffering"] * 9
    assert said[9][1] in ("healthy", "collapse")
    assert not any(module._forward_hooks for module in model.modules())
