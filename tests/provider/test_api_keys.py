"""API keys: found by secret, kept as digests, bounded one by one, and weak or doubtful ones refused at start."""

import hashlib
from pathlib import Path

import pytest

from provider.api_keys import NO_LIMITS, ApiKeys, Caller, KeyLimits, hash_of, load_api_keys, new_secret
from provider.errors import ConfigurationError

GOOD = "a-secret-of-some-length"
ALICE = Caller("alice")


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "keys.toml"
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_clients_from_a_file(tmp_path: Path) -> None:
    keys = load_api_keys(write(tmp_path, f'[clients]\nalice = "{GOOD}"\nbob = "{GOOD}-2"\n'), None)
    assert keys.find(GOOD) == ALICE
    assert keys.find(GOOD + "-2") == Caller("bob")
    for wrong in ("", GOOD + " ", GOOD.upper(), "ä" * 20, "\ud800", GOOD * 1000):
        assert keys.find(wrong) is None


def test_a_hash_stands_for_its_secret_and_is_none_itself(tmp_path: Path) -> None:
    secret = new_secret()
    hashed = hash_of(secret)
    assert hashed == "sha256:" + hashlib.sha256(secret.encode()).hexdigest()
    keys = load_api_keys(write(tmp_path, f'[clients]\nalice = "{hashed}"\nbob = "{GOOD}"\n'), None)
    assert keys.find(secret) == ALICE
    assert keys.find(hashed) is None
    assert keys.plain_names == ("bob",)
    assert keys.find_named("alice", secret) == ALICE
    for name, presented in (("bob", secret), ("alice", GOOD), ("", secret), ("alice", hashed), ("\ud800", secret)):
        assert keys.find_named(name, presented) is None


def test_fresh_secrets_are_long_and_differ() -> None:
    drawn = {new_secret() for _ in range(100)}
    assert len(drawn) == 100
    assert all(len(secret) == 43 for secret in drawn)


def test_the_single_key_of_the_environment_is_the_client_default() -> None:
    assert load_api_keys(None, GOOD).find(GOOD) == Caller("default")


def test_who_has_no_key_lets_nobody_in_where_that_is_wanted() -> None:
    with pytest.raises(ConfigurationError, match="no API key"):
        load_api_keys(None, None)
    assert load_api_keys(None, None, is_needed=False).find(GOOD) is None


def test_two_keys_of_the_client_default_are_refused(tmp_path: Path) -> None:
    """The file's would be locked out without a word."""
    path = write(tmp_path, f'[clients]\ndefault = "{GOOD}"\n')
    with pytest.raises(ConfigurationError, match="keep one"):
        load_api_keys(path, GOOD + "2")


def test_no_dump_of_the_keys_shows_a_secret() -> None:
    keys = ApiKeys({ALICE: GOOD})
    assert GOOD not in repr(vars(keys))


def test_limits_of_a_key(tmp_path: Path) -> None:
    text = (
        f'[clients]\nalice = "{GOOD}"\nbob = "{GOOD}2"\n[limits]\n'
        'alice = {rate = "60/minute", pictures_per_day = 1000, concurrent_jobs = 4}\n'
    )
    keys = load_api_keys(write(tmp_path, text), None)
    assert keys.limits_of(ALICE) == KeyLimits("60/minute", 1000, 4)
    assert keys.limits_of(Caller("bob")) == NO_LIMITS


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
        (f'[clients]\nalice = "{GOOD}"\nbob = "{hash_of(GOOD)}"', "same secret"),
        (f'[clients]\nalice = "{GOOD}"\n[hubs]\nmain = "{GOOD}x"', "dials its hubs itself"),
        ('[clients]\nalice = "sha256:12"', "64 hex digits"),
        (f'[clients]\nalice = "{hash_of(GOOD).upper().replace("SHA256", "sha256")}"', "64 hex digits"),
        (f'[clients]\nalice = "{GOOD}"\n[limits]\nbob = {{rate = "1/day"}}', "no API key has that name"),
        (f'[clients]\nalice = "{GOOD}"\n[limits]\nalice = 5', "a table per name"),
        (f'limits = 5\n[clients]\nalice = "{GOOD}"', "a table per name"),
        (f'[clients]\nalice = "{GOOD}"\n[limits.alice]\nrate = "fast"', "60/minute"),
        (f'[clients]\nalice = "{GOOD}"\n[limits.alice]\nrate = 60', "60/minute"),
        (f'[clients]\nalice = "{GOOD}"\n[limits.alice]\npictures_per_day = 0', "pictures_per_day must be"),
        (f'[clients]\nalice = "{GOOD}"\n[limits.alice]\npictures_per_day = true', "pictures_per_day must be"),
        (f'[clients]\nalice = "{GOOD}"\n[limits.alice]\nconcurrent_jobs = 1.5', "concurrent_jobs must be"),
        (f'[clients]\nalice = "{GOOD}"\n[limits.alice]\nconcurrent_jobs = 100000', "concurrent_jobs must be"),
        (f'[clients]\nalice = "{GOOD}"\n[limits.alice]\nspeed = 1', "unknown limit 'speed'"),
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
