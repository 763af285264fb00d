"""Kept latents: durable before the receipt, opened with their proof, dropped in time, and not believed when damaged."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from chain.primitives.hashing import sha256
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.trajectory import trajectory_root, verify_opening
from chain.primitives.types import Hash32
from provider.errors import TrajectoryGone
from provider.receipts.trajectories import StepOpening, Trajectories

MIB = 2**20
HOUR_S = 3600.0


def kept_in(folder: Path, *, hours: float = 1, mib: int = 8) -> Trajectories:
    return Trajectories(folder, keep_hours=hours, keep_mib=mib)


def keep(trajectories: Trajectories, job: Any) -> Hash32:
    root = trajectories.keep(job.context, job.rows, job.profiles)
    assert root is not None
    return root


def test_every_step_of_every_picture_is_opened_with_its_proof(folder: Path, make_job: Any) -> None:
    job = make_job()
    trajectories = kept_in(folder)
    root = keep(trajectories, job)
    assert root == trajectory_root(job.context, [[sha256(latents) for latents in steps] for steps in job.rows])
    for picture, steps in enumerate(job.rows):
        for step, latents in enumerate(steps):
            opening = trajectories.open(root, step, picture)
            assert opening.latents == latents
            assert verify_opening(root, job.context, opening.opening)
            again = StepOpening.from_object(json.loads(json.dumps(opening.to_object())))
            assert again == opening


def test_it_outlives_the_process(folder: Path, make_job: Any) -> None:
    job = make_job()
    root = keep(kept_in(folder), job)
    reopened = kept_in(folder)
    assert (reopened.count, reopened.open(root, 3).latents) == (1, job.rows[0][3])
    assert reopened.bytes_kept == sum(path.stat().st_size for path in folder.iterdir())


def test_files_are_closed_to_others(folder: Path, make_job: Any) -> None:
    keep(kept_in(folder), make_job())
    assert folder.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir())


@pytest.mark.parametrize(("step", "picture"), [(-1, 0), (6, 0), (0, 2), (0, -1), (2**63, 0), (0, 10**30)])
def test_steps_that_there_are_not(folder: Path, make_job: Any, step: int, picture: int) -> None:
    trajectories = kept_in(folder)
    root = keep(trajectories, make_job())
    with pytest.raises(Rejected) as caught:
        trajectories.open(root, step, picture)
    assert caught.value.reason is RejectionReason.OUT_OF_RANGE


def test_unknown_root(folder: Path) -> None:
    with pytest.raises(TrajectoryGone):
        kept_in(folder).open(Hash32(bytes(32)), 0)


def test_nothing_is_kept_where_it_is_turned_off(folder: Path, make_job: Any) -> None:
    job = make_job()
    for hours, mib in ((0.0, 8), (1.0, 0)):
        trajectories = kept_in(folder, hours=hours, mib=mib)
        assert not trajectories.is_enabled
        assert trajectories.keep(job.context, job.rows, job.profiles) is None
    assert not folder.exists()


def test_pictures_of_different_precisions_are_not_committed_to(folder: Path, make_job: Any) -> None:
    """As of a cluster with and without GPUs: no verifier would take their steps for one job's."""
    job = make_job()
    mixed = (job.profiles[0], replace(job.profiles[1], dtype="float16"))
    trajectories = kept_in(folder)
    assert trajectories.keep(job.context, job.rows, mixed) is None
    assert (trajectories.count, trajectories.bytes_kept) == (0, 0)


