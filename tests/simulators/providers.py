"""The providers' own APIs, each in the shape it is published in, behind their real names on one loopback port.

Names, TLS and ports are those of the real thing: the client under test connects to https://hub.docker.com and gets here,
because its network leads every connection to this server. Whoever asks without the right credentials is refused.
"""

from __future__ import annotations

import base64
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpcore
import orjson
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.simulators.certificates import Authority
from tests.simulators.registry import Fault, Recorded, listening

ACCOUNT = "123456789012"
ECR = f"{ACCOUNT}.dkr.ecr.eu-central-1.amazonaws.com"
GAR = "europe-west3-docker.pkg.dev"
USER, SECRET = "robot", "s3cret-t0ken"
DIGEST = "sha256:" + "ab" * 32
NAMES = (
    "hub.docker.com",
    "registry-1.docker.io",
    "auth.docker.io",
    "api.github.com",
    "ghcr.io",
    "api.ecr.eu-central-1.amazonaws.com",
    ECR,
    "artifactregistry.googleapis.com",
    "oauth2.googleapis.com",
    GAR,
    "registry.gitlab.com",
    "gitlab.com",
    "registry.acme.dev",
    "gitlab.acme.dev",
    "harbor.acme.dev",
    "quay.io",
    "acme.jfrog.io",
    "nexus.acme.dev",
    "acme.azurecr.io",
)
_SIGNED = re.compile(
    r"AWS4-HMAC-SHA256 Credential=robot/\d{8}/eu-central-1/ecr/aws4_request, "
    r"SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=[0-9a-f]{64}"
)


