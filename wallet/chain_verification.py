"""What a node's word adds to the checks of a receipt: the chain, its attesters, the mint.

The node is believed here; proofs that need no belief are the light client's.
"""

from chain.answers import ReceiptView, StatusView
from chain.client import NodeClient
from chain.primitives.hexadecimal import parse_hex, to_checksum_address
from chain.primitives.receipt import Receipt
from chain.primitives.rejection import Rejected
from wallet.sending import find_receipt
from wallet.verification import Check, Document, check_attesters, recover_attesters


def check_on_chain(document: Document, client: NodeClient, status: StatusView) -> list[Check]:
    """Chain id, attesters and mint of a receipt, as the node sees them; raises NodeUnavailable."""
    receipt = document.receipt
    if receipt.chain_id != status.chain_id:
        return [
            Check("chain_id", False, f"the receipt is of chain {receipt.chain_id}, the node's is {status.chain_id}")
        ]
    minted = find_receipt(client, receipt.hash)
    checks = [Check("chain_id", True, f"{status.network} ({status.chain_id})"), _check_mint(receipt, minted)]
    if minted is not None and minted.settlement is not None:  # By whom, over what: the chain has looked at all of it.
        return [*checks, Check("attesters", True, f"the chain accepted {', '.join(minted.attesters)}")]
    attestation = None if document.is_settlement else document.attestation
    if attestation is None and minted is not None:
        attestation = parse_hex(minted.attestation, field="attestation")
    if attestation is not None:
        listed = client.attesters()
        try:
            attesters = recover_attesters(receipt, attestation)
        except Rejected as refusal:
            checks.append(Check("attesters", False, refusal.message))
        else:
            # Attesters come and go; the list of today does not undo a mint of last year.
            was_minted = minted is not None and {*minted.attesters} == {*map(to_checksum_address, attesters)}
            names = [attester.address for attester in listed.attesters]
            checks.append(check_attesters(attesters, names, listed.threshold, was_minted=was_minted))
    return checks


def _check_mint(receipt: Receipt, minted: ReceiptView | None) -> Check:
    if minted is None:
        return Check("mint", None, "not minted yet")
    where = f"in block {minted.height}, transaction {minted.transaction_hash}"
    used = "minted" if minted.settlement is None else f"settled from the deposit of {minted.settlement.client},"
    asked = {to_checksum_address(provider): int(atoms) for provider, atoms in receipt.payouts()}
    shares = {share.provider: int(share.units) for share in minted.shares} or {minted.provider: int(minted.units)}
    if shares != asked:
        return Check("mint", False, f"{used} {minted.units} atoms for {minted.provider} {where}: not what it asks for")
    if not minted.finalized:
        return Check("mint", None, f"{used} {where}, not final yet")
    split = f", split between {len(shares)} providers" if len(shares) > 1 else ""
    return Check("mint", True, f"{used} {where}{split}")
