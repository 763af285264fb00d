"""What issuers may do, what only they may, and what nobody may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chain.primitives import modules
from chain.primitives.market import (
    ASSET,
    ASSET_ISSUED_EVENT,
    AUTHORIZED_EVENT,
    BURN_ASSET,
    CLAW_BACK,
    FLAGS_WEAKENED_EVENT,
    FROZEN_EVENT,
    MINT_ASSET,
    RESERVE_CHANGED_EVENT,
    SET_AUTHORIZED,
    SET_FROZEN,
    SET_RESERVE,
    WEAKEN_FLAGS,
    AssetFlag,
    asset_address,
)
from chain.primitives.modules import ADD_ISSUER, GOVERNANCE, MARKET, TOKEN, TOKEN_TRANSFER, TRANSFER_EVENT
from chain.primitives.records import Domain, state_key
from chain.primitives.rejection import RejectionReason
from chain.primitives.types import ZERO_ADDRESS, Address
from chain.rules.assets.holdings import MAX_SUPPLY, asset_count, check_may_trade, issued_asset, trading_refusal
from chain.rules.assets.issuing import MAX_ASSETS

if TYPE_CHECKING:
    from chain.primitives.block import Log
    from tests.chain.rules.assets.conftest import Issuance, MakeIssuance

ALL = AssetFlag.AUTHORIZATION_REQUIRED | AssetFlag.FREEZABLE | AssetFlag.CLAWBACK
NOBODY = [ZERO_ADDRESS, *modules.MODULES.values(), modules.TREASURY, asset_address(1), asset_address(77)]


def transfer_of(log: Log) -> tuple[Address, Address, Address, int]:
    """The asset, and who sent whom how much."""
    values = TRANSFER_EVENT.decode(log.topics, log.data)
    return log.address, values["from"], values["to"], values["value"]


# Issuing


def test_an_issued_asset_is_what_its_issuer_said(issued: Issuance) -> None:
    chain = issued.chain
    outcome = chain.add(issued.issuance("issuer", name="A b", symbol="x", decimals=36, cap=9, flags=7))
    second, issuer = asset_address(2), chain.address("issuer")
    issuance, reserve = outcome.results[0].logs
    assert (issuance.address, reserve.address) == (MARKET, MARKET)
    expected = {"asset": second, "issuer": issuer, "symbol": "x"}
    assert ASSET_ISSUED_EVENT.decode(issuance.topics, issuance.data) == expected
    assert RESERVE_CHANGED_EVENT.decode(reserve.topics, reserve.data) == {"asset": second, "reserveHash": b"\7" * 32}
    answer = ASSET.decode_output(chain.raw_view(MARKET, ASSET.encode(second)))
    assert answer == (issuer, "A b", "x", 36, 9, 7, b"\7" * 32, 0)
    assert asset_count(chain.read()) == 2


def test_an_asset_without_reserves_says_nothing_of_them(issued: Issuance) -> None:
    outcome = issued.chain.add(issued.issuance("issuer", reserve=bytes(32)))
    assert [log.topics[0] for log in outcome.results[0].logs] == [ASSET_ISSUED_EVENT.topic]


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "x" * 65},
        {"name": " x"},
        {"name": "x "},
        {"name": "x\n"},
        {"name": "é"},
        {"name": "\x1b[2J"},
        {"symbol": ""},
        {"symbol": "A B"},
        {"symbol": "A\n"},
        {"symbol": "x" * 17},
        {"symbol": "AIT"},
        {"symbol": "aIt"},
        {"decimals": 37},
        {"decimals": 255},
        {"cap": MAX_SUPPLY + 1},
        {"cap": 2**256 - 1},
        {"flags": 8},
        {"flags": 255},
    ],
)
def test_terms_that_no_asset_can_have(issued: Issuance, change: dict[str, Any]) -> None:
    rejected = issued.chain.fail(issued.issuance("issuer", **change), RejectionReason.INVALID_ASSET)
    assert rejected.values["field"] in change


def test_terms_at_their_bounds(issued: Issuance) -> None:
    coin = issued.issue("issuer", name="~" * 64, symbol="~" * 16, decimals=0, cap=MAX_SUPPLY, flags=7)
    issued.issue("issuer", name="!", symbol="!", decimals=36, cap=1, flags=0)
    assert issued_asset(issued.chain.read(), coin).cap == MAX_SUPPLY


def test_only_issuers_issue(issued: Issuance) -> None:
    issued.chain.fail(issued.issuance("alice"), RejectionReason.NOT_AN_ISSUER)
    issued.chain.refuse(issued.issuance("stranger"), RejectionReason.NEWCOMER_CALL)


def test_there_are_so_many_assets_and_no_more(issued: Issuance) -> None:
    chain = issued.chain
    while (missing := MAX_ASSETS - asset_count(chain.read())) > 0:
        quota = min(missing, chain.read().parameters().account_quota)
        nonce = chain.nonce("issuer")
        issue = issued.issuance("issuer").data
        chain.add(*(chain.send("issuer", MARKET, data=issue, nonce=nonce + each) for each in range(quota)))
    chain.fail(issued.issuance("issuer"), RejectionReason.TOO_MANY_ASSETS)


# Minting and burning


def test_minted_and_burned_to_the_atom(issued: Issuance) -> None:
    chain, coin = issued.chain, issued.coin
    outcome = issued.mint(alice=70, issuer=30)
    assert [transfer_of(log) for result in outcome.results for log in result.logs] == [
        (coin, ZERO_ADDRESS, chain.address("alice"), 70),
        (coin, ZERO_ADDRESS, chain.address("issuer"), 30),
    ]
    assert (issued.balance("alice"), issued.balance("issuer"), issued.supply) == (70, 30, 100)

    chain.fail(issued.call("issuer", BURN_ASSET, coin, 31), RejectionReason.INSUFFICIENT_FUNDS)
    outcome = chain.add(issued.call("issuer", BURN_ASSET, coin, 30))
    (log,) = outcome.results[0].logs
    assert transfer_of(log) == (coin, chain.address("issuer"), ZERO_ADDRESS, 30)
    assert (issued.balance("alice"), issued.balance("issuer"), issued.supply) == (70, 0, 70)
    assert state_key(Domain.ASSET_BALANCE, coin + chain.address("issuer")) not in chain.state.records


@pytest.mark.parametrize("function", [MINT_ASSET, BURN_ASSET, CLAW_BACK])
def test_nothing_is_minted_burned_or_clawed_back_by_nothing(make_issuance: MakeIssuance, function: Any) -> None:
    issued = make_issuance(AssetFlag.CLAWBACK)
    arguments = [issued.coin, 0] if function is BURN_ASSET else [issued.coin, "alice", 0]
    issued.chain.fail(issued.call("issuer", function, *arguments), RejectionReason.OUT_OF_RANGE)


def test_the_cap_to_the_atom(make_issuance: MakeIssuance) -> None:
    issued = make_issuance(cap=100)
    issued.mint(issuer=99)
    mint = [issued.call("issuer", MINT_ASSET, issued.coin, "alice", amount) for amount in (1, 2, 2**256 - 1)]
    issued.chain.fail(mint[1], RejectionReason.ASSET_CAP)
    issued.chain.fail(mint[2], RejectionReason.ASSET_CAP)
    issued.chain.add(mint[0])
    issued.chain.fail(issued.call("issuer", MINT_ASSET, issued.coin, "alice", 1), RejectionReason.ASSET_CAP)
    issued.chain.add(issued.call("issuer", BURN_ASSET, issued.coin, 50))
    issued.mint(bob=50)  # What was burned can be minted again.
    assert (issued.supply, issued.balance("bob")) == (100, 50)


def test_the_bound_of_an_asset_without_a_cap(issued: Issuance) -> None:
    issued.mint(alice=MAX_SUPPLY - 1)
    for amount in (2, 2**255):
        mint = issued.call("issuer", MINT_ASSET, issued.coin, "alice", amount)
        issued.chain.fail(mint, RejectionReason.OUT_OF_RANGE)
    issued.mint(alice=1)
    assert issued.balance("alice") == issued.supply == MAX_SUPPLY


@pytest.mark.parametrize("nobody", NOBODY)
@pytest.mark.parametrize("function", [MINT_ASSET, SET_AUTHORIZED, SET_FROZEN, CLAW_BACK])
def test_issuers_act_upon_ordinary_addresses_only(make_issuance: MakeIssuance, function: Any, nobody: Address) -> None:
    """Nothing can be minted to the market, and what its orders hold can be neither frozen nor clawed back."""
    issued = make_issuance(ALL)
    call = issued.call("issuer", function, issued.coin, nobody, 1)
    issued.chain.fail(call, RejectionReason.INVALID_RECIPIENT)


# Who the issuer is


def issuers_calls(issued: Issuance, sender: str, coin: Address) -> list[Any]:
    """Each of them, with arguments that its issuer could give."""
    calls: list[tuple[Any, ...]] = [
        (MINT_ASSET, "alice", 1),
        (SET_RESERVE, b"\x08" * 32),
        (WEAKEN_FLAGS, 0),
        (SET_AUTHORIZED, "alice", True),
        (SET_FROZEN, "alice", True),
        (CLAW_BACK, "alice", 1),
        (BURN_ASSET, 1),
    ]
    return [issued.call(sender, function, coin, *arguments) for function, *arguments in calls]


def test_only_the_assets_own_issuer(make_issuance: MakeIssuance) -> None:
    issued = make_issuance(ALL)
    chain = issued.chain
    chain.govern(GOVERNANCE, ADD_ISSUER.encode(chain.address("other")))
    for sender in ("alice", "other"):
        for call in issuers_calls(issued, sender, issued.coin):
            chain.fail(call, RejectionReason.NOT_THE_ISSUER)


def test_assets_that_are_not_there(make_issuance: MakeIssuance) -> None:
    """AIT is one, but nobody has issued it."""
    issued = make_issuance(ALL)
    for asset in (asset_address(0), asset_address(2), asset_address(2**32 - 1), TOKEN, MARKET, ZERO_ADDRESS):
        for call in issuers_calls(issued, "issuer", asset):
            issued.chain.fail(call, RejectionReason.UNKNOWN_ASSET)


def test_a_removed_issuer_can_only_burn_and_holders_go_on(make_issuance: MakeIssuance) -> None:
    issued = make_issuance(ALL)
    chain, coin = issued.chain, issued.coin
    chain.add(*(issued.call("issuer", SET_AUTHORIZED, coin, n, True, later=i) for i, n in enumerate(("alice", "bob"))))
    issued.mint(alice=10, issuer=10)
    issued.remove_issuer()
    *calls, burn = issuers_calls(issued, "issuer", coin)
    for call in calls:
        chain.fail(call, RejectionReason.NOT_AN_ISSUER)
    chain.fail(issued.issuance("issuer"), RejectionReason.NOT_AN_ISSUER)
    chain.add(burn)
    chain.add(issued.token("alice", TOKEN_TRANSFER, "bob", 4), issued.token("issuer", TOKEN_TRANSFER, "bob", 5))
    assert [issued.balance(name) for name in ("alice", "bob", "issuer")] == [6, 9, 4]
    assert issued.supply == 19

    chain.govern(GOVERNANCE, ADD_ISSUER.encode(chain.address("issuer")))
    issued.mint(alice=1)
    assert issued.supply == 20


def test_who_is_frozen_when_the_issuer_is_removed_stays_so_until_it_returns(make_issuance: MakeIssuance) -> None:
    """Else a thief would be free as soon as an issuer's key is lost."""
    issued = make_issuance(int(AssetFlag.FREEZABLE))
    chain, coin = issued.chain, issued.coin
    issued.mint(alice=10)
    chain.add(issued.call("issuer", SET_FROZEN, coin, "alice", True))
    issued.remove_issuer()
    transfer = issued.token("alice", TOKEN_TRANSFER, "bob", 4)
    chain.fail(transfer, RejectionReason.ASSET_FROZEN)
    chain.govern(GOVERNANCE, ADD_ISSUER.encode(chain.address("issuer")))
    chain.add(issued.call("issuer", SET_FROZEN, coin, "alice", False), transfer)
    assert issued.balance("bob") == 4


