"""What the doctor says of real S3 servers."""

from __future__ import annotations

from jupyter_trainjob.storage.s3doctor import look
from jupyter_trainjob.storage.s3setup import Finding, ensure_bucket

from .servers import S3Server


def by_what(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.what: finding for finding in findings}


def test_a_store_without_tls_is_told(minio: S3Server) -> None:
    store = minio.store("one")
    [plain] = [finding for finding in look(store) if not finding.ok]
    assert plain.what == "What goes to the store and back is encrypted" and "It is not, from here:" in plain.message
    assert "s3+https://" in plain.remedy
    [both] = [finding for finding in look(store, pods_url="http://inside:9000") if not finding.ok]
    assert "from here and from pods" in both.message


def test_changed_bytes_are_refused_or_it_is_told(minio: S3Server, versitygw: S3Server) -> None:
    for server in (minio, versitygw):
        store = server.store("one")
        found = by_what(look(store))["The store refuses bytes that changed on their way"]
        assert found.ok, (server.kind, found)
        assert list(store.list("")) == [], "it leaves nothing"


def test_rules_that_are_wanted_and_not_there_are_told(minio: S3Server, versitygw: S3Server) -> None:
    what = "The store has rules that tidy up"
    store = minio.store("one")
    assert "Objects do not expire after 9 days" in by_what(look(store, expire_days=9))[what].message
    ensure_bucket(store, expire_days=9)
    assert by_what(look(store, expire_days=9))[what].ok
    without = versitygw.store("one")
    assert by_what(look(without))[what].ok, "nobody asked for any"
    assert "knows no lifecycle rules" in by_what(look(without, expire_days=9))[what].message


def test_clocks_that_agree_are_well(s3_server: S3Server) -> None:
    assert by_what(look(s3_server.store("one")))["The clocks of this machine and of the store agree"].ok
