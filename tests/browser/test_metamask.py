"""MetaMask's own controllers against a devnet, without a line of special support on either side.

They are the packages that MetaMask publishes and its extension is made of. What they say of a transaction is judged by
what the chain's REST API says of it.
"""

import time
from pathlib import Path
from typing import Any

import pytest

from chain.primitives.authorization import Authorization, authorization_typed_data, transfer_call_data
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import parse_address, parse_hex, to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey, recover_address
from chain.primitives.modules import MINT_WITH_RECEIPT, MINTER, TOKEN, TOKEN_APPROVE, TOKEN_TRANSFER
from chain.primitives.signing import eip191_digest
from chain.primitives.transaction import sign_transaction
from chain.primitives.types import ATOMS_PER_AIT
from genesis.topology import wallet_network
from tests.clients.network import DevnetNetwork, run_script
from tests.processes.cluster import Cluster
from tests.processes.payer import Payer

pytestmark = [pytest.mark.node, pytest.mark.timeout(200)]

METAMASK = Path(__file__).parent / "metamask.mjs"
GAS_SERVICE = "https://gas.api.cx.metamask.io"


@pytest.fixture
def drive(network: DevnetNetwork, holder: PrivateKey, chain_parameter: dict[str, Any]) -> Any:
    """`drive(scenario, …)`: what the holder's MetaMask saw, after it added the network."""

    def run(scenario: str, **more: Any) -> dict[str, Any]:
        inputs = {"network": chain_parameter, **more}
        seen = run_script(METAMASK, scenario, network.script_inputs(holder, **inputs))
        assert parse_address(seen["address"]) == holder.address
        # Its service for fees is asked first about any chain, and knows none of ours.
        assert set(seen["askedElsewhere"]) <= {GAS_SERVICE}
        return seen

    return run


def stranger() -> PrivateKey:
    return PrivateKey.generate()


def payment(to: PrivateKey, atoms: int) -> dict[str, str]:
    """What “Send” hands to the controllers."""
    return {"to": to_checksum_address(to.address), "value": hex(atoms)}


def call(to: bytes, data: bytes) -> dict[str, str]:
    """What a page hands over for a contract."""
    return {"to": to_hex(to), "data": to_hex(data), "value": "0x0"}


def test_the_network_is_added(network: DevnetNetwork, holder: PrivateKey, drive: Any) -> None:
    seen = drive("network")
    assert seen["metadata"] == {"status": "available", "EIPS": {"1559": True}}
    assert int(seen["chainId"], 16) == int(seen["version"]) == network.chain_id
    assert int(seen["balance"], 16) == 100 * ATOMS_PER_AIT
    assert 1 <= int(seen["height"], 16) <= network.client.status().finalized.height
    assert seen["prompts"] == []


def test_a_transfer_goes_from_the_prompt_to_confirmed(network: DevnetNetwork, holder: PrivateKey, drive: Any) -> None:
    payee = stranger()
    seen = drive("sends", transactions=[payment(payee, ATOMS_PER_AIT), payment(payee, 1)])
    assert seen["prompts"] == ["transaction", "transaction"]
    for nonce, record in enumerate(seen["records"], start=1):
        assert (record["status"], record["type"], record["verifiedOnBlockchain"]) == ("confirmed", "simpleSend", True)
        assert "simulationFails" not in record
        assert (int(record["txParams"]["nonce"], 16), record["txParams"]["type"]) == (nonce, "0x2")
        assert int(record["txParams"]["gas"], 16) == 21_000
        receipt = record["txReceipt"]
        final = network.client.transaction(record["hash"])
        height = int(receipt["blockNumber"], 16)
        assert (final.status, final.height) == ("success", height)
        assert (receipt["status"], receipt["blockHash"]) == ("0x1", network.client.block(height).hash)
        assert keccak256(parse_hex(record["rawTx"])) == parse_hex(record["hash"])
    assert network.balance(payee.address) == ATOMS_PER_AIT + 1
    assert network.balance(holder.address) == int(seen["balance"], 16) == 99 * ATOMS_PER_AIT - 1


def test_it_tells_its_nonces_apart_when_much_is_sent_at_once(
    network: DevnetNetwork, holder: PrivateKey, drive: Any
) -> None:
    payee = stranger()
    seen = drive("sendsAtOnce", transactions=[payment(payee, 2**bit) for bit in range(8)])
    assert [record["status"] for record in seen["records"]] == ["confirmed"] * 8
    assert sorted(int(record["txParams"]["nonce"], 16) for record in seen["records"]) == list(range(1, 9))
    assert network.balance(payee.address) == 2**8 - 1
    assert network.nonce(holder.address) == 9


def test_it_calls_the_modules_as_the_contracts_that_they_are(
    network: DevnetNetwork, holder: PrivateKey, drive: Any
) -> None:
    payee = stranger()
    mint = network.attested_mint(holder.address, 5 * ATOMS_PER_AIT)
    seen = drive(
        "sends",
        transactions=[
            call(TOKEN, TOKEN_TRANSFER.encode(payee.address, 7)),
            call(TOKEN, TOKEN_APPROVE.encode(payee.address, 8)),
            call(MINTER, mint.call_data),
        ],
    )
    kinds = [(record["status"], record["type"]) for record in seen["records"]]
    assert kinds == [
        ("confirmed", "transfer"),
        ("confirmed", "approve"),
        ("confirmed", "contractInteraction"),
    ]
    assert [len(record["txReceipt"]["logs"]) >= 1 for record in seen["records"]] == [True] * 3
    assert network.balance(payee.address) == 7
    assert network.balance(holder.address) == 105 * ATOMS_PER_AIT - 7


