"""`aitbc wallet providers`: offers side by side, in the order that was asked for, with what the chain counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from chain.client import NodeClient
from chain.primitives.abi import Function
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import PUBLISH_SLA, RECORD_OUTCOME, REGISTER, REGISTRY, WITHDRAW
from chain.primitives.transaction import sign_transaction
from chain.primitives.types import ATOMS_PER_AIT, ZERO_ADDRESS
from tests.wallet.running_node import ATTESTER, CHAIN_ID, RunningNode

RunWallet = Callable[..., Any]
KEYS = {name: PrivateKey(keccak256(name.encode())) for name in ("cheap", "large", "busy", "gone")}
SLA = keccak256(b"promise")


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningNode]:
    """A node of this file's own: on the one for all of the wallet's tests, others register providers too."""
    running = RunningNode(tmp_path_factory.mktemp("offers") / "main")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def market(node: RunningNode) -> RunningNode:
    """Four providers: one cheap but with failures, one with much memory, one with many receipts, one withdrawn."""
    with NodeClient(node.url) as client:

        def call(key: PrivateKey, function: Function, *arguments: Any) -> None:
            nonce, octets = client.account(key.address).nonce, function.encode(*arguments)
            sent = sign_transaction(key, chain_id=CHAIN_ID, nonce=nonce, to=REGISTRY, data=octets)
            client.send_transaction(sent.raw)
            assert client.wait_for_transaction(sent.hash).status == "success"

        for name, models, price, vram_mib in (
            ("cheap", ["tiny-sd"], 1 * 10**15, 8_192),
            ("large", ["tiny-sd", "sdxl"], 9 * 10**15, 81_920),
            ("busy", ["sdxl"], 5 * 10**15, 24_576),
            ("gone", ["tiny-sd"], 0, 0),
        ):
            endpoint = f"https://{name}.example"
            call(KEYS[name], REGISTER, endpoint, models, price, "gpu_seconds", vram_mib, ZERO_ADDRESS)
        for _ in range(3):
            node.fund(KEYS["busy"], 2 * ATOMS_PER_AIT)
        node.fund(KEYS["cheap"], ATOMS_PER_AIT)
        call(KEYS["gone"], WITHDRAW)
        call(KEYS["busy"], PUBLISH_SLA, SLA)
        call(ATTESTER, RECORD_OUTCOME, KEYS["cheap"].address, 2, 1, keccak256(b"evidence"))
    return node


def names(ran: Any) -> list[str]:
    known = {to_checksum_address(key.address): name for name, key in KEYS.items()}
    return [known[entry["address"]] for entry in ran.json["providers"]]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), ["cheap", "busy", "large"]),
        (("--sort", "vram"), ["large", "busy", "cheap"]),
        (("--sort", "units"), ["busy", "cheap", "large"]),
        (("--sort", "reputation"), ["busy", "large", "cheap"]),
        (("--model", "sdxl"), ["busy", "large"]),
        (("--model", "nothing"), []),
        (("--unit-type", "images"), []),
        (("--withdrawn",), ["gone", "cheap", "busy", "large"]),
    ],
)
def test_offers_are_sorted_and_chosen(
    wallet: RunWallet, market: RunningNode, words: tuple[str, ...], expected: list[str]
) -> None:
    ran = wallet("providers", *words, "--json")
    assert (ran.code, names(ran)) == (0, expected)


def test_what_the_chain_counted_is_shown(wallet: RunWallet, market: RunningNode) -> None:
    entries = {entry["endpoint"]: entry for entry in wallet("providers", "--json").json["providers"]}
    assert entries["https://busy.example"]["reputation"] == {
        "receipts": 3,
        "units_atoms": str(6 * ATOMS_PER_AIT),
        "failures": 0,
        "disputes": 0,
        "breaches": 0,
    }
    assert entries["https://busy.example"]["sla_hash"] == to_hex(SLA)
    assert entries["https://cheap.example"]["reputation"]["failures"] == 2
    assert entries["https://cheap.example"]["sla_hash"] is None
    lines = wallet("providers").stdout.splitlines()
    assert len(lines) == 4
    assert to_checksum_address(KEYS["cheap"].address) in lines[1]
    assert "0.001" in lines[1]
    assert "nobody" in wallet("providers", "--model", "nothing").stdout
