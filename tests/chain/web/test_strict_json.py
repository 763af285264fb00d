"""Bodies mean one thing, and no body can end the process."""

import subprocess
import sys

import pytest

from chain.primitives.rejection import Rejected, RejectionReason
from chain.web.strict_json import MAX_COMMAS, MAX_CONTAINERS, parse_json


def test_nesting_is_bounded_whatever_the_recursion_limit_is() -> None:
    script = (
        "import sys; sys.setrecursionlimit(1_000_000)\n"
        "from chain.primitives.rejection import Rejected\n"
        "from chain.web.strict_json import parse_json\n"
        "for body in (b'[' * 1_000_000, b'{\"a\":' * 1_000_000):\n"
        "    try: parse_json(body)\n"
        "    except Rejected as rejected: print(rejected.reason)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.split()) == (0, ["too_large", "too_large"]), done.stderr


def test_as_many_containers_as_allowed_are_read() -> None:
    flat = b"[" + b"[]," * (MAX_CONTAINERS - 2) + b"[]]"
    assert len(parse_json(flat)) == MAX_CONTAINERS - 1
    with pytest.raises(Rejected) as refused:
        parse_json(b"[" + flat + b"]")
    assert refused.value.reason is RejectionReason.TOO_LARGE


def test_members_are_bounded_too() -> None:
    """Megabytes of them would hold up everybody else for seconds."""
    assert len(parse_json(b"[" + b"1," * MAX_COMMAS + b"1]")) == MAX_COMMAS + 1
    with pytest.raises(Rejected) as caught:
        parse_json(b"[" + b"1," * (MAX_COMMAS + 1) + b"1]")
    assert caught.value.reason is RejectionReason.TOO_LARGE
