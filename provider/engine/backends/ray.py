"""Batches are computed by replicas of Ray Serve, each a process of its own on a GPU of this or another machine.

A replica owns one InferenceWorker and takes one batch at a time. Serve's router gives a batch to a replica that is
free, so slot i is no particular one, and Serve starts a replica anew that has died. Without an address a small Ray is
started for this provider alone, on loopback, and ended with it; with one, the replicas are an application on that
cluster, whose machines need this package too.

This is the only module that knows Ray, and Ray is imported when the backend loads, not before.
"""

import asyncio
import contextlib
import importlib
import logging
import os
import secrets
import shutil
import socket
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from provider.errors import BackendLost, GenerationFailed, ModelUnavailable, OutOfMemory, ProviderError
from provider.generation import (
    Batch,
    BatchDone,
    BatchEvent,
    BatchKey,
    Device,
    ModelReport,
    PipelineOptions,
    StepCheck,
    StepDone,
    StepsChecked,
)

if TYPE_CHECKING:
    from provider.inference.worker import InferenceWorker

APPLICATION: Final = "aitbc-provider"
"""Its name on a cluster. A provider that comes back after a crash takes its replicas over by it."""
_ENVIRONMENT: Final = {
    # It would tell its makers about its use.
    "RAY_USAGE_STATS_ENABLED": "0",
    # Its own handler of SIGTERM aborts the process three seconds later, whatever this one does about it: no drain.
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",
}
"""Read when Ray is imported or started."""
_OWN_ENVIRONMENT: Final = {
    # "Enables clusters" where its makers do not; a Ray without clusters listens on loopback only.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # Whoever reaches a port of Ray's can run what he likes, so each asks for a token.
    "RAY_AUTH_MODE": "token",
    # By default replicas give way to every other process of the machine.
    "RAY_worker_niceness": "0",
}
_OBJECT_STORE_BYTES: Final = 256 * 1024 * 1024
"""Of a Ray of our own: pictures and latents pass through it, and by default it takes a third of the memory."""
_HEALTH_TIMEOUT_S: Final = 120.0
"""A machine under load answers late; a process that has died is noticed without asking it."""
_SHUTDOWN_S: Final = 5.0
_CONNECT_S: Final = 5.0
_MOST_KEYS: Final = 256
_ERRORS: Final[dict[str, type[ProviderError]]] = {
    error.__name__: error for error in (BackendLost, GenerationFailed, ModelUnavailable, OutOfMemory)
}


@dataclass(frozen=True)
class ReplicaReport:
    """What a replica says of itself, in its answers."""

    replica_id: str
    process_id: int
    """On its own machine."""
    device: Device
    models: tuple[ModelReport, ...]
    vram_used_mib: int
    batches_done: int
    batches_stopped: int
    """Given up between two steps, because nobody wanted them any more."""


@dataclass(frozen=True)
class _Finished:
    """A batch's last event, with what has become known about the replica."""

    done: BatchDone
    most_rows: int
    report: ReplicaReport


@dataclass(frozen=True)
class _Failed:
    """An error of ours, sent as a value: Ray would log it, and wrap it in one of its own types."""

    name: str
    message: str
    reason: str

    @classmethod
    def of(cls, error: Exception) -> "_Failed":
        """Libraries quote their input, which is the prompt: of their errors only the type's name goes on."""
        if isinstance(error, ProviderError):
            name = next((base.__name__ for base in type(error).__mro__ if base.__name__ in _ERRORS), "GenerationFailed")
            return cls(name, error.message, error.reason)
        return cls("GenerationFailed", f"the pipeline failed: {type(error).__name__}", GenerationFailed.reason)

    def error(self) -> ProviderError:
        """The error as it was raised in the replica."""
        return _ERRORS[self.name](self.message, reason=self.reason)


