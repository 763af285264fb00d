"""Links that need no API key: good for one picture and a while, and for nothing else."""

import re

import pytest

from provider.jobs.errors import LinkRefused
from provider.jobs.links import ArtifactLinks

JOB = "2026-01-02-000003"


class Clock:
    now_s = 1_000_000.5

    def __call__(self) -> float:
        return self.now_s


def parts_of(path: str) -> tuple[str, int, int, str]:
    found = re.fullmatch(r"/v1/jobs/([^/]+)/artifacts/(\d+)\?expires=(\d+)&signature=([0-9a-f]{64})", path)
    assert found is not None
    return found[1], int(found[2]), int(found[3]), found[4]


def test_a_link_works_until_it_expires() -> None:
    clock = Clock()
    links = ArtifactLinks(b"k" * 32, 60, clock)
    job_id, index, expires_s, signature = parts_of(links.path(JOB, 2))
    assert (job_id, index, expires_s) == (JOB, 2, 1_000_060)
    clock.now_s = 1_000_060.0
    links.check(job_id, index, expires_s, signature)
    clock.now_s = 1_000_060.5
    with pytest.raises(LinkRefused) as caught:
        links.check(job_id, index, expires_s, signature)
    assert caught.value.reason == "link_expired"


def test_nothing_of_a_link_can_be_changed() -> None:
    links = ArtifactLinks(b"k" * 32, 60, Clock())
    job_id, index, expires_s, signature = parts_of(links.path(JOB, 0))
    others = ArtifactLinks(b"l" * 32, 60, Clock())
    for changed in (
        ("2026-01-02-000004", index, expires_s, signature),
        (job_id, 1, expires_s, signature),
        (job_id, index, expires_s + 1, signature),
        (job_id, index, expires_s, "0" * 64),
        (job_id, index, expires_s, signature.upper()),
        (job_id, index, expires_s, ""),
        parts_of(others.path(JOB, 0)),
    ):
        with pytest.raises(LinkRefused) as caught:
            links.check(*changed)
        assert caught.value.reason == "bad_link"
