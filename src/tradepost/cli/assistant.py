"""`tradepost assistant`: teach the assistant what its examples say, and see what it makes of a sentence."""

from typing import Annotated

import typer

assistant_cli = typer.Typer(no_args_is_help=True, help=__doc__)
Store = Annotated[str, typer.Option(help="The store, or the folder of a preset's own.")]
Language = Annotated[str, typer.Option(help="The language of the examples.")]


@assistant_cli.command()
def train(store: Store = "", language: Language = "en") -> None:
    """Teach the examples of the product and of each store anew; takes seconds. Needs the language model (`make vectors`)."""
    from tradepost.cli import run
    from tradepost.cli.assistant_work import train_stores

    run(lambda: train_stores(store, language))


@assistant_cli.command()
def guess(sentence: str, store: Store = "shop-assistant", language: Language = "en") -> None:
    """Show what a sentence is taken to want, the likeliest first, and whether that is believed."""
    from tradepost.cli import run
    from tradepost.cli.assistant_work import show_guesses

    run(lambda: show_guesses(store, language, sentence))
