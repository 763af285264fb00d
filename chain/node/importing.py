"""Ranges taken in one after another, without an engine: what benchmarks and tests replay chains with."""

from chain.consensus.messages import Range
from chain.node.ledger import Candidate, Ledger
from chain.node.ranges import open_range
from chain.primitives.block import Block
from chain.primitives.certificate import Certificate
from chain.primitives.rejection import Rejected, RejectionReason
from chain.storage.records import Head


def import_range(ledger: Ledger, range_: Range, *, sync: bool = True) -> Head:
    """Checks certificates, headers, transactions and roots, and commits up to each certified block.

    Raises Rejected, with everything before the fault's certified block committed, and StorageError.
    """
    blocks: list[Block] = []
    for block, certificate in open_range(range_):
        blocks.append(block)
        if certificate is not None:
            _import_blocks(ledger, blocks, certificate, sync=sync)
            blocks.clear()
    if blocks:
        raise Rejected(RejectionReason.BAD_CERTIFICATE, f"block {blocks[-1].header.height} has no certificate")
    return ledger.head


def _import_blocks(ledger: Ledger, blocks: list[Block], certificate: Certificate, *, sync: bool) -> None:
    """Blocks that one certificate over the last of them makes final."""
    ledger.check_certificate(blocks[-1].header, certificate)
    executed: list[Candidate] = []
    for block in blocks:
        executed.append(ledger.execute(block, on=executed[-1] if executed else None))
    for candidate in executed[:-1]:
        ledger.commit(candidate, None, ledger.floor_after(candidate, None), sync=sync)
    ledger.commit(executed[-1], certificate, ledger.floor_after(executed[-1], certificate), sync=sync)
