"""The runner as a process: the site's app at the SuperNode's desk, and a window on it."""

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

from client.app import app, place_of
from client.folder import log
from client.runner import Desk, Report, beat_often, serve
from client.site.bundles import is_approved
from client.site.folder import RUNTIME_SECRET
from client.site.health import serve_health
from client.site.processes import ports_of
from client.site.status import Board, Status
from common.processes import plain_logs
from common.settings import load_policy


def run_runner(root: Path) -> None:
    """Answer the SuperNode's tasks until this process is told to end.

    Raises:
        ConfigError: the folder is not a site's.
        EnvironmentFault: the health port is taken.
    """
    plain_logs()
    beat_often()
    root, ports = root.absolute(), ports_of(root)
    site = load_policy(root / "policy.yaml").site
    board = Board(Status(site, os.getpid(), time.time()))
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    health = serve_health(ports.health, board.read)
    desk = Desk(
        runtime=f"127.0.0.1:{ports.runtime}",
        secret=(root / RUNTIME_SECRET).read_bytes(),
        root=root,
        app=app,
        approved=lambda sha256: is_approved(root, sha256),
        report=reporter(root, board),
        place=place_of,
    )
    try:
        serve(desk, ended.is_set)
    finally:
        health.stop(grace=1.0)


def reporter(root: Path, board: Board) -> Report:
    """Note what happens on the board, and what went wrong in the site's log as well."""

    def report(event: str, detail: str, study: str = "", number: int = 0) -> None:
        board.note(event, detail, study, number)
        if event not in ("idle", "answered", "waiting"):
            with suppress(OSError):
                log(root, event, detail=detail)

    return report
