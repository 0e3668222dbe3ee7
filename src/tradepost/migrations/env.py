"""Alembic's environment: runs the revisions on the connection that `migrate` hands over."""

from alembic import context

from tradepost.migrations.schema import metadata

_POSTGIS_TABLES = {"spatial_ref_sys"}


def _ours(_object: object, name: str | None, kind: str, _reflected: bool, _compare_to: object) -> bool:
    """Leave out tables that extensions, the job library and partitioning make."""
    foreign = kind == "table" and name is not None and (name in _POSTGIS_TABLES or name.startswith("pgqueuer"))
    return not foreign and not (kind == "table" and name is not None and "_p2" in name)


connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    include_object=_ours,
    transaction_per_migration=True,
    compare_type=False,
    on_version_apply=context.config.attributes.get("watch"),
)
with context.begin_transaction():
    context.run_migrations()
