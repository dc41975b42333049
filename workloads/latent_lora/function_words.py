"""English words that say little about a story: what `content_f1` leaves out."""

from __future__ import annotations

_LISTED = """
i me my mine myself we us our ours you your yours he him his himself she her hers herself it
its itself they them their theirs themselves this that these those who whom whose which what
when where why how there here then than as if or and but so because while until after before
of at by for with about into onto to from up down in out on off over under again very too just
not no yes all any both each more most other some such only own same can could will would
shall should may might must do does did doing done have has had having be is am are was were
been being one said say says asked went go got get
im youre hes shes theyre weve ive dont didnt doesnt cant couldnt wasnt werent isnt wont
"""

FUNCTION_WORDS: frozenset[str] = frozenset(_LISTED.split())
"""Normalised as `scoring.words` does; articles are gone before. A few light verbs of stories
(said, went, got …) are among them, since a constant answer is made of such words."""
