"""The wallet's three streams where somebody has closed them, as services and schedulers do."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from chain.primitives.keys import PrivateKey


@pytest.mark.parametrize(
    ("closed", "arguments", "code"),
    [
        ("2>&-", "list", 0),
        ("2>&-", "export alice --private-key", 9),
        ("<&-", "import carol", 1),
        ("<&-", "remove alice", 9),
        (">&-", "list", 0),
        ("<&- >&- 2>&-", "list", 0),
    ],
)
def test_closed_streams(people: dict[str, PrivateKey], tmp_path: Path, closed: str, arguments: str, code: int) -> None:
    """What is for the person never goes to stdout instead, and nothing is taken for a fault of ours."""
    command = f"{shlex.quote(sys.executable)} -m genesis.cli wallet {arguments} {closed}"
    ended = subprocess.run(
        ["/bin/sh", "-c", command],
        env={**os.environ, "AITBC_HOME": str(tmp_path / "home"), "AITBC_PASSWORD": "secret"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        start_new_session=True,
        check=False,
    )
    assert ended.returncode == code
    assert (ended.stdout != "") == (arguments == "list" and ">&-" not in closed.split())
