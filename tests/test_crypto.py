"""The key ring: what it encrypts comes back, and nothing else does."""

import base64
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradepost.core.crypto import BadKey, Key, KeyMissing, Keyring, NotDecryptable, open_keyring

OLD, NEW = b"o" * 32, b"n" * 32


def as_setting(*secrets: bytes) -> str:
    return ",".join(base64.b64encode(s).decode() for s in secrets)


@given(st.text(), st.sampled_from(["users.phone", "verifications.data", ""]))
def test_what_is_encrypted_comes_back(text: str, purpose: str) -> None:
    ring = Keyring.from_secret("k", NEW)
    assert ring.decrypt(ring.encrypt(text, purpose), purpose) == text


def test_the_same_text_never_encrypts_to_the_same_bytes() -> None:
    ring = Keyring.from_secret("k", NEW)
    assert len({ring.encrypt("+263 77 123 4567", "users.phone") for _ in range(100)}) == 100


def test_the_stored_form_is_version_key_id_nonce_and_ciphertext() -> None:
    value = Keyring.from_secret("2026", NEW).encrypt("five!", "users.phone")
    assert value[:6] == b"\x01\x042026"
    assert len(value) == 6 + 12 + len("five!") + 16


def test_a_value_does_not_decrypt_for_another_purpose() -> None:
    ring = Keyring.from_secret("k", NEW)
    value = ring.encrypt("secret", "users.phone")
    with pytest.raises(NotDecryptable) as refused:
        ring.decrypt(value, "users.address")
    assert refused.value.purpose == "users.address"


def test_no_single_changed_byte_goes_unnoticed() -> None:
    ring = Keyring.from_secret("k", NEW)
    value = ring.encrypt("secret", "p")
    for place in range(len(value)):
        changed = bytearray(value)
        changed[place] ^= 1
        with pytest.raises((NotDecryptable, KeyMissing)):
            ring.decrypt(bytes(changed), "p")


@pytest.mark.parametrize(
    "value", [b"", b"\x01", b"\x02\x01k" + b"0" * 40, b"\x01\xff" + b"0" * 40, b"\x01\x01\xff" + b"0" * 40]
)
def test_bytes_that_are_no_encrypted_value_are_refused(value: bytes) -> None:
    with pytest.raises(NotDecryptable):
        Keyring.from_secret("k", NEW).decrypt(value, "p")


def test_after_rotation_the_newest_key_encrypts_and_the_old_values_are_read() -> None:
    before = Keyring.from_text(as_setting(OLD), "test")
    written = before.encrypt("hello", "p")
    after = Keyring.from_text(as_setting(NEW, OLD), "test")
    assert after.decrypt(written, "p") == "hello"
    assert not after.is_current(written)
    assert after.is_current(after.encrypt("hello", "p"))
    assert after.blind_index("hello", "p") == before.blind_index("hello", "p")


def test_a_value_of_a_dropped_key_names_the_key_that_is_missing() -> None:
    old = Keyring.from_text(as_setting(OLD), "test")
    written = old.encrypt("hello", "p")
    with pytest.raises(KeyMissing) as refused:
        Keyring.from_text(as_setting(NEW), "test").decrypt(written, "p")
    assert refused.value.key_id == old.key_ids[0]
    assert old.key_ids[0] in refused.value.message


def test_a_blind_index_depends_on_text_purpose_and_key_only() -> None:
    ring = Keyring.from_secret("k", NEW)
    index = ring.blind_index("+263771234567", "users.phone")
    assert len(index) == 32
    assert index == Keyring.from_secret("other id", NEW).blind_index("+263771234567", "users.phone")
    assert index != ring.blind_index("+263771234567", "users.other")
    assert index != ring.blind_index("+263771234568", "users.phone")
    assert index != Keyring.from_secret("k", OLD).blind_index("+263771234567", "users.phone")


def test_derived_keys_differ_by_purpose() -> None:
    ring = Keyring.from_secret("k", NEW)
    assert ring.derived_key("forms") == ring.derived_key("forms")
    assert len({ring.derived_key("forms"), ring.derived_key("links"), ring.blind_index("", "forms"), NEW}) == 4


@pytest.mark.parametrize(
    ("setting", "problem"),
    [("not base64!", "base64"), (as_setting(b"short"), "5 bytes"), (as_setting(NEW) + ",é", "base64"), (",", "empty")],
)
def test_an_unusable_setting_says_what_is_wrong_and_how_to_make_a_key(
    setting: str, problem: str, tmp_path: Path
) -> None:
    with pytest.raises(BadKey) as refused:
        open_keyring(setting, tmp_path)
    assert problem in refused.value.message
    assert "secret_key" in refused.value.message
    assert "openssl rand -base64 32" in refused.value.message
    assert as_setting(NEW) not in refused.value.message
    assert list(tmp_path.iterdir()) == []


def test_a_key_shows_nothing_of_its_secret() -> None:
    assert repr(Key("2026", NEW)) == "Key('2026')"


def test_url_safe_base64_without_padding_is_the_same_key() -> None:
    secret = bytes(range(200, 232))
    standard = Keyring.from_text(base64.b64encode(secret).decode(), "a")
    assert Keyring.from_text(base64.urlsafe_b64encode(secret).decode().rstrip("="), "b").key_ids == standard.key_ids


def test_a_first_start_makes_a_key_file_that_only_its_owner_reads(tmp_path: Path) -> None:
    first = open_keyring("", tmp_path)
    (file,) = tmp_path.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    second = open_keyring("", tmp_path)
    assert second.decrypt(first.encrypt("kept", "p"), "p") == "kept"


def test_a_line_added_in_front_of_the_key_file_rotates(tmp_path: Path) -> None:
    written = open_keyring("", tmp_path).encrypt("kept", "p")
    file = tmp_path / "keys"
    file.write_text(as_setting(NEW) + "\n" + file.read_text())
    ring = open_keyring("", tmp_path)
    assert ring.decrypt(written, "p") == "kept"
    assert not ring.is_current(written)


def test_processes_that_start_at_once_share_one_key(tmp_path: Path) -> None:
    code = "import sys, pathlib; from tradepost.core.crypto import open_keyring; print(open_keyring('', pathlib.Path(sys.argv[1])).key_ids)"
    command = [sys.executable, "-c", code, str(tmp_path)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]  # noqa: S603  # our own interpreter
    assert len({process.communicate()[0] for process in started}) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["keys"]
