"""Rows come back as they were inserted, whichever way the database takes them."""

import pytest

from hub.store import jobs
from hub.store.store import Store
from tests.hub.store.conftest import add_job

ODD_TEXTS = [
    '"',
    "\\",
    "'; DROP TABLE jobs; --",
    "\n\r\t\x01",
    "猫 \U0001f408",
    "\\u0041",
    "%s :name $1",
    "{}",
    "null",
    "",
]


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_odd_text_is_kept_as_it_is(store: Store, text: str) -> None:
    add_job(store, prompts=[text, text + "b"], client=text, client_signature=None, facts={"a": text, "b": [text, None]})

    job = store.read_now(lambda c: jobs.get(c, "job-1"))

    assert job is not None
    assert (job.prompts, job.client, job.facts) == ([text, text + "b"], text, {"a": text, "b": [text, None]})


def test_a_character_that_no_text_column_holds_is_kept_in_json(store: Store) -> None:
    add_job(store, prompts=["a\x00b"], facts={"a": "\x00"})

    job = store.read_now(lambda c: jobs.get(c, "job-1"))

    assert job is not None
    assert (job.prompts, job.facts) == (["a\x00b"], {"a": "\x00"})


def test_numbers_keep_every_digit(store: Store) -> None:
    add_job(
        store,
        max_price=10**78 - 1,
        max_price_per_unit=0,
        seed=2**63 - 1,
        finish_s=1 / 3,
        facts={"a": 2**53 + 1, "b": 1e-300},
    )

    job = store.read_now(lambda c: jobs.get(c, "job-1"))

    assert job is not None
    assert (job.max_price, job.max_price_per_unit, job.price_per_unit) == (10**78 - 1, 0, None)
    assert (job.seed, job.finish_s, job.facts) == (2**63 - 1, 1 / 3, {"a": 2**53 + 1, "b": 1e-300})
    assert job.is_paid is False


def test_what_a_column_does_not_hold_is_refused_and_nothing_is_kept(store: Store) -> None:
    for wrong in ({"seed": 2**63}, {"max_price": 10**78}):
        with pytest.raises(Exception, match=r"\S"):
            add_job(store, **wrong)  # type: ignore[arg-type]
    assert store.read_now(lambda c: jobs.get(c, "job-1")) is None
