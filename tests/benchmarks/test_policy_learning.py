"""Does the learned policy learn? Its return over training on the digits, five seeds.

Setting and seeds are those of the shipped study policy-comparison. What is held is the rise, with
its interval over the seeds; the time is told.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Any

import yaml
from accelerate import Accelerator

from tests.benchmarks.measuring import tell
from workloads.morphogenesis.config import MorphogenesisConfig
from workloads.morphogenesis.episode import Episode
from workloads.morphogenesis.policies.learned import Learned
from workloads.morphogenesis.policies.making import make_policy
from workloads.morphogenesis.policies.returns import gain
from workloads.morphogenesis.workload import Morphogenesis
from workloads.training.process import deterministic_process

STUDY = Path(__file__).parents[2] / "workloads/morphogenesis/studies/policy-comparison.yaml"


def trained(config: MorphogenesisConfig, seed: int) -> tuple[Learned, float]:
    """The policy of a replicate, and the CPU seconds that its training took."""
    start = time.process_time()
    episode: Any = partial(Episode, config, None, Accelerator(cpu=True), seed)
    policy = make_policy(config, seed, episode)
    assert isinstance(policy, Learned)
    return policy, time.process_time() - start


def test_the_return_rises_over_training_on_the_digits() -> None:
    file = yaml.safe_load(STUDY.read_text())
    base, seeds = file["base"], file["seeds"]
    config = Morphogenesis().resolve(MorphogenesisConfig(**{**base, "policy": "learned"}))
    with deterministic_process(config.threads):
        runs = [trained(config, seed) for seed in seeds]
    returns = [policy.returns for policy, _ in runs]
    found = gain(returns)
    assert found is not None
    assert found.low is not None
    tell(
        "policy-learning",
        {
            "seeds": len(seeds),
            "episodes": sum(map(len, returns[0])),
            "return_by_update": [
                fmean(fmean(seed[update]) for seed in returns) for update in range(len(returns[0]))
            ],
            "gain": found.mean,
            "gain_low": found.low,
            "gain_high": found.high,
            "training_cpu_s": median(seconds for _, seconds in runs),
        },
    )
    assert found.low > 0
