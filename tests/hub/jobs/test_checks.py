"""What follows from a check, in a hub's own process: who is paid, who serves instead, who is paused, and why."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import httpx
import pytest

from chain.primitives.hexadecimal import to_hex
from chain.primitives.hub_messages import Assignment
from chain.primitives.keys import PrivateKey
from chain.primitives.receipt import Receipt
from chain.primitives.worker_fields import Place
from chain.primitives.worker_message import Refused
from hub.verification import challenges
from hub.verification.likeness import MOST_FALSE_ALARMS
from hub.verification.sampling import SamplingKey
from tests.hub.dialled import Behaviour, DialledProvider
from tests.hub.jobs.toys import Toy, serve
from tests.hub.running import CLIENT_KEYS, PRICE, Chain, HubProcess, wait_until

pytestmark = pytest.mark.timeout(300)

KEYS = [PrivateKey(bytes([0x71]) * 31 + bytes([number + 1])) for number in range(36)]
_next_key: dict[str, "count[int]"] = {}
"""By hub: whom it does not know yet."""

Join = Callable[..., Toy]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory, chain: Chain) -> Iterator[HubProcess]:
    """All tests' but those that need settings of their own: each has providers of its own."""
    process = HubProcess(tmp_path_factory.mktemp("hub"), chain, AITBC_HUB_CHECK_TIMEOUT_S=3).start()
    yield process
    assert process.stop() == 0, process.log


@pytest.fixture(scope="module")
def registered(chain: Chain) -> None:
    """All at one time: each waits for blocks."""
    with ThreadPoolExecutor(len(KEYS)) as pool:
        list(pool.map(chain.register, KEYS))


@pytest.fixture
def join(chain: Chain, registered: None) -> Iterator[Join]:
    """A provider that nobody knows yet, until the test ends."""
    made: list[Toy] = []

    def make(hub: HubProcess, **fields: Any) -> Toy:
        key = KEYS[next(_next_key.setdefault(str(hub.folder), count()))]
        made.append(Toy(key, chain, behaviour=fields.pop("behaviour", serve), **fields))
        made[-1].dial(hub.workers_url)
        return made[-1]

    yield make
    for toy in made:
        toy.hang_up()


