"""What `aitbc provider verify` does: read, check, ask the chain and the provider, compute steps again, and say so."""

import json
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import typer

from chain.primitives.hexadecimal import to_checksum_address, to_hex
from chain.primitives.rejection import Rejected
from provider.commands.api_key_file import read_api_key
from provider.commands.verify import VerifyOptions
from provider.errors import ConfigurationError, ModelUnavailable
from provider.generation import EMBEDDED_MODEL, ImageRequest, PipelineOptions
from provider.ordering.errors import ClientError
from provider.receipts.challenge import Challenge, Openings, StepResult
from provider.receipts.claims import check_claims
from provider.receipts.job_file import JobFile, read_job_file
from provider.receipts.verifying import StepChoice, StepVerification, verify_openings, verify_steps
from wallet.terminal import columns
from wallet.verification import MAX_DOCUMENT_BYTES, Check, rows_of

EXIT_OPEN: Final = 1
EXIT_FALSE: Final = 3
_MAX_PICTURE_BYTES: Final = 64 * 2**20
_MAX_STEP: Final = 10_000
_MAX_NAMED_STEPS: Final = 1_000


def verify_receipt(options: VerifyOptions) -> None:
    """Prints what was found; raises typer.Exit unless all that was asked for holds."""
    job = read_job_file(_read_text(options.job_file))
    pictures = _read_pictures(options, job)
    checks = check_claims(job, pictures)
    asked_for_more: list[Check] = []
    if options.node_url is not None:
        asked_for_more += _ask_chain(job, options.node_url)
    steps = StepVerification()
    if options.url is not None:
        steps = _ask_provider(job, pictures, options, options.url)
        asked_for_more += steps.checks
    checks = _replace(checks, asked_for_more)
    holds = _judge(job, checks, asked_for_more)
    _show(job, checks, steps, holds=holds, as_json=options.as_json)
    if not holds:
        raise typer.Exit(EXIT_OPEN if holds is None else EXIT_FALSE)


def _judge(job: JobFile, checks: Sequence[Check], asked_for_more: Sequence[Check]) -> bool | None:
    """Whether the job holds; None where something stays open that an answer takes."""
    if any(check.passed is False for check in checks):
        return False
    # Nobody's receipt says nothing of its provider, nor does a job without its pictures say what was made. What nobody
    # asked for may stay open, and a mint that is still to come is no fault.
    needed = {"provider_signature"} if job.asked_for is None else {"provider_signature", "artifact"}
    open_checks = [check for check in checks if check.name in needed]
    open_checks += [check for check in asked_for_more if check.name != "mint"]
    return None if any(check.passed is None for check in open_checks) else True


def _ask_chain(job: JobFile, node_url: str) -> list[Check]:
    from chain.client import NodeClient, NodeError
    from wallet.chain_verification import check_on_chain

    try:
        with NodeClient(node_url) as client:
            return check_on_chain(job.document, client, client.status())
    except ValueError as error:
        raise ConfigurationError(str(error), reason="bad_url") from None
    except NodeError as error:
        return [Check("chain", None, f"no answer from a node: {error}")]


def _ask_provider(job: JobFile, pictures: Sequence[bytes], options: VerifyOptions, url: str) -> StepVerification:
    from provider.client import ProviderClient

    receipt = job.document.receipt
    if receipt.trajectory_root is None:
        return StepVerification([Check("trajectory_root", None, "the provider committed to no steps of this job")])
    choice = _choice(options)
    with ProviderClient(url, read_api_key(options.api_key_file)) as provider:
        openings = Openings(job, lambda step, picture: provider.step(receipt.job_id, step, picture=picture))
        try:
            if options.only_open:
                return verify_openings(openings, choice)
            challenge = _challenge(job, options, openings)
            return verify_steps(challenge, choice, pictures)
        except Rejected as rejected:
            return StepVerification([Check("trajectory", False, rejected.message)])
        except ClientError as error:
            return StepVerification([Check("trajectory", None, f"the provider did not open it: {error.message}")])
        except ModelUnavailable as error:
            return StepVerification([Check("steps", None, f"cannot be computed again here: {error.message}")])


def _challenge(job: JobFile, options: VerifyOptions, openings: Openings) -> Challenge:
    """With the model in the precision that the provider declares: latents of another cannot be compared."""
    from provider.inference.latents import compare_latents
    from provider.inference.worker import create_workers

    request = _image_request(job, options)
    source = options.model or (EMBEDDED_MODEL if request.model == EMBEDDED_MODEL else None)
    if source is None:
        message = f"the receipt's model is {request.model}: pass --model with its folder or hub id"
        raise ConfigurationError(message, reason="no_model")
    precision = openings.get(0, 0).profiles[0].dtype
    pipeline = PipelineOptions(models={request.model: source}, device=options.device, precision=precision)
    worker = create_workers(pipeline)[0]
    return Challenge(request, openings, worker, compare_latents, options.tolerance)


