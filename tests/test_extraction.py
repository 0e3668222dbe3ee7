"""What is read off a shop's page and off a price, wherever it stands and however it is written."""

from decimal import Decimal

import pytest

from tradepost.sources.extraction import decode_page, extract_page
from tradepost.sources.prices import read_price

URL = "https://shop.example.com/p/1234567"
DATA = """<script type="application/ld+json">{"@context": "https://schema.org", "@type": "Product", "name": "Blue kettle",
"sku": "K-1", "brand": {"@type": "Brand", "name": "Hearth"}, "image": "/k.jpg",
"offers": {"@type": "Offer", "price": "1299.90", "priceCurrency": "PLN", "availability": "https://schema.org/OutOfStock"}}</script>"""
SHOWN = """<html><head><title>Blue kettle - Shop</title></head><body><header><a>Cart $0.00</a></header>
<h1>Blue kettle</h1><div class="price-box"><del class="old-price">$59.00</del> <span class="price">$ 49<sup>90</sup></span></div>
<p>Brand: <b>none of these</b></p><p class="note">Free shipping from $35</p><button>Add to cart</button>
<div class="related"><ul><li><a href="/2">Red kettle <span class="price">$19.00</span></a></li>
<li><a href="/3">Green kettle <span class="price">$19.00</span></a></li><li><a href="/4">Tin kettle <span class="price">$19.00</span></a></li>
</ul></div></body></html>"""


def test_what_a_page_says_to_machines_is_read() -> None:
    page = extract_page(f"<html><body>{DATA}<h1>Blue kettle</h1></body></html>", URL)
    assert (page.name, page.price, page.currency, page.availability) == (
        "Blue kettle",
        Decimal("1299.90"),
        "PLN",
        "OutOfStock",
    )
    assert (page.brand, page.sku, page.images) == ("Hearth", "K-1", ("https://shop.example.com/k.jpg",))


@pytest.mark.parametrize(
    "body",
    [
        """<div itemscope itemtype="https://schema.org/Product"><h1 itemprop="name">Blue kettle</h1><div itemprop="offers" itemscope
        itemtype="https://schema.org/Offer"><meta itemprop="price" content="49.9"><meta itemprop="priceCurrency" content="EUR"></div></div>""",
        """<div vocab="https://schema.org/" typeof="Product"><h1 property="name">Blue kettle</h1><div property="offers" typeof="Offer">
        <span property="price" content="49.90">49,90</span><meta property="priceCurrency" content="EUR"></div></div>""",
        """<meta property="og:title" content="Blue kettle"><meta property="product:price:amount" content="49.90">
        <meta property="product:price:currency" content="EUR"><h1>Blue kettle</h1>""",
        """<h1>Blue kettle</h1><p>49,90 €</p><button>In den Warenkorb</button>""",
    ],
    ids=["microdata", "rdfa", "open graph", "shown"],
)  # fmt: skip
def test_every_way_of_saying_a_price_is_understood(body: str) -> None:
    page = extract_page(f"<html><head><title>Blue kettle</title></head><body>{body}</body></html>", URL)
    assert (page.name, page.price, page.currency) == ("Blue kettle", Decimal("49.90"), "EUR")


def test_the_price_that_a_buyer_sees_is_the_price() -> None:
    page = extract_page(SHOWN, URL, home="USD")
    assert (page.name, page.price, page.currency, page.availability) == (
        "Blue kettle",
        Decimal("49.90"),
        "USD",
        "InStock",
    )
    assert page.sku == "1234567"


def test_a_page_without_a_product_has_no_price() -> None:
    page = extract_page(
        "<html><head><title>About us</title></head><body><h1>About us</h1><p>Since 1999.</p></body></html>", URL
    )
    assert page.price is None
    assert extract_page("", URL).name == ""
    assert extract_page("<<<<>>>&&&\x00", URL).price is None


@pytest.mark.parametrize(
    ("body", "header"),
    [
        ('<meta charset="windows-1251"><h1>Чайник</h1>'.encode("cp1251"), "text/html"),
        ("<h1>Чайник</h1>".encode("cp1251"), "text/html; charset=windows-1251"),
        ("<h1>Чайник</h1>".encode(), ""),
    ],
)
def test_a_page_is_read_in_the_characters_it_was_written_in(body: bytes, header: str) -> None:
    assert "Чайник" in decode_page(body, header)


@pytest.mark.parametrize(
    ("text", "home", "minor", "currency"),
    [
        ("1.299,00 €", "USD", 129_900, "EUR"), ("$1,299.00", "USD", 129_900, "USD"), ("$5", "AUD", 500, "AUD"), ("¥1200", "USD", 1200, "JPY"),
        ("1 299,00 zł", "USD", 129_900, "PLN"), ("EUR 12,50", "USD", 1250, "EUR"), ("₹ 1,00,000", "USD", 10_000_000, "INR"),
        ("49", "TND", 49_000, "TND"), ("ask", "USD", None, "USD"), ("", "USD", None, "USD"), ("9" * 40, "USD", None, "USD"),
        ("1'299.– CHF", "USD", 129_900, "CHF"), ("12,5 kr", "NOK", 1250, "NOK"),
    ],
)  # fmt: skip
def test_prices_of_many_countries_are_read(text: str, home: str, minor: int | None, currency: str) -> None:
    found = read_price(text, home=home)
    assert (found.minor, found.currency) == (minor, currency)


def test_a_source_says_how_its_numbers_are_meant() -> None:
    assert read_price("1.299", home="CLP").minor == 1299
    assert read_price("1.299", home="USD", decimal=".").minor == 130
    assert read_price(129_900, home="USD", minor_units=True).minor == 129_900
    assert read_price("129900", currency="eur", minor_units=True).currency == "EUR"
