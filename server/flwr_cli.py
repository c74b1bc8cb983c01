"""The `flwr` command line as the coordinator uses it: submit a run, follow it to its true end.

`flwr run` exits 0 even when the run failed, so its end is asked for.
"""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from common.errors import EnvironmentFault, TacitError

APP = Path(__file__).resolve().parent.parent
CONNECTION = "tacit"
RunConfig = Mapping[str, bool | float | str]

_FLWR = Path(sys.executable).parent / "flwr"
_POLL_S = 1.0
_POLLS = 15


class RunFailed(TacitError):
    """Flower says that the run failed; the ServerApp's own error file says why."""


def play(flwr: "Flwr", run_config: RunConfig, watch: Callable[[], bool], *options: str) -> None:
    """Submit the app and return when its run has completed; Ctrl-C or a failure stops the run.

    Args:
        flwr: the command line.
        run_config: the run's flat configuration; paths in it must be absolute.
        watch: called while waiting, about once a second; True once the coordinator has said that
            it is through, so that Flower is asked at once.
        options: of `flwr run`.

    Raises:
        RunFailed: the ServerApp ended with an error.
        EnvironmentFault: Flower refused the run.
    """
    run_id = flwr.start(run_config, *options)
    try:
        flwr.wait(run_id, watch)
    except (KeyboardInterrupt, RunFailed):
        flwr.stop(run_id)
        raise


def write_connection(home: Path, address: str, ca_certificate: Path | None = None) -> None:
    """Tell the command line where the SuperLink is.

    Args:
        home: its FLWR_HOME.
        address: HOST:PORT.
        ca_certificate: the authority that it trusts; None for a SuperLink without TLS.
    """
    trust = f"root-certificates = {json.dumps(str(ca_certificate))}" if ca_certificate else ""
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "{CONNECTION}"\n\n'
        f'[superlink.{CONNECTION}]\naddress = "{address}"\n{trust or "insecure = true"}\n'
    )


class Flwr:
    """The `flwr` command line, with its JSON output."""

    def __init__(self, environment: Mapping[str, str], cwd: Path) -> None:
        self._environment = dict(environment)
        self._cwd = cwd

    def start(self, run_config: RunConfig, *options: str) -> str:
        """Submit the app; returns the run's id."""
        given = " ".join(f"{key}={as_toml(value)}" for key, value in run_config.items())
        answer = self._json("run", str(APP), CONNECTION, "-c", given, *options)
        if not answer.get("success") or not answer.get("run-id"):
            raise EnvironmentFault(f"flwr run was refused: {answer.get('error-message', answer)}.")
        return str(answer["run-id"])

    def wait(self, run_id: str, watch: Callable[[], bool]) -> None:
        """Return when the run has completed; raise when it failed.

        Asking Flower costs a second of CPU each time, so it is asked seldom before the
        coordinator is through.
        """
        while True:
            status = self._status(run_id)
            if status == "finished:completed":
                return
            if status.startswith("finished"):
                raise RunFailed(f"The run ended as {status}.\n{self._log(run_id)}")
            for _ in range(_POLLS):
                time.sleep(_POLL_S)
                if watch():
                    break

    def stop(self, run_id: str) -> None:
        """Ask for the run's end; the SuperLink is stopped anyway."""
        with contextlib.suppress(subprocess.SubprocessError, EnvironmentFault):
            self._call("stop", run_id, CONNECTION)

    def register(self, public_key: Path, name: str) -> None:
        """Let the holder of a node key connect.

        Raises:
            EnvironmentFault: the SuperLink does not answer, or refuses the key.
        """
        answer = self._json("supernode", "register", str(public_key), CONNECTION, "--name", name)
        if not answer.get("success"):
            said = answer.get("error-message", answer)
            if "already" not in str(said):
                raise EnvironmentFault(f"The node of {name} was not registered: {said}.")

    def build(self, out: Path) -> Path:
        """Write the app's bundle, the very one that `start` submits, to a folder.

        Raises:
            EnvironmentFault: Flower could not build it.
        """
        before = set(self._cwd.glob("*.fab"))
        said = self._call("build", "--app", str(APP))
        made = sorted(set(self._cwd.glob("*.fab")) - before) or sorted(self._cwd.glob("*.fab"))
        if len(made) != 1:
            raise EnvironmentFault(f"flwr build said: {said.strip()[-500:]}")
        return made[0].replace(out / made[0].name)

    def _status(self, run_id: str) -> str:
        runs = self._json("list", "--run-id", run_id, CONNECTION).get("runs") or [{}]
        return str(runs[0].get("status", ""))

    def _log(self, run_id: str) -> str:
        return "\n".join(self._call("log", run_id, CONNECTION, "--show").splitlines()[-30:])

    def _json(self, *arguments: str) -> dict[str, Any]:
        text = self._call(*arguments, "--format", "json")
        start = text.find("{")
        try:
            answer = json.loads(text[start:])
        except ValueError as error:
            raise EnvironmentFault(f"flwr {arguments[0]} said: {text.strip()[:500]}") from error
        return dict(answer)

    def _call(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(_FLWR), *arguments],
            env=self._environment,
            cwd=self._cwd,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return done.stdout or done.stderr


def as_toml(value: bool | float | str) -> str:
    """A value as `flwr run -c` reads it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value) if isinstance(value, str) else repr(value)
