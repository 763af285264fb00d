"""The oracle of finality: every certificate that makes a block final is valid, and all such blocks are on one chain.

It looks at certificates as soon as somebody honest sends or commits one; a fork may show there long before two nodes
have committed different blocks, or where nobody gets any further.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chain.primitives.block import Header
from chain.primitives.certificate import Certificate, VoteKind, verify_certificate
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address, Hash32
from tests.simulation.signatures import SignatureBook
from tests.simulation.violation import Violation

if TYPE_CHECKING:
    from tests.simulation.node import SimulatedNode


class FinalityOracle:
    """`sets` are the other oracles', who learn of epochs."""

    def __init__(self, sets: dict[int, tuple[Address, ...]], *, genesis_hash: Hash32, book: SignatureBook) -> None:
        self._sets = sets
        self._genesis_hash = genesis_hash
        self._book = book
        self._headers: dict[Hash32, Header] = {}
        self._final: dict[int, Hash32] = {}
        """By height: what is certified, and the ancestors that are known."""
        self._checked: dict[Certificate, None] = {}

    def learn(self, header: Header) -> None:
        """Somebody has a block of this header; its parent's hash is part of its own."""
        self._headers.setdefault(header.hash, header)

    def certified(self, node: SimulatedNode, certificate: Certificate) -> None:
        """An honest node takes a block for final."""
        if certificate in self._checked:
            return
        self._checked[certificate] = None
        if certificate.kind is not VoteKind.FINALIZE:
            raise Violation("certificates", f"{node.name} takes a {certificate.kind.name} for finality")
        try:
            verify_certificate(
                certificate,
                genesis_hash=self._genesis_hash,
                validators=self._sets[certificate.epoch],
                recover=self._book.recover,
            )
        except Rejected as rejected:
            raise Violation("certificates", f"{node.name}, view {certificate.view}: {rejected}") from None
        header = self._headers.get(certificate.block_hash)
        while header is not None:
            known = self._final.setdefault(header.height, header.hash)
            if known != header.hash:
                raise Violation("one chain", f"{node.name} knows a second final block of height {header.height}")
            parent = self._headers.get(header.parent_hash)
            if parent is not None and self._final.get(parent.height) == parent.hash:
                return
            header = parent
