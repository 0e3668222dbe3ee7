"""Prices as people and machines write them, in the number formats of many countries.

`price-parser` finds the amount and the currency's sign in a text; what a sign means (`$`, `kr`, `руб`) is said here, with the source's
own currency first. Never guesses an amount out of a text that has none: “ask” is not 0.
"""

import re
from decimal import Decimal
from functools import lru_cache
from typing import Final

import msgspec
from babel.core import get_global
from babel.numbers import get_currency_symbol
from price_parser import Price

from tradepost.core.money import LARGEST_MINOR, exponent, rounded

_PLAIN: Final = re.compile(r"\d{1,12}(\.\d{1,2})?")
_CODE: Final = re.compile(r"\b([A-Z]{3})\b")
# What a sign stands for where the source does not say: the currency that most of the web means by it.
SIGNS: Final = {
    "$": "USD", "US$": "USD", "USD$": "USD", "$US": "USD", "€": "EUR", "£": "GBP", "¥": "JPY", "JP¥": "JPY", "円": "JPY", "￥": "JPY",
    "元": "CNY", "CN¥": "CNY", "RMB": "CNY", "₹": "INR", "Rs": "INR", "Rs.": "INR", "₽": "RUB", "руб": "RUB", "руб.": "RUB", "р.": "RUB",
    "₴": "UAH", "грн": "UAH", "грн.": "UAH", "₸": "KZT", "тг": "KZT", "zł": "PLN", "Kč": "CZK", "Ft": "HUF", "lei": "RON", "Lei": "RON",
    "лв": "BGN", "лв.": "BGN", "kr": "SEK", "kr.": "DKK", "Kr": "SEK", "Kr.": "DKK", "₺": "TRY", "TL": "TRY", "₪": "ILS", "₩": "KRW",
    "원": "KRW", "₫": "VND", "đ": "VND", "฿": "THB", "R$": "BRL", "A$": "AUD", "AU$": "AUD", "C$": "CAD", "CA$": "CAD", "NZ$": "NZD",
    "HK$": "HKD", "NT$": "TWD", "S$": "SGD", "MX$": "MXN", "CHF": "CHF", "Fr.": "CHF", "SFr.": "CHF", "R": "ZAR", "₦": "NGN", "KSh": "KES",
    "Ksh": "KES", "GH₵": "GHS", "₵": "GHS", "RM": "MYR", "Rp": "IDR", "₱": "PHP", "₡": "CRC", "₲": "PYG", "S/": "PEN", "S/.": "PEN",
    "د.إ": "AED", "ج.م": "EGP", "ر.س": "SAR", "﷼": "IRR", "৳": "BDT", "₾": "GEL", "₼": "AZN", "֏": "AMD", "ден": "MKD", "din": "RSD",
    "KM": "BAM", "kn": "HRK", "Q": "GTQ", "TT$": "TTD", "Z$": "ZWL",
}  # fmt: skip


class Amount(msgspec.Struct, frozen=True):
    """An amount in minor units and its currency's code; either may be unknown."""

    minor: int | None
    currency: str


@lru_cache(maxsize=4096)
def currency_code(sign: str, home: str = "") -> str:
    """Return the ISO 4217 code of a currency as it was written, `home` where that has the same sign; empty when unknown."""
    sign = sign.strip()
    if len(sign) == 3 and sign.isascii() and sign.isalpha():
        return sign.upper()
    if home and sign and sign in {get_currency_symbol(home, locale="en"), _narrow(home)}:
        return home
    return SIGNS.get(sign, SIGNS.get(sign.rstrip("."), ""))


@lru_cache(maxsize=512)
def _narrow(code: str) -> str:
    """Return the sign that a currency has at home: `$` for AUD, `kr` for NOK."""
    for locale in _HOMES.get(code, ()):
        return str(get_currency_symbol(code, locale=locale))
    return ""


_HOMES: Final = {
    "AUD": ("en_AU",), "CAD": ("en_CA",), "NZD": ("en_NZ",), "MXN": ("es_MX",), "SGD": ("en_SG",), "HKD": ("en_HK",), "TWD": ("zh_TW",),
    "CLP": ("es_CL",), "COP": ("es_CO",), "ARS": ("es_AR",), "UYU": ("es_UY",), "NOK": ("nb_NO",), "SEK": ("sv_SE",), "DKK": ("da_DK",),
    "ISK": ("is_IS",), "CNY": ("zh_CN",), "ZWL": ("en_ZW",), "GHS": ("en_GH",), "KES": ("en_KE",), "TTD": ("en_TT",), "JMD": ("en_JM",),
    "PKR": ("en_PK",), "LKR": ("en_LK",), "NPR": ("ne_NP",), "EGP": ("ar_EG",), "NAD": ("en_NA",), "LBP": ("en_LB",), "SYP": ("ar_SY",),
}  # fmt: skip


def parse_price(text: str, currency_text: str | None = None, decimal: str = "") -> Price:
    """Return what `price-parser` finds in a text: `amount`, `amount_text` and the currency as written."""
    return Price.fromstring(text, currency_text, decimal_separator=decimal or None)


def read_price(
    text: str | float | Decimal,
    *,
    currency: str | None = None,
    home: str = "",
    decimal: str = "",
    minor_units: bool = False,
) -> Amount:
    """Return the amount of a price in minor units, None where the text has none or more than can be.

    `currency` is what the source says of it beside the price; `home` what it is in when nothing is said.
    """
    if isinstance(text, str):
        text = text.strip()
        plain = _PLAIN.fullmatch(text)
        found = Decimal(text) if plain else None
        sign: str | None = None
        if not plain:
            price = parse_price(text, currency, decimal)
            found, sign = price.amount, price.currency
    else:
        found, sign = Decimal(str(text)), None
    code = currency_code(currency or "", home) or _written(text) or currency_code(sign or "", home) or home
    if found is None or not found.is_finite() or found < 0 or found.adjusted() > 15:
        return Amount(None, code)
    minor = rounded(found if minor_units else found.scaleb(exponent(code)))
    return Amount(minor if minor <= LARGEST_MINOR else None, code)


def _written(text: object) -> str:
    """Return a code that stands in the text itself, such as “EUR” in “EUR 12,50”."""
    for code in _CODE.findall(text) if isinstance(text, str) else ():
        if code in get_global("all_currencies"):
            return str(code)
    return ""
