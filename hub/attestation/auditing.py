"""Whether the audit log's chain holds, and which attestations it tells of: for `aitbc hub audit`."""

from dataclasses import dataclass

from hub.store import audit, receipts
from hub.store.store import Store
from hub.store.transaction import Reader


@dataclass(frozen=True, slots=True)
class AuditReport:
    """Number and hash of the last entry. Whoever keeps the hash elsewhere notices when the end was cut off."""

    entries: int
    last_hash: str
    attested: int
    """Receipts of this hub's that were attested, and have their entry."""
    missing: tuple[str, ...]
    """Hashes of attested receipts without an entry: none, as both are committed together."""


def verify_log(store: Store) -> AuditReport:
    """Reads it all; blocks. Raises AuditBroken where an entry was changed, StoreUnavailable."""
    return store.read_now(_verify)


def _verify(reader: Reader) -> AuditReport:
    entries, last_hash = audit.verify(reader)
    attested = receipts.attested_hashes(reader)
    told: set[str] = set()
    sequence = 0
    while page := audit.after(reader, sequence):
        told.update(entry.subject for entry in page if entry.kind == "attested")
        sequence = page[-1].sequence
    missing = tuple(hash_ for hash_ in attested if hash_ not in told)
    return AuditReport(entries, last_hash, len(attested), missing)
