"""TLS: certificates from granted folders only, and a new one without a restart."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from house import House, eventually
from web import Line, Web, request

from theater.errors import TheaterError

GRANTED = 'certificates = ["certs/"]'
ANYBODY = ssl.create_default_context()
ANYBODY.check_hostname = False
ANYBODY.verify_mode = ssl.CERT_NONE


def certificate(folder: Path, name: str, host: str) -> None:
    """Writes a certificate for a host and its key."""
    folder.mkdir(exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(1))
        .not_valid_after(now + datetime.timedelta(1))
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    none = serialization.NoEncryption()
    (folder / f"{name}.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, none))
    (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))


def presented(port: int, name: str = "") -> str:
    """The host of the certificate that a server presents."""
    with Line(port, tls=ANYBODY, name=name) as line:
        assert isinstance(line.socket, ssl.SSLSocket)
        der = line.socket.getpeercert(binary_form=True)
        assert der is not None
        found = x509.load_der_x509_certificate(der).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        return str(found[0].value)


@pytest.fixture(scope="module")
def certs(house: House) -> Path:
    folder = house.folder / "certs"
    certificate(folder, "one", "one.test")
    certificate(folder, "two", "two.test")
    return folder


def test_a_server_speaks_tls_and_takes_up_a_new_certificate(house: House, certs: Path) -> None:
    web = Web.started(house, "tls", GRANTED)
    certificate(certs, "mine", "old.test")
    _, port = web.tell("serve", cert="certs/mine.pem", key="certs/mine.key")
    assert presented(port) == "old.test"
    with Line(port, tls=ANYBODY) as line:
        assert line.send(request("GET", "/hello/x")).answer().body == b"Hello, x!"
        certificate(certs, "mine", "new.test")
        eventually(lambda: presented(port) == "new.test", "the new certificate is used")
        assert line.send(request("GET", "/hello/x")).answer().body == b"Hello, x!"
    (certs / "mine.pem").write_text("rubbish")
    eventually(lambda: "cannot be renewed" in house.log_text(), "it is said that the new one is of no use")
    assert presented(port) == "new.test"
    assert any(
        "https://127.0.0.1" in place for place in house.client.inspect("tls").facts["services"]["gateway"]["listens"]
    )


def test_a_key_of_another_certificate_is_refused(house: House, certs: Path) -> None:
    web = Web.started(house, "mismatch", GRANTED)
    with pytest.raises(TheaterError, match=r"one.key does not belong to the certificate .*two.pem"):
        web.tell("serve", cert="certs/two.pem", key="certs/one.key")
    with pytest.raises(TheaterError, match=r"are no certificate and its key"):
        web.tell("serve", cert="certs/two.key", key="certs/two.key")
    with pytest.raises(TheaterError, match=r"there is no file certs/none.pem"):
        web.tell("serve", cert="certs/none.pem", key="certs/one.key")


def test_certificates_come_from_granted_folders_and_nowhere_else(house: House, certs: Path) -> None:
    web = Web.started(house, "outside", GRANTED)
    certificate(house.folder, "outside", "outside.test")
    (certs / "link.pem").symlink_to(house.folder / "outside.pem")
    for path in (
        "outside.pem",
        "certs/../outside.pem",
        str(house.folder / "outside.pem"),
        "certs/link.pem",
        "/etc/passwd",
    ):
        with pytest.raises(TheaterError, match="does not grant the certificate file"):
            web.tell("serve", cert=path, key="certs/one.key")
    none = Web.started(house, "ungrant")
    with pytest.raises(TheaterError, match="certificates has no folder"):
        none.tell("serve", cert="certs/one.pem", key="certs/one.key")


def test_who_does_not_speak_tls_is_not_answered(house: House, certs: Path) -> None:
    web = Web.started(house, "plaintls", GRANTED)
    _, port = web.tell("serve", cert="certs/one.pem", key="certs/one.key")
    with Line(port) as line:
        assert line.send(request("GET", "/")).answer().status == 0


def test_actors_that_share_a_port_each_present_their_own_certificate(house: House, certs: Path) -> None:
    one = Web.started(house, "sni1", f'hosts = ["one.test"]\n{GRANTED}')
    two = Web.started(house, "sni2", f'hosts = ["two.test"]\n{GRANTED}')
    _, port = one.tell("serve", cert="certs/one.pem", key="certs/one.key")
    _, same = two.tell("serve", cert="certs/two.pem", key="certs/two.key", port=port)
    assert same == port
    assert presented(port, "one.test") == "one.test"
    assert presented(port, "two.test") == "two.test"
    with pytest.raises(TheaterError, match="one cannot speak TLS without the other"):
        Web.started(house, "sni3", 'hosts = ["three.test"]').tell("serve", port=port)
