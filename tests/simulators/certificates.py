"""A certificate authority of our own, for servers that speak TLS on loopback."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, kw_only=True)
class Authority:
    """`bundle` is the PEM file a client trusts."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate
    bundle: Path

    def issue(self, name: str, *others: str, days: int = 1) -> Path:
        """A PEM file of a certificate for DNS names and its key, for a server to show; negative days: expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _draft(name, key, issuer=self.certificate.subject, days=days)
            .add_extension(
                x509.SubjectAlternativeName([x509.DNSName(each) for each in (name, *others)]), critical=False
            )
            .sign(self.key, hashes.SHA256())
        )
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = self.bundle.with_name(f"{name}.pem")
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
        return path


def new_authority(directory: Path) -> Authority:
    """Its files are written to the directory."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    certificate = (
        _draft("test authority", key, issuer=subject, days=1)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    bundle = directory / "authority.pem"
    bundle.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return Authority(key=key, certificate=certificate, bundle=bundle)


def _draft(name: str, key: ec.EllipticCurvePrivateKey, *, issuer: x509.Name, days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=9))
        .not_valid_after(now + timedelta(days=days))
    )
