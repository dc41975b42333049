"""Tables of a page: captions, scoped headers, and a scroll bar of their own."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def table_html(
    caption: str,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    numbers: frozenset[int] | set[int] = frozenset(),
    identity: str = "",
) -> str:
    """A table that scrolls by itself; `numbers` are the columns aligned to the right, `identity` is
    what else in the page may name it by. The first cell of a row is its header, unless it is empty.
    """

    name = f' id="{escape(identity)}"' if identity else ""

    def style(i: int) -> str:
        return ' class="number"' if i in numbers else ""

    top = "".join(f'<th scope="col"{style(i)}>{escape(h)}</th>' for i, h in enumerate(head))
    body = "".join(
        "<tr>"
        + "".join(
            f'<th scope="row">{escape(value)}</th>'
            if i == 0 and value
            else f"<td{style(i)}>{escape(value)}</td>"
            for i, value in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll" role="group" tabindex="0" aria-label="{escape(caption)}">'
        f"<table{name}><caption><span>{escape(caption)}</span></caption><thead><tr>{top}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )
