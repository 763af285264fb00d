"""Transactions on an EVM chain: planned, priced, shown, signed, sent, and followed into a block.

A step that was killed between sending and hearing of it is simply taken again: while its transaction is in no block,
the new one takes its nonce and offers a quarter more, so that only one of them can ever be in a block.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import Signer
from chain.primitives.modules import TOKEN_ALLOWANCE, TOKEN_APPROVE, TOKEN_TRANSFER
from chain.primitives.transaction import MAX_CHAIN_ID, MAX_GAS_LIMIT, Transaction, sign_transaction
from chain.primitives.types import ZERO_ADDRESS, Address
from wallet.swaps.json_rpc import JsonRpc, RpcRefused, RpcUnavailable
from wallet.swaps.reading import ETHER, read_balance, read_number
from wallet.swaps.store import SentOffer
from wallet.swaps.terms import Lock

CONTRACT: Final = Address(bytes.fromhex("0f4f1421f6e1df9e92db9f7dcc739dd023584dec"))
"""Where `tests/contracts/HashTimeLock.sol` is on every chain: what the deterministic deployment proxy
(0x4e59b44847b379578588920cA78FbF26c0B4956C) makes with salt 0 of what `solc --no-cbor-metadata --bin`, 0.8.37, prints.

Such an address (EIP-1014, CREATE2) is made of the code that ran when the contract was created. To compare the code that
is there would not do: its maker could have put a swap into its storage before, to be claimed out of what others lock.
"""
CODE_HASH: Final = bytes.fromhex("f4bd79dbd40f12c10eda0a89288e4dacc31afc84c724f9c59ed944224f8675f2")
"""Keccak-256 of the code that is there once it was made."""

CLAIM_GAS: Final = 200_000
"""What a claim or a refund costs at most, with tokens that do more than they must."""
_GAS_SLACK: Final = (6, 5)  # What a transaction costs depends on what else is in its block.
_FALLBACK_TIP: Final = 10**9
_MAX_FEE_PER_GAS: Final = 2**64
_POLL_S: Final = 0.5


class NotMinedYet(Exception):
    """A transaction was sent, and is in no block yet."""


class OtherDraft(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction before its user has agreed to it."""

    chain_id: int
    sender: Address
    to: Address
    value: int
    call_data: bytes
    gas: int
    offer: SentOffer
    details: tuple[tuple[str, str], ...]
    """What it does, in words."""

    @property
    def highest_fee(self) -> int:
        """Wei."""
        return self.gas * self.offer.max_fee

    def lines(self) -> list[tuple[str, str]]:
        """Label and text of everything that the signature will say."""
        return [
            *self.details,
            ("from", to_checksum_address(self.sender)),
            ("contract", to_checksum_address(self.to)),
            ("ether sent", ETHER.format(self.value)),
            ("fee", f"at most {ETHER.format(self.highest_fee)}"),
            ("network", f"the other chain (chain id {self.chain_id})"),
            ("nonce", str(self.offer.nonce)),
        ]

    def sign(self, key: Signer) -> Transaction:
        """With its sender's key."""
        assert key.address == self.sender
        return sign_transaction(
            key,
            chain_id=self.chain_id,
            nonce=self.offer.nonce,
            to=self.to,
            value=self.value,
            data=self.call_data,
            gas_limit=self.gas,
            max_fee=self.offer.max_fee,
            max_priority_fee=self.offer.max_priority_fee,
        )