# Powers


def test_powers_that_the_asset_does_not_give(issued: Issuance) -> None:
    issued.mint(alice=5)
    calls: list[tuple[Any, ...]] = [
        (SET_AUTHORIZED, "alice", True),
        (SET_FROZEN, "alice", True),
        (CLAW_BACK, "alice", 1),
    ]
    for function, *arguments in calls:
        issued.chain.fail(issued.call("issuer", function, issued.coin, *arguments), RejectionReason.ASSET_POWER)


@pytest.mark.parametrize("held", range(8))
def test_flags_are_only_given_up(make_issuance: MakeIssuance, held: int) -> None:
    issued = make_issuance(held)
    for flags in range(256):
        call = issued.call("issuer", WEAKEN_FLAGS, issued.coin, flags)
        if flags | held == held and flags != held:
            (result,) = issued.chain.build(call).outcome.results
            (log,) = result.logs
            assert FLAGS_WEAKENED_EVENT.decode(log.topics, log.data) == {"asset": issued.coin, "flags": flags}
        elif flags < 16 or flags == 255:
            issued.chain.fail(call, RejectionReason.ASSET_POWER)


def test_giving_a_power_up_sets_holders_free(make_issuance: MakeIssuance) -> None:
    issued = make_issuance(AssetFlag.AUTHORIZATION_REQUIRED | AssetFlag.FREEZABLE)
    chain, coin, alice = issued.chain, issued.coin, issued.chain.address("alice")
    chain.add(issued.call("issuer", SET_AUTHORIZED, coin, "alice", True))
    issued.mint(alice=5)
    chain.add(issued.call("issuer", SET_FROZEN, coin, "alice", True))
    chain.fail(issued.token("alice", TOKEN_TRANSFER, "issuer", 1), RejectionReason.ASSET_FROZEN)
    chain.add(issued.call("issuer", WEAKEN_FLAGS, coin, AssetFlag.AUTHORIZATION_REQUIRED))
    chain.add(issued.token("alice", TOKEN_TRANSFER, "issuer", 1))
    chain.fail(issued.call("issuer", SET_FROZEN, coin, "alice", True), RejectionReason.ASSET_POWER)
    chain.fail(issued.token("alice", TOKEN_TRANSFER, "bob", 1), RejectionReason.NOT_AUTHORIZED)
    chain.add(issued.call("issuer", WEAKEN_FLAGS, coin, 0))
    chain.add(issued.token("alice", TOKEN_TRANSFER, "bob", 4))
    assert (issued.balance("bob"), issued.balance("issuer"), trading_refusal(chain.read(), coin, alice)) == (4, 1, None)


