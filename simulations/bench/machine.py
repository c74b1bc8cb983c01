"""Facts about the machine, without which a benchmark's figures say little."""

import os
import platform
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def facts(packages: Sequence[str], accelerator: str = "") -> dict[str, Any]:
    """Return CPU, memory, system, versions and date.

    Args:
        packages: distributions whose version matters; one that is missing has "".
        accelerator: that was measured too, by its name.
    """
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count() or 0,
        "memory_bytes": _memory_bytes(),
        "load": _load(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": sys.version.split()[0],
        "packages": {name: _version(name) for name in ("tacit", *packages)},
        "threads": {name: os.environ[name] for name in _THREADS if name in os.environ},
        "accelerator": accelerator,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's name, as far as the system tells it."""
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine() or "unknown"


def _memory_bytes() -> int:
    """Return the machine's memory; 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0


def _load() -> float:
    """Return how many processes want to run, over the last minute; -1 where it is not known."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return -1.0


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
