"""Registries whose list of repositories is closed, each by its own API as its provider publishes it.

Credentials go to the registry itself and to the provider's own API, which is either the same host or one that is written
here beside the host of the registry it belongs to: a registry under any other host is listed as the specification says.
What every provider answers beyond that is its tags, which all of them list as the distribution specification has it,
except ECR, which tells their digests with them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

import httpx
import orjson

from schema.images.reference import DEFAULT_REGISTRY
from schema.kernel.ports import Clock, OutgoingHttp
from schema.registries.models import RegistryProvider
from schema.registries.repository import RegistryAccess
from schema.scans.failures import FailureCode, ScanFailure
from workers.oci.authorization import may_receive_credentials
from workers.oci.client import PATIENCE, Patience, RegistryClient, RegistryCredentials, presentable
from workers.oci.listing import (
    LISTING_LIMITS,
    PAGE_BYTES,
    Bound,
    Catalogue,
    DistributionCatalogue,
    ListedTag,
    ListingLimits,
    catalogue_of,
    escaped,
    is_repository,
    is_tag,
    with_query,
)
from workers.oci.signing import sign_aws, sign_google

HUB_API = "https://hub.docker.com"
GITHUB_API = "https://api.github.com"
GOOGLE_API = "https://artifactregistry.googleapis.com"
GOOGLE_TOKENS = "https://oauth2.googleapis.com/token"
_GOOGLE_SCOPE = "https://www.googleapis.com/auth/cloud-platform.read-only"
_JSON_KEYS = ("_json_key", "_json_key_base64")
_PAGE = 100  # rows; what all of these APIs allow
_ECR_HOST = re.compile(
    r"(?P<account>[0-9]{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]{1,40})\.(?P<domain>amazonaws\.com(?:\.cn)?)"
)
_GAR_HOST = re.compile(r"(?P<location>[a-z0-9-]{1,40})-docker\.pkg\.dev")
_ECR_API = "AmazonEC2ContainerRegistry_V20150921"
_ECR_REFUSALS = frozenset(
    {
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "AccessDeniedException",
        "ExpiredTokenException",
        "IncompleteSignatureException",
        "MissingAuthenticationTokenException",
    }
)
_BAD_REQUEST = frozenset({httpx.codes.BAD_REQUEST.value})
_NOT_FOUND = frozenset({httpx.codes.NOT_FOUND.value})


async def open_catalogue(
    access: RegistryAccess,
    *,
    http: OutgoingHttp,
    clock: Clock,
    patience: Patience = PATIENCE,
    limits: ListingLimits = LISTING_LIMITS,
) -> Catalogue:
    """How this registry is listed. Raises ScanFailure where that takes a login, and it is refused."""
    given = stored_credentials(access)
    credentials = await pull_credentials(access, http=http, clock=clock, patience=patience)
    client = RegistryClient(
        access.host, credentials=credentials, http=http, insecure=access.insecure, patience=patience
    )
    options = access.options
    catalogue: Catalogue
    match access.provider:
        case RegistryProvider.DOCKER_HUB if access.host == DEFAULT_REGISTRY:
            catalogue = DockerHub(client, options, limits)
        case RegistryProvider.GHCR if access.host == "ghcr.io":
            catalogue = GitHub(client, options, limits)
        case RegistryProvider.AWS_ECR if _ECR_HOST.fullmatch(access.host) and given is not None:
            catalogue = ElasticRegistry(client, options, limits, given=given, clock=clock)
        case RegistryProvider.GOOGLE_GAR if _GAR_HOST.fullmatch(access.host) and given is not None:
            catalogue = ArtifactRegistry(client, options, limits, clock=clock)
        case RegistryProvider.GITLAB if options.get("project") or options.get("namespace"):
            catalogue = GitLab(client, options, limits)
        case RegistryProvider.HARBOR:
            catalogue = Harbor(client, options, limits)
        case RegistryProvider.QUAY if options.get("namespace"):
            catalogue = Quay(client, options, limits)
        case RegistryProvider.JFROG if options.get("namespace"):
            catalogue = BelowRepository(client, options, limits, root="/artifactory/api/docker/{}/v2")
        case RegistryProvider.NEXUS if options.get("namespace"):
            catalogue = BelowRepository(client, options, limits, root="/repository/{}/v2")
        case _:
            # ACR answers its list for an OAuth token, which is asked for as for any other.
            catalogue = DistributionCatalogue(client, options, limits)
    return catalogue


def stored_credentials(access: RegistryAccess) -> RegistryCredentials | None:
    if access.username is None or access.password is None:
        return None
    return RegistryCredentials(username=access.username, password=access.password)


async def pull_credentials(
    access: RegistryAccess, *, http: OutgoingHttp, clock: Clock, patience: Patience = PATIENCE
) -> RegistryCredentials | None:
    """What the registry itself takes: at ECR a password of some hours for an access key, elsewhere what is stored."""
    given = stored_credentials(access)
    if access.provider is not RegistryProvider.AWS_ECR or not _ECR_HOST.fullmatch(access.host) or given is None:
        return given
    if given.username == "AWS":
        return given  # such a password already
    client = RegistryClient(access.host, credentials=given, http=http, insecure=access.insecure, patience=patience)
    answer = await call_ecr(client, given, "GetAuthorizationToken", {}, clock)
    entries = answer.get("authorizationData")
    first = entries[0] if isinstance(entries, list) and entries else None
    token = first.get("authorizationToken") if isinstance(first, dict) else None
    try:
        user, _, password = base64.b64decode(str(token or ""), validate=True).decode().partition(":")
    except ValueError:
        user, password = "", ""
    if not user or not password:
        raise client.failure(FailureCode.REGISTRY_PROTOCOL, "sent a token that cannot be read")
    return RegistryCredentials(username=user, password=password)


class _Provider(DistributionCatalogue):
    """What the APIs have in common: JSON, asked patiently, with headers that say who asks."""

    async def _get(
        self, url: str, *, headers: Mapping[str, str], accepts: frozenset[int] = frozenset()
    ) -> tuple[int, Any, Mapping[str, str]]:
        return await self.client.fetch_json(
            "GET",
            url,
            subject=catalogue_of(self.client),
            headers=headers,
            max_bytes=PAGE_BYTES,
            accepts=accepts,
        )

    async def _post(
        self, url: str, content: bytes, *, content_type: str, accepts: frozenset[int] = frozenset()
    ) -> tuple[int, Any, Mapping[str, str]]:
        return await self.client.fetch_json(
            "POST",
            url,
            subject=catalogue_of(self.client),
            headers={"content-type": content_type},
            content=content,
            max_bytes=PAGE_BYTES,
            accepts=accepts,
        )

    def _bound(self, what: str = "repositories") -> Bound:
        return Bound(self.client, self.limits.repositories, self.limits.pages, what)

    def _basic(self) -> dict[str, str]:
        return {"authorization": self.client.credentials.basic} if self.client.credentials else {}

    def _admitted(self, bound: Bound, names: list[str]) -> list[str]:
        return [name for name in bound.admit(names) if is_repository(self.client.host, name)]

    def _rows(self, document: object, key: str | None = None) -> list[dict[str, Any]]:
        """The objects of a list, or of the list at a key. REGISTRY_PROTOCOL for anything else."""
        listed = document.get(key) if key is not None and isinstance(document, dict) else document
        if listed is None:
            return []
        if not isinstance(listed, list):
            raise self.client.failure(FailureCode.REGISTRY_PROTOCOL, "sent a list in a form that is not known")
        return [each for each in listed if isinstance(each, dict)]

    def _required(self, option: str, example: str) -> str:
        value = self._options.get(option, "").strip("/")
        if not value:
            problem = f"lists its repositories by {option} only; set the option {option}, like {example}"
            raise self.client.failure(FailureCode.REGISTRY_PROTOCOL, problem)
        return value

    def __init__(self, client: RegistryClient, options: Mapping[str, str], limits: ListingLimits) -> None:
        super().__init__(client, options, limits)
        self._options = options

    async def _numbered(
        self, fetch: Callable[[int], Awaitable[tuple[list[str], bool]]], bound: Bound
    ) -> AsyncIterator[list[str]]:
        """Pages by number, until one says that none follows."""
        number, more = 1, True
        while more:
            names, more = await fetch(number)
            yield self._admitted(bound, names)
            number += 1
            bound.turn(number if more else "")


class DockerHub(_Provider):
    """Docker Hub API: https://docs.docker.com/reference/api/hub/latest/. `namespace`, or else the user's own."""

    async def list_repositories(self) -> AsyncIterator[list[str]]:
        credentials = self.client.credentials
        namespace = self._options.get("namespace") or (credentials.username if credentials else "")
        if not namespace:
            self._required("namespace", "library")
        headers = await self._log_in()

        async def fetch(number: int) -> tuple[list[str], bool]:
            path = f"{HUB_API}/v2/namespaces/{escaped(namespace)}/repositories"
            url = with_query(path, page=number, page_size=_PAGE)
            _, document, _ = await self._get(url, headers=headers)
            names = [f"{namespace}/{row.get('name')}" for row in self._rows(document, "results")]
            return names, isinstance(document, dict) and bool(document.get("next"))

        async for page in self._numbered(fetch, self._bound()):
            yield page

    async def _log_in(self) -> dict[str, str]:
        credentials = self.client.credentials
        if credentials is None:
            return {}
        body = orjson.dumps({"identifier": credentials.username, "secret": credentials.password})
        _, document, _ = await self._post(f"{HUB_API}/v2/auth/token", body, content_type="application/json")
        token = document.get("access_token") if isinstance(document, dict) else None
        return bearer(self.client, token)


