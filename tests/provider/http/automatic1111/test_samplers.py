"""Names of samplers, there and here."""

import pytest

from provider.generation import SCHEDULERS
from provider.http.automatic1111.samplers import SAMPLERS, find_scheduler, sampler_of
from provider.jobs.errors import OrderRefused


@pytest.mark.parametrize(
    ("sampler_name", "schedule_type", "scheduler"),
    [
        (None, None, "default"),
        ("", "", "default"),
        ("Euler a", "Automatic", "euler_a"),
        ("k_euler_a", None, "euler_a"),
        ("EULER", "uniform", "euler"),
        ("DPM++ 2M", None, "dpmpp_2m_karras"),
        ("DPM++ 2M", "Automatic", "dpmpp_2m_karras"),
        ("DPM++ 2M", "karras", "dpmpp_2m_karras"),
        ("DPM++ 2M", "Uniform", "dpmpp_2m"),
        ("DPM++ 2M Karras", None, "dpmpp_2m_karras"),
        ("DPM++ 2M Karras", "Automatic", "dpmpp_2m_karras"),
        ("DDIM", "Karras", "ddim"),
        ("UniPC", "normal", "unipc"),
        ("LMS", None, "lms"),
        ("Heun", None, "heun"),
        ("PLMS", None, "pndm"),
        ("PNDM", None, "pndm"),
    ],
)
def test_their_names_for_our_schedulers(sampler_name: str | None, schedule_type: str | None, scheduler: str) -> None:
    assert find_scheduler(sampler_name, schedule_type) == scheduler


@pytest.mark.parametrize(
    ("sampler_name", "schedule_type", "reason"),
    [
        ("DPM adaptive", None, "sampler_not_found"),
        ("Restart", "Karras", "sampler_not_found"),
        ("Euler", "Karras", "scheduler_not_found"),
        ("LMS Karras", None, "scheduler_not_found"),
        ("DPM++ 2M", "Exponential", "scheduler_not_found"),
    ],
)
def test_what_is_not_there(sampler_name: str, schedule_type: str | None, reason: str) -> None:
    with pytest.raises(OrderRefused) as error:
        find_scheduler(sampler_name, schedule_type)
    assert error.value.reason == reason


def test_every_scheduler_has_a_name_there_and_comes_back() -> None:
    for scheduler in SCHEDULERS:
        assert find_scheduler(*sampler_of(scheduler)) == scheduler


def test_no_name_means_two_samplers() -> None:
    names = [name.lower() for sampler in SAMPLERS for name in {sampler.name.lower(), *map(str.lower, sampler.aliases)}]
    assert len(names) == len(set(names))
