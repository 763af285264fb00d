"""Signers that end with their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chain.primitives.keys import PrivateKey
from tests.wallet.signers.signer_process import SignerProcess
from wallet.attester import AttesterNetwork

MakeSigner = Callable[..., SignerProcess]


@pytest.fixture
def make_signer(tmp_path: Path) -> Iterator[MakeSigner]:
    """`make_signer(key, "--for", "votes")`: one that runs."""
    made: list[SignerProcess] = []

    def make(key: PrivateKey, *options: str, network: AttesterNetwork | None = None) -> SignerProcess:
        home = tmp_path / f"signer-{len(made)}"
        home.mkdir()
        made.append(SignerProcess(home, key, *options, network=network))
        made[-1].start()
        return made[-1]

    yield make
    for process in made:
        process.stop()
