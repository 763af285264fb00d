"""When an engine gives a view up, waits with its proposal, or says everything again. All delays are in milliseconds.

It knows timers and what they stand for; whether a view is worth hurrying is the engine's to say.
"""

from typing import Final

from chain.consensus.draft import Draft
from chain.consensus.effects import Settings
from chain.primitives.block import Header

LEADER: Final = "leader"  # No proposal has come.
VIEW: Final = "view"  # The view has not ended.
RETRY: Final = "retry"
INTERVAL: Final = "interval"  # The shortest time between two blocks.
GRACE: Final = "grace"  # For the parent to become final before an empty block is made to help it.
HEARTBEAT: Final = "heartbeat"
HOLD: Final = "hold"  # A block from the near future becomes acceptable.

MAX_CLOCK_DRIFT_MS: Final = 5_000
"""How far ahead of this node's clock a proposed block's time may be."""

FOLLOW_UP_MS: Final = 1_000
"""On an idle chain, one empty block comes so long after the last that held transactions. Clients of Ethereum look again
only when a block comes, and some believe for 250 ms what they heard of a transaction just before it was final."""

_MAX_FACTOR: Final = 8
_MIN_PAUSE_MS: Final = 20


def latest_time_ms(now_ms: int, parent: Header) -> int:
    """The latest time that a block on this parent may carry now."""
    return max(now_ms + MAX_CLOCK_DRIFT_MS, parent.time_ms + 1)


class Pace:
    """Timers, and which of them have run out."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.consecutive_nullified = 0
        self.is_deadline_over = False
        """The leader's or the view's."""
        self.is_interval_over = True
        self.is_grace_over = True
        self.is_heartbeat_due = False
        self.is_pausing = False
        """Whether nothing could be built a moment ago."""
        self._is_armed = False

    @property
    def _factor(self) -> int:
        return min(_MAX_FACTOR, 1 << min(self.consecutive_nullified, _MAX_FACTOR))

    def enter_view(self, draft: Draft, *, after_nullification: bool) -> None:
        """A view begins: nothing has run out yet."""
        self.is_deadline_over = False
        self.is_pausing = False
        self._is_armed = False
        for name in (LEADER, VIEW, RETRY, HOLD):
            draft.set_timer(name, None)
        # After a nullification enough time has been lost.
        self.is_interval_over = after_nullification or self.settings.block_interval_ms == 0
        self.is_grace_over = after_nullification
        grace_ms = max(self.settings.block_interval_ms, self.settings.network_delay_ms)
        draft.set_timer(INTERVAL, None if self.is_interval_over else self.settings.block_interval_ms)
        draft.set_timer(GRACE, None if self.is_grace_over else grace_ms)

    def pause(self, draft: Draft, *, is_short: bool) -> None:
        """The next attempt to build a block comes a little later."""
        self.is_interval_over = False
        self.is_pausing = True
        draft.set_timer(INTERVAL, max(0 if is_short else self.settings.block_interval_ms, _MIN_PAUSE_MS))

    def heartbeat_after_ms(self, *, holds_transactions: bool) -> int:
        """How long after a block that became final just now an idle chain makes an empty one."""
        follow_up_ms = max(FOLLOW_UP_MS, self.settings.block_interval_ms)
        return min(self.settings.heartbeat_ms, follow_up_ms) if holds_transactions else self.settings.heartbeat_ms

    def finalized(self, draft: Draft, heartbeat_after_ms: int) -> None:
        """The network works: timeouts are short again, also those of this view, and the next heartbeat is set anew."""
        if self.consecutive_nullified:
            self._disarm(draft)
        self.consecutive_nullified = 0
        self.is_heartbeat_due = False
        draft.set_timer(HEARTBEAT, heartbeat_after_ms)

    def hurry(self, draft: Draft, *, is_active: bool, has_proposal: bool) -> None:
        """Arms the deadlines while the view is worth it, once per view, and disarms them when it no longer is."""
        if is_active and not self._is_armed:
            delay_ms, interval_ms = self.settings.network_delay_ms, self.settings.block_interval_ms
            draft.set_timer(VIEW, 3 * delay_ms * self._factor + interval_ms)
            if not has_proposal:
                draft.set_timer(LEADER, 2 * delay_ms * self._factor + interval_ms)
            draft.set_timer(RETRY, 2 * delay_ms)
        elif not is_active and self._is_armed:
            self._disarm(draft)
        self._is_armed = is_active

    def _disarm(self, draft: Draft) -> None:
        self._is_armed = False
        for name in (LEADER, VIEW, RETRY):
            draft.set_timer(name, None)

    def hold(self, draft: Draft, wait_ms: int) -> None:
        """A proposal's time lies that far ahead."""
        draft.set_timer(HOLD, wait_ms)

    def fired(self, name: str, draft: Draft, *, has_proposal: bool) -> None:
        """A timer has run out."""
        if name == VIEW or (name == LEADER and not has_proposal):
            self.is_deadline_over = True
        elif name == INTERVAL:
            self.is_interval_over = True
            self.is_pausing = False
        elif name == GRACE:
            self.is_grace_over = True
        elif name == HEARTBEAT:
            self.is_heartbeat_due = True
        elif name == RETRY and self._is_armed:
            draft.set_timer(RETRY, 2 * self.settings.network_delay_ms)
