"""Whether a job that a hub says is done holds: receipt, signature, request and pictures. No hub is believed."""

from typing import Any

from chain.primitives.hashing import sha256
from chain.primitives.hexadecimal import parse_hex, to_hex
from chain.primitives.prompts import prompt_text
from chain.primitives.receipt import Receipt, combined_artifact_sha256, recover_provider, salted_prompt_hash
from chain.primitives.receipt_request import check_request
from chain.primitives.rejection import Rejected
from hub.client import HubClientError, HubSigning
from hub.orders.request import SALT_BYTES, JobRequest


def check_pictures(job: dict[str, Any], pictures: list[bytes]) -> None:
    """For who has not kept what was asked for. Raises HubClientError unless they are those of the job's receipt, or,
    where there is none, of the hub's list."""
    digests: list[bytes] = [sha256(picture) for picture in pictures]
    if [digest.hex() for digest in digests] != [picture["sha256"] for picture in job["pictures"]]:
        raise HubClientError("the hub's answer does not hold: pictures: others than the job names")
    if job["receipt"] is None:
        return
    try:
        receipt = Receipt.from_object(job["receipt"])
    except Rejected as error:
        raise HubClientError(f"the hub's answer is not a finished job: {error.message}") from None
    wrong = _wrong_pictures(job, receipt, digests)
    if to_hex(receipt.hash) != job["receipt_hash"]:
        wrong.append("receipt_hash: another receipt's")
    if wrong:
        raise HubClientError(f"the hub's answer does not hold: {'; '.join(wrong)}")


def check_job(
    job: dict[str, Any], pictures: list[bytes], request: JobRequest, signing: HubSigning | None = None
) -> None:
    """Raises HubClientError unless receipt, hash, signature, request and pictures of an attested job fit.

    A job that ended early has a receipt for the same request and some of its pictures. Without `signing`, hub and
    network are those that the receipt names. Whether the attester counts, only the chain says: `aitbc wallet receipt
    verify`.
    """
    try:
        receipt = Receipt.from_object(job["receipt"])
        salt = parse_hex(job.get("prompt_salt") or "", length=SALT_BYTES, field="prompt_salt")
        signer = recover_provider(receipt, parse_hex(job.get("provider_signature") or "", length=65, field="signature"))
    except Rejected as error:
        raise HubClientError(f"the hub's answer is not a finished job: {error.message}") from None
    failed: list[str] = []
    if signer != receipt.provider:
        failed.append("provider_signature: not the provider's")
    if to_hex(receipt.hash) != job["receipt_hash"]:
        failed.append("receipt_hash: another receipt's")
    if receipt.prompt_hash != salted_prompt_hash(salt, prompt_text(request.texts)):
        failed.append("prompt_hash: the receipt is for another prompt")
    if request.client is not None and receipt.client != request.client:
        failed.append("client: the receipt is for another client")
    failed += _wrong_pictures(job, receipt, [sha256(picture) for picture in pictures])
    failed += _wrong_request(receipt, request, salt, signing)
    if failed:
        raise HubClientError(f"the hub's answer does not hold: {'; '.join(failed)}")


def _wrong_pictures(job: dict[str, Any], receipt: Receipt, digests: list[bytes]) -> list[str]:
    """Whether the receipt is for these: each shard's in the order of their first pictures, then the whole."""
    sizes = [part["pictures"] for part in job["shards"] if part["receipt_hash"] is not None]
    if receipt.shards is None:
        parts = [digests]
    else:
        parts, start = [], 0
        for size in sizes:
            parts.append(digests[start : start + size])
            start += size
    if not digests or sum(map(len, parts)) != len(digests) or not all(parts):
        return ["pictures: not as many as the receipt is for"]
    named = [combined_artifact_sha256(part) for part in parts]
    stated = [receipt.artifact_sha256] if receipt.shards is None else [each.artifact_sha256 for each in receipt.shards]
    return [] if named == stated else ["pictures: others than the receipt is for"]


def _wrong_request(receipt: Receipt, request: JobRequest, salt: bytes, signing: HubSigning | None) -> list[str]:
    """Why the receipt is not for what was sent, or is for more than the maximum price; empty where it is."""
    hub_id = receipt.hub_id if signing is None else signing.hub_id
    chain_id = receipt.chain_id if signing is None else signing.chain_id
    try:
        check_request(receipt, request.to_sign(hub_id=hub_id, chain_id=chain_id, salt=salt))
    except Rejected as error:
        return [f"request: {error.message}"]
    return []
