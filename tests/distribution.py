"""A real registry on loopback: CNCF distribution, as Debian packages it (`apt install docker-registry`)."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.factories import images
from tests.factories.images import Index
from workers.oci.client import RegistryCredentials

PROGRAM = shutil.which("docker-registry")
START_SECONDS = 30.0
# bcrypt of "s3cret", the only kind of entry the registry reads.
HTPASSWD = "robot:$2b$04$mGk5jeITkOFl/1rccXPbgudq50H0DsSWhgMH/hq4mnELChDrrbECW\n"
ROBOT = RegistryCredentials(username="robot", password="s3cret")

_PATIENT = {"timeout": "5s", "threshold": 5, "backoff": "1s"}


@contextmanager
def running(
    directory: Path,
    *,
    auth: dict[str, Any] | None = None,
    certificate: Path | None = None,
    endpoint: dict[str, Any] | None = None,
) -> Iterator[str]:
    """A registry on loopback that also deletes; yields its address and port. With a PEM file it speaks TLS.

    `endpoint` is told of what happens, with its `url` and `headers`.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        host = f"127.0.0.1:{free.getsockname()[1]}"
    tls = {"certificate": str(certificate), "key": str(certificate)}
    configuration = {
        "version": "0.1",
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(directory / "storage")}, "delete": {"enabled": True}},
        "http": {"addr": host, "secret": "shared by nobody", **({"tls": tls} if certificate else {})},
        **({"auth": auth} if auth else {}),
        **({"notifications": {"endpoints": [{"name": "harborguard", **_PATIENT, **endpoint}]}} if endpoint else {}),
    }
    file = directory / "config.yml"
    file.write_text(json.dumps(configuration))  # JSON is YAML
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([str(PROGRAM), "serve", file], stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers(host, "https" if certificate else "http"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"docker-registry did not start:\n{log.read_text()}")
            time.sleep(0.02)
        yield host
    finally:
        process.terminate()
        process.wait(timeout=START_SECONDS)


def answers(host: str, scheme: str) -> bool:
    try:
        return httpx.get(f"{scheme}://{host}/v2/", verify=False).status_code in {200, 401}  # noqa: S501 -- it is ours
    except httpx.ConnectError:
        return False


def push(http: httpx.Client, repository: str, content: images.Image | Index, name: str) -> None:
    """Blobs, then the manifests of an index, then the manifest itself, as the distribution specification orders it."""
    for member in content.members if isinstance(content, Index) else ():
        push(http, repository, member, member.digest)
    manifests = {content.digest, *(member.digest for member in getattr(content, "members", ()))}
    blobs = {digest: data for digest, data in content.blobs.items() if digest not in manifests}
    push_artifact(http, repository, content.manifest, blobs, name, media_type=content.media_type)


def push_artifact(
    http: httpx.Client, repository: str, manifest: bytes, blobs: Mapping[str, bytes], name: str, *, media_type: str
) -> None:
    """Anything with a manifest."""
    for digest, data in blobs.items():
        upload = http.post(f"/v2/{repository}/blobs/uploads/").raise_for_status()
        location = httpx.URL(upload.headers["location"])
        http.put(location.copy_merge_params({"digest": digest}), content=data).raise_for_status()
    headers = {"content-type": media_type}
    http.put(f"/v2/{repository}/manifests/{name}", content=manifest, headers=headers).raise_for_status()
