"""Signatures that clouds ask for instead of a password. Pure: keys, text and time in, headers out."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime

import orjson
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

_ALGORITHM = "AWS4-HMAC-SHA256"
_ASSERTION_SECONDS = 600


def sign_aws(
    *,
    access_key: str,
    secret_key: str,
    region: str,
    service: str,
    host: str,
    headers: dict[str, str],
    body: bytes,
    now: datetime,
) -> dict[str, str]:
    """The headers of a POST to "/" with AWS Signature Version 4 (AWS General Reference, "Create a signed request")."""
    moment = now.strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    signed = {**{name.lower(): value for name, value in headers.items()}, "host": host, "x-amz-date": moment}
    names = ";".join(sorted(signed))
    canonical = "".join(f"{name}:{signed[name].strip()}\n" for name in sorted(signed))
    request = f"POST\n/\n\n{canonical}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    text = f"{_ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{secret_key}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.new(key, text.encode(), "sha256").hexdigest()
    credential = f"{access_key}/{scope}"
    authorization = f"{_ALGORITHM} Credential={credential}, SignedHeaders={names}, Signature={signature}"
    return {name: value for name, value in signed.items() if name != "host"} | {"authorization": authorization}


def sign_google(*, email: str, private_key: str, audience: str, scope: str, now: datetime) -> str | None:
    """The assertion of a service account (RFC 7523, RS256); None when the key is no RSA key in PEM."""
    try:
        key = serialization.load_pem_private_key(private_key.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    if not isinstance(key, rsa.RSAPrivateKey):
        return None
    issued = int(now.timestamp())
    claims = {"iss": email, "scope": scope, "aud": audience, "iat": issued, "exp": issued + _ASSERTION_SECONDS}
    parts = (orjson.dumps({"alg": "RS256", "typ": "JWT"}), orjson.dumps(claims))
    text = b".".join(_unpadded(part) for part in parts)
    signature = key.sign(text, padding.PKCS1v15(), hashes.SHA256())
    return b".".join((text, _unpadded(signature))).decode()


def _unpadded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
