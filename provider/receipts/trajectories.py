"""The latents of every step, kept on disk until the challenge window of their job ends.

One file per job, named by the trajectory's root: a header of one JSON object, then the latents, picture by picture and
step by step. It is synced before it gets its name, and has its name before the receipt is signed; so a signed root
always has its file. A file whose receipt was never stored (the process died in between) is swept at the next start.
"""

import base64
import contextlib
import json
import math
import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

import rfc8785
import structlog

from chain.primitives.hashing import sha256
from chain.primitives.hexadecimal import parse_hash, to_hex
from chain.primitives.latents import BYTES_OF_DTYPE
from chain.primitives.profiles import are_of_one_run, profile_object
from chain.primitives.rejection import Rejected, RejectionReason
from chain.primitives.strict_json import check_keys
from chain.primitives.trajectory import Opening, TrajectoryContext, open_step, trajectory_root
from chain.primitives.types import Hash32
from provider.errors import TrajectoryGone
from provider.generation import MAX_PICTURES, ReproducibilityProfile
from provider.receipts.profiles import parse_profile

_VERSION: Final = 1
_SUFFIX: Final = ".trajectory"
_PARTIAL: Final = ".partial"
_LENGTH_BYTES: Final = 8
_MAX_HEADER_BYTES: Final = 8 * 1024 * 1024
_MIB: Final = 2**20
_DAMAGE: Final = (OSError, ValueError, KeyError, TypeError, OverflowError, Rejected)
"""What reading a file raises that another hand or a dying disk has changed."""

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("provider.trajectories")


_OPENING_KEYS: Final = ("trajectory_root", "context", "opening", "profiles", "dtype", "shape", "latents")
_MAX_LATENTS_CHARACTERS: Final = 64 * _MIB


@dataclass(frozen=True)
class StepOpening:
    """One step's latents, with all that shows that they stand under the root in the receipt."""

    trajectory_root: Hash32
    context: TrajectoryContext
    opening: Opening
    profiles: tuple[ReproducibilityProfile, ...]
    """Of each picture."""
    latents: bytes
    """Little-endian, in the dtype and shape of the picture's profile."""

    def to_object(self) -> dict[str, Any]:
        """The answer of `GET /v1/jobs/{id}/steps/{k}`."""
        profile = self.profiles[self.opening.picture]
        return {
            "trajectory_root": to_hex(self.trajectory_root),
            "context": self.context.to_object(),
            "opening": self.opening.to_object(),
            "profiles": [profile_object(each) for each in self.profiles],
            "dtype": profile.dtype,
            "shape": list(profile.latent_shape),
            "latents": base64.b64encode(self.latents).decode(),
        }

    @classmethod
    def from_object(cls, fields: object) -> Self:
        """From such an answer's parsed JSON, bounded, with nothing believed; raises Rejected that names the field."""
        known = check_keys(fields, _OPENING_KEYS, "opening")
        profiles = known["profiles"]
        if not isinstance(profiles, list) or not 1 <= len(profiles) <= MAX_PICTURES:
            raise _malformed("profiles")
        opening = cls(
            trajectory_root=parse_hash(known["trajectory_root"], "trajectory_root"),
            context=TrajectoryContext.from_object(known["context"]),
            opening=Opening.from_object(known["opening"]),
            profiles=tuple(parse_profile(profile, f"profiles[{index}]") for index, profile in enumerate(profiles)),
            latents=_decode(known["latents"]),
        )
        if not 0 <= opening.opening.picture < len(opening.profiles):
            raise _malformed("profiles")
        profile = opening.profiles[opening.opening.picture]
        if (known["dtype"], known["shape"]) != (profile.dtype, list(profile.latent_shape)):
            raise _malformed("shape")
        if len(opening.latents) != math.prod(profile.latent_shape) * BYTES_OF_DTYPE[profile.dtype]:
            raise _malformed("latents")
        return opening


@dataclass(frozen=True)
class _Kept:
    kept_at_s: float
    size_bytes: int


