"""Which keys wrap and unwrap: the first that is configured wraps, all of them unwrap what they wrapped once."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from pydantic import SecretStr

from app.key_services import KmsAccess, KmsKeyProvider, VaultAccess, VaultKeyProvider, key_client
from app.keys import FileKeyProvider, MasterKeyError
from app.settings import KeyService, Settings
from schema.kernel.clock import utc_now
from schema.kernel.ports import KeyProvider


class KeyRing:
    """Implements `schema.kernel.ports.KeyProvider` on several."""

    def __init__(self, newest: KeyProvider, older: Sequence[KeyProvider] = ()) -> None:
        self._newest = newest
        self._known = {provider.key_id: provider for provider in (*reversed(older), newest)}

    @property
    def key_id(self) -> str:
        return self._newest.key_id

    async def wrap(self, data_key: bytes, *, context: bytes) -> bytes:
        return await self._newest.wrap(data_key, context=context)

    async def unwrap(self, wrapped: bytes, *, key_id: str, context: bytes) -> bytes:
        """Raises ValueError naming the key when it is none of these."""
        provider = self._known.get(key_id)
        if provider is None:
            msg = f"the secret was sealed under the key {key_id}, this server has {', '.join(self._known)}"
            raise ValueError(msg)
        return await provider.unwrap(wrapped, key_id=key_id, context=context)


@asynccontextmanager
async def open_keys(settings: Settings) -> AsyncIterator[KeyRing]:
    """The ring of the settings; its connections are closed when the block ends. Raises MasterKeyError."""
    async with key_client(settings.outgoing_ca_bundle) as client:
        providers: list[KeyProvider] = []
        for service in settings.key_provider:
            match service:
                case KeyService.FILE:
                    providers += _file_keys(settings)
                case KeyService.VAULT:
                    providers.append(VaultKeyProvider(_vault(settings), client))
                case KeyService.AWS_KMS:
                    providers.append(KmsKeyProvider(_kms(settings), client, clock=utc_now))
        yield KeyRing(providers[0], providers[1:])


def _file_keys(settings: Settings) -> list[FileKeyProvider]:
    """Wrapping keys of their own, and at last the one that is derived from the master key."""
    given = _shown(settings.wrapping_keys).split(",")
    keys = [key.strip() for key in given if key.strip()]
    return [FileKeyProvider(settings.data_dir, key) for key in keys] + [
        FileKeyProvider(settings.data_dir, _shown(settings.master_key) or None)
    ]


def _vault(settings: Settings) -> VaultAccess:
    token = _shown(settings.key_vault_token)
    if not settings.key_vault_url or not (token or settings.key_vault_token_file):
        raise MasterKeyError(
            "The key provider vault needs HARBORGUARD_KEY_VAULT_URL, and HARBORGUARD_KEY_VAULT_TOKEN or _TOKEN_FILE"
        )
    return VaultAccess(
        url=settings.key_vault_url,
        mount=settings.key_vault_mount,
        key=settings.key_vault_key,
        token=token,
        token_file=settings.key_vault_token_file,
        namespace=settings.key_vault_namespace or None,
    )


def _kms(settings: Settings) -> KmsAccess:
    secret = _shown(settings.key_kms_secret_access_key)
    if not (settings.key_kms_key and settings.key_kms_region and settings.key_kms_access_key_id and secret):
        raise MasterKeyError(
            "The key provider aws-kms needs HARBORGUARD_KEY_KMS_KEY, _REGION, _ACCESS_KEY_ID and _SECRET_ACCESS_KEY"
        )
    return KmsAccess(
        key=settings.key_kms_key,
        region=settings.key_kms_region,
        access_key_id=settings.key_kms_access_key_id,
        secret_access_key=secret,
        session_token=_shown(settings.key_kms_session_token) or None,
        endpoint=settings.key_kms_endpoint or None,
    )


def _shown(secret: SecretStr | None) -> str:
    return "" if secret is None else secret.get_secret_value()
