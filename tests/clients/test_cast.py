"""Foundry's cast: what its users do first, judged by what the chain's own REST API says of it.

The keys lie in keystores that this project's wallet wrote, so cast also judges those.
"""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from chain.primitives.hexadecimal import parse_hex, to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import MINTER, TOKEN
from chain.primitives.types import ATOMS_PER_AIT
from tests.clients.network import DevnetNetwork
from wallet.keystore import LIGHT_SCRYPT_N, save_key

pytestmark = [pytest.mark.node, pytest.mark.timeout(120)]

PASSWORD = "of the keystores in this folder"
MINT_WITH_RECEIPT = "mintWithReceipt(address,uint256,bytes32,bytes)"
TOKEN_ADDRESS = to_checksum_address(TOKEN)
MINTER_ADDRESS = to_checksum_address(MINTER)


class Cast:
    """cast at the node, with the key of one person."""

    def __init__(self, binary: Path, network: DevnetNetwork, key: PrivateKey, folder: Path) -> None:
        self._binary = binary
        self._environment = {**os.environ, "ETH_RPC_URL": network.rpc_url}
        password_file = folder / "password"
        password_file.write_text(PASSWORD)
        keystore = folder / f"{to_hex(key.address)}.json"
        save_key(keystore, key, PASSWORD, scrypt_n=LIGHT_SCRYPT_N)
        self._wallet = ("--keystore", str(keystore), "--password-file", str(password_file))

    def __call__(self, *arguments: str) -> str:
        """What it prints; fails the test where it fails."""
        done = self._run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def json(self, *arguments: str) -> Any:
        """The same as JSON."""
        return json.loads(self(*arguments, "--json"))

    def refusal(self, *arguments: str) -> str:
        """What it says where it fails; fails the test where it does not."""
        done = self._run(*arguments)
        assert done.returncode == 1, done.stdout
        return done.stderr

    def send(self, *arguments: str) -> Any:
        """The receipt of what it signs, sends and waits for."""
        return self.json("send", *self._wallet, *arguments)

    def send_refusal(self, *arguments: str) -> str:
        """Why it does not."""
        return self.refusal("send", *self._wallet, *arguments)

    def signed(self, *arguments: str) -> str:
        """What another of its commands signs with the keystore."""
        return self(*arguments, *self._wallet)

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._binary, *arguments], capture_output=True, text=True, timeout=60, check=False, env=self._environment
        )


@pytest.fixture
def holding(cast: Path, network: DevnetNetwork, holder: PrivateKey, tmp_path: Path) -> Cast:
    """cast in the hands of the holder."""
    return Cast(cast, network, holder, tmp_path)


@pytest.fixture
def recipient() -> str:
    """An address that nobody has used."""
    return to_checksum_address(PrivateKey.generate().address)


def number(text: str) -> int:
    """cast explains some numbers: `5000000000000000000 [5e18]`."""
    return int(text.split(maxsplit=1)[0], 0)


def minted_event(network: DevnetNetwork) -> str:
    """`Minted(…)` as cast wants it, from the ABI that the node publishes."""
    abi = httpx.get(f"{network.url}/v1/abi/minter").raise_for_status().json()["abi"]
    (minted,) = [entry for entry in abi if (entry["type"], entry["name"]) == ("event", "Minted")]
    inputs = [f"{each['type']}{' indexed' * each['indexed']} {each['name']}" for each in minted["inputs"]]
    return f"Minted({', '.join(inputs)})"


