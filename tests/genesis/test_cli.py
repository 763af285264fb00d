"""The root command: it lists every group without importing any, and turns every error into one line."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from chain.primitives.rejection import Rejected, RejectionReason
from genesis.cli import EXIT_FAILED, EXIT_FAULT, GROUPS, Invocation, explain, root_command, run

REPOSITORY = Path(__file__).parents[2]

HEAVY = {"accelerate", "diffusers", "torch", "transformers"}
SERVING = {"fastapi", "starlette", "uvicorn"}
CHAIN_INTERNALS = {"chain.consensus", "chain.node", "chain.rules", "chain.storage", "plyvel"}
# What a group must not load when it is only asked to explain itself.
UNWANTED = {
    "devnet": HEAVY,
    "node": HEAVY | {"hub", "provider", "sqlalchemy", "wallet"},
    "wallet": HEAVY | SERVING | CHAIN_INTERNALS | {"hub", "provider", "sqlalchemy"},
    "provider": HEAVY | CHAIN_INTERNALS | {"hub", "sqlalchemy"},
    "hub": HEAVY | CHAIN_INTERNALS | {"provider"},
}
WATCHED = set().union(*UNWANTED.values(), {"chain", "httpx", "pydantic", "rich"})

# Runs `aitbc` in a process of its own, then reports on stderr which watched modules that process has imported.
REPORT_MODULES = """
import json, sys
from genesis.cli import main
watched = set(json.loads(sys.argv.pop(1)))
try:
    main()
finally:
    print("modules: " + json.dumps(sorted(watched & set(sys.modules))), file=sys.stderr)
"""


@pytest.fixture(autouse=True)
def same_environment() -> Iterator[None]:
    """`--debug` is passed on to started processes; run in this process, it would reach the tests after it."""
    saved = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(saved)


def aitbc(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", REPORT_MODULES, json.dumps(sorted(WATCHED)), *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def imported_modules(process: subprocess.CompletedProcess[str]) -> set[str]:
    line = next(line for line in process.stderr.splitlines() if line.startswith("modules: "))
    return set(json.loads(line.removeprefix("modules: ")))


def test_help_lists_every_group_in_one_line_and_imports_none() -> None:
    process = aitbc("--help")

    assert process.returncode == 0, process.stderr
    for group in GROUPS:
        assert any(line.split()[:1] == [group.name] and group.help in line for line in process.stdout.splitlines())
    assert imported_modules(process) == set()


@pytest.mark.parametrize("name", [group.name for group in GROUPS])
def test_a_group_explains_itself_and_loads_only_what_it_needs(name: str) -> None:
    process = aitbc(name, "--help")

    assert process.returncode == 0, process.stderr
    assert f"aitbc {name}" in process.stdout
    assert "--install-completion" not in process.stdout
    assert not imported_modules(process) & UNWANTED[name]


def test_version() -> None:
    process = aitbc("--version")

    assert process.returncode == 0
    assert process.stdout.startswith("aitbc 0.")


def test_a_mistyped_group_is_wrong_usage_and_names_the_right_one() -> None:
    process = aitbc("wallt")

    assert process.returncode == 2
    assert "Did you mean 'wallet'?" in process.stderr
    assert "Traceback" not in process.stderr


def failing_root(error: Exception) -> typer.core.TyperGroup:
    """The real root command with one more command, which fails."""
    application = typer.Typer()

    @application.command()
    def fail() -> None:
        raise error

    root = root_command()
    root.add_command(typer.main.get_command(application), "fail")
    return root


def test_an_error_is_one_line_and_a_traceback_only_with_debug(capsys: pytest.CaptureFixture[str]) -> None:
    root = failing_root(FileNotFoundError(2, "No such file or directory", "keys.json"))

    with pytest.raises(SystemExit) as quiet:
        run(root, ["fail"])
    said = capsys.readouterr().err
    with pytest.raises(SystemExit) as loud:
        run(root, ["--debug", "fail"])
    said_with_debug = capsys.readouterr().err

    assert quiet.value.code == loud.value.code == EXIT_FAILED
    assert said == "aitbc: [Errno 2] No such file or directory: 'keys.json'\n"
    assert "Traceback (most recent call last)" in said_with_debug
    assert said_with_debug.endswith(said)


def test_an_interruption_is_not_an_error_report(capsys: pytest.CaptureFixture[str]) -> None:
    application = typer.Typer()

    @application.command()
    def wait() -> None:
        raise KeyboardInterrupt

    root = root_command()
    root.add_command(typer.main.get_command(application), "wait")

    with pytest.raises(SystemExit) as stopped:
        run(root, ["wait"])

    assert stopped.value.code == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_refusal_is_said_in_its_own_words() -> None:
    line, exit_code = explain(Rejected(RejectionReason.NONCE_TOO_LOW, "the nonce\nis 3"), Invocation("wallet"))

    assert exit_code == EXIT_FAILED
    assert "the nonce is 3" in line
    assert "\n" not in line


def test_a_missing_extra_says_what_to_install() -> None:
    error = ModuleNotFoundError("No module named 'torch'", name="torch")

    line, exit_code = explain(error, Invocation("provider"))

    assert exit_code == EXIT_FAILED
    assert "`aitbc provider` needs the Python package torch" in line
    assert "make install" in line
    assert "-e '.[provider]'" in line


def test_a_missing_module_of_ours_is_a_fault_not_a_missing_extra() -> None:
    error = ModuleNotFoundError("No module named 'wallet.gone'", name="wallet.gone")

    line, exit_code = explain(error, Invocation("wallet"))

    assert exit_code == EXIT_FAULT
    assert "wallet.gone" in line


def test_an_unexpected_error_asks_for_a_report() -> None:
    line, exit_code = explain(KeyError("height"), Invocation("node"))

    assert exit_code == EXIT_FAULT
    assert "unexpected KeyError: 'height'" in line
    assert "--debug" in line
