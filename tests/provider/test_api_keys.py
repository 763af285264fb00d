"""API keys: found by secret, kept as digests, and weak or doubtful ones refused at start."""

from pathlib import Path

import pytest

from provider.api_keys import ApiKeys, Caller, load_api_keys
from provider.errors import ConfigurationError

GOOD = "a-secret-of-some-length"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_clients_and_hubs_from_a_file(tmp_path: Path) -> None:
    keys = load_api_keys(write(tmp_path, f'[clients]\nalice = "{GOOD}"\n[hubs]\nmain = "{GOOD}-2"\n'), None)
    assert keys.find(GOOD) == Caller("alice", is_hub=False)
    assert keys.find(GOOD + "-2") == Caller("main", is_hub=True)
    for wrong in ("", GOOD + " ", GOOD.upper(), "ä" * 20, "\ud800", GOOD * 1000):
        assert keys.find(wrong) is None


def test_the_single_key_of_the_environment_is_the_client_default() -> None:
    assert load_api_keys(None, GOOD).find(GOOD) == Caller("default", is_hub=False)


def test_no_dump_of_the_keys_shows_a_secret() -> None:
    keys = ApiKeys({Caller("alice", is_hub=False): GOOD})
    assert GOOD not in repr(vars(keys))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "no API key"),
        ("[clients", "not TOML"),
        ('[users]\na = "b"', "unknown entry 'users'"),
        ("[clients]\nalice = 5", "lines of name"),
        ('clients = "x"', "lines of name"),
        ('[clients]\nalice = "short"', "needs 16 to 256"),
        ('[clients]\nalice = "CHANGE_ME_SUPERSECRET"', "published example"),
        (f'[clients]\n"al ice" = "{GOOD}"', "use letters"),
        (f'[clients]\nalice = "{GOOD}"\nbob = "{GOOD}"', "same secret"),
        (f'[clients]\nalice = "{GOOD}"\n[hubs]\nalice = "{GOOD}x"', "same name"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        load_api_keys(write(tmp_path, text), None)
    assert GOOD not in caught.value.message


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, f'[clients]\nalice = "{GOOD}"\n')
    path.chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        load_api_keys(path, None)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml"):
        load_api_keys(tmp_path / "nowhere.toml", None)
