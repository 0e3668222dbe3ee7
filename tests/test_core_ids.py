"""Keys: in the order of their making, and the same after a trip through an address."""

import string
import time
from uuid import RFC_4122, UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tradepost.core.ids import from_short_id, readable_code, secret_token, short_id, token_hash, uuid7

LETTERS_AND_DIGITS = string.ascii_letters + string.digits


def test_keys_are_in_order_and_never_twice_also_where_the_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tradepost.core.ids._last", 0)  # other tests go on from where they were
    first = uuid7()
    moments = iter([time.time_ns() + hours * 3_600_000_000_000 for hours in (0, 0, 48, 48, -24, 1, 0)] * 50)
    monkeypatch.setattr("tradepost.core.ids.time.time_ns", lambda: next(moments))
    made = [first, *(uuid7() for _ in range(350))]
    assert made == sorted(made)
    assert len(set(made)) == 351
    assert {(key.version, key.variant) for key in made} == {(7, RFC_4122)}


@given(st.uuids())
@example(UUID(int=0))
@example(UUID(int=2**128 - 1))
def test_a_short_id_comes_back_as_the_key_it_was(key: UUID) -> None:
    text = short_id(key)
    assert len(text) == 22
    assert set(text) <= set(LETTERS_AND_DIGITS)
    assert from_short_id(text) == key


@given(st.uuids(), st.uuids())
def test_short_ids_sort_as_their_keys_do(one: UUID, other: UUID) -> None:
    assert (short_id(one) < short_id(other)) == (one < other)


@given(st.text(max_size=30))
@example("")
@example("0" * 21)
@example("0" * 23)
@example("z" * 22)
@example("٣" * 22)
@example("0" * 21 + "-")
def test_text_that_no_key_was_written_as_gives_none(text: str) -> None:
    found = from_short_id(text)
    assert found is None or short_id(found) == text


def test_a_number_that_is_too_large_for_a_key_gives_none() -> None:
    assert from_short_id("z" * 22) is None


def test_keys_sort_by_the_moment_they_were_made() -> None:
    before = time.time_ns() // 1_000_000
    keys = [uuid7() for _ in range(1000)]
    after = time.time_ns() // 1_000_000
    moments = [key.int >> 80 for key in keys]
    assert moments == sorted(moments)
    assert before <= moments[0]
    assert moments[-1] <= after
    assert len(set(keys)) == 1000


def test_keys_are_version_7_of_the_rfcs_variant() -> None:
    for key in (uuid7() for _ in range(1000)):
        assert key.version == 7
        assert key.variant == "specified in RFC 4122"


def test_a_readable_code_has_nothing_that_is_taken_for_something_else() -> None:
    codes = [readable_code(10) for _ in range(500)]
    assert not set("".join(codes)) & set("01ILOU" + string.ascii_lowercase)
    assert {len(code) for code in codes} == {10}
    assert len(set(codes)) == 500


def test_a_secret_token_is_kept_as_its_sha_256() -> None:
    assert token_hash("abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    tokens = {secret_token() for _ in range(500)}
    assert len(tokens) == 500
    assert min(len(token) for token in tokens) >= 43
