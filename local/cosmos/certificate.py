"""The certificate of a server that speaks https: made by itself, for this machine only."""

from __future__ import annotations

import ipaddress
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path


def certificate_of(data: Path) -> Path:
    """The file that holds the certificate (and its key) of the server with this data."""
    return data.with_name(data.name + ".pem")


def certificate(data: Path) -> Path:
    """Make one, good for 127.0.0.1 and localhost and ten days; replaces an earlier one."""
    # The one user of the library; all others start without it.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Cosmos development server")])
    here: list[x509.GeneralName] = [
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.DNSName("localhost"),
    ]
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=10))
        .add_extension(x509.SubjectAlternativeName(here), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = certificate_of(data)
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        pem = serialization.Encoding.PEM
        pkcs8, open_ = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        file.write(key.private_bytes(pem, pkcs8, open_))
        file.write(made.public_bytes(pem))
    return path
