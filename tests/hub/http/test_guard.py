"""Who may order and open what: API keys, signed requests without one, and the tokens of their jobs."""

import pytest

from chain.web.problems import Problem
from hub.http.guard import Guard
from hub.http.links import Links
from hub.orders.request import JobRequest
from hub.orders.signers import SIGNERS, SignedOrders
from hub.secret_files import ClientKeys
from hub.store.quotas import QuotaLimits
from tests.hub.signing_clients import new_account, signed_order

KEY = "alice-0123456789abcdef"
LINKS = Links(b"\x01" * 32)
KEYS = ClientKeys({"alice": KEY}, {"alice": QuotaLimits(jobs=7)})
ACCOUNT = new_account()
UNPAID = JobRequest(**signed_order(ACCOUNT, 7))
PAID = JobRequest(**signed_order(ACCOUNT, 7, payment="escrow"))
UNSIGNED = JobRequest(prompt="a cat")


def guard(signed_orders: SignedOrders = SignedOrders.PAID) -> Guard:
    return Guard(KEYS, signed_orders, LINKS)


@pytest.mark.parametrize(
    ("setting", "request_", "status"),
    [
        (SignedOrders.NONE, PAID, 401),
        (SignedOrders.NONE, UNSIGNED, 401),
        (SignedOrders.PAID, UNSIGNED, 401),
        (SignedOrders.PAID, UNPAID, 402),
        (SignedOrders.ALL, UNSIGNED, 401),
    ],
)
def test_what_a_hub_does_not_take_without_a_key(setting: SignedOrders, request_: JobRequest, status: int) -> None:
    with pytest.raises(Problem) as refused:
        guard(setting).signer_of(request_, None)
    assert refused.value.status == status


@pytest.mark.parametrize(("setting", "request_"), [(SignedOrders.PAID, PAID), (SignedOrders.ALL, UNPAID)])
def test_who_signs_has_a_bound_of_its_own_and_one_with_all_others(setting: SignedOrders, request_: JobRequest) -> None:
    client = guard(setting).signer_of(request_, "k" * 32)
    limits = KEYS.signers
    assert client.budgets == ((SIGNERS, limits.together), (ACCOUNT.address, limits.each))
    # Addresses cost nothing: only those that pay stand in the queue for themselves.
    assert client.queues_as(request_) == (ACCOUNT.address if request_ is PAID else SIGNERS)
    with pytest.raises(Problem):
        guard(setting).signer_of(request_, "k" * 31)


def test_a_key_is_a_client_of_its_own() -> None:
    client = guard().client_of(f"Bearer {KEY}")
    assert client.budgets == (("alice", QuotaLimits(jobs=7)),)
    assert client.queues_as(UNSIGNED) == "alice"
    assert guard().sender_of(None) is None
    for wrong in ("", "Bearer", "Bearer ", f"Basic {KEY}", f"Bearer {KEY}x"):
        with pytest.raises(Problem):
            guard().sender_of(wrong)


def test_a_key_that_is_not_known_is_not_taken_for_none() -> None:
    for check in (guard().client_of, guard().reader_of):
        with pytest.raises(Problem) as unknown:
            check(f"Bearer {KEY}x")
        assert unknown.value.detail.startswith("this hub does not know the key that was sent")
        for nothing in (None, "", "Bearer ", f"Basic {KEY}"):
            with pytest.raises(Problem) as missing:
                check(nothing)
            assert missing.value.detail.startswith("send Authorization: Bearer and an API key of this hub")


def test_a_token_opens_one_job_of_this_hub() -> None:
    token = LINKS.token("0a1b")
    assert (LINKS.job_of(token), Links(b"\x02" * 32).job_of(token)) == ("0a1b", None)
    reader = guard().reader_of(f"Bearer {token}")
    assert (reader.owner, reader.job_id) == (None, "0a1b")
    with pytest.raises(Problem):
        guard().client_of(f"Bearer {token}")
    link = LINKS.picture("0a1b", 0).rpartition("=")[2]
    for wrong in (
        token[:-1],
        token + "0",
        token.upper(),
        token.replace("0a1b", "0a1c"),
        f"job.0a1b.{link}",
        "job.0a1b.",
    ):
        assert LINKS.job_of(wrong) is None, wrong
        assert guard().find_reader(wrong) is None