def test_authorisation_asked_of_whoever_receives_and_sends(make_issuance: MakeIssuance) -> None:
    issued = make_issuance(AssetFlag.AUTHORIZATION_REQUIRED)
    chain, coin = issued.chain, issued.coin
    mint = issued.call("issuer", MINT_ASSET, coin, "alice", 5)
    chain.fail(mint, RejectionReason.NOT_AUTHORIZED)
    outcome = chain.add(issued.call("issuer", SET_AUTHORIZED, coin, "alice", True))
    (log,) = outcome.results[0].logs
    expected = {"asset": coin, "holder": chain.address("alice"), "authorized": True}
    assert (log.address, AUTHORIZED_EVENT.decode(log.topics, log.data)) == (MARKET, expected)
    issued.mint(alice=5, issuer=5)
    chain.fail(issued.token("alice", TOKEN_TRANSFER, "bob", 1), RejectionReason.NOT_AUTHORIZED)
    chain.fail(issued.token("issuer", TOKEN_TRANSFER, "bob", 1), RejectionReason.NOT_AUTHORIZED)
    chain.add(issued.token("alice", TOKEN_TRANSFER, "issuer", 1))
    chain.add(issued.call("issuer", SET_AUTHORIZED, coin, "alice", False))
    chain.fail(issued.token("alice", TOKEN_TRANSFER, "issuer", 1), RejectionReason.NOT_AUTHORIZED)
    assert (issued.balance("alice"), issued.balance("issuer")) == (4, 6)
    assert state_key(Domain.ASSET_STANDING, coin + chain.address("alice")) not in chain.state.records


