"""Effects as metrics: of a trial's run those of its model, of the study's own run those of all."""

from __future__ import annotations

from orchestrator.effects.effect import SINGLE, EffectTable, StudyEffects

CAUSAL = "causal/"
REMOVAL = "removal/"
"""How the metrics begin: a removal cost is never to be taken for a causal effect."""


def figures_by_name(table: EffectTable) -> dict[str, float | None]:
    """Figures by name, those of one factor with their ends: `shapley/early`, `shapley/early/low`.

    None is "not estimated". Factors that belong together are joined by ":", as "+" is none of the
    characters that MLflow takes.
    """
    named: dict[str, float | None] = {}
    for one in table.effects:
        name = one.name.replace("+", ":")
        named[name] = one.value
        if one.kind in SINGLE or not one.of:
            named |= {f"{name}/low": one.low, f"{name}/high": one.high}
    return named


def model_metrics(table: EffectTable | None) -> dict[str, float | None]:
    """Of one model: `removal/shapley/early`."""
    return {} if table is None else _under(REMOVAL, table)


def study_metrics(effects: StudyEffects | None) -> dict[str, float | None]:
    """Of a study: `causal/shapley/early`, and over the models of an arm `removal/ARM/shapley/early`
    with `:` for `+` in the arm's name."""
    if effects is None:
        return {}
    named = {} if effects.causal is None else _under(CAUSAL, effects.causal)
    for table in effects.removal:
        named |= _under(f"{REMOVAL}{table.arm.replace('+', ':')}/", table)
    return named


def _under(prefix: str, table: EffectTable) -> dict[str, float | None]:
    return {f"{prefix}{name}": value for name, value in figures_by_name(table).items()}
