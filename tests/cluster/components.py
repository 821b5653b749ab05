"""The command lines of a test cluster's processes. Paths are those inside its namespaces: ``inside`` makes them."""

from __future__ import annotations

from .pki import GATEWAY, NODE

PKI = "/run/state/pki"
ETCD = "http://127.0.0.1:22379"
SERVICES = "10.96.0.0/16"
API_PORT, MINIO_PORT = 6443, 9000


def etcd() -> list[str]:
    """Throw-away: it never waits for a disk."""
    peers = "http://127.0.0.1:22380"
    options = {
        "data-dir": "/run/etcd",
        "listen-client-urls": ETCD,
        "advertise-client-urls": ETCD,
        "listen-peer-urls": peers,
        "initial-advertise-peer-urls": peers,
        "initial-cluster": f"default={peers}",
        "log-level": "warn",
    }
    return ["etcd", "--unsafe-no-fsync", *_options(options)]


def kube_apiserver() -> list[str]:
    options = {
        "etcd-servers": ETCD,
        "bind-address": GATEWAY,
        "advertise-address": GATEWAY,
        "secure-port": str(API_PORT),
        "service-cluster-ip-range": SERVICES,
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "client-ca-file": f"{PKI}/ca.crt",
        "tls-cert-file": f"{PKI}/apiserver.crt",
        "tls-private-key-file": f"{PKI}/apiserver.key",
        "kubelet-client-certificate": f"{PKI}/apiserver-kubelet-client.crt",
        "kubelet-client-key": f"{PKI}/apiserver-kubelet-client.key",
        "kubelet-certificate-authority": f"{PKI}/ca.crt",
        "kubelet-preferred-address-types": "InternalIP",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": f"{PKI}/service-accounts.pub",
        "service-account-signing-key-file": f"{PKI}/service-accounts.key",
        # extensions of the API, which are reached at their pods
        "enable-aggregator-routing": "true",
        "requestheader-client-ca-file": f"{PKI}/front-proxy-ca.crt",
        "requestheader-allowed-names": "front-proxy-client",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-username-headers": "X-Remote-User",
        "proxy-client-cert-file": f"{PKI}/front-proxy-client.crt",
        "proxy-client-key-file": f"{PKI}/front-proxy-client.key",
        "profiling": "false",
    }
    return ["kube-apiserver", *_options(options)]


def kube_controller_manager() -> list[str]:
    config = "/run/state/kube-controller-manager.kubeconfig"
    options = {
        "kubeconfig": config,
        "authentication-kubeconfig": config,
        "authorization-kubeconfig": config,
        "leader-elect": "false",
        "bind-address": "127.0.0.1",
        "use-service-account-credentials": "true",
        "root-ca-file": f"{PKI}/ca.crt",
        "service-account-private-key-file": f"{PKI}/service-accounts.key",
        "kube-api-qps": "300",
        "kube-api-burst": "600",
        "concurrent-job-syncs": "10",
        "profiling": "false",
    }
    return ["kube-controller-manager", *_options(options)]


def kube_scheduler() -> list[str]:
    options = {"config": "/run/config/kube-scheduler.yaml", "bind-address": "127.0.0.1", "profiling": "false"}
    return ["kube-scheduler", *_options(options)]


def containerd() -> list[str]:
    return ["containerd", "--config", "/run/config/containerd.toml", "--log-level", "warn"]


def kubelet(cgroup: str) -> list[str]:
    options = {
        "config": "/run/config/kubelet.yaml",
        "kubeconfig": "/run/state/kubelet.kubeconfig",
        "hostname-override": NODE,
        "node-ip": GATEWAY,
        "root-dir": "/run/kubelet",
        "cgroup-root": f"/{cgroup}",
        "v": "1",
    }
    return ["kubelet", *_options(options)]


def kube_proxy() -> list[str]:
    return ["kube-proxy", "--config=/run/config/kube-proxy.yaml"]


def kube_network_policies() -> list[str]:
    options = {
        "kubeconfig": "/run/state/admin.kubeconfig",
        "hostname-override": NODE,
        "nfqueue-id": "98",
        "disable-nri": "false",
        "fail-open": "false",
        "metrics-bind-address": "127.0.0.1:29080",
        "v": "1",
    }
    return ["kube-network-policies", *_options(options)]


def minio() -> list[str]:
    """With TLS, as an object store that is worth its name has it."""
    return [
        "minio",
        "server",
        "--quiet",
        f"--address={GATEWAY}:{MINIO_PORT}",
        "--certs-dir=/run/state/minio",
        "/run/minio",
    ]


def kwok() -> list[str]:
    """Fake nodes: their pods run when kwok says so, and end at once."""
    options = {
        "kubeconfig": "/run/state/admin.kubeconfig",
        "config": "/run/config/kwok.yaml",
        "manage-all-nodes": "false",
        "manage-nodes-with-annotation-selector": "kwok.x-k8s.io/node=fake",
        "node-lease-duration-seconds": "40",
        "cidr": "10.200.0.0/16",
        "server-address": "127.0.0.1:29247",
    }
    return ["kwok", *_options(options)]


def fake_node(number: int) -> dict[str, object]:
    """A node of kwok's. It is tainted, so that only what tolerates ``kwok.x-k8s.io/node`` comes there."""
    name = f"fake-{number}"
    room = {"cpu": "64", "memory": "256Gi", "ephemeral-storage": "1Ti", "pods": "200", "example.com/gpu": "8"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"kwok.x-k8s.io/node": "fake", "node.alpha.kubernetes.io/ttl": "0"},
            "labels": {
                "type": "kwok",
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
            },
        },
        "spec": {"taints": [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]},
        "status": {"allocatable": room, "capacity": room},
    }


def _options(given: dict[str, str]) -> list[str]:
    return [f"--{name}={value}" for name, value in given.items()]