class GitHub(_Provider):
    """GitHub REST API, packages: https://docs.github.com/en/rest/packages. `namespace` is an organization or a user."""

    async def list_repositories(self) -> AsyncIterator[list[str]]:
        credentials = self.client.credentials
        namespace = self._options.get("namespace") or (credentials.username if credentials else "")
        if not namespace:
            self._required("namespace", "acme")
        headers = {"accept": "application/vnd.github+json", "x-github-api-version": "2022-11-28"}
        if credentials is not None:
            headers |= bearer(self.client, credentials.password)
        owner = f"orgs/{escaped(namespace)}"

        async def fetch(number: int) -> tuple[list[str], bool]:
            nonlocal owner
            query = {"package_type": "container", "per_page": _PAGE, "page": number}
            accepts = _NOT_FOUND if number == 1 and owner.startswith("orgs/") else frozenset[int]()
            status, document, answer = await self._get(
                with_query(f"{GITHUB_API}/{owner}/packages", **query), headers=headers, accepts=accepts
            )
            if status == httpx.codes.NOT_FOUND:  # not an organization
                owner = f"users/{escaped(namespace)}"
                status, document, answer = await self._get(
                    with_query(f"{GITHUB_API}/{owner}/packages", **query), headers=headers
                )
            names = [f"{namespace.lower()}/{row.get('name')}" for row in self._rows(document)]
            return names, 'rel="next"' in answer.get("link", "")

        async for page in self._numbered(fetch, self._bound()):
            yield page


