"""What the tests of the rules share: a chain in memory, with named people, real signatures and real blocks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
import pytest

from chain.primitives import modules
from chain.primitives.abi import Function
from chain.primitives.authorization import (
    Authorization,
    AuthorizationKind,
    authorization_digest,
    cancellation_digest,
)
from chain.primitives.block import Block, Header, transactions_root
from chain.primitives.certificate import quorum
from chain.primitives.hashing import keccak256
from chain.primitives.keys import PrivateKey, recover_address
from chain.primitives.network import AttesterAllowance, Network, Validator
from chain.primitives.parameters import Parameters
from chain.primitives.receipt import attestation_digest, mint_split_digest
from chain.primitives.records import Domain, state_key
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.transaction import Transaction, sign_transaction
from chain.primitives.types import ATOMS_PER_AIT, Address, Hash32
from chain.rules.block import Proposal, apply_block, propose_block
from chain.rules.call import BlockContext
from chain.rules.execution import BlockExecution, BlockOutcome
from chain.rules.genesis import genesis_block, genesis_changes
from chain.rules.state import State
from chain.rules.views import call_view

CHAIN_ID = 3_141_592_653
BLOCK_TIME_MS = 1_000
ALLOWANCE = (1_000_000 * ATOMS_PER_AIT, 100_000)


@cache
def key_of(name: str) -> PrivateKey:
    """The same key for the same name in every run."""
    return PrivateKey(keccak256(name.encode()))


@cache
def _recover(digest: Hash32, signature: bytes) -> Address:
    return recover_address(digest, signature)


class MemoryState:
    """A state in a dictionary. Its root is a hash over all records in order: as telling as the tree's, and simple."""

    def __init__(self, records: Mapping[bytes, bytes]) -> None:
        self.records = dict(records)

    def get(self, state_key: bytes) -> bytes | None:
        """The record, or None."""
        return self.records.get(state_key)

    def with_changes(self, changes: Mapping[bytes, bytes | None]) -> MemoryState:
        """A state after these changes; this one stays."""
        records = {**self.records, **changes}
        return MemoryState({key: record for key, record in records.items() if record is not None})

    def root(self, changes: Mapping[bytes, bytes | None]) -> Hash32:
        """Root of the state after these changes."""
        digest = hashlib.sha256()
        for key, record in sorted(self.with_changes(changes).records.items()):
            digest.update(len(key).to_bytes(4, "big") + key + len(record).to_bytes(4, "big") + record)
        return Hash32(digest.digest())


