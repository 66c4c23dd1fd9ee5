"""A real MCP server: `python -m tests.support.mcp_server stdio` or `... http PORT`."""

from __future__ import annotations

import base64
import io
import os
import sys

from mcp.server.fastmcp import FastMCP
from mcp.types import ImageContent
from PIL import Image
from pydantic import BaseModel

server = FastMCP("real", port=int(sys.argv[2]) if len(sys.argv) > 2 else 8000, log_level="ERROR")


class Weather(BaseModel):
    """A structured result."""

    city: str
    degrees: float


@server.tool()
def add(a: int, b: int = 10) -> int:
    """Adds."""
    return a + b


@server.tool()
def pid() -> str:
    """Says in which process it runs."""
    return str(os.getpid())


@server.tool()
def weather(city: str) -> Weather:
    """Gives a record."""
    return Weather(city=city, degrees=20.5)


@server.tool()
def total(numbers: list[float], options: dict[str, str] | None = None) -> str:
    """Adds up."""
    return f"{sum(numbers)}:{sorted((options or {}).items())}"


@server.tool()
def fail() -> str:
    """Always fails."""
    raise ValueError("the server says no")


@server.tool()
def picture() -> ImageContent:
    """Gives an image."""
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2), (9, 8, 7)).save(buffer, "PNG")
    return ImageContent(type="image", data=base64.b64encode(buffer.getvalue()).decode(), mimeType="image/png")


if __name__ == "__main__":
    server.run("stdio" if sys.argv[1] == "stdio" else "streamable-http")
