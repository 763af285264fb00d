"""What can be checked of a job with nothing but its file and its pictures: hashes, signatures, and what those mean."""

import hashlib
from collections.abc import Sequence

from chain.primitives.client_request import ClientRequest, salted_hash, unsigned_request
from chain.primitives.hexadecimal import to_hex
from chain.primitives.receipt import Receipt, combined_artifact_sha256
from chain.primitives.receipt_request import audience_of, check_request
from chain.primitives.rejection import Rejected
from provider.receipts.job_file import AskedFor, JobFile
from wallet.verification import Check, check_document


def check_claims(job: JobFile, pictures: Sequence[bytes]) -> list[Check]:
    """`pictures` are the encoded files in their order; none where they are not at hand."""
    # A client's signature is judged below, where the request is there: alone it says nothing.
    checks = [check for check in check_document(job.document) if check.name not in ("client_signature", "attestation")]
    receipt = job.document.receipt
    checks += _check_asked_for(receipt, job.asked_for)
    if pictures:
        checks.append(_check_pictures(receipt, pictures))
    elif job.document.image is None:
        checks.append(Check("artifact", None, "no picture at hand"))
    return checks


def request_of(receipt: Receipt, asked: AskedFor) -> ClientRequest:
    """The request as the receipt's hash must be of it; raises Rejected."""
    if asked.claim is not None:
        return asked.claim.request(
            chain_id=receipt.chain_id,
            audience=audience_of(receipt),
            prompt=asked.prompt,
            parameters=asked.parameters,
        )
    return unsigned_request(
        chain_id=receipt.chain_id,
        audience=audience_of(receipt),
        prompt_hash=salted_hash(asked.salt, asked.prompt),
        parameters_hash=asked.parameters.hash,
    )


def _check_asked_for(receipt: Receipt, asked: AskedFor | None) -> list[Check]:
    if asked is None:
        is_signed = receipt.client_signature is not None
        alone = "signed by somebody as something; only the request itself tells as what" if is_signed else "unsigned"
        return [
            Check("request", None, "no job file with prompt and parameters at hand"),
            Check("client_signature", None, alone),
        ]
    try:
        request = request_of(receipt, asked)
        check_request(receipt, request)
        checks = [Check("request", True, f"prompt and parameters are what {to_hex(request.hash)} is the hash of")]
    except Rejected as rejected:
        checks = [Check("request", False, rejected.message)]
    checks.append(_check_parameters(receipt, asked))
    checks.append(_check_client_signature(receipt, asked, is_request=bool(checks[0].passed)))
    return checks


def _check_parameters(receipt: Receipt, asked: AskedFor) -> Check:
    """What the file says beside the hashed parameters must not contradict them."""
    parameters = asked.parameters
    negative = "sha256:" + salted_hash(asked.salt, asked.negative_prompt).hex() if asked.negative_prompt else None
    for name, stated, hashed in (
        ("negative prompt", negative, parameters.negative_prompt_hash),
        ("seed", asked.seed, asked.seed if parameters.seed is None else parameters.seed),
        ("model", receipt.model, receipt.model if parameters.model is None else parameters.model),
        ("salt", asked.salt, asked.salt if asked.claim is None else asked.claim.salt),
    ):
        if stated != hashed:
            return Check("parameters", False, f"the {name} is not the one that was asked for")
    if receipt.unit_type == "images" and receipt.micro_units != parameters.count * 10**6:
        return Check("parameters", False, f"{parameters.count} picture(s) were asked for, other units are charged")
    return Check("parameters", True, f"{parameters.count} picture(s) with seed {asked.seed} of {receipt.model}")


def _check_client_signature(receipt: Receipt, asked: AskedFor, *, is_request: bool) -> Check:
    name = "client_signature"
    signature = None if asked.claim is None else asked.claim.signature
    if receipt.client_signature != signature:
        return Check(name, False, "the receipt does not carry the signature that the client gave")
    if signature is None:
        return Check(name, None, f"the client {receipt.client} came with an API key alone")
    if not is_request:
        return Check(name, False, "good for its 32 bytes, but these are not this request's hash")
    return Check(name, True, f"{receipt.client} signed this request")


def _check_pictures(receipt: Receipt, pictures: Sequence[bytes]) -> Check:
    digests = [hashlib.sha256(picture).digest() for picture in pictures]
    if combined_artifact_sha256(digests) != receipt.artifact_sha256:
        return Check("artifact", False, f"the receipt is for other pictures than the {len(pictures)} at hand")
    return Check("artifact", True, f"the receipt's, {len(pictures)} picture(s)")
