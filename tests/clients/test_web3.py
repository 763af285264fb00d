"""web3.py: what its users do first, judged by what the chain's own REST API says of it."""

import secrets
import time
from typing import Any

import httpx
import pytest
from eth_account import Account
from web3 import AsyncWeb3, Web3, WebSocketProvider
from web3.exceptions import BlockNotFound, ContractLogicError, TransactionNotFound, Web3RPCError
from web3.middleware import SignAndSendRawMiddlewareBuilder
from web3.types import Nonce

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.keys import PrivateKey
from chain.primitives.types import ATOMS_PER_AIT
from tests.clients.network import DevnetNetwork

pytestmark = pytest.mark.timeout(120)


def connected(network: DevnetNetwork, *keys: PrivateKey) -> Web3:
    """web3.py at the node; it signs for these keys, and sends from the first."""
    w3 = Web3(Web3.HTTPProvider(network.rpc_url))
    for key in keys:
        w3.middleware_onion.inject(SignAndSendRawMiddlewareBuilder.build(Account.from_key(key.secret)), layer=0)
    if keys:
        w3.eth.default_account = checksum(keys[0])
    return w3


def checksum(key: PrivateKey | None = None) -> Any:
    """A key's address, or one that nobody has used, in the type that web3.py wants."""
    return to_checksum_address((key or PrivateKey.generate()).address)


def module(w3: Web3, network: DevnetNetwork, name: str) -> Any:
    """A module as web3.py's contract, from the ABI that the node publishes."""
    published = httpx.get(f"{network.url}/v1/abi/{name}").raise_for_status().json()
    return w3.eth.contract(address=published["address"], abi=published["abi"])


