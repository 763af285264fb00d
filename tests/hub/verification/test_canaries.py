"""Jobs whose answer is known: for whom, how often, and what is made of the answer."""

from dataclasses import replace

import msgspec
import pytest

from chain.primitives.hashing import sha256
from chain.primitives.types import Address
from hub.verification import canaries
from hub.verification.canaries import MAX_USES, KnownAnswer
from hub.verification.comparison import ComputedPicture
from hub.verification.errors import FaultReason
from hub.verification.sampling import Draws, SamplingKey
from tests.hub.verification.toy_model import PROFILE, RUN, made, profile

MAKER, WORKER = Address(b"\x01" * 20), Address(b"\x02" * 20)
TRUE = made(RUN)
TRUTH = ComputedPicture(TRUE.picture, PROFILE, TRUE.entries[-1])
KNOWN = KnownAnswer(RUN, TRUE.picture, PROFILE, TRUE.entries[-1], frozenset({MAKER}))
MODELS = frozenset({RUN.model})


def draws(number: int = 0) -> Draws:
    return SamplingKey(b"\x03" * 32).draws(sha256(bytes((number,))))


def test_never_to_whom_it_was_shown() -> None:
    assert canaries.choose([KNOWN], WORKER, MODELS, draws()) == KNOWN
    assert canaries.choose([KNOWN], MAKER, MODELS, draws()) is None
    assert canaries.choose([replace(KNOWN, had_by=frozenset({MAKER, WORKER}))], WORKER, MODELS, draws()) is None
    assert canaries.choose([replace(KNOWN, uses=MAX_USES)], WORKER, MODELS, draws()) is None
    assert canaries.choose([KNOWN], WORKER, frozenset({"another/model"}), draws()) is None


def test_which_one_is_drawn() -> None:
    several = [replace(KNOWN, run=msgspec.structs.replace(RUN, seed=seed)) for seed in range(5)]
    chosen = [canaries.choose(several, WORKER, MODELS, draws(number)) for number in range(40)]
    assert len({each.run.seed for each in chosen if each is not None}) == 5


@pytest.mark.parametrize("rate", [0.05, 0.02, 0.01])
def test_how_often(rate: float) -> None:
    due = sum(canaries.is_due(SamplingKey(b"\x04" * 32).draws(sha256(number.to_bytes(4, "big"))), rate)
              for number in range(5_000))  # fmt: skip
    assert rate / 2 < due / 5_000 < rate * 2


def test_the_right_answer() -> None:
    assert canaries.judge(KNOWN, TRUTH).fault is None
    rounded = made(RUN, 1e-6, profile(device_class="Other 2.0"))
    answer = ComputedPicture(rounded.picture, rounded.profile, rounded.entries[-1])
    assert canaries.judge(KNOWN, answer).fault is None


def test_the_right_answer_as_jpeg() -> None:
    lossy = msgspec.structs.replace(RUN, image_format="jpeg", quality=80)
    answer = ComputedPicture(made(lossy).picture)
    assert canaries.judge(replace(KNOWN, run=lossy), answer).fault is None


def test_another_answer() -> None:
    other = made(msgspec.structs.replace(RUN, prompts=("a windmill",), seed=9))
    for answer in (ComputedPicture(other.picture), ComputedPicture(other.picture, PROFILE, other.entries[-1])):
        found = canaries.judge(KNOWN, answer)
        assert found.fault is FaultReason.CANARY_FAILED
        assert found.detail