class ElasticRegistry(_Provider):
    """Amazon ECR API: https://docs.aws.amazon.com/AmazonECR/latest/APIReference/. The password is a secret access key."""

    def __init__(
        self,
        client: RegistryClient,
        options: Mapping[str, str],
        limits: ListingLimits,
        *,
        given: RegistryCredentials,
        clock: Clock,
    ) -> None:
        super().__init__(client, options, limits)
        self._given = given
        self._clock = clock

    async def list_repositories(self) -> AsyncIterator[list[str]]:
        bound = self._bound()
        async for answer in self._answers("DescribeRepositories", {}, bound):
            names = [str(row.get("repositoryName")) for row in self._rows(answer, "repositories")]
            inside = [name for name in names if not self._namespace or name.startswith(f"{self._namespace}/")]
            yield self._admitted(bound, inside)

    async def list_tags(self, repository: str) -> AsyncIterator[list[ListedTag]]:
        bound = Bound(self.client, self.limits.tags, self.limits.pages, f"tags in {repository}")
        asked = {"repositoryName": repository, "filter": {"tagStatus": "TAGGED"}}
        async for answer in self._answers("ListImages", asked, bound):
            digests = {str(row.get("imageTag")): row.get("imageDigest") for row in self._rows(answer, "imageIds")}
            names = [name for name in bound.admit(list(digests)) if is_tag(name)]
            yield [ListedTag(name=name, digest=as_digest(digests[name])) for name in names]

    async def _answers(self, operation: str, asked: dict[str, Any], bound: Bound) -> AsyncIterator[dict[str, Any]]:
        following: object = None
        while True:
            body = asked | {"maxResults": 1000} | ({"nextToken": following} if following else {})
            answer = await call_ecr(self.client, self._given, operation, body, self._clock)
            yield answer
            following = answer.get("nextToken")
            bound.turn(following or "")
            if not following:
                return


