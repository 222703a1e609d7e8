"""Certificates say who somebody is, and satisfy strict verifiers."""

import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError

from tests.testbed.pki import Authority, signing_key_pair, write_private


def _verify_client(authority: Authority, certificate_pem: bytes) -> None:
    store = Store([x509.load_pem_x509_certificate(authority.pem)])
    # The library asks for an alternative name, which Kubernetes does not use in client certificates.
    names = ExtensionPolicy.webpki_defaults_ee().may_be_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
    policy = PolicyBuilder().store(store)
    policy = policy.extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=names)
    policy.build_client_verifier().verify(x509.load_pem_x509_certificate(certificate_pem), [])


def test_a_client_certificate_names_the_user_and_the_groups() -> None:
    pair = Authority.create("ca").issue_client("somebody", ["one", "two"])

    subject = x509.load_pem_x509_certificate(pair.certificate).subject
    assert [name.value for name in subject.get_attributes_for_oid(NameOID.COMMON_NAME)] == ["somebody"]
    assert [name.value for name in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)] == ["one", "two"]


def test_a_client_certificate_is_verified_by_its_authority_only() -> None:
    authority = Authority.create("ca")
    certificate = authority.issue_client("somebody").certificate

    _verify_client(authority, certificate)
    with pytest.raises(VerificationError):
        _verify_client(Authority.create("ca"), certificate)


def test_a_server_certificate_has_names_and_addresses() -> None:
    pair = Authority.create("ca").issue_server("server", ["127.0.0.1", "localhost"])

    certificate = x509.load_pem_x509_certificate(pair.certificate)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]


def test_a_loaded_authority_issues_certificates_of_the_same_authority() -> None:
    made = Authority.create("ca")
    key = made._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    certificate = Authority.load(made.pem, key).issue_client("somebody").certificate

    _verify_client(made, certificate)


def test_a_private_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("old")
    path.chmod(0o644)

    write_private(path, signing_key_pair()[1])

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
