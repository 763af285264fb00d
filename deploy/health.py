"""Whether a service that was just started works: `health.py provider http://127.0.0.1:8000`; exit code 0 where it does.

For update.sh, which must not depend on the release that it judges: the standard library alone. One line on stdout says
why. A node also has to have got at least as far as `--height`, if that is given.
"""

import argparse
import json
import sys
import urllib.error
import urllib.request
from typing import Any

ROLES = ("node", "hub", "provider")
TIMEOUT_S = 5
MAX_ANSWER_BYTES = 1024 * 1024


def ask(url: str) -> tuple[int, Any]:
    """Status and JSON body (None where it is none); raises OSError where nobody answers."""
    # No proxy of the environment: the service is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=TIMEOUT_S) as response:
            status, body = response.status, response.read(MAX_ANSWER_BYTES)
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read(MAX_ANSWER_BYTES)
    try:
        return status, json.loads(body)
    except ValueError:
        return status, None


def finalized_height(url: str) -> int | None:
    """A node's; None where it says none. Raises OSError where nobody answers."""
    _, body = ask(f"{url}/v1/status")
    try:
        return int(body["finalized"]["height"])
    except (TypeError, KeyError, ValueError):
        return None


def what_is_wrong(role: str, url: str, height: int) -> str | None:
    """None where the service works."""
    try:
        status, body = ask(f"{url}/healthz")
        if status != 200:
            return f"/healthz answers {status}: {_detail(body)}"
        if role == "provider":
            status, body = ask(f"{url}/v1/health")
            state = body.get("status") if isinstance(body, dict) else None
            return None if state == "ok" else f"/v1/health says {state}: {_detail(body)}"
        if role == "hub":
            status, body = ask(f"{url}/readyz")
            return None if status == 200 else f"/readyz answers {status}: {_detail(body)}"
        if role == "node":
            reached = finalized_height(url)
            if reached is None or reached < height:
                return f"its height is {reached}, before it was {height}"
    except OSError as error:
        return f"no answer: {getattr(error, 'reason', error)}"
    return None


def _detail(body: Any) -> str:
    return str(body.get("detail") or body.get("status")) if isinstance(body, dict) else "no JSON"


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("url")
    parser.add_argument("--height", type=int, default=0, help="a node's, before it was stopped")
    parser.add_argument("--print-height", action="store_true", help="print a node's height instead of judging it")
    arguments = parser.parse_args()
    url = arguments.url.rstrip("/")
    if arguments.print_height:
        try:
            reached = finalized_height(url)
        except OSError:
            reached = None
        print("" if reached is None else reached)
        return 1 if reached is None else 0
    fault = what_is_wrong(arguments.role, url, arguments.height)
    print(fault or "ok")
    return 0 if fault is None else 1


if __name__ == "__main__":
    sys.exit(main())