class RayBackend:
    """A `provider.generation.Backend`; there are as many slots as replicas."""

    def __init__(
        self,
        options: PipelineOptions,
        *,
        replicas: int = 1,
        address: str | None = None,
        application: str = APPLICATION,
    ) -> None:
        """`address` is a cluster's, such as ray-head:6379, or None for a Ray of our own on this machine."""
        # Replicas share the CPUs of their machine, so each takes one thread unless the operator wants more.
        self._options = options if options.cpu_threads else replace(options, cpu_threads=1)
        self._replicas = replicas
        self._address = address
        self._application = application
        self._handle: Any = None
        self._folder: str | None = None
        self._lock = threading.Lock()
        self._reports: dict[str, ReplicaReport] = {}
        self._most_rows: dict[BatchKey, int] = {}

    def load(self) -> None:
        """Starts the replicas and waits until each has loaded its models.

        Raises ModelUnavailable: libraries_missing, cluster_unreachable, no_such_device where the cluster has too few
        GPUs, or what an InferenceWorker's `load` raises.
        """
        os.environ.update(_ENVIRONMENT)
        if self._address is not None:
            _check_reachable(self._address)
        else:
            os.environ.update(_OWN_ENVIRONMENT)
            # Read once per process, by Ray's own processes too.
            os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        try:
            ray, serve = _libraries()
        except ImportError as error:
            message = f"the extra `ray` is not installed (pip install 'aitbc[provider,ray]'): {error}"
            raise ModelUnavailable(message, reason="libraries_missing") from error
        for name in ("ray", "ray.serve"):
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            self._connect(ray)
            gpus = self._gpus_per_replica(ray.cluster_resources())
            self._handle = self._deploy(serve, gpus).options(stream=True)
            self._await_replicas()
        except RuntimeError as error:  # What Serve raises, with what it knows in its text.
            self.close()
            raise ModelUnavailable(f"Ray could not start the replicas: {error}", reason="replica_failed") from error
        except BaseException:
            self.close()
            raise

    def devices(self) -> tuple[Device, ...]:
        """One for each replica."""
        return tuple(report.device for report in self.replicas())

    def slots(self) -> int:
        """As many as replicas."""
        return self._replicas

    def replicas(self) -> tuple[ReplicaReport, ...]:
        """What each replica has said last; one that was started anew appears with its first answer."""
        with self._lock:
            return tuple(self._reports.values())

    def models(self) -> tuple[ModelReport, ...]:
        """Every model, loaded if it is in any replica; its memory is that in one replica."""
        reports = [report.models for report in self.replicas()]
        if not reports:
            return tuple(ModelReport(name, is_loaded=False, vram_mib=0) for name in self._options.models)
        return tuple(
            ModelReport(
                name=in_replicas[0].name,
                is_loaded=any(model.is_loaded for model in in_replicas),
                vram_mib=max(model.vram_mib for model in in_replicas),
            )
            for in_replicas in zip(*reports, strict=True)
        )

    def max_rows(self, key: BatchKey) -> int:
        """What the replicas have found to fit; before they have computed such a batch, the operator's bound."""
        with self._lock:
            return self._most_rows.get(key, self._options.max_batch_rows)

    def run(self, batch: Batch, slot: int) -> Iterator[BatchEvent]:
        """Has a free replica compute the batch; closing the generator ends its work between two steps.

        Raises BackendLost where the replica has died, and as `Backend.run`.
        """
        response = self._handle.run.remote(batch)
        is_ended = False
        try:
            while not is_ended:
                item = _next_of(response)
                if isinstance(item, StepDone):
                    yield item
                    continue
                is_ended = True
                if isinstance(item, _Failed):
                    raise item.error()
                assert isinstance(item, _Finished)
                self._note(item.report)
                self._note_most_rows(batch.key, item.most_rows)
                yield item.done
        finally:
            if not is_ended:
                response.cancel()

    def check(self, check: StepCheck) -> StepsChecked:
        """By a free replica, between its batches; raises as `Backend.check`."""
        if self._handle is None:
            raise GenerationFailed("the model is not loaded", reason="not_ready")
        answer = _next_of(self._handle.check.remote(check))
        if isinstance(answer, _Failed):
            raise answer.error()
        assert isinstance(answer, StepsChecked)
        return answer

    def vram_used_mib(self) -> int:
        """On all GPUs together, as of each replica's last answer."""
        return sum(report.vram_used_mib for report in self.replicas())

    def close(self) -> None:
        """Ends the replicas, and Ray itself where it is our own: no process of it stays."""
        ray, serve = _libraries()
        self._handle = None
        if ray.is_initialized():
            # What is gone already need not be ended.
            with contextlib.suppress(ray.exceptions.RayError, serve.exceptions.RayServeException):
                if self._address is None:
                    serve.shutdown()
                else:
                    serve.delete(self._application)
            ray.shutdown()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _connect(self, ray: Any) -> None:
        quiet = {"configure_logging": False, "log_to_driver": False}
        if self._address is not None:
            try:
                ray.init(address=self._address, **quiet)
            except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
                raise _unreachable(self._address, error) from error
            return
        self._folder = tempfile.mkdtemp(prefix="aitbc-ray-")
        ray.init(
            address="local",  # Never one that happens to run here, or that the environment names.
            num_cpus=self._replicas + 1,
            include_dashboard=False,
            object_store_memory=_OBJECT_STORE_BYTES,
            _node_ip_address="127.0.0.1",
            _temp_dir=self._folder,
            **quiet,
        )

    def _gpus_per_replica(self, resources: dict[str, float]) -> int:
        """1, or 0 on CPUs; raises ModelUnavailable where there are too few GPUs, as Serve would wait for more."""
        gpus = int(resources.get("GPU", 0))
        if self._options.device == "cpu" or (self._options.device == "auto" and gpus == 0):
            return 0
        if gpus < self._replicas:
            message = f"{self._replicas} replicas need as many GPUs, and the cluster has {gpus}"
            raise ModelUnavailable(message, reason="no_such_device")
        return 1

    def _deploy(self, serve: Any, gpus: int) -> Any:
        quiet = {"log_level": "ERROR", "enable_access_log": False}
        # No proxy: the provider's own HTTP is the only way in.
        serve.start(proxy_location="Disabled", logging_config=quiet)
        deployment = serve.deployment(
            name="replica",
            num_replicas=self._replicas,
            max_ongoing_requests=1,
            ray_actor_options={"num_cpus": 1, "num_gpus": gpus},
            health_check_timeout_s=_HEALTH_TIMEOUT_S,
            graceful_shutdown_wait_loop_s=0.1,
            graceful_shutdown_timeout_s=_SHUTDOWN_S,
            logging_config=quiet,
        )(Replica)
        replica = deployment.bind(self._options, is_alone=self._address is None)
        return serve.run(replica, name=self._application, route_prefix=None)

    def _await_replicas(self) -> None:
        """Asks each replica how it is. Each holds its question until all have answered, so no one gets two."""
        questions = [self._handle.describe.remote() for _ in range(self._replicas)]
        try:
            for question in questions:
                answer = _next_of(question)
                if isinstance(answer, _Failed):
                    raise answer.error()
                self._note(answer)
        except BackendLost as error:
            raise ModelUnavailable(f"a replica did not start: {error.message}", reason="replica_failed") from error
        finally:
            for question in questions:
                question.cancel()

    def _note(self, report: ReplicaReport) -> None:
        with self._lock:
            self._reports.pop(report.replica_id, None)
            self._reports[report.replica_id] = report
            while len(self._reports) > self._replicas:
                # Whoever has been silent for longest: a replica that has died, when another takes its place.
                del self._reports[next(iter(self._reports))]

    def _note_most_rows(self, key: BatchKey, rows: int) -> None:
        with self._lock:
            if len(self._most_rows) >= _MOST_KEYS:
                self._most_rows.clear()
            self._most_rows[key] = max(1, rows)


