"""The dashboards: what Grafana imports, with expressions that Prometheus takes, about series that the services have."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from hub.attestation.metrics import AttestationMetrics
from hub.metrics import HubMetrics
from tests.chain.conftest import People, RunningNode
from tests.chain.trading import Trading
from tests.deploy.machine import DEPLOY, run_program

DASHBOARD: Final[dict[str, Any]] = json.loads((DEPLOY / "grafana/market.json").read_text())
HUB: Final[dict[str, Any]] = json.loads((DEPLOY / "grafana/hub.json").read_text())


def _panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def _expressions(dashboard: dict[str, Any]) -> list[str]:
    return [target["expr"] for panel in _panels(dashboard) for target in panel["targets"]]


EXPRESSIONS: Final = _expressions(DASHBOARD)
VARIABLES: Final[dict[str, dict[str, Any]]] = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
# What Grafana puts in, and what Prometheus adds to every series of a target.
FILLED_IN: Final = {"$__rate_interval": "5m", "$instance": "127.0.0.1:8545", "$market": ".*"}
ADDED_LABELS: Final = {"instance", "job"}


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[dict[str, str]]]]:
    """Name → labels of each series, of a node that has seen trades, and calls of every kind."""
    node = RunningNode(People(), tmp_path_factory.mktemp("node") / "chain")
    try:
        trading = Trading(node.people)
        for transactions in (*trading.founding(), trading.trade(500, 2)):
            assert set(node.settle(*transactions)) == {"success"}
        assert httpx.get(f"{node.url}/v1/markets/1/book").status_code == 200
        assert httpx.get(f"{node.url}/v1/markets/2/book").status_code == 404
        for method in ("eth_blockNumber", "eth_nothing"):
            answer = httpx.post(f"{node.url}/rpc", json={"jsonrpc": "2.0", "id": 1, "method": method, "params": []})
            assert answer.status_code == 200
        found: dict[str, list[dict[str, str]]] = {}
        for family in text_string_to_metric_families(httpx.get(f"{node.url}/metrics").text):
            for sample in family.samples:
                found.setdefault(sample.name, []).append(sample.labels)
        yield found
    finally:
        node.stop()


def selectors(expression: str) -> list[tuple[str, dict[str, str]]]:
    """Name, and label → pattern, of every series that it asks for."""
    return [
        (name, dict(re.findall(r'(\w+)\s*(?:=~|=)\s*"([^"]*)"', labels or "")))
        for name, labels in re.findall(r"\b(aitbc_\w+)(?:\{([^}]*)\})?", expression)
    ]


@pytest.mark.parametrize(
    "expression", [*EXPRESSIONS, *(VARIABLES[name]["definition"] for name in ("instance", "market"))]
)
def test_a_node_has_what_is_asked_for(series: dict[str, list[dict[str, str]]], expression: str) -> None:
    asked = selectors(expression)
    assert asked
    for name, patterns in asked:
        assert name in series, name
        labels = set().union(*series[name])
        groups = re.findall(r"by \(([^)]*)\)|^label_values\(.*, (\w+)\)$", expression)
        grouped = {label.strip() for group in groups for part in group for label in part.split(",") if label}
        assert set(patterns) | (grouped if len(asked) == 1 else set()) <= labels | ADDED_LABELS
        for label, pattern in patterns.items():
            if "$" not in pattern and "5.." not in pattern:  # No node answers 5xx when it is asked to.
                values = {each.get(label, "") for each in series[name]}
                assert any(re.fullmatch(pattern, value) for value in values), (label, pattern)


def test_the_figures_that_the_panels_are_about_are_there(series: dict[str, list[dict[str, str]]]) -> None:
    assert {"market": "1"} in series["aitbc_market_trades_total"]
    routes = {(each["route"], each["status"]) for each in series["aitbc_http_request_seconds_count"]}
    assert {("/v1/markets/{market}/book", "200"), ("/v1/markets/{market}/book", "404")} <= routes
    assert [each["method"] for each in series["aitbc_rpc_errors_total"]] == ["unknown"]
    text = " ".join(EXPRESSIONS)
    for figure in ("aitbc_market_orders_total", "aitbc_market_trades_total", "aitbc_market_lots_total"):
        assert figure in text
    assert re.search(r"rate\(aitbc_http_request_seconds_count\{[^}]*\}", text)
    assert '5.."' in text


def test_a_hub_has_what_is_asked_for() -> None:
    """By its metrics' declarations: a hub that has seen every outcome would take a day."""
    registry = CollectorRegistry()
    kept = (HubMetrics(registry), AttestationMetrics(registry))
    declared = {
        metric._name: set(metric._labelnames)
        for each in kept
        for metric in vars(each).values()
        if hasattr(metric, "_name")
    }
    used: set[str] = set()
    for expression in _expressions(HUB):
        for name, patterns in selectors(expression):
            family = re.sub("_(total|bucket)$", "", name)
            used.add(family)
            groups = set(re.findall(r"\w+", " ".join(re.findall(r"by \(([^)]*)\)", expression)))) - {"le"}
            assert set(patterns) - ADDED_LABELS <= declared[family], expression
            assert not groups or groups & declared[family], expression
    assert len(used) > 15


@pytest.mark.programs("promtool")
@pytest.mark.parametrize("dashboard", [DASHBOARD, HUB], ids=lambda dashboard: dashboard["uid"])
def test_prometheus_takes_every_expression(tmp_path: Path, dashboard: dict[str, Any]) -> None:
    expressions = _expressions(dashboard)
    rules = [{"record": f"panel:{index}", "expr": _filled_in(each)} for index, each in enumerate(expressions)]
    # JSON is YAML.
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    done = run_program("promtool", "check", "rules", "rules.yml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(expressions)} rules found" in done.stdout


def _filled_in(expression: str) -> str:
    for variable, value in FILLED_IN.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression
    return expression


@pytest.mark.parametrize("dashboard", [DASHBOARD, HUB], ids=lambda dashboard: dashboard["uid"])
def test_grafana_can_import_it(dashboard: dict[str, Any]) -> None:
    """Its JSON model: unique ids, panels on the grid of 24 columns that do not overlap, one data source to choose."""
    assert dashboard["schemaVersion"] >= 36
    assert dashboard["uid"]
    assert "id" not in dashboard  # Grafana gives it.
    every_panel = dashboard["panels"]
    panels = _panels(dashboard)
    variables = {each["name"]: each for each in dashboard["templating"]["list"]}
    assert len({panel["id"] for panel in every_panel}) == len(every_panel)
    taken: set[tuple[int, int]] = set()
    for panel in every_panel:
        place = panel["gridPos"]
        columns, rows = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        cells = {(x, y) for x in columns for y in rows}
        assert columns.stop <= 24
        assert not cells & taken
        taken |= cells
    assert variables["datasource"] == variables["datasource"] | {"type": "datasource", "query": "prometheus"}
    chosen = [each["datasource"] for panel in panels for each in (panel, *panel["targets"])]
    assert all(each == {"type": "prometheus", "uid": "${datasource}"} for each in chosen)
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(dashboard["panels"])))
    assert used - {"__rate_interval"} == set(variables)
    assert all(panel["title"] and panel["description"] for panel in panels)
