"""Which figures decide a study, against which arm, and what counts as no effect: `endpoints:`."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from orchestrator.designs import Part


class Endpoint(Part):
    """A column of the scores, compared arm by arm with `against`.

    *No effect*: the whole interval of the difference lies within ±`margin`. *Effect*: it excludes 0
    and not all of it lies within. *Identical*: every paired score is equal, and nothing is tested.
    Anything else is *inconclusive*.
    """

    column: str
    split: str = "texts"
    against: str
    arms: tuple[str, ...] = ()
    """Empty: every arm but `against`."""
    margin: float = Field(gt=0, allow_inf_nan=False)
    """In the unit of the column. What is smaller does not matter here."""
    primary: bool = True
    """Primary endpoints answer the study, and their ends are simultaneous; others describe."""
    unit: str = ""
    about: str = ""

    @model_validator(mode="after")
    def _compares_two(self) -> Endpoint:
        if self.against in self.arms:
            raise ValueError(
                f"'{self.against}' would be compared with itself: leave it out of arms"
            )
        if repeated := sorted({name for name in self.arms if self.arms.count(name) > 1}):
            raise ValueError(f"arms names {', '.join(repeated)} more than once")
        return self

    def canonical(self) -> dict[str, Any]:
        """As plain JSON data for hashing: `unit` and `about` are presentation."""
        return self.model_dump(mode="json", exclude={"unit", "about"})
