"""`aitbc hub audit` and `aitbc hub dispute`: what this hub's attester signed, and what it shall not sign."""

import json
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hub.commands.database import opened_store
from hub.commands.flags import AsJson, DatabaseUrl, DataDir
from hub.commands.outcome import failed, reporting

if TYPE_CHECKING:
    from hub.store.audit import AuditEntry
    from hub.store.store import Store

_HASH_CHARACTERS: Final = 66

Subject = Annotated[
    str | None, typer.Argument(metavar="SUBJECT", help="Show what there is about a receipt's hash or a provider.")
]
About = Annotated[
    str, typer.Argument(metavar="JOB|RECEIPT", help="A job of this hub, or the hash of another hub's receipt.")
]


def audit(
    subject: Subject = None,
    last: Annotated[int, typer.Option("--last", min=0, max=10_000, help="How many of the newest entries to show.")] = 0,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Check the audit log's chain of hashes. Keep the last hash elsewhere: it shows when the log's end was cut off."""
    from hub.attestation.auditing import verify_log
    from wallet.terminal import plain

    with reporting(), opened_store(data_dir, database_url) as store:
        report = verify_log(store)
        entries = _entries(store, subject, last, report.entries)
    document: dict[str, Any] = {
        "entries": report.entries,
        "last_hash": report.last_hash,
        "attested": report.attested,
        "missing": list(report.missing),
        "shown": [_document(entry) for entry in entries],
    }
    if as_json:
        print(json.dumps(document, indent=2))
    else:
        for shown in document["shown"]:
            print(plain(f"{shown['sequence']:>8} {shown['at']} {shown['kind']} {shown['subject']} {shown['data']}"))
        print(plain(f"{report.entries} entries, the last one's hash is {report.last_hash}"))
        print(plain(f"{report.attested} receipts attested, {len(report.missing)} of them without an entry"))
    if report.missing:
        raise failed(f"attested, but not in the log: {report.missing[0]}")


def _entries(store: "Store", subject: str | None, last: int, count: int) -> "list[AuditEntry]":
    from hub.store import audit as log

    if subject is not None:
        return store.read_now(lambda c: log.of_subject(c, subject))
    return store.read_now(lambda c: log.after(c, max(0, count - last), limit=last)) if last else []


def _document(entry: "AuditEntry") -> dict[str, Any]:
    from datetime import UTC, datetime

    at = datetime.fromtimestamp(entry.at_ms / 1_000, UTC).isoformat(timespec="milliseconds")
    return {
        "sequence": entry.sequence,
        "at": at,
        "kind": entry.kind,
        "subject": entry.subject,
        "data": entry.data,
        "hash": entry.hash,
    }


def dispute(
    about: About,
    reason: Annotated[str, typer.Option(help="Why, in a sentence: client and providers are told.")],
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Keep a receipt from being signed while its challenge window is open. What is signed stays signed."""
    from prometheus_client import CollectorRegistry

    from hub.attestation import disputes
    from hub.jobs.ending import Endings
    from hub.metrics import HubMetrics
    from hub.store.store import now_ms

    endings = Endings(HubMetrics(CollectorRegistry()))

    def unit(transaction: Any) -> str | None:
        if about.startswith("0x") and len(about) == _HASH_CHARACTERS:
            if disputes.dispute_endorsement(transaction, about.lower(), detail=reason[:300], now_ms=now_ms()):
                return None
            return "nobody has brought this receipt, or it is signed already: that cannot be taken back"
        return endings.dispute(transaction, about, reason[:300], now_ms())

    with reporting(), opened_store(data_dir, database_url) as store:
        why_not = store.write_now(unit)
    if why_not is not None:
        raise failed(why_not)
    print(f"{about} will not be signed")


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    for command in (audit, dispute):
        app.command()(command)
