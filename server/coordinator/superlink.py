"""Flower's SuperLink, which waits for its database instead of failing a request.

On a busy machine one of its threads may hold the database for longer than the 5 s that Flower
waits. Whatever else asks then is answered with an error: a site's message, a heartbeat, the
ServerApp, and the run ends. An internal module is reached from here; tests/test_layout.py fails
when it moves.
"""

from collections.abc import Mapping

from flwr.supercore import sql_mixin
from flwr.superlink.cli import flower_superlink

from common.processes import plain_logs

BUSY_S = 60
_PRAGMAS, _WAIT = "SQLITE_PRAGMAS", "busy_timeout"


def main() -> None:
    """Become the SuperLink; the arguments are Flower's own."""
    settings: Mapping[str, str] = dict(vars(sql_mixin)[_PRAGMAS])
    if _WAIT not in settings:
        raise ImportError(f"{sql_mixin.__name__} sets no {_WAIT} any more")
    vars(sql_mixin)[_PRAGMAS] = tuple({**settings, _WAIT: str(1000 * BUSY_S)}.items())
    plain_logs()
    flower_superlink()


if __name__ == "__main__":
    main()