async def call_ecr(
    client: RegistryClient, given: RegistryCredentials, operation: str, asked: dict[str, Any], clock: Clock
) -> dict[str, Any]:
    found = _ECR_HOST.fullmatch(client.host)
    assert found is not None, "only registries of that name get here"
    host = f"api.ecr.{found['region']}.{found['domain']}"
    body = orjson.dumps(asked)
    headers = sign_aws(
        access_key=given.username,
        secret_key=given.password,
        region=found["region"],
        service="ecr",
        host=host,
        headers={"content-type": "application/x-amz-json-1.1", "x-amz-target": f"{_ECR_API}.{operation}"},
        body=body,
        now=clock(),
    )
    subject = catalogue_of(client)

    async def ask() -> dict[str, Any]:
        status, document, _ = await client.fetch_json(
            "POST",
            f"https://{host}/",
            subject=subject,
            headers=headers,
            content=body,
            max_bytes=PAGE_BYTES,
            accepts=_BAD_REQUEST,
        )
        answer = document if isinstance(document, dict) else {}
        if status == httpx.codes.OK:
            return answer
        kind = str(answer.get("__type", "")).rpartition("#")[2]
        if kind in _ECR_REFUSALS:
            raise client.refused(subject)
        if kind == "ThrottlingException":
            raise client.limited("")
        if kind == "RepositoryNotFoundException":
            raise ScanFailure(FailureCode.IMAGE_NOT_FOUND, f"The repository was not found in {client.host}")
        raise client.failure(FailureCode.REGISTRY_PROTOCOL, f"refused to {operation}")

    return await client.persistently(ask, subject)


