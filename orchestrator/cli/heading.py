"""The line that says which study is spoken of."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

    from orchestrator.study import Study


def heading(study: Study) -> Text:
    """Instance and question; the user's words are never read as markup."""
    from rich.text import Text

    return Text.assemble((study.instance, "bold"), "  ", study.file.question)
