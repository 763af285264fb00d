"""The example in docs/protocol.md, section Escrow, step by step: each row says what the chain says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from chain.primitives.escrow import DEPOSIT_OF, MAX_DEPOSIT_S, MAX_DEPOSITS, NOTICE_S, SETTLE_WINDOW_S
from chain.primitives.hexadecimal import format_ait
from chain.primitives.modules import ESCROW
from chain.primitives.rejection import Rejected
from chain.primitives.settlement import SETTLE_TYPE
from chain.primitives.types import ATOMS_PER_AIT, Hash32
from chain.rules.attesting import MAX_SHARES
from tests.chain.rules.escrow import paid_jobs

if TYPE_CHECKING:
    from chain.primitives.transaction import Transaction
    from tests.chain.rules.conftest import Chain

PROTOCOL = (Path(__file__).parents[4] / "docs" / "protocol.md").read_text()
PAGE = PROTOCOL.partition("\n## Escrow\n")[2].partition("\n## ")[0]
TENTH = ATOMS_PER_AIT // 10
DAY_MS = 86_400_000


def test_the_numbers_of_the_text() -> None:
    assert SETTLE_TYPE in PAGE
    for stated in (f"at most {MAX_DEPOSIT_S // 86_400} days ahead", f"at most {MAX_DEPOSITS} audiences"):
        assert stated in PAGE
    assert f"from {NOTICE_S // 86_400} days after" in PAGE
    assert f"{SETTLE_WINDOW_S // 86_400} days after the request's `expiry`" in PAGE
    assert f"1 to {MAX_SHARES} providers" in PAGE


def test_the_example(chain: Chain) -> None:
    table = PAGE.partition("| step |")[2].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table if line.startswith("|")]
    chain.give("ann", amount=200 * ATOMS_PER_AIT)
    chain.give("anybody")
    started_ms = chain.next_block.time_ms
    first, second, third = (
        paid_jobs.request(chain, number, max_price=maximum * ATOMS_PER_AIT)
        for number, maximum in ((1, 5), (2, 5), (3, 50))
    )
    receipt = Hash32(b"\x01" * 32)
    paid = paid_jobs.settlement(
        chain,
        first,
        [("one", 24 * TENTH), ("two", 16 * TENTH)],
        client="ann",
        fee=("hub", 5 * TENTH),
        receipt_hash=receipt,
    )
    again = paid_jobs.settlement(chain, first, [("one", 24 * TENTH)], client="ann")
    dear = paid_jobs.settlement(chain, second, [("one", 51 * TENTH)], client="ann")
    large = paid_jobs.settlement(chain, third, [("one", 50 * ATOMS_PER_AIT)], client="ann")
    deadline = started_ms // 1_000 + 30 * 86_400

    def step(transaction: Transaction, time_ms: int | None = None) -> list[str]:
        """What the row must say: deposit, asked for, and why it was refused or failed."""
        proposal = chain.build(transaction, time_ms=time_ms)
        chain.adopt(proposal)
        whys = [*(why for _, why in proposal.rejected), *proposal.outcome.failures]
        reasons = [f"`{why.reason}`" for why in whys if isinstance(why, Rejected)]
        answer = chain.raw_view(ESCROW, DEPOSIT_OF.encode(chain.address("ann"), paid_jobs.HUB))
        balance, _deadline, withdrawal, _from = DEPOSIT_OF.decode_output(answer)
        return [format_ait(balance), format_ait(withdrawal), *(reasons or [""])]

    said = [step(paid_jobs.deposit(chain, "ann", 100 * ATOMS_PER_AIT, deadline=deadline))]
    said.append(step(paid_jobs.send(chain, "anybody", paid)))
    said.append(step(paid_jobs.send(chain, "anybody", again)))
    said.append(step(chain.mint("anybody", "one", 4 * ATOMS_PER_AIT, receipt)))
    said.append(step(paid_jobs.send(chain, "anybody", dear)))
    asked_ms = chain.next_block.time_ms
    said.append(step(paid_jobs.ask(chain, "ann", 60 * ATOMS_PER_AIT)))
    said.append(step(paid_jobs.send(chain, "anybody", large)))
    said.append(step(paid_jobs.deposit(chain, "ann", 10 * ATOMS_PER_AIT, deadline=deadline)))
    said.append(step(paid_jobs.withdraw(chain, "ann"), asked_ms + 3 * DAY_MS - 1_000))
    said.append(step(paid_jobs.withdraw(chain, "ann"), asked_ms + 3 * DAY_MS))
    said.append(step(paid_jobs.refund(chain, "anybody", "ann"), deadline * 1_000))
    assert [row[1:] for row in rows] == said
    assert [chain.balance(name) for name in ("two", "hub")] == [16 * TENTH, 5 * TENTH]
    assert chain.balance("one") == 24 * TENTH + 50 * ATOMS_PER_AIT
