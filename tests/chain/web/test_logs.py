"""Logs: JSON lines where no terminal is, secrets hidden, tracebacks without local variables."""

from __future__ import annotations

import json
import subprocess
import sys

SECRET = "correct horse battery staple"
PROGRAM = f"""
import logging, sys
import structlog
from chain.web.logs import set_up_logging

set_up_logging("info", as_json=sys.argv[1] == "json")
log = structlog.get_logger("test")
log.debug("unseen")
log.info("signed_in", api_key={SECRET!r}, prompt={SECRET!r}, user="ann")
logging.getLogger("library").warning("from a %s", "library")
logging.getLogger("httpx").info("a line per request")

def fail(password):
    raise ValueError("no")

try:
    fail({SECRET!r})
except ValueError:
    log.exception("failed")
"""


def lines_of(form: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, form], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert SECRET not in done.stderr.replace(f"fail({SECRET!r})", "")  # A traceback quotes the line of source.
    return done.stderr.splitlines()


def test_json_lines() -> None:
    events = [json.loads(line) for line in lines_of("json")]
    assert [event["event"] for event in events] == ["signed_in", "from a library", "failed"]
    assert [event["level"] for event in events] == ["info", "warning", "error"]
    assert (events[0]["user"], events[0]["api_key"], events[0]["prompt"]) == ("ann", "(hidden)", "(hidden)")
    assert "ValueError: no" in events[2]["exception"]
    assert all(event["timestamp"].endswith("Z") for event in events)


def test_lines_for_people() -> None:
    text = "\n".join(lines_of("text"))
    assert "signed_in" in text
    assert "ValueError: no" in text