@dataclass(frozen=True)
class _Header:
    """What stands before the latents in a file."""

    context: TrajectoryContext
    profiles: tuple[ReproducibilityProfile, ...]
    digests: tuple[tuple[Hash32, ...], ...]
    latent_bytes: int
    """Of one picture at one step."""

    def to_bytes(self) -> bytes:
        return rfc8785.dumps(
            {
                "version": _VERSION,
                "context": self.context.to_object(),
                "profiles": [profile_object(profile) for profile in self.profiles],
                "digests": [[digest.hex() for digest in steps] for steps in self.digests],
                "latent_bytes": self.latent_bytes,
            }
        )

    @classmethod
    def from_bytes(cls, text: bytes) -> "_Header":
        """Raises one of `_DAMAGE`."""
        fields = json.loads(text)
        if fields["version"] != _VERSION:
            raise ValueError("another version")
        header = cls(
            context=TrajectoryContext.from_object(fields["context"]),
            profiles=tuple(parse_profile(profile) for profile in fields["profiles"]),
            digests=tuple(tuple(Hash32(bytes.fromhex(digest)) for digest in steps) for steps in fields["digests"]),
            latent_bytes=int(fields["latent_bytes"]),
        )
        if len(header.profiles) != len(header.digests) or len({len(steps) for steps in header.digests}) != 1:
            raise ValueError("pictures that do not fit together")
        return header


