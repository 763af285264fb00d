"""A child process of the devnet: what it is started with, and what is said of one that does not answer."""

from pathlib import Path

import httpx
import pytest

from genesis.job import asking
from genesis.processes import Process, ProcessFailed, child_environment, free_ports

NOBODY = "http://127.0.0.1:9"


def ended(folder: Path) -> Process:
    """A process that has nothing to do but to say its version."""
    process = Process("hub", ["--version"], log_file=folder / "hub.log", url=NOBODY, ready_path="/healthz")
    process.wait_stopped(120)
    return process


def test_modules_in_the_working_folder_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "typer.py").write_text("raise SystemExit('not the one')")
    monkeypatch.chdir(tmp_path)
    log = ended(tmp_path / "logs").log_tail()
    assert "not the one" not in log
    assert "aitbc " in log


def test_variables_of_other_programs_do_not_reach_a_provider() -> None:
    inherited = child_environment({"API_KEY": "of something else", "AITBC_PROVIDER_DEVICE": "cpu"})
    assert inherited == {"AITBC_PROVIDER_DEVICE": "cpu", "PYTHONUNBUFFERED": "1"}


def test_a_process_that_ended_is_named_with_its_log(tmp_path: Path) -> None:
    with pytest.raises(ProcessFailed, match=r"(?s)hub ended with code 0.*aitbc "):
        ended(tmp_path).wait_ready(1)


def test_a_request_that_nobody_answers_is_no_fault_of_the_program() -> None:
    checked: list[bool] = []
    with (
        pytest.raises(ProcessFailed, match=r"no answer from http://127\.0\.0\.1:9"),
        asking(lambda: checked.append(True)),
    ):
        httpx.get(NOBODY)
    assert checked


def test_ports_are_all_different() -> None:
    assert len(set(free_ports(20))) == 20