class Chain:
    """A network whose blocks are proposed, checked and adopted here. People are named: one name, one key."""

    def __init__(
        self,
        *,
        validators: int = 1,
        attesters: Mapping[str, tuple[int, int]] | None = None,
        **parameters: int,
    ) -> None:
        self.validators = [f"validator-{index}" for index in range(validators)]
        keys = [key_of(name) for name in self.validators]
        allowances = attesters or {"attester": ALLOWANCE}
        self.network = Network(
            chain_id=CHAIN_ID,
            name="test",
            validators=tuple(Validator(key.address, key.public_key) for key in keys),
            attesters=tuple(
                AttesterAllowance(key_of(name).address, atoms, receipts)
                for name, (atoms, receipts) in allowances.items()
            ),
            parameters=Parameters.from_mapping(parameters),
        )
        self.state = MemoryState({}).with_changes(genesis_changes(self.network))
        self.head: Header = genesis_block(self.network, self.state.root({})).header
        self._receipts = 0

    # People and what the state says of them

    def address(self, name: str) -> Address:
        """A person's address."""
        return key_of(name).address

    def key(self, name: str) -> PrivateKey:
        """A person's key."""
        return key_of(name)

    def read(self) -> State:
        """Typed access to the state as it is."""
        return State(self.state)

    def balance(self, name: str) -> int:
        """Atoms that somebody holds."""
        return self.read().account(self.address(name)).balance

    def nonce(self, name: str) -> int:
        """Somebody's next nonce."""
        return self.read().account(self.address(name)).nonce

    def raw_view(self, module: Address, call_data: bytes) -> bytes:
        """What a view returns, encoded."""
        return call_view(self.state, self.next_block, module, call_data)

    def view(self, module: Address, function: Function, *arguments: Any) -> Any:
        """The one value that a view returns."""
        (value,) = function.decode_output(self.raw_view(module, function.encode(*arguments)))
        return value

    @property
    def next_block(self) -> BlockContext:
        """What a call in the next block is told about it."""
        return BlockContext(CHAIN_ID, self.head.height + 1, self.head.time_ms + BLOCK_TIME_MS, _recover)

    def recover(self, digest: Hash32, signature: bytes) -> Address:
        """`recover_address`, remembered."""
        return _recover(digest, signature)

    # Transactions

    def send(self, sender: str, to: Address, *, nonce: int | None = None, later: int = 0, **fields: Any) -> Transaction:
        """A signed transaction with the sender's next nonce, or the one that comes `later`."""
        fields.setdefault("chain_id", CHAIN_ID)
        chosen = self.nonce(sender) + later if nonce is None else nonce
        return sign_transaction(key_of(sender), nonce=chosen, to=to, **fields)

    def transfer(self, sender: str, recipient: str, value: int, **fields: Any) -> Transaction:
        """A plain transfer."""
        return self.send(sender, self.address(recipient), value=value, **fields)

    def call(self, sender: str, module: Address, function: Function, *arguments: Any, **fields: Any) -> Transaction:
        """A module call."""
        return self.send(sender, module, data=function.encode(*arguments), **fields)

    def receipt_hash(self) -> Hash32:
        """A receipt hash that was not used before."""
        self._receipts += 1
        return keccak256(b"receipt %d" % self._receipts)

    def attest(self, digest: Hash32, signers: Sequence[str]) -> bytes:
        """Signatures of these, in ascending order of their addresses."""
        return b"".join(key_of(name).sign(digest) for name in sorted(signers, key=self.address))

    def mint(
        self,
        sender: str,
        provider: str,
        amount: int,
        receipt_hash: Hash32 | None = None,
        *,
        signers: Sequence[str] = ("attester",),
        **fields: Any,
    ) -> Transaction:
        """mintWithReceipt with right signatures of these attesters."""
        receipt_hash = receipt_hash or self.receipt_hash()
        signatures = self.attest(attestation_digest(self.address(provider), amount, receipt_hash), signers)
        return self.call(
            sender,
            modules.MINTER,
            modules.MINT_WITH_RECEIPT,
            self.address(provider),
            amount,
            receipt_hash,
            signatures,
            **fields,
        )

    def split(
        self,
        sender: str,
        shares: Sequence[tuple[str, int]],
        receipt_hash: Hash32 | None = None,
        *,
        signers: Sequence[str] = ("attester",),
        signed_chain_id: int = CHAIN_ID,
        **fields: Any,
    ) -> Transaction:
        """mintSplit with right signatures of these attesters."""
        receipt_hash = receipt_hash or self.receipt_hash()
        providers, amounts = [self.address(name) for name, _ in shares], [amount for _, amount in shares]
        signatures = self.attest(mint_split_digest(signed_chain_id, providers, amounts, receipt_hash), signers)
        arguments = (providers, amounts, receipt_hash, signatures)
        return self.call(sender, modules.MINTER, modules.MINT_SPLIT, *arguments, **fields)

    def authorization(
        self,
        owner: str,
        recipient: str,
        amount: int,
        *,
        number: int = 0,
        valid_after: int = 0,
        valid_before: int = 2**63,
        kind: AuthorizationKind = AuthorizationKind.TRANSFER,
    ) -> Authorization:
        """What an owner may sign; the number stands for a nonce."""
        nonce = keccak256(b"authorization %d" % number)
        return Authorization(
            self.address(owner), self.address(recipient), amount, valid_after, valid_before, nonce, kind
        )

    def relay(
        self,
        submitter: str,
        signer: str,
        authorization: Authorization,
        *,
        in_parts: bool = False,
        signed_chain_id: int = CHAIN_ID,
        **fields: Any,
    ) -> Transaction:
        """Somebody submits what somebody has signed."""
        signature = key_of(signer).sign(authorization_digest(signed_chain_id, authorization))
        *values, _kind = msgspec.structs.astuple(authorization)
        whole, parts = {
            AuthorizationKind.TRANSFER: (
                modules.TRANSFER_WITH_AUTHORIZATION,
                modules.TRANSFER_WITH_AUTHORIZATION_VRS,
            ),
            AuthorizationKind.RECEIVE: (modules.RECEIVE_WITH_AUTHORIZATION, modules.RECEIVE_WITH_AUTHORIZATION_VRS),
        }[authorization.kind]
        return self._signed_call(submitter, (whole, parts), values, signature, in_parts=in_parts, **fields)

    def cancel(
        self,
        submitter: str,
        signer: str,
        owner: str,
        number: int = 0,
        *,
        in_parts: bool = False,
        signed_chain_id: int = CHAIN_ID,
        **fields: Any,
    ) -> Transaction:
        """Somebody submits a cancellation that somebody has signed."""
        nonce = keccak256(b"authorization %d" % number)
        signature = key_of(signer).sign(cancellation_digest(signed_chain_id, self.address(owner), nonce))
        forms = (modules.CANCEL_AUTHORIZATION, modules.CANCEL_AUTHORIZATION_VRS)
        return self._signed_call(submitter, forms, [self.address(owner), nonce], signature, in_parts=in_parts, **fields)

    def _signed_call(
        self,
        submitter: str,
        forms: tuple[Function, Function],
        values: Sequence[Any],
        signature: bytes,
        *,
        in_parts: bool,
        **fields: Any,
    ) -> Transaction:
        whole, parts = forms
        if in_parts:
            v, r, s = signature[64], signature[:32], signature[32:64]
            return self.call(submitter, modules.TOKEN, parts, *values, v, r, s, **fields)
        return self.call(submitter, modules.TOKEN, whole, *values, signature, **fields)

    # Blocks

    def execution(self, time_ms: int | None = None) -> BlockExecution:
        """The next block's execution, still empty."""
        return BlockExecution(
            self.state,
            chain_id=CHAIN_ID,
            height=self.head.height + 1,
            time_ms=self.head.time_ms + BLOCK_TIME_MS if time_ms is None else time_ms,
            recover=_recover,
        )

    def build(self, *transactions: Transaction, time_ms: int | None = None, proposer: str | None = None) -> Proposal:
        """The next block with those of these that can be in it, by the first validator unless another is named."""
        return propose_block(
            self.state,
            self.head,
            transactions,
            chain_id=CHAIN_ID,
            proposer=self.address(proposer or self.validators[0]),
            time_ms=self.head.time_ms + BLOCK_TIME_MS if time_ms is None else time_ms,
            compute_state_root=self.state.root,
            recover=_recover,
        )

    def check(self, block: Block) -> BlockOutcome:
        """What apply_block says; nothing is adopted, and the state must not have changed."""
        before = dict(self.state.records)
        try:
            return apply_block(
                self.state,
                self.head,
                block,
                chain_id=CHAIN_ID,
                compute_state_root=self.state.root,
                recover=_recover,
            )
        finally:
            assert self.state.records == before

    def adopt(self, proposal: Proposal) -> BlockOutcome:
        """Makes a block the head, after apply_block came to the same outcome as its proposer."""
        outcome = self.follow(proposal.block)
        assert outcome.changes == proposal.outcome.changes
        assert outcome.results == proposal.outcome.results
        assert outcome.senders == proposal.outcome.senders
        return outcome

    def follow(self, block: Block) -> BlockOutcome:
        """Makes somebody else's block the head."""
        outcome = self.check(block)
        self.state = self.state.with_changes(outcome.changes)
        self.head = block.header
        return outcome

    def add(self, *transactions: Transaction, time_ms: int | None = None) -> BlockOutcome:
        """Adopts a block of exactly these, each with status 1."""
        proposal = self.build(*transactions, time_ms=time_ms)
        assert [str(reason) for _, reason in proposal.rejected] == []
        assert [str(failure) for failure in proposal.outcome.failures if failure is not None] == []
        return self.adopt(proposal)

    def refuse(
        self,
        transaction: Transaction,
        reason: RejectionReason,
        *,
        after: Sequence[Transaction] = (),
        time_ms: int | None = None,
    ) -> Rejected:
        """Sees to it that a transaction cannot be in the next block, after these others, and leaves no trace."""
        execution = self.execution(time_ms)
        for other in after:
            execution.add(other)
        before, records = execution.finish(), dict(self.state.records)
        with pytest.raises(Rejected) as caught:
            execution.add(transaction)
        assert caught.value.reason is reason, caught.value.message
        assert execution.finish() == before
        assert self.state.records == records

        proposal = self.build(*after, transaction, time_ms=time_ms)
        assert [(refused.hash, why.reason) for refused, why in proposal.rejected] == [(transaction.hash, reason)]
        assert proposal.outcome.changes == before.changes
        forced = self.with_body(proposal.block, (*proposal.block.transactions, transaction.raw), (*after, transaction))
        with pytest.raises(Rejected) as in_block:
            self.check(forced)
        assert in_block.value.reason is reason, in_block.value.message
        return caught.value

    def with_body(self, block: Block, body: Sequence[bytes], transactions: Sequence[Transaction]) -> Block:
        """The block with another body, and a transactions_root that fits it."""
        root = transactions_root([transaction.hash for transaction in transactions])
        return Block(msgspec.structs.replace(block.header, transactions_root=root), tuple(body))

    def fail(
        self,
        transaction: Transaction,
        reason: RejectionReason,
        *,
        after: Sequence[Transaction] = (),
        time_ms: int | None = None,
        fee: int = 0,
    ) -> Rejected:
        """Sees to it that a transaction gets status 0: no event, and nothing changes but its sender's nonce and fee."""
        before = self.build(*after, time_ms=time_ms).outcome
        proposal = self.build(*after, transaction, time_ms=time_ms)
        assert [str(why) for _, why in proposal.rejected] == []
        failure = proposal.outcome.failures[-1]
        assert failure is not None, "the call succeeded"
        assert failure.reason is reason, failure.message
        assert (proposal.outcome.results[-1].status, proposal.outcome.results[-1].logs) == (0, ())

        sender = proposal.outcome.senders[-1]
        account_key, supply_key = state_key(Domain.ACCOUNT, sender), state_key(Domain.SUPPLY)
        changed = {account_key, supply_key} if fee else {account_key}
        for key in before.changes.keys() | proposal.outcome.changes.keys():
            if key not in changed:
                assert proposal.outcome.changes[key] == before.changes[key]
        account_before = State(self.state.with_changes(before.changes)).account(sender)
        account = State(self.state.with_changes(proposal.outcome.changes)).account(sender)
        assert (account.nonce, account.balance) == (account_before.nonce + 1, account_before.balance - fee)
        self.check(proposal.block)
        return failure

    # Shorthands

    def give(self, *names: str, amount: int = 100 * ATOMS_PER_AIT) -> None:
        """Lets each earn this much: by minting, as there is no other way."""
        self.add(*(self.mint(name, name, amount) for name in names))

    def govern(self, target: Address, call_data: bytes) -> BlockOutcome:
        """Has validators propose, approve and execute a call, in one block."""
        return self.add(*self.decision(target, call_data))

    def decision(self, target: Address, call_data: bytes) -> list[Transaction]:
        """The transactions of a quorum that bring a call about, whatever the fee."""
        number = self.read().proposal_count() + 1
        governance, first, offer = modules.GOVERNANCE, self.validators[0], 2**128
        return [
            self.call(first, governance, modules.PROPOSE, target, call_data, max_fee=offer),
            *(
                self.call(name, governance, modules.APPROVE_PROPOSAL, number, max_fee=offer)
                for name in self.validators[1 : quorum(len(self.validators))]
            ),
            self.call(first, governance, modules.EXECUTE, number, later=1, max_fee=offer),
        ]

    def set_parameter(self, name: str, value: int) -> None:
        """Has governance change a parameter."""
        self.govern(modules.GOVERNANCE, modules.SET_PARAMETER.encode(name, value))


MakeChain = Callable[..., Chain]


@pytest.fixture(scope="session")
def make_chain() -> MakeChain:
    """(validators=, attesters={name: (atoms, receipts)}, **parameters) → a chain at its genesis block."""
    return Chain


@pytest.fixture
def chain() -> Chain:
    """One validator, one attester, default parameters."""
    return Chain()


@pytest.fixture
def rich_chain() -> Chain:
    """The same, where alice and bob hold 100 AIT each."""
    rich = Chain()
    rich.give("alice", "bob")
    return rich


@pytest.fixture(scope="session")
def key_named() -> Callable[[str], PrivateKey]:
    """The key of a person by name."""
    return key_of
