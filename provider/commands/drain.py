"""`aitbc provider drain`: lets a running provider finish what it has accepted, and its hubs conclude what they were
brought; waits until it has ended."""

import signal
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from provider.commands.flags import DataDir
from provider.commands.outcome import report

_POLL_S = 0.2
_PROGRESS_S = 2.0
_ENDING_S = 30.0
"""What ending may take after the last job, above the provider's own limit."""


def drain(
    data_dir: DataDir = None,
    timeout_s: Annotated[
        float | None,
        typer.Option(min=0, max=86_400, help="How long to wait; by default what the provider gives jobs and hubs."),
    ] = None,
) -> None:
    """Stop the provider that runs on a data folder, once its jobs are done and its hubs have concluded what they were
    brought: checked, signed and attested. It takes no new ones meanwhile.

    Exit code 0: none runs any more, 1: it still does after the time.
    """
    report(lambda: _drain(data_dir, timeout_s))


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(drain)


def _drain(data_dir: Path | None, timeout_s: float | None) -> None:
    from provider.errors import ProviderError
    from provider.settings import ProviderSettings
    from provider.storage.drain_report import DrainReport
    from provider.storage.folder_lock import lock_owner

    settings = ProviderSettings.build(data_dir=data_dir)
    folder = settings.data_dir
    owner = lock_owner(folder)
    if owner is None:
        _say(f"no provider runs in {folder}")
        return
    _ask_to_end(owner, folder)
    patience_s = settings.drain_timeout_s + settings.drain_hubs_timeout_s + _ENDING_S
    deadline = time.monotonic() + (patience_s if timeout_s is None else timeout_s)
    said_at = 0.0
    while lock_owner(folder) == owner:
        if time.monotonic() >= deadline:
            raise ProviderError(
                f"the provider (process {owner}) still runs: {_under_way(folder)}", reason="not_drained"
            )
        if time.monotonic() - said_at >= _PROGRESS_S:
            said_at = time.monotonic()
            _say(f"waiting for process {owner}: {_under_way(folder)}")
        time.sleep(_POLL_S)
    left = DrainReport(folder).read()
    _say(f"ended before its hubs had concluded: {'; '.join(left)}" if left else "drained")


def _ask_to_end(owner: int, folder: Path) -> None:
    """Signals the process that holds the folder, and never another that got its number meanwhile."""
    import os

    from provider.errors import ProviderError
    from provider.storage.folder_lock import lock_owner

    try:
        handle = os.pidfd_open(owner)
    except ProcessLookupError:
        return
    try:
        if lock_owner(folder) == owner:
            signal.pidfd_send_signal(handle, signal.SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError:
        message = f"process {owner} belongs to another user; run this as that user, or as root"
        raise ProviderError(message, reason="not_permitted") from None
    finally:
        os.close(handle)


def _under_way(folder: Path) -> str:
    from provider.errors import ProviderError
    from provider.storage.database import Database
    from provider.storage.drain_report import DrainReport
    from provider.storage.job_log import JobLog
    from provider.storage.rows import JobState

    try:
        with Database(folder, read_only=True) as database:
            by_state = JobLog(database).statistics(2**62).by_state
    except ProviderError as error:
        return error.message
    jobs = f"{by_state[JobState.RUNNING]} running, {by_state[JobState.QUEUED]} queued"
    hubs = DrainReport(folder).read()
    return f"{jobs}; open at hubs: {'; '.join(hubs)}" if hubs else jobs


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
