"""Certificates and kubeconfigs of a test cluster, made with ``openssl``: a key pair for each who talks."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path

GATEWAY = "10.88.0.1"  # the node, the API server and the object store, as pods see them
NODE = "node1"
LOCAL = "DNS:localhost,IP:127.0.0.1"  # whoever comes through the relay
API_NAMES = ",".join(
    [
        LOCAL,
        f"IP:{GATEWAY},IP:10.96.0.1",
        "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local",
    ]
)
SERVERS = {
    "apiserver": ("/CN=kube-apiserver", API_NAMES),
    "kubelet-server": (f"/O=system:nodes/CN=system:node:{NODE}", f"DNS:{NODE},IP:{GATEWAY},IP:127.0.0.1"),
    "minio": ("/CN=minio", f"{LOCAL},DNS:minio,IP:{GATEWAY}"),
}
# Who they are to the API server.
CLIENTS = {
    "admin": "/O=system:masters/CN=admin",
    "kube-controller-manager": "/CN=system:kube-controller-manager",
    "kube-scheduler": "/CN=system:kube-scheduler",
    "kube-proxy": "/CN=system:kube-proxy",
    "kubelet": f"/O=system:nodes/CN=system:node:{NODE}",
    "apiserver-kubelet-client": "/O=system:masters/CN=kube-apiserver-kubelet-client",
}


class Authority:
    """A certificate authority with its files ``name.crt`` and ``name.key`` in ``folder``."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.settings = folder / "openssl.cnf"
        self.settings.write_text("[req]\ndistinguished_name=name\n[name]\n")  # none of the distribution's extensions
        self._request(name, f"/CN={name}", ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign"], [])

    @classmethod
    def of(cls, folder: Path, name: str) -> Authority:
        """One that was made before."""
        found = cls.__new__(cls)
        found.folder, found.name, found.settings = folder, name, folder / "openssl.cnf"
        return found

    def issue(self, name: str, subject: str, usage: str, alternatives: str = "") -> None:
        """``name.crt`` and ``name.key`` for ``usage``: serverAuth or clientAuth."""
        extensions = ["basicConstraints=CA:FALSE", f"extendedKeyUsage={usage}"]
        extensions += [f"subjectAltName={alternatives}"] if alternatives else []
        files = ["-CA", str(self.folder / f"{self.name}.crt"), "-CAkey", str(self.folder / f"{self.name}.key")]
        self._request(name, subject, extensions, files)

    def _request(self, name: str, subject: str, extensions: list[str], more: list[str]) -> None:
        command = ["openssl", "req", "-x509", "-config", self.settings, "-subj", subject, "-days", "30", "-nodes"]
        command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        command += ["-keyout", self.folder / f"{name}.key", "-out", self.folder / f"{name}.crt"]
        for extension in extensions:
            command += ["-addext", extension]
        subprocess.run([*command, *more], check=True, capture_output=True)
        (self.folder / f"{name}.key").chmod(0o600)


def make(folder: Path) -> None:
    """Everything that the components' command lines name."""
    folder.mkdir()
    ours = Authority(folder, "ca")
    for name, (subject, alternatives) in SERVERS.items():
        ours.issue(name, subject, "serverAuth", alternatives)
    for name, subject in CLIENTS.items():
        ours.issue(name, subject, "clientAuth")
    # by this one the API server is known to extensions of the API, as Kueue's visibility is
    Authority(folder, "front-proxy-ca").issue("front-proxy-client", "/CN=front-proxy-client", "clientAuth")
    key = folder / "service-accounts.key"
    subprocess.run(["openssl", "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", key], check=True)
    subprocess.run(
        ["openssl", "ec", "-in", key, "-pubout", "-out", key.with_suffix(".pub")], check=True, capture_output=True
    )


def kubeconfig(folder: Path, server: str, name: str) -> str:
    """For the client ``name``, with everything in it, so that the file can be taken anywhere."""

    def inline(file: str) -> str:
        return base64.b64encode((folder / file).read_bytes()).decode()

    user = {"client-certificate-data": inline(f"{name}.crt"), "client-key-data": inline(f"{name}.key")}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "tests", "cluster": {"server": server, "certificate-authority-data": inline("ca.crt")}}
            ],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": name}}],
            "current-context": "tests",
        },
        indent=1,
    )