def test_a_freeze_stops_both_ways_until_it_ends(make_issuance: MakeIssuance) -> None:
    issued = make_issuance(AssetFlag.FREEZABLE)
    chain, coin = issued.chain, issued.coin
    issued.mint(alice=5, bob=5)
    outcome = chain.add(issued.call("issuer", SET_FROZEN, coin, "alice", True))
    (log,) = outcome.results[0].logs
    expected = {"asset": coin, "holder": chain.address("alice"), "frozen": True}
    assert (log.address, FROZEN_EVENT.decode(log.topics, log.data)) == (MARKET, expected)
    for sender, recipient in (("alice", "bob"), ("bob", "alice"), ("alice", "alice")):
        for amount in (0, 1):
            call = issued.token(sender, TOKEN_TRANSFER, recipient, amount)
            chain.fail(call, RejectionReason.ASSET_FROZEN)
    chain.fail(issued.call("issuer", MINT_ASSET, coin, "alice", 1), RejectionReason.ASSET_FROZEN)
    with pytest.raises(Exception, match="the issuer of PLAY has frozen"):
        check_may_trade(chain.read(), coin, chain.address("alice"))
    chain.add(issued.call("issuer", SET_FROZEN, coin, "alice", False))
    chain.add(issued.token("alice", TOKEN_TRANSFER, "bob", 5))
    assert (issued.balance("alice"), issued.balance("bob")) == (0, 10)


