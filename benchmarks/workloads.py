"""Small real work for each package that people ask for: every function runs alone, by its source, in a box.

Its name is the import, its docstring what is done, its result a short text that shows that it was.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata

Work = Callable[[], str]


def numpy() -> str:
    """linear algebra, random numbers, a file and back"""
    import numpy as np

    matrix = np.random.default_rng(1).normal(size=(300, 300))
    np.savez_compressed("m.npz", matrix=matrix)
    assert np.allclose(np.load("m.npz")["matrix"] @ np.linalg.inv(matrix), np.eye(300))
    return f"300 x 300 inverted, norm {np.linalg.norm(matrix):.0f}"


def pandas() -> str:
    """group, join, resample; CSV, JSON and zip there and back"""
    import pandas as pd

    frame = pd.DataFrame({"day": pd.date_range("2024-01-01", periods=500), "k": list("abcde") * 100, "v": range(500)})
    frame.to_csv("f.csv", index=False)
    frame.to_csv("f.csv.zip", index=False)
    frame.to_json("f.json", orient="records", date_format="iso")
    back = pd.read_csv("f.csv", parse_dates=["day"])
    assert back.v.equals(pd.read_csv("f.csv.zip").v)
    assert len(pd.read_json("f.json")) == 500
    months = back.set_index("day").resample("MS").v.sum()
    joined = back.merge(back.groupby("k").v.mean().rename("mean"), on="k")
    return f"{len(months)} months, {len(joined)} rows joined"


def scipy() -> str:
    """optimise, integrate, solve, interpolate, test a hypothesis"""
    import numpy as np
    from scipy import integrate, interpolate, linalg, optimize, stats

    best = optimize.minimize(lambda x: (x[0] - 1) ** 2 + (x[1] + 2) ** 2, [0, 0])
    area, _ = integrate.quad(np.sin, 0, np.pi)
    spline = interpolate.CubicSpline(range(5), [0, 1, 4, 9, 16])
    p = stats.ttest_ind(range(20), range(5, 25)).pvalue
    linalg.eigh(np.eye(50))
    return f"minimum at {best.x.round(3)}, area {area:.3f}, spline {float(spline(2.5)):.2f}, p {p:.3f}"


def sklearn() -> str:
    """models, with threads of OpenMP and of joblib; cross-validation"""
    from sklearn.cluster import KMeans
    from sklearn.datasets import make_classification
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_score

    x, y = make_classification(200, random_state=1)
    score = cross_val_score(LogisticRegression(), x, y, cv=3).mean()
    assert RandomForestClassifier(10, random_state=1, n_jobs=2).fit(x, y).score(x, y) > 0.9
    assert HistGradientBoostingClassifier(max_iter=5).fit(x, y).score(x, y) > 0.7
    assert len(KMeans(2, n_init=1).fit(x).labels_) == 200
    return f"accuracy {score:.2f}"


def statsmodels() -> str:
    """a linear model by formula, with its summary"""
    import numpy as np
    import pandas as pd
    import statsmodels.formula.api as smf

    x = np.arange(50.0)
    fitted = smf.ols("y ~ x", pd.DataFrame({"x": x, "y": 2 * x + 1 + np.sin(x)})).fit()
    assert "R-squared" in str(fitted.summary())
    return f"slope {fitted.params.x:.2f}"


def matplotlib() -> str:
    """a plot as PNG, SVG and PDF"""
    import os

    from matplotlib import pyplot

    figure, axes = pyplot.subplots()
    axes.plot([1, 4, 9], label="$x^2$")
    axes.legend()
    for kind in ("png", "svg", "pdf"):
        figure.savefig(f"plot.{kind}")
    pyplot.close(figure)
    return f"PNG of {os.path.getsize('plot.png') // 1000} kB"


def PIL() -> str:
    """draw, scale, write and read PNG, JPEG and WebP"""
    from PIL import Image, ImageDraw, ImageFilter

    image = Image.new("RGB", (200, 100), "white")
    ImageDraw.Draw(image).text((10, 40), "hello", fill="black")
    image.filter(ImageFilter.GaussianBlur(2)).resize((50, 25)).save("p.png")
    image.save("p.jpg")
    image.save("p.webp")
    return " ".join(str(Image.open(f"p.{kind}").size) for kind in ("png", "jpg", "webp"))


def pyarrow() -> str:
    """Parquet, Feather and CSV there and back; a filter; pandas' own to_parquet"""
    import pandas as pd
    import pyarrow as pa
    from pyarrow import csv, feather, parquet

    table = pa.table({"a": range(10_000), "b": ["x", "y"] * 5_000})
    parquet.write_table(table, "t.parquet")
    feather.write_feather(table, "t.feather")
    csv.write_csv(table, "t.csv")
    kept = parquet.read_table("t.parquet", filters=[("a", ">", 9_000)])
    assert feather.read_table("t.feather").equals(table)
    assert csv.read_csv("t.csv").num_rows == 10_000
    frame = pd.DataFrame({"v": [1.5, None], "s": ["a", "b"]})
    frame.to_parquet("f.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet("f.parquet"), frame)
    return f"{kept.num_rows} rows kept"


def polars() -> str:
    """lazy and eager queries in its thread pool; CSV and Parquet there and back"""
    import polars as pl

    frame = pl.DataFrame({"k": ["a", "b", "c", "d"] * 5_000, "v": range(20_000)})
    frame.write_csv("t.csv")
    frame.write_parquet("t.parquet")
    found = pl.scan_parquet("t.parquet").filter(pl.col("v") > 100).group_by("k").agg(pl.col("v").mean()).collect()
    assert pl.read_csv("t.csv").height == 20_000
    return f"{found.height} groups, mean {found['v'].mean():.0f}"


def openpyxl() -> str:
    """a workbook with a formula and a chart; pandas' own to_excel and read_excel"""
    import openpyxl as xl
    import pandas as pd
    from openpyxl.chart import BarChart, Reference

    book = xl.Workbook()
    for row in ([1, 2], [3, 4], ["=A1+A2", None]):
        book.active.append(row)
    chart = BarChart()
    chart.add_data(Reference(book.active, min_col=1, min_row=1, max_row=2))
    book.active.add_chart(chart, "D1")
    book.save("b.xlsx")
    assert xl.load_workbook("b.xlsx").active["A3"].value == "=A1+A2"
    pd.DataFrame({"a": [1, 2]}).to_excel("f.xlsx", index=False)
    return f"{len(pd.read_excel('f.xlsx'))} rows back"


def sympy() -> str:
    """solve, differentiate, integrate exactly"""
    import sympy as sp

    x = sp.symbols("x")
    roots = sp.solve(x**3 - 6 * x**2 + 11 * x - 6)
    return f"roots {roots}, {sp.integrate(sp.sin(x) * sp.exp(x), x)}"


def networkx() -> str:
    """shortest paths, centrality, communities"""
    import networkx as nx

    graph = nx.karate_club_graph()
    top = max(nx.betweenness_centrality(graph).items(), key=lambda item: item[1])[0]
    return f"node {top}, {len(nx.community.louvain_communities(graph, seed=1))} communities"


def bs4() -> str:
    """parse HTML with its own parser and with lxml"""
    from bs4 import BeautifulSoup

    page = "<p class=a>one<p>two <a href='/x'>link</a>"
    found = [BeautifulSoup(page, parser).find("a")["href"] for parser in ("html.parser", "lxml")]
    return f"{found}"


def lxml() -> str:
    """XPath, XSLT, a schema"""
    from lxml import etree

    tree = etree.fromstring("<r><i n='1'/><i n='2'/></r>")
    sheet = etree.XSLT(
        etree.fromstring(
            "<xsl:stylesheet version='1.0' xmlns:xsl='http://www.w3.org/1999/XSL/Transform'>"
            "<xsl:template match='/'><n><xsl:value-of select='sum(//@n)'/></n></xsl:template></xsl:stylesheet>"
        )
    )
    return f"{len(tree.xpath('//i'))} found, sum {sheet(tree).getroot().text}"


def pydantic() -> str:
    """validate, serialise, a JSON schema"""
    from pydantic import BaseModel, ValidationError

    class Flight(BaseModel):
        number: int
        to: str = "JFK"

    try:
        Flight(number="many")  # type: ignore[arg-type]
    except ValidationError as error:
        return f"{Flight(number=1).model_dump_json()}, {error.error_count()} error"
    raise AssertionError("a word is no number")


def requests() -> str:
    """import; a request ends at once with its own ConnectionError: a box has no network"""
    import requests as http

    try:
        http.get("http://192.0.2.1/", timeout=5)
    except http.exceptions.ConnectionError:
        return "no network, said cleanly"
    raise AssertionError("there is a network")


WORKS: tuple[Work, ...] = (
    numpy, pandas, scipy, sklearn, statsmodels, matplotlib, PIL, pyarrow, polars, openpyxl, sympy, networkx, bs4, lxml,
    pydantic, requests,
)  # fmt: skip
# What a workload imports besides the package that it is named after.
ALSO = {
    "scipy": ["numpy"],
    "statsmodels": ["numpy", "pandas"],
    "pyarrow": ["pandas"],
    "openpyxl": ["pandas"],
    "bs4": ["lxml"],
}
DISTRIBUTIONS = {"sklearn": "scikit-learn", "PIL": "pillow", "bs4": "beautifulsoup4"}


def imports(work: Work) -> list[str]:
    """What an executor has to authorise for it."""
    return [f"{name}.*" for name in (work.__name__, *ALSO.get(work.__name__, ()))]


def distribution(work: Work) -> str:
    """The name that is installed."""
    return DISTRIBUTIONS.get(work.__name__, work.__name__)


def version(work: Work) -> str:
    """The version in this environment, which a native box has."""
    return metadata.version(distribution(work))