class ArtifactRegistry(_Provider):
    """Google Artifact Registry API v1: https://cloud.google.com/artifact-registry/docs/reference/rest.

    The user is `_json_key` (or `_json_key_base64`) with a service account's key as the password, or
    `oauth2accesstoken` with a token. `project`, or else that of the service account.
    """

    def __init__(
        self, client: RegistryClient, options: Mapping[str, str], limits: ListingLimits, *, clock: Clock
    ) -> None:
        super().__init__(client, options, limits)
        self._clock = clock

    async def list_repositories(self) -> AsyncIterator[list[str]]:
        account = self._account()
        project = self._options.get("project") or str(account.get("project_id") or "")
        if not project:
            self._required("project", "acme-prod")
        found = _GAR_HOST.fullmatch(self.client.host)
        assert found is not None, "only registries of that name get here"
        headers = await self._log_in(account)
        parent = f"{GOOGLE_API}/v1/projects/{escaped(project)}/locations/{found['location']}/repositories"
        bound = self._bound()
        async for rows in self._tokened(parent, "repositories", headers):
            for row in rows:
                repository = str(row.get("name")).rpartition("/")[2]
                if row.get("format") != "DOCKER" or (self._namespace and repository != self._namespace):
                    continue
                below = f"{parent}/{escaped(repository)}/packages"
                async for packages in self._tokened(below, "packages", headers):
                    # Slashes of an image's name come escaped.
                    names = [str(each.get("name")).rpartition("/")[2].replace("%2F", "/") for each in packages]
                    yield self._admitted(bound, [f"{project}/{repository}/{name}" for name in names])
                    bound.turn("" if not packages else f"{repository}/{names[0]}")

    async def _tokened(self, url: str, key: str, headers: Mapping[str, str]) -> AsyncIterator[list[dict[str, Any]]]:
        bound, following = self._bound(), ""
        while True:
            _, document, _ = await self._get(with_query(url, pageSize=_PAGE, pageToken=following), headers=headers)
            yield self._rows(document, key) if isinstance(document, dict) else []
            following = str(document.get("nextPageToken") or "") if isinstance(document, dict) else ""
            bound.turn(following)
            if not following:
                return

    def _account(self) -> dict[str, Any]:
        credentials = self.client.credentials
        assert credentials is not None
        if credentials.username not in _JSON_KEYS:
            return {}
        try:
            text = credentials.password.encode()
            parsed = orjson.loads(base64.b64decode(text) if credentials.username.endswith("64") else text)
        except ValueError:
            parsed = None
        if not isinstance(parsed, dict):
            problem = "takes the key of a service account, in JSON, as the password of _json_key"
            raise self.client.failure(FailureCode.REGISTRY_UNAUTHORIZED, problem)
        return parsed

    async def _log_in(self, account: dict[str, Any]) -> dict[str, str]:
        credentials = self.client.credentials
        assert credentials is not None
        if credentials.username not in _JSON_KEYS:
            return bearer(self.client, credentials.password)
        assertion = sign_google(
            email=str(account.get("client_email")),
            private_key=str(account.get("private_key")),
            audience=GOOGLE_TOKENS,  # not the address the key file names: that could be anybody's
            scope=_GOOGLE_SCOPE,
            now=self._clock(),
        )
        if assertion is None:
            problem = "takes the key of a service account, and the private key in this one cannot be read"
            raise self.client.failure(FailureCode.REGISTRY_UNAUTHORIZED, problem)
        body = f"grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={assertion}".encode()
        status, document, _ = await self._post(
            GOOGLE_TOKENS, body, content_type="application/x-www-form-urlencoded", accepts=_BAD_REQUEST
        )
        if status != httpx.codes.OK:
            raise self.client.refused(catalogue_of(self.client))
        return bearer(self.client, document.get("access_token") if isinstance(document, dict) else None)


class GitLab(_Provider):
    """GitLab REST API v4, container registry: https://docs.gitlab.com/api/container_registry/.

    By `project`, or `namespace` for a group; either is a path or a number. The password is a token with `read_api`.
    """

    async def list_repositories(self) -> AsyncIterator[list[str]]:
        project, group = self._options.get("project", "").strip("/"), self._namespace
        below = f"projects/{escaped(project)}" if project else f"groups/{escaped(group)}"
        api = gitlab_api(self.client.base)
        credentials = self.client.credentials
        headers = {}
        if credentials is not None and may_receive_credentials(api, self.client.base):
            bearer(self.client, credentials.password)  # whether it can stand in a header
            headers = {"private-token": credentials.password}

        async def fetch(number: int) -> tuple[list[str], bool]:
            path = f"{api}/api/v4/{below}/registry/repositories"
            _, document, answer = await self._get(with_query(path, page=number, per_page=_PAGE), headers=headers)
            return [str(row.get("path")) for row in self._rows(document)], bool(answer.get("x-next-page"))

        async for page in self._numbered(fetch, self._bound()):
            yield page


