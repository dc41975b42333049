"""What goes wrong with a lab."""


class LabError(RuntimeError):
    """The lab cannot do that: one line of what was tried and why it failed."""
