"""The coordinator's own certificate authority, and the SuperLink's certificate by it.

Sites trust this authority for this coordinator and nothing else, and no public authority for it.
"""

import ipaddress
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS = 3650
SERVER_DAYS = 397
LOOPBACK = ("localhost", "127.0.0.1")

PrivateKey = ec.EllipticCurvePrivateKey


def new_key() -> PrivateKey:
    """A fresh EC key on P-384."""
    return ec.generate_private_key(ec.SECP384R1())


def private_pem(key: PrivateKey) -> bytes:
    """A private key in PEM, unencrypted: its file has to be mode 0600."""
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    return key.private_bytes(*form, serialization.NoEncryption())


def key_from_pem(pem: bytes) -> PrivateKey:
    """A private key from PEM.

    Raises:
        ValueError: it is none, or of another kind.
    """
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not an EC key")
    return key


def certificate_from_pem(pem: bytes) -> x509.Certificate:
    """A certificate from PEM.

    Raises:
        ValueError: it is none.
    """
    return x509.load_pem_x509_certificate(pem)


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """A certificate in PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def authority(name: str, key: PrivateKey, now: datetime) -> x509.Certificate:
    """A self-signed authority that may sign servers and no further authority.

    Args:
        name: of the federation.
        key: of the authority.
        now: with its time zone; valid from an hour before, for clocks that differ.
    """
    subject = _name(f"{name} authority")
    builder = _builder(subject, subject, key.public_key(), now, AUTHORITY_DAYS)
    return (
        builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
        .sign(key, hashes.SHA384())
    )


def server_certificate(
    issuer: x509.Certificate, issuer_key: PrivateKey, key: PrivateKey, host: str, now: datetime
) -> x509.Certificate:
    """A certificate for the SuperLink at a host, and at the loopback beside it.

    Args:
        issuer: the authority's certificate.
        issuer_key: the authority's key.
        key: of the SuperLink.
        host: a name or an address.
        now: with its time zone.
    """
    builder = _builder(_name(host), issuer.subject, key.public_key(), now, SERVER_DAYS)
    names = [_alternative(name) for name in dict.fromkeys((host, *LOOPBACK))]
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        .add_extension(_usage(digital_signature=True), True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
        .add_extension(x509.SubjectAlternativeName(names), False)
        .add_extension(above, False)
        .sign(issuer_key, hashes.SHA384())
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    now: datetime,
    days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name[:64])])


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