def test_it_connects_and_reads_blocks_and_balances(network: DevnetNetwork, holder: PrivateKey, holding: Cast) -> None:
    assert int(holding("chain-id")) == network.chain_id
    for url in (network.url, network.websocket_url):
        assert int(holding("chain-id", "--rpc-url", url)) == network.chain_id
    assert holding("client").lower().startswith("aitbc")
    height = int(holding("block-number"))
    assert holding("block", str(height), "--field", "hash") == network.client.block(height).hash
    for tag in ("latest", "finalized", "safe", network.client.block(height).hash):
        block = holding.json("block", tag)
        assert int(block["number"], 16) >= height  # An empty one may follow at any time.
        known = network.client.block(int(block["number"], 16))
        assert (block["hash"], block["transactions"]) == (known.hash, known.transactions)
        assert int(block["timestamp"], 16) == known.time_ms // 1000
    address = to_checksum_address(holder.address)
    assert int(holding("balance", address)) == 100 * ATOMS_PER_AIT
    assert holding("balance", "--ether", address) == "100.000000000000000000"
    assert holding("balance", "--block", str(network.minted_at(holder.address) - 1), address) == "0"
    assert (holding("nonce", address), holding("code", address)) == ("1", "0x")
    assert (holding("gas-price"), holding("base-fee")) == ("0", "0")
    assert holding("code", MINTER_ADDRESS) != "0x"
    assert "-32601" in holding.refusal("rpc", "eth_nothing")


