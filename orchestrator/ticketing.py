"""Makes tickets: what a study hands out for each of its trials, wherever they run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.engine.ticket import Ticket
from orchestrator.planning import PlannedTrial, Selection
from orchestrator.provenance import provenance
from orchestrator.records import Provenance
from orchestrator.trials import Trial

if TYPE_CHECKING:
    from orchestrator.study import Study


@dataclass(frozen=True)
class Ticketing:
    """What all tickets of one run of a study share. Build it with `Ticketing.of`."""

    study: Study
    selection: Selection
    provenance: Provenance

    @classmethod
    def of(cls, study: Study, selection: Selection) -> Ticketing:
        """Looks the sources' provenance up, once for the run."""
        return cls(study, selection, provenance(study.code_digest))

    def planned(self, item: PlannedTrial) -> Ticket:
        """The ticket of a trial that is to run as planned."""
        return self.ticket(item.trial, item.outcome_number, item.afresh)

    def ticket(
        self, trial: Trial, number: int, afresh: bool = False, ordinal: int | None = None
    ) -> Ticket:
        """A ticket to publish under the outcome number `number`; the rest as in `Ticket`."""
        resources = self.study.file.resources
        return Ticket(
            home=str(self.study.home.root),
            study=self.study.instance,
            identity=trial.identity,
            label=trial.label,
            arm=trial.arm,
            replicate=trial.replicate,
            seed=trial.seed,
            workload=self.study.file.workload,
            config=trial.config.model_dump(mode="json"),
            document=dict(trial.document),
            observed=dict(trial.observed),
            outcome_number=number,
            provenance=self.provenance,
            same_code=self.selection.same_code,
            ranks=resources.ranks,
            time_limit_s=resources.time_limit_s,
            afresh=afresh,
            ordinal=ordinal,
        )
