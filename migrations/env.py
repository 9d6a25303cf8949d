"""Runs the revisions on each database of the store: two SQLite files, or one PostgreSQL database.

Started by `genux migrate`, never by Alembic's own command: the connections come in `config.attributes`, each with the
names of the parts (`control`, `inbox`) that live there.
"""

from alembic import context

for connection, parts, metadata in context.config.attributes["targets"]:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        compare_type=True,
        render_as_batch=connection.dialect.name == "sqlite",
        # DDL rolls back on both databases; on SQLite only because the store begins transactions itself.
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations(parts=parts)
