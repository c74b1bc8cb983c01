"""The command `tacit`: mounts the command groups of the folders, and says errors in a sentence."""

import errno
import sys
from typing import NoReturn

import click
import typer
from rich.console import Console

from client.commands import app as client_commands
from common.errors import ExitCode, TacitError
from server.commands import app as server_commands
from simulations.commands import app as simulation_commands

app = typer.Typer(
    name="tacit",
    help="Federated, privacy-preserving affective learning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _mount(commands: typer.Typer) -> None:
    """Take over a folder's commands; groups of one name, from several folders, become one."""
    app.registered_commands += commands.registered_commands
    known = {group.name: group.typer_instance for group in app.registered_groups}
    for group in commands.registered_groups:
        there = known.get(group.name)
        if there is None or group.typer_instance is None:
            app.registered_groups.append(group)
        else:
            there.registered_commands += group.typer_instance.registered_commands


for folder in (simulation_commands, client_commands, server_commands):
    _mount(folder)

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
        _end(f"{error.format_message()} (tacit --help lists the commands.)", ExitCode.BAD_INPUT)
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
    Console(stderr=True).print(text, style="bold red", markup=False, highlight=False)
    sys.exit(code)


if __name__ == "__main__":
    main()