class Trajectories:
    """The folder. All methods block and may be called in any thread; one process at a time uses a folder."""

    name: Final = "trajectories"

    def __init__(self, folder: Path, *, keep_hours: float, keep_mib: int) -> None:
        """`keep_mib` 0 keeps nothing. Raises OSError where the folder cannot be used."""
        self._folder = folder
        self._keep_s = keep_hours * 3600
        self._keep_bytes = keep_mib * _MIB
        self._lock = threading.Lock()
        self._kept: dict[Hash32, _Kept] = {}
        self._taken_bytes = 0
        """By files that are kept, and by those that are being written."""
        if self.is_enabled or folder.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._find_kept()

    @property
    def is_enabled(self) -> bool:
        """Whether anything is kept: only then need a run be recorded at all."""
        return self._keep_bytes > 0 and self._keep_s > 0

    @property
    def count(self) -> int:
        """Jobs whose latents are kept."""
        return len(self._kept)

    @property
    def bytes_kept(self) -> int:
        """On disk."""
        return self._taken_bytes

    def keep(
        self,
        context: TrajectoryContext,
        rows: Sequence[Sequence[bytes]],
        profiles: Sequence[ReproducibilityProfile],
    ) -> Hash32 | None:
        """The root over `rows[picture][step]`, with everything durable on disk; None where it could not be kept.

        Then the job goes on without a commitment: a full disk must not cost a client its picture, nor must devices of
        a cluster that compute in different precisions, whose pictures' steps no verifier would take for one job's.
        """
        if not are_of_one_run(profiles):
            _log.warning("trajectory_of_differing_profiles", job_id=context.job_id)
            return None
        sizes = {len(latents) for steps in rows for latents in steps}
        assert len(sizes) == 1, "all latents of a job are of one size"
        assert len(profiles) == len(rows)
        digests = tuple(tuple(sha256(latents) for latents in steps) for steps in rows)
        header = _Header(context, tuple(profiles), digests, sizes.pop()).to_bytes()
        root = trajectory_root(context, digests)
        size_bytes = _LENGTH_BYTES + len(header) + sum(len(latents) for steps in rows for latents in steps)
        try:
            if not self._reserve(size_bytes):
                _log.warning("trajectory_too_large", job_id=context.job_id, bytes=size_bytes)
                return None
        except OSError as error:
            _log.error("trajectory_not_kept", job_id=context.job_id, detail=str(error))
            return None
        try:
            self._write(root, header, rows)
        except OSError as error:
            _log.error("trajectory_not_kept", job_id=context.job_id, detail=str(error))
            with self._lock:
                self._taken_bytes -= size_bytes
            return None
        with self._lock:
            self._kept[root] = _Kept(time.time(), size_bytes)
        return root

    def open(self, root: Hash32, step: int, picture: int = 0) -> StepOpening:
        """One step of one picture; raises TrajectoryGone, and Rejected (out_of_range) for a step that there is not."""
        try:
            with self._path(root).open("rb") as file:
                header = self._header(file, root)
                opening = open_step(header.context, header.digests, picture=picture, step=step)
                index = picture * len(header.digests[0]) + step
                file.seek(index * header.latent_bytes, os.SEEK_CUR)
                latents = file.read(header.latent_bytes)
        except FileNotFoundError:
            raise TrajectoryGone("the latents of this job are not kept any more") from None
        except (OSError, ValueError, OverflowError) as error:
            raise self._damaged(root, str(error)) from None
        if sha256(latents) != opening.latents_sha256 or trajectory_root(header.context, header.digests) != root:
            raise self._damaged(root, "the latents or the header have changed")
        return StepOpening(root, header.context, opening, header.profiles, latents)

    def discard(self, root: Hash32) -> None:
        """Forgets a job whose receipt was not stored."""
        self._remove(root)

    def sweep(self, is_referenced: Callable[[str, str, Hash32], bool]) -> int:
        """Removes files that no stored receipt refers to: `is_referenced(hub_id, job_id, root)`. Once, at start."""
        removed = 0
        for root in list(self._kept):
            try:
                with self._path(root).open("rb") as file:
                    context = _read_header(file).context
                is_orphan = not is_referenced(context.hub_id, context.job_id, root)
            except _DAMAGE as error:
                _log.warning("trajectory_damaged", trajectory_root=to_hex(root), detail=str(error))
                is_orphan = True
            if is_orphan:
                self._remove(root)
                removed += 1
        return removed

    def prune(self, now_s: float) -> int:
        """Removes what is older than the window; how many jobs that were."""
        with self._lock:
            over = [root for root, kept in self._kept.items() if kept.kept_at_s + self._keep_s <= now_s]
        for root in over:
            self._remove(root)
        return len(over)

    def _reserve(self, size_bytes: int) -> bool:
        """Makes room, the oldest first; False where there is none at all."""
        if size_bytes > self._keep_bytes:
            return False
        now_s = time.time()
        self.prune(now_s)
        with self._lock:
            for root, kept in sorted(self._kept.items(), key=lambda item: item[1].kept_at_s):
                if self._taken_bytes + size_bytes <= self._keep_bytes:
                    break
                # Its window has not ended yet: whoever still wanted to challenge that job cannot any more.
                age_s = math.floor(now_s - kept.kept_at_s)
                _log.warning("trajectory_dropped_early", trajectory_root=to_hex(root), age_s=age_s)
                self._forget(root)
            if self._taken_bytes + size_bytes > self._keep_bytes:  # Others are being written at this moment.
                return False
            self._taken_bytes += size_bytes
        return True

    def _remove(self, root: Hash32) -> None:
        with self._lock:
            self._forget(root)

    def _forget(self, root: Hash32) -> None:
        self._path(root).unlink(missing_ok=True)
        kept = self._kept.pop(root, None)
        if kept is not None:
            self._taken_bytes -= kept.size_bytes

    def _write(self, root: Hash32, header: bytes, rows: Sequence[Sequence[bytes]]) -> None:
        partial = self._folder / f"{root.hex()}.{secrets.token_hex(4)}{_PARTIAL}"
        try:
            with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(len(header).to_bytes(_LENGTH_BYTES, "big") + header)
                for steps in rows:
                    for latents in steps:
                        file.write(latents)
                file.flush()
                os.fsync(file.fileno())
            partial.rename(self._path(root))
            _sync_folder(self._folder)
        except OSError:
            with contextlib.suppress(OSError):  # The first error says it.
                partial.unlink(missing_ok=True)
                self._path(root).unlink(missing_ok=True)
            raise

    def _find_kept(self) -> None:
        for path in self._folder.iterdir():
            if path.name.endswith(_PARTIAL):
                path.unlink(missing_ok=True)
            elif path.name.endswith(_SUFFIX):
                try:
                    root = Hash32(bytes.fromhex(path.name.removesuffix(_SUFFIX)))
                except ValueError:
                    continue  # Not a name of ours.
                state = path.stat()
                self._kept[root] = _Kept(state.st_mtime, state.st_size)
                self._taken_bytes += state.st_size

    def _path(self, root: Hash32) -> Path:
        return self._folder / f"{root.hex()}{_SUFFIX}"

    def _header(self, file: BinaryIO, root: Hash32) -> _Header:
        try:
            return _read_header(file)
        except _DAMAGE as error:
            raise self._damaged(root, str(error)) from None

    def _damaged(self, root: Hash32, detail: str) -> TrajectoryGone:
        _log.error("trajectory_damaged", trajectory_root=to_hex(root), detail=detail)
        return TrajectoryGone("the latents of this job cannot be read any more")


def _decode(text: object) -> bytes:
    if not isinstance(text, str) or len(text) > _MAX_LATENTS_CHARACTERS:
        raise _malformed("latents")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:  # Also binascii.Error, which is one.
        raise _malformed("latents") from None


def _malformed(field: str) -> Rejected:
    return Rejected(RejectionReason.MALFORMED, f"{field} is malformed", field=field)


def _read_header(file: BinaryIO) -> _Header:
    """Raises one of `_DAMAGE`."""
    length = int.from_bytes(file.read(_LENGTH_BYTES), "big")
    if length > _MAX_HEADER_BYTES:
        raise ValueError("the header is too long")
    return _Header.from_bytes(file.read(length))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
