"""Setting a store up, and trying whether it does what we rely on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jupyter_trainjob.storage.base import StoreError
from jupyter_trainjob.storage.s3 import S3Store
from jupyter_trainjob.storage.s3client import CredentialsFile
from jupyter_trainjob.storage.s3setup import check, ensure_bucket, keeps_prefixes

from .servers import S3Server, write_credentials


def test_a_bucket_is_made_only_when_asked(s3_server: S3Server) -> None:
    store = S3Store(s3_server.address("made-later", "one"), CredentialsFile(s3_server.credentials))
    with pytest.raises(StoreError, match="has no bucket 'made-later'"):
        ensure_bucket(store)
    assert ensure_bucket(store, create=True) == []
    assert ensure_bucket(store, create=True) == []
    store.put("k", b"v")


def test_rules_are_set_beside_those_of_others(minio: S3Server) -> None:
    from minio.commonconfig import ENABLED, Filter
    from minio.lifecycleconfig import Expiration, LifecycleConfig, Rule

    store = minio.store("one")
    client, bucket = store.client.minio, store.address.bucket
    others = Rule(ENABLED, rule_filter=Filter(prefix="logs/"), rule_id="theirs", expiration=Expiration(days=3))
    client.set_bucket_lifecycle(bucket, LifecycleConfig([others]))
    for days in (30, 60):
        assert ensure_bucket(store, expire_days=days) == []
        rules = {rule.rule_id: rule for rule in client.get_bucket_lifecycle(bucket).rules}
        assert set(rules) == {"theirs", "jupyter-trainjob-jobs-one/jobs/"}
        assert rules["jupyter-trainjob-jobs-one/jobs/"].expiration.days == days
        assert rules["jupyter-trainjob-jobs-one/jobs/"].rule_filter.prefix == "one/jobs/"
    other = S3Store(replace(store.address, prefix="two/"), store.client.credentials)
    assert ensure_bucket(other, expire_days=5) == []
    assert len(client.get_bucket_lifecycle(bucket).rules) == 3
    assert ensure_bucket(store) == []
    assert {rule.rule_id for rule in client.get_bucket_lifecycle(bucket).rules} == {
        "theirs",
        "jupyter-trainjob-jobs-two/jobs/",
    }


def test_a_server_without_rules_is_told(versitygw: S3Server) -> None:
    store = versitygw.store("one")
    assert ensure_bucket(store) == []
    assert ensure_bucket(store, expire_days=9) == [
        "The object store knows no lifecycle rules: objects do not expire after 9 days there."
    ]


def test_what_a_store_can_do_is_found_out(s3_server: S3Server) -> None:
    store = s3_server.store("one")
    assert [finding for finding in check(store) if not finding.ok] == []
    assert len(check(store)) > 6
    assert list(store.list("")) == []


def test_a_server_whose_forms_are_good_elsewhere_is_found_out(minio: S3Server, versitygw: S3Server) -> None:
    assert keeps_prefixes(minio.store("one"))
    assert keeps_prefixes(minio.store("one", public="http://only-pods-know-this:9000"))
    assert all(finding.ok for finding in check(minio.store("one"), pods=True))
    leaky = versitygw.store("one")
    assert not keeps_prefixes(leaky)
    assert list(leaky.list("")) == []
    bad = [finding for finding in check(leaky, pods=True) if not finding.ok]
    assert [finding.what for finding in bad] == ["What is signed for one job is good for no other"]
    assert "code in one pod could overwrite what other jobs stored" in bad[0].remedy


def test_a_store_with_room_for_servers_and_none_for_pods_is_found_out(full_minio: S3Server) -> None:
    """MinIO asks for 2 GiB before it takes a form, however little comes."""
    bad = [finding for finding in check(full_minio.store(), pods=True) if not finding.ok]
    assert [finding.what for finding in bad] == ["Jobs can store large files"]
    assert "is full" in bad[0].message and "at least 2 GiB" in bad[0].remedy
    assert all(finding.ok for finding in check(full_minio.store())), "without pods nobody uses forms"
    assert list(full_minio.store().list("")) == []


def test_a_store_that_can_not_be_used_is_told_with_its_remedy(minio: S3Server, tmp_path) -> None:
    wrong = CredentialsFile(write_credentials(tmp_path / "wrong", "nobody", "nothing-at-all"))
    findings = check(S3Store(minio.store().address, wrong))
    assert [(finding.what, finding.ok) for finding in findings] == [("The bucket can be reached", False)]
    assert "does not know the access key. Correct the credentials" in findings[0].message


def test_a_key_that_may_only_keep_objects_serves(minio: S3Server, tmp_path) -> None:
    """The root key makes a temporary one, with a policy that knows no rules and no unfinished uploads."""
    import json

    from minio.credentials import AssumeRoleProvider

    store = minio.store("one")
    objects = {"Effect": "Allow", "Action": ["s3:*Object"], "Resource": f"arn:aws:s3:::{store.address.bucket}/one/*"}
    listing = {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": f"arn:aws:s3:::{store.address.bucket}"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [objects, listing]})
    root = store.client.credentials.retrieve()
    made = AssumeRoleProvider(
        sts_endpoint=minio.url, access_key=root.access_key, secret_key=root.secret_key, policy=policy
    ).retrieve()
    path = write_credentials(tmp_path / "small", made.access_key, made.secret_key)
    with open(path, "a") as file:
        file.write(f"aws_session_token = {made.session_token}\n")
    small = S3Store(store.address, CredentialsFile(path))
    assert ensure_bucket(small) == []
    told = ensure_bucket(small, expire_days=3)
    assert len(told) == 1
    assert "does not allow it" in told[0] and "Objects do not expire after 3 days there" in told[0]
    assert [finding for finding in check(small, pods=True) if not finding.ok] == []
    outside = S3Store(replace(store.address, prefix="two/"), small.client.credentials)
    with pytest.raises(StoreError, match=r"does not allow it .* Give the access key in .* the right to list, read"):
        outside.put("k", b"")
