"""The alerts: valid, firing when they should, and about figures that the services really have."""

from __future__ import annotations

import re

import pytest
from prometheus_client import CollectorRegistry

from chain.web.middleware import ObservingMiddleware
from hub.attestation.metrics import AttestationMetrics
from hub.metrics import HubMetrics
from tests.deploy.machine import DEPLOY, REPOSITORY, run_program
from tests.provider.conftest import StartProvider

FOLDER = DEPLOY / "prometheus"


@pytest.mark.programs("promtool")
@pytest.mark.parametrize(
    "check",
    [
        ("check", "rules", "aitbc-alerts.yml"),
        ("check", "config", "prometheus.yml"),
        ("test", "rules", "aitbc-alerts.test.yml"),
    ],
)
def test_promtool_agrees(check: tuple[str, ...]) -> None:
    done = run_program("promtool", *check, cwd=FOLDER)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_figure_in_the_alerts_is_one_of_a_services(start_provider: StartProvider) -> None:
    registry = CollectorRegistry()
    HubMetrics(registry)
    AttestationMetrics(registry)
    ObservingMiddleware(lambda _scope, _receive, _send: None, registry)  # type: ignore[arg-type, return-value]
    names = {sample.name for family in registry.collect() for sample in family.samples}
    names |= {f"{family.name}_total" for family in registry.collect() if family.type == "counter"}
    names |= {f"{family.name}_{part}" for family in registry.collect() for part in ("bucket", "count", "sum")}
    provider = start_provider()
    provider.get("/metrics")  # A request itself, which the next one shows.
    shown = provider.get("/metrics").text
    names |= set(re.findall(r"^(aitbc_\w+)", shown, re.MULTILINE))
    names |= {f"{name}_total" for name in re.findall(r"^# TYPE (aitbc_\w+?)(?:_total)? counter", shown, re.MULTILINE)}
    names |= set(re.findall(r"^# TYPE (aitbc_\w+) gauge", shown, re.MULTILINE))
    # A node's are read from its source: starting one for their names would take longer.
    node = (REPOSITORY / "chain/node/metrics.py").read_text()
    names |= {name for found in re.findall(r'"(aitbc_\w+)"', node) for name in (found, f"{found}_total")}
    used = set(re.findall(r"\baitbc_\w+", (FOLDER / "aitbc-alerts.yml").read_text()))
    assert used - names == set()
    assert len(used) > 15


def test_every_alert_says_what_to_do() -> None:
    text = (FOLDER / "aitbc-alerts.yml").read_text()
    assert text.count("- alert:") == text.count("summary:") == text.count("action:") == text.count("severity: ") - 1
