"""The first outbox's file, made by the very SQL that made it: what an operator's data folder may hold."""

import sqlite3
from pathlib import Path

SCHEMA = """
CREATE TABLE receipts (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    receipt_hash BLOB NOT NULL UNIQUE,
    hub_id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    key_name TEXT NOT NULL,
    request_fingerprint BLOB NOT NULL,
    receipt_json BLOB NOT NULL,
    provider_signature BLOB NOT NULL,
    prompt_salt BLOB NOT NULL,
    answer_json TEXT NOT NULL,
    state TEXT NOT NULL,
    attestation BLOB,
    transaction_hash BLOB,
    transaction_raw BLOB,
    transaction_nonce INTEGER,
    height INTEGER,
    reason TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt_ms INTEGER NOT NULL DEFAULT 0,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    UNIQUE (hub_id, job_id)
);
CREATE INDEX receipts_by_state ON receipts (state, next_attempt_ms);
CREATE INDEX receipts_by_key ON receipts (key_name, sequence);
CREATE TABLE job_counters (day TEXT PRIMARY KEY, last INTEGER NOT NULL);
CREATE TABLE identity (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""

STATES = ("signed", "attested", "submitted", "final", "refused")


def make_old_outbox(folder: Path) -> list[sqlite3.Row]:
    """A file of schema 1 with a receipt in each state, left in its write-ahead log as by a crash; its receipts."""
    folder.mkdir(mode=0o700)
    connection = connect(folder)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = 1; COMMIT;")
    for number, state in enumerate(STATES, start=1):
        add_receipt(connection, number, state)
    connection.execute("INSERT INTO job_counters VALUES ('2025-09-26', 7)")
    connection.execute("INSERT INTO identity VALUES ('chain_id', '424242'), ('genesis_hash', '0x17')")
    return receipts(connection)


def connect(folder: Path) -> sqlite3.Connection:
    """The file, as the first outbox opened it."""
    connection = sqlite3.connect(folder / "outbox.sqlite3", isolation_level=None)
    connection.row_factory = sqlite3.Row
    return connection


def add_receipt(connection: sqlite3.Connection, number: int, state: str) -> None:
    """As the first outbox stored one."""
    values = {
        "receipt_hash": number.to_bytes(32, "big"),
        "hub_id": "hub",
        "job_id": f"job-{number}",
        "key_name": "main-hub",
        "request_fingerprint": b"f" * 32,
        "receipt_json": b"{}",
        "provider_signature": b"s" * 65,
        "prompt_salt": b"x" * 32,
        "answer_json": '{"job_id": "job"}',
        "state": state,
        "attestation": None if state == "signed" else b"a" * 65,
        "transaction_hash": b"t" * 32 if state in ("submitted", "final") else None,
        "transaction_raw": b"raw" if state == "submitted" else None,
        "transaction_nonce": number if state in ("submitted", "final") else None,
        "height": 9 if state == "final" else None,
        "reason": "not_an_attester: no" if state == "refused" else None,
        "attempts": number,
        "next_attempt_ms": 0,
        "created_ms": 1_000 + number,
        "updated_ms": 2_000 + number,
    }
    marks = ", ".join("?" * len(values))
    connection.execute(f"INSERT INTO receipts ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))


def receipts(connection: sqlite3.Connection) -> list[sqlite3.Row]:
    """Every receipt, whole."""
    return connection.execute("SELECT * FROM receipts ORDER BY sequence").fetchall()
