"""What importing a block costs per transaction, beside the recovery of one signature.

Blocks are imported through `Ledger.import_block`, the way a follower does it: decoded, certificate checked, every
transaction executed, roots recomputed, and written with a synced batch.
"""

import random
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from chain.consensus.effects import Floor
from chain.node.caches import SignatureCache, TransactionCache
from chain.node.ledger import Ledger
from chain.node.runner import settle_interpreter
from chain.primitives import message_pack
from chain.primitives.certificate import VoteKind, assemble_certificate, sign_vote
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import MINT_WITH_RECEIPT, MINTER
from chain.primitives.network import AttesterAllowance, Network, Validator
from chain.primitives.receipt import attestation_digest
from chain.primitives.records import Account, Domain, state_key
from chain.primitives.transaction import Transaction, sign_transaction
from chain.primitives.types import ATOMS_PER_AIT, Address, Amount, Hash32
from chain.rules.genesis import genesis_block, genesis_changes
from chain.storage.store import CommittedBlock, Store
from tests.benchmarks.measuring import Reference, Table, measure

CHAIN_ID = 4_000_000_001
TRANSFERS = 5_000
MINTS = 1_000
FEW_ACCOUNTS = 10_000
MANY_ACCOUNTS = 1_000_000


class Chain:
    """A ledger whose accounts were put into the genesis state, as only a benchmark may."""

    def __init__(self, folder: Path, account_count: int, rng: random.Random) -> None:
        self.validator, self.attester = PrivateKey(b"\x01" * 32), PrivateKey(b"\x02" * 32)
        self.network = Network(
            chain_id=CHAIN_ID,
            name="benchmark",
            validators=(Validator(self.validator.address, self.validator.public_key),),
            attesters=(AttesterAllowance(self.attester.address, 2**200, 2**62),),
        )
        self.senders = [PrivateKey(rng.randbytes(32)) for _ in range(TRANSFERS)]
        others = [Address(rng.randbytes(20)) for _ in range(account_count - TRANSFERS)]
        self.addresses = [key.address for key in self.senders] + others
        self.nonces = [0] * TRANSFERS
        self.ledger = self._open(folder)

    def _open(self, folder: Path) -> Ledger:
        store = Store.open(folder, genesis_hash=self.network.genesis_hash, create=True)
        record = Account(0, Amount(10 * ATOMS_PER_AIT)).encode()
        changes = genesis_changes(self.network)
        changes |= {state_key(Domain.ACCOUNT, address): record for address in self.addresses}
        pending = store.prepare(changes, on=store.view())
        block = genesis_block(self.network, pending.state_root)
        results = message_pack.encode(([], [], []))
        store.commit(CommittedBlock(block.header, block.encode(), [], results, None), pending)
        return Ledger(store, self.network)

    def transfers(self, rng: random.Random) -> list[Transaction]:
        """One transfer from each sender to distinct recipients, so that a block touches 10,000 accounts if it can."""
        recipients = rng.sample(self.addresses, TRANSFERS)
        transactions = []
        for index, (key, recipient) in enumerate(zip(self.senders, recipients, strict=True)):
            transactions.append(
                sign_transaction(key, chain_id=CHAIN_ID, nonce=self.nonces[index], to=recipient, value=1 + index)
            )
            self.nonces[index] += 1
        return transactions

    def mints(self, rng: random.Random) -> list[Transaction]:
        """One mint each by the first senders for themselves."""
        transactions = []
        for index, key in enumerate(self.senders[:MINTS]):
            receipt_hash = Hash32(rng.randbytes(32))
            signature = self.attester.sign(attestation_digest(key.address, ATOMS_PER_AIT, receipt_hash))
            call = MINT_WITH_RECEIPT.encode(key.address, ATOMS_PER_AIT, receipt_hash, signature)
            transactions.append(
                sign_transaction(key, chain_id=CHAIN_ID, nonce=self.nonces[index], to=MINTER, data=call)
            )
            self.nonces[index] += 1
        return transactions

    def import_timed(self, transactions: Sequence[Transaction], *, known: bool) -> float:
        """Seconds to import a block of these, with no signature seen before or with all of them known."""
        ledger = self.ledger
        time_ms = max(1_700_000_000_000, ledger.head.time_ms + 1_000)
        candidate = ledger.propose(transactions, proposer=self.validator.address, time_ms=time_ms)
        assert len(candidate.outcome.results) == len(transactions)
        assert all(result.status for result in candidate.outcome.results)
        block, certificate = candidate.block.encode(), self._certificate(candidate.block.header.hash, ledger.floor())
        if not known:
            ledger.signatures, ledger.transactions = SignatureCache(), TransactionCache()
        else:
            for transaction in transactions:
                ledger.transactions.decode(transaction.raw)  # As the mempool did when it took them in.
        started = time.perf_counter()
        ledger.import_block(block, certificate)
        return time.perf_counter() - started

    def _certificate(self, block_hash: Hash32, floor: Floor) -> bytes:
        view = floor.view + 1
        vote = sign_vote(
            self.validator,
            genesis_hash=self.network.genesis_hash,
            signer=0,
            kind=VoteKind.FINALIZE,
            epoch=0,
            view=view,
            parent_view=floor.view,
            block_hash=block_hash,
        )
        return message_pack.encode(assemble_certificate([vote]))


