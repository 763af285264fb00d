"""The modules' tables: unambiguous, reserved, and with the selectors that Ethereum's tools know."""

import itertools

import pytest

from chain.primitives import modules
from chain.primitives.types import Address

KNOWN_SELECTORS = {
    "06fdde03": modules.TOKEN_NAME,
    "95d89b41": modules.TOKEN_SYMBOL,
    "313ce567": modules.TOKEN_DECIMALS,
    "18160ddd": modules.TOKEN_TOTAL_SUPPLY,
    "70a08231": modules.TOKEN_BALANCE_OF,
    "dd62ed3e": modules.TOKEN_ALLOWANCE,
    "a9059cbb": modules.TOKEN_TRANSFER,
    "095ea7b3": modules.TOKEN_APPROVE,
    "23b872dd": modules.TOKEN_TRANSFER_FROM,
    # Those of USDC, from the source of FiatTokenV2_2
    "e3ee160e": modules.TRANSFER_WITH_AUTHORIZATION_VRS,
    "cf092995": modules.TRANSFER_WITH_AUTHORIZATION,
    "ef55bec6": modules.RECEIVE_WITH_AUTHORIZATION_VRS,
    "88b7ab63": modules.RECEIVE_WITH_AUTHORIZATION,
    "5a049a70": modules.CANCEL_AUTHORIZATION_VRS,
    "b7b72899": modules.CANCEL_AUTHORIZATION,
    "e94a0102": modules.AUTHORIZATION_STATE,
    "a0cc6a68": modules.TRANSFER_WITH_AUTHORIZATION_TYPEHASH,
    "7f2eecc3": modules.RECEIVE_WITH_AUTHORIZATION_TYPEHASH,
    "d9169487": modules.CANCEL_AUTHORIZATION_TYPEHASH,
    "3644e515": modules.DOMAIN_SEPARATOR,
    "54fd4d50": modules.DOMAIN_VERSION,
    "84b0196e": modules.EIP712_DOMAIN,
}


@pytest.mark.parametrize("selector", KNOWN_SELECTORS)
def test_the_token_is_an_erc_20_and_an_erc_3009(selector: str) -> None:
    assert KNOWN_SELECTORS[selector].selector.hex() == selector
    assert KNOWN_SELECTORS[selector] in modules.FUNCTIONS[modules.TOKEN]


def test_the_events_of_an_erc_20() -> None:
    assert modules.TRANSFER_EVENT.topic.hex() == "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
    assert modules.APPROVAL_EVENT.topic.hex() == "8c5be1e5ebec7d5bd14f71427d1e84f3dd0314c0f7b2291e5b200ac8c7c3b925"


def test_the_events_of_an_erc_3009() -> None:
    used, canceled = modules.AUTHORIZATION_USED_EVENT, modules.AUTHORIZATION_CANCELED_EVENT
    assert used.topic.hex() == "98de503528ee59b575ef0c0a2576a82497bfc029a5685b209e9ec333479b10a5"
    assert canceled.topic.hex() == "1cdd46ff242716cdaa72d159d339a485b3438398348d68f09d7c8c0a59353d81"


def test_no_selector_and_no_topic_means_two_things() -> None:
    for functions in modules.FUNCTIONS.values():
        assert len({function.selector for function in functions}) == len(functions)
    events = list(itertools.chain.from_iterable(modules.EVENTS.values()))
    assert len({event.topic for event in events}) == len(events)


def test_module_addresses_are_distinct_and_reserved() -> None:
    assert len(set(modules.MODULES.values())) == 7
    assert all(modules.is_reserved(address) for address in modules.MODULES.values())
    assert modules.FUNCTIONS.keys() <= set(modules.MODULES.values())
    assert modules.TOKEN.hex() == "0000000000000000000000000000000a17bc0001"
    assert modules.MINTER.hex() == "0000000000000000000000000000000a17bc0002"

    prefix = modules.TOKEN[:19]
    assert modules.is_reserved(Address(prefix + b"\xff"))
    assert not modules.is_reserved(Address(bytes(20)))
    assert not modules.is_reserved(Address(prefix[:18] + b"\x01\x01"))
