"""A job, and everything that happens to it."""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    false,
)

from hub.store.column_types import Atoms, Json, Serial
from hub.store.tables.schema import (
    ADDRESS,
    EMPTY_LIST,
    EMPTY_OBJECT,
    HASH,
    IDENTIFIER,
    METADATA,
    SHA256,
    WORD,
    ZERO,
    partial_index,
)

JOBS: Final = Table(
    "jobs",
    METADATA,
    Column("sequence", Serial, primary_key=True, autoincrement=True),
    Column("job_id", IDENTIFIER, nullable=False, unique=True),
    Column("owner", IDENTIFIER, nullable=False),
    Column("client", String(256), nullable=False),
    Column("fingerprint", IDENTIFIER, nullable=False),
    Column("prompts", Json),
    Column("request", Json, nullable=False),
    Column("images", Integer, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("request_salt", HASH, nullable=False),
    Column("request_hash", HASH, nullable=False),
    Column("client_signature", String(132)),
    Column("model", String(256)),
    Column("priority", Integer, nullable=False, server_default=ZERO),
    Column("min_vram_mib", Integer, nullable=False, server_default=ZERO),
    Column("max_price_per_unit", Atoms),
    Column("max_price", Atoms),
    Column("price_per_unit", Atoms),
    Column("deadline_ms", BigInteger),
    Column("is_paid", Boolean, nullable=False, server_default=false()),
    Column("facts", Json, nullable=False, server_default=EMPTY_OBJECT),
    Column("state", WORD, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("started_at_ms", BigInteger),
    Column("ended_at_ms", BigInteger),
    Column("failure_reason", IDENTIFIER),
    Column("failure_detail", Text),
    Column("cancel_requested_at_ms", BigInteger),
    Column("pictures_done", Integer, nullable=False, server_default=ZERO),
    Column("event_count", Integer, nullable=False, server_default=ZERO),
    Column("shard_count", Integer, nullable=False, server_default=ZERO),
    Column("forgotten", Integer, nullable=False, server_default=ZERO),
    Column("finish_s", Float(53)),
    Index("jobs_of_owner", "owner", "sequence"),
    # A signature allows one job, whoever sends it again; and a nonce one signature (`client_nonces`).
    partial_index("jobs_signed_requests", "request_hash", where="client_signature IS NOT NULL", unique=True),
    partial_index("jobs_open", "state", "sequence", where="ended_at_ms IS NULL"),
    partial_index("jobs_of_client", "owner", where="ended_at_ms IS NULL"),
    partial_index("jobs_to_forget", "forgotten", "ended_at_ms", where="ended_at_ms IS NOT NULL AND forgotten < 2"),
    sqlite_autoincrement=True,
)
"""`prompts` are erased when the job ends. `forgotten` since (`hub.store.retention`): 1 its events, 2 its shards too."""

SHARDS: Final = Table(
    "shards",
    METADATA,
    Column("job_id", IDENTIFIER, nullable=False),
    Column("number", Integer, nullable=False),
    Column("first_picture", Integer, nullable=False),
    Column("pictures", Integer, nullable=False),
    Column("excluded", Json, nullable=False, server_default=EMPTY_LIST),
    Column("state", WORD, nullable=False),
    Column("attempts", Integer, nullable=False, server_default=ZERO),
    Column("lease_id", IDENTIFIER),
    Column("waiting_since_ms", BigInteger, nullable=False),
    Column("rank_s", Float(53), nullable=False),
    Column("rank_step_s", Float(53), nullable=False, server_default=ZERO),
    PrimaryKeyConstraint("job_id", "number"),
    ForeignKeyConstraint(["job_id"], ["jobs.job_id"], ondelete="CASCADE"),
    partial_index("shards_waiting", "rank_s", "job_id", "number", where="state = 'waiting'"),
)
"""Consecutive pictures of a job: one provider's, or those that wait, lowest rank first (each later picture's is
`rank_step_s` more). `lease_id`: of the result that counts."""

LEASES: Final = Table(
    "leases",
    METADATA,
    Column("sequence", Serial, primary_key=True, autoincrement=True),
    Column("lease_id", IDENTIFIER, nullable=False, unique=True),
    Column("job_id", IDENTIFIER, nullable=False),
    Column("number", Integer, nullable=False),
    Column("provider", ADDRESS, nullable=False),
    Column("session", IDENTIFIER, nullable=False),
    Column("process", IDENTIFIER, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("pictures", Integer, nullable=False),
    Column("state", WORD, nullable=False),
    Column("outcome", IDENTIFIER),
    Column("detail", Text),
    Column("attributes", Json, nullable=False, server_default=EMPTY_OBJECT),
    Column("started_at_ms", BigInteger, nullable=False),
    Column("deadline_ms", BigInteger, nullable=False),
    Column("ended_at_ms", BigInteger),
    ForeignKeyConstraint(["job_id", "number"], ["shards.job_id", "shards.number"], ondelete="CASCADE"),
    Index("leases_of_shard", "job_id", "number"),
    partial_index("leases_active", "deadline_ms", where="state = 'active'"),
    partial_index("leases_of_session", "session", where="state = 'active'"),
    partial_index("leases_of_provider", "provider", where="state = 'active'"),
    sqlite_autoincrement=True,
)
"""A provider's turn at a shard."""

RESULTS: Final = Table(
    "results",
    METADATA,
    Column("lease_id", IDENTIFIER, primary_key=True),
    Column("job_id", IDENTIFIER, nullable=False),
    Column("number", Integer, nullable=False),
    Column("provider", ADDRESS, nullable=False),
    Column("state", WORD, nullable=False),
    Column("refusal", Text),
    Column("receipt_hash", HASH, nullable=False, unique=True),
    Column("receipt_json", Text, nullable=False),
    Column("provider_signature", String(132), nullable=False),
    Column("prompt_salt", HASH, nullable=False),
    Column("micro_units", BigInteger, nullable=False),
    Column("amount", Atoms, nullable=False),
    Column("facts", Json, nullable=False, server_default=EMPTY_OBJECT),
    Column("delivered_at_ms", BigInteger, nullable=False),
    Column("judged_at_ms", BigInteger),
    ForeignKeyConstraint(["job_id", "number"], ["shards.job_id", "shards.number"], ondelete="CASCADE"),
    Index("results_of_shard", "job_id", "number"),
)
"""What a provider delivered for a shard, with the receipt that it signed; also what was refused afterwards."""

PICTURES: Final = Table(
    "pictures",
    METADATA,
    Column("lease_id", IDENTIFIER, nullable=False),
    Column("picture", Integer, nullable=False),
    Column("job_id", IDENTIFIER, nullable=False),
    Column("sha256", SHA256, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("media_type", WORD, nullable=False),
    PrimaryKeyConstraint("lease_id", "picture"),
    ForeignKeyConstraint(["lease_id"], ["results.lease_id"], ondelete="CASCADE"),
    Index("pictures_of_job", "job_id", "picture"),
)
"""A result's pictures, by SHA-256 of their bytes, which lie in the artifact store."""

EVENTS: Final = Table(
    "events",
    METADATA,
    Column("job_id", IDENTIFIER, nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("kind", WORD, nullable=False),
    Column("data", Json, nullable=False),
    PrimaryKeyConstraint("job_id", "sequence"),
    ForeignKeyConstraint(["job_id"], ["jobs.job_id"], ondelete="CASCADE"),
)
"""A job's progress as its client hears of it."""

IDEMPOTENCY_KEYS: Final = Table(
    "idempotency_keys",
    METADATA,
    Column("owner", IDENTIFIER, nullable=False),
    Column("key", String(128), nullable=False),
    Column("fingerprint", IDENTIFIER, nullable=False),
    Column("job_id", IDENTIFIER, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("owner", "key"),
    Index("idempotency_keys_by_age", "created_at_ms"),
)
"""What a request with this key became."""

CLIENT_NONCES: Final = Table(
    "client_nonces",
    METADATA,
    Column("client", ADDRESS, nullable=False),
    Column("nonce", HASH, nullable=False),
    Column("expiry", BigInteger, nullable=False),
    PrimaryKeyConstraint("client", "nonce"),
    Index("client_nonces_by_expiry", "expiry"),
)
"""Nonces used up in signed requests (Unix seconds), kept until nobody could take such a request any more."""
