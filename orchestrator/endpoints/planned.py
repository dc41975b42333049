"""What a plan says of endpoints, and refuses, before anything runs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from orchestrator.endpoints.rule import Endpoint, compared_arms, family_of
from orchestrator.error_share import shared_confidence
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.study_file import StudyFile
    from orchestrator.trials import Trial


def check_shared_seeds(
    endpoints: Mapping[str, Endpoint], trials: Sequence[Trial], fixed: Collection[str]
) -> None:
    """Refuses a comparison of arms that share no seed: there is nothing to pair. Raises
    `UsageError`. `fixed`: arms that do not depend on the seed, whose one run is every seed's."""
    seeds = _seeds(trials)
    for name, endpoint in endpoints.items():
        for arm in compared_arms(endpoint, seeds):
            if {arm, endpoint.against} & set(fixed) or arm not in seeds:
                continue
            if not seeds[arm] & seeds.get(endpoint.against, set()):
                raise UsageError(
                    f"endpoints.{name}: {arm} and {endpoint.against} share no seed, and what is "
                    "compared is paired by seed. Give both the same seeds, or name other arms."
                )


def endpoint_notes(
    file: StudyFile, trials: Sequence[Trial], fixed: Collection[str]
) -> Iterator[str]:
    """How many comparisons share their error, what that asks of the spread over seeds, and which
    can give candidates alone."""
    from orchestrator.endpoints.judging import CONFIDENCE, FEWEST_SEEDS
    from orchestrator.endpoints.sentences import families_text, named

    seeds = _seeds(trials)
    controls = {trial.arm for trial in trials if trial.role == "control"}
    sizes, few, left = Counter[tuple[bool, bool]](), set[str](), set[str]()
    asked: dict[float, int] = {}
    for endpoint in file.endpoints.values():
        against = seeds.get(endpoint.against, set())
        for arm in compared_arms(endpoint, seeds):
            sizes[family_of(endpoint.primary, arm in controls)] += 1
            own = {arm, endpoint.against} - set(fixed)
            if not own:
                continue
            common = set.intersection(*(seeds.get(name, set()) for name in own))
            if len(common) < FEWEST_SEEDS:
                few.add(arm)
            if endpoint.primary and arm not in controls and len(common) > 1:
                asked[endpoint.margin] = min(len(common), asked.get(endpoint.margin, len(common)))
            if len(own) == 2 and seeds.get(arm, set()) != against:
                left.add(arm)
    each = ", each family by itself" if len(sizes) > 1 else ""
    yield f"endpoints: intervals are simultaneous over {families_text(sizes)}{each}"
    if asked:
        yield _power(asked, sizes[family_of(True, False)], shared_confidence(file, CONFIDENCE))
    if few:
        yield (
            f"endpoints on {named(sorted(few))}: fewer than {FEWEST_SEEDS} seeds in common, so "
            "that what is found is a candidate at most"
        )
    if left:
        yield f"endpoints on {named(sorted(left))}: only the seeds that both arms have are compared"


def _power(asked: Mapping[float, int], family: int, confidence: float) -> str:
    """How far a primary interval reaches with the seeds there are and with twice as many, and with
    how much spread over seeds "no effect" is still possible. `asked`: fewest seeds by margin."""
    from orchestrator.endpoints.sentences import figure
    from orchestrator.statistics.quantiles import t_upper

    def reach(seeds: int) -> float:
        return float(t_upper((1 - confidence) / (2 * family), seeds - 1))

    fewest = min(asked.values())
    spreads = ", ".join(
        f"{figure(margin * math.sqrt(seeds) / reach(seeds), 2)} for ±{margin:g}"
        for margin, seeds in sorted(asked.items())
    )
    return (
        f"endpoints: with {fewest} seeds a primary interval reaches {reach(fewest):.1f} standard "
        f'errors, with {2 * fewest} {reach(2 * fewest):.1f}: "no effect" takes seeds whose '
        f"differences have an SD below {spreads}; how large it is, is not known before it ran"
    )


def _seeds(trials: Sequence[Trial]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for trial in trials:
        found.setdefault(trial.arm, set()).add(trial.seed)
    return found
