"""smolagents' web interface over a real server on loopback, talked to as a browser would.

Not collected by itself: gradio asks for an older Pillow than the lock has. In an environment that has gradio:
`pytest tests/parity/gradio_chat.py`.
"""

from __future__ import annotations

import gc

import gradio
import pytest
from gradio_client import Client
from smolagents import CodeAgent, GradioUI
from tests.support.backends import backend
from tests.support.models import CodeModel

from smolagents_hardened import register

# What the web libraries warn about on behalf of each other.
pytestmark = pytest.mark.filterwarnings("ignore")


def test_a_chat_over_a_real_server(backend_name: str) -> None:
    """Two messages of one chat run in one box, in whatever threads the server uses; the answers reach the client."""
    register()
    agent = CodeAgent(
        [],
        CodeModel("kept = 20\nprint('working')\nfinal_answer(kept + 1)", "final_answer(kept * 2)"),
        executor_type="hardened",
        executor_kwargs={"backend": backend(backend_name)},
        verbosity_level=0,
    )
    app: gradio.Blocks = GradioUI(agent).create_app()
    app.launch(prevent_thread_lock=True, share=False, quiet=True, server_name="127.0.0.1")
    try:
        client = Client(app.local_url, verbose=False)
        assert "21" in str(client.predict("first", api_name="/_stream_response"))
        assert "40" in str(client.predict("second", api_name="/_stream_response"))
    finally:
        app.close()
        agent.python_executor.close()
        gc.collect()  # here, where what the web libraries leave open is no error of ours
