"""The registry module: offers, and payout addresses that a stolen hot key cannot redirect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from chain.primitives import modules
from chain.primitives.modules import (
    PAYOUT_CHANGED_EVENT,
    PROVIDER,
    PROVIDER_REGISTERED_EVENT,
    PROVIDER_UPDATED_EVENT,
    PROVIDER_WITHDRAWN_EVENT,
    REGISTER,
    REGISTRY,
    SET_PAYOUT,
    TOKEN,
    UPDATE,
    WITHDRAW,
)
from chain.primitives.rejection import RejectionReason
from chain.primitives.types import MAX_UINT256, ZERO_ADDRESS, Address
from chain.rules.registry import MAX_MODELS, MAX_PRICE_ATOMS

if TYPE_CHECKING:
    from chain.primitives.transaction import Transaction
    from tests.chain.rules.conftest import Chain

OFFER: dict[str, Any] = {
    "endpoint": "https://provider.example:8443/",
    "models": ["tiny-sd", "runwayml/stable-diffusion-v1-5"],
    "price_per_unit": 5 * 10**15,
    "unit_type": "gpu_seconds",
    "vram_mib": 24_576,
}
INVALID = RejectionReason.INVALID_REGISTRATION


def register(chain: Chain, name: str, payout: Address = ZERO_ADDRESS, **changes: Any) -> Transaction:
    later = changes.pop("later", 0)
    return chain.call(name, REGISTRY, REGISTER, *{**OFFER, **changes}.values(), payout, later=later)


def update(chain: Chain, name: str, **changes: Any) -> Transaction:
    later = changes.pop("later", 0)
    return chain.call(name, REGISTRY, UPDATE, *{**OFFER, **changes}.values(), later=later)


def set_payout(chain: Chain, sender: str, provider: str, payout: Address, **fields: int) -> Transaction:
    return chain.call(sender, REGISTRY, SET_PAYOUT, chain.address(provider), payout, **fields)


def offer_of(chain: Chain, name: str) -> tuple[Any, ...]:
    return PROVIDER.decode_output(chain.raw_view(REGISTRY, PROVIDER.encode(chain.address(name))))


def payout_of(chain: Chain, name: str) -> Address:
    address: Address = offer_of(chain, name)[-1]
    return address


def test_register_update_withdraw(chain: Chain) -> None:
    # Register
    outcome = chain.add(register(chain, "alice"))
    expected = (True, OFFER["endpoint"], OFFER["models"], 5 * 10**15, "gpu_seconds", 24_576, chain.address("alice"))
    assert offer_of(chain, "alice") == expected
    (log,) = outcome.results[0].logs
    assert PROVIDER_REGISTERED_EVENT.decode(log.topics, log.data) == {
        "provider": chain.address("alice"),
        "endpoint": OFFER["endpoint"],
    }
    # Update
    outcome = chain.add(update(chain, "alice", endpoint="", models=["m"], price_per_unit=0, unit_type="images"))
    assert offer_of(chain, "alice") == (True, "", ["m"], 0, "images", 24_576, chain.address("alice"))
    (log,) = outcome.results[0].logs
    assert PROVIDER_UPDATED_EVENT.decode(log.topics, log.data)["endpoint"] == ""
    # Withdraw
    outcome = chain.add(chain.call("alice", REGISTRY, WITHDRAW))
    assert offer_of(chain, "alice")[0] is False
    (log,) = outcome.results[0].logs
    assert PROVIDER_WITHDRAWN_EVENT.decode(log.topics, log.data) == {"provider": chain.address("alice")}
    # And once more
    chain.add(register(chain, "alice"))
    assert offer_of(chain, "alice") == expected


def test_each_step_needs_the_one_before(rich_chain: Chain) -> None:
    chain, missing = rich_chain, RejectionReason.NOT_REGISTERED
    withdraw = chain.call("alice", REGISTRY, WITHDRAW)
    chain.fail(update(chain, "alice"), missing)
    chain.fail(withdraw, missing)
    chain.fail(register(chain, "alice", later=1), RejectionReason.ALREADY_REGISTERED, after=[register(chain, "alice")])
    chain.add(register(chain, "alice"))
    chain.fail(register(chain, "alice"), RejectionReason.ALREADY_REGISTERED)
    chain.add(chain.call("alice", REGISTRY, WITHDRAW))
    chain.fail(chain.call("alice", REGISTRY, WITHDRAW), missing)
    chain.fail(update(chain, "alice"), missing)
    assert offer_of(chain, "bob") == (False, "", [], 0, "", 0, ZERO_ADDRESS)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("endpoint", "ftp://x"),
        ("endpoint", "http://"),
        ("endpoint", "HTTP://x"),
        ("endpoint", "x"),
        ("endpoint", " http://x"),
        ("endpoint", "http://x y"),
        ("endpoint", "http://x\n"),
        ("endpoint", "http://x\0"),
        ("endpoint", "http://é"),
        ("endpoint", "http://" + "x" * 241),
        ("models", []),
        ("models", [""]),
        ("models", ["m", "m"]),
        ("models", ["a b"]),
        ("models", ["é"]),
        ("models", ["m\n"]),
        ("models", ["m" * 129]),
        ("models", [f"m{index}" for index in range(MAX_MODELS + 1)]),
        ("price_per_unit", MAX_PRICE_ATOMS + 1),
        ("price_per_unit", MAX_UINT256),
        ("unit_type", ""),
        ("unit_type", "GPU_SECONDS"),
        ("unit_type", "gpu_seconds "),
        ("unit_type", "\U0001f600"),
    ],
)
def test_an_offer_that_is_not_acceptable(rich_chain: Chain, field: str, value: Any) -> None:
    chain = rich_chain
    rejection = chain.fail(register(chain, "alice", **{field: value}), INVALID)
    assert str(rejection.values["field"]) in rejection.message
    chain.refuse(register(chain, "newcomer", **{field: value}), INVALID)
    chain.fail(update(chain, "alice", **{field: value}, later=1), INVALID, after=[register(chain, "alice")])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("endpoint", "http://" + "x" * 240),
        ("models", ["m" * 128]),
        ("models", [f"m{index}" for index in range(MAX_MODELS)]),
        ("price_per_unit", MAX_PRICE_ATOMS),
        ("vram_mib", 2**32 - 1),
    ],
)
def test_an_offer_at_its_bounds(chain: Chain, field: str, value: Any) -> None:
    chain.add(register(chain, "alice", **{field: value}))
    index = list(OFFER).index(field)
    assert offer_of(chain, "alice")[index + 1] == value


# Payout


def test_the_zero_address_as_payout_means_the_sender(chain: Chain) -> None:
    chain.add(register(chain, "alice"), register(chain, "bob", chain.address("cold")))
    assert payout_of(chain, "alice") == chain.address("alice")
    assert payout_of(chain, "bob") == chain.address("cold")


@pytest.mark.parametrize("payout", [*modules.MODULES.values(), Address(TOKEN[:19] + b"\xff")])
def test_a_module_is_no_payout_address(rich_chain: Chain, payout: Address) -> None:
    chain = rich_chain
    chain.fail(register(chain, "alice", payout), RejectionReason.INVALID_RECIPIENT)
    chain.add(register(chain, "alice"))
    chain.fail(set_payout(chain, "alice", "alice", payout), RejectionReason.INVALID_RECIPIENT)
    chain.fail(set_payout(chain, "alice", "alice", ZERO_ADDRESS), RejectionReason.INVALID_RECIPIENT)


def test_a_stolen_hot_key_cannot_redirect_earnings(chain: Chain) -> None:
    # Given a provider whose earnings go to a cold address
    cold, thief = chain.address("cold"), chain.address("thief")
    chain.give("hot", "cold", "thief", "other")
    chain.add(register(chain, "hot", cold))
    refused = RejectionReason.NOT_PAYOUT_ADDRESS
    # When a thief with the hot key tries every way that there is
    for sender in ("hot", "thief", "other"):
        for payout in (thief, chain.address("hot")):
            chain.fail(set_payout(chain, sender, "hot", payout), refused)
    chain.fail(register(chain, "hot", thief), RejectionReason.ALREADY_REGISTERED)
    withdraw = chain.call("hot", REGISTRY, WITHDRAW)
    for payout in (thief, ZERO_ADDRESS, chain.address("hot")):
        chain.fail(register(chain, "hot", payout, later=1), refused, after=[withdraw])
    chain.add(withdraw)
    for payout in (thief, ZERO_ADDRESS, chain.address("hot")):
        chain.fail(register(chain, "hot", payout), refused)
    chain.fail(set_payout(chain, "hot", "hot", thief), refused)
    # Then a mint still pays the cold address: withdrawn, registered again, and updated
    chain.add(chain.mint("courier", "hot", 5))
    chain.add(register(chain, "hot", cold))
    chain.add(update(chain, "hot", endpoint=""))
    chain.add(chain.mint("courier", "hot", 6))
    assert chain.balance("cold") == 100 * 10**18 + 11
    assert payout_of(chain, "hot") == cold


def test_only_the_payout_address_names_another(chain: Chain) -> None:
    chain.give("hot", "cold", "colder")
    chain.add(register(chain, "hot", chain.address("cold")))
    outcome = chain.add(set_payout(chain, "cold", "hot", chain.address("colder")))
    (log,) = outcome.results[0].logs
    assert PAYOUT_CHANGED_EVENT.decode(log.topics, log.data) == {
        "provider": chain.address("hot"),
        "oldPayout": chain.address("cold"),
        "newPayout": chain.address("colder"),
    }
    chain.fail(set_payout(chain, "cold", "hot", chain.address("cold")), RejectionReason.NOT_PAYOUT_ADDRESS)
    chain.add(chain.call("hot", REGISTRY, WITHDRAW))
    chain.add(set_payout(chain, "colder", "hot", chain.address("cold")))  # Also while withdrawn.
    assert payout_of(chain, "hot") == chain.address("cold")
    assert offer_of(chain, "hot")[0] is False
    chain.add(register(chain, "hot", chain.address("cold")))
    assert payout_of(chain, "hot") == chain.address("cold")


def test_a_provider_that_is_its_own_payout_may_move_it_away_and_not_back(chain: Chain) -> None:
    chain.give("hot")
    chain.add(register(chain, "hot"))
    chain.add(set_payout(chain, "hot", "hot", chain.address("cold")))
    chain.fail(set_payout(chain, "hot", "hot", chain.address("hot")), RejectionReason.NOT_PAYOUT_ADDRESS)


def test_nobody_registers_for_somebody_else(rich_chain: Chain) -> None:
    chain = rich_chain
    chain.add(register(chain, "alice", chain.address("bob")))
    assert offer_of(chain, "bob")[0] is False
    chain.fail(set_payout(chain, "alice", "bob", chain.address("alice")), RejectionReason.NOT_REGISTERED)


def test_a_change_of_payout_holds_for_the_mints_behind_it(chain: Chain) -> None:
    chain.give("hot")
    chain.add(register(chain, "hot"))
    mints = [chain.mint("a", "hot", 5), chain.mint("b", "hot", 7)]
    chain.add(mints[0], set_payout(chain, "hot", "hot", chain.address("cold")), mints[1])
    assert chain.balance("hot") == 100 * 10**18 + 5
    assert chain.balance("cold") == 7
