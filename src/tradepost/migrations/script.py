"""Running a file of SQL, functions with their own semicolons included, inside a migration's transaction."""

from pathlib import Path
from typing import Any

from sqlalchemy.util import await_only

FOLDER = Path(__file__).parent / "sql"


def run_file(op: Any, name: str) -> None:
    """Run `sql/<name>` on the migration's own connection."""
    run_script(op, (FOLDER / name).read_text("utf-8"))


def run_script(op: Any, script: str) -> None:
    """Run many statements at once, as the simple protocol does."""
    op.execute("SELECT 1")  # SQLAlchemy begins its transaction with its first statement, not ours
    driver = op.get_bind().connection.driver_connection
    await_only(driver.execute(script))
