"""ethers v6 and viem under Node.js: what their users do first, judged by what the chain's own REST API says of it."""

import secrets
import time
from pathlib import Path
from typing import Any

import pytest

from chain.primitives.hexadecimal import parse_address, to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.modules import TOKEN
from chain.primitives.types import ATOMS_PER_AIT
from tests.clients.network import DevnetNetwork, run_script

pytestmark = [pytest.mark.node, pytest.mark.timeout(200)]

CLIENTS = ("ethers", "viem")
BATCH = 100


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    """The library, and its script here."""
    name: str = request.param
    return name


def drive(client: str, scenario: str, network: DevnetNetwork, key: PrivateKey, **more: Any) -> dict[str, Any]:
    """What a scenario of a client's script saw."""
    return run_script(Path(__file__).parent / f"{client}.mjs", scenario, network.script_inputs(key, **more))


def stranger() -> str:
    """An address that nobody has used."""
    return to_checksum_address(PrivateKey.generate().address)


def same(address: str, other: str) -> bool:
    """viem gives some addresses as the node wrote them, and others with a checksum."""
    return parse_address(address) == parse_address(other)


def test_it_connects_and_reads_blocks_and_balances(network: DevnetNetwork, holder: PrivateKey, client: str) -> None:
    head = network.client.status().finalized
    height = network.minted_at(holder.address)
    seen = drive(client, "connect", network, holder, height=height)
    assert int(seen["chainId"]) == network.chain_id
    # An empty block may follow at any time.
    assert head.height <= int(seen["number"]) <= int(seen["latest"]["number"]) <= int(seen["finalized"])
    block = network.client.block(int(seen["latest"]["number"]))
    assert (seen["latest"]["hash"], seen["latest"]["parentHash"]) == (block.hash, block.parent_hash)
    assert int(seen["latest"]["timestamp"]) == block.time_ms // 1000
    assert seen["full"]["hash"] == seen["same"] == network.client.block(height).hash
    assert [parse_address(each) for each in seen["full"]["senders"]] == [holder.address]
    genesis = seen["genesis"]["hash"] if client == "ethers" else seen["genesis"]
    assert genesis == network.client.block(0).hash
    assert int(seen["balance"]) == 100 * ATOMS_PER_AIT
    assert int(seen["earlier"]) == 0
    assert int(seen["nonce"]) == 1
    if client == "ethers":
        assert seen["none"] is None
        assert (seen["fees"]["gasPrice"], seen["code"]) == ("0", "0x")
    else:
        assert seen["none"]["name"] == "BlockNotFoundError"
        assert (seen["full"]["baseFee"], seen["gasPrice"], seen["fees"]["maxFeePerGas"]) == ("0", "0", "0")
        assert seen["history"]["baseFees"] == ["0"] * (seen["history"]["ratios"] + 1)
        assert seen["code"] is None


def test_it_sends_a_transfer_and_waits_for_its_receipt(network: DevnetNetwork, holder: PrivateKey, client: str) -> None:
    recipient = stranger()
    seen = drive(client, "transfer", network, holder, to=recipient, value=str(7 * ATOMS_PER_AIT))
    known = network.client.transaction(seen["hash"])
    assert (known.status, known.finalized) == ("success", True)
    assert seen["receipt"]["status"] in (1, "success")
    assert int(seen["receipt"]["blockNumber"]) == known.height
    assert int(seen["receipt"]["gasUsed"]) == 21_000
    assert seen["receipt"]["logs"] == 1  # A plain transfer is a Transfer of the ERC-20 too.
    assert same(seen["read"]["from"], to_checksum_address(holder.address))
    assert same(seen["read"]["to"], recipient)
    assert (int(seen["read"]["value"]), seen["read"]["nonce"]) == (7 * ATOMS_PER_AIT, 1)
    assert seen["read"]["blockHash"] == network.client.block(known.height).hash
    assert int(seen["balance"]) == network.balance(recipient) == 7 * ATOMS_PER_AIT
    assert network.balance(holder.address) == 93 * ATOMS_PER_AIT
    assert seen["unknown"] is None or seen["unknown"]["name"] == "TransactionReceiptNotFoundError"


def test_it_takes_the_token_for_any_erc20(network: DevnetNetwork, holder: PrivateKey, client: str) -> None:
    recipient, spender = stranger(), network.funded()
    seen = drive(client, "token", network, holder, to=recipient, spenderKey=to_hex(spender.secret))
    assert (seen["name"], seen["symbol"], int(seen["decimals"])) == ("AITBC", "AIT", 18)
    assert int(seen["supply"]) == int(network.client.supply().supply)
    assert int(seen["balance"]) == network.balance(recipient) == 3 * ATOMS_PER_AIT
    assert seen["answered"] is True
    ((event, sender, to, value),) = seen["event"]
    assert (event, int(value)) == ("Transfer", 2 * ATOMS_PER_AIT)
    assert same(sender, to_checksum_address(holder.address))
    assert same(to, recipient)
    assert (int(seen["allowance"]), int(seen["left"])) == (3 * ATOMS_PER_AIT, 2 * ATOMS_PER_AIT)
    transferred, taken = seen["hashes"]
    assert seen["found"] == [[transferred, str(2 * ATOMS_PER_AIT)], [taken, str(ATOMS_PER_AIT)]]


