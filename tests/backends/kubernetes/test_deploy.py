"""What ``deploy`` makes of a configuration, object by object."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest

from jupyter_trainjob.backends.kubernetes.deploy import apply, rights
from jupyter_trainjob.backends.kubernetes.deploy.bounds import NoPeer, StorePlace, index_places, index_urls
from jupyter_trainjob.backends.kubernetes.deploy.plan import Plan, manifests, named, secrets_of
from jupyter_trainjob.backends.kubernetes.deploy.service import CONFIGURATION, configuration
from jupyter_trainjob.backends.kubernetes.deploy.settings import PARTS, DeploySettings
from jupyter_trainjob.backends.kubernetes.environments_rules import EnvironmentRules
from jupyter_trainjob.backends.kubernetes.settings import KubernetesSettings, SettingsError
from jupyter_trainjob.resources.volumes import AllowedVolume

IMAGES = {"python": "docker.io/trainjob/python:1", "r": "docker.io/trainjob/r:1"}
SETTINGS = KubernetesSettings(namespace="ml", images=IMAGES, digests={IMAGES["r"]: f"sha256:{'a' * 64}"})
MARK = SETTINGS.installation_label
STORE = StorePlace.of("https://10.1.2.3:9000")


def deploy(**options: Any) -> DeploySettings:
    return DeploySettings(**{"service_image": "docker.io/trainjob/service:1", **options})


def made(store: StorePlace = STORE, shares: Any = (), **options: Any) -> dict[str, Any]:
    plan = Plan(SETTINGS, deploy(**options), store, {CONFIGURATION: "{}\n"}, shares)
    return {named(item): item for item in manifests(plan)}


def test_what_there_is() -> None:
    assert list(made()) == [
        "Namespace/ml",
        "ServiceAccount/trainjob-server",
        "Role/trainjob-server",
        "RoleBinding/trainjob-server",
        "ClusterRole/trainjob-server-ml",
        "ClusterRoleBinding/trainjob-server-ml",
        "NetworkPolicy/trainjob-deny-all",
        "NetworkPolicy/trainjob-store",
        "NetworkPolicy/trainjob-service",
        "ResourceQuota/trainjob",
        "LimitRange/trainjob",
        "Secret/trainjob",
        "PersistentVolumeClaim/trainjob-data",
        "Service/trainjob",
        "Deployment/trainjob",
        "DaemonSet/trainjob-images",
    ]
    assert made(leave_out=tuple(PARTS)) == {}


def test_the_namespace_enforces_pod_security_with_its_version() -> None:
    labels = made(pod_security_version="v1.33")["Namespace/ml"]["metadata"]["labels"]
    for mode in ("enforce", "warn", "audit"):
        assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"
        assert labels[f"pod-security.kubernetes.io/{mode}-version"] == "v1.33"


def test_the_rules_are_those_of_the_table() -> None:
    role, cluster = made()["Role/trainjob-server"]["rules"], made()["ClusterRole/trainjob-server-ml"]["rules"]
    found = {
        (rule["apiGroups"][0], rule["resources"][0], verb, whole)
        for rules, whole in ((role, False), (cluster, True))
        for rule in rules
        for verb in rule["verbs"]
    }
    assert found == {(right.group, right.resource, right.verb, right.cluster) for right in rights.wanted()}
    assert {verb for _, _, verb, whole in found if whole} == {"list", "watch"}, "nothing of the cluster's is changed"
    assert "*" not in json.dumps([role, cluster])
    with_kueue = made(kueue=True)["Role/trainjob-server"]["rules"]
    assert [rule["apiGroups"] for rule in with_kueue[len(role) :]] == [
        ["kueue.x-k8s.io"],
        ["kueue.x-k8s.io"],
        ["visibility.kueue.x-k8s.io"],
    ]


def test_nodes_can_be_read_without_the_pods_on_them() -> None:
    rules = made(all_pods=False)["ClusterRole/trainjob-server-ml"]["rules"]
    assert [(rule["resources"], rule["verbs"]) for rule in rules] == [(["nodes"], ["list", "watch"])]
    own = made(all_pods=False)["Role/trainjob-server"]["rules"]
    assert own == made()["Role/trainjob-server"]["rules"], "the pods of its own namespace it needs"


def test_the_doctor_in_the_service_knows_what_was_left_out() -> None:
    def told(**options: Any) -> Any:
        data = configuration({}, "cluster", SETTINGS, deploy(**options), {}, store_url="s3+https://a:9000/b")
        return json.loads(data[CONFIGURATION]).get("KubernetesDeploySettings")

    assert told(quota={"pods": "7"}) is None, "what is not its matter restarts no service"
    given = {"all_pods": False, "kueue": True, "leave_out": ["namespace"]}
    assert told(all_pods=False, kueue=True, leave_out=("namespace",)) == given


def test_all_is_closed_and_jobs_reach_the_store() -> None:
    found = made()
    assert found["NetworkPolicy/trainjob-deny-all"]["spec"] == {
        "podSelector": {},
        "policyTypes": ["Ingress", "Egress"],
    }
    assert found["NetworkPolicy/trainjob-store"]["spec"] == {
        "podSelector": {
            "matchLabels": {
                "app.kubernetes.io/managed-by": "jupyter-trainjob",
                "jupyter-trainjob/installation": MARK,
            }
        },
        "policyTypes": ["Egress"],
        "egress": [
            {"to": [{"ipBlock": {"cidr": "10.1.2.3/32"}}], "ports": [{"port": 9000, "protocol": "TCP"}]},
        ],
    }


def egress(found: dict[str, Any]) -> Any:
    return found["NetworkPolicy/trainjob-store"]["spec"]["egress"]


def test_name_servers_are_open_only_where_the_store_has_a_name() -> None:
    named = StorePlace.of("https://minio.example.org", ["192.0.2.7", "2001:db8::7"])
    store, names = egress(made(named))
    assert [peer["ipBlock"]["cidr"] for peer in store["to"]] == ["192.0.2.7/32", "2001:db8::7/128"]
    assert store["ports"] == [{"port": 443, "protocol": "TCP"}]
    assert [port["port"] for port in names["ports"]] == [53, 53]
    assert names["to"][0]["podSelector"] == {"matchLabels": {"k8s-app": "kube-dns"}}
    assert len(egress(made(named, dns_peers=()))) == 1, "an empty list of peers would open the port to everybody"


def test_a_store_in_the_cluster_is_reached_in_its_namespace() -> None:
    inside = StorePlace.of("http://minio.storage.svc.cluster.local:80")
    rule = egress(made(inside, store_ports=(9000,)))[0]
    assert rule["to"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "storage"}}}]
    assert rule["ports"] == [{"port": 9000, "protocol": "TCP"}]


def test_a_store_that_can_not_be_looked_up_has_to_be_told() -> None:
    unknown = StorePlace.of("https://minio.example.org:9000")
    with pytest.raises(NoPeer, match=r"named 'minio.example.org', which can't be looked up .*store_peers, such as"):
        made(unknown)
    assert egress(made(unknown, store_peers=({"ipBlock": {"cidr": "10.0.0.0/8"}},)))[0]["to"] == [
        {"ipBlock": {"cidr": "10.0.0.0/8"}}
    ]


def test_builders_reach_the_index_and_other_jobs_do_not() -> None:
    policy = made(index_peers=({"ipBlock": {"cidr": "10.9.0.0/24"}},))["NetworkPolicy/trainjob-builders"]["spec"]
    assert policy["podSelector"]["matchExpressions"] == [
        {"key": "jupyter-trainjob/builds", "operator": "In", "values": ["environment"]}
    ]
    assert policy["egress"][0]["to"] == [{"ipBlock": {"cidr": "10.9.0.0/24"}}]
    assert "NetworkPolicy/trainjob-builders" not in made()


def test_builders_reach_the_indexes_that_the_settings_name() -> None:
    rules = EnvironmentRules(
        claim="envs", pip={"index-url": "https://pypi.example.org/simple"}, r_repositories=("http://10.4.0.1",)
    )
    settings = replace(SETTINGS, environments=rules)
    urls = index_urls(settings)
    assert urls == ["https://pypi.example.org/simple", "http://10.4.0.1"]
    assert index_urls(replace(settings, environments=replace(rules, builds="none"))) == []
    places = index_places(urls, lambda host: ["192.0.2.9"] if host == "pypi.example.org" else [])
    [policy] = [
        item for item in manifests(Plan(settings, deploy(), STORE, {}, (), places)) if "builders" in named(item)
    ]
    found = [(rule["to"], rule["ports"][0]["port"]) for rule in policy["spec"]["egress"]]
    assert found[0] == ([{"ipBlock": {"cidr": "192.0.2.9/32"}}], 443)
    assert found[1] == ([{"ipBlock": {"cidr": "10.4.0.1/32"}}], 80)
    assert found[2][1] == 53
    lost = index_places(urls, lambda host: [])
    with pytest.raises(NoPeer, match=r"The package index is named 'pypi.example.org', .*index_peers"):
        manifests(Plan(settings, deploy(), STORE, {}, (), lost))


def test_every_pod_is_restricted() -> None:
    for name in ("Deployment/trainjob", "DaemonSet/trainjob-images"):
        pod = made()[name]["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"]
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"].keys() == {"cpu", "memory"}
    assert made()["DaemonSet/trainjob-images"]["spec"]["template"]["spec"]["automountServiceAccountToken"] is False


def test_pods_of_ours_are_none_of_jobs() -> None:
    """What others have of the nodes is counted by the label, and the store is open to it."""
    for name in ("Deployment/trainjob", "DaemonSet/trainjob-images"):
        spec = made()[name]["spec"]
        labels = spec["template"]["metadata"]["labels"]
        assert "jupyter-trainjob/installation" not in labels
        assert "app.kubernetes.io/managed-by" not in labels
        assert spec["selector"]["matchLabels"] == labels


def test_nodes_pull_each_image_once_by_digest_where_it_is_known() -> None:
    pod = made()["DaemonSet/trainjob-images"]["spec"]["template"]["spec"]
    assert [(one["image"], one["command"]) for one in pod["initContainers"]] == [
        ("docker.io/trainjob/python:1", ["true"]),
        (f"docker.io/trainjob/r@sha256:{'a' * 64}", ["true"]),
    ]
    assert pod["containers"][0]["image"] == "docker.io/trainjob/python:1"


def test_one_pod_has_a_disk_and_several_a_database() -> None:
    alone = made()["Deployment/trainjob"]["spec"]
    assert alone["replicas"] == 1 and alone["strategy"] == {"type": "Recreate"}
    found = made(replicas=2, database_secret="trainjob-database")
    assert "PersistentVolumeClaim/trainjob-data" not in found
    two = found["Deployment/trainjob"]["spec"]
    assert two["replicas"] == 2 and two["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    container = two["template"]["spec"]["containers"][0]
    assert container["env"] == [
        {
            "name": "JUPYTER_TRAINJOB_DB_URL",
            "valueFrom": {"secretKeyRef": {"name": "trainjob-database", "key": "url"}},
        }
    ]
    with pytest.raises(SettingsError, match="replicas 2 need a record that they share: name the Secret"):
        deploy(replicas=2)


def test_a_changed_configuration_makes_new_pods() -> None:
    def digest(text: str) -> Any:
        plan = Plan(SETTINGS, deploy(), STORE, {CONFIGURATION: text})
        [found] = [item for item in manifests(plan) if item["kind"] == "Deployment"]
        return found["spec"]["template"]["metadata"]["annotations"]

    assert digest("{}") == digest("{}") != digest('{"a": {}}')


def test_the_service_gets_the_operators_configuration_as_it_is_true_there() -> None:
    given = {
        "TrainJobExtension": {
            "data_dir": "/home/ada/jobs",
            "db_url": "sqlite:////home/ada/r",
            "operators": ["ada"],
            "backends": {"here": {"type": "local"}, "cluster": {"type": "kubernetes", "scratch": "disk"}},
        },
        "KubernetesBackendSettings": {"kubeconfig": "/home/ada/.kube/config", "images": IMAGES},
        "ObjectStoreSettings": {"url": "s3+https://outside:9000/b", "pod_url": "https://inside:9000", "ca_file": "/x"},
    }
    files = {"store-ca.crt": "A", "pods-ca.crt": "B"}
    data = configuration(given, "cluster", SETTINGS, deploy(), files, store_url="s3+https://inside:9000/b")
    assert json.loads(data.pop(CONFIGURATION)) == {
        "TrainJobExtension": {"operators": ["ada"], "backends": {"cluster": {"type": "kubernetes"}}},
        "KubernetesBackendSettings": {
            "images": IMAGES,
            "namespace": "ml",
            "scratch": "disk",
            "store_ca_file": "/etc/jupyter/pods-ca.crt",
        },
        "ObjectStoreSettings": {
            "url": "s3+https://inside:9000/b",
            "ca_file": "/etc/jupyter/store-ca.crt",
            "credentials_file": "/etc/trainjob/store/credentials",
        },
        "FileIdentityProvider": {"token_file": "/etc/trainjob/tokens/tokens.yaml"},
    }
    assert data == files


def test_shares_of_profiles_become_volumes() -> None:
    share = AllowedVolume.model_validate({"name": "data", "nfs": {"server": "nfs.example.org", "path": "/srv"}})
    kinds = [name.partition("/")[0] for name in made(shares=[share])]
    assert kinds.count("PersistentVolume") == 1 and kinds.count("PersistentVolumeClaim") == 2


def test_the_disk_of_environments_is_made_where_somebody_says_of_what() -> None:
    settings = replace(SETTINGS, environments=EnvironmentRules(claim="envs", all_disk="70Gi"))
    for storage_class, there in (("nfs", True), ("", False)):
        plan = Plan(settings, deploy(environments_storage_class=storage_class), STORE, {})
        found = {named(item): item for item in manifests(plan)}
        assert ("PersistentVolumeClaim/envs" in found) == there
        if there:
            spec = found["PersistentVolumeClaim/envs"]["spec"]
            assert (spec["accessModes"], spec["storageClassName"]) == (["ReadWriteMany"], "nfs")
            assert spec["resources"] == {"requests": {"storage": "70Gi"}}


def test_what_may_hold_a_password_is_in_a_secret_alone() -> None:
    """An index's, say: it may stand in any option, also in those of others."""
    given = {
        "KubernetesBackendSettings": {"pip_options": {"index-url": "https://ada:pip-word@pypi.example.org/simple"}},
    }
    options = {"LoggingServer": "https://log:server-word@example.org"}
    wanted = deploy(server_options=options)
    data = configuration(given, "cluster", SETTINGS, wanted, {"store-ca.crt": "A"}, store_url="s3+https://a:9000/b")
    items = {named(item): item for item in manifests(Plan(SETTINGS, wanted, STORE, data))}
    secret = items.pop("Secret/trainjob")
    assert secret["type"] == "Opaque" and "stringData" not in secret
    assert {name: base64.b64decode(text).decode() for name, text in secret["data"].items()} == data
    assert all(word in data[CONFIGURATION] for word in ("pip-word", "server-word"))
    assert "word" not in json.dumps(items) and not any(name.startswith("ConfigMap/") for name in items)
    pod = items["Deployment/trainjob"]["spec"]["template"]["spec"]
    [volume] = [one for one in pod["volumes"] if one["name"] == "configuration"]
    assert volume["secret"] == {"secretName": "trainjob", "defaultMode": 0o440}


