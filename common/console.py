"""Where words and tables for people go: a terminal as wide as it is, anything else in full."""

import os
import sys

from rich.console import Console

WIDE = 1000
"""Columns where there is no terminal: more than a table needs, so that nothing of it is cut."""


def open_console(*, stderr: bool = False) -> Console:
    """Return what prints on standard output, or on the error stream.

    Guarantees: what goes into a pipe or a file is not brought to the width of a terminal, unless
    the environment variable COLUMNS says how wide it is to be.
    """
    stream = sys.stderr if stderr else sys.stdout
    is_terminal = stream is not None and stream.isatty()
    is_said = os.environ.get("COLUMNS", "").isdigit()
    return Console(stderr=stderr, width=None if is_terminal or is_said else WIDE)
