"""What governance may pay out of the market's fees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from chain.primitives import modules
from chain.primitives.market import SET_AUTHORIZED, SPEND_TREASURY, AssetFlag, asset_address
from chain.primitives.modules import MARKET, TOKEN, TRANSFER_EVENT, TREASURY
from chain.primitives.rejection import RejectionReason
from chain.primitives.types import MAX_UINT256, ZERO_ADDRESS, Address
from chain.rules.assets.holdings import move
from chain.rules.call import Call
from chain.rules.state import State

if TYPE_CHECKING:
    from tests.chain.rules.assets.conftest import Issuance, MakeIssuance


def fill(issued: Issuance, asset: Address, amount: int) -> None:
    """Gives the treasury something of alice's, as fees would."""
    chain = issued.chain
    call = Call(State(chain.state), chain.next_block, chain.address("alice"), MARKET)
    move(call, asset, chain.address("alice"), TREASURY, amount)
    chain.state = chain.state.with_changes(call.state.changes())


@pytest.mark.parametrize("is_native", [True, False])
def test_spent_to_the_atom(issued: Issuance, is_native: bool) -> None:
    chain = issued.chain
    issued.mint(alice=100)
    asset = TOKEN if is_native else issued.coin
    fill(issued, asset, 60)
    outcome = chain.govern(MARKET, SPEND_TREASURY.encode(asset, chain.address("dave"), 59))
    log = outcome.results[-1].logs[0]
    expected = {"from": TREASURY, "to": chain.address("dave"), "value": 59}
    assert (log.address, TRANSFER_EVENT.decode(log.topics, log.data)) == (asset, expected)
    assert [issued.balance(holder, asset) for holder in ("dave", TREASURY)] == [59, 1]
    *_, execution = chain.decision(MARKET, SPEND_TREASURY.encode(asset, chain.address("dave"), 2))
    chain.fail(execution, RejectionReason.INSUFFICIENT_FUNDS, after=_)


def test_what_it_cannot_be_spent_on(make_issuance: MakeIssuance) -> None:
    issued = make_issuance(AssetFlag.AUTHORIZATION_REQUIRED)
    chain, coin = issued.chain, issued.coin
    chain.add(issued.call("issuer", SET_AUTHORIZED, coin, "alice", True))
    issued.mint(alice=100)
    for asset in (TOKEN, coin):
        fill(issued, asset, 60)
    dave = chain.address("dave")
    refusals = [
        ((asset_address(2), dave, 1), RejectionReason.UNKNOWN_ASSET),
        ((ZERO_ADDRESS, dave, 1), RejectionReason.UNKNOWN_ASSET),
        *(((TOKEN, each, 1), RejectionReason.INVALID_RECIPIENT) for each in modules.MODULES.values()),
        ((TOKEN, ZERO_ADDRESS, 1), RejectionReason.INVALID_RECIPIENT),
        ((TOKEN, coin, 1), RejectionReason.INVALID_RECIPIENT),
        ((TOKEN, TREASURY, 1), RejectionReason.INVALID_RECIPIENT),
        ((TOKEN, dave, 0), RejectionReason.OUT_OF_RANGE),
        ((TOKEN, dave, 61), RejectionReason.INSUFFICIENT_FUNDS),
        ((TOKEN, dave, MAX_UINT256), RejectionReason.INSUFFICIENT_FUNDS),
        ((coin, dave, 1), RejectionReason.NOT_AUTHORIZED),
        ((coin, chain.address("alice"), 61), RejectionReason.INSUFFICIENT_FUNDS),
    ]
    for arguments, reason in refusals:
        *before, execution = chain.decision(MARKET, SPEND_TREASURY.encode(*arguments))
        chain.fail(execution, reason, after=before)


def test_only_governance_spends(issued: Issuance) -> None:
    fill(issued, TOKEN, 5)
    for sender in ("alice", "issuer", "validator-0"):
        call = issued.call(sender, SPEND_TREASURY, TOKEN, "alice", 1)
        issued.chain.fail(call, RejectionReason.NOT_GOVERNANCE)
