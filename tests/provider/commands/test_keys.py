"""`aitbc provider keys`: a line more or less in the operator's own file."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from provider.api_keys import hash_of, load_api_keys

Invoke = Callable[..., tuple[int, str, str]]
BOB = hash_of("bobs-secret-0123456789")
FILE = f"""# my clients
[clients]  # people
alice = "a-plain-secret-of-alice"   # from the first day
'bob' = "{BOB}"

"main.client" = "another-plain-secret-01"
# the end

[limits]
# none so far
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "keys.toml"
    path.write_text(FILE)
    path.chmod(0o600)
    monkeypatch.setenv("AITBC_PROVIDER_API_KEYS_FILE", str(path))
    return path


def test_who_there_is_but_no_key(file: Path, invoke: Invoke) -> None:
    exit_code, stdout, _ = invoke("keys", "list", "--json")
    assert exit_code == 0
    assert json.loads(stdout)["keys"] == [
        {"name": "alice", "hashed": False},
        {"name": "bob", "hashed": True},
        {"name": "main.client", "hashed": False},
    ]
    for secret in ("a-plain-secret", BOB, "another-plain"):
        assert secret not in invoke("keys", "list")[1]


def test_a_new_key_works_and_everything_else_stays(file: Path, invoke: Invoke) -> None:
    secret = invoke("keys", "add", "carol")[1].strip()
    caller = load_api_keys(file, None).find(secret)
    assert caller is not None
    assert caller.name == "carol"
    text = file.read_text()
    assert secret not in text
    assert "".join(line for line in text.splitlines(keepends=True) if "carol" not in line) == FILE
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_without_the_table_or_none_at_all(tmp_path: Path, invoke: Invoke) -> None:
    path = tmp_path / "new.toml"
    for name in ("alice", "carol", "bob"):
        assert invoke("keys", "add", name, "--api-keys-file", str(path))[0] == 0
        if name == "carol":
            path.write_text("[limits]\n")  # As an operator may leave it, with no keys at all.
    listed = json.loads(invoke("keys", "list", "--api-keys-file", str(path), "--json")[1])["keys"]
    assert [key["name"] for key in listed] == ["bob"]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("name", ["alice", "bob", "main.client"])
def test_a_key_is_taken_away_and_no_other(file: Path, invoke: Invoke, name: str) -> None:
    assert invoke("keys", "remove", name)[0] == 0
    left = {key["name"] for key in json.loads(invoke("keys", "list", "--json")[1])["keys"]}
    assert left == {"alice", "bob", "main.client"} - {name}
    assert "# my clients" in file.read_text()


def test_what_cannot_be_done_changes_nothing(file: Path, invoke: Invoke) -> None:
    file.write_text(FILE + "[limits.bob]\nrate = '1/day'\n")
    before = file.read_text()
    for words, complaint in (
        (["add", "alice"], "has a key called alice already"),
        (["add", "main.client"], "has a key called main.client already"),
        (["add", "no spaces"], "use letters"),
        (["remove", "dora"], "no key called dora"),
        (["remove", "bob"], "[limits.bob]"),
    ):
        exit_code, _, stderr = invoke("keys", *words)
        assert (exit_code, complaint in stderr) == (2, True), stderr
        assert file.read_text() == before


@pytest.mark.parametrize(
    "text",
    [
        'clients = {alice = "a-plain-secret-of-alice"}\n',
        'clients.alice = "a-plain-secret-of-alice"\n',
        '[clients]\nalice = """\na-plain-secret-of-alice"""\n[limits]\n',
    ],
)
def test_an_unusual_layout_is_left_to_an_editor(file: Path, invoke: Invoke, text: str) -> None:
    file.write_text(text)
    for words in (["add", "bob"], ["remove", "alice"]):
        exit_code, _, stderr = invoke("keys", *words)
        changed = file.read_text() != text
        if changed:
            # It was followed after all: then exactly the wanted key came or went.
            assert exit_code == 0
            file.write_text(text)
        else:
            assert (exit_code, "editor" in stderr) == (2, True), stderr


def test_a_file_that_is_open_to_others_or_no_toml(file: Path, invoke: Invoke) -> None:
    file.write_text("no toml at all")
    for words in (["list"], ["add", "bob"], ["remove", "alice"]):
        exit_code, _, stderr = invoke("keys", *words)
        assert (exit_code, "is not TOML" in stderr) == (2, True)
    file.write_text(FILE)
    file.chmod(0o644)
    for words in (["list"], ["add", "dora"], ["remove", "alice"]):
        assert invoke("keys", *words)[0] != 0
    assert file.read_text() == FILE
