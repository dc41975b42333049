"""Errors that speak to the user: what was given, what is valid, what to do."""

from __future__ import annotations

from collections.abc import Iterable

from workloads.errors import nearest


class OrreryError(Exception):
    """Root of the errors that the command line prints as one line."""


class UsageError(OrreryError):
    """The request cannot be carried out as given. Nothing was changed. Exit code 2."""


class IdentityMismatchError(OrreryError):
    """Two different trials met under one identity: a hash collision, or a file that was edited."""


class DamagedFileError(OrreryError):
    """A file of truth that is not what was written."""


class BusyError(OrreryError):
    """Another live process holds what was asked for."""


def unknown(what: str, given: str, valid: Iterable[str], hint: str = "", under: str = "") -> str:
    """One line for a name that is not known, with the nearest match and the valid names.

    `under` is the dotted place of `given`: shown, but no part of the name.
    """
    names = sorted(valid)
    near = nearest(given, names)
    guess = f" Did you mean '{near}'?" if near else ""
    shown = ", ".join(names[:12]) + (f" … ({len(names)} in all)" if len(names) > 12 else "")
    tail = f" {hint}" if hint else ""
    return f"Unknown {what} '{under}{given}'.{guess} Valid: {shown or 'none'}.{tail}"
