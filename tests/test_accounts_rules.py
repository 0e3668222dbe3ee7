"""Names, addresses and passwords: what is refused, in pure functions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tradepost.accounts.passwords import LONGEST, check_password, hash_password, needs_rehash, password_problem
from tradepost.accounts.rules import (
    as_phone,
    email_problem,
    locale_problem,
    looks,
    timezone_problem,
    username_problem,
)

FORM = "Only the letters a to z, digits, and . - _ between them."
RESERVED = "This name is reserved."


@pytest.mark.parametrize("name", ["tendai_m", "Moyo-Farm", "j.doe", "user1", "_hidden", "abc", "x" * 64])
def test_ordinary_usernames_are_welcome(name: str) -> None:
    assert username_problem(name) is None


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("ab", "At least 3 characters, please."),
        ("x" * 65, "At most 64 characters, please."),
        ("tеndai", FORM),  # a Cyrillic е
        ("tendai\n", FORM),
        ("ten dai", FORM),
        ("-tendai", FORM),
        ("tendai.", FORM),
        ("ten..dai", FORM),
        ("tendai@x", FORM),
        ("Admin", RESERVED),
        ("adm1n", RESERVED),
        ("s.u.p.p.0.r.t", RESERVED),
        ("rn0derator", RESERVED),
        ("m4rket", RESERVED),
    ],
)
def test_usernames_that_deceive_or_do_not_fit_are_refused(name: str, problem: str) -> None:
    assert username_problem(name, also_reserved=("market",)) == problem


def test_names_that_look_alike_have_one_look() -> None:
    assert looks("PAYPAL") == looks("paypa1") == looks("pay_pai") == looks("p.a.y.p.a.l")
    assert looks("tendai") != looks("tafara")


@pytest.mark.parametrize("email", ["a@b.co", "x+y@sub.example.com", "hello@tese.localhost", "o'hara@example.ie"])
def test_ordinary_addresses_are_welcome(email: str) -> None:
    assert email_problem(email) is None


@pytest.mark.parametrize(
    "email",
    [
        "a@b", "a b@c.de", ".a@b.co", "a..b@c.co", "a@b.c.", "a@1.2.3.4", "a@b@c.de", "@b.co", "a@", "é@b.co", "a@é.co",
        "a@b.co\r\nBcc: everybody@example.com", "a@b.co\n", "\na@b.co", "a\x00@b.co", "a@-b.co", "A <a@b.co>",
        "a" * 65 + "@b.co", "a@" + "b" * 64 + ".co",
    ],
)  # fmt: skip
def test_addresses_mail_cannot_go_to_are_refused(email: str) -> None:
    assert email_problem(email) == "This does not look like an e-mail address."


def test_address_has_a_greatest_length() -> None:
    domain = ".".join(["b" * 60] * 4)
    assert email_problem(f"{'a' * 8}@{domain}.co") is None
    assert email_problem(f"{'a' * 9}@{domain}.co") == "At most 255 characters, please."


@given(st.text(max_size=300))
def test_no_accepted_address_can_end_a_mail_header(text: str) -> None:
    for email in (text, f"a@b.co{text}", f"{text}@b.co", f"a@{text}.co"):
        if email_problem(email) is None:
            assert email.isascii()
            assert email.isprintable()
            assert not set(' \t,;:<>()[]\\"') & set(email)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("+263 77 123 4567", "+263771234567"),
        ("00263 (77) 123-4567", "+263771234567"),
        ("+1.555.010.9999", "+15550109999"),
        ("077 123 4567", None),
        ("+0 77 123 4567", None),
        ("+12345", None),
        ("+1234567890123456", None),
        ("call me", None),
        ("+26377１234567", None),  # a full-width digit
    ],
)
def test_phone_numbers_are_written_one_way(text: str, number: str | None) -> None:
    assert as_phone(text) == number


def test_locales_and_time_zones_must_exist() -> None:
    assert locale_problem("en_ZW") is None
    assert locale_problem("../en") == "This is not a language we know."
    assert timezone_problem("Africa/Harare") is None
    for bad in ("Nowhere/City", "../etc/passwd", "/etc/passwd", "Africa", ""):
        assert timezone_problem(bad) == "This is not a time zone we know."


@pytest.mark.parametrize(
    "password",
    [
        "correct horse battery", "savannah-river-87", "kfj3-29dk-x", "one-8273645182734", "tendai-likes-rivers", "Grüße aus Rom",
        "三つの言葉が並ぶ秘密の文", "x7" * 3 + "q9z!",
    ],
)  # fmt: skip
def test_good_passwords_are_welcome(password: str) -> None:
    assert password_problem(password, ("tendai", "anna@example.com", "anna")) is None


@pytest.mark.parametrize(
    "password",
    [
        "password12", "P@ssw0rd2024!", "passwordpassword", "1234567890", "12345678901", "19871224-1987", "qwertyuiop",
        "poiuytrewq", "abcdefghijk", "aaaaaaaaaaaa", "abcabcabcabc", "iloveyou!!!", "!!sunshine!!", "dragon-dragon",
        "hunter2hunter2", "1qaz2wsx3edc", "Summer2026!", "tradepost2026", "w1nd0wsxp!!",
    ],
)  # fmt: skip
def test_passwords_that_are_tried_first_are_refused(password: str) -> None:
    assert password_problem(password) == (
        "This is one of the passwords that are tried first. Please choose another; three or four words in a row work well."
    )


@pytest.mark.parametrize("password", ["tendai2024", "TENDAI-2024", "t3nda1t3nda1", "tendai@example.com", "2024tendai!"])
def test_own_name_is_no_password(password: str) -> None:
    problem = password_problem(password, ("tendai", "tendai@example.com"))
    assert problem == "Your name or address is the first thing somebody would try. Please choose something else."


def test_password_has_a_least_and_a_greatest_length() -> None:
    assert password_problem("kx3-9fq2w") == "At least 10 characters, please."
    assert password_problem("kx3-9fq2wz") is None
    assert password_problem("ab7 " * 50 + "!") == "At most 200 characters, please."
    assert password_problem("kx3-9fq2w\x00zz") == "There is a character in it that cannot be typed."
    assert password_problem("kx3-9fq2w\ud800zz") == "There is a character in it that cannot be typed."


@given(st.text(min_size=LONGEST, max_size=LONGEST))
def test_longest_passwords_are_judged(password: str) -> None:
    password_problem(password, ("tendai", password[:30]))


async def test_hash_is_argon2id_with_todays_parameters_and_salted() -> None:
    first, second = await hash_password("grüne Äpfel"), await hash_password("grüne Äpfel")
    assert first.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert first != second
    assert not needs_rehash(first)
    assert needs_rehash("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$Zm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm9vYmFyZm8")
    assert await check_password(first, "grüne Äpfel")
    assert await check_password(first, "gru\u0308ne A\u0308pfel")  # the same letters, composed otherwise
    assert not await check_password(first, "grune Apfel")


async def test_nobody_has_no_password() -> None:
    for guess in ("nobody", "", "x"):
        assert not await check_password(None, guess)
    assert not await check_password("not a hash", "x")
