"""The tables, as the newest migration leaves them (a test compares the two).

A resource is one small row of what is searched (``resources``), its labels, and its JSON apart in ``documents``, so
that a walk over an index or a count never drags documents through memory. ``resources.id`` is the feed version that
created the object: ids grow in commit order, hence "newest first" is ``id DESC``. Times are RFC 3339 texts in UTC
with microseconds, which sort as times do.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, ForeignKey, Index, Integer, MetaData, Table, Text

REVISIONS = ("0001", "0002")
"""Every schema revision this version knows, oldest first. The last is the one it works with."""

VERSION_TABLE = "trainjob_schema"

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts rows by a plain INTEGER key only; both hold 64 bits there.
Id = BigInteger().with_variant(Integer, "sqlite")

counters = Table(
    "trainjob_counters",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""``version``: of the feed. ``pruned``: the last version the feed has forgotten. ``scheduler_epoch``. ``record``: a
random number that tells this record from all others, made when somebody first asks.
"""

schema_history = Table(
    "trainjob_schema_history",
    metadata,
    Column("revision", Text, primary_key=True),
    Column("app_version", Text, nullable=False),
    Column("migrated", Text, nullable=False),
)
"""Which version of this software brought which revision. Never changes its shape: older versions read it."""

resources = Table(
    "trainjob_resources",
    metadata,
    Column("id", Id, primary_key=True, autoincrement=False),
    Column("uid", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("phase", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("created", Text, nullable=False),
    Column("finished", Text),
    Column("deletion", Text),
    Column("version", BigInteger, nullable=False),
    Index("uq_trainjob_resources_uid", "uid", unique=True),
    Index("uq_trainjob_resources_name", "kind", "namespace", "name", unique=True),
)

# Each begins with what is compared for equality, goes on with the order of the answer, and ends with what is
# checked on the way, so that rows that do not match are passed over within the index.
by_kind = Index("ix_trainjob_resources_kind", resources.c.kind, resources.c.id)
by_namespace = Index(
    "ix_trainjob_resources_namespace",
    resources.c.kind,
    resources.c.namespace,
    resources.c.id,
    resources.c.phase,
    resources.c.queue,
    resources.c.owner,
)
by_owner = Index(
    "ix_trainjob_resources_owner",
    resources.c.kind,
    resources.c.owner,
    resources.c.id,
    resources.c.namespace,
    resources.c.phase,
    resources.c.queue,
)
by_phase = Index(
    "ix_trainjob_resources_phase",
    resources.c.kind,
    resources.c.phase,
    resources.c.id,
    resources.c.queue,
    resources.c.namespace,
    resources.c.owner,
)
by_queue = Index(
    "ix_trainjob_resources_queue",
    resources.c.kind,
    resources.c.queue,
    resources.c.id,
    resources.c.phase,
    resources.c.namespace,
    resources.c.owner,
)
by_finished = Index(
    "ix_trainjob_resources_finished",
    resources.c.kind,
    resources.c.finished,
    sqlite_where=resources.c.finished.is_not(None),
    postgresql_where=resources.c.finished.is_not(None),
)
by_deletion = Index(
    "ix_trainjob_resources_deletion",
    resources.c.kind,
    resources.c.id,
    sqlite_where=resources.c.deletion.is_not(None),
    postgresql_where=resources.c.deletion.is_not(None),
)

documents = Table(
    "trainjob_documents",
    metadata,
    Column("id", Id, ForeignKey(resources.c.id, ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("document", Text, nullable=False),
)

labels = Table(
    "trainjob_labels",
    metadata,
    Column("id", Id, ForeignKey(resources.c.id, ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
    # Copies of what can't change, so that one index answers "this label of that owner in that namespace, newest first".
    Column("kind", Text, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("owner", Text, nullable=False),
    sqlite_with_rowid=False,
)
labels_owned = Index(
    "ix_trainjob_labels_owned",
    labels.c.kind,
    labels.c.key,
    labels.c.value,
    labels.c.namespace,
    labels.c.owner,
    labels.c.id,
)
labels_all = Index(
    "ix_trainjob_labels_all",
    labels.c.kind,
    labels.c.key,
    labels.c.value,
    labels.c.id,
    labels.c.namespace,
    labels.c.owner,
)

owner_references = Table(
    "trainjob_owner_references",
    metadata,
    Column("owner_uid", Text, primary_key=True),
    Column("id", Id, ForeignKey(resources.c.id, ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Index("ix_trainjob_owner_references_id", "id"),
    sqlite_with_rowid=False,
)

changes = Table(
    "trainjob_changes",
    metadata,
    Column("version", Id, primary_key=True, autoincrement=False),
    Column("type", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("namespace", Text, nullable=False),
    Column("owner", Text, nullable=False),
    # Characters of all documents up to this one: what the feed weighs is a difference of two of these.
    Column("total", BigInteger, nullable=False),
    Column("document", Text, nullable=False),
    Index("ix_trainjob_changes_total", "total"),
)

blobs = Table(
    "trainjob_blobs",
    metadata,
    Column("owner", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("created", Text, nullable=False),
    Column("last_used", Text, nullable=False),
    Index("ix_trainjob_blobs_last_used", "last_used"),
)

leases = Table(
    "trainjob_leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("expires", Text, nullable=False),
)

ended = Table(
    "trainjob_ended",
    metadata,
    Column("uid", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("queue", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("backend", Text, nullable=False),
    Column("cpu_millis", BigInteger, nullable=False),
    Column("memory_bytes", BigInteger, nullable=False),
    Column("gpu", BigInteger, nullable=False),
    Column("since", Float(53), nullable=False),
    Column("until", Float(53), nullable=False),
    Column("overtook", Boolean, nullable=False),
    Index("ix_trainjob_ended_until", "until"),
)
"""What every attempt that ended held, and for how long, in seconds of the epoch. It outlives the job: who deletes a job
has still used what it used.
"""