def test_what_cannot_succeed_is_said_before_it_is_signed(
    network: DevnetNetwork, holder: PrivateKey, drive: Any
) -> None:
    used = network.attested_mint(holder.address, ATOMS_PER_AIT)
    mint = sign_transaction(holder, chain_id=network.chain_id, nonce=1, to=MINTER, data=MINT_WITH_RECEIPT.encode(*used))
    network.client.send_transaction(mint.raw)
    assert network.client.wait_for_transaction(mint.hash).status == "success"
    seen = drive(
        "refused",
        transactions=[
            payment(stranger(), 1_000 * ATOMS_PER_AIT),
            call(MINTER, used.call_data),
            call(TOKEN, TOKEN_TRANSFER.encode(holder.address, 1_000 * ATOMS_PER_AIT)),
        ],
    )
    assert [reason["code"] for reason in seen["reasons"]] == [-32000, 3, 3]
    unfunded, replayed, overdrawn = (reason["message"] for reason in seen["reasons"])
    assert unfunded.startswith("insufficient funds for gas * price + value")
    assert replayed == "execution reverted: receipt used"
    assert overdrawn.startswith("execution reverted: insufficient funds")
    for record in seen["records"]:
        assert "reason" in record["simulationFails"]  # MetaMask's window warns that this is likely to fail.
        assert record["status"] == "failed"
    assert [record.get("hash") is None for record in seen["records"]] == [True, True, False]
    assert network.balance(holder.address) == 101 * ATOMS_PER_AIT


def test_its_keyring_signs_an_authorization_that_somebody_else_submits(
    network: DevnetNetwork, holder: PrivateKey, drive: Any
) -> None:
    payee, relayer = stranger(), network.funded()
    authorization = Authorization(
        sender=holder.address,
        recipient=payee.address,
        amount=3 * ATOMS_PER_AIT,
        valid_after=0,
        valid_before=int(time.time()) + 600,
        nonce=keccak256(holder.secret),
    )
    message = b"I hold this account"
    typed_data = authorization_typed_data(network.chain_id, authorization)
    seen = drive("signs", typedData=typed_data, message=to_hex(message))
    signature = parse_hex(seen["typedData"], length=65)
    relayed = sign_transaction(
        relayer, chain_id=network.chain_id, nonce=1, to=TOKEN, data=transfer_call_data(authorization, signature)
    )
    network.client.send_transaction(relayed.raw)
    assert network.client.wait_for_transaction(relayed.hash).status == "success"
    assert network.balance(payee.address) == 3 * ATOMS_PER_AIT
    assert network.nonce(holder.address) == 1  # The holder has sent nothing but the mint.
    assert recover_address(eip191_digest(message), parse_hex(seen["message"], length=65)) == holder.address


def test_a_newcomer_is_told_what_it_may_send_and_mints(network: DevnetNetwork, chain_parameter: dict[str, Any]) -> None:
    newcomer = stranger()
    mint = network.attested_mint(newcomer.address, ATOMS_PER_AIT)
    transactions = [payment(stranger(), 0), call(MINTER, mint.call_data)]
    inputs = network.script_inputs(newcomer, network=chain_parameter, transactions=transactions)
    seen = run_script(METAMASK, "refused", inputs)
    assert [record["status"] for record in seen["records"]] == ["failed", "confirmed"]
    assert "may only mint for a receipt or settle it, or register" in seen["reasons"][0]["message"]
    assert network.balance(newcomer.address) == ATOMS_PER_AIT


def test_where_the_network_asks_a_fee_it_offers_that(tmp_path: Path) -> None:
    base_fee, payee = 7 * 10**9, stranger()
    with Cluster.make(tmp_path, validators=1, followers=0, base_fee_atoms=base_fee) as cluster:
        cluster.start()
        (node,) = cluster.nodes
        holder = Payer(cluster)
        holder.settle_mint(node.client)
        inputs = {
            "url": node.url,
            "privateKey": to_hex(holder.key.secret),
            "network": wallet_network(cluster.network.chain_id, cluster.network.name, node.url),
            "transactions": [payment(payee, 1), call(TOKEN, TOKEN_TRANSFER.encode(payee.address, 1))],
        }
        seen = run_script(METAMASK, "sends", inputs)
        assert [record["status"] for record in seen["records"]] == ["confirmed"] * 2
        assert [int(record["txParams"]["maxFeePerGas"], 16) for record in seen["records"]] == [base_fee] * 2
        assert [int(record["baseFeePerGas"], 16) for record in seen["records"]] == [base_fee] * 2
        gas = sum(int(record["txReceipt"]["gasUsed"], 16) for record in seen["records"])
        assert int(node.client.account(holder.key.address).balance) == ATOMS_PER_AIT - 2 - gas * base_fee


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"chainId": "0x539"}, "says that its chain is"),
        ({"blockExplorerUrls": []}, "blockExplorerUrls is neither null nor a URL"),
        ({"rpcUrls": ["http://192.0.2.1/rpc"]}, "neither https nor loopback"),
    ],
)
def test_a_wrong_parameter_adds_no_network(
    network: DevnetNetwork, holder: PrivateKey, chain_parameter: dict[str, Any], change: dict[str, Any], why: str
) -> None:
    with pytest.raises(AssertionError, match=why):
        run_script(METAMASK, "network", network.script_inputs(holder, network=chain_parameter | change))