def test_who_is_frozen_and_not_authorised_hears_of_the_freeze(make_issuance: MakeIssuance) -> None:
    issued = make_issuance(ALL)
    issued.chain.add(issued.call("issuer", SET_FROZEN, issued.coin, "alice", True))
    mint = issued.call("issuer", MINT_ASSET, issued.coin, "alice", 1)
    issued.chain.fail(mint, RejectionReason.ASSET_FROZEN)


def test_nothing_refuses_the_issuer_and_the_modules(make_issuance: MakeIssuance) -> None:
    issued = make_issuance(ALL)
    chain, coin = issued.chain, issued.coin
    chain.add(issued.call("issuer", SET_FROZEN, coin, "issuer", True))
    issued.mint(issuer=5)
    for holder in (chain.address("issuer"), MARKET, modules.HTLC, modules.TREASURY):
        assert trading_refusal(chain.read(), coin, holder) is None
    assert trading_refusal(chain.read(), coin, chain.address("alice")) is not None
    assert all(trading_refusal(chain.read(), TOKEN, chain.address(name)) is None for name in ("alice", "stranger"))


def test_clawed_back_from_the_frozen_too(make_issuance: MakeIssuance) -> None:
    issued = make_issuance(AssetFlag.CLAWBACK | AssetFlag.FREEZABLE)
    chain, coin = issued.chain, issued.coin
    issued.mint(alice=5)
    chain.add(issued.call("issuer", SET_FROZEN, coin, "alice", True))
    chain.fail(issued.call("issuer", CLAW_BACK, coin, "alice", 6), RejectionReason.INSUFFICIENT_FUNDS)
    outcome = chain.add(issued.call("issuer", CLAW_BACK, coin, "alice", 3))
    (log,) = outcome.results[0].logs
    assert transfer_of(log) == (coin, chain.address("alice"), chain.address("issuer"), 3)
    assert (issued.balance("alice"), issued.balance("issuer"), issued.supply) == (2, 3, 5)


def test_another_reserve_statement(issued: Issuance) -> None:
    outcome = issued.chain.add(issued.call("issuer", SET_RESERVE, issued.coin, b"\x08" * 32))
    (log,) = outcome.results[0].logs
    expected = {"asset": issued.coin, "reserveHash": b"\x08" * 32}
    assert RESERVE_CHANGED_EVENT.decode(log.topics, log.data) == expected
    assert issued_asset(issued.chain.read(), issued.coin).reserve_hash == b"\x08" * 32
