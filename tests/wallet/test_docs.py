"""docs/wallet.md names every command, option, variable and exit code."""

from pathlib import Path

import typer

from wallet.accounts import HOME_VARIABLE
from wallet.cli import app
from wallet.options import DEFAULT_NODE_URL, NODE_URL_VARIABLE
from wallet.passwords import PASSWORD_VARIABLE
from wallet.terminal import EXIT_CODES, ExitCode

GUIDE = (Path(__file__).parents[2] / "docs" / "wallet.md").read_text()


def test_commands_and_options() -> None:
    group = typer.main.get_group(app)
    for name, command in group.commands.items():
        assert f"`{name}" in GUIDE
        within = getattr(command, "commands", {})
        assert [each for each in within if f"`{name} {each}" not in GUIDE] == []
        for each in (*within.values(), command):
            options = [option for parameter in each.params for option in parameter.opts if option.startswith("--")]
            assert [option for option in options if f"`{option}" not in GUIDE and option != "--help"] == []


def test_variables_and_defaults() -> None:
    for text in (HOME_VARIABLE, NODE_URL_VARIABLE, PASSWORD_VARIABLE, DEFAULT_NODE_URL):
        assert f"`{text}`" in GUIDE


def test_exit_codes() -> None:
    for code in (0, *ExitCode, 130):
        assert f"| {int(code)} |" in GUIDE
        assert f"{int(code)} " in EXIT_CODES
