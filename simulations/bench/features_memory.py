"""How much memory a process takes at its peak while it reads one recording with an encoder.

`python -m simulations.bench.features_memory ENCODER RECORDING KIND` prints both numbers of a Peak;
a process of its own for each recording, so that no other's peak counts.
"""

import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from client.data.extract import Heavy, extract
from common.errors import DataError, EnvironmentFault
from simulations.bench.features import LIGHT, open_encoder

KIBIBYTE = 1024
CLEAR, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


@dataclass(frozen=True)
class Peak:
    """Resident memory of a process while it reads a recording, in bytes.

    Args:
        whole: of the process, at its peak.
        reading: of that, above what stood before: program and encoder.
    """

    whole: int
    reading: int


def peak_of(encoder: Path, recording: Path, kind: str) -> Peak:
    """Return the memory of a new process that reads a recording, at its peak.

    Args:
        encoder: folder of a light encoder.
        recording: read as one clip.
        kind: name in LIGHT.

    Raises:
        EnvironmentFault: the process ended early.
    """
    command = [sys.executable, "-m", "simulations.bench.features_memory"]
    found = subprocess.run(
        [*command, str(encoder), str(recording), kind],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[2],
    )
    if found.returncode:
        said = (found.stderr.strip() or "no word").splitlines()[-1]
        raise EnvironmentFault(f"the measured process ended with {found.returncode}: {said}")
    whole, reading = found.stdout.split()
    return Peak(int(whole), int(reading))


def read_whole(encoder: Path, recording: Path, kind: str) -> Peak:
    """Read a recording as one clip in this process; return the peak of memory.

    Where the system cannot forget an older peak, all of it counts as reading.
    """
    frozen = open_encoder(LIGHT[kind], encoder)
    _ = frozen.kind
    before = _forget_peak()
    for found in extract(Heavy(frozen), [(recording, [(0.0, None)])], None):
        if isinstance(found.features, DataError):
            raise found.features
    return Peak(_peak(), _peak() - before)


def _forget_peak() -> int:
    """Let the peak start anew, where Linux can; returns what is resident now, else 0."""
    try:
        CLEAR.write_text("5")
        return _peak()
    except OSError:
        return 0


def _peak() -> int:
    """Return the peak of resident memory in bytes since it was forgotten."""
    if STATUS.is_file():
        for line in STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * KIBIBYTE
    scale = 1 if sys.platform == "darwin" else KIBIBYTE
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


if __name__ == "__main__":
    measured = read_whole(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
    sys.stdout.write(f"{measured.whole} {measured.reading}\n")
