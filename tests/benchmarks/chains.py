"""Chains made without a network: every block proposed, executed and committed, with a quorum's real signatures."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from chain.node.folder import NodeFolder
from chain.node.ledger import Ledger
from chain.primitives.certificate import Certificate, VoteKind, assemble_certificate, quorum, sign_vote
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import MINT_WITH_RECEIPT, MINTER
from chain.primitives.network import AttesterAllowance, Network, Validator, network_to_toml
from chain.primitives.receipt import attestation_digest
from chain.primitives.transaction import Transaction, sign_transaction
from chain.primitives.types import ATOMS_PER_AIT, Address, Hash32

CHAIN_ID: Final = 4_000_000_003
_START_MS: Final = 1_700_000_000_000
_SYNC_EVERY: Final = 500


class MadeChain:
    """A node's folder whose chain grows as fast as one thread can make it. Close it before a node opens it."""

    def __init__(self, folder: Path, *, validators: int, rng: random.Random) -> None:
        self._rng = rng
        self._keys = [PrivateKey(rng.randbytes(32)) for _ in range(validators)]
        self._attester = PrivateKey(rng.randbytes(32))
        self.network = Network(
            chain_id=CHAIN_ID,
            name="made",
            validators=tuple(Validator(key.address, key.public_key) for key in self._keys),
            attesters=(AttesterAllowance(self._attester.address, 2**200, 2**62),),
        )
        self.folder = NodeFolder.create(folder, network_to_toml(self.network))
        self.ledger = Ledger.open(self.folder.chain, self.network, create=True)
        self._payers: list[PrivateKey] = []
        self._nonces: list[int] = []

    def add_empty_blocks(self, count: int) -> None:
        """Heartbeats."""
        for _ in range(count):
            self._add_block(())

    def add_payers(self, count: int) -> None:
        """Accounts that hold something, minted in one block."""
        fresh = [PrivateKey(self._rng.randbytes(32)) for _ in range(count)]
        mints = []
        for key in fresh:
            call = self._mint_call(key.address, ATOMS_PER_AIT)
            mints.append(sign_transaction(key, chain_id=CHAIN_ID, nonce=0, to=MINTER, data=call))
        self._add_block(mints)
        self._payers += fresh
        self._nonces += [1] * count

    def add_mint(self, provider: Address) -> None:
        """A block with a mint for a provider, sent by the first payer."""
        call = self._mint_call(provider, 1)
        mint = sign_transaction(self._payers[0], chain_id=CHAIN_ID, nonce=self._nonces[0], to=MINTER, data=call)
        self._nonces[0] += 1
        self._add_block((mint,))

    def _mint_call(self, provider: Address, amount: int) -> bytes:
        receipt_hash = Hash32(self._rng.randbytes(32))
        attestation = self._attester.sign(attestation_digest(provider, amount, receipt_hash))
        return MINT_WITH_RECEIPT.encode(provider, amount, receipt_hash, attestation)

    def add_transfers(self, count: int) -> None:
        """A block of transfers to strangers, by all payers in turn."""
        transfers = []
        for index in range(count):
            payer = index % len(self._payers)
            transfers.append(
                sign_transaction(
                    self._payers[payer],
                    chain_id=CHAIN_ID,
                    nonce=self._nonces[payer],
                    to=Address(self._rng.randbytes(20)),
                    value=1,
                )
            )
            self._nonces[payer] += 1
        self._add_block(transfers)

    def _add_block(self, transactions: Sequence[Transaction]) -> None:
        head = self.ledger.head
        proposer = self._keys[(head.height + 1) % len(self._keys)].address
        time_ms = max(_START_MS, head.time_ms + 500)
        candidate = self.ledger.propose(transactions, proposer=proposer, time_ms=time_ms)
        assert len(candidate.outcome.transactions) == len(transactions)
        header = candidate.block.header
        certificate = self._certificate(header.hash)
        self.ledger.commit(
            candidate,
            certificate,
            self.ledger.floor_after(candidate, certificate),
            sync=header.height % _SYNC_EVERY == 0,
        )

    def _certificate(self, block_hash: Hash32) -> Certificate:
        floor = self.ledger.floor()
        return finality_certificate(
            self._keys,
            genesis_hash=self.network.genesis_hash,
            view=floor.view + 1,
            parent_view=floor.view,
            block_hash=block_hash,
        )

    def close(self) -> None:
        """Frees the folder."""
        self.ledger.close()


def finality_certificate(
    keys: Sequence[PrivateKey], *, genesis_hash: Hash32, view: int, parent_view: int, block_hash: Hash32
) -> Certificate:
    """Of a quorum of these validators, in epoch 0."""
    votes = [
        sign_vote(
            key,
            genesis_hash=genesis_hash,
            signer=index,
            kind=VoteKind.FINALIZE,
            epoch=0,
            view=view,
            parent_view=parent_view,
            block_hash=block_hash,
        )
        for index, key in enumerate(keys[: quorum(len(keys))])
    ]
    return assemble_certificate(votes)
