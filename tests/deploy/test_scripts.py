"""install.sh, release.sh, firewall.sh: what they do, and that they do it once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.deploy.machine import DEPLOY, Machine, run_program

SCRIPTS = sorted(DEPLOY.rglob("*.sh"))


@pytest.mark.programs("shellcheck")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_shellcheck_finds_nothing(script: Path) -> None:
    done = run_program("shellcheck", script)
    assert done.returncode == 0, done.stdout
    assert os.access(script, os.X_OK)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_wrong_word_is_answered_with_the_usage(script: Path, tmp_path: Path) -> None:
    done = Machine(tmp_path).run(str(script), "--no-such-option")
    assert done.returncode == 2
    assert "usage:" in done.stderr
    assert not list(tmp_path.iterdir())


def test_installing_again_changes_nothing_and_keeps_what_an_operator_wrote(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    arguments = ("install.sh", "--for", "node,hub,provider", "--no-release", "--node-name", "validator-1")
    assert machine.run(*arguments).returncode == 0
    settings = tmp_path / "etc/aitbc/node-validator-1.env"
    settings.write_text("AITBC_NODE_PORT=9999\n")
    before = machine.files()
    again = machine.run(*arguments)
    assert (again.returncode, again.stdout) == (0, "")
    assert machine.files() == before
    assert settings.stat().st_mode & 0o777 == 0o640


def test_a_newer_unit_replaces_the_older(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.run("install.sh", "--for", "hub", "--no-release")
    unit = tmp_path / "etc/systemd/system/aitbc-hub.service"
    unit.write_text("[Service]\n")
    assert (
        "installed /etc/systemd/system/aitbc-hub.service"
        in machine.run("install.sh", "--for", "hub", "--no-release").stdout
    )
    assert unit.read_text() == (DEPLOY / "systemd/aitbc-hub.service").read_text()


def test_dry_runs_write_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    done = machine.run("install.sh", "--for", "provider", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "would run: install" in done.stdout
    assert not list(tmp_path.iterdir())
    assert machine.run("release.sh", "--for", "provider", "--dry-run").stdout.strip()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("roles", ["", "miner", "provider,", "node;id"])
def test_roles_that_are_none_are_refused(roles: str, tmp_path: Path) -> None:
    done = Machine(tmp_path).run("install.sh", "--for", roles, "--no-release")
    assert done.returncode == (0 if roles == "provider," else 2)


def test_a_release_that_was_cut_off_is_not_taken_for_one(machine: Machine) -> None:
    """And one that is whole is not made again."""
    name = machine.run("release.sh", "--for", "provider", "--name", "one")
    assert (name.returncode, name.stdout, name.stderr) == (0, "one\n", "")
    (machine.root / "opt/aitbc/releases/half/bin").mkdir(parents=True)
    done = machine.run("release.sh", "--for", "node", "--name", "half", "--dry-run")
    assert "would make" in done.stderr


def test_a_release_has_what_it_needs_to_serve(machine: Machine) -> None:
    release = machine.root / "opt/aitbc/releases/one"
    (package,) = release.glob("lib/python*/site-packages/provider")
    assert list(package.glob("models/tiny_sd/unet/*.safetensors"))
    assert list(package.glob("storage/migrations/versions/*.py"))
    # Readable by the services' users, writable by root alone.
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in package.rglob("*.py"))


@pytest.mark.programs("ufw")
def test_the_firewall_opens_ssh_before_it_closes_the_rest() -> None:
    done = run_program(DEPLOY / "firewall.sh", "--dry-run", "--ssh-port", "2222", "--prometheus", "10.0.0.5")
    assert done.returncode == 0, done.stderr
    rules = [line.removeprefix("would run: ufw ") for line in done.stdout.splitlines() if line.startswith("would")]
    assert rules[0].startswith("limit 2222/tcp")
    assert rules[1:3] == ["default deny incoming", "default allow outgoing"]
    allowed = [rule for rule in rules if rule.startswith("allow")]
    assert [rule.split(" comment ")[0] for rule in allowed] == [
        "allow 80/tcp",
        "allow 443/tcp",
        "allow proto tcp from 10.0.0.5 to any port 9100",
    ]
    assert not any(port in done.stdout for port in ("8000", "8080", "8545"))


@pytest.mark.programs("ufw", "unshare")
def test_ufw_understands_the_rules() -> None:
    done = run_program(DEPLOY / "firewall.sh", "--dry-run", "--prometheus", "10.0.0.5", "--signer-from", "10.0.0.9")
    # ufw wants root even to say what it would do; a namespace's root is enough.
    as_root = () if os.geteuid() == 0 else ("unshare", "--map-root-user")
    rules = [line.removeprefix("would run: ufw ") for line in done.stdout.splitlines() if " comment " in line]
    assert len(rules) == 5
    for rule in rules:
        words, _, comment = rule.partition(" comment ")
        tried = run_program(*as_root, "ufw", "--dry-run", *words.split(), "comment", comment)
        assert tried.returncode == 0, tried.stderr
