"""Perceptual hashes of accepted pictures, and which of them are like a given one.

A hash of 64 bits stands as four bands of 16. Two hashes that differ in 7 bits or fewer have a band in which they differ
in at most one (7 = 4 × 1 + 3), so 17 values in each band's index find every such hash.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, or_, select

from hub.store.statements import Prepared
from hub.store.tables.providers import PERCEPTUAL_HASHES
from hub.store.transaction import Reader, Transaction

MAX_DISTANCE: Final = 7
_BANDS: Final = 4
_BAND_BITS: Final = 16
_HASH_BITS: Final = _BANDS * _BAND_BITS
_FLIPS: Final = (0, *(1 << bit for bit in range(_BAND_BITS)))
"""Of a band, so that it differs in at most one bit."""
_MOST_LOOKED_AT: Final = 4_096  # Many equal pictures (a provider's favourite cheat) shall not become a burden.


@dataclass(frozen=True, slots=True, kw_only=True)
class NearPicture:
    """A picture seen before, and how many of the 64 bits differ."""

    job_id: str
    picture: int
    provider: str
    at_ms: int
    hash64: int
    run_key: int
    """Which picture was asked for: 63 bits, keyed (`hub.verification.likeness`)."""
    sha256: str
    distance: int


def bands_of(hash64: int) -> list[int]:
    """From the most significant."""
    if not 0 <= hash64 < 1 << _HASH_BITS:
        raise ValueError("a perceptual hash has 64 bits")
    return [hash64 >> _BAND_BITS * place & 0xFFFF for place in reversed(range(_BANDS))]


def hash_of(bands: Iterable[int]) -> int:
    """The other way round."""
    hash64 = 0
    for band in bands:
        hash64 = hash64 << _BAND_BITS | band
    return hash64


_C: Final = PERCEPTUAL_HASHES.c
_BAND_COLUMNS: Final = (_C.band_0, _C.band_1, _C.band_2, _C.band_3)
_NEAR: Final = Prepared(
    select(_C.job_id, _C.picture, _C.provider, _C.at_ms, _C.run_key, _C.sha256, *_BAND_COLUMNS)
    .where(
        or_(
            *(
                column.in_([bindparam(f"near_{place}_{flip}") for flip in range(len(_FLIPS))])
                for place, column in enumerate(_BAND_COLUMNS)
            )
        ),
        _C.at_ms >= bindparam("since"),
    )
    .order_by(_C.sequence.desc())
    .limit(_MOST_LOOKED_AT)
)


def keep(
    transaction: Transaction,
    *,
    job_id: str,
    picture: int,
    provider: str,
    hash64: int,
    run_key: int,
    sha256: str,
    now_ms: int,
) -> None:
    """Of an accepted picture."""
    bands = {f"band_{place}": band for place, band in enumerate(bands_of(hash64))}
    transaction.insert(
        PERCEPTUAL_HASHES,
        job_id=job_id,
        picture=picture,
        provider=provider,
        at_ms=now_ms,
        run_key=run_key,
        sha256=sha256,
        **bands,
    )


def near(reader: Reader, hash64: int, *, max_distance: int, since_ms: int = 0, limit: int = 16) -> list[NearPicture]:
    """Pictures since then that differ in at most so many bits (7 at most), the nearest first."""
    if not 0 <= max_distance <= MAX_DISTANCE:
        raise ValueError(f"max_distance must be from 0 to {MAX_DISTANCE}")
    wanted = bands_of(hash64)
    parameters = {
        f"near_{place}_{number}": band ^ flip for place, band in enumerate(wanted) for number, flip in enumerate(_FLIPS)
    }
    found = []
    for row in reader.execute(_NEAR, {**parameters, "since": since_ms}):
        bands = (row.band_0, row.band_1, row.band_2, row.band_3)
        distance = sum((ours ^ theirs).bit_count() for ours, theirs in zip(wanted, bands, strict=True))
        if distance <= max_distance:
            found.append(_near_picture(row, distance))
    return sorted(found, key=lambda item: item.distance)[:limit]


_SAME: Final = Prepared(
    select(_C.job_id, _C.picture, _C.provider, _C.at_ms, _C.run_key, _C.sha256, *_BAND_COLUMNS)
    .where(
        *(column == bindparam(f"band_is_{place}") for place, column in enumerate(_BAND_COLUMNS)),
        _C.sha256 == bindparam("the_sha256"),
        _C.at_ms >= bindparam("since"),
    )
    .order_by(_C.sequence)
    .limit(bindparam("most"))
)


def same_file(reader: Reader, hash64: int, sha256: str, *, since_ms: int, limit: int) -> list[NearPicture]:
    """The very same file since then, the oldest first: also behind more that look like it than `near` tells."""
    parameters = {f"band_is_{place}": band for place, band in enumerate(bands_of(hash64))}
    rows = reader.execute(_SAME, {**parameters, "the_sha256": sha256, "since": since_ms, "most": limit})
    return [_near_picture(row, 0) for row in rows]


def _near_picture(row: Any, distance: int) -> NearPicture:
    return NearPicture(
        job_id=row.job_id,
        picture=row.picture,
        provider=row.provider,
        at_ms=row.at_ms,
        hash64=hash_of((row.band_0, row.band_1, row.band_2, row.band_3)),
        run_key=row.run_key,
        sha256=row.sha256,
        distance=distance,
    )
