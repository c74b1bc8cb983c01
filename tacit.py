"""The command `tacit`: what it can do, and errors said in a sentence.

Each command is imported when it is asked for: torch and Flower take seconds to import, and
`tacit site status` needs neither.
"""

import errno
import sys
from importlib import import_module
from typing import NoReturn

import click
import typer
from typer.core import TyperGroup

from common.console import open_console
from common.errors import ExitCode, TacitError

COMMANDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "demo": (
        "Write a synthetic corpus, train on it with privacy and without, and show the result.",
        ("simulations.commands:app",),
    ),
    "simulate": ("Run a study over simulated sites and report it.", ("simulations.commands:app",)),
    "resume": (
        "Go on with a simulated run that broke off, from its last checkpoint, and report it.",
        ("simulations.commands:app",),
    ),
    "crossval": (
        "Run a study over folds of persons (or seeds) and say mean and spread.",
        ("simulations.commands:app",),
    ),
    "curves": (
        "Run a study at several ε in each mode, and draw how useful it stays.",
        ("simulations.commands:app",),
    ),
    "missing": (
        "Run a study while more and more modalities are missing, masked and filled with zeros.",
        ("simulations.commands:app",),
    ),
    "studies": ("List the studies that come with Tacit.", ("simulations.commands:app",)),
    "model": ("What a study's model is.", ("simulations.model.commands:app",)),
    "draft": (
        "Write a first study for recordings of your own.",
        ("simulations.commands:app",),
    ),
    "corpus": (
        "Write a synthetic multimodal corpus as real files.",
        ("simulations.commands:app",),
    ),
    "federation": (
        "Prepare throw-away sites, for `flwr run` typed by hand.",
        ("simulations.commands:app",),
    ),
    "data": ("Recordings and manifests.", ("client.data.commands:app",)),
    "predict": (
        "Write class probabilities for every clip of a manifest, with the model of a finished run.",
        ("client.commands:app",),
    ),
    "evaluate": (
        "Say how well a finished run's model reads a labelled manifest, and whom it reads badly.",
        ("client.commands:app",),
    ),
    "personalise": (
        "Tune a finished run's model on a site's own persons; the tuned model stays at the site.",
        ("client.commands:app",),
    ),
    "budget": (
        "What was spent of the privacy budget, and what it means.",
        ("client.budget.commands:app", "server.commands:budget"),
    ),
    "audit": (
        "Put this site's own guarantees to the test.",
        ("client.audit_commands:app", "client.audit_log_commands:app"),
    ),
    "attack": (
        "Attack the secure sum, as a coordinator that cheats.",
        ("simulations.attacks.commands:app",),
    ),
    "bench": (
        "What privacy costs, beside a baseline in the same process.",
        ("simulations.bench.commands:bench",),
    ),
    "site": ("Set up and run a site.", ("client.site.commands:app",)),
    "coordinator": ("Set up and run a coordinator.", ("server.coordinator.commands:app",)),
}
"""Command or group -> what it does, in a line; and where its Typer stands, as module:name."""


def load(name: str) -> click.Command:
    """Import a command, or a group from all the folders that add to it."""
    groups = [typer.main.get_group(_typer(place)) for place in COMMANDS[name][1]]
    whole = groups[0]
    if name in whole.commands:
        return whole.commands[name]
    for group in groups[1:]:
        whole.commands.update(group.commands)
    whole.name = name
    return whole


def _typer(place: str) -> typer.Typer:
    module, _, name = place.partition(":")
    found: typer.Typer = getattr(import_module(module), name)
    return found


class _Commands(TyperGroup):
    """Commands that are listed without being imported."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order in which people meet them."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command as --help lists it; it cannot be run."""
        return click.Command(cmd_name, help=COMMANDS[cmd_name][0]) if cmd_name in COMMANDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that is asked for, imported."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name else command, rest


app = typer.Typer(
    name="tacit",
    cls=_Commands,
    help="Federated, privacy-preserving affective learning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def _tacit() -> None:
    """Federated, privacy-preserving affective learning."""


_FULL = (errno.ENOSPC, errno.EDQUOT)


def main() -> None:
    """Run the command line; every error ends in one sentence and a true exit code."""
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        code = app(arguments, prog_name="tacit", standalone_mode=False)
        if code == ExitCode.INTERRUPTED:  # Typer's answer to Ctrl-C
            _end("Stopped.", ExitCode.INTERRUPTED)
        sys.exit(code or ExitCode.OK)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(ExitCode.BAD_INPUT)
    except click.ClickException as error:
        said, *hints = error.format_message().split(" Did you mean")  # Typer's hint, and click's
        hint = f" Did you mean{hints[0]}" if hints else ""
        _end(f"{said}{hint} (tacit --help lists the commands.)", ExitCode.BAD_INPUT)
    except (KeyboardInterrupt, click.Abort):
        _end("Stopped.", ExitCode.INTERRUPTED, debug)
    except TacitError as error:
        _end(str(error), error.exit_code, debug)
    except OSError as error:
        full = "The disk is full; " if error.errno in _FULL else ""
        where = f" ({error.filename})" if error.filename else ""
        _end(f"{full}{error.strerror or error}{where}.", ExitCode.FAILED, debug)
    except Exception as error:
        _end(
            f"This is a fault of Tacit itself: {type(error).__name__}: {error}. "
            "The same command with --debug shows where it happened.",
            ExitCode.FAILED,
            debug,
        )


def _end(text: str, code: ExitCode, debug: bool = False) -> NoReturn:
    if debug:
        raise  # noqa: PLE0704 - called while an error is being handled
    open_console(stderr=True).print(text, style="bold red", markup=False, highlight=False)
    sys.exit(code)


if __name__ == "__main__":
    main()
