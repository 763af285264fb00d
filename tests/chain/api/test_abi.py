"""GET /v1/abi: what a script fetches to speak with the modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from web3 import Web3

from chain.primitives.contract_abi import CONTRACTS, contract_abi
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.modules import MINTER, MODULES, USED_RECEIPT

if TYPE_CHECKING:
    from tests.chain.conftest import RunningNode


def test_all_modules(node: RunningNode) -> None:
    answer = httpx.get(f"{node.url}/v1/abi", timeout=60).raise_for_status().json()
    assert [entry["module"] for entry in answer["modules"]] == list(CONTRACTS)
    for entry in answer["modules"]:
        is_asset = entry["module"] == "asset"  # Each asset answers at an address of its own.
        assert entry["address"] == (None if is_asset else to_checksum_address(MODULES[entry["module"]]))
        assert entry["abi"] == contract_abi(entry["module"])
        assert httpx.get(f"{node.url}/v1/abi/{entry['module']}", timeout=60).json() == entry


def test_a_script_needs_nothing_else(node: RunningNode) -> None:
    answer: dict[str, Any] = httpx.get(f"{node.url}/v1/abi/minter", timeout=60).raise_for_status().json()
    contract: Any = Web3().eth.contract(address=answer["address"], abi=answer["abi"])
    assert contract.address == to_checksum_address(MINTER)
    assert contract.encode_abi("usedReceipt", args=[b"\1" * 32]) == "0x" + USED_RECEIPT.encode(b"\1" * 32).hex()


@pytest.mark.parametrize("name", ["treasury", "nobody", "abi"])
def test_a_module_that_defines_nothing(node: RunningNode, name: str) -> None:
    response = httpx.get(f"{node.url}/v1/abi/{name}", timeout=60)
    assert (response.status_code, response.json()["field"]) == (404, "module")


@pytest.mark.parametrize("name", ["Minter", "x" * 33, "%2e%2e", "minter.json", "%00", "é"])
def test_what_is_no_name(node: RunningNode, name: str) -> None:
    response = httpx.get(f"{node.url}/v1/abi/{name}", timeout=60)
    assert response.status_code in (400, 404, 422)
    assert response.headers["content-type"] == "application/problem+json"
