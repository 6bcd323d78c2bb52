"""Run migrations on the connection that `service.store.migrate` provides."""

from alembic import context

PLAIN = {"UtcDateTime": "sa.DateTime(timezone=True)", "SealedType": "sa.LargeBinary()"}


def render_item(kind, item, _autogen):
    """Render the project's column types as plain database types."""
    return PLAIN.get(type(item).__name__, False) if kind == "type" else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=context.config.attributes.get("metadata"),
    render_as_batch=True,
    render_item=render_item,
)
with context.begin_transaction():
    context.run_migrations()
