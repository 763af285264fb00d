"""Triggers that keep a table's rows as they are: neither changed nor dropped, whoever asks."""

from alembic import op

_REFUSE_ON_POSTGRESQL = """
CREATE OR REPLACE FUNCTION aitbc_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'rows of % are neither changed nor dropped', TG_TABLE_NAME; END $$
"""


def forbid_changes(table: str) -> None:
    """For both databases; `table` is one of ours, never a name from outside."""
    if op.get_bind().dialect.name == "sqlite":
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, 'rows of {table} are neither changed nor dropped'); END"
            )
        return
    op.execute(_REFUSE_ON_POSTGRESQL)
    op.execute(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION aitbc_append_only()"
    )
