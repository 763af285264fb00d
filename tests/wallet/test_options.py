"""What the shell completes: commands, options, and the names of accounts, through bash itself."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chain.primitives.keys import PrivateKey
from wallet.known_networks import KnownNetwork, KnownNetworks

# What bash does when a person presses the tab key.
COMPLETE = """
eval "$(aitbc --show-completion)"
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_aitbc_completion aitbc
printf '%s\\n' "${COMPREPLY[@]}"
"""


def complete(home: Path, *words: str) -> list[str]:
    bash = shutil.which("bash")
    assert bash is not None
    ended = subprocess.run(
        [bash, "-c", COMPLETE, "bash", "aitbc", *words],
        env={"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "AITBC_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.stderr == ""
    return ended.stdout.split()


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["wal"], ["wallet"]),
        (["wallet", "expo"], ["export"]),
        (["wallet", "sign", ""], ["message", "typed"]),
        (["wallet", "export", "alice", "--priv"], ["--private-key"]),
        (["wallet", "show", ""], ["alice", "bob"]),
        (["wallet", "show", "al"], ["alice"]),
        (["wallet", "sign", "message", "x", "--from", "b"], ["bob"]),
        (["wallet", "show", "x"], []),
    ],
)
def test_completion(people: dict[str, PrivateKey], tmp_path: Path, words: list[str], completed: list[str]) -> None:
    assert complete(tmp_path / "home", *words) == completed


def test_completion_in_a_home_that_is_none(tmp_path: Path) -> None:
    assert complete(tmp_path / "missing", "wallet", "show", "") == []
    (tmp_path / "keys").write_text("a file where the folder should be")
    assert complete(tmp_path, "wallet", "show", "") == []


def test_completion_in_the_home_that_is_named(people: dict[str, PrivateKey], tmp_path: Path) -> None:
    words = ("wallet", "show", "--home", str(tmp_path / "home"), "")
    assert complete(tmp_path / "missing", *words) == ["alice", "bob"]


def test_names_of_networks_are_words_or_numbers(tmp_path: Path) -> None:
    """Names come from nodes, and a shell would run `$(…)` in a completion."""
    networks = KnownNetworks(tmp_path)
    for chain_id, name in (
        (7, "devnet"),
        (8, "x\\$(touch here)"),
        (9, "d) ; touch here ; (true"),
        (10, "-rf"),
        (11, ""),
    ):
        networks.add(KnownNetwork(chain_id=chain_id, genesis_hash="0x" + "11" * 32, name=name))
    assert complete(tmp_path, "wallet", "network", "use", "") == ["devnet", "8", "9", "10", "11"]
    assert complete(tmp_path, "wallet", "network", "show", "1") == ["10", "11"]