class OtherChain:
    """One EVM chain through one node."""

    def __init__(self, rpc: JsonRpc) -> None:
        self.rpc = rpc

    def chain_id(self) -> int:
        """Which chain it is."""
        found = self.rpc.quantity("eth_chainId")
        if not 1 <= found <= MAX_CHAIN_ID:
            raise RpcRefused(f"this wallet signs for chains up to {MAX_CHAIN_ID}, not for {found}")
        return found

    def check_contract(self, contract: Address) -> None:
        """Raises RpcRefused unless it is the HashTimeLock that this wallet knows, and is there."""
        if contract != CONTRACT:
            raise RpcRefused(
                f"{to_checksum_address(contract)} is no HashTimeLock as this wallet knows it: nothing is locked where "
                "somebody else may hold the key"
            )
        if keccak256(self.rpc.octets("eth_getCode", to_hex(contract), "latest")) != CODE_HASH:
            raise RpcRefused(
                f"the other chain has no HashTimeLock at {to_checksum_address(contract)} yet: anybody can put it there "
                "(docs/wallet.md says how)"
            )

    def check_payment(self, lock: Lock) -> None:
        """Raises RpcRefused unless the contract could pay the recipient now: a token may be paused, or refuse somebody.

        The payment alone is tried: a whole claim would show the secret to the node.
        """
        pay = TOKEN_TRANSFER.encode(lock.recipient, lock.value)
        to, value, call_data = (lock.asset, 0, pay) if lock.asset != ZERO_ADDRESS else (lock.recipient, lock.value, b"")
        call = {"from": to_hex(lock.contract), "to": to_hex(to), "value": hex(value), "data": to_hex(call_data)}
        try:
            answer = self.rpc.octets("eth_call", call, "latest")
        except RpcRefused as refusal:
            raise RpcRefused(f"what you would get cannot be paid out to you now: {refusal}") from None
        if call_data and answer and not int.from_bytes(answer):
            raise RpcRefused("what you would get cannot be paid out to you now: the token refuses")

    def fees(self) -> tuple[int, int]:
        """Wei per gas: a maximum that bears a few full blocks, and the tip. Raises RpcRefused before EIP-1559."""
        base = self.rpc.block("latest").get("baseFeePerGas")
        if base is None:
            raise RpcRefused("the other chain has no base fee (EIP-1559): this wallet cannot price a transaction there")
        try:
            tip = self.rpc.quantity("eth_maxPriorityFeePerGas")
        except RpcRefused:
            tip = _FALLBACK_TIP
        max_fee = 2 * self.rpc.read_quantity(base) + tip
        if max_fee > _MAX_FEE_PER_GAS:
            raise RpcRefused(f"the other chain's node asks for {max_fee} wei per gas")
        return max_fee, tip

    def plan(
        self,
        sender: Address,
        to: Address,
        call_data: bytes,
        details: tuple[tuple[str, str], ...],
        *,
        value: int = 0,
        gas: int | None = None,
        previous: SentOffer | None = None,
    ) -> OtherDraft:
        """A draft that would succeed now; raises RpcRefused that says why it would not.

        With `gas` nothing is tried, and the node learns nothing of the call.
        """
        if gas is None:
            call = {"from": to_hex(sender), "to": to_hex(to), "value": hex(value), "data": to_hex(call_data)}
            estimate = self.rpc.quantity("eth_estimateGas", call, "latest")
            gas = min(estimate * _GAS_SLACK[0] // _GAS_SLACK[1], MAX_GAS_LIMIT)
        draft = OtherDraft(
            chain_id=self.chain_id(),
            sender=sender,
            to=to,
            value=value,
            call_data=call_data,
            gas=gas,
            offer=self._offer(sender, previous),
            details=details,
        )
        ether = read_balance(self.rpc, ZERO_ADDRESS, sender)
        if ether < value + draft.highest_fee:
            raise RpcRefused(
                f"{to_checksum_address(sender)} has {ETHER.format(ether)} on the other chain; this needs "
                f"{ETHER.format(value + draft.highest_fee)}"
            )
        return draft

    def _offer(self, sender: Address, previous: SentOffer | None) -> SentOffer:
        max_fee, tip = self.fees()
        if previous is not None:
            mined = self.rpc.quantity("eth_getTransactionCount", to_hex(sender), "latest")
            if previous.nonce >= mined:  # It may still come: this one takes its place.
                dearer = (previous.max_fee * 5 // 4 + 1, previous.max_priority_fee * 5 // 4 + 1)
                return SentOffer(previous.nonce, max(max_fee, dearer[0]), max(tip, dearer[1]))
        nonce = self.rpc.quantity("eth_getTransactionCount", to_hex(sender), "pending")
        return SentOffer(nonce, max_fee, tip)

    def check_reserve(self, owner: Address, value: int) -> None:
        """Raises RpcRefused unless there is ether for `value`, and for the fees of this step and the one after."""
        max_fee, _ = self.fees()
        needed = value + 2 * CLAIM_GAS * max_fee
        ether = read_balance(self.rpc, ZERO_ADDRESS, owner)
        if ether < needed:
            raise RpcRefused(
                f"{to_checksum_address(owner)} has {ETHER.format(ether)} on the other chain: with less than "
                f"{ETHER.format(needed)} it might not pay for the next step"
            )

    def send(self, transaction: Transaction) -> str:
        """Hands it in; its hash. What the node has already, or has in a block, counts as handed in."""
        try:
            self.rpc.call("eth_sendRawTransaction", to_hex(transaction.raw))
        except RpcRefused as refusal:
            if self._find("eth_getTransactionByHash", to_hex(transaction.hash)) is None:
                raise RpcRefused(f"the other chain's node refuses the transaction: {refusal}") from None
        return to_hex(transaction.hash)

    def wait(self, transaction_hash: str, timeout_s: float, on_progress: Callable[[float, str], None]) -> bool:
        """Whether it succeeded; raises NotMinedYet where it is in no block in time."""
        started = time.monotonic()
        while (waited_s := time.monotonic() - started) < timeout_s:
            receipt = self._find("eth_getTransactionReceipt", transaction_hash)
            if receipt is not None:
                return self.rpc.read_quantity(receipt.get("status")) == 1
            on_progress(waited_s, "pending")
            time.sleep(_POLL_S)
        raise NotMinedYet(
            f"transaction {transaction_hash} is in no block of the other chain yet; take the same step again to look, "
            "and to offer more"
        )

    def _find(self, method: str, transaction_hash: str) -> Mapping[str, Any] | None:
        found = self.rpc.call(method, transaction_hash)
        if found is not None and not isinstance(found, dict):
            raise RpcUnavailable(f"{self.rpc.what} does not answer {method} as a node does")
        return found

    def approvals(self, owner: Address, lock: Lock) -> list[tuple[int, bytes]]:
        """Amounts and calls of the token that let the contract take what is locked; none for ether.

        Some tokens only let an allowance be changed from or to 0.
        """
        if lock.asset == ZERO_ADDRESS:
            return []
        allowance = read_number(self.rpc, lock.asset, TOKEN_ALLOWANCE, owner, lock.contract)
        if allowance >= lock.value:
            return []
        amounts = [0, lock.value] if allowance else [lock.value]
        return [(amount, TOKEN_APPROVE.encode(lock.contract, amount)) for amount in amounts]