@dataclass
class Providers:
    """All of them have the same repositories, which stand below `acme`. Lists come two entries at a time."""

    repositories: tuple[str, ...] = ("api", "deep/web", "worker", "zoo", "last")
    tags: tuple[str, ...] = ("1.0", "1.1", "latest")
    page: int = 2
    requests: list[Recorded] = field(default_factory=list)
    hosts: list[str] = field(default_factory=list)
    service_account: rsa.RSAPrivateKey = field(
        default_factory=lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )
    _faults: list[tuple[Fault, int]] = field(default_factory=list)

    def misbehave(self, fault: Fault, *, times: int = 1_000_000) -> None:
        self._faults.append((fault, times))

    @property
    def key_file(self) -> str:
        """What Google hands out for a service account; its token address is somebody else's."""
        pem = self.service_account.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return orjson.dumps(
            {
                "type": "service_account",
                "project_id": "acme-prod",
                "client_email": "robot@acme-prod.iam.gserviceaccount.com",
                "private_key": pem.decode(),
                "token_uri": "https://attacker.example/token",
            }
        ).decode()

    def seen_by(self, host: str) -> list[Recorded]:
        return [request for name, request in zip(self.hosts, self.requests, strict=True) if name == host]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        body = await request.body()
        host = request.headers["host"].partition(":")[0]
        self.hosts.append(host)
        self.requests.append(Recorded(request.method, request.url.path, request.url.query, {**request.headers}))
        answer: ASGIApp = self._answer(host, request, body)
        if self._faults:
            fault, times = self._faults[0]
            self._faults[0] = (fault, times - 1)
            if times == 1:
                self._faults.pop(0)
            assert isinstance(answer, Response)
            answer = fault(answer)
        await answer(scope, receive, send)

    def _answer(self, host: str, request: Request, body: bytes) -> Response:
        # As it was sent: an escaped slash is part of a name.
        path = request.scope["raw_path"].decode()
        apis: dict[str, Callable[[], Response]] = {
            "hub.docker.com/v2/": lambda: self._hub(request, path, body),
            "api.github.com/": lambda: self._github(request, path),
            "api.ecr.eu-central-1.amazonaws.com/": lambda: self._ecr(request, body),
            "oauth2.googleapis.com/token": lambda: self._google_token(body),
            "artifactregistry.googleapis.com/v1/": lambda: self._google(request, path),
            "/api/v4/": lambda: self._gitlab(request, path),
            "/api/v2.0/": lambda: self._harbor(request, path),
            "/api/v1/": lambda: self._quay(request),
            "": lambda: self._distribution(host, request, path),
        }
        return next(answer() for part, answer in apis.items() if part in f"{host}{path}")

    def _page(self, request: Request, names: Iterable[str], key: str = "page") -> tuple[list[str], bool]:
        entries = list(names)
        start = (int(request.query_params.get(key, "1")) - 1) * self.page
        return entries[start : start + self.page], start + self.page < len(entries)

    def _hub(self, request: Request, path: str, body: bytes) -> Response:
        """https://docs.docker.com/reference/api/hub/latest/"""
        if path == "/v2/auth/token":
            if orjson.loads(body) != {"identifier": USER, "secret": SECRET}:
                return JSONResponse({"detail": "Incorrect authentication credentials"}, 401)
            return JSONResponse({"access_token": "hub-session"})
        if request.headers.get("authorization") != "Bearer hub-session":
            return JSONResponse({"message": "unauthorized"}, 401)
        if path != "/v2/namespaces/acme/repositories":
            return JSONResponse({"message": "object not found"}, 404)
        names, more = self._page(request, self.repositories)
        following = f"https://hub.docker.com{path}?page=…" if more else None
        rows = [{"name": name, "namespace": "acme", "repository_type": "image"} for name in names]
        return JSONResponse({"count": len(self.repositories), "next": following, "previous": None, "results": rows})

    def _github(self, request: Request, path: str) -> Response:
        """https://docs.github.com/en/rest/packages/packages"""
        if request.headers.get("authorization") != f"Bearer {SECRET}":
            return JSONResponse({"message": "Bad credentials"}, 401)
        if path != "/users/acme/packages" or request.query_params["package_type"] != "container":
            return JSONResponse({"message": "Not Found"}, 404)
        names, more = self._page(request, self.repositories)
        headers = {"link": f'<https://api.github.com{path}?page=2>; rel="next"'} if more else {}
        return JSONResponse([{"id": 1, "name": name, "package_type": "container"} for name in names], headers=headers)

    def _ecr(self, request: Request, body: bytes) -> Response:
        """https://docs.aws.amazon.com/AmazonECR/latest/APIReference/"""
        if not _SIGNED.fullmatch(request.headers.get("authorization", "")):
            return JSONResponse({"__type": "UnrecognizedClientException", "message": "invalid token"}, 400)
        asked = orjson.loads(body)
        start = int(asked.get("nextToken") or 0)
        answer: dict[str, Any]
        match request.headers["x-amz-target"].partition(".")[2]:
            case "GetAuthorizationToken":
                token = base64.b64encode(b"AWS:hours").decode()
                entry = {"authorizationToken": token, "proxyEndpoint": f"https://{ECR}"}
                return JSONResponse({"authorizationData": [entry]})
            case "DescribeRepositories":
                total = len(self.repositories)
                rows = [{"repositoryName": f"acme/{name}"} for name in self.repositories[start : start + self.page]]
                answer = {"repositories": rows}
            case _:
                if asked["repositoryName"].partition("/")[2] not in self.repositories:
                    return JSONResponse({"__type": "RepositoryNotFoundException"}, 400)
                total = len(self.tags)
                ids = [{"imageDigest": DIGEST, "imageTag": tag} for tag in self.tags[start : start + self.page]]
                answer = {"imageIds": ids}
        if start + self.page < total:
            answer["nextToken"] = str(start + self.page)
        return JSONResponse(answer, media_type="application/x-amz-json-1.1")

    def _google_token(self, body: bytes) -> Response:
        """https://developers.google.com/identity/protocols/oauth2/service-account"""
        fields = dict(part.split("=", 1) for part in body.decode().split("&"))
        head, claims, signature = fields["assertion"].split(".")
        self.service_account.public_key().verify(
            _decoded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256()
        )
        stated = orjson.loads(_decoded(claims))
        if unquote(fields["grant_type"]) != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return JSONResponse({"error": "unsupported_grant_type"}, 400)
        if stated["aud"] != "https://oauth2.googleapis.com/token" or not stated["scope"].endswith(".read-only"):
            return JSONResponse({"error": "invalid_scope"}, 400)
        return JSONResponse({"access_token": "google-token", "expires_in": 3599, "token_type": "Bearer"})

    def _google(self, request: Request, path: str) -> Response:
        """https://cloud.google.com/artifact-registry/docs/reference/rest"""
        if request.headers.get("authorization") != "Bearer google-token":
            return JSONResponse({"error": {"code": 401, "status": "UNAUTHENTICATED"}}, 401)
        parent = "/v1/projects/acme-prod/locations/europe-west3/repositories"
        if path == parent:
            rows = [
                {"name": f"{parent[4:]}/images", "format": "DOCKER"},
                {"name": f"{parent[4:]}/jars", "format": "MAVEN"},
            ]
            return JSONResponse({"repositories": rows})
        if path != f"{parent}/images/packages":
            return JSONResponse({"error": {"code": 404}}, 404)
        names, more = self._page(request, self.repositories, "pageToken")
        token = {"nextPageToken": str(int(request.query_params.get("pageToken", "1")) + 1)} if more else {}
        escaped = [name.replace("/", "%2F") for name in names]
        return JSONResponse({"packages": [{"name": f"{path[4:]}/{name}"} for name in escaped]} | token)

    def _gitlab(self, request: Request, path: str) -> Response:
        """https://docs.gitlab.com/api/container_registry/"""
        if request.headers.get("private-token") != SECRET:
            return JSONResponse({"message": "401 Unauthorized"}, 401)
        if not re.fullmatch(r"/api/v4/(groups/acme|projects/acme%2Fapp)/registry/repositories", path):
            return JSONResponse({"message": "404 Not found"}, 404)
        names, more = self._page(request, self.repositories)
        following = str(int(request.query_params.get("page", "1")) + 1) if more else ""
        rows = [{"id": 1, "name": "", "path": f"acme/{name}"} for name in names]
        return JSONResponse(rows, headers={"x-next-page": following})

    def _harbor(self, request: Request, path: str) -> Response:
        """https://github.com/goharbor/harbor/blob/main/api/v2.0/swagger.yaml"""
        if not _is_user(request):
            return JSONResponse({"errors": [{"code": "UNAUTHORIZED"}]}, 401)
        if path == "/api/v2.0/projects":
            names, more = self._page(request, ("acme", "empty", "other"))
        elif path == "/api/v2.0/projects/acme/repositories":
            names, more = self._page(request, (f"acme/{name}" for name in self.repositories))
        else:
            names, more = [], False
        headers = {"link": f'<{path}?page=2&page_size={self.page}>; rel="next"'} if more else {}
        return JSONResponse([{"name": name} for name in names], headers=headers)

    def _quay(self, request: Request) -> Response:
        """https://docs.quay.io/api/swagger/"""
        if request.headers.get("authorization") != f"Bearer {SECRET}":
            return JSONResponse({"error": "Unauthorized"}, 401)
        names, more = self._page(request, self.repositories, "next_page")
        rows = [{"namespace": request.query_params["namespace"], "name": name, "state": "NORMAL"} for name in names]
        token = {"next_page": str(int(request.query_params.get("next_page", "1")) + 1)} if more else {}
        return JSONResponse({"repositories": rows} | token)

    def _distribution(self, host: str, request: Request, path: str) -> Response:
        """https://github.com/opencontainers/distribution-spec"""
        realms = {
            "registry-1.docker.io": "https://auth.docker.io/token",
            "acme.azurecr.io": f"https://{host}/oauth2/token",
        }
        if path in {"/token", "/oauth2/token"}:
            return JSONResponse({"access_token": "t"} if _is_user(request) else {}, 200 if _is_user(request) else 401)
        given = request.headers.get("authorization")
        if host in realms:
            if given != "Bearer t":
                return Response(status_code=401, headers={"www-authenticate": f'Bearer realm="{realms[host]}"'})
        elif host != GAR and given is None:
            return Response(status_code=401, headers={"www-authenticate": "Basic"})
        if path.endswith("/_catalog"):
            below = "" if "artifactory" in path or "/repository/" in path else "acme/"
            # Artifactory names the next page as if nothing stood before /v2.
            return self._linked(request, "/v2/_catalog", "repositories", [below + each for each in self.repositories])
        return self._linked(request, path, "tags", list(self.tags))

    def _linked(self, request: Request, path: str, key: str, names: list[str]) -> Response:
        last = request.query_params.get("last")
        start = names.index(last) + 1 if last else 0
        page, more = names[start : start + self.page], start + self.page < len(names)
        headers = {"link": f'<{path}?n={self.page}&last={page[-1]}>; rel="next"'} if more else {}
        return JSONResponse({key: page}, headers=headers)


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _is_user(request: Request) -> bool:
    return request.headers.get("authorization") == "Basic " + base64.b64encode(f"{USER}:{SECRET}".encode()).decode()


class Leading(httpcore.AnyIOBackend):
    """A network in which every address is that of one server."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    async def connect_tcp(self, host: str, port: int, *args: Any, **options: Any) -> httpcore.AsyncNetworkStream:
        del host, port
        return await super().connect_tcp("127.0.0.1", self._port, *args, **options)


@contextmanager
def serving_providers(authority: Authority) -> Iterator[tuple[Providers, int]]:
    """The simulator and its port."""
    certificate: Path = authority.issue(*NAMES)
    listener = socket.create_server(("127.0.0.1", 0))
    providers = Providers()
    with listening(providers, listener, certificate=certificate):
        yield providers, listener.getsockname()[1]
