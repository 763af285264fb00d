"""What a provider opens, held against its receipt; and which entries one order can carry."""

import struct
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from chain.primitives import trajectory
from chain.primitives.hashing import sha256
from chain.primitives.latents import widened
from chain.primitives.merkle import list_proof, list_root
from chain.primitives.provider_messages import Opened
from chain.primitives.types import Hash32
from chain.primitives.worker_fields import Place
from hub.verification import challenges
from hub.verification.challenges import MAX_OPENED, OpenedRun
from hub.verification.errors import AnswerRefused, FaultReason
from hub.verification.sampling import SamplingKey
from tests.hub.verification.toy_model import COUNT, RUN, honest, packed, profile

TWO = msgspec.structs.replace(RUN, count=2)
ANSWER = honest(TWO)
PLACES = [Place(picture=0, step=0), Place(picture=1, step=4)]


def opened_run() -> OpenedRun:
    assert ANSWER.receipt.trajectory_root is not None
    return OpenedRun(ANSWER.receipt, ANSWER.receipt.trajectory_root, ANSWER.profiles, 2)


def refused(message: Opened, latents: tuple[bytes, ...], run: OpenedRun | None = None) -> FaultReason:
    with pytest.raises(AnswerRefused) as caught:
        (run or opened_run()).take(PLACES, message, latents)
    return caught.value.reason


def test_true_openings_are_kept() -> None:
    run = opened_run()
    assert run.missing(PLACES + PLACES) == PLACES
    run.take(PLACES, *ANSWER.open(PLACES))
    assert (run.steps, run.missing(PLACES), run.latents(PLACES[1])) == (10, [], ANSWER.entries[1][4])


def change_first(**fields: Any) -> Callable[[Opened], Opened]:
    def change(message: Opened) -> Opened:
        first = msgspec.structs.replace(message.openings[0], **fields)
        return msgspec.structs.replace(message, openings=(first, *message.openings[1:]))

    return change


@pytest.mark.parametrize(
    "change",
    [
        change_first(step=1),
        change_first(picture=1),
        change_first(pictures=3),
        change_first(pictures=1),
        change_first(steps=9),
        change_first(latents_sha256="00" * 32),
        change_first(siblings=()),
        change_first(siblings=("0x" + "00" * 32,) * 5),
        change_first(siblings=("0x" + "00" * 32,) * 22),
        lambda message: msgspec.structs.replace(message, openings=message.openings[:1]),
        lambda message: msgspec.structs.replace(message, openings=message.openings[::-1]),
        lambda message: msgspec.structs.replace(message, profiles=message.profiles[:1]),
        lambda message: msgspec.structs.replace(message, profiles=(profile(batch_rows=8),) * 2),
    ],
)
def test_whatever_is_changed_does_not_hold(change: Callable[[Opened], Opened]) -> None:
    message, latents = ANSWER.open(PLACES)
    assert refused(change(message), latents) is FaultReason.BAD_PROOF


def test_a_tree_of_two_runs() -> None:
    """An entry of a run of nine steps among those of ten is never proven: the root says how many entries there are."""
    answer = honest(msgspec.structs.replace(RUN, count=1))
    context = challenges.context_of(answer.receipt, answer.profiles)
    digests = [sha256(entry) for entry in answer.entries[0]]
    items = [*trajectory._items(context, [digests[:-1]])[:1], *trajectory._items(context, [digests])[1:]]
    root = list_root(items)
    opened = OpenedRun(msgspec.structs.replace(answer.receipt, trajectory_root=root), root, answer.profiles, 1)
    message, latents = answer.open([Place(picture=0, step=0)])
    siblings = tuple("0x" + node.hex() for node in list_proof(items, 0))
    first = msgspec.structs.replace(message.openings[0], siblings=siblings)
    for steps in (9, 10):
        changed = msgspec.structs.replace(message, openings=(msgspec.structs.replace(first, steps=steps),))
        with pytest.raises(AnswerRefused):
            opened.take([Place(picture=0, step=0)], changed, latents)


def test_huge_latents_do_not_make_a_difference_small() -> None:
    """Who commits to entries a thousand times too large is judged by the size that they should have."""
    claim = ANSWER.profiles[0]
    place = Place(picture=0, step=1)
    again = packed([1.0] * COUNT)
    huge = packed([1000.0 + number % 2 for number in range(COUNT)])
    found = challenges._figures(huge, again, claim.dtype, claim.dtype, place, 1.0, 1e-4)
    assert found.relative > 900


def test_openings_of_another_job() -> None:
    """The same latents under another receipt."""
    message, latents = ANSWER.open(PLACES)
    other = msgspec.structs.replace(ANSWER.receipt, job_id="job-2")
    assert other.trajectory_root is not None
    run = OpenedRun(other, other.trajectory_root, ANSWER.profiles, 2)
    assert refused(message, latents, run) is FaultReason.BAD_PROOF
    with_root = OpenedRun(ANSWER.receipt, Hash32(b"\x01" * 32), ANSWER.profiles, 2)
    assert refused(message, latents, with_root) is FaultReason.BAD_PROOF


@pytest.mark.parametrize("profiles", [(), (profile(),), (profile(), profile(dtype="bfloat16")), (profile(),) * 3])
def test_profiles_that_are_not_of_this_run(profiles: tuple[Any, ...]) -> None:
    assert ANSWER.receipt.trajectory_root is not None
    with pytest.raises(AnswerRefused) as caught:
        OpenedRun(ANSWER.receipt, ANSWER.receipt.trajectory_root, profiles, 2)
    assert caught.value.reason is FaultReason.BAD_PROOF


def test_places_are_drawn_from_the_middle_and_both_ends() -> None:
    draws = SamplingKey(b"\x01" * 32).draws(Hash32(b"\x02" * 32))
    places = challenges.choose_places(draws, 1, 20, 4)
    steps = [place.step for place in places]
    assert {place.picture for place in places} == {1}
    assert steps[:2] == [0, 1]
    assert steps[-1] == 20
    assert len(steps) == len(set(steps)) == 7
    assert [place.step for place in challenges.choose_places(draws, 0, 1, 4)] == [0, 1]


def test_only_what_fits_into_an_order_is_asked_for() -> None:
    """A late step of PNDM depends on all before it."""
    places = [Place(picture=0, step=step) for step in (0, 1, 60, 150, 200)]
    needed = challenges.needed_of(places, [range(place.step) for place in places])
    assert list(needed) == places[:3]
    assert len({entry for entries in needed.values() for entry in entries}) <= MAX_OPENED


def test_latents_in_the_checkers_precision() -> None:
    raw = b"\x80\x3f\x00\xc0"
    assert challenges.as_sent(raw, "bfloat16", "bfloat16") == raw
    assert challenges.as_sent(raw, "bfloat16", "float32") == widened(raw, "bfloat16")
    assert challenges.as_sent(widened(raw, "bfloat16"), "float32", "bfloat16") == raw
    assert challenges.as_sent(raw, "bfloat16", "float16") == struct.pack("<2e", 1.0, -2.0)