def test_it_connects_and_reads_blocks_and_balances(network: DevnetNetwork, holder: PrivateKey) -> None:
    w3 = connected(network)
    assert w3.is_connected(show_traceback=True)
    assert w3.client_version.lower().startswith("aitbc")
    assert w3.eth.chain_id == network.chain_id
    assert w3.net.version == str(network.chain_id)
    assert w3.eth.syncing is False
    number = w3.eth.block_number
    latest = w3.eth.get_block("latest")
    assert number <= latest["number"] <= w3.eth.get_block("finalized")["number"]  # An empty one may follow at any time.
    known = network.client.block(latest["number"])
    assert (to_hex(latest["hash"]), latest["timestamp"]) == (known.hash, known.time_ms // 1000)
    height = network.minted_at(holder.address)
    full: Any = w3.eth.get_block(height, full_transactions=True)
    assert [transaction["from"] for transaction in full["transactions"]] == [checksum(holder)]
    assert w3.eth.get_block_transaction_count(full["hash"]) == 1
    assert w3.eth.get_balance(checksum(holder)) == 100 * ATOMS_PER_AIT
    assert w3.eth.get_balance(checksum(holder), height - 1) == 0
    assert w3.eth.get_transaction_count(checksum(holder)) == 1
    assert (w3.eth.gas_price, w3.eth.max_priority_fee, w3.eth.get_code(checksum(holder))) == (0, 0, b"")
    history = w3.eth.fee_history(2, "latest", [20.0])
    assert history["baseFeePerGas"] == [0] * (len(history["gasUsedRatio"]) + 1)
    with pytest.raises(BlockNotFound):
        w3.eth.get_block(10_000_000)
    with pytest.raises(TransactionNotFound):
        w3.eth.get_transaction_receipt(to_hex(bytes(32)))  # type: ignore[arg-type]


@pytest.mark.parametrize("fields", [{}, {"gasPrice": 0}], ids=["EIP-1559", "legacy"])
def test_it_sends_a_transfer_and_waits_for_its_receipt(
    network: DevnetNetwork, holder: PrivateKey, fields: dict[str, Any]
) -> None:
    w3 = connected(network, holder)
    recipient = checksum()
    sent = w3.eth.send_transaction({"to": recipient, "value": Web3.to_wei(3, "ether"), **fields})  # type: ignore[typeddict-item]
    receipt = w3.eth.wait_for_transaction_receipt(sent)
    known = network.client.transaction(to_hex(sent))
    assert known.status == "success"
    assert known.height == int(receipt["blockNumber"])
    assert (receipt["status"], receipt["gasUsed"], receipt["type"]) == (1, 21_000, 0 if fields else 2)
    assert (receipt["from"], receipt["to"]) == (checksum(holder), recipient)
    transaction = w3.eth.get_transaction(sent)
    assert (transaction["value"], transaction["nonce"]) == (3 * ATOMS_PER_AIT, 1)
    assert w3.eth.get_transaction_by_block(receipt["blockNumber"], receipt["transactionIndex"])["hash"] == sent
    assert w3.eth.get_balance(recipient) == network.balance(recipient) == 3 * ATOMS_PER_AIT


def test_it_takes_the_token_for_any_erc20(network: DevnetNetwork, holder: PrivateKey) -> None:
    w3 = connected(network, holder)
    token = module(w3, network, "token")
    assert (token.functions.name().call(), token.functions.symbol().call()) == ("AITBC", "AIT")
    assert token.functions.decimals().call() == 18
    recipient = checksum()
    assert token.functions.transfer(recipient, 5).call() is True
    receipt = w3.eth.wait_for_transaction_receipt(token.functions.transfer(recipient, 5).transact())
    (event,) = token.events.Transfer().process_receipt(receipt)
    assert dict(event["args"]) == {"from": checksum(holder), "to": recipient, "value": 5}
    assert token.functions.balanceOf(recipient).call() == network.balance(recipient) == 5
    (found,) = token.events.Transfer().get_logs(argument_filters={"to": recipient}, from_block=0)
    assert found["transactionHash"] == receipt["transactionHash"]
    assert found["logIndex"] == event["logIndex"]


def test_it_mints_with_a_receipt_and_reads_the_event(network: DevnetNetwork) -> None:
    newcomer = PrivateKey.generate()
    w3 = connected(network, newcomer)
    minter = module(w3, network, "minter")
    mint = network.attested_mint(newcomer.address, 5 * ATOMS_PER_AIT)
    watched = minter.events.Minted.create_filter(from_block="latest", argument_filters={"provider": checksum(newcomer)})
    assert minter.functions.usedReceipt(mint.receipt_hash).call() is False
    with pytest.raises(ContractLogicError, match=r"execution reverted: .*bad sig"):
        minter.functions.mintWithReceipt(checksum(newcomer), mint.units + 1, *mint[2:]).call()
    call = minter.functions.mintWithReceipt(checksum(newcomer), *mint[1:])
    assert call.estimate_gas() == 100_000 + 16 * len(mint.call_data)
    receipt = w3.eth.wait_for_transaction_receipt(call.transact())
    assert receipt["status"] == 1
    assert receipt["gasUsed"] == 100_000 + 16 * len(mint.call_data)
    assert network.client.receipt(mint.receipt_hash).transaction_hash == to_hex(receipt["transactionHash"])
    assert minter.functions.usedReceipt(mint.receipt_hash).call() is True
    minted = {"provider": checksum(newcomer), "units": mint.units, "receiptHash": mint.receipt_hash}
    (event,) = minter.events.Minted().get_logs(argument_filters={"provider": checksum(newcomer)}, from_block=0)
    assert dict(event["args"]) == minted
    assert event["blockNumber"] == receipt["blockNumber"]
    assert [dict(each["args"]) for each in watched.get_new_entries()] == [minted]
    with pytest.raises(ContractLogicError, match=r"execution reverted: .*receipt used"):
        call.transact()


def test_it_says_why_something_is_refused(network: DevnetNetwork, holder: PrivateKey) -> None:
    w3 = connected(network, holder)
    recipient = checksum()
    with pytest.raises(Web3RPCError, match="insufficient funds"):
        w3.eth.send_transaction({"to": recipient, "value": Web3.to_wei(101, "ether")})
    with pytest.raises(Web3RPCError, match="nonce too low"):
        w3.eth.send_transaction({"to": recipient, "value": Web3.to_wei(1, "wei"), "nonce": Nonce(0)})
    with pytest.raises(ContractLogicError, match="execution reverted"):
        module(w3, network, "token").functions.transfer(recipient, 101 * ATOMS_PER_AIT).call()
    # With a gas limit of one's own nothing is asked before: the failed call is in a block.
    failing = module(w3, network, "token").functions.transfer(recipient, 101 * ATOMS_PER_AIT)
    receipt = w3.eth.wait_for_transaction_receipt(failing.transact({"gas": 200_000}))
    assert (receipt["status"], receipt["logs"]) == (0, [])
    assert network.balance(recipient) == 0


def test_a_hundred_transfers_are_sent_before_any_is_awaited(network: DevnetNetwork, holder: PrivateKey) -> None:
    w3 = connected(network, holder)
    recipient = checksum()
    sent = [
        w3.eth.send_transaction({"to": recipient, "value": Web3.to_wei(1, "wei"), "nonce": Nonce(1 + index)})
        for index in range(100)
    ]
    assert w3.eth.wait_for_transaction_receipt(sent[-1])["status"] == 1
    with w3.batch_requests() as batch:
        for transaction_hash in sent:
            batch.add(w3.eth.get_transaction_receipt(transaction_hash))
        receipts: Any = batch.execute()
    assert [receipt["transactionHash"] for receipt in receipts] == sent
    assert {receipt["status"] for receipt in receipts} == {1}
    assert network.balance(recipient) == 100


def test_what_it_signs_as_typed_data_somebody_else_submits(network: DevnetNetwork, holder: PrivateKey) -> None:
    relayer = network.funded()
    w3 = connected(network, relayer)
    token = module(w3, network, "token")
    _, name, version, chain_id, contract, *_ = token.functions.eip712Domain().call()
    fields = [("from", "address"), ("to", "address"), ("value", "uint256")]
    fields += [("validAfter", "uint256"), ("validBefore", "uint256"), ("nonce", "bytes32")]
    recipient = checksum()
    terms = (checksum(holder), recipient, 4 * ATOMS_PER_AIT, 0, int(time.time()) + 3600, secrets.token_bytes(32))
    signed = Account.sign_typed_data(
        holder.secret,
        {"name": name, "version": version, "chainId": chain_id, "verifyingContract": contract},
        {"TransferWithAuthorization": [{"name": field, "type": kind} for field, kind in fields]},
        dict(zip((field for field, _ in fields), terms, strict=True)),
    )
    submit = token.get_function_by_signature(
        "transferWithAuthorization(address,address,uint256,uint256,uint256,bytes32,bytes)"
    )
    with pytest.raises(ContractLogicError, match="invalid signature"):
        submit(*terms[:2], terms[2] + 1, *terms[3:], signed.signature).call()
    receipt = w3.eth.wait_for_transaction_receipt(submit(*terms, signed.signature).transact())
    assert receipt["status"] == 1
    assert token.functions.authorizationState(checksum(holder), terms[-1]).call() is True
    (used,) = token.events.AuthorizationUsed().get_logs(argument_filters={"authorizer": checksum(holder)}, from_block=0)
    assert dict(used["args"]) == {"authorizer": checksum(holder), "nonce": terms[-1]}
    with pytest.raises(ContractLogicError, match="authorization is used"):
        submit(*terms, signed.signature).call()
    assert network.balance(recipient) == 4 * ATOMS_PER_AIT
    assert (network.nonce(holder.address), network.nonce(relayer.address)) == (1, 2)


async def test_it_is_told_of_new_blocks_over_websocket(network: DevnetNetwork, holder: PrivateKey) -> None:
    async with AsyncWeb3(WebSocketProvider(network.websocket_url)) as w3:
        subscription = await w3.eth.subscribe("newHeads")
        fields = {"to": checksum(), "value": 1, "gas": 21_000, "maxFeePerGas": 0, "maxPriorityFeePerGas": 0}
        signed = Account.sign_transaction({**fields, "chainId": network.chain_id, "nonce": 1}, holder.secret)
        sent = await w3.eth.send_raw_transaction(signed.raw_transaction)
        receipt = await w3.eth.wait_for_transaction_receipt(sent)
        async for message in w3.socket.process_subscriptions():
            assert message["subscription"] == subscription
            header: Any = message["result"]
            if header["number"] == receipt["blockNumber"]:
                assert header["hash"] == receipt["blockHash"]
                break
        assert await w3.eth.unsubscribe(subscription)
