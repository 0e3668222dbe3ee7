"""`tradepost search`: make the documents anew, give them their vectors, choose the vector index."""

from typing import Annotated

import typer

search_cli = typer.Typer(no_args_is_help=True, help=__doc__)
Store = Annotated[str, typer.Option(help="The store.")]
Address = Annotated[str, typer.Option(help="The owner's database address; the demo's own unless given.")]


@search_cli.command()
def rebuild(store: Store, database: Address = "") -> None:
    """Make every search document anew, while the store is open."""
    from tradepost.cli import run
    from tradepost.cli.search_work import rebuild_documents

    run(lambda: rebuild_documents(store, database))


@search_cli.command()
def embed(
    store: Store, database: Address = "", anew: Annotated[bool, typer.Option(help="Also what has its vector.")] = False
) -> None:
    """Give every document that lacks one its vector, without waiting for the worker."""
    from tradepost.cli import run
    from tradepost.cli.search_work import embed_documents

    run(lambda: embed_documents(store, database, anew=anew))


@search_cli.command()
def index(
    store: Store, kind: Annotated[str, typer.Option(help="hnsw or ivfflat.")] = "hnsw", database: Address = ""
) -> None:
    """Build the vector index of another kind beside the present one, and put it in its place."""
    from tradepost.cli import run
    from tradepost.cli.search_work import build_index

    if kind not in {"hnsw", "ivfflat"}:
        raise typer.BadParameter("hnsw or ivfflat")
    run(lambda: build_index(store, "hnsw" if kind == "hnsw" else "ivfflat", database))
