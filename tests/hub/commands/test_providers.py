"""`aitbc hub unban`: what a person has decided ends a pause as well as a ban."""

from pathlib import Path

from typer.testing import CliRunner

from chain.primitives.hexadecimal import parse_address, to_checksum_address
from hub.cli import app
from hub.opening import DATABASE_NAME
from hub.store import audit, providers
from hub.store.store import Store
from tests.hub.store.conftest import ANNA, IDENTITY, NOW_MS

PROVIDER = to_checksum_address(parse_address(ANNA))


def test_a_pause_for_good_ends_when_the_provider_is_unbanned(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / DATABASE_NAME}"
    store = Store(url, IDENTITY)
    store.write_now(
        lambda t: providers.suspend(t, PROVIDER, until_ms=None, reason="disputes", detail="three lost", now_ms=NOW_MS)
    )
    store.close_now()

    assert CliRunner().invoke(app, ["unban", PROVIDER, "--data-dir", str(tmp_path)]).exit_code == 0

    store = Store(url, IDENTITY)
    known = store.read_now(lambda r: providers.get(r, PROVIDER))
    kinds = [entry.kind for entry in store.read_now(lambda r: audit.after(r, 0))]
    store.close_now()
    assert known is not None
    assert (known.suspended_until_ms, known.suspended_reason, known.is_banned) == (None, None, False)
    assert kinds == ["provider_suspended", "provider_suspension_lifted", "provider_unbanned"]
