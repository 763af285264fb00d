"""The request that a job's receipts are for, from what is kept of it: hashes, limits and times, no prompt."""

from typing import Any

from chain.primitives.client_request import ClientRequest
from chain.primitives.hexadecimal import parse_hash, to_hex
from chain.primitives.request_parameters import RequestParameters
from chain.primitives.types import Amount
from hub.store.jobs import Job

FACT = "request"


def kept_request(request: ClientRequest, parameters: RequestParameters) -> dict[str, Any]:
    """As it stands among the job's facts."""
    return {
        "prompt_hash": to_hex(request.prompt_hash),
        "parameters_hash": to_hex(request.parameters_hash),
        "max_price": str(request.max_price),
        "nonce": to_hex(request.nonce),
        "expiry": request.expiry,
        "parameters": parameters.to_object(),
    }


def client_request_of(job: Job, *, hub_id: str, chain_id: int) -> ClientRequest:
    """What the client signed, or would have."""
    kept = job.facts[FACT]
    return ClientRequest(
        chain_id=chain_id,
        audience=hub_id,
        prompt_hash=parse_hash(kept["prompt_hash"]),
        parameters_hash=parse_hash(kept["parameters_hash"]),
        max_price=Amount(int(kept["max_price"])),
        nonce=parse_hash(kept["nonce"]),
        expiry=kept["expiry"],
    )


def parameters_of(job: Job) -> RequestParameters:
    """What the request's hash of parameters is of."""
    return RequestParameters.from_object(job.facts[FACT]["parameters"])
