"""An account of a cluster that mints for itself and pays strangers, one transaction at a time or many."""

import random

from chain.client import NodeClient
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import MINT_WITH_RECEIPT, MINTER
from chain.primitives.receipt import attestation_digest
from chain.primitives.transaction import Transaction, sign_transaction
from chain.primitives.types import ATOMS_PER_AIT, Address, Hash32
from tests.processes.cluster import Cluster

_FINAL_S = 60.0


class Payer:
    """Signs each of its nonces once."""

    def __init__(self, cluster: Cluster, rng: random.Random | None = None) -> None:
        """`rng` draws keys and payees; without one, they differ from run to run."""
        self._cluster = cluster
        self._rng = rng or random.Random()
        self.key = PrivateKey(self._rng.randbytes(32))
        self._nonce = 0

    def mint(self) -> Transaction:
        """One AIT for itself."""
        receipt_hash = Hash32(self._rng.randbytes(32))
        address = self.key.address
        attestation = self._cluster.attester.sign(attestation_digest(address, ATOMS_PER_AIT, receipt_hash))
        return self._sign(MINTER, data=MINT_WITH_RECEIPT.encode(address, ATOMS_PER_AIT, receipt_hash, attestation))

    def transfer(self) -> Transaction:
        """One atom to somebody new."""
        return self._sign(Address(self._rng.randbytes(20)), value=1)

    def settle_mint(self, client: NodeClient, timeout_s: float = _FINAL_S) -> int:
        """Hands a mint in and waits until it is final; its height."""
        mint = self.mint()
        client.send_transaction(mint.raw)
        found = client.wait_for_transaction(mint.hash, timeout_s=timeout_s, poll_interval_s=0.02)
        assert found.status == "success"
        assert found.height is not None
        return found.height

    def _sign(self, to: Address, *, value: int = 0, data: bytes = b"") -> Transaction:
        nonce, self._nonce = self._nonce, self._nonce + 1
        chain_id = self._cluster.network.chain_id
        return sign_transaction(self.key, chain_id=chain_id, nonce=nonce, to=to, value=value, data=data)
