"""Pages of search: filters, chips, counts, orders and the next page, without scripts."""

from tests.factories import Factory
from tests.visitor import Visitor, text_of


async def test_results_page_shows_what_is_found(browse: Visitor, make: Factory) -> None:
    seller = await make.person("seller")
    await make.listing(seller, "Crisp apples", price=250)
    await make.listing(seller, "Steel hammer", category="tools", price=1900)
    page = await browse.get("/search?q=apples")
    assert page.status_code == 200
    assert "Crisp apples" in page.text
    assert "Steel hammer" not in page.text
    assert "1 find" in text_of(page.text)
    assert 'value="apples"' in page.text