def _image_request(job: JobFile, options: VerifyOptions) -> ImageRequest:
    asked = job.asked_for
    if asked is None:
        message = "steps can only be computed again with the job file of `aitbc provider generate`; or use --only-open"
        raise ConfigurationError(message, reason="no_job_file")
    source_png = None
    if asked.parameters.strength is not None:
        source_png = _read_source(options.source, asked.parameters.source_sha256, job)
    return asked.image_request(job.document.receipt.model, source_png)


def _read_source(path: Path | None, sha256_digits: str | None, job: JobFile) -> bytes:
    """What image-to-image started from, converted as the provider did."""
    import asyncio
    import contextlib

    from provider.http.source_images import SourceImages

    if path is None:
        raise ConfigurationError(
            "this is image-to-image: pass --source with the file as it was sent", reason="no_source"
        )
    assert job.asked_for is not None
    asked = job.asked_for.parameters
    with contextlib.closing(SourceImages()) as images:
        found = asyncio.run(
            images.read_bytes(
                _read_file(path, _MAX_PICTURE_BYTES),
                field="--source",
                width=asked.width,
                height=asked.height,
                strength=asked.strength or 0.0,
            )
        )
    if found.sha256 != sha256_digits:
        raise ConfigurationError(f"{path} is not the file that was sent", reason="wrong_source")
    return found.source.png


def _choice(options: VerifyOptions) -> StepChoice:
    if options.steps is None:
        return StepChoice(samples=options.samples)
    words = options.steps.split(",")
    if len(words) > _MAX_NAMED_STEPS or not all(word.isascii() and word.isdigit() and len(word) < 6 for word in words):
        raise ConfigurationError("--steps: numbers with commas between them, such as 0,7,20", reason="bad_steps")
    return StepChoice(steps=tuple(dict.fromkeys(min(int(word), _MAX_STEP) for word in words)), picture=options.picture)


def _read_text(path: Path) -> bytes:
    if str(path) == "-":
        return sys.stdin.buffer.read(MAX_DOCUMENT_BYTES + 1)
    return _read_file(path, MAX_DOCUMENT_BYTES)


def _read_pictures(options: VerifyOptions, job: JobFile) -> list[bytes]:
    """Those that are named; else those beside the job file, if they are all there."""
    if options.pictures:
        return [_read_file(path, _MAX_PICTURE_BYTES) for path in options.pictures]
    paths = [options.job_file.parent / name for name in job.picture_names]
    if str(options.job_file) == "-" or not all(path.is_file() for path in paths):
        return []
    return [_read_file(path, _MAX_PICTURE_BYTES) for path in paths]


def _read_file(path: Path, max_bytes: int) -> bytes:
    """A regular file's bytes; raises OSError and ConfigurationError."""
    with path.open("rb") as file:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ConfigurationError(f"{path} is no file", reason="bad_file")
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ConfigurationError(f"{path} is larger than {max_bytes} bytes", reason="too_large")
    return content


def _replace(checks: Sequence[Check], later: Sequence[Check]) -> list[Check]:
    """Both, but what was open before and is answered later stands there once."""
    answered = {"trajectory_root"} if any(check.name == "trajectory" for check in later) else set()
    names = {check.name for check in later} | answered
    return [check for check in checks if check.passed is not None or check.name not in names] + list(later)


def _show(job: JobFile, checks: Sequence[Check], steps: StepVerification, *, holds: bool | None, as_json: bool) -> None:
    receipt = job.document.receipt
    if as_json:
        fields: dict[str, Any] = {
            "receipt_hash": to_hex(receipt.hash),
            "provider": to_checksum_address(receipt.provider),
            "holds": holds,
            "checks": [check.to_object() for check in checks],
            **steps.to_object(),
        }
        print(json.dumps(fields))
        return
    print(f"receipt {to_hex(receipt.hash)}")
    for line in columns(rows_of(checks)):
        print(line)
    for result in steps.results:
        print(_step_line(result))


def _step_line(result: StepResult) -> str:
    place = f"picture {result.picture}, step {result.step}"
    if result.is_bit_equal:
        return f"{place}: bit for bit"
    verdict = "within" if result.holds else "ABOVE"
    return (
        f"{place}: at most {result.max_abs:.2e} apart, relative {result.relative:.2e}, {verdict} {result.tolerance:.0e}"
    )
