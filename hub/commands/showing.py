"""A job for people: what they ask about most, without what could steer a terminal."""

import json
import sys
from collections.abc import Iterable
from typing import Any

from hub.commands.outcome import failed


def show_job(job: dict[str, Any], *, as_json: bool, wait_mint: bool = False) -> None:
    """Prints a job; fails where its mint was waited for in vain."""
    if as_json:
        print(json.dumps(job, indent=2))
    else:
        print_job(job)
    if wait_mint and job["mint"]["state"] != "minted":
        raise failed(f"not minted in time; ask again with: aitbc hub status {job['job_id']} --wait-mint")


def print_job(job: dict[str, Any]) -> None:
    """On stdout."""
    from chain.primitives.hexadecimal import format_ait
    from wallet.terminal import plain

    receipt = job.get("receipt") or {}
    lines: list[tuple[str, Any]] = [
        ("job", job["job_id"]),
        ("job token", job.get("job_token") and f"{job['job_token']}  (opens this job in the place of an API key)"),
        ("status", job["status"]),
        ("reason", job["reason"] and f"{job['reason']}: {job['detail']}"),
        ("pictures", f"{job['pictures_done']} of {job['pictures_asked']}"),
        *(("file", path) for path in job.get("files", [])),
        ("seed", job["seed"]),
        ("units", receipt and f"{receipt['units']} {receipt['unit_type']}"),
        ("amount", receipt and f"{format_ait(int(receipt['amount']))} AIT"),
        *(
            ("paid", f"{payout['provider']} {format_ait(int(payout['amount']))} AIT")
            for payout in job.get("payouts", [])
        ),
        ("receipt hash", job["receipt_hash"]),
        (
            "settled" if job["mint"].get("form") == "settle" else "mint",
            f"{job['mint']['state']} {job['mint']['transaction_hash'] or ''}".rstrip(),
        ),
    ]
    for name, value in lines:
        if value not in (None, {}, ""):
            print(plain(f"{name:13} {value}"))


def show_progress(events: Iterable[dict[str, Any]], pictures: int) -> None:
    """A bar on stderr where that is a terminal; one line per event elsewhere. Until the events end."""
    if not sys.stderr.isatty():
        for event in events:
            if event.get("kind") not in ("step", "preview", "progress"):
                print(_line(event, pictures), file=sys.stderr)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    begun: dict[int, float] = {}
    done = 0
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("queued", total=pictures, note="")
        for event in events:
            kind = str(event.get("kind"))[:20]
            if kind in ("step", "preview", "progress"):
                share = _share(event.get("fraction")) * _whole(event.get("picture_count"))
                begun[_whole(event.get("first_picture"))] = share
                kind = "running"
            elif kind in ("pictures", "pictures_refused"):
                done = _whole(event.get("pictures_done"))
                for number in _list(event.get("pictures")):
                    begun.pop(_whole(number), None)
                kind = "running"
            completed = min(pictures, max(0, done) + sum(begun.values()))
            bar.update(task, description=kind, completed=completed, note=f"{done} of {pictures}")


def tell_job(job: dict[str, Any]) -> None:
    """On stderr, before anything is waited for: whoever is interrupted can find the job again."""
    from wallet.terminal import plain

    print(plain(f"job {job['job_id']}"), file=sys.stderr)


def _line(event: dict[str, Any], pictures: int) -> str:
    kind = str(event.get("kind"))[:40]
    if kind in ("pictures", "pictures_refused"):
        refused = ", some were refused" if kind == "pictures_refused" else ""
        return f"{_whole(event.get('pictures_done'))} of {pictures} pictures{refused}"
    return kind.replace("_", " ")


def _whole(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _share(value: object) -> float:
    return min(1.0, max(0.0, float(value))) if isinstance(value, int | float) else 0.0
