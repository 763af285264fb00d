"""Pictures that look alike are found, every one of them, and no others."""

import random

import pytest

from hub.store import perceptual
from hub.store.store import Store
from hub.store.transaction import Transaction
from tests.hub.store.conftest import ANNA, NOW_MS


def keep(transaction: Transaction, job_id: str, hash64: int, now_ms: int = NOW_MS) -> None:
    perceptual.keep(
        transaction,
        job_id=job_id,
        picture=1,
        provider=ANNA,
        hash64=hash64,
        run_key=2**63 - 1,
        sha256="0" * 64,
        now_ms=now_ms,
    )


def test_every_hash_within_the_distance_is_found_and_no_other(store: Store) -> None:
    rng = random.Random(7)
    looked_for = rng.getrandbits(64)
    kept = {f"job-{number}": rng.getrandbits(64) for number in range(200)}
    for distance in range(10):
        for number in range(20):
            flipped = looked_for
            for bit in rng.sample(range(64), distance):
                flipped ^= 1 << bit
            kept[f"near-{distance}-{number}"] = flipped

    def unit(transaction: Transaction) -> None:
        for job_id, hash64 in kept.items():
            keep(transaction, job_id, hash64)

    store.write_now(unit)

    for most in (0, 3, 7):
        found = store.read_now(lambda c, at_most=most: perceptual.near(c, looked_for, max_distance=at_most, limit=999))  # type: ignore[misc]
        expected = {job_id for job_id, hash64 in kept.items() if (hash64 ^ looked_for).bit_count() <= most}
        assert {item.job_id for item in found} == expected
        assert [item.distance for item in found] == sorted(
            (kept[item.job_id] ^ looked_for).bit_count() for item in found
        )
        assert all(item.hash64 == kept[item.job_id] for item in found)


def test_age_and_number_are_bounded(store: Store) -> None:
    def unit(transaction: Transaction) -> None:
        for number in range(5):
            keep(transaction, f"job-{number}", 2**64 - 1, NOW_MS + number)

    store.write_now(unit)

    found = store.read_now(lambda c: perceptual.near(c, 2**64 - 1, max_distance=0, since_ms=NOW_MS + 2, limit=2))
    assert [item.job_id for item in found] == ["job-4", "job-3"]
    assert (found[0].run_key, found[0].sha256) == (2**63 - 1, "0" * 64)


@pytest.mark.parametrize("distance", [-1, 8])
def test_a_distance_that_the_index_does_not_answer_for_is_refused(store: Store, distance: int) -> None:
    with pytest.raises(ValueError, match="max_distance"):
        store.read_now(lambda c: perceptual.near(c, 1, max_distance=distance))


@pytest.mark.parametrize("hash64", [-1, 2**64])
def test_what_is_no_hash_is_refused(hash64: int) -> None:
    with pytest.raises(ValueError, match="64 bits"):
        perceptual.bands_of(hash64)


def test_the_same_file_is_found_behind_any_number_of_others_that_look_like_it(store: Store) -> None:
    def unit(transaction: Transaction) -> None:
        for number, sha256 in enumerate(["a" * 64, *(f"{number:064}" for number in range(40)), "a" * 64]):
            perceptual.keep(
                transaction,
                job_id=f"job-{number}",
                picture=0,
                provider=ANNA,
                hash64=77,
                run_key=number,
                sha256=sha256,
                now_ms=NOW_MS + number,
            )

    store.write_now(unit)
    found = store.read_now(lambda c: perceptual.same_file(c, 77, "a" * 64, since_ms=NOW_MS, limit=8))
    assert [(each.job_id, each.distance) for each in found] == [("job-0", 0), ("job-41", 0)]
    assert store.read_now(lambda c: perceptual.same_file(c, 77, "a" * 64, since_ms=NOW_MS + 42, limit=8)) == []
    assert store.read_now(lambda c: perceptual.same_file(c, 76, "a" * 64, since_ms=NOW_MS, limit=8)) == []