def test_it_mints_with_a_receipt_and_reads_the_event(network: DevnetNetwork, client: str) -> None:
    newcomer = PrivateKey.generate()
    mint = network.attested_mint(newcomer.address, 5 * ATOMS_PER_AIT)
    seen = drive(client, "mint", network, newcomer, arguments=mint.texts())
    assert (seen["before"], seen["after"]) == (False, True)
    assert seen["status"] in (1, "success")
    assert seen["gas"] == seen["gasUsed"]
    minted = network.client.receipt(mint.receipt_hash)
    assert minted.transaction_hash == seen["hash"]
    assert same(minted.attesters[0], seen["attester"])
    provider, units, receipt_hash, _ = mint.texts()
    assert seen["minted"] == [[provider, units, receipt_hash]]
    ((height, transaction_hash, *values),) = seen["logs"]
    assert (int(height), transaction_hash, values) == (minted.height, seen["hash"], [provider, units, receipt_hash])
    assert network.balance(newcomer.address) == 5 * ATOMS_PER_AIT
    for refused, words in ((seen["again"], "receipt used"), (seen["called"], "bad sig")):
        assert refused["refused"] is True
        assert words in refused["message"]
    if client == "ethers":
        assert seen["again"]["code"] == seen["called"]["code"] == "CALL_EXCEPTION"
        assert "receipt used" in seen["again"]["reason"]
    else:
        assert seen["again"]["name"] == seen["called"]["name"] == "ContractFunctionExecutionError"


def test_it_says_why_something_is_refused(network: DevnetNetwork, holder: PrivateKey, client: str) -> None:
    recipient = stranger()
    seen = drive(client, "refusals", network, holder, to=recipient)
    told = {name: refusal for name, refusal in seen.items() if name != "receipt"}
    assert all(refusal["refused"] for refusal in told.values())
    for name in ("call", "estimate"):
        assert "insufficient" in told[name]["message"] or "exceeds balance" in told[name]["message"]
    if client == "ethers":
        assert told["funds"]["code"] == "INSUFFICIENT_FUNDS"
        assert told["nonce"]["code"] == "NONCE_EXPIRED"
        assert told["call"]["code"] == told["estimate"]["code"] == told["failed"]["code"] == "CALL_EXCEPTION"
        assert seen["receipt"] == 0
    else:
        assert "total cost" in told["funds"]["message"]  # What viem says for geth's "insufficient funds".
        assert "lower than the current nonce" in told["nonce"]["message"]
        assert seen["receipt"] == "reverted"
    assert network.balance(recipient) == 1
    assert network.nonce(holder.address) == 3


def test_a_hundred_at_once_travel_in_batches(network: DevnetNetwork, holder: PrivateKey, client: str) -> None:
    recipient = stranger()
    seen = drive(client, "batch", network, holder, to=recipient, count=BATCH)
    assert max(seen["bodies"]) == BATCH
    assert set(seen["statuses"]) <= {1, "success"}
    assert len(seen["statuses"]) == BATCH
    assert seen["balances"] == [str(BATCH)] * BATCH
    assert int(seen["nonce"]) == network.nonce(holder.address) == BATCH + 1
    assert network.balance(recipient) == BATCH


def test_what_it_signs_as_typed_data_somebody_else_submits(
    network: DevnetNetwork, holder: PrivateKey, client: str
) -> None:
    recipient, relayer = stranger(), network.funded()
    seen = drive(
        client,
        "relay",
        network,
        holder,
        relayerKey=to_hex(relayer.secret),
        to=recipient,
        value=str(4 * ATOMS_PER_AIT),
        nonce=to_hex(secrets.token_bytes(32)),
        validBefore=int(time.time()) + 3600,
    )
    domain = seen["domain"]
    assert (domain["name"], domain["version"], int(domain["chainId"])) == ("AITBC", "1", network.chain_id)
    assert same(domain["verifyingContract"], to_checksum_address(TOKEN))
    assert seen["status"] in (1, "success")
    assert {event for event, *_ in seen["events"]} == {"AuthorizationUsed", "Transfer"}
    assert seen["used"] is True
    for refused, words in ((seen["forged"], "invalid signature"), (seen["again"], "authorization is used")):
        assert refused["refused"] is True
        assert words in refused["message"]
    assert network.balance(recipient) == 4 * ATOMS_PER_AIT
    assert network.balance(holder.address) == 96 * ATOMS_PER_AIT
    assert (network.nonce(holder.address), network.nonce(relayer.address)) == (1, 2)


@pytest.mark.parametrize("transport", ["watch", "subscribe"])
def test_it_hears_of_blocks_events_and_pending_transactions(
    network: DevnetNetwork, client: str, transport: str
) -> None:
    """Over HTTP it asks filters again and again; over WebSocket it is told."""
    newcomer = PrivateKey.generate()
    mint = network.attested_mint(newcomer.address, ATOMS_PER_AIT)
    seen = drive(client, transport, network, newcomer, arguments=mint.texts())
    height = network.client.receipt(mint.receipt_hash).height
    assert int(seen["blockNumber"]) == height
    assert height in [int(each) for each in seen["blocks"]]
    provider, units, receipt_hash, _ = mint.texts()
    ((minted_height, transaction_hash, *values),) = seen["minted"]
    assert (int(minted_height), transaction_hash, values) == (height, seen["hash"], [provider, units, receipt_hash])
    assert seen["pending"].count(seen["hash"]) == 1
    assert seen.get("errors", []) == []
    assert int(seen["after"]) >= height