def test_secrets_of_the_operator_are_named_and_never_made() -> None:
    assert [name for name in made() if name.startswith("Secret/")] == ["Secret/trainjob"]
    assert set(secrets_of(deploy())) == {"trainjob-store", "trainjob-tokens"}
    assert secrets_of(deploy(database_secret="db"))["db"] == ("url", "PostgreSQL's URL")
    assert secrets_of(deploy(leave_out=("service",))) == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"leave_out": ("netwerk",)}, "leave_out has the unknown part 'netwerk'; known: namespace, rights,"),
        ({"service_image": ""}, "service_image is empty: name the image of the service"),
        ({"quota": {"pods": "many"}}, r"quota\['pods'\]: 'many' is no quantity"),
        ({"token_secret": "trainjob"}, "token_secret 'trainjob' is what the Secret is called that deploy makes"),
        ({"account": "No Name"}, "account 'No Name' is no name of an object in a cluster"),
        ({"store_peers": ({"cidr": "10.0.0.1/32"},)}, "store_peers: .* is no peer; write {'ipBlock'"),
        ({"service_resources": {"cpu": "1"}}, "needs exactly cpu, cpu_limit, memory"),
    ],
)
def test_what_can_not_be_is_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        deploy(**options)


def test_a_cluster_that_is_too_old_is_told() -> None:
    assert apply.parse_version({"major": "1", "minor": "28+"}) == (1, 28) < apply.OLDEST
    assert "runs Kubernetes 1.28, and jobs need 1.29" in apply.too_old((1, 28))


def test_the_table_of_rights_says_what_each_is_for() -> None:
    assert "| jobs | create | start an attempt | namespace |" in rights.table()
    assert "| nodes | list | know how much the nodes have | cluster |" in rights.table()
    assert all(right.why for right in rights.RIGHTS)
