"""Opening a record: the schema is made, migrated behind a backup, or refused by name; so is the wrong place."""

from __future__ import annotations

import re
import shutil
import sqlite3
import stat
from datetime import datetime, timezone
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from jupyter_trainjob import __version__
from jupyter_trainjob.resources.errors import BadRequest, Unavailable
from jupyter_trainjob.resources.trainjob import TrainJob
from jupyter_trainjob.store import Store, filesystems, opening
from jupyter_trainjob.store import store as store_module
from jupyter_trainjob.store.filesystems import filesystem_of, is_network
from jupyter_trainjob.store.tables import REVISIONS, VERSION_TABLE, metadata

from .making import job

MOUNTS = """\
24 1 0:22 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
25 24 0:23 / /home rw shared:2 - autofs systemd-1 rw
26 25 0:24 /export/home /home rw shared:3 - nfs4 files:/export/home rw,vers=4.2
27 26 0:25 / /home/ada/with\\040space rw - fuse.sshfs ada@there:/ rw
28 24 0:26 / /mnt/c rw - 9p drvfs rw
29 24 0:27 / /scratch rw - xfs /dev/sdb1 rw
30 24 0:28 / /var/lib/x rw - fuse.lxcfs lxcfs rw
"""

THIRD = """
import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade():
    with op.batch_alter_table("trainjob_blobs") as batch:
        batch.alter_column("size", new_column_name="bytes")
        batch.add_column(sa.Column("note", sa.Text, nullable=False, server_default=""))
"""


