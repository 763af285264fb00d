"""What it costs to find one provider's mints among the logs of a long chain, beside a look at every block.

Blocks are made and committed by the ledger, as a node with nothing else to do would. Most hold a mint for somebody
else; the provider that is looked for has a few.
"""

import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from chain.api.log_index import LogFilter
from chain.api.log_search import search_logs
from chain.node.ledger import Ledger
from chain.node.records import decode_results
from chain.node.runner import settle_interpreter
from chain.primitives.modules import MINTED_EVENT, MINTER, TOKEN, TRANSFER_EVENT
from chain.primitives.types import Address, Hash32
from tests.benchmarks.chains import MadeChain
from tests.benchmarks.measuring import Table, milliseconds

BLOCKS: Final = 100_000
PROVIDERS: Final = 200
WANTED_MINTS: Final = 50
_ROUNDS: Final = 5


def log_search(folder: Path, blocks: int) -> Table:
    """All figures."""
    rng = random.Random(20261122)
    chain = MadeChain(folder / "node", validators=1, rng=rng)
    provider = _fill(chain, blocks, rng)
    settle_interpreter()
    head = chain.ledger.head.height
    minted, transfer = frozenset((MINTED_EVENT.topic,)), frozenset((TRANSFER_EVENT.topic,))
    himself = frozenset((_topic_of(provider),))
    filters = (
        ("`Minted` for one provider", LogFilter(0, head, frozenset((MINTER,)), (minted, himself))),
        ("`Transfer` to him", LogFilter(0, head, frozenset((TOKEN,)), (transfer, None, himself))),
        ("anything for him, whatever the event", LogFilter(0, head, topics=(None, himself))),
        ("`Minted` in the newest 1,000 blocks", LogFilter(head - 999, head, frozenset((MINTER,)), (minted,))),
    )
    scan = _scan_seconds(chain.ledger, filters[0][1], expected=WANTED_MINTS)
    rows = [("`Minted` for one provider, by a look at every block", f"{WANTED_MINTS}", milliseconds(scan), "1")]
    for name, wanted in filters:
        found = search_logs(chain.ledger.view(), wanted)
        seconds = _median_seconds(lambda wanted=wanted: search_logs(chain.ledger.view(), wanted))  # type: ignore[misc]
        rows.append((name, f"{len(found)}", milliseconds(seconds), f"{scan / seconds:,.0f}"))
    chain.close()
    return Table(f"Logs found among {blocks:,} blocks", ("what", "logs", "time", "times as fast"), tuple(rows))


def _topic_of(address: Address) -> Hash32:
    return Hash32(bytes(12) + address)


def _fill(chain: MadeChain, blocks: int, rng: random.Random) -> Address:
    """A mint in each block, a few of them for the provider that is given back."""
    others = [Address(rng.randbytes(20)) for _ in range(PROVIDERS)]
    wanted = Address(rng.randbytes(20))
    wanted_heights = frozenset(rng.sample(range(2, blocks + 2), WANTED_MINTS))
    chain.add_payers(1)
    for height in range(2, blocks + 2):
        chain.add_mint(wanted if height in wanted_heights else rng.choice(others))
    return wanted


def _median_seconds(search: Callable[[], object]) -> float:
    seconds = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        search()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _scan_seconds(ledger: Ledger, wanted: LogFilter, *, expected: int) -> float:
    """Once: it takes seconds."""
    view, found = ledger.view(), 0
    started = time.perf_counter()
    for height in range(wanted.from_height, wanted.to_height + 1):
        encoded = view.results_at(height)
        assert encoded is not None
        results = decode_results(encoded)
        for index in range(len(results.encoded_results)):
            found += sum(wanted.matches(log) for log in results.result(index).logs)
    assert found == expected
    return time.perf_counter() - started