@pytest.mark.parametrize("envelope", [(), ("--legacy",)], ids=["EIP-1559", "legacy"])
def test_it_sends_a_transfer_and_waits_for_its_receipt(
    network: DevnetNetwork, holder: PrivateKey, holding: Cast, recipient: str, envelope: tuple[str, ...]
) -> None:
    receipt = holding.send(recipient, "--value", "2.5ether", *envelope)
    known = network.client.transaction(receipt["transactionHash"])
    assert (known.status, known.height) == ("success", int(receipt["blockNumber"], 16))
    assert (receipt["status"], receipt["type"]) == ("0x1", "0x0" if envelope else "0x2")
    transaction = holding.json("tx", receipt["transactionHash"])
    assert (int(transaction["value"], 16), int(transaction["nonce"], 16)) == (5 * ATOMS_PER_AIT // 2, 1)
    assert holding.json("receipt", receipt["transactionHash"]) == receipt
    assert int(holding("balance", recipient)) == network.balance(recipient) == 5 * ATOMS_PER_AIT // 2


def test_it_publishes_what_was_signed_elsewhere(network: DevnetNetwork, holding: Cast, recipient: str) -> None:
    raw = holding.signed("mktx", recipient, "--value", "9")
    sent = holding("publish", "--async", raw)
    assert network.client.wait_for_transaction(sent.strip('"')).status == "success"
    assert network.balance(recipient) == 9


def test_it_takes_the_token_for_any_erc20(
    network: DevnetNetwork, holder: PrivateKey, holding: Cast, recipient: str
) -> None:
    assert holding("call", TOKEN_ADDRESS, "symbol()(string)") == '"AIT"'
    assert holding("call", TOKEN_ADDRESS, "decimals()(uint8)") == "18"
    receipt = holding.send(TOKEN_ADDRESS, "transfer(address,uint256)", recipient, "5")
    assert receipt["status"] == "0x1"
    assert [log["address"] for log in receipt["logs"]] == [TOKEN_ADDRESS.lower()]
    balance = holding("call", TOKEN_ADDRESS, "balanceOf(address)(uint256)", recipient)
    assert number(balance) == network.balance(recipient) == 5
    assert number(holding("erc20-token", "balance", TOKEN_ADDRESS, recipient)) == 5


def test_it_mints_with_a_receipt_and_reads_the_event(network: DevnetNetwork, cast: Path, tmp_path: Path) -> None:
    newcomer = PrivateKey.generate()
    minting = Cast(cast, network, newcomer, tmp_path)
    mint = network.attested_mint(newcomer.address, 5 * ATOMS_PER_AIT)
    provider, _, receipt_hash, _ = mint.texts()
    used = ("call", MINTER_ADDRESS, "usedReceipt(bytes32)(bool)", receipt_hash)
    assert minting(*used) == "false"
    forged = [provider, str(mint.units + 1), *mint.texts()[2:]]
    assert "bad sig" in minting.refusal("call", MINTER_ADDRESS, MINT_WITH_RECEIPT, *forged)
    estimate = minting("estimate", "--from", provider, MINTER_ADDRESS, MINT_WITH_RECEIPT, *mint.texts())
    receipt = minting.send(MINTER_ADDRESS, MINT_WITH_RECEIPT, *mint.texts())
    assert (receipt["status"], int(receipt["gasUsed"], 16)) == ("0x1", int(estimate))
    assert minting(*used) == "true"
    assert network.client.receipt(mint.receipt_hash).transaction_hash == receipt["transactionHash"]
    event = minted_event(network)
    (log,) = minting.json("logs", "--from-block", "0", "--address", MINTER_ADDRESS, event, provider)
    assert (log["transactionHash"], log["blockNumber"]) == (receipt["transactionHash"], receipt["blockNumber"])
    assert log["topics"] == [minting("sig-event", event), to_hex(bytes(12) + newcomer.address)]
    assert minting.json("decode-abi", "minted()(uint256,bytes32)", log["data"]) == [mint.units, receipt_hash]
    assert "receipt used" in minting.send_refusal(MINTER_ADDRESS, MINT_WITH_RECEIPT, *mint.texts())


def test_it_says_why_something_is_refused(network: DevnetNetwork, holding: Cast, recipient: str) -> None:
    assert "insufficient funds" in holding.send_refusal(recipient, "--value", "101ether")
    assert "nonce too low" in holding.send_refusal(recipient, "--value", "1", "--nonce", "0")
    too_much = ("transfer(address,uint256)", recipient, str(101 * ATOMS_PER_AIT))
    assert "execution reverted" in holding.send_refusal(TOKEN_ADDRESS, *too_much)
    # With a gas limit of one's own nothing is asked before: the failed call is in a block.
    assert holding.send(TOKEN_ADDRESS, *too_much, "--gas-limit", "200000")["status"] == "0x0"
    assert network.balance(recipient) == 0


def test_what_it_signs_as_typed_data_somebody_else_submits(
    network: DevnetNetwork, holder: PrivateKey, holding: Cast, cast: Path, tmp_path: Path, recipient: str
) -> None:
    relayer = network.funded()
    relaying = Cast(cast, network, relayer, tmp_path)
    names = ("from", "to", "value", "validAfter", "validBefore", "nonce")
    kinds = ("address", "address", "uint256", "uint256", "uint256", "bytes32")
    deadline = str(int(time.time()) + 3600)
    nonce = to_hex(PrivateKey.generate().secret)  # 32 random bytes
    terms = (to_checksum_address(holder.address), recipient, str(4 * ATOMS_PER_AIT), "0", deadline, nonce)
    domain_types = {"name": "string", "version": "string", "chainId": "uint256", "verifyingContract": "address"}
    typed = {
        "types": {
            "EIP712Domain": [{"name": name, "type": kind} for name, kind in domain_types.items()],
            "TransferWithAuthorization": [
                {"name": name, "type": kind} for name, kind in zip(names, kinds, strict=True)
            ],
        },
        "primaryType": "TransferWithAuthorization",
        "domain": {"name": "AITBC", "version": "1", "chainId": network.chain_id, "verifyingContract": TOKEN_ADDRESS},
        "message": dict(zip(names, terms, strict=True)),
    }
    signature = holding.signed("wallet", "sign", "--data", json.dumps(typed))
    assert len(parse_hex(signature)) == 65
    function = f"transferWithAuthorization({','.join(kinds)},bytes)"
    assert relaying.send(TOKEN_ADDRESS, function, *terms, signature)["status"] == "0x1"
    assert "authorization is used" in relaying.refusal("call", TOKEN_ADDRESS, function, *terms, signature)
    state = ("call", TOKEN_ADDRESS, "authorizationState(address,bytes32)(bool)", terms[0], nonce)
    assert relaying(*state) == "true"
    assert network.balance(recipient) == 4 * ATOMS_PER_AIT
    assert (network.nonce(holder.address), network.nonce(relayer.address)) == (1, 2)
