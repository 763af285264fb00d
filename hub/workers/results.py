"""A result held against the lease that it is for: what can be said without looking at the pictures. Pure.

The pictures, what they cost and how long they took is judged by `hub.verification`.
"""

import math
from typing import Final

from chain.primitives.hexadecimal import parse_hash
from chain.primitives.hub_messages import Assignment
from chain.primitives.provider_messages import Result
from chain.primitives.receipt import Receipt, combined_artifact_sha256, recover_provider
from chain.primitives.rejection import Rejected
from chain.primitives.types import Address
from chain.primitives.worker_fields import PictureRun, amount_of, octets_of
from hub.workers.desk import HubIdentity
from hub.workers.errors import WorkerLied

_BYTES_PER_PIXEL: Final = 4
_FRAMING_BYTES: Final = 64 * 1024


def max_picture_bytes(run: PictureRun) -> int:
    """More than an encoded picture of this size can need, of noise in the format that grows most."""
    return math.ceil(run.width * run.height * _BYTES_PER_PIXEL * 1.1) + _FRAMING_BYTES


def check_announcement(result: Result, assignment: Assignment) -> None:
    """Before any of its bytes is taken: as many pictures as were asked for, none larger than it can be."""
    run = assignment.run
    if len(result.pictures) != run.count:
        detail = f"{len(result.pictures)} pictures, but {run.count} were asked for"
        raise WorkerLied(detail, reason="wrong_count")
    most = max_picture_bytes(run)
    for picture in result.pictures:
        if picture.size_bytes > most:
            raise WorkerLied(f"a picture of {picture.size_bytes} bytes", reason="answer_too_large")
    if result.seeds != tuple(run.seed_of(index) for index in range(run.count)):
        raise WorkerLied("made from other seeds than were asked for", reason="wrong_seed")


def read_receipt(result: Result, assignment: Assignment, *, provider: Address, hub: HubIdentity) -> Receipt:
    """The receipt, signed by this provider for this lease and these pictures; WorkerLied with what is wrong."""
    try:
        receipt = Receipt.from_json(bytes(result.receipt))
        signer = recover_provider(receipt, octets_of(result.provider_signature))
    except Rejected as rejected:
        raise WorkerLied(f"the receipt is not valid: {rejected.message}", reason="bad_receipt") from None
    if receipt.provider != provider or signer != provider:
        raise WorkerLied("the receipt is not signed by the provider of this session", reason="wrong_signature")
    _check_subject(receipt, assignment, hub)
    digests = [bytes.fromhex(picture.sha256) for picture in result.pictures]
    if receipt.artifact_sha256 != combined_artifact_sha256(digests):
        raise WorkerLied("the receipt's artifact_sha256 is not that of the pictures", reason="wrong_artifact")
    return receipt


def _check_subject(receipt: Receipt, assignment: Assignment, hub: HubIdentity) -> None:
    signature = assignment.client_signature
    for reason, name, stated, asked in (
        ("wrong_chain_id", "chain_id", receipt.chain_id, hub.chain_id),
        ("wrong_hub", "hub_id", receipt.hub_id, hub.hub_id),
        ("wrong_job", "job_id", receipt.job_id, assignment.job_id),
        ("wrong_nonce", "nonce", receipt.nonce, assignment.lease_id),
        ("wrong_client", "client", receipt.client, assignment.client),
        (
            "wrong_client",
            "client_signature",
            receipt.client_signature,
            None if signature is None else octets_of(signature),
        ),
        ("wrong_request_hash", "request_hash", receipt.request_hash, parse_hash(assignment.request_hash)),
        ("wrong_model", "model", receipt.model, assignment.run.model),
        (
            "wrong_prompt",
            "prompt_hash",
            receipt.prompt_hash,
            assignment.run.prompt_hash(octets_of(assignment.prompt_salt)),
        ),
        ("wrong_price", "unit_type", receipt.unit_type, assignment.unit_type),
        ("wrong_price", "price_per_unit", receipt.price_per_unit, amount_of(assignment.price_per_unit)),
        ("wrong_shards", "shards", receipt.shards, None),
    ):
        if stated != asked:
            raise WorkerLied(f"the receipt's {name} is not what the hub sent", reason=reason)
    if assignment.max_amount is not None and receipt.amount > amount_of(assignment.max_amount):
        raise WorkerLied(f"{receipt.amount} atoms, at most {assignment.max_amount} were to be spent", reason="too_dear")
