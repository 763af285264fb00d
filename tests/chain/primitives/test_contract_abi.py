"""The modules as contracts: complete, and read by Ethereum's own tools as what they are."""

from __future__ import annotations

from typing import Any

import eth_abi
import pytest
from eth_utils.abi import (
    event_abi_to_log_topic,
    filter_abi_by_type,
    function_abi_to_4byte_selector,
    get_abi_input_types,
    get_abi_output_types,
)
from web3 import Web3
from web3.contract import Contract

from chain.primitives.abi import Event, Function
from chain.primitives.contract_abi import CONTRACTS, contract_abi
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.modules import (
    ASSET_EVENTS,
    ASSET_FUNCTIONS,
    EVENTS,
    FUNCTIONS,
    MODULES,
    PROVIDER,
    TOKEN,
    TRANSFER_EVENT,
)
from chain.primitives.types import Address

web3 = Web3()


def contract_of(module_name: str) -> type[Contract]:
    """As a script would make it."""
    return web3.eth.contract(abi=contract_abi(module_name))


def declared(name: str) -> tuple[tuple[Function, ...], tuple[Event, ...]]:
    """The functions and events that a contract must have."""
    if name == "asset":
        return ASSET_FUNCTIONS, ASSET_EVENTS
    return FUNCTIONS[MODULES[name]], EVENTS[MODULES[name]]


def test_every_module_that_defines_something_is_a_contract() -> None:
    assert set(CONTRACTS) == {"token", "minter", "registry", "governance", "escrow", "market", "htlc", "asset"}
    assert {MODULES[name] for name in CONTRACTS if name != "asset"} == FUNCTIONS.keys() == EVENTS.keys()
    for name in (*MODULES.keys() - set(CONTRACTS), "", "Token"):
        with pytest.raises(KeyError):
            contract_abi(name)


@pytest.mark.parametrize("name", CONTRACTS)
def test_selectors_and_topics_as_web3_computes_them(name: str) -> None:
    abi: Any = contract_abi(name)
    contract_of(name)  # It checks the form.
    functions, events = filter_abi_by_type("function", abi), filter_abi_by_type("event", abi)
    assert [function_abi_to_4byte_selector(entry) for entry in functions] == [
        function.selector for function in declared(name)[0]
    ]
    assert [event_abi_to_log_topic(entry) for entry in events] == [event.topic for event in declared(name)[1]]
    assert len(functions) + len(events) == len(abi)


@pytest.mark.parametrize("name", CONTRACTS)
def test_what_changes_nothing_is_a_view(name: str) -> None:
    abi: Any = contract_abi(name)
    for entry, function in zip(filter_abi_by_type("function", abi), declared(name)[0], strict=True):
        assert entry["stateMutability"] == ("view" if function.is_view else "nonpayable")
        assert get_abi_input_types(entry) == [abi_type.name for abi_type in function.input_types]
        assert get_abi_output_types(entry) == [abi_type.name for abi_type in function.output_types]


def test_a_view_of_many_values_is_read_by_name() -> None:
    contract: Any = contract_of("registry")
    values = (True, "https://x", ["a", "b"], 12, "images", 99, "0x" + "01" * 20)
    output = eth_abi.encode([abi_type.name for abi_type in PROVIDER.output_types], values)
    function = contract.functions.provider("0x" + "01" * 20)
    assert function.abi["outputs"][6] == {"name": "payout", "type": "address"}
    assert web3.codec.decode(get_abi_output_types(function.abi), output) == tuple(
        tuple(value) if isinstance(value, list) else value for value in values
    )


def test_web3_reads_an_event_of_ours() -> None:
    sender, recipient = Address(b"\1" * 20), Address(b"\2" * 20)
    topics, data = TRANSFER_EVENT.encode(sender, recipient, 5)
    contract: Any = contract_of("token")
    log = {
        "address": to_checksum_address(TOKEN),
        "topics": topics,
        "data": data,
        "blockNumber": 1,
        "blockHash": bytes(32),
        "transactionHash": bytes(32),
        "transactionIndex": 0,
        "logIndex": 0,
        "removed": False,
    }
    event = contract.events.Transfer().process_log(log)
    assert dict(event["args"]) == {
        "from": to_checksum_address(sender),
        "to": to_checksum_address(recipient),
        "value": 5,
    }


def test_web3_calls_overloaded_functions_by_their_arguments() -> None:
    contract: Any = contract_of("token")
    head = ("0x" + "01" * 20, "0x" + "02" * 20, 5, 0, 2**40, bytes(32))
    whole = contract.encode_abi("transferWithAuthorization", args=[*head, b"\1" * 65])
    parts = contract.encode_abi("transferWithAuthorization", args=[*head, 27, b"\1" * 32, b"\2" * 32])
    assert (whole[:10], parts[:10]) == ("0xcf092995", "0xe3ee160e")


def test_an_asset_is_an_erc_20_to_web3() -> None:
    contract: Any = contract_of("asset")
    assert contract.encode_abi("transfer", args=["0x" + "01" * 20, 5])[:10] == "0xa9059cbb"
    assert {entry["name"] for entry in filter_abi_by_type("event", contract.abi)} == {"Transfer", "Approval"}
