"""`aitbc provider receipts` and `jobs`: what stands in the database, also while the provider runs."""

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provider.commands.flags import AsJson, DataDir
from provider.commands.outcome import report, show_table

if TYPE_CHECKING:
    from provider.storage.rows import JobRecord, StoredReceipt

Limit = Annotated[int, typer.Option(min=1, max=200, help="How many, newest first.")]
_DAY_MS = 86_400_000


def receipts(data_dir: DataDir = None, limit: Limit = 20, as_json: AsJson = False) -> None:
    """List receipts: which are attested, sent, minted. The provider may be running."""
    report(lambda: _show_receipts(data_dir, limit, as_json))


def jobs(
    data_dir: DataDir = None,
    limit: Limit = 20,
    state: Annotated[
        str | None, typer.Option(help="Only these: queued, running, done, failed, cancelled or interrupted.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first, and the last day's sums. The provider may be running."""
    report(lambda: _show_jobs(data_dir, limit, state, as_json))


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    app.command()(receipts)
    app.command()(jobs)


def _show_receipts(data_dir: Path | None, limit: int, as_json: bool) -> None:
    from provider.settings import ProviderSettings
    from provider.storage.database import Database
    from provider.storage.outbox import Outbox

    settings = ProviderSettings.build(data_dir=data_dir)
    with Database(settings.data_dir, read_only=True) as database:
        outbox = Outbox(database)
        entries = [_receipt_fields(stored) for stored in outbox.page(None, before=None, limit=limit)]
        counts = {state.value: number for state, number in outbox.counts().items()}
    if as_json:
        print(json.dumps({"counts": counts, "items": entries}))
        return
    print("  ".join(f"{state} {number}" for state, number in counts.items()))
    for entry in entries:
        reason = f"  {entry['reason']}" if entry["reason"] else ""
        amount = entry["receipt"]["amount"]
        print(f"{entry['receipt_hash']}  {entry['state']:<9}  {entry['job_id']}  {amount} atoms{reason}")


def _show_jobs(data_dir: Path | None, limit: int, state: str | None, as_json: bool) -> None:
    from provider.errors import ConfigurationError
    from provider.settings import ProviderSettings
    from provider.storage.database import Database
    from provider.storage.job_log import JobLog
    from provider.storage.rows import JobState

    if state is not None and state not in list(JobState):
        raise ConfigurationError(f"--state: {', '.join(JobState)}")
    states = () if state is None else (JobState(state),)
    settings = ProviderSettings.build(data_dir=data_dir)
    with Database(settings.data_dir, read_only=True) as database:
        log = JobLog(database)
        entries = [_job_fields(record) for record in log.page(None, before=None, limit=limit, states=states)]
        day = log.statistics(_now_ms() - _DAY_MS)
    sums = {
        "by_state": {state.value: number for state, number in day.by_state.items()},
        "pictures": day.pictures,
        "gpu_seconds": day.compute_microseconds / 1_000_000,
        "bytes_out": day.bytes_out,
        "p50_ms": day.p50_ms,
        "p95_ms": day.p95_ms,
    }
    if as_json:
        print(json.dumps({"last_day": sums, "items": entries}))
        return
    print("last day: " + "  ".join(f"{name} {value}" for name, value in sums.items() if name != "by_state"))
    shown = ("job_id", "state", "created", "caller", "way_in", "model", "pictures", "duration_ms", "gpu_seconds")
    show_table([{name: entry[name] for name in (*shown, "exit_code", "reason")} for entry in entries])


def _job_fields(record: "JobRecord") -> dict[str, Any]:
    from chain.primitives.hexadecimal import to_hex

    return {
        "job_id": record.job_id,
        "hub_id": record.hub_id,
        "hub_job_id": record.hub_job_id,
        "state": record.state.value,
        "created": _time_text(record.created_ms),
        "created_ms": record.created_ms,
        "ended_ms": record.ended_ms,
        "caller": record.key_name,
        "way_in": record.way_in,
        "model": record.model,
        "pictures": record.pictures,
        "duration_ms": record.duration_ms,
        "gpu_seconds": record.compute_microseconds / 1_000_000,
        "bytes_out": record.bytes_out,
        "prompt_hash": record.prompt_hash,
        "exit_code": record.exit_code,
        "reason": record.reason,
        "receipt_hash": None if record.receipt_hash is None else to_hex(record.receipt_hash),
        "artifacts": list(record.artifacts),
    }


def _receipt_fields(stored: "StoredReceipt") -> dict[str, Any]:
    from chain.primitives.hexadecimal import to_hex

    return {
        "receipt_hash": to_hex(stored.receipt_hash),
        "hub_id": stored.hub_id,
        "job_id": stored.job_id,
        "state": stored.state.value,
        "reason": stored.reason,
        "attestation": None if stored.attestation is None else to_hex(stored.attestation),
        "transaction_hash": None if stored.transaction_hash is None else to_hex(stored.transaction_hash),
        "height": stored.height,
        "provider_signature": to_hex(stored.provider_signature),
        "receipt": json.loads(stored.receipt_json),
        "created_at_ms": stored.created_ms,
        "updated_at_ms": stored.updated_ms,
    }


def _time_text(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
