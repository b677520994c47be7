"""Run the migrations on the connection that the monitor hands over, in one transaction."""

from alembic import context

from monitor.storage.tables import metadata

config = context.config
connection = config.attributes.get("connection")

if connection is None:
    # Also printed, the statements are one transaction: a table that is made anew must not be lost half-way.
    context.configure(
        url=config.attributes["url"], target_metadata=metadata, literal_binds=True, transactional_ddl=True
    )
else:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        render_as_batch=True,
        # Alembic takes it that SQLite can't, and would commit each migration by itself; since we begin the
        # transaction ourselves, it can: all of them, or none.
        transactional_ddl=True,
        on_version_apply=config.attributes["on_version_apply"],
    )

with context.begin_transaction():
    context.run_migrations()
    if connection is not None and connection.dialect.name == "sqlite":
        # Foreign keys aren't in force during the migrations, so they are looked at before it is too late.
        orphans = {row[0] for row in connection.exec_driver_sql("PRAGMA foreign_key_check")}
        if orphans:
            raise RuntimeError(f"rows would belong to nothing, in {', '.join(sorted(orphans))}")
