"""Settings: environment variables `HARBORGUARD_*`, or the same names in lower case in `harborguard.toml`.

Every field's description is its documentation: docs/reference/configuration.md is generated from here.
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from schema.advisories.catalog import find_feed, read_mirrors
from schema.kernel.errors import HarborGuardError
from schema.kernel.plans import PlanLimits
from schema.organizations.models import Plan
from schema.registries.models import RegistryProvider

Network = IPv4Network | IPv6Network
GIB = 1024**3
MIB = 1024**2


class LogFormat(StrEnum):
    JSON = "json"
    CONSOLE = "console"


class KeyService(StrEnum):
    """What wraps the keys of stored secrets."""

    FILE = "file"
    VAULT = "vault"
    AWS_KMS = "aws-kms"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def _tool(name: str) -> Any:
    return Field(
        default="", description=f"{name}'s program: a path, or `off`. Default: the one on PATH, if there is one."
    )


class Settings(BaseSettings):
    """Defaults start the embedded product: one process, SQLite, an in-process queue, nothing else to install."""

    model_config = SettingsConfigDict(
        env_prefix="HARBORGUARD_", toml_file="harborguard.toml", extra="forbid", frozen=True, validate_default=True
    )

    data_dir: Path = Field(
        default=Path("var/harborguard"),
        description="Directory of everything that must outlive the process: the SQLite database, uploads, the key file. "
        "At scale all machines share it (uploads) and get the same master key.",
    )
    work_dir: Path | None = Field(
        default=None,
        description="Scratch space of workers; may be local and volatile. Default: `work` in the data directory.",
    )
    database_url: str = Field(
        default="",
        description="`postgresql+asyncpg://user:password@host/name` at scale. Default: a SQLite file in the data directory.",
    )
    redis_url: str = Field(
        default="",
        description="`redis://…`, `rediss://…` or `unix://…` at scale. Default: none; the queue and a worker run in-process.",
    )
    host: str = Field(default="127.0.0.1", description="Address `harborguard serve` listens on.")
    port: int = Field(
        default=8000, ge=0, le=65535, description="Port `harborguard serve` listens on; 0 picks a free one."
    )
    public_url: str = Field(
        default="", description="Where users reach the service. With `https://` cookies are Secure and HSTS is sent."
    )
    master_key: SecretStr | None = Field(
        default=None,
        description="32 bytes, base64: wraps stored secrets and keys tokens. Default: a key file made on first start in the "
        "data directory; losing it makes stored secrets and all tokens unusable.",
    )
    key_provider: Annotated[tuple[KeyService, ...], NoDecode] = Field(
        default=(KeyService.FILE,),
        min_length=1,
        description="What wraps the keys of stored secrets: `file`, `vault`, `aws-kms`. Of several, comma-separated, the first "
        "wraps and the others still unwrap, until `harborguard keys rotate` has been run.",
    )
    wrapping_keys: SecretStr | None = Field(
        default=None,
        description="Of the provider `file`: wrapping keys of their own (32 bytes, base64), comma-separated, the newest first. "
        "Default: one derived from the master key, which always still unwraps.",
    )
    key_vault_url: str = Field(default="", description="HashiCorp Vault, like `https://vault.example:8200`.")
    key_vault_token: SecretStr | None = Field(
        default=None, description="Token that may encrypt and decrypt with the key."
    )
    key_vault_token_file: Path | None = Field(
        default=None, description="File that holds the token, read at every use; an agent may renew it."
    )
    key_vault_namespace: str = Field(default="", description="Namespace, of Vault Enterprise.")
    key_vault_mount: str = Field(default="transit", description="Where the transit engine is mounted.")
    key_vault_key: str = Field(default="harborguard", description="The key's name; its type is `aes256-gcm96`.")
    key_kms_key: str = Field(default="", description="AWS KMS: id, ARN or alias of a symmetric key.")
    key_kms_region: str = Field(default="", description="Its region, like `eu-central-1`.")
    key_kms_access_key_id: str = Field(default="", description="Access key that may Encrypt and Decrypt with it.")
    key_kms_secret_access_key: SecretStr | None = Field(default=None, description="Its secret.")
    key_kms_session_token: SecretStr | None = Field(default=None, description="Its session token, if it has one.")
    key_kms_endpoint: str = Field(
        default="", description="Address of the service, such as a private endpoint. Default: the region's own."
    )
    signing_key_file: Path | None = Field(
        default=None,
        description="Private key in PEM that signs statements about scans: ECDSA, Ed25519 or RSA. Default: nothing is signed.",
    )
    signing_key_password: SecretStr | None = Field(default=None, description="Its password, if it has one.")
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = Field(
        default=(), description="Networks whose `X-Forwarded-For` is believed, comma-separated."
    )
    rate_limit_per_minute: int = Field(
        default=600,
        ge=1,
        description="General budget of calls a minute, per credential (anonymous: per client address).",
    )
    session_idle_minutes: int = Field(
        default=720, ge=5, description="A session ends after this long without a request."
    )
    session_absolute_hours: int = Field(default=168, ge=1, description="A session ends after this long in any case.")
    max_upload_bytes: int = Field(
        default=5 * GIB, ge=MIB, description="Largest image archive that may be uploaded, in bytes."
    )
    max_report_bytes: int = Field(
        default=128 * MIB, ge=MIB, description="Largest report of another tool that may be imported, in bytes."
    )
    native_fallback: bool = Field(
        default=True,
        description="Whether the native provider answers for requested engines whose tool is not installed. "
        "Off: such an engine is SKIPPED with the reason.",
    )
    engine_trivy: str = _tool("Trivy")
    engine_grype: str = _tool("Grype")
    engine_syft: str = _tool("Syft")
    engine_dockle: str = _tool("Dockle")
    engine_osv: str = _tool("OSV-Scanner")
    engine_dive: str = _tool("Dive")
    engine_databases: Path | None = Field(
        default=None,
        description="Directory with the tools' own databases: `trivy/db`, `grype/db`, `osv-scanner`. "
        "Default: the cache directory of the user the service runs as (`~/.cache`).",
    )
    engine_concurrency: int = Field(default=2, ge=1, le=6, description="Tools at a time, for one scan.")
    engine_timeout_seconds: int = Field(default=600, ge=5, description="Time for one run of a tool, in seconds.")
    engine_memory_bytes: int = Field(default=2 * GIB, ge=256 * MIB, description="Memory of one tool, in bytes.")
    outgoing_allowed_networks: Annotated[tuple[Network, ...], NoDecode] = Field(
        default=(),
        description="Private networks tenants may make the service connect to (registries), comma-separated. "
        "Everything that is not a public address is blocked otherwise.",
    )
    outgoing_ca_bundle: Path | None = Field(
        default=None, description="Extra certificate authorities for outgoing TLS, as a PEM file."
    )
    advisory_feeds: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Advisory feeds to follow, comma-separated: `osv:PyPI`, `debian`, `alpine:v3.20`, `ubuntu`, `redhat`, "
        "`nvd:2026`, `kev`, `epss`. `harborguard advisories update` without names updates these.",
    )
    advisory_refresh_hours: float = Field(
        default=0,
        ge=0,
        description="How often workers look for changes of `advisory_feeds`, in hours; 0: never, nothing is fetched by itself.",
    )
    advisory_mirrors: str = Field(
        default="",
        description="Addresses to fetch feeds from instead, as `publisher=address`, comma-separated: "
        "`osv=https://mirror.example/osv/{name}/all.zip`.",
    )
    worker_concurrency: int = Field(default=2, ge=1, le=64, description="Scans at a time in one worker process.")
    organization_concurrency: int | None = Field(
        default=None,
        ge=1,
        description="Scans of one organization at a time, in all worker processes together. Default: as many as there is "
        "room for; organizations that wait take turns in any case.",
    )
    scan_timeout_seconds: int = Field(default=1800, ge=10, description="A scan that takes longer is FAILED.")
    lease_seconds: float = Field(
        default=30.0, ge=2, description="A worker that is silent for this long has lost its jobs to the others."
    )
    reconcile_seconds: float = Field(
        default=5.0, ge=0.2, description="How often orphaned and unannounced jobs are looked for."
    )
    image_unpacked_bytes: int = Field(
        default=20 * GIB, ge=MIB, description="Largest image, unpacked, in bytes; counted on bytes actually read."
    )
    analysis_memory_bytes: int = Field(
        default=512 * MIB, ge=128 * MIB, description="Memory of the child process that reads an image, in bytes."
    )
    analysis_timeout_seconds: int = Field(default=600, ge=5, description="Time for reading one image, in seconds.")
    plan_limits: dict[Plan, PlanLimits] = Field(
        default_factory=dict,
        description="What plans hold, as JSON, where it is to be other than the default: "
        '`{"FREE": {"registries": 2, "scans_per_month": 500, "members": 5}}`. What is left out of a plan has no limit.',
    )
    url: str = Field(
        default="",
        description="Server that `harborguard scan`, `upload` and `sensor` ask, like `https://harborguard.example`. "
        "Default: none; it scans in its own process.",
    )
    api_key: SecretStr | None = Field(default=None, description="API key or token they ask with.")
    api_key_file: str = Field(default="", description="File that holds it, instead.")
    sensor_name: str = Field(default="", description="What a sensor calls itself. Default: the name of its machine.")
    sensor_registry: str = Field(
        default="",
        description="A sensor's registry, like `registry.internal:5000`, or `http://…` without TLS: it scans no other, reports "
        "what is in it, and may connect to private networks. Default: none; it scans what it is asked to.",
    )
    sensor_registry_provider: RegistryProvider | None = Field(
        default=None, description="Its provider, where the address does not tell, like `HARBOR`."
    )
    sensor_registry_namespace: str = Field(
        default="", description="The project, group or repository it is listed for, where its provider needs one."
    )
    sensor_registry_username: str = Field(
        default="",
        description="User to pull as; the server is then not asked for credentials. Default: it hands them over with each "
        "job, sealed for this sensor.",
    )
    sensor_registry_password: SecretStr | None = Field(default=None, description="The password or token.")
    sensor_poll_seconds: float = Field(default=5.0, ge=1, description="How often a sensor asks for work.")
    sensor_discovery_minutes: float = Field(default=10.0, ge=1, description="How often it lists its registry.")
    log_format: LogFormat = Field(default=LogFormat.JSON, description="`json` for machines, `console` for people.")
    log_level: LogLevel = Field(default=LogLevel.INFO, description="Least level that is logged.")

    @field_validator("trusted_proxies", "outgoing_allowed_networks", "advisory_feeds", "key_provider", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("advisory_feeds")
    @classmethod
    def _known_feeds(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            return tuple(dict.fromkeys(find_feed(name).name for name in value))
        except HarborGuardError as error:
            raise ValueError(error.message) from None

    @field_validator("advisory_mirrors")
    @classmethod
    def _known_mirrors(cls, value: str) -> str:
        read_mirrors(value)
        return value

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        if value and not value.startswith(("postgresql+asyncpg://", "sqlite+aiosqlite:///")):
            msg = "must start with postgresql+asyncpg:// or sqlite+aiosqlite:///"
            raise ValueError(msg)
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite+aiosqlite:///{self.data_dir.absolute() / 'harborguard.db'}"

    @property
    def scratch(self) -> Path:
        return (self.work_dir or self.data_dir / "work").absolute()

    @property
    def embedded(self) -> bool:
        """One process, with the queue and a worker in it."""
        return not self.redis_url