@pytest.fixture
def newer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This software as it will be one revision later; the folder of its migrations."""
    folder = tmp_path / "100% migrations"
    shutil.copytree(opening.MIGRATIONS, folder)
    (folder / "versions" / "0003_third.py").write_text(THIRD)
    monkeypatch.setattr(opening, "MIGRATIONS", folder)
    _know(monkeypatch, (*REVISIONS, "0003"))
    return folder


def _know(monkeypatch: pytest.MonkeyPatch, revisions: tuple[str, ...]) -> None:
    monkeypatch.setattr(opening, "REVISIONS", revisions)
    monkeypatch.setattr(store_module, "REVISIONS", revisions)


def _backups(url: str) -> list[Path]:
    path = Path(str(sa.make_url(url).database))
    return sorted(path.parent.glob(path.name + ".backup-*"))


def test_the_migrations_make_exactly_the_tables_that_the_code_knows(store: Store) -> None:
    from alembic.autogenerate import compare_metadata

    with store._engines.read.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        differences = compare_metadata(context, metadata)
    assert differences == []


def test_the_code_knows_every_revision_there_is() -> None:
    config = Config()
    config.set_main_option("script_location", str(opening.MIGRATIONS))
    scripts = ScriptDirectory.from_config(config)
    assert tuple(script.revision for script in reversed(list(scripts.walk_revisions()))) == REVISIONS


def test_opening_again_finds_everything_and_makes_no_backup(url: str) -> None:
    with Store.open(url) as store:
        made = store.write(lambda w: w.create(job("one")))
    with Store.open(url) as store:
        assert store.read(lambda r: r.get(TrainJob, "ada", "one")) == made
    if url.startswith("sqlite"):
        assert _backups(url) == []


def test_files_are_for_their_owner_only_and_writes_are_durable(sqlite_url: str) -> None:
    with Store.open(sqlite_url) as store:
        store.write(lambda w: w.create(job("one")))
        folder = Path(str(sa.make_url(sqlite_url).database)).parent
        for path in folder.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        for engine in (store._engines.read, store._engines.write):
            with engine.connect() as connection:
                connection.exec_driver_sql(
                    "SELECT * FROM trainjob_counters"
                )  # a connection made before WAL looks again
                pragmas = {
                    name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                    for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
                }
            assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 15000}


def test_an_older_record_is_migrated_behind_a_backup(
    sqlite_url: str, newer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        _know(before, REVISIONS)
        with Store.open(sqlite_url) as store:
            store.write(lambda w: w.create(job("one")))
    with Store.open(sqlite_url, lambda: datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)) as store:
        assert store.read(lambda r: r.get(TrainJob, "ada", "one")).metadata.uid
        with store._engines.read.connect() as connection:
            columns = {column["name"] for column in sa.inspect(connection).get_columns("trainjob_blobs")}
        assert {"bytes", "note"} <= columns and "size" not in columns
    [backup] = _backups(sqlite_url)
    assert backup.name == "record.sqlite.backup-0002-20260102T030405Z"
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    _know(monkeypatch, REVISIONS)
    with Store.open(f"sqlite:///{backup}") as store:
        assert store.read(lambda r: r.get(TrainJob, "ada", "one")).metadata.uid


def test_an_older_record_in_postgresql_is_migrated(
    postgresql_url: str, newer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        _know(before, REVISIONS)
        with Store.open(postgresql_url) as store:
            store.write(lambda w: w.create(job("one")))
    with Store.open(postgresql_url) as store:
        assert store.read(lambda r: r.get(TrainJob, "ada", "one")).metadata.uid


def test_a_migration_that_fails_changes_nothing(url: str, newer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as before:
        _know(before, REVISIONS)
        Store.open(url).close()
    script = newer / "versions" / "0003_third.py"
    script.write_text(THIRD + "    op.execute('SELECT nothing_of_that_name')\n")
    with pytest.raises(Unavailable, match="nothing_of_that_name"):
        Store.open(url)
    _know(monkeypatch, REVISIONS)
    with Store.open(url) as store:
        store.write(lambda w: w.put_blob("ada", "sha256:aa", 1))


def test_no_migration_without_a_backup(sqlite_url: str, newer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as before:
        _know(before, REVISIONS)
        Store.open(sqlite_url).close()
    blocked = Path(str(sa.make_url(sqlite_url).database) + ".backup-0002-20260101T000000Z.part")
    blocked.mkdir()
    with pytest.raises(Unavailable) as refused:
        Store.open(sqlite_url, lambda: datetime(2026, 1, 1, tzinfo=timezone.utc))
    assert "The backup" in str(refused.value) and "can't be written" in str(refused.value)
    assert str(refused.value).endswith("Make room beside the database; nothing was migrated.")
    _know(monkeypatch, REVISIONS)
    Store.open(sqlite_url).close()


def test_a_newer_record_is_refused_by_name(url: str, newer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as later:
        later.setattr(opening, "__version__", "9.8.7")
        Store.open(url).close()
    _know(monkeypatch, REVISIONS)
    with pytest.raises(Unavailable) as refused:
        Store.open(url)
    assert re.sub(r"record \S+ has", "record … has", str(refused.value)) == (
        "The record … has the schema revision '0003', made by jupyter_trainjob 9.8.7; "
        f"this is version {__version__}, which knows revisions up to '0002'. "
        "Install jupyter_trainjob 9.8.7 or newer, or go back to the backup that was made before the migration."
    )
    _know(monkeypatch, (*REVISIONS, "0003"))
    with Store.open(url) as store:
        store.write(lambda writer: writer._connection.execute(sa.text("DELETE FROM trainjob_schema_history")) and None)
    _know(monkeypatch, REVISIONS)
    with pytest.raises(Unavailable, match="Install a newer jupyter_trainjob, or go back to the backup"):
        Store.open(url)


def test_a_server_whose_record_was_migrated_under_its_feet_writes_no_more(
    url: str, newer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _know(monkeypatch, REVISIONS)
    with Store.open(url) as old:
        old.write(lambda w: w.create(job("one")))
        _know(monkeypatch, (*REVISIONS, "0003"))
        Store.open(url).close()
        _know(monkeypatch, REVISIONS)
        with pytest.raises(Unavailable) as refused:
            old.write(lambda w: w.create(job("two")))
        assert "was migrated to the schema revision '0003' while this server" in str(refused.value)
        assert str(refused.value).endswith("Restart this server with the version that the others have.")


@pytest.mark.parametrize(
    ("path", "mount", "kind", "network"),
    [
        ("/data/record.sqlite", "/", "ext4", False),
        ("/home/ada/record.sqlite", "/home", "nfs4", True),
        ("/homes/ada/record.sqlite", "/", "ext4", False),
        ("/home/ada/with space/record.sqlite", "/home/ada/with space", "fuse.sshfs", True),
        ("/mnt/c/Users/record.sqlite", "/mnt/c", "9p", True),
        ("/scratch/record.sqlite", "/scratch", "xfs", False),
        ("/var/lib/x/record.sqlite", "/var/lib/x", "fuse.lxcfs", False),
    ],
)
def test_knows_network_filesystems(path: str, mount: str, kind: str, network: bool) -> None:
    assert filesystem_of(Path(path), MOUNTS) == (mount, kind)
    assert is_network(kind) is network


def test_a_network_filesystem_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(f"{MOUNTS}31 24 0:29 / {tmp_path}/shared rw - nfs4 files:/x rw\n")
    monkeypatch.setattr(filesystems, "MOUNTINFO", table)
    (tmp_path / "link").symlink_to(tmp_path / "shared")
    for place in ("shared", "shared/deeper", "link"):
        with pytest.raises(Unavailable) as refused:
            Store.open(f"sqlite:///{tmp_path}/{place}/record.sqlite")
        assert f"would lie on a network filesystem (nfs4, mounted at {tmp_path}/shared)" in str(refused.value)
        assert "Put it on a local disk (TrainJobExtension.data_dir), or keep the record in PostgreSQL" in str(
            refused.value
        )
    assert not (tmp_path / "shared").exists()
    Store.open(f"sqlite:///{tmp_path}/here/record.sqlite").close()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("nonsense", "The record's database URL can't be read."),
        ("mysql://ada:secret@there/db", "The record can't be kept in a database of the kind 'mysql'."),
        ("sqlite://", "The record needs a database file"),
        ("sqlite:///:memory:", "The record needs a database file"),
        ("sqlite:///file:x?mode=memory&uri=true", "The record needs a database file"),
    ],
)
def test_a_url_that_can_not_be_is_refused(bad: str, message: str) -> None:
    with pytest.raises(BadRequest) as refused:
        Store.open(bad)
    assert refused.value.message.startswith(message) and "secret" not in str(refused.value)
    assert refused.value.remedy == (
        "Write 'sqlite:////path/to/record.sqlite' or 'postgresql+psycopg://user:password@host/database'."
    )


def test_plain_postgresql_urls_are_taken_too(postgresql_url: str) -> None:
    Store.open(postgresql_url.replace("postgresql+psycopg://", "postgresql://")).close()


def test_a_database_server_that_is_not_there_is_named_without_its_password() -> None:
    with pytest.raises(Unavailable) as refused:
        Store.open("postgresql+psycopg://ada:secret@127.0.0.1:1/db")
    assert "The record postgresql+psycopg://ada:***@127.0.0.1:1/db can't be reached: " in str(refused.value)
    assert "Check that the database server runs" in str(refused.value) and "secret" not in str(refused.value)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "record.sqlite"
    path.write_text("this is no database, " * 100)
    with pytest.raises(Unavailable) as refused:
        Store.open(f"sqlite:///{path}")
    assert str(refused.value).startswith(f"The record {path} is damaged: file is not a database.")


def test_a_folder_that_can_not_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match=r"can't be opened for writing: .*\. Check that its folder exists"):
        Store.open(f"sqlite:///{tmp_path}/file/record.sqlite")
    (tmp_path / "folder.sqlite").mkdir()
    with pytest.raises(Unavailable, match=r"can't be opened for writing: Is a directory\."):
        Store.open(f"sqlite:///{tmp_path}/folder.sqlite")


def test_a_lock_that_hangs_is_named(sqlite_url: str, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with opening._file_lock(lock), pytest.raises(Unavailable) as refused, opening._file_lock(lock, 0.2):
        pass
    assert "Another process has been migrating the record" in str(refused.value)
    assert str(refused.value).endswith("Wait for it, or end it if it hangs.")


def test_sqlite_that_is_too_old_is_named(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 31, 1))
    monkeypatch.setattr(sqlite3, "sqlite_version", "3.31.1")
    with pytest.raises(Unavailable, match=r"SQLite 3\.31\.1 is too old for the record, which needs 3\.35\."):
        Store.open(sqlite_url)


def test_a_record_is_told_from_others_for_ever(url: str, tmp_path: Path) -> None:
    with Store.open(url) as store, Store.open(url) as second:
        known = store.write(lambda writer: writer.record_id())
        assert second.write(lambda writer: writer.record_id()) == known
        assert len(known) == 16 and int(known, 16)
    with Store.open(url) as store, Store.open(f"sqlite:///{tmp_path / 'another.sqlite'}") as other:
        assert store.write(lambda writer: writer.record_id()) == known
        assert other.write(lambda writer: writer.record_id()) != known
