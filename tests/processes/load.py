"""A steady stream of mints and transfers, sent like an anxious wallet: to any node, and again until it is final.

Each nonce is signed for once, so whatever happens there is exactly one right outcome: `expected_balances`.
"""

import random
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import httpx

from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import MINT_WITH_RECEIPT, MINTER
from chain.primitives.network import Network
from chain.primitives.receipt import attestation_digest
from chain.primitives.transaction import sign_transaction
from chain.primitives.types import ATOMS_PER_AIT, Address
from tests.processes.cluster import key_of

_MINT_ATOMS: Final = 10 * ATOMS_PER_AIT
_WINDOW: Final = 40
"""Transactions of one sender that may wait: what a node takes of its mints is 128."""
_ANSWER_S: Final = 2.0
_RESEND_S: Final = 1.5
_ASK_S: Final = 0.25
_MINT_SHARE: Final = 0.15


@dataclass(slots=True)
class _Waiting:
    """A signed transaction that is not known to be final."""

    raw: bytes
    signed_at: float


@dataclass(slots=True)
class Sender:
    """An account whose key only the load has."""

    key: PrivateKey
    nonce: int = 0
    final_nonce: int = 0
    waiting: deque[_Waiting] = field(default_factory=deque)
    sent_at: float = 0.0
    """When all that waits was handed in last."""


class Load:
    """A thread that keeps the network busy from `start` to `drain`."""

    def __init__(
        self,
        network: Network,
        urls: Sequence[str],
        *,
        rng: random.Random,
        name: str = "load",
        senders: int = 8,
        per_second: float = 30.0,
    ) -> None:
        """`name` tells the accounts of one load from those of another on the same chain."""
        self._network = network
        self._clients = [httpx.Client(base_url=url, timeout=_ANSWER_S, trust_env=False) for url in urls]
        self._rng = rng
        self._name = name
        self._attester = key_of("attester")
        self._per_second = per_second
        self.senders = [Sender(key_of(f"{name} {index}")) for index in range(senders)]
        self._payees = [Address(rng.randbytes(20)) for _ in range(senders)]
        self.minted_atoms = 0
        self.expected_balances: dict[Address, int] = {}
        """What everybody has to hold once all that was signed is final."""
        self.seconds_to_final: list[float] = []
        self.violations: list[str] = []
        self._receipts = 0
        self._is_signing = True
        self._must_end = False
        self._thread = threading.Thread(target=self._run, name=name)

    def start(self) -> Self:
        """Begins."""
        self._thread.start()
        return self

    @property
    def signed(self) -> int:
        """How many transactions there are."""
        return sum(sender.nonce for sender in self.senders)

    @property
    def final(self) -> int:
        """How many of them are known to be final."""
        return sum(sender.final_nonce for sender in self.senders)

    def drain(self, timeout_s: float) -> None:
        """Signs no more, and returns when all is final; fails the test where that takes longer."""
        self._is_signing = False
        self._thread.join(timeout_s)
        self._must_end = True
        self._thread.join()
        for client in self._clients:
            client.close()
        assert self.final == self.signed, f"{self.signed - self.final} of {self.signed} transactions are not final"

    def close(self) -> None:
        """For the end of a test: ends at once."""
        self._must_end = True
        if self._thread.is_alive():
            self._thread.join()

    # The thread

    def _run(self) -> None:
        due = asked = time.monotonic()
        while not self._must_end and (self._is_signing or self.final < self.signed):
            now = time.monotonic()
            if self._is_signing and now >= due:
                due = max(due + 1 / self._per_second, now - 1.0)
                self._sign_one(self._rng.choice(self.senders))
            if now - asked >= _ASK_S:
                asked = now
                self._ask_and_resend()
            time.sleep(min(max(0.0, due - time.monotonic()), 0.01) if self._is_signing else 0.02)

    def _sign_one(self, sender: Sender) -> None:
        if len(sender.waiting) >= _WINDOW:
            return
        # A sender without coins may have one mint waiting, so nobody's mempool calls it a newcomer's transfer.
        if sender.final_nonce == 0:
            if sender.nonce == 0:
                self._sign_mint(sender)
        elif self._rng.random() < _MINT_SHARE:
            self._sign_mint(sender)
        else:
            self._sign_transfer(sender)

    def _sign_mint(self, sender: Sender) -> None:
        self._receipts += 1
        receipt_hash = keccak256(f"{self._name} receipt {self._receipts}".encode())
        address = sender.key.address
        attestation = self._attester.sign(attestation_digest(address, _MINT_ATOMS, receipt_hash))
        call = MINT_WITH_RECEIPT.encode(address, _MINT_ATOMS, receipt_hash, attestation)
        self.minted_atoms += _MINT_ATOMS
        self._credit(address, _MINT_ATOMS)
        self._sign(sender, to=MINTER, data=call)

    def _sign_transfer(self, sender: Sender) -> None:
        others = [each.key.address for each in self.senders if each is not sender]
        payee = self._rng.choice(self._payees + others)
        atoms = self._rng.randrange(1, 10**12)
        self._credit(sender.key.address, -atoms)
        self._credit(payee, atoms)
        self._sign(sender, to=payee, value=atoms)

    def _credit(self, address: Address, atoms: int) -> None:
        self.expected_balances[address] = self.expected_balances.get(address, 0) + atoms

    def _sign(self, sender: Sender, **fields: Any) -> None:
        signed = sign_transaction(sender.key, chain_id=self._network.chain_id, nonce=sender.nonce, **fields)
        sender.nonce += 1
        sender.waiting.append(_Waiting(signed.raw, time.monotonic()))
        self._send([signed.raw])

    def _ask_and_resend(self) -> None:
        client = self._rng.choice(self._clients)
        for sender in self.senders:
            if not sender.waiting:
                continue
            try:
                account = client.get(f"/v1/accounts/{to_checksum_address(sender.key.address)}").json()
            except (httpx.HTTPError, ValueError):
                return  # Down or cut off; another one is asked soon.
            self._note_final(sender, account.get("nonce", 0))
            now = time.monotonic()
            if sender.waiting and now - max(sender.sent_at, sender.waiting[0].signed_at) > _RESEND_S:
                sender.sent_at = now
                self._send([each.raw for each in sender.waiting])

    def _note_final(self, sender: Sender, nonce: int) -> None:
        if nonce > sender.nonce:
            self.violations.append(f"nonce {nonce} of {sender.key.address.hex()}, who signed for {sender.nonce}")
        for _ in range(min(nonce, sender.nonce) - sender.final_nonce):
            self.seconds_to_final.append(time.monotonic() - sender.waiting.popleft().signed_at)
            sender.final_nonce += 1

    def _send(self, raws: Sequence[bytes]) -> None:
        client = self._rng.choice(self._clients)
        try:
            answer = client.post("/v1/transactions", json={"transactions": [to_hex(raw) for raw in raws]})
            results = answer.json().get("results", [])
        except (httpx.HTTPError, ValueError):
            return  # As for any wallet: it is sent again.
        for entry in results:
            # Each nonce was signed for once, and what is in a block is known by its hash.
            if entry["reason"] == "nonce_too_low":
                self.violations.append(f"a nonce was used up by another transaction: {entry['detail']}")
