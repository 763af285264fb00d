"""The attester's log, completed from the database at the start: what one of both remembers is not signed otherwise.

A log that was lost, left behind with an old machine, or restored from an old copy lacks its newest entries. The
database has the signatures that they were for. Whoever restores both from old copies has no memory left of what was
signed in between: restore one of them at a time.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import structlog

from chain.primitives.hexadecimal import parse_hash, to_checksum_address
from chain.primitives.receipt import Receipt
from chain.primitives.rejection import Rejected
from chain.primitives.types import Hash32
from hub.attestation.attesting import AskedOf
from hub.attestation.forms import FEE_FACT, NO_FEE, Fee, digest_of
from hub.errors import HubConfigurationError
from hub.store import endorsements, jobs, receipts
from hub.store.endorsements import Endorsement
from hub.store.receipts import Form
from hub.store.store import Store
from hub.store.transaction import Reader
from wallet.attestation_log import Attestation, AttestationForm
from wallet.attester import AttesterSigner

_PAGE: Final = 256

_PageOf = Callable[[int, Reader], list[Attestation]]
"""A page of what the database has this attester's signature of, the newest first; skips so many."""
_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("hub.attestation")


def complete_log(store: Store, attester: AttesterSigner, asked_of: AskedOf) -> int:
    """Enters what this attester has signed, by the database, and its log has forgotten; how many those were. Blocks.

    Newest first, until a page of them is known: what a log forgets is always the end of it. Raises
    HubConfigurationError where the log has another receipt for one of those jobs, and AttestationLogError.
    """
    try:
        entered = _complete(store, attester, asked_of)
    except Rejected as conflict:
        sentence = f"the attester's log and the database do not belong together: {conflict.message}"
        raise HubConfigurationError(sentence) from None
    if entered:
        _log.error("attestation_log_completed", entries=entered, detail="it had lost what the database remembers")
    return entered


def _complete(store: Store, attester: AttesterSigner, asked_of: AskedOf) -> int:
    name = to_checksum_address(attester.address)

    def own(skipped: int, reader: Reader) -> list[Attestation]:
        found = receipts.signed_by(reader, name, limit=_PAGE, offset=skipped)
        return [_entry(reader, kept, attester, asked_of) for kept in found]

    def others(skipped: int, reader: Reader) -> list[Attestation]:
        found = endorsements.signed(reader, limit=_PAGE, offset=skipped)
        return [_endorsed(each, attester) for each in found]

    return _enter(store, attester, own) + _enter(store, attester, others)


def _enter(store: Store, attester: AttesterSigner, page_of: _PageOf) -> int:
    entered, skipped = 0, 0
    while page := store.read_now(partial(page_of, skipped)):
        missing = sum(attester.remember(entry) for entry in page)
        entered, skipped = entered + missing, skipped + len(page)
        if not missing:
            break
    return entered


def _endorsed(each: Endorsement, attester: AttesterSigner) -> Attestation:
    return Attestation(
        each.hub_id,
        each.job_id,
        AttestationForm(each.form.value),
        parse_hash(each.receipt_hash),
        parse_hash(each.digest),
        attester.address,
    )


def _entry(reader: Reader, kept: receipts.Receipt, attester: AttesterSigner, asked_of: AskedOf) -> Attestation:
    receipt = Receipt.from_json(kept.receipt_json)
    return Attestation(
        receipt.hub_id,
        receipt.job_id,
        AttestationForm(kept.form.value),
        receipt.hash,
        _digest(reader, kept, receipt, asked_of),
        attester.address,
    )


def _digest(reader: Reader, kept: receipts.Receipt, receipt: Receipt, asked_of: AskedOf) -> Hash32:
    if kept.form != Form.SETTLE:
        return digest_of(kept.form, receipt, None)
    job = jobs.get(reader, kept.job_id)
    assert job is not None, "a receipt's row refers to its job's"
    fee = Fee.from_object(job.facts[FEE_FACT]) if FEE_FACT in job.facts else NO_FEE
    return digest_of(kept.form, receipt, asked_of(job).request, fee)
