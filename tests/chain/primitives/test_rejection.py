"""A refusal can be told to anybody: its reason is a stable word, its message is always text that can be sent."""

import pickle
import re

from chain.primitives.rejection import Rejected, RejectionReason


def test_reasons_are_stable_snake_case_words() -> None:
    for reason in RejectionReason:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", reason.value)
        assert reason.value == reason.name.lower()


def test_lone_surrogates_from_outside_do_not_reach_the_answer() -> None:
    rejected = Rejected(RejectionReason.UNKNOWN_FIELD, "unknown field \ud800", field="\udfff", count=3)

    assert rejected.message.encode() == b"unknown field \\ud800"
    assert str(rejected) == rejected.message
    assert rejected.values == {"field": "\\udfff", "count": 3}


def test_a_refusal_survives_the_way_out_of_a_worker_process() -> None:
    rejected = Rejected(RejectionReason.HIGH_S, "the twin", field="s")

    copy = pickle.loads(pickle.dumps(rejected))

    assert (copy.reason, copy.message, copy.values) == (rejected.reason, rejected.message, rejected.values)
    assert str(copy) == "the twin"
