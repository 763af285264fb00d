"""What the tests of the monitoring share."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="session")
def collector_module() -> ModuleType:
    """`collector.py`, which test files cannot import."""
    spec = importlib.util.spec_from_file_location("otlp_collector", Path(__file__).with_name("collector.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def collector(collector_module: ModuleType) -> Iterator[Any]:
    """A collector that nobody has used."""
    running = collector_module.Collector()
    yield running
    running.close()