def rows(hub: HubProcess, query: str, *values: Any) -> list[dict[str, Any]]:
    """What the hub's database has."""
    connection = sqlite3.connect(f"file:{hub.folder / 'data' / 'hub.sqlite3'}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute(query, values)]
    finally:
        connection.close()


def checks_of(hub: HubProcess, job_id: str) -> list[dict[str, Any]]:
    found = rows(hub, "SELECT provider, kind, verdict, evidence FROM checks WHERE job_id = ? ORDER BY sequence", job_id)
    return [row | {"evidence": json.loads(row["evidence"])} for row in found]


def own_jobs(hub: HubProcess) -> int:
    """How many jobs of its own it has had."""
    return len(rows(hub, "SELECT 1 FROM jobs WHERE owner = '(hub)'"))


def record_of(hub: HubProcess, toy: DialledProvider) -> dict[str, Any]:
    (row,) = rows(hub, "SELECT * FROM providers WHERE address = ?", toy.address)
    return row | {"facts": json.loads(row["facts"]), "benchmark": json.loads(row["benchmark"])}


def posted(hub: HubProcess, **fields: Any) -> str:
    answer = hub.post_job(wait_s=0, **fields)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


def unless(is_held: Callable[[], bool]) -> Behaviour:
    """Serves, but is busy as long as that is so."""

    async def behaviour(provider: DialledProvider, assignment: Assignment) -> None:
        if is_held():
            await provider.say(Refused(about=assignment.lease_id, reason="busy", detail="later", retry_after_s=0.2))
        else:
            await serve(provider, assignment)

    return behaviour


async def cannot(provider: DialledProvider, assignment: Assignment) -> None:
    """Refuses for good."""
    await provider.say(Refused(about=assignment.lease_id, reason="internal_error", detail="a fault"))


async def leaves(provider: DialledProvider, assignment: Assignment) -> None:
    """Refuses work of its own, so that it is there for checks only."""
    await provider.say(Refused(about=assignment.lease_id, reason="busy", detail="later", retry_after_s=30.0))


class TestPassing:
    def test_an_honest_provider_opens_what_is_drawn_after_it_has_committed(self, hub: HubProcess, join: Join) -> None:
        maker, checker = join(hub), join(hub, behaviour=leaves)
        job = hub.ended(posted(hub, prompt="an honest picture", seed=11))
        assert (job["status"], job["provider"]) == ("done", maker.address), (job, hub.log)
        (check,) = checks_of(hub, job["job_id"])
        assert (check["kind"], check["verdict"]) == ("examination", "passed")
        assert [vote["checker"] for vote in check["evidence"]["votes"]] == [checker.address.lower()]
        (lease_id,) = maker.committed
        assert maker.told[0] == f"committed {lease_id}"
        assert set(maker.told[1:]) == {f"opened {lease_id}"}
        # Nobody could know the places before the receipt was there, and whoever has the key comes to the same.
        key = SamplingKey(bytes.fromhex(json.loads((hub.folder / "data" / "hub-secrets.json").read_text())["sampling"]))
        receipt = Receipt.from_object(job["receipt"])
        drawn = challenges.choose_places(key.draws(receipt.hash), 0, job["request"]["steps"], 4)
        assert set(drawn) <= set(maker.opened[lease_id]) <= {Place(picture=0, step=step) for step in range(6)}
        (entry,) = rows(hub, "SELECT data FROM audit_log WHERE kind = 'sampling_key_committed'")
        assert json.loads(entry["data"]) == {"commitment": to_hex(key.commitment)}

    def test_what_passes_lets_a_standing_rise(self, hub: HubProcess, join: Join) -> None:
        maker, _checker = join(hub), join(hub, behaviour=leaves)
        for number in range(2):
            assert hub.ended(posted(hub, prompt=f"picture {number} of a newcomer"))["status"] == "done"
        record = record_of(hub, maker)
        assert (record["accepted"], record["facts"]["record"]["passed"], record["micro_units"]) == (2, 2, 2 * 10**6)
        shown = httpx.get(f"{hub.url}/v1/providers/{maker.address}/reputation").json()
        assert (shown["standing"], shown["score"], shown["checks_passed"], shown["units"]) == ("new", 1.0, 2, 2.0)
        assert shown["suspension"] is shown["banned"] is None
        assert shown["on_chain"]["complaints"] == 0
        assert httpx.get(f"{hub.url}/v1/providers/0x{'12' * 20}/reputation").status_code == 404
        assert httpx.get(f"{hub.url}/v1/providers/nobody/reputation").status_code == 404

    def test_where_nobody_can_check_it_is_taken_and_no_standing_comes_of_it(self, hub: HubProcess, join: Join) -> None:
        maker = join(hub)
        job = hub.ended(posted(hub, prompt="nobody looks"))
        assert (job["status"], checks_of(hub, job["job_id"])[0]["verdict"]) == ("done", "abandoned")
        assert record_of(hub, maker)["facts"]["record"]["passed"] == 0


class TestFailing:
    def test_another_seeds_picture_is_caught_and_made_again_by_another(
        self, hub: HubProcess, join: Join, chain: Chain
    ) -> None:
        cheat = join(hub, other_seed=True)
        others = [join(hub, behaviour=unless(lambda: not cheat.suspended)) for _ in range(3)]
        job = hub.ended(posted(hub, prompt="a certain seed", seed=5))
        assert (job["status"], cheat.suspended[0].reason) == ("done", "dispute_lost"), (job, hub.log)
        assert job["provider"] in {other.address for other in others}
        assert [check["verdict"] for check in checks_of(hub, job["job_id"]) if check["provider"] == cheat.address] == [
            "failed"
        ]
        record = record_of(hub, cheat)
        assert (record["standing"], record["facts"]["record"]["disputes"]) == ("new", 1.0)
        shown = httpx.get(f"{hub.url}/v1/providers/{cheat.address}/reputation").json()
        assert shown["suspension"]["reason"] == "dispute_lost"
        assert shown["score"] < 0.2

    def test_one_receipt_at_the_end_pays_only_who_was_honest(self, hub: HubProcess, join: Join, chain: Chain) -> None:
        cheat, honest = join(hub, other_seed=True), [join(hub) for _ in range(3)]
        before = chain.balance(cheat.key)
        job = hub.ended(posted(hub, prompt="eight of them", n=8, seed=1_000))
        assert (job["status"], job["pictures_done"]) == ("done", 8), (job, hub.log)
        receipt = Receipt.from_object(job["receipt"])
        assert receipt.amount == 8 * PRICE
        assert cheat.committed
        assert {payout["provider"] for payout in job["payouts"]} <= {each.address for each in honest}
        wait_until(lambda: cheat.suspended)
        # What the cheat hands in is the next picture of the job: it must not make copiers of those who make that one.
        assert not any(each.suspended for each in honest)
        assert len(rows(hub, "SELECT 1 FROM receipts WHERE job_id = ?", job["job_id"])) == 1
        wait_until(lambda: hub.job(job["job_id"])["mint"]["state"] == "minted")
        assert chain.balance(cheat.key) == before

    def test_who_does_not_open_its_run_has_failed(self, hub: HubProcess, join: Join) -> None:
        silent = join(hub, silent=True)
        job_id = posted(hub, prompt="a closed book")
        other = None
        wait_until(lambda: silent.committed)
        other = join(hub)
        job = hub.ended(job_id)
        if job["status"] == "failed":  # Nobody else was there yet.
            assert job["reason"] == "providers_failed"
        else:
            assert job["provider"] == other.address
        (check,) = [each for each in checks_of(hub, job_id) if each["provider"] == silent.address]
        assert (check["verdict"], check["evidence"]["reason"]) == ("failed", "no_opening")
        record = record_of(hub, silent)
        assert (record["failed"], round(record["facts"]["record"]["bad"])) == (1, 5)
        assert not silent.suspended

    def test_who_goes_before_it_was_checked_has_failed_after_a_while(self, hub: HubProcess, join: Join) -> None:
        async def gone(provider: DialledProvider, assignment: Assignment) -> None:
            await serve(provider, assignment)
            provider._is_over.set()

        maker = join(hub, behaviour=gone)
        job_id = posted(hub, prompt="served and gone")
        wait_until(lambda: maker.committed)
        maker.hang_up()
        other = join(hub)
        job = hub.ended(job_id)
        assert (job["status"], job["provider"]) == ("done", other.address), (job, hub.log)
        check = checks_of(hub, job_id)[0]
        assert (check["provider"], check["verdict"]) == (maker.address, "failed")


class TestCopies:
    """The same file for another request: nobody is accused of it, and others decide."""

    TWINS = "a lighthouse on a rock in the sea, " * 3
    """More than a toy reads: whatever follows makes another request, and no other picture."""

    def test_a_stale_file_is_caught(self, hub: HubProcess, join: Join) -> None:
        """Though its provider had made it itself."""
        cheat = join(hub)
        others = [join(hub, behaviour=unless(lambda: not cheat.suspended)) for _ in range(3)]
        first = hub.ended(posted(hub, prompt="a picture for all occasions"))
        assert (first["status"], first["provider"]) == ("done", cheat.address)
        cheat.stale = hub.request("GET", f"/v1/jobs/{first['job_id']}/pictures/0").content
        second = hub.ended(posted(hub, prompt="another occasion"))
        assert second["status"] == "done"
        assert second["provider"] in {each.address for each in others}
        caught = next(each for each in checks_of(hub, second["job_id"]) if each["provider"] == cheat.address)
        assert (caught["verdict"], "copied" in caught["evidence"]["suspicions"]) == ("failed", True)
        assert cheat.suspended[0].reason == "dispute_lost"

    def test_requests_that_no_model_tells_apart_make_no_liar(self, hub: HubProcess, join: Join) -> None:
        """And a client cannot keep everybody busy with them."""
        maker, _checker = join(hub), join(hub, behaviour=leaves)

        def suspicions(prompt: str) -> list[str]:
            body = {"prompt": self.TWINS + prompt, "seed": 4, "width": 256, "height": 256, "steps": 5}
            answer = hub.request("POST", "/v1/jobs", json=body, api_key=CLIENT_KEYS["carol"])
            job_id = answer.json()["job_id"]
            (check,) = wait_until(lambda: checks_of(hub, job_id))
            wait_until(lambda: checks_of(hub, job_id)[0]["verdict"] == "passed")
            assert (check["provider"], maker.suspended) == (maker.address, [])
            # It may also be quicker than it was before, on a machine that has other work.
            return [each for each in check["evidence"]["suspicions"] if each != "too_quick"]

        assert [suspicions(f"no. {number}") for number in (0, 1, 1, 0)] == [[], ["copied"], [], []]
        found = [suspicions(f"no. {number}") for number in range(2, MOST_FALSE_ALARMS + 2)]
        assert found == [["copied"]] * (MOST_FALSE_ALARMS - 1) + [[]]

    def test_prompts_that_surely_no_encoder_tells_apart_are_paid_though_nobody_is_there_to_look(
        self, hub: HubProcess, join: Join
    ) -> None:
        join(hub)
        for end in ("by day", "by night"):
            job = hub.ended(posted(hub, prompt=self.TWINS * 3 + end, seed=6))
            assert job["status"] == "done", (job, hub.log)

    def test_where_nobody_is_there_to_decide_it_is_not_paid_and_nobody_is_blamed(
        self, hub: HubProcess, join: Join
    ) -> None:
        maker = join(hub)
        assert hub.ended(posted(hub, prompt=self.TWINS + "by day", seed=5))["status"] == "done"
        job = hub.ended(posted(hub, prompt=self.TWINS + "by night", seed=5))
        assert job["status"] == "failed"
        (check,) = checks_of(hub, job["job_id"])
        assert (check["verdict"], check["evidence"]["reason"]) == ("disputed", "copied_picture")
        assert (record_of(hub, maker)["score"], maker.suspended) == (1.0, [])


class TestDisagreement:
    def test_one_that_objects_alone_is_overruled_by_two_more(self, hub: HubProcess, join: Join) -> None:
        # A toy's profile names a GPU, so a checker with one is asked first.
        objector = join(hub, contrary=True, device_class="cuda", behaviour=leaves)
        others = [join(hub, behaviour=leaves) for _ in range(2)]
        maker = join(hub)
        job = hub.ended(posted(hub, prompt="contested"))
        assert (job["status"], job["provider"]) == ("done", maker.address), (job, hub.log)
        (check,) = checks_of(hub, job["job_id"])
        assert check["verdict"] == "passed"
        assert [vote["fault"] is None for vote in check["evidence"]["votes"]] == [False, True, True]
        assert all(other.computed.count("check") == 1 for other in others)
        assert record_of(hub, objector)["score"] < record_of(hub, maker)["score"] == 1.0
        assert not objector.suspended

    def test_where_nobody_is_there_to_decide_nobody_is_paid_for_it(self, hub: HubProcess, join: Join) -> None:
        objector = join(hub, contrary=True, behaviour=cannot)
        maker = join(hub)
        job = hub.ended(posted(hub, prompt="one word against another"))
        assert (job["status"], job["reason"], job["receipt"]) == ("failed", "providers_failed", None), job
        assert checks_of(hub, job["job_id"])[0]["verdict"] == "disputed"
        assert record_of(hub, maker)["score"] == pytest.approx(2 / 3, rel=1e-3)
        assert record_of(hub, objector)["score"] < 0.7
        assert not maker.suspended
        assert not objector.suspended


class TestBusy:
    def test_who_is_busy_is_asked_again_later_and_it_is_no_attempt(self, hub: HubProcess, join: Join) -> None:
        refused = count()

        async def at_the_seventh_time(provider: DialledProvider, assignment: Assignment) -> None:
            if next(refused) < 6:
                await provider.say(
                    Refused(about=assignment.lease_id, reason="queue_full", detail="later", retry_after_s=0.2)
                )
            else:
                await serve(provider, assignment)

        maker = join(hub, behaviour=at_the_seventh_time)
        job = hub.ended(posted(hub, prompt="patience"))
        assert (job["status"], job["provider"]) == ("done", maker.address), job
        assert [shard["attempts"] for shard in job["shards"]] == [1]

    def test_who_cannot_do_it_is_not_asked_again(self, hub: HubProcess, join: Join) -> None:
        breaking = join(hub, behaviour=cannot)
        job_id = posted(hub, prompt="broken")
        job = hub.ended(job_id)
        assert (job["status"], job["reason"], len(breaking.assignments)) == ("failed", "providers_failed", 1)
        assert record_of(hub, breaking)["failed"] == 1


def test_a_newcomer_is_measured(hub: HubProcess, join: Join) -> None:
    newcomer = join(hub)
    ((model, size, speed),) = wait_until(lambda: record_of(hub, newcomer)["benchmark"].get("speeds"))
    assert (model, size) == ("aitbc/tiny-sd", 2)
    assert speed > 0
    assert newcomer.computed == ["benchmark", "benchmark"]
    newcomer.hang_up()
    newcomer.dial(hub.workers_url)
    assert hub.ended(posted(hub, prompt="known already"))["status"] == "done"
    assert newcomer.computed.count("benchmark") == 2


class TestWindow:
    def test_who_is_caught_has_everything_in_the_window_looked_at_again(
        self, make_hub: Callable[..., HubProcess], join: Join, chain: Chain
    ) -> None:
        hub = make_hub(
            AITBC_HUB_RECORD_OUTCOMES=True,
            AITBC_HUB_CHECK_NEW=1e-9,
            AITBC_HUB_CHALLENGE_WINDOW_S=600,
        )
        cheat = join(hub, other_seed=True)
        job_id = posted(hub, prompt="unseen at first")
        wait_until(lambda: hub.job(job_id)["status"] == "verifying" and hub.job(job_id)["pictures_done"] == 1)
        wait_until(lambda: rows(hub, "SELECT 1 FROM receipts"))
        assert checks_of(hub, job_id) == []
        picture = hub.request("GET", f"/v1/jobs/{job_id}/pictures/0").content
        cheat.near_copy_of, cheat.other_seed = picture, False
        honest = [join(hub, behaviour=unless(lambda: not cheat.suspended)) for _ in range(3)]
        second = posted(hub, prompt="something quite different")
        told = wait_until(lambda: cheat.suspended)[0]
        assert told.reason in ("dispute_lost", "disputes_lost")
        # The receipt is withdrawn, others make the picture again, and theirs waits out a window of its own.
        wait_until(lambda: rows(hub, "SELECT 1 FROM audit_log WHERE kind = 'receipt_withdrawn'"))
        again = wait_until(lambda: rows(hub, "SELECT receipt_json FROM receipts WHERE job_id = ?", job_id))
        assert Receipt.from_json(again[0]["receipt_json"]).provider in {each.key.address for each in honest}
        assert hub.job(job_id)["status"] == "verifying"
        assert checks_of(hub, second)[0]["evidence"]["suspicions"] == ["looks_copied"]
        assert checks_of(hub, job_id)[0]["evidence"]["suspicions"] == ["provider_caught"]
        assert all(each.computed for each in honest)
        assert rows(hub, "SELECT 1 FROM receipts WHERE attested_at_ms IS NOT NULL") == []
        # A hub that starts again still knows, tells the provider again, and writes it on the chain.
        assert hub.stop() == 0
        told_before = len(cheat.suspended)
        hub.start()
        wait_until(lambda: len(cheat.suspended) > told_before)
        disputes = len([row for row in rows(hub, "SELECT kind FROM outcomes") if row["kind"] == "dispute"])
        wait_until(lambda: chain.node.provider(cheat.address).reputation.disputes == disputes > 0)


class TestCanaries:
    def test_a_cheat_that_nobody_samples_is_caught_by_a_job_whose_answer_is_known(
        self, make_hub: Callable[..., HubProcess], join: Join
    ) -> None:
        hub = make_hub(AITBC_HUB_CHECK_NEW=1e-9, AITBC_HUB_CANARY_NEW=1.0, AITBC_HUB_CANARIES_PER_DAY=30)
        honest = [join(hub) for _ in range(2)]
        for number in range(4):
            assert hub.ended(posted(hub, prompt=f"of a client {number}"))["status"] == "done"
            wait_until(lambda: not rows(hub, "SELECT 1 FROM jobs WHERE ended_at_ms IS NULL"))
        known = wait_until(lambda: rows(hub, "SELECT 1 FROM checks WHERE verdict = 'passed' AND kind = 'examination'"))
        assert known
        cheat = join(hub, other_seed=True)
        further = count()
        while not cheat.suspended:  # Whoever delivers gets one of the hub's own next, once it is idle.
            before = own_jobs(hub)
            hub.ended(posted(hub, prompt=f"more of a client {next(further)}"))
            wait_until(lambda before=before: own_jobs(hub) > before or cheat.suspended)  # type: ignore[misc]
        failed = rows(hub, "SELECT kind, provider FROM checks WHERE verdict = 'failed'")
        assert {row["provider"] for row in failed} == {cheat.address}
        # Nothing tells these jobs from a client's.
        clients = {each.client for toy in honest for each in toy.assignments}
        assert clients > {"alice"}
        assert all(name == "alice" or name.startswith("client-") for name in clients)
        assert {each.run.steps for each in honest[0].assignments} == {5}
        own = rows(hub, "SELECT job_id FROM jobs WHERE owner = '(hub)' AND state = 'done'")
        assert own
        assert hub.request("GET", f"/v1/jobs/{own[0]['job_id']}").status_code == 404
        wait_until(lambda: rows(hub, "SELECT 1 FROM receipts WHERE chain_transaction IS NOT NULL"))

    def test_the_days_number_is_bounded(self, make_hub: Callable[..., HubProcess], join: Join) -> None:
        hub = make_hub(AITBC_HUB_CHECK_NEW=1e-9, AITBC_HUB_CANARY_NEW=1.0, AITBC_HUB_CANARIES_PER_DAY=2)
        join(hub)
        for number in (1, 2):
            hub.ended(posted(hub, prompt=f"picture {number}"))
            wait_until(lambda number=number: own_jobs(hub) == number)  # type: ignore[misc]
        hub.ended(posted(hub, prompt="one more"))
        wait_until(lambda: "no_canary" in hub.log)
        assert own_jobs(hub) == 2


def test_metrics_say_what_happened(make_hub: Callable[..., HubProcess], join: Join, chain: Chain) -> None:
    hub = make_hub()
    maker, checker = join(hub), join(hub, behaviour=leaves)
    job = hub.ended(posted(hub, prompt="counted"))
    assert job["status"] == "done"
    wait_until(lambda: hub.job(job["job_id"])["mint"]["state"] == "minted")

    def figures() -> dict[str, float]:
        text = hub.request("GET", "/metrics").text
        lines = [line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("aitbc_hub_")]
        return {name: float(value) for name, value in lines}

    wait_until(lambda: figures()["aitbc_hub_workers"] == 2)
    found = wait_until(lambda: seen if (seen := figures()).get('aitbc_hub_payout_atoms_total{form="mint"}') else None)
    expected = {
        "aitbc_hub_jobs_accepted_total": 1,
        "aitbc_hub_pictures_accepted_total": 1,
        'aitbc_hub_jobs_total{outcome="done"}': 1,
        "aitbc_hub_job_seconds_count": 1,
        'aitbc_hub_jobs_open{state="running"}': 0,
        "aitbc_hub_pictures_waiting": 0,
        'aitbc_hub_leases_total{event="delivered"}': 1,
        'aitbc_hub_results_sampled_total{drawn="yes"}': 1,
        'aitbc_hub_checks_total{kind="examination",verdict="passed"}': 1,
        'aitbc_hub_receipts_total{form="mint"}': 1,
        'aitbc_hub_attested_total{form="mint"}': 1,
        'aitbc_hub_receipts_on_chain_total{form="mint"}': 1,
        'aitbc_hub_payout_atoms_total{form="mint"}': PRICE,
    }
    assert {name: found.get(name) for name in expected} == expected
    assert found['aitbc_hub_leases_total{event="given"}'] >= 1
    assert found["aitbc_hub_shard_wait_seconds_count"] == found['aitbc_hub_leases_total{event="given"}']
    assert found['aitbc_hub_benchmarks_total{outcome="measured"}'] == 2
    assert maker.address != checker.address
