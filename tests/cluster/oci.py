"""Writes a folder as an image archive of one layer, which ``ctr images import`` reads: ``oci.py FOLDER ARCHIVE NAME``.

Owners and times are left out, so that the same files give the same digest. Only the standard library.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path

MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OCI = "application/vnd.oci.image"


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return f"sha256:{digest.hexdigest()}"


def anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = "root"
    return entry


def write_layer(folder: Path, layer: Path) -> None:
    with tarfile.open(layer, "w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(folder.rglob("*")):
            archive.add(path, str(path.relative_to(folder)), recursive=False, filter=anonymous)


def write_image(folder: Path, archive: Path, name: str, config: dict[str, object]) -> None:
    """``archive`` becomes an OCI image layout in a tar file; ``config`` is what a container of it runs by default."""
    blobs: dict[str, bytes] = {}

    def blob(content: object, kind: str, **more: object) -> dict[str, object]:
        data = json.dumps(content, sort_keys=True).encode()
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        blobs[digest] = data
        return {"mediaType": f"{OCI}.{kind}.v1+json", "digest": digest, "size": len(data), **more}

    layer = archive.with_suffix(".layer")
    write_layer(folder, layer)
    layer_digest = sha256(layer)
    machine = {"architecture": MACHINES.get(platform.machine(), platform.machine()), "os": "linux"}
    image = {**machine, "config": config, "rootfs": {"type": "layers", "diff_ids": [layer_digest]}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.manifest.v1+json",
        "config": blob(image, "config"),
        "layers": [{"mediaType": f"{OCI}.layer.v1.tar", "digest": layer_digest, "size": layer.stat().st_size}],
    }
    names = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rpartition(":")[2]}
    index = {
        "schemaVersion": 2,
        "mediaType": f"{OCI}.index.v1+json",
        "manifests": [blob(manifest, "manifest", platform=machine, annotations=names)],
    }
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode()}
    files |= {f"blobs/{digest.replace(':', '/')}": data for digest, data in blobs.items()}
    with tarfile.open(archive, "w") as out:
        for path, data in files.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            out.addfile(entry, io.BytesIO(data))
        out.add(layer, f"blobs/{layer_digest.replace(':', '/')}", filter=anonymous)
    layer.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("archive", type=Path)
    parser.add_argument("name")
    parser.add_argument("--user", default="0:0")
    parser.add_argument("--entrypoint", nargs="*")
    parser.add_argument("--cmd", nargs="*")
    given = parser.parse_args()
    config = {"Env": [f"PATH={PATH}"], "User": given.user, "Entrypoint": given.entrypoint, "Cmd": given.cmd}
    write_image(given.folder, given.archive, given.name, {key: value for key, value in config.items() if value})


if __name__ == "__main__":
    main()
