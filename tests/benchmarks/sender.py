"""A process of its own that hands signed transactions in, in batches over HTTP, as fast as nodes take them.

Reads a MessagePack file: per node the URL and, per account, its transactions in the order of nonces. Waits for a line
on standard input, sends, prints a JSON line, and ends.
"""

import http.client
import json
import sys
import threading
import time
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

BATCH: Final = 250
_FULL_S: Final = 0.05
"""The wait after a node has said that it has no room."""

Plan = list[tuple[str, list[list[bytes]]]]


class Sending:
    """A thread that feeds one node."""

    def __init__(self, url: str, accounts: list[list[bytes]]) -> None:
        address = urlsplit(url)
        self._connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=60)
        self._accounts = [[f'"0x{raw.hex()}"' for raw in raws] for raws in accounts]
        self._next = [0] * len(accounts)
        self._turn = 0
        self.refusals = 0
        self.thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while batch := self._pick():
            body = f'{{"transactions":[{",".join(self._accounts[account][index] for account, index in batch)}]}}'
            self._connection.request("POST", "/v1/transactions", body, {"Content-Type": "application/json"})
            answer = self._connection.getresponse()
            content = answer.read()
            if answer.status != 202:
                raise RuntimeError(f"{answer.status}: {content[:500]!r}")
            refused = self._rewind(batch, msgspec.json.decode(content)["results"])
            self.refusals += refused
            if refused:
                time.sleep(_FULL_S)

    def _pick(self) -> list[tuple[int, int]]:
        """A slice of one account after another."""
        batch: list[tuple[int, int]] = []
        for offset in range(len(self._accounts)):
            account = (self._turn + offset) % len(self._accounts)
            start = self._next[account]
            end = min(start + BATCH - len(batch), len(self._accounts[account]))
            batch += [(account, index) for index in range(start, end)]
            self._next[account] = end
            if len(batch) == BATCH:
                break
        self._turn = (batch[-1][0] + 1) % len(self._accounts) if batch else 0
        return batch

    def _rewind(self, batch: list[tuple[int, int]], results: list[dict[str, str]]) -> int:
        """How many were refused; they are sent again, with what follows them."""
        refused = [place for place, entry in zip(batch, results, strict=True) if entry["status"] == "refused"]
        for account, index in refused:
            self._next[account] = min(self._next[account], index)
        return len(refused)


def main() -> None:
    """Sends what the file holds."""
    plan = msgspec.msgpack.decode(Path(sys.argv[1]).read_bytes(), type=Plan)
    sendings = [Sending(url, accounts) for url, accounts in plan]
    print("ready", flush=True)
    sys.stdin.readline()
    started = time.monotonic()
    for sending in sendings:
        sending.thread.start()
    for sending in sendings:
        sending.thread.join()
    seconds = time.monotonic() - started
    print(json.dumps({"seconds": seconds, "refusals": sum(each.refusals for each in sendings)}), flush=True)


if __name__ == "__main__":
    main()
