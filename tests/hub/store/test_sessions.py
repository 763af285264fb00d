"""One session per provider, whichever process it is at."""

from collections.abc import Callable

from hub.store import sessions
from hub.store.sessions import Session
from hub.store.store import Store
from tests.hub.store.conftest import ANNA, BERTA, NOW_MS


def begin(store: Store, session: str, provider: str = ANNA, process: str = "p", now_ms: int = NOW_MS) -> Session | None:
    return store.write_now(
        lambda t: sessions.open_session(
            t, session, provider=provider, process=process, declared={"models": ["m"]}, now_ms=now_ms
        )
    )


def alive(store: Store, since_ms: int = NOW_MS) -> list[str]:
    return [item.session for item in store.read_now(lambda c: sessions.alive(c, since_ms=since_ms))]


def test_a_newer_session_replaces_the_older(open_store: Callable[[], Store]) -> None:
    here, there = open_store(), open_store()
    assert begin(here, "s-1") is None
    assert begin(here, "s-2", BERTA) is None

    replaced = begin(there, "s-3", process="q")

    assert replaced is not None
    assert (replaced.session, replaced.process) == ("s-1", "p")
    assert here.read_now(lambda c: sessions.current(c, ["s-1"])) == set()
    assert alive(here) == ["s-3", "s-2"]
    # What the older one says as it goes is not about the newer.
    assert not here.write_now(lambda t: sessions.close(t, "s-1"))
    assert there.write_now(lambda t: sessions.close(t, "s-3"))
    assert here.read_now(lambda c: sessions.of_provider(c, ANNA)) is None


def test_sessions_of_a_silent_process_are_dropped(store: Store) -> None:
    begin(store, "s-1", ANNA, "p")
    begin(store, "s-2", BERTA, "q")
    store.write_now(lambda t: sessions.beat(t, "q", NOW_MS + 50))

    assert alive(store, NOW_MS + 50) == ["s-2"]
    assert store.write_now(lambda t: sessions.drop_dead(t, before_ms=NOW_MS + 50)) == ["s-1"]
    (left,) = store.read_now(lambda c: sessions.alive(c, since_ms=0))
    assert (left.session, left.declared) == ("s-2", {"models": ["m"]})
