"""The site runner round throw-away sites: one persistent process a simulated SuperNode.

The desk is that of a deployment (client/runner.py). Two things differ: a node's number, not a
folder, says which site it is, and there is no list of approved bundles: the code is this one's.
"""

import signal
import sys
import threading
from pathlib import Path

from flwr.app import Context, Message

from client.app import app, place_of
from client.runner import Desk, serve
from common.processes import plain_logs


def answer(message: Message, context: Context) -> Message:
    """Answer as the site that the node's number picks."""
    node_config = {key: value for key, value in context.node_config.items() if key != "site-dir"}
    context.node_config = node_config
    return app(message, context)


def main(runtime: str, secret: str) -> None:
    """Answer the tasks of one SuperNode until told to end.

    Args:
        runtime: HOST:PORT of its runtime API.
        secret: path of the file that both know.
    """
    plain_logs()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    desk = Desk(
        runtime=runtime,
        secret=Path(secret).read_bytes(),
        root=Path(),
        app=answer,
        approved=lambda _: True,
        report=lambda event, detail, study="", number=0: None,
        place=place_of,
    )
    serve(desk, ended.is_set)


if __name__ == "__main__":
    main(*sys.argv[1:])
