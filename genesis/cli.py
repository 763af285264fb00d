"""The one command of the project: `aitbc`, with the groups devnet, node, wallet, provider and hub.

Only the group that is asked for is imported, so that `aitbc wallet balance` never waits for FastAPI or torch.
Exit codes: 0 done, 1 the operation failed, 2 wrong usage, 70 a fault in AITBC itself, 130 interrupted.
"""

import gc
import importlib
import os
import sys
import traceback
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperGroup

EXIT_FAILED = 1
EXIT_FAULT = 70  # EX_SOFTWARE of sysexits.h: scripts can tell "it said no" from "it broke"
DEBUG_VARIABLE = "AITBC_DEBUG"
GARBAGE_THRESHOLDS = (20_000, 20, 20)
"""Modules bring hundreds of thousands of objects and no garbage: with Python's own (700, 10, 10) looking for it took an
eighth of the time in which a provider, with torch and diffusers, was there."""
OUR_PACKAGES = frozenset({"chain", "genesis", "hub", "provider", "wallet"})


@dataclass(frozen=True, slots=True)
class Group:
    """A group of commands, and the Typer application that has them. `extras` are the optional dependencies it needs."""

    name: str
    help: str
    application: str
    extras: str = ""
    is_single_command: bool = False


GROUPS = (
    Group(
        "devnet",
        "A whole network on this machine: validators, hub, two providers.",
        "genesis.devnet_cli:app",
        extras="provider,hub",
        is_single_command=True,
    ),
    Group("node", "Run a validator or follower of a network, and ask how it is.", "chain.node.cli:app"),
    Group("wallet", "Keep keys, see balances, send AIT, check receipts.", "wallet.cli:app"),
    Group("provider", "Serve images and earn AIT for every attested job.", "provider.cli:app", "provider"),
    Group("hub", "Many providers, one service: dispatch, check and attest jobs.", "hub.cli:app", "hub"),
)

# \b keeps the lines that follow it as they are.
EPILOG = """\b
Start here:
  aitbc devnet --once      serve some images and mint their tokens, from nothing
  aitbc devnet --dir D     keep the network running, its URLs and keys in D/devnet.json
  aitbc wallet --help      every group explains itself
"""


@dataclass(slots=True)
class Invocation:
    """What the root command learned from one command line; `main` needs it to word an error."""

    group: str | None = None
    debug: bool = False


class LazyGroup(TyperGroup):
    """Stands in the help for a group, and imports it when the command line goes into it."""

    def __init__(self, group: Group) -> None:
        super().__init__(name=group.name, help=group.help)
        self._group = group

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the real group: from here on, Typer knows nothing of this stand-in."""
        return load_group(self._group).make_context(info_name, args, parent=parent, **extra)


def load_group(group: Group) -> Any:
    """The command of a group, which is imported for it."""
    module_name, _, attribute = group.application.partition(":")
    application: typer.Typer = getattr(importlib.import_module(module_name), attribute)
    if not group.is_single_command:
        return typer.main.get_group(application)
    command = typer.main.get_command(application)
    # Typer gives a lone command the options that belong to the root.
    command.params = [each for each in command.params if each.name not in ("install_completion", "show_completion")]
    return command


def _print_version(requested: bool) -> None:
    if requested:
        from importlib.metadata import version

        typer.echo(f"aitbc {version('aitbc')}")
        raise typer.Exit


def _root(
    context: typer.Context,
    debug: bool = typer.Option(
        False, "--debug", envvar=DEBUG_VARIABLE, help="Show the traceback of an error, here and in started processes."
    ),
    version: bool = typer.Option(
        False, "--version", is_eager=True, callback=_print_version, help="Show the version and exit."
    ),
) -> None:
    """AITBC: serve images, sign receipts, mint AIT for attested work."""
    invocation = context.ensure_object(Invocation)
    invocation.group = context.invoked_subcommand
    invocation.debug = debug
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"


def root_command() -> TyperGroup:
    """The command tree: every group is listed, none is imported."""
    # Plain text here: drawing the same page with Rich takes 100 ms more than the 75 ms that this takes.
    application = typer.Typer(name="aitbc", no_args_is_help=True, epilog=EPILOG, rich_markup_mode=None)
    application.callback()(_root)
    # Not get_group: only this adds --install-completion and --show-completion, and answers the shell that completes.
    root = typer.main.get_command(application)
    assert isinstance(root, TyperGroup)
    for group in GROUPS:
        root.add_command(LazyGroup(group))
    return root


def _missing_module(error: ModuleNotFoundError) -> str | None:
    """The name of the third-party package that is not installed; None if a module of ours is what is missing."""
    package = (error.name or "").partition(".")[0]
    return package if package and package not in OUR_PACKAGES else None


def _say_what_to_install(missing: str, group_name: str | None) -> str:
    extras = next((group.extras for group in GROUPS if group.name == group_name), "")
    target = f"'.[{extras}]'" if extras else "."
    return (
        f"`aitbc {group_name or ''}".rstrip() + f"` needs the Python package {missing}, which is not installed. "
        f"In the repository run `make install`, or: pip install -c constraints.txt -e {target}"
    )


def explain(error: Exception, invocation: Invocation) -> tuple[str, int]:
    """One line for the user, and the exit code."""
    from chain.primitives.rejection import Rejected

    if isinstance(error, ModuleNotFoundError) and (missing := _missing_module(error)):
        return _say_what_to_install(missing, invocation.group), EXIT_FAILED
    message = " ".join(str(error).split())
    if isinstance(error, Rejected | OSError):
        return message or type(error).__name__, EXIT_FAILED
    return (
        f"unexpected {type(error).__name__}: {message} "
        f"(a fault in AITBC: please report it with what `aitbc --debug` prints)"
    ), EXIT_FAULT


def run(root: TyperGroup, arguments: list[str] | None = None) -> None:
    """Runs one command line of `root` (`sys.argv` when None) and exits, with one line on stderr where it failed."""
    invocation = Invocation()
    try:
        root.main(arguments, prog_name="aitbc", obj=invocation)
    except Exception as error:  # noqa: BLE001 - whatever it is, a user gets one line instead of a traceback
        if invocation.debug:
            traceback.print_exc()
        line, exit_code = explain(error, invocation)
        print(f"aitbc: {line}", file=sys.stderr)
        sys.exit(exit_code)


def main() -> None:
    """The entry point of `aitbc`."""
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    run(root_command())


if __name__ == "__main__":
    main()
