"""`aitbc wallet signer` in a process of its own, with one account; it can be stopped, started again, frozen."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

from chain.primitives.keys import PrivateKey
from genesis.processes import free_port
from wallet.accounts import Accounts
from wallet.attester import AttesterNetwork, network_field
from wallet.keystore import LIGHT_SCRYPT_N

PASSWORD: Final = "a password of the tests"
_END_S: Final = 20


class SignerProcess:
    """Always on the same port."""

    def __init__(self, home: Path, key: PrivateKey, *options: str, network: AttesterNetwork | None = None) -> None:
        """`network` makes the account an attester's."""
        extra = None if network is None else network_field(network)
        Accounts(home).create("served", key, PASSWORD, scrypt_n=LIGHT_SCRYPT_N, extra=extra)
        self._password_file = home / "password"
        self._password_file.write_text(PASSWORD)
        self._password_file.chmod(0o600)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_file = home / "signer.log"
        self._home = home
        self._options = options
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Returns when it signs."""
        arguments = ["--home", str(self._home), "--account", "served", "--password-file", str(self._password_file)]
        arguments += ["--listen", f"127.0.0.1:{self.port}"]
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "genesis.cli", "wallet", "signer", *arguments, *self._options],
                stdout=subprocess.PIPE,
                stderr=log,
                stdin=subprocess.DEVNULL,
                text=True,
            )
        assert self._process.stdout is not None
        told = [self._process.stdout.readline() for _ in range(2)]
        assert told[1].startswith("signing "), self.log_file.read_text()

    def stop(self) -> int | None:
        """Its exit code; None where it does not run."""
        if self._process is None:
            return None
        self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        code = self._process.wait(_END_S)
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None
        return code

    def freeze(self) -> None:
        """It still takes connections, and answers none."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)
