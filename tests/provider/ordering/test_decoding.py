"""What answers in a provider's name may be anything."""

import subprocess
import sys
from typing import Any

import pytest

from provider.ordering.answers import ReceiptPage
from provider.ordering.decoding import MAX_CONTAINERS, decode_json
from provider.ordering.errors import ProviderUnavailable

DEEP = """
import py_ecc  # Lifts Python's limit on recursion for the whole process.
from provider.ordering.decoding import decode_json
from provider.ordering.errors import ProviderUnavailable
try:
    decode_json(b'{"a":' + b"[" * 100_000, dict[str, object])
except ProviderUnavailable:
    print("refused")
"""


def test_brackets_without_end_do_not_end_the_process() -> None:
    ended = subprocess.run([sys.executable, "-c", DEEP], capture_output=True, text=True, timeout=120, check=False)
    assert (ended.returncode, ended.stdout) == (0, "refused\n")


def test_as_many_arrays_and_objects_as_are_allowed() -> None:
    most = b"[" + b",".join([b"{}"] * (MAX_CONTAINERS - 1)) + b"]"
    assert len(decode_json(most, list[dict[str, Any]])) == MAX_CONTAINERS - 1
    with pytest.raises(ProviderUnavailable, match="too many"):
        decode_json(b"[" + most + b"]", list[Any])


@pytest.mark.parametrize("content", [b"", b"{", b"<html>", b"\xff", b'{"items": 5}', b'{"items": [{}]}'])
def test_what_is_no_page(content: bytes) -> None:
    with pytest.raises(ProviderUnavailable, match="no AITBC provider"):
        decode_json(content, ReceiptPage)
