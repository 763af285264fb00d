"""Whether a receipt is for a request. Only with that does a client's signature in a receipt say anything.

Without the request, any 32 bytes that somebody signed could be passed off as the hash of one. Whoever attests also
remembers (client, nonce) of signed requests, so that one request gives one receipt.
"""

from chain.primitives.client_request import MAX_START_DELAY_S, ClientRequest, check_hub_id_is_no_address
from chain.primitives.hexadecimal import to_checksum_address
from chain.primitives.receipt import Receipt
from chain.primitives.rejection import Rejected, RejectionReason


def audience_of(receipt: Receipt) -> str:
    """Who had to serve the request: the hub by its id, or the provider by its address."""
    return receipt.hub_id or to_checksum_address(receipt.provider)


def check_request(receipt: Receipt, request: ClientRequest) -> None:
    """Raises Rejected (wrong_request; malformed for a hub_id in a provider's form) unless the receipt is for it."""
    check_hub_id_is_no_address(receipt.hub_id)
    for name, stated, signed in (
        ("chain_id", receipt.chain_id, request.chain_id),
        ("audience", audience_of(receipt), request.audience),
        ("prompt_hash", receipt.prompt_hash, "sha256:" + request.prompt_hash.hex()),
        ("request_hash", receipt.request_hash, request.hash),
    ):
        if stated != signed:
            raise _wrong_request(name, f"the receipt's {name} is not the request's")
    if receipt.amount > request.max_price:
        raise _wrong_request("amount", f"{receipt.amount} atoms are above the client's maximum {request.max_price}")
    if receipt.client_signature is None:
        return
    if receipt.started_at > request.expiry + MAX_START_DELAY_S:
        raise _wrong_request("started_at", "the work began long after the request had expired")
    if not receipt.hub_id and receipt.nonce != request.nonce.hex():  # A hub's attempts have nonces of their own.
        raise _wrong_request("nonce", "the receipt's nonce is not the request's")


def _wrong_request(field: str, message: str) -> Rejected:
    return Rejected(RejectionReason.WRONG_REQUEST, message, field=field)
