"""One party's commands of a swap, between its two chains: look at both, decide, and take one step.

Every step begins anew with what the chains say, so that whoever was killed anywhere just runs the command again.
"""

import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import Signer
from chain.primitives.modules import HTLC
from chain.primitives.swap_records import SwapStatus
from chain.primitives.swaps import CLAIM, LOCK, REFUND
from chain.primitives.types import ZERO_ADDRESS, Address
from wallet.accounts import Account, Accounts
from wallet.actions import describe_time
from wallet.commands.outcomes import follow, hand_in
from wallet.commands.swap_chains import Chains
from wallet.options import Wait
from wallet.swaps.other_chain import CLAIM_GAS
from wallet.swaps.reading import AssetName, check_may_receive, read_asset, read_balance, read_lock
from wallet.swaps.steps import Role, Situation, StepRefused, advice, claimable_secret, may_lock, may_refund
from wallet.swaps.store import Record, SwapStore
from wallet.swaps.terms import Lock, Terms
from wallet.terminal import CommandError, ExitCode, Progress, confirm, say

if TYPE_CHECKING:  # httpx takes a tenth of a second to load; only what asks a node waits for it.
    pass


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How this party wants to go about it."""

    margin_s: int
    confirmations: int
    timeout_s: float
    password_file: Path | None
    yes: bool


class SwapSession:
    """One swap, one party, both chains."""

    def __init__(self, chains: Chains, store: SwapStore, account: Account, terms: Terms, settings: Settings) -> None:
        self._chains = chains
        self._store = store
        self._account = account
        self._settings = settings
        self.terms = terms
        if account.address not in (terms.maker, terms.taker):
            raise CommandError(f"{account.name} is neither maker nor taker of this swap", ExitCode.FAILED)
        self.role = Role.MAKER if account.address == terms.maker else Role.TAKER
        self._check_networks()
        chains.other.check_contract(terms.other.contract)

    def _check_networks(self) -> None:
        for lock, found, where in (
            (self.terms.ours, self._chains.status.chain_id, "the node"),
            (self.terms.other, self._chains.other.chain_id(), "the other chain's node"),
        ):
            if lock.chain_id != found:
                raise CommandError(
                    f"the swap is on chain {lock.chain_id}, {where} serves {found}", ExitCode.WRONG_NETWORK
                )

    @cached_property
    def _key(self) -> Signer:
        return self._account.open(self._settings.password_file)

    @cached_property
    def _names(self) -> dict[bool, AssetName]:
        chains = self._chains
        return {
            True: read_asset(chains.ours, self.terms.ours.asset),
            False: read_asset(chains.other.rpc, self.terms.other.asset),
        }

    @property
    def own(self) -> Lock:
        """What this party locks."""
        return self.terms.first if self.role is Role.MAKER else self.terms.second

    @property
    def wanted(self) -> Lock:
        """What it gets."""
        return self.terms.second if self.role is Role.MAKER else self.terms.first

    # Looking

    def look(self) -> Situation:
        """What both chains say now."""
        record, clock_s = self._known(), int(time.time())
        states = {
            lock.is_ours: read_lock(
                self._chains.ours if lock.is_ours else self._chains.other.rpc,
                lock,
                None if lock.is_ours else self._settings.confirmations,
                clock_s,
            )
            for lock in (self.terms.first, self.terms.second)
        }
        return Situation(
            terms=self.terms,
            role=self.role,
            first=states[self.terms.first.is_ours],
            second=states[self.terms.second.is_ours],
            margin_s=self._settings.margin_s,
            secret=record.secret,
            was_shown=record.was_shown,
        )

    def lines(self) -> list[tuple[str, str]]:
        """The terms for people, as seen from this side."""
        own, wanted = self.own, self.wanted
        partner = self.terms.taker if self.role is Role.MAKER else self.terms.maker
        return [
            ("you give", self._amount(own)),
            ("you get", self._amount(wanted)),
            ("with", to_checksum_address(partner)),
            ("yours comes back", f"from {describe_time(own.deadline)}, unless it was claimed"),
            ("you can claim", f"until {describe_time(wanted.deadline)}"),
        ]

    def _amount(self, lock: Lock) -> str:
        where = "on this chain" if lock.is_ours else f"on chain {lock.chain_id}"
        return f"{self._names[lock.is_ours].format(lock.value)} {where}, asset {to_checksum_address(lock.asset)}"

    def document(self, did: str, transaction_hash: str | None = None) -> dict[str, Any]:
        """Terms, state and what this command did."""
        now = self.look()
        return {
            "swap": self.terms.to_object(),
            "role": self.role,
            "did": did,
            "transaction_hash": transaction_hash,
            "first": _state_object(self.terms.first, now.first.status, now.first.confirmed),
            "second": _state_object(self.terms.second, now.second.status, now.second.confirmed),
            "next": advice(now),
        }

    # Steps: each returns what it did, and the transaction's hash

    def lock(self) -> tuple[str, str | None]:
        """Locks this party's side, once."""
        if not may_lock(self.look()):
            return "locked before", None
        self._check_funds()
        if self.role is Role.TAKER:
            self._check_payment()
        confirm(
            [("swap", "you lock first" if self.role is Role.MAKER else "the other side has locked"), *self.lines()],
            yes=self._settings.yes,
            heading="This is the swap:",
            question="Begin it?" if self.role is Role.MAKER else "Accept it?",
            otherwise="nothing was locked",
        )
        own = self.own
        self._keep(self._known())
        if not own.is_ours:
            for index, (amount, approval) in enumerate(self._chains.other.approvals(own.sender, own)):
                allowed = (("action", "let the swap's contract take"), ("amount", self._names[False].format(amount)))
                self._send_other(f"approve-{index}", own.asset, approval, allowed, self._check_lock)
        call = LOCK.encode(own.hash, own.recipient, own.asset, own.value, own.deadline)
        return "locked", self._send(own, "lock", call, self._check_lock)

    def _check_lock(self) -> None:
        may_lock(self.look())

    def _check_funds(self) -> None:
        own, other = self.own, self._chains.other
        balance = read_balance(self._chains.ours if own.is_ours else other.rpc, own.asset, own.sender)
        if balance < own.value:
            name = self._names[own.is_ours]
            raise StepRefused(f"you have {name.format(balance)}, the swap needs {name.format(own.value)}")
        other.check_reserve(own.sender, own.value if own.asset == ZERO_ADDRESS else 0)

    def claim(self) -> tuple[str, str | None]:
        """Takes what the other side has locked."""
        now = self.look()
        secret = claimable_secret(now)
        if secret is None:
            return "claimed before", None
        call = CLAIM.encode(self.wanted.id, secret)
        if not now.is_secret_hidden:
            return "claimed", self._send(self.wanted, "claim", call, self._begin_claim)
        self._check_payment()
        return "claimed", self._send(self.wanted, "claim", call, self._begin_claim, is_tried=False)

    def _check_payment(self) -> None:
        """Before this party gives something for it: raises RpcRefused where it would not be paid what it wants."""
        if self.wanted.is_ours:
            check_may_receive(self._chains.ours, self.wanted.asset, self.wanted.recipient)
        else:
            self._chains.other.check_payment(self.wanted)

    def _begin_claim(self) -> None:
        """Just before it is sent: the user may have thought for long, and from now on the secret counts as shown.

        Until then it has left this machine to nobody, not even to the nodes that are asked.
        """
        claimable_secret(self.look())
        self._keep(msgspec.structs.replace(self._known(), was_shown=True))

    def refund(self) -> tuple[str, str | None]:
        """Takes this party's own lock back."""
        if not may_refund(self.look()):
            return "refunded before", None
        return "refunded", self._send(self.own, "refund", REFUND.encode(self.own.id), lambda: None)

    def _known(self) -> Record:
        return self._store.find(self.terms) or Record(terms=self.terms)

    def _keep(self, record: Record) -> None:
        """Durably; nothing is written where nothing has changed."""
        if self._store.find(self.terms) != record:
            self._store.save(record)

    # Sending

    def _send(self, lock: Lock, step: str, call: bytes, begin: Callable[[], None], *, is_tried: bool = True) -> str:
        """The transaction's hash. `is_tried` lets the node say beforehand whether it would succeed."""
        if lock.is_ours:
            return self._send_ours(call, begin, is_tried=is_tried)
        words = (("action", step), ("amount", self._names[False].format(lock.value)), ("swap", to_hex(lock.id)))
        value = lock.value if step == "lock" and lock.asset == ZERO_ADDRESS else 0
        gas = None if is_tried else CLAIM_GAS
        return self._send_other(step, lock.contract, call, words, begin, value=value, gas=gas)

    def _send_ours(self, call: bytes, begin: Callable[[], None], *, is_tried: bool) -> str:
        from wallet.drafts import plan_transaction, try_draft

        client, account = self._chains.client, self._account
        draft = plan_transaction(client, self._chains.status, account.address, account.name, to=HTLC, call_data=call)
        if is_tried and (refusal := try_draft(client, draft).refusal):
            raise StepRefused(f"the chain would refuse it: {refusal}")
        confirm(draft.lines(), yes=self._settings.yes)
        transaction = draft.sign(self._key)
        begin()
        hand_in(client, transaction)
        outcome = follow(client, transaction.hash, Wait.FINAL, self._settings.timeout_s)
        if outcome.succeeded is False:
            raise CommandError(f"the transaction failed: {outcome.reason}", ExitCode.TRANSACTION_FAILED)
        if not outcome.is_final:
            raise CommandError("not final in time; take the same step again to look", ExitCode.NOT_FINAL)
        return outcome.transaction_hash

    def _send_other(
        self,
        step: str,
        to: Address,
        call: bytes,
        words: tuple[tuple[str, str], ...],
        begin: Callable[[], None],
        *,
        value: int = 0,
        gas: int | None = None,
    ) -> str:
        other, timeout_s = self._chains.other, self._settings.timeout_s
        previous = self._known().sent.get(step)
        draft = other.plan(self._account.address, to, call, words, value=value, gas=gas, previous=previous)
        confirm(draft.lines(), yes=self._settings.yes)
        transaction = draft.sign(self._key)
        begin()
        # Durable before it is sent, so that a repetition takes this transaction's place rather than follow it.
        record = self._known()
        self._keep(msgspec.structs.replace(record, sent={**record.sent, step: draft.offer}))
        transaction_hash = other.send(transaction)
        say(f"Sent as {transaction_hash} on the other chain")
        progress = Progress("Waiting until it is in a block of the other chain")
        try:
            succeeded = other.wait(transaction_hash, timeout_s, progress.show)
        finally:
            progress.clear()
        if not succeeded:
            raise CommandError(
                f"transaction {transaction_hash} failed on the other chain: look with `swap show`",
                ExitCode.TRANSACTION_FAILED,
            )
        return transaction_hash


def account_for(keys: Accounts, terms: Terms, sender: str | None) -> Account:
    """The account that was named, or the one of this home that is a party."""
    if sender is not None:
        return keys.find(sender)
    parties = [account for account in keys.readable() if account.key.address in (terms.maker, terms.taker)]
    if len({account.key.address for account in parties}) != 1:
        raise CommandError("which side are you? name your account with --from", ExitCode.USAGE)
    return parties[0]


def _state_object(lock: Lock, status: SwapStatus, confirmed: SwapStatus) -> dict[str, Any]:
    return {
        "id": to_hex(lock.id),
        "chain_id": lock.chain_id,
        "status": status.name.lower(),
        "confirmed": confirmed.name.lower(),
        "deadline": lock.deadline,
    }