def _libraries() -> tuple[Any, Any]:
    """Ray and Ray Serve, half of which has no types; raises ImportError."""
    import ray
    from ray import serve

    return ray, serve


def _check_reachable(address: str) -> None:
    """Raises ModelUnavailable where nobody listens; Ray would try for a quarter of an hour."""
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str, error: Exception) -> ModelUnavailable:
    message = f"no Ray cluster answers at {address}: {str(error)[:300]}"
    return ModelUnavailable(message, reason="cluster_unreachable")


def _next_of(response: Any) -> Any:
    """The next item of a replica's answer; raises BackendLost where there will be none."""
    from ray.exceptions import RayError, RayTaskError
    from ray.serve.exceptions import RayServeException

    try:
        return next(response)
    except StopIteration:
        raise BackendLost("the replica ended before its batch did") from None
    except RayTaskError as error:
        raise GenerationFailed(f"the pipeline failed: {type(error.cause).__name__}") from None
    except (RayError, RayServeException) as error:
        raise BackendLost(f"the replica is gone: {type(error).__name__}") from None


class Replica:
    """One worker in a process of Ray Serve. Its thread computes, so that Serve is answered meanwhile."""

    def __init__(self, options: PipelineOptions, *, is_alone: bool) -> None:
        """`is_alone`: on a Ray of our own, which nobody reaches from another machine."""
        if is_alone:
            _listen_on_loopback_only()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="inference")
        self._failure: _Failed | None = None
        self._worker: InferenceWorker | None = None
        self._batches_done = 0
        self._batches_stopped = 0
        self._is_needed = False
        try:
            self._worker = self._thread.submit(_loaded_worker, options).result()
        except Exception as error:  # noqa: BLE001 - raised here, Serve would try again and again, and nobody hear why
            if not isinstance(error, ProviderError):
                message = f"a replica could not load its models: {type(error).__name__}: {error}"
                error = ModelUnavailable(message, reason="replica_failed")
            self._failure = _Failed.of(error)

    async def describe(self) -> AsyncIterator[ReplicaReport | _Failed]:
        """Says how the replica is, and then waits to be cancelled."""
        yield self._failure or self._report()
        await asyncio.Event().wait()

    async def run(self, batch: Batch) -> AsyncIterator[StepDone | _Finished | _Failed]:
        """The batch's events. When cancelled, it ends the work between two steps."""
        if self._worker is None:
            self._is_needed = True
            yield _Failed.of(BackendLost("a replica that was started anew has no model"))
            return
        loop = asyncio.get_running_loop()
        events = self._worker.run(batch)
        is_ended = False
        try:
            while not is_ended:
                # The generator's methods run in the one thread in turn, so closing waits for the step at work.
                item = await loop.run_in_executor(self._thread, self._next_item, events, batch.key)
                is_ended = not isinstance(item, StepDone)
                yield item
        finally:
            if not is_ended:
                self._batches_stopped += 1
                self._thread.submit(_close, events)

    async def check(self, check: StepCheck) -> AsyncIterator[StepsChecked | _Failed]:
        """Steps of another provider, computed again."""
        if self._worker is None:
            yield _Failed.of(BackendLost("a replica that was started anew has no model"))
            return
        try:
            yield await asyncio.get_running_loop().run_in_executor(self._thread, self._worker.check, check)
        except Exception as error:  # noqa: BLE001 - said to the provider, which judges it
            yield _Failed.of(error)

    def check_health(self) -> None:
        """Asked by Serve, which starts anew whom this fails: whoever has no model, once a batch has asked for it.

        Not before: a replica must come up for `describe` to say what is wrong.
        """
        if self._failure is not None and self._is_needed:
            raise RuntimeError(self._failure.reason)

    def _next_item(self, events: Iterator[BatchEvent], key: BatchKey) -> StepDone | _Finished | _Failed:
        assert self._worker is not None
        try:
            event = next(events)
        except Exception as error:  # noqa: BLE001 - said to the provider, which judges it
            return _Failed.of(error)
        if isinstance(event, StepDone):
            return event
        self._batches_done += 1
        return _Finished(event, self._worker.max_rows(key), self._report())

    def _report(self) -> ReplicaReport:
        from ray import serve

        assert self._worker is not None
        return ReplicaReport(
            replica_id=serve.get_replica_context().replica_id.unique_id,
            process_id=os.getpid(),
            device=self._worker.device,
            models=tuple(self._worker.models()),
            vram_used_mib=self._worker.vram_used_mib(),
            batches_done=self._batches_done,
            batches_stopped=self._batches_stopped,
        )


def _listen_on_loopback_only() -> None:
    """Serve opens a port of each replica on all interfaces, behind the token; no setting of Ray 2.60 changes that.

    Called in the replica's process, before Serve opens the port. Where a later Serve opens it by other means, it stays
    as Serve wants it; a test looks at what is open.
    """
    replica: Any = importlib.import_module("ray.serve._private.replica")
    add_port = getattr(replica, "add_port_to_grpc_server", None)
    if add_port is not None:
        replica.add_port_to_grpc_server = lambda server, address: add_port(server, address.replace("[::]", "127.0.0.1"))


def _loaded_worker(options: PipelineOptions) -> "InferenceWorker":
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "critical")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "critical")
    from provider.inference.worker import InferenceWorker

    worker = InferenceWorker(options)
    worker.load()
    return worker


def _close(events: Iterator[BatchEvent]) -> None:
    close = getattr(events, "close", None)
    if close is not None:
        close()
