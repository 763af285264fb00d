"""eth_sendRawTransaction: the way into the mempool, one by one or a whole batch at once."""

from collections.abc import Sequence
from typing import Any

from chain.api.rpc.errors import SERVER_ERROR, RpcError, refusal
from chain.api.rpc.methods import Method, Parameter
from chain.api.rpc.nonce_order import NonceOrder
from chain.api.rpc.served_chain import ServedChain
from chain.api.rpc.values import DATA, HASH_SCHEMA
from chain.primitives.hashing import keccak256
from chain.primitives.hexadecimal import to_hex
from chain.primitives.rejection import Rejected, RejectionReason


def sending_methods(chain: ServedChain) -> tuple[Method, ...]:
    """The way into one node's mempool."""
    node = chain.node
    order = NonceOrder(node)

    def check_node() -> None:
        if node.fault is not None:
            raise RpcError(SERVER_ERROR, "this node has stopped making blocks; send the transaction to another")

    def send(raw: bytes) -> str:
        check_node()
        transaction_hash = keccak256(raw)
        if node.pool.get(transaction_hash) is not None:
            raise _already_known()
        node.submit(raw)
        return to_hex(transaction_hash)

    async def send_all(calls: Sequence[Sequence[Any]]) -> list[str | RpcError]:
        check_node()
        hashes = [keccak256(raw) for (raw,) in calls]
        fresh = {each: raw for each, (raw,) in zip(hashes, calls, strict=True) if node.pool.get(each) is None}
        outcomes = await order.submit_all(list(fresh.values()))
        refused = {
            each: refusal(outcome)
            for each, outcome in zip(fresh, outcomes, strict=True)
            if isinstance(outcome, Rejected)
        }
        answers: list[str | RpcError] = []
        for each in hashes:
            if each in refused:
                answers.append(refused[each])
            else:  # The second time that one stands in a batch, it is known.
                answers.append(to_hex(each) if fresh.pop(each, None) is not None else _already_known())
        return answers

    return (
        Method(
            name="eth_sendRawTransaction",
            summary="Hand in a signed transaction; answers its hash",
            parameters=(Parameter("transaction", DATA),),
            result=HASH_SCHEMA,
            handler=send,
            handle_all=send_all,
            is_early=order.is_early,
            wait=order.wait,
        ),
    )


def _already_known() -> RpcError:
    return refusal(Rejected(RejectionReason.ALREADY_KNOWN, "already known"))