def gitlab_api(registry: str) -> str:
    """Where GitLab answers whose registry this is, as its installation guide names the hosts.

    `registry.gitlab.com` -> `gitlab.com`, `registry.gitlab.acme.dev` -> `gitlab.acme.dev`, `registry.acme.dev` ->
    `gitlab.acme.dev`, and a registry on a port of its own (5050) belongs to the same host's.
    """
    url = httpx.URL(registry)
    domain = url.host.removeprefix("registry.")
    if domain == url.host:
        is_own_port = url.port == 5050  # noqa: PLR2004 -- the port GitLab gives its registry
        return str(url.copy_with(port=None) if is_own_port else url).rstrip("/")
    host = domain if domain.startswith("gitlab.") else f"gitlab.{domain}"
    return f"{url.scheme}://{host}{f':{url.port}' if url.port else ''}"


class Harbor(_Provider):
    """Harbor API v2.0: https://goharbor.io/docs/latest/working-with-projects/using-api-explorer/. All, or one `project`."""

    async def list_repositories(self) -> AsyncIterator[list[str]]:
        api = f"{self.client.base}/api/v2.0"
        bound, projects = self._bound(), self._bound("projects")
        only = self._options.get("project") or self._options.get("namespace")
        names: AsyncIterator[list[str]] = self._one(only) if only else self._pages_of(f"{api}/projects", projects)
        async for page in names:
            for project in page:
                # A slash in a name is escaped twice, as Harbor's own pages do; a project has none.
                path = f"{api}/projects/{escaped(project)}/repositories"
                async for repositories in self._pages_of(path, self._bound()):
                    yield self._admitted(bound, repositories)
                    bound.turn(f"{project}:{repositories[0]}" if repositories else "")

    async def _one(self, project: str) -> AsyncIterator[list[str]]:
        yield [project]

    async def _pages_of(self, path: str, bound: Bound) -> AsyncIterator[list[str]]:
        """The names in a list of Harbor's, page by page."""
        number = 1
        while True:
            url = with_query(path, page=number, page_size=_PAGE)
            _, document, answer = await self._get(url, headers=self._basic())
            rows = self._rows(document)
            yield [str(row.get("name")) for row in rows]
            number += 1
            more = 'rel="next"' in answer.get("link", "")
            bound.turn(number if more else "")
            if not more:
                return


class Quay(_Provider):
    """Quay API v1: https://docs.quay.io/api/. The password of `$oauthtoken` is an application's token.

    A robot account may not use that API; with one, public repositories of the `namespace` are listed.
    """

    async def list_repositories(self) -> AsyncIterator[list[str]]:
        credentials = self.client.credentials
        headers = {}
        if credentials is not None and credentials.username == "$oauthtoken":
            headers = bearer(self.client, credentials.password)
        bound, following = self._bound(), ""
        while True:
            url = with_query(f"{self.client.base}/api/v1/repository", namespace=self._namespace, next_page=following)
            _, document, _ = await self._get(url, headers=headers)
            rows = self._rows(document, "repositories")
            yield self._admitted(bound, [f"{row.get('namespace')}/{row.get('name')}" for row in rows])
            following = str(document.get("next_page") or "") if isinstance(document, dict) else ""
            bound.turn(following)
            if not following:
                return


class BelowRepository(DistributionCatalogue):
    """Artifactory and Nexus: many registries behind one host, each below the name of a repository, the `namespace`."""

    def __init__(self, client: RegistryClient, options: Mapping[str, str], limits: ListingLimits, *, root: str) -> None:
        super().__init__(client, {}, limits)
        key = options["namespace"].strip("/")
        self._root = root.format(escaped(key))
        self._prefix = f"{key}/"


def as_digest(value: object) -> str | None:
    return value if isinstance(value, str) and re.fullmatch(r"sha256:[0-9a-f]{64}", value) else None


def bearer(client: RegistryClient, token: object) -> dict[str, str]:
    """REGISTRY_UNAUTHORIZED for what cannot stand in a header."""
    if not isinstance(token, str) or not presentable(token):
        raise client.failure(FailureCode.REGISTRY_UNAUTHORIZED, "takes an access token, and this is none")
    return {"authorization": f"Bearer {token}"}
