"""The nodes of a devnet: validators, of which a few may be lost, and the follower that answers everybody else."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from chain.primitives.certificate import faulty_bound, quorum
from chain.primitives.network import Network
from genesis.processes import Process, ProcessFailed, free_ports
from genesis.secrets import DevnetSecrets
from genesis.topology import FOLLOWER, devnet_network, prepare_node_folder

_READY_S: Final = 120.0  # As many processes as nodes import everything at once, on a machine of two cores.
_FOLLOWER_STARTS: Final = 3
"""How often a lost follower is started again before something must be wrong with it."""
_POLL_S: Final = 0.1


class DevnetNodes:
    """Validators and a follower as processes. A lost validator is missed; a lost follower is started again."""

    def __init__(self, folder: Path, secrets: DevnetSecrets, progress: Callable[[str], None]) -> None:
        """Makes what is missing in `folder`; raises SetupError and StorageError."""
        self._folder = folder
        self._progress = progress
        names = secrets.validator_names
        self._ports = dict(zip((*names, FOLLOWER), free_ports(len(names) + 1), strict=True))
        self.network: Network = devnet_network(secrets, [self._ports[name] for name in names])
        for name in names:
            prepare_node_folder(folder / name, self.network, secrets.key(name))
        prepare_node_folder(folder / FOLLOWER, self.network, None)
        self._validator_names = names
        self._validators: dict[str, Process] = {}
        self._lost: dict[str, Process] = {}
        self._follower: Process | None = None
        self._follower_starts = 0

    @property
    def follower(self) -> Process:
        """The node that others talk to."""
        assert self._follower is not None
        return self._follower

    @property
    def processes(self) -> list[Process]:
        """All that were started, the follower last."""
        follower = [self._follower] if self._follower is not None else []
        return [*self._validators.values(), *follower]

    @property
    def lost(self) -> list[str]:
        """Names of the validators that have ended."""
        return list(self._lost)

    @property
    def lost_allowed(self) -> int:
        """f: so many validators may be lost, and the chain goes on."""
        return faulty_bound(len(self._validator_names))

    def start(self) -> None:
        """Starts all at once, and returns when they answer; raises ProcessFailed."""
        for name in self._validator_names:
            self._validators[name] = self._start(name)
        self._follower = self._start(FOLLOWER)
        deadline = time.monotonic() + _READY_S
        while waiting := [each for each in self.processes if each.name not in self._lost and not each.answers()]:
            self._require_no_refusal()
            self.require_running()
            if time.monotonic() > deadline:
                raise ProcessFailed(
                    f"{waiting[0].name} did not answer within {_READY_S:.0f} s.\n{waiting[0].log_tail()}"
                )
            time.sleep(_POLL_S)

    def _start(self, name: str) -> Process:
        port = self._ports[name]
        arguments = ["node", "run", "--data-dir", str(self._folder / name), "--host", "127.0.0.1", "--port", str(port)]
        return Process(
            name,
            arguments,
            log_file=self._folder / "logs" / f"{name}.log",
            url=f"http://127.0.0.1:{port}",
            ready_path="/healthz",
        )

    def _require_no_refusal(self) -> None:
        """A node that ends by itself while all start has found something wrong with its folder or port."""
        for process in self.processes:
            if not process.was_stopped:
                process.require_running()

    def require_running(self) -> None:
        """Tells who is gone, and starts a lost follower again; raises ProcessFailed where no quorum is left."""
        for name, process in self._validators.items():
            if process.has_ended and name not in self._lost:
                self._lost[name] = process
                self._tell_loss(process)
        if self._follower is not None and self._follower.has_ended:
            self._start_follower_again(self._follower)

    def _tell_loss(self, process: Process) -> None:
        count = len(self._validator_names)
        left = count - len(self._lost)
        if len(self._lost) > self.lost_allowed:
            raise ProcessFailed(
                f"{process.name} has ended ({process.end_text}), and with {left} of {count} validators left no quorum "
                f"of {quorum(count)} can be found: the chain stands still.\n{process.log_tail()}"
            )
        self._progress(
            f"{process.name} has ended ({process.end_text}); the chain goes on without it: "
            f"{left} of {count} validators are left, {quorum(count)} are needed"
        )

    def _start_follower_again(self, ended: Process) -> None:
        # It holds no key, so nobody needs to look at it first, unless it has ended by itself.
        if self._follower_starts == _FOLLOWER_STARTS or not ended.was_stopped:
            ended.require_running()
        self._follower_starts += 1
        self._progress(f"{FOLLOWER} has ended ({ended.end_text}); it is started again")
        self._follower = self._start(FOLLOWER)

    def describe(self) -> list[dict[str, Any]]:
        """For devnet.json, the follower first: what is looked for there is the node to talk to."""
        roles = [(self.follower, "follower"), *((each, "validator") for each in self._validators.values())]
        return [{"name": each.name, "role": role, "url": each.url, "pid": each.pid} for each, role in roles]
