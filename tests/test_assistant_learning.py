"""What the assistant learns from examples: mended words, features, intents, and what it was never taught."""

import random
from datetime import date
from decimal import Decimal

import pytest

from tradepost.assistant.classifier import NONE, IntentModel, Nearest
from tradepost.assistant.features import Vocabulary
from tradepost.assistant.grammar import Slots, clauses, load_grammar, read_slots
from tradepost.assistant.spelling import Spelling
from tradepost.assistant.training import train_model
from tradepost.core.text import edit_distance

EXAMPLES = (
    ("cancel my order", "cancel"), ("call off the order", "cancel"), ("stop my purchase", "cancel"),
    ("where is my parcel", "track"), ("track the package", "track"), ("when will it arrive", "track"),
    ("what is the weather", NONE), ("tell me a joke", NONE), ("sing a song", NONE),
)  # fmt: skip
TODAY = date(2026, 11, 21)


def meaning(sentence: str) -> list[float]:
    """Return a made-up vector of length one that is the same for sentences of one intent, nearly."""
    intent = dict(EXAMPLES).get(sentence, "")
    chance = random.Random(sentence)  # noqa: S311  # no secret
    values = [chance.uniform(-0.05, 0.05) for _ in range(8)]
    for n, name in enumerate(("cancel", "track", NONE)):
        if name == intent or name in sentence:
            values[n] += 1.0
    length = sum(v * v for v in values) ** 0.5
    return [v / length for v in values]


def test_misspelled_words_are_mended_by_what_is_known() -> None:
    spelling = Spelling({"cancel": 3, "delivery": 2, "order": 5}, {"hammer": 900, "hummer": 9000})
    assert spelling.tidy("Cancle my ordr 12345, hamer?") == "cancel my order number hammer ?"
    assert spelling.mend("delviry") == "delivery"
    assert spelling.mend("order") == "order"
    assert spelling.mend("xyzzyqux") == "xyzzyqux"


@pytest.mark.parametrize(
    ("a", "b", "edits"), [("abc", "abc", 0), ("abc", "acb", 1), ("abc", "ab", 1), ("kitten", "sitting", 3)]
)
def test_edits_between_words_are_counted(a: str, b: str, edits: int) -> None:
    assert edit_distance(a, b, 4) == edit_distance(b, a, 4) == edits


def test_features_have_length_one_and_unknown_words_have_none() -> None:
    vocabulary = Vocabulary.of([text for text, _ in EXAMPLES])
    weighed = vocabulary.weigh("cancel my order")
    assert sum(weight * weight for _, weight in weighed) == pytest.approx(2)
    assert vocabulary.weigh("zzz") == ()


def test_trained_model_knows_what_it_was_taught_and_what_not() -> None:
    vectors = [meaning(text) for text, _ in EXAMPLES]
    model = train_model(EXAMPLES, vectors, "mark")
    assert model == train_model(EXAMPLES, vectors, "mark")  # the same examples give the same model
    asked = IntentModel(model)
    for text, intent in EXAMPLES:
        assert asked.guess(text, meaning(text))[0].intent == intent
    strange = asked.guess("qwertz", [-(2**-0.5), 0, 0, 2**-0.5, 0, 0, 0, 0])[0]
    assert not strange.is_believed


def test_without_vectors_the_nearest_example_decides() -> None:
    nearest = Nearest(EXAMPLES)
    assert (nearest.guess("please cancel my order")[0].intent, nearest.needs_vector) == ("cancel", False)
    assert nearest.guess("where is my parcel")[0].is_believed
    assert not any(guess.is_believed for guess in nearest.guess("a bicycle"))


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("shoes in size 42 under $50", Slots(size="42", high=5000, rest="shoes")),
        ("between 100 and 2,000 dollars", Slots(low=10_000, high=200_000)),
        ("a lamp for around $30", Slots(low=2250, high=3750, rest="lamp")),
        ("the second one", Slots(ordinals=(2,))),
        ("compare the first two", Slots(ordinals=(1, 2), rest="compare")),
        ("cancel order #W2378156", Slots(orders=("W2378156",), rest="cancel")),
        ("where is SA-2GHC3YT3", Slots(orders=("SA-2GHC3YT3",), rest="where")),
        ("cancel order mk-ncyqtqsm", Slots(orders=("MK-NCYQTQSM",), rest="cancel order")),
        ("where is MK-NCYQTQSM", Slots(orders=("MK-NCYQTQSM",), rest="where")),
        ("a pre-packaged lunch", Slots(rest="pre-packaged lunch")),
        ("5 kg of tomatoes", Slots(quantity=Decimal(5), rest="tomatoes")),
        ("bikes within 20 km of Harare", Slots(radius_km=20.0, places=("Harare",), rest="bikes near harare")),
        ("can you deliver on tuesday", Slots(day=date(2026, 11, 24), rest="deliver")),
        ("on 24 december", Slots(day=date(2026, 12, 24))),
        ("the cheapest t-shirt", Slots(sort="cheapest", rest="t-shirt")),
        ("usb-3 hub with 7 ports", Slots(quantity=Decimal(7), rest="usb-3 hub ports")),
    ],
)
def test_small_words_are_read_off_a_sentence(text: str, slots: Slots) -> None:
    assert read_slots(text, load_grammar("en"), currency="USD", today=TODAY) == slots


def test_sentence_is_parted_where_another_wish_begins() -> None:
    grammar = load_grammar("en")
    assert clauses("show me hats and gloves", grammar) == ["show me hats and gloves"]
    assert clauses("add it to my cart and show my orders. Thanks!", grammar) == [
        "add it to my cart",
        "show my orders.",
        "Thanks!",
    ]
