"""Systemd units for the processes of a site or a coordinator, one each."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from common.processes import Group

_UNIT = """\
[Unit]
Description=Tacit {of}: {what}
Wants=network-online.target
After={after}
StartLimitIntervalSec=0

[Service]
ExecStart={command}
Restart=always
RestartSec=10
User=tacit
UMask=0077
LimitCORE=0
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={folder}

[Install]
WantedBy=multi-user.target
"""


def write_units(folder: Path, group: Group, of: str, whats: Mapping[str, str]) -> None:
    """Write a unit for each process of a group; each is started after the one before it.

    Args:
        folder: to write to; made here.
        group: the processes; its root is where the units will find their folder.
        of: the site's or the federation's name.
        whats: process -> what it is, in a line.
    """
    folder.mkdir()
    after = "network-online.target"
    for name in group.names:
        text = _UNIT.format(
            of=of,
            what=whats[name],
            after=after,
            command=shlex.join(group.command(name)),
            folder=shlex.quote(str(group.root.absolute())),
        )
        unit = f"tacit-{name}-{of}.service"
        (folder / unit).write_text(text, encoding="utf-8")
        after = f"network-online.target {unit}"
