"""Run the migrations on the connection that the monitor hands over, in one transaction."""

from alembic import context

from monitor.storage.tables import metadata

config = context.config
connection = config.attributes.get("connection")

if connection is None:
    context.configure(url=config.attributes["url"], target_metadata=metadata, literal_binds=True)
else:
    context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)

with context.begin_transaction():
    context.run_migrations()
