"""The plan's client example gets its picture from a provider that it knows nothing else about."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image

CLIENT = Path(__file__).with_name("plan_client.py")


def run(url: str, api_key: str, out: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, CLIENT, out],
        check=False,
        capture_output=True,
        text=True,
        timeout=180,
        env={"API": url, "API_KEY": api_key},
    )


def test_it_saves_a_picture(running: Any, tmp_path: Path) -> None:
    done = run(running.url, running.client_secret, tmp_path / "out.png")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^job: \d{4}-\d{2}-\d{2}-\d{6} duration_ms: \d+$", done.stdout, re.MULTILINE)
    picture = Image.open(tmp_path / "out.png")
    assert (picture.format, picture.size) == ("PNG", (512, 512))


def test_the_published_key_gets_nothing(running: Any, tmp_path: Path) -> None:
    refused = run(running.url, "CHANGE_ME_SUPERSECRET", tmp_path / "out.png")
    assert refused.returncode != 0
    assert "401" in refused.stderr
    assert not (tmp_path / "out.png").exists()
