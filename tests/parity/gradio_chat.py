"""smolagents' web interface over a real server on loopback, in a real browser and as a program would use it.

Not collected by itself: test_environments.py runs it where gradio is (its Pillow is older than ours).
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import gradio
import pytest
from gradio_client import Client
from playwright.sync_api import Locator, expect, sync_playwright
from smolagents import CodeAgent, GradioUI, tool
from tests.support.backends import backend
from tests.support.browser import browser
from tests.support.models import CodeModel

from smolagents_hardened import Decision, ToolCall, register

# What the web libraries warn about on behalf of each other.
pytestmark = pytest.mark.filterwarnings("ignore")
PAGE_MS = 60_000  # a loaded machine


@tool
def send(text: str) -> str:
    """Sends a text.

    Args:
        text: The text.
    """
    return f"sent {text}"


def no_secrets(call: ToolCall) -> Decision:
    """Denies one argument."""
    return Decision.deny("that is a secret") if call.arguments.get("text") == "secret" else Decision.allow()


@pytest.fixture
def serve(backend_name: str) -> Iterator[Callable[..., str]]:
    """Serve an agent with these snippets; gives the address."""
    register()
    apps: list[gradio.Blocks] = []
    agents: list[CodeAgent] = []

    def start(*snippets: str) -> str:
        options = {"backend": backend(backend_name), "governance": no_secrets}
        made = CodeAgent(
            [send],
            CodeModel(*snippets),
            executor_type="hardened",
            executor_kwargs=options,
            verbosity_level=0,
            additional_authorized_imports=["os", "PIL"],
        )
        agents.append(made)
        app: gradio.Blocks = GradioUI(made).create_app()
        app.launch(prevent_thread_lock=True, share=False, quiet=True, server_name="127.0.0.1")
        apps.append(app)
        return str(app.local_url)

    yield start
    for app, agent in zip(apps, agents, strict=True):
        app.close()
        agent.python_executor.close()
    gc.collect()  # here, where what the web libraries leave open is no error of ours


def test_a_program_talks_to_the_server(serve: Callable[..., str]) -> None:
    """Two messages of one chat run in one box, in whatever threads the server uses; the answers reach the client."""
    client = Client(serve("kept = 20\nfinal_answer(kept + 1)", "final_answer(kept * 2)"), verbose=False)
    assert "21" in str(client.predict("first", api_name="/_stream_response"))
    assert "40" in str(client.predict("second", api_name="/_stream_response"))


def test_a_person_chats_in_a_browser(serve: Callable[..., str]) -> None:
    """The page shows what each step printed in its box, the refusal of a call, the answers, and an image made in the box."""
    address = serve(
        "import os\nprint('process', os.getpid())",
        "send('secret')",
        "print(send('hello'))\nfinal_answer('the first answer')",
        "from PIL import Image\nfinal_answer(Image.new('RGB', (40, 30), (255, 0, 0)))",
    )
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser(), args=["--no-sandbox", "--disable-gpu"])
        page = chromium.new_page()
        page.set_default_timeout(PAGE_MS)
        expect.set_options(timeout=PAGE_MS)
        page.goto(address)
        said, chat = page.get_by_role("textbox"), page.get_by_role("log")
        say(said, "do it")
        expect(chat).to_contain_text("the first answer")
        for title, text in (("Execution Logs", "process 1"), ("Error", "that is a secret")):
            chat.get_by_text(title).first.click()
            expect(chat).to_contain_text(text)
        chat.get_by_text("Execution Logs").last.click()
        expect(chat).to_contain_text("sent hello")
        say(said, "draw")
        image = chat.locator("img[src*='/gradio_api/file=']").last
        expect(image).to_be_visible()
        assert image.evaluate("it => it.decode().then(() => `${it.naturalWidth}x${it.naturalHeight}`)") == "40x30"
        chromium.close()


def say(box: Locator, text: str) -> None:
    """Write a message and send it."""
    box.fill(text)
    box.press("Enter")