def import_fresh(
    chain: Chain, make: Callable[[random.Random], list[Transaction]], rng: random.Random, known: bool
) -> float:
    """Seconds to import a block of newly made transactions."""
    return chain.import_timed(make(rng), known=known)


def importing(rounds: int, many_accounts: int, folder: Path) -> Table:
    """All figures of blocks that are imported."""
    rng = random.Random(20261122)
    reference = Reference(rng)
    few = Chain(folder / "few", FEW_ACCOUNTS, rng)
    settle_interpreter()  # As a node does when it starts.
    recovery, rows = _beside_recoveries(few, reference, rounds, rng)
    many = Chain(folder / "many", many_accounts, rng)
    settle_interpreter()
    rows += _beside_few_accounts(few, many, rounds, rng)
    few.ledger.close()
    many.ledger.close()
    first = ("one recovery by coincurve alone", f"{recovery * 1e6:.1f}", "1.00", "itself", "")
    return Table(
        f"Blocks imported, medians of {rounds} rounds",
        ("what", "µs per transaction", "ratio", "to", "goal"),
        (first, *rows),
    )


def _beside_recoveries(
    few: Chain, reference: Reference, rounds: int, rng: random.Random
) -> tuple[float, list[tuple[str, ...]]]:
    """Seconds of one recovery, and the rows."""
    rows: list[tuple[str, ...]] = []
    recovery = 0.0
    for name, count, signatures, make in (
        ("transfers", TRANSFERS, 1, few.transfers),
        ("mints", MINTS, 2, few.mints),
    ):
        for known, label, goal in (
            (False, "signatures not seen before", "at least 0.35, aim 0.5"),
            (True, "signatures checked at admission", "at least 0.8"),
        ):
            seconds, recovery = measure(partial(import_fresh, few, make, rng, known), reference, rounds)
            ratio = signatures * count * recovery / seconds
            microseconds = seconds / count * 1e6
            rows.append((f"{count:,} {name}, {label}", f"{microseconds:.1f}", f"{ratio:.2f}", "recovery rate", goal))
    return recovery, rows


def _beside_few_accounts(few: Chain, many: Chain, rounds: int, rng: random.Random) -> list[tuple[str, ...]]:
    ratios: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for _ in range(rounds):  # In turn, so that a drift of the machine's speed meets both alike.
        for known in (False, True):
            pair = [chain.import_timed(chain.transfers(rng), known=known) for chain in (few, many)]
            ratios[known].append((pair[1], pair[1] / pair[0]))
    return [
        (
            f"{TRANSFERS:,} transfers among {len(many.addresses):,} accounts, signatures {label}",
            f"{statistics.median(seconds for seconds, _ in ratios[known]) / TRANSFERS * 1e6:.1f}",
            f"{statistics.median(ratio for _, ratio in ratios[known]):.2f}",
            f"cost among {FEW_ACCOUNTS:,}",
            "at most 1.5",
        )
        for known, label in ((False, "not seen before"), (True, "checked at admission"))
    ]
