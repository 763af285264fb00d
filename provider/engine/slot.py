"""One thread's work: it takes a batch, has it computed, and says what becomes of its rows. No failure ends it."""

import contextlib
import time
from collections.abc import Callable, Generator, Sequence
from typing import Final

import structlog

from provider.engine.dispatch import Dispatcher
from provider.engine.jobs import JobRow
from provider.engine.observer import EngineObserver
from provider.engine.outside import call_outside, where_raised
from provider.errors import BackendLost, GenerationFailed, ModelUnavailable, OutOfMemory
from provider.generation import Backend, Batch, BatchDone, BatchEvent

_LONGEST_REST_S: Final = 60.0

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger("provider.engine")


class Slot:
    """A place where one batch at a time is computed."""

    def __init__(
        self, number: int, backend: Backend, dispatcher: Dispatcher, observer: EngineObserver, *, lost_rest_s: float
    ) -> None:
        self.number = number
        self._backend = backend
        self._dispatcher = dispatcher
        self._observer = observer
        self._lost_rest_s = lost_rest_s

    def work(self, after_batch: Callable[[], None]) -> None:
        """Batch after batch until there will be no more."""
        losses = 0
        while (outcome := self._compute_next()) is not None:
            is_lost = outcome == BackendLost.reason
            self._dispatcher.release(self.number, is_lost=is_lost)
            after_batch()
            losses = losses + 1 if is_lost else 0
            if is_lost:
                self._dispatcher.rest(min(_LONGEST_REST_S, self._lost_rest_s * 2 ** min(losses - 1, 16)))

    def _compute_next(self) -> str | None:
        """How the next batch ended; None once there will be no more. Keeps nothing of it: an idle slot would otherwise
        hold pictures and latents until another batch comes."""
        rows = self._dispatcher.take(self.number)
        return None if rows is None else self._compute(rows)

    def _compute(self, rows: Sequence[JobRow]) -> str:
        """How the batch ended: ok, unwanted, or the reason of its failure."""
        started_s = time.monotonic()
        outcome = "ok"
        try:
            done = self._run(rows)
            if done is None:
                outcome = "unwanted"
            else:
                self._dispatcher.batch_done(rows, done, time.monotonic() - started_s)
        except OutOfMemory as error:
            outcome = error.reason
            self._dispatcher.batch_ran_out(rows, error)
        except BackendLost as error:
            outcome = error.reason
            self._dispatcher.batch_lost(rows, error)
        except GenerationFailed as error:
            outcome = error.reason
            self._dispatcher.batch_failed(rows, error)
        except ModelUnavailable as error:
            outcome = error.reason
            failure = GenerationFailed(error.message, reason=error.reason)
            self._dispatcher.batch_failed(rows, failure, may_be_one_row=False)
        duration_s = time.monotonic() - started_s
        if outcome not in ("ok", "unwanted"):
            _log.warning("batch_failed", slot=self.number, rows=len(rows), reason=outcome, model=rows[0].key.model)
        call_outside(None, self._observer.batch_ended, len(rows), duration_s, outcome)
        return outcome

    def _run(self, rows: Sequence[JobRow]) -> BatchDone | None:
        """The finished batch; None when nobody wanted it any more. Raises GenerationFailed or ModelUnavailable."""
        batch = Batch(rows[0].key, tuple(row.row for row in rows))
        with contextlib.closing(self._events(batch)) as events:
            for event in events:
                if isinstance(event, BatchDone):
                    if len(event.rows) != len(rows):
                        raise GenerationFailed("the pipeline failed: it made another number of pictures")
                    return event
                if not self._dispatcher.step_done(rows, event):
                    return None
        raise GenerationFailed("the pipeline failed: it ended without a picture")

    def _events(self, batch: Batch) -> Generator[BatchEvent, None, None]:
        """The backend's events; whatever it raises that is no ProviderError of generation becomes one."""
        try:
            yield from self._backend.run(batch, self.number)
        except (GenerationFailed, ModelUnavailable):
            raise
        except Exception as error:
            # The text stays out of the message and the log: libraries quote their input, and that is the prompt.
            name = type(error).__name__
            _log.error("pipeline_failed", slot=self.number, error=name, where=where_raised(error))
            raise GenerationFailed(f"the pipeline failed: {name}") from error
