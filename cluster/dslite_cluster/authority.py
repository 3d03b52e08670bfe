"""Certificates and kubeconfigs, as kubeadm hands them out: one authority, a key pair for each program (RFC 5280)."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID = timedelta(days=365)
SKEW = timedelta(minutes=5)
_SIGNS = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)

Host = str | IPv4Address | IPv6Address


@dataclass(frozen=True)
class Authority:
    """Signs certificates into `folder`: ca.crt, ca.key, and NAME.crt with NAME.key for each that is issued."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls, folder: Path) -> "Authority":
        """A new authority; its files are written."""
        folder.mkdir(parents=True, exist_ok=True)
        key, name = new_key(folder / "ca.key"), _name("dslite-cluster")
        unsigned = _unsigned(name, name, key, key)
        unsigned = unsigned.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        unsigned = unsigned.add_extension(_SIGNS, critical=True)
        authority = cls(folder, key, unsigned.sign(key, hashes.SHA256()))
        authority.ca_file.write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
        return authority

    @property
    def ca_file(self) -> Path:
        return self.folder / "ca.crt"

    def issue(self, file: str, user: str, group: str | None = None, hosts: Iterable[Host] = ()) -> tuple[Path, Path]:
        """Certificate and key of a program: `user` and `group` are who it is to the API server, `hosts` what it is called as a server."""
        key = new_key(self.folder / f"{file}.key")
        unsigned = _unsigned(_name(user, group), self.certificate.subject, key, self.key)
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if names := [_alternative(host) for host in hosts]:
            unsigned = unsigned.add_extension(x509.SubjectAlternativeName(names), critical=False)
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
        signed = unsigned.add_extension(x509.ExtendedKeyUsage(usages), critical=False).sign(self.key, hashes.SHA256())
        certificate = self.folder / f"{file}.crt"
        certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        return certificate, self.folder / f"{file}.key"

    def kubeconfig(self, target: Path, server: str, user: str, group: str | None = None) -> None:
        """A kubeconfig that needs no other file, for a client of the API server at `server`."""
        certificate, key = self.issue(user.replace(":", "-"), user, group)
        named = {"cluster": "dslite", "user": user}
        cluster = {"server": server, "certificate-authority-data": _embedded(self.ca_file)}
        credentials = {"client-certificate-data": _embedded(certificate), "client-key-data": _embedded(key)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "dslite", "cluster": cluster}],
            "users": [{"name": user, "user": credentials}],
            "contexts": [{"name": "dslite", "context": named}],
            "current-context": "dslite",
        }
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch(0o600)
        target.write_text(yaml.safe_dump(document, sort_keys=False))


def new_key(file: Path) -> ec.EllipticCurvePrivateKey:
    """A P-256 key, written to a file that its owner alone may read."""
    key = ec.generate_private_key(ec.SECP256R1())
    file.touch(0o600)
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL
    file.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
    return key


def _name(user: str, group: str | None = None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, user)]
    if group:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
    return x509.Name(attributes)


def _unsigned(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, signer: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    """With the key identifiers of both (RFC 5280 4.2.1.1, 4.2.1.2), without which Python 3.13 refuses a certificate."""
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    own = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    signers = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    builder = builder.not_valid_before(now - SKEW).not_valid_after(now + VALID)
    return builder.add_extension(own, critical=False).add_extension(signers, critical=False)


def _alternative(host: Host) -> x509.GeneralName:
    return x509.DNSName(host) if isinstance(host, str) else x509.IPAddress(host)


def _embedded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
