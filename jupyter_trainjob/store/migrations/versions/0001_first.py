"""The first tables.

Revision 0001, after none.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

Id = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Written out rather than taken from ``tables.py``: a migration must not change when the tables do."""
    _bookkeeping()
    _resources()
    _beside_resources()


def _bookkeeping() -> None:
    counters = op.create_table(
        "trainjob_counters",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("value", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_trainjob_counters"),
    )
    op.bulk_insert(counters, [{"name": name, "value": 0} for name in ("version", "pruned", "scheduler_epoch")])
    op.create_table(
        "trainjob_schema_history",
        sa.Column("revision", sa.Text, nullable=False),
        sa.Column("app_version", sa.Text, nullable=False),
        sa.Column("migrated", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("revision", name="pk_trainjob_schema_history"),
    )


def _resources() -> None:
    name = "trainjob_resources"
    op.create_table(
        name,
        sa.Column("id", Id, nullable=False, autoincrement=False),
        sa.Column("uid", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("phase", sa.Text, nullable=False),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("created", sa.Text, nullable=False),
        sa.Column("finished", sa.Text),
        sa.Column("deletion", sa.Text),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_trainjob_resources"),
    )
    op.create_index("uq_trainjob_resources_uid", name, ["uid"], unique=True)
    op.create_index("uq_trainjob_resources_name", name, ["kind", "namespace", "name"], unique=True)
    op.create_index("ix_trainjob_resources_kind", name, ["kind", "id"])
    op.create_index("ix_trainjob_resources_namespace", name, ["kind", "namespace", "id", "phase", "queue", "owner"])
    op.create_index("ix_trainjob_resources_owner", name, ["kind", "owner", "id", "namespace", "phase", "queue"])
    op.create_index("ix_trainjob_resources_phase", name, ["kind", "phase", "id", "queue", "namespace", "owner"])
    op.create_index("ix_trainjob_resources_queue", name, ["kind", "queue", "id", "phase", "namespace", "owner"])
    finished = sa.text("finished IS NOT NULL")
    op.create_index(
        "ix_trainjob_resources_finished",
        name,
        ["kind", "finished"],
        sqlite_where=finished,
        postgresql_where=finished,
    )
    deleting = sa.text("deletion IS NOT NULL")
    op.create_index(
        "ix_trainjob_resources_deletion", name, ["kind", "id"], sqlite_where=deleting, postgresql_where=deleting
    )
    op.create_table(
        "trainjob_documents",
        sa.Column("id", Id, nullable=False, autoincrement=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_trainjob_documents"),
        _of_resource("trainjob_documents"),
    )
    op.create_table(
        "trainjob_labels",
        sa.Column("id", Id, nullable=False, autoincrement=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", "key", name="pk_trainjob_labels"),
        _of_resource("trainjob_labels"),
        sqlite_with_rowid=False,
    )
    owned = ["kind", "key", "value", "namespace", "owner", "id"]
    op.create_index("ix_trainjob_labels_owned", "trainjob_labels", owned)
    op.create_index("ix_trainjob_labels_all", "trainjob_labels", ["kind", "key", "value", "id", "namespace", "owner"])
    op.create_table(
        "trainjob_owner_references",
        sa.Column("owner_uid", sa.Text, nullable=False),
        sa.Column("id", Id, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("owner_uid", "id", name="pk_trainjob_owner_references"),
        _of_resource("trainjob_owner_references"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_trainjob_owner_references_id", "trainjob_owner_references", ["id"])


def _of_resource(table: str) -> sa.ForeignKeyConstraint:
    name = f"fk_{table}_id_trainjob_resources"
    return sa.ForeignKeyConstraint(["id"], ["trainjob_resources.id"], name=name, ondelete="CASCADE")


def _beside_resources() -> None:
    op.create_table(
        "trainjob_changes",
        sa.Column("version", Id, nullable=False, autoincrement=False),
        sa.Column("type", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("version", name="pk_trainjob_changes"),
    )
    op.create_index("ix_trainjob_changes_total", "trainjob_changes", ["total"])
    op.create_table(
        "trainjob_blobs",
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("created", sa.Text, nullable=False),
        sa.Column("last_used", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("owner", "digest", name="pk_trainjob_blobs"),
    )
    op.create_index("ix_trainjob_blobs_last_used", "trainjob_blobs", ["last_used"])
    op.create_table(
        "trainjob_leases",
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("expires", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_trainjob_leases"),
    )