class TestBounds:
    """Bytes and time."""

    SHAPE = (4, 64, 64)  # 64 KiB; 12 of them are 768 KiB a job.

    def test_window_ends(self, folder: Path, make_job: Any) -> None:
        trajectories = kept_in(folder)
        root = keep(trajectories, make_job())
        assert trajectories.prune(time.time() + HOUR_S - 60) == 0
        assert trajectories.prune(time.time() + HOUR_S + 60) == 1
        with pytest.raises(TrajectoryGone):
            trajectories.open(root, 0)
        assert (trajectories.count, trajectories.bytes_kept, list(folder.iterdir())) == (0, 0, [])

    def test_oldest_go_first_and_the_early_end_is_logged(self, folder: Path, make_job: Any) -> None:
        trajectories = kept_in(folder, mib=2)
        with structlog.testing.capture_logs() as logs:
            roots = [keep(trajectories, make_job(f"job-{number}", shape=self.SHAPE)) for number in range(4)]
        assert trajectories.bytes_kept <= 2 * MIB
        for root in roots[:2]:
            with pytest.raises(TrajectoryGone):
                trajectories.open(root, 0)
        for root in roots[2:]:
            trajectories.open(root, 5, 1)
        early = [entry for entry in logs if entry["event"] == "trajectory_dropped_early"]
        assert [entry["trajectory_root"] for entry in early] == ["0x" + root.hex() for root in roots[:2]]
        assert all(entry["log_level"] == "warning" for entry in early)

    def test_bound_holds_after_a_restart_with_a_smaller_one(self, folder: Path, make_job: Any) -> None:
        before = kept_in(folder, mib=8)
        roots = [keep(before, make_job(f"job-{number}", shape=self.SHAPE)) for number in range(3)]
        for age_s, root in zip((30, 20, 10), roots, strict=True):
            path = next(folder.glob(f"{root.hex()}*"))
            os.utime(path, (time.time() - age_s, time.time() - age_s))
        after = kept_in(folder, mib=1)
        last = keep(after, make_job("job-9", shape=self.SHAPE))
        assert after.bytes_kept <= MIB
        assert after.open(last, 0).latents
        with pytest.raises(TrajectoryGone):
            after.open(roots[2], 0)

    def test_one_that_is_larger_than_all_room(self, folder: Path, make_job: Any) -> None:
        trajectories = kept_in(folder, mib=1)
        small = keep(trajectories, make_job())
        job = make_job("large", pictures=2, shape=(4, 128, 128))
        with structlog.testing.capture_logs() as logs:
            assert trajectories.keep(job.context, job.rows, job.profiles) is None
        assert [entry["event"] for entry in logs] == ["trajectory_too_large"]
        assert trajectories.open(small, 0).latents

    def test_many_at_once_stay_within_the_bound(self, folder: Path, make_job: Any) -> None:
        trajectories = kept_in(folder, mib=3)
        jobs = [make_job(f"job-{number}", shape=self.SHAPE) for number in range(12)]
        threads = [
            threading.Thread(target=trajectories.keep, args=(job.context, job.rows, job.profiles)) for job in jobs
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        on_disk = sum(path.stat().st_size for path in folder.iterdir())
        assert trajectories.bytes_kept == on_disk <= 3 * MIB
        assert trajectories.count == len(list(folder.iterdir())) >= 3


class TestBadDays:
    """Crashes, full disks and damaged files."""

    def test_leftovers_of_a_crash_are_removed_at_start(self, folder: Path, make_job: Any) -> None:
        root = keep(kept_in(folder), make_job())
        (folder / f"{root.hex()}.deadbeef.partial").write_bytes(b"half")
        (folder / "README").write_text("not ours")
        trajectories = kept_in(folder)
        assert sorted(path.name for path in folder.iterdir()) == sorted([f"{root.hex()}.trajectory", "README"])
        assert trajectories.count == 1

    def test_orphans_are_swept_and_what_a_receipt_refers_to_stays(self, folder: Path, make_job: Any) -> None:
        before = kept_in(folder)
        job = make_job()
        mine, orphan, damaged = keep(before, job), keep(before, make_job("orphan")), keep(before, make_job("third"))
        (folder / f"{damaged.hex()}.trajectory").write_bytes(b"\0" * 100)
        trajectories = kept_in(folder)
        asked: list[tuple[str, str, Hash32]] = []

        def is_referenced(hub_id: str, job_id: str, root: Hash32) -> bool:
            asked.append((hub_id, job_id, root))
            return job_id == str(job.context.job_id)

        assert trajectories.sweep(is_referenced) == 2
        assert sorted(asked) == sorted([("", job.context.job_id, mine), ("", "orphan", orphan)])
        assert trajectories.open(mine, 0).latents == job.rows[0][0]
        assert [path.name for path in folder.iterdir()] == [f"{mine.hex()}.trajectory"]

    def test_discarded(self, folder: Path, make_job: Any) -> None:
        trajectories = kept_in(folder)
        root = keep(trajectories, make_job())
        trajectories.discard(root)
        trajectories.discard(root)
        assert (trajectories.count, trajectories.bytes_kept) == (0, 0)

    def test_file_that_cannot_be_written_costs_no_job(self, folder: Path, make_job: Any) -> None:
        """A file in the place of the folder: root may write anywhere, but not into that."""
        trajectories = kept_in(folder)
        folder.rmdir()
        folder.write_text("in the way")
        job = make_job()
        with structlog.testing.capture_logs() as logs:
            assert trajectories.keep(job.context, job.rows, job.profiles) is None
        assert [entry["event"] for entry in logs] == ["trajectory_not_kept"]
        assert trajectories.bytes_kept == 0
        folder.unlink()
        folder.mkdir()
        assert trajectories.keep(job.context, job.rows, job.profiles) is not None

    def test_full_disk_costs_no_job(self, folder: Path, make_job: Any) -> None:
        """A real one, as far as the process can see: it may write no file above 4 KiB (RLIMIT_FSIZE, EFBIG)."""
        script = textwrap.dedent(
            """
            import pickle, resource, signal, sys
            from pathlib import Path
            from provider.receipts.trajectories import Trajectories
            context, rows, profiles = pickle.loads(sys.stdin.buffer.read())
            trajectories = Trajectories(Path(sys.argv[1]), keep_hours=1, keep_mib=8)
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
            assert trajectories.keep(context, rows, profiles) is None
            assert trajectories.bytes_kept == 0
            """
        )
        run_python(script, folder, make_job())
        assert list(folder.iterdir()) == []

    def test_killed_between_latents_and_receipt(self, folder: Path, make_job: Any) -> None:
        """Whatever moment it is: a whole file that nobody refers to, or a leftover; both go at the next start."""
        script = textwrap.dedent(
            """
            import os, pickle, signal, sys
            from pathlib import Path
            from provider.receipts.trajectories import Trajectories
            context, rows, profiles = pickle.loads(sys.stdin.buffer.read())
            trajectories = Trajectories(Path(sys.argv[1]), keep_hours=1, keep_mib=8)
            assert trajectories.keep(context, rows, profiles) is not None
            os.kill(os.getpid(), signal.SIGKILL)
            """
        )
        job = make_job()
        run_python(script, folder, job, returncode=-signal.SIGKILL)
        trajectories = kept_in(folder)
        assert trajectories.count == 1
        root = trajectory_root(job.context, [[sha256(latents) for latents in steps] for steps in job.rows])
        assert trajectories.open(root, 5, 1).latents == job.rows[1][5]
        assert trajectories.sweep(lambda *_job: False) == 1
        assert list(folder.iterdir()) == []

    @pytest.mark.parametrize(
        "damage",
        [
            lambda content: content[:-1],
            lambda content: content[:100],
            lambda _content: b"",
            lambda content: bytes(8) + content[8:],
            lambda content: b"\xff" * 8 + content[8:],
            lambda content: content[:8] + b"[" * 50 + content[58:],
            lambda content: content[:-10] + bytes(10),
            lambda content: content.replace(b'"job_id":"2026-11-22-000001"', b'"job_id":"2026-11-22-000009"'),
            lambda content: content.replace(b'"latent_bytes":1024', b'"latent_bytes":1e99'),
            lambda content: content.replace(b'"version":1', b'"version":2'),
            lambda content: content.replace(b'"digests":[[', b'"digests":[["'),
        ],
        ids=range(11),
    )
    def test_damaged_file_is_not_opened(self, folder: Path, make_job: Any, damage: Callable[[bytes], bytes]) -> None:
        trajectories = kept_in(folder)
        root = keep(trajectories, make_job())
        path = folder / f"{root.hex()}.trajectory"
        damaged = damage(path.read_bytes())
        assert damaged != path.read_bytes()
        path.write_bytes(damaged)
        with structlog.testing.capture_logs() as logs, pytest.raises(TrajectoryGone):
            trajectories.open(root, 5, 1)
        assert [entry["event"] for entry in logs] == ["trajectory_damaged"]


def run_python(script: str, folder: Path, job: Any, *, returncode: int = 0) -> None:
    """Runs a script that gets the folder as its argument and the job on stdin."""
    import pickle

    given = pickle.dumps((job.context, job.rows, job.profiles))
    done = subprocess.run(
        [sys.executable, "-c", script, str(folder)], input=given, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == returncode, done.stderr.decode()


@pytest.mark.parametrize(
    "change",
    [
        *[{name: None} for name in ("trajectory_root", "context", "opening", "profiles", "dtype", "shape", "latents")],
        {"latents": "AAAA"},
        {"latents": "not base64"},
        {"latents": "Ä"},
        {"profiles": []},
        {"profiles": [{}] * 2},
        {"dtype": "float16"},
        {"shape": [4, 8, 9]},
        {"shape": "4x8x8"},
        {"more": 1},
    ],
)
def test_answers_that_are_no_openings(folder: Path, make_job: Any, change: dict[str, Any]) -> None:
    trajectories = kept_in(folder)
    honest = trajectories.open(keep(trajectories, make_job()), 1).to_object()
    assert StepOpening.from_object(honest).latents
    with pytest.raises(Rejected):
        StepOpening.from_object(honest | change)


def test_an_opening_needs_every_field(folder: Path, make_job: Any) -> None:
    trajectories = kept_in(folder)
    honest = trajectories.open(keep(trajectories, make_job()), 1).to_object()
    for name in honest:
        with pytest.raises(Rejected):
            StepOpening.from_object({other: value for other, value in honest.items() if other != name})
