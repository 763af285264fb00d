"""Runs the steps on the connection that `hub.store.database` hands over, inside its transaction.

The steps spell out every name, so they know nothing of the present tables and their naming.
"""

from alembic import context

context.configure(connection=context.config.attributes["connection"], target_metadata=None)
context.run_migrations()
