"""From the ends of an interval to a label, and from a point estimate to a band."""

from __future__ import annotations

from orchestrator.verdict.rule import Band, Comparison, Rule

INCONCLUSIVE = "inconclusive"
HARM = "harm"
EQUIVALENT = "equivalent"
IDENTICAL = "identical"
COLLAPSED = "collapsed"
DIVERGED = "diverged"
INCOMPLETE = "incomplete"
CANDIDATE = "candidate"
COMPARATOR = "comparator"
CONTROL = "control"
NO_VERDICT = "no verdict yet"
GATE_NOT_MET = "gate not met"
WORSE = "worse"


def at_least(band: Band) -> str:
    """The label of an effect whose whole interval reaches the band."""
    return f"at least {band.at_least:g} ({band.name})"


def less_than(band: Band) -> str:
    """The label of an effect whose whole interval stays below the first band."""
    return f"less than {band.at_least:g}"


def interval_label(rule: Rule, low: float | None, high: float | None) -> str:
    """The label of a difference with these simultaneous ends, arm minus comparator.

    The largest band that the lower end reaches; else harm, if the upper end is below 0; else
    equivalent, if both ends are inside the margin; else less than the first band, if the upper end
    is below it; else inconclusive. "Lower" and "upper" run in the direction that is good.
    """
    if low is None or high is None:
        return INCONCLUSIVE
    lower, upper = (low, high) if rule.direction == "higher" else (-high, -low)
    reached = [band for band in rule.bands if lower >= band.at_least]
    if reached:
        return at_least(reached[-1])
    if upper < 0.0:
        return HARM
    margin = rule.equivalence_margin
    if margin is not None and -margin < lower and upper < margin:
        return EQUIVALENT
    if upper < rule.bands[0].at_least:
        return less_than(rule.bands[0])
    return INCONCLUSIVE


def better(one: Comparison) -> str:
    """The label of an arm that is shown to be better than the other, by the margin if stated."""
    return "better" if one.margin is None else f"better by {one.margin:g}"


def not_worse(one: Comparison) -> str:
    """The label of an arm that is shown not to be worse than the other by the margin."""
    return f"not worse by {one.margin or 0.0:g}"


def comparison_label(rule: Rule, one: Comparison, low: float | None, high: float | None) -> str:
    """The label of a stated comparison whose difference, arm minus other, has these ends.

    Non-inferiority holds if the lower end is above minus the margin (CONSORT's extension for such
    trials; Piaggio et al. 2012, JAMA 308), superiority if it is above 0 or reaches the margin. An
    arm that is wholly below minus the margin, or 0, is worse. "Lower" runs in the good direction.
    """
    if low is None or high is None:
        return INCONCLUSIVE
    lower, upper = (low, high) if rule.direction == "higher" else (-high, -low)
    if one.kind == "non_inferiority":
        margin = one.margin or 0.0
        if lower > -margin:
            return not_worse(one)
        return f"worse by {margin:g}" if upper <= -margin else INCONCLUSIVE
    if lower > 0.0 and lower >= (one.margin or 0.0):
        return better(one)
    return WORSE if upper < 0.0 else INCONCLUSIVE


def screen_label(rule: Rule, low: float | None, high: float | None) -> str:
    """The same for a screen, which has only candidates: too few seeds speak for more."""
    label = interval_label(rule, low, high)
    return CANDIDATE if label in {at_least(band) for band in rule.bands} else INCONCLUSIVE


def point_band(rule: Rule, delta: float | None) -> str:
    """The half-open band of a point estimate: `<2`, `2-5 (marginal)`, `>=10 (strong)`."""
    if delta is None:
        return ""
    gain = delta if rule.direction == "higher" else -delta
    edges = [band.at_least for band in rule.bands]
    if gain < edges[0]:
        return f"<{edges[0]:g}"
    for band, above in zip(rule.bands, edges[1:], strict=False):
        if gain < above:
            return f"{band.at_least:g}-{above:g} ({band.name})"
    return f">={edges[-1]:g} ({rule.bands[-1].name})"
