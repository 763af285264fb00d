"""Runs the steps on the connection that `provider.storage.database` hands over, inside its transaction."""

from alembic import context

from provider.storage.tables import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
context.run_migrations()
