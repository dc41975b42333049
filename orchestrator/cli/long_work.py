"""How a command that reads and writes large files shows how far it is, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer


@contextmanager
def progress_bar(verb: str, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on standard error, while it is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    console = Console(stderr=True, highlight=False)
    columns = (
        TextColumn(verb),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[name]}"),
    )
    with Progress(
        *columns, console=console, transient=True, disable=quiet or not console.is_terminal
    ) as bar:
        task = bar.add_task(verb, total=None, name="")

        def progress(name: str, done: int, total: int) -> None:
            bar.update(task, completed=done, total=total or None, name=name)

        yield progress


@contextmanager
def told_in_one_line(out: Path | None) -> Iterator[None]:
    """What a person can mend is one line, with exit code 2; so is a disk that refuses, with 1.
    SIGTERM is taken as Ctrl-C is."""
    import errno

    from orchestrator.errors import UsageError
    from orchestrator.interruption import interrupted_by_terminate
    from workloads.errors import InputError

    nothing = "" if out is None else f" Nothing was left at {out}."
    try:
        with interrupted_by_terminate():
            yield
    except InputError as error:
        raise UsageError(str(error)) from error
    except KeyboardInterrupt:
        typer.echo(f"orrery: interrupted.{nothing}", err=True)
        raise typer.Exit(130) from None
    except OSError as error:
        full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if error.errno not in (*full, errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        if out is None:
            told = f"{error.filename or 'a file'} cannot be read: {error.strerror}."
        else:
            advice = "Free some space, or give" if error.errno in full else "Give"
            told = f"the disk refuses to write: {error.strerror}.{nothing} {advice} another --out."
        typer.echo(f"orrery: {told}", err=True)
        raise typer.Exit(1) from None
