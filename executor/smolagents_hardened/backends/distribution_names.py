"""What to install for an import, where the two names differ."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

# Only the well known ones: a name that is guessed could be somebody else's package.
DIFFERENT = {
    "Bio": "biopython",
    "Crypto": "pycryptodome",
    "OpenSSL": "pyOpenSSL",
    "PIL": "pillow",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "fitz": "PyMuPDF",
    "git": "GitPython",
    "jwt": "PyJWT",
    "mpl_toolkits": "matplotlib",
    "nacl": "PyNaCl",
    "pptx": "python-pptx",
    "re2": "google-re2",
    "ruamel": "ruamel.yaml",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "slugify": "python-slugify",
    "umap": "umap-learn",
    "yaml": "PyYAML",
    "zmq": "pyzmq",
}


def distribution_of(module: str) -> str:
    """The name to install for a top-level module: from the table, or else the module's own."""
    return DIFFERENT.get(module, module)


def command_line(names: Sequence[str]) -> str:
    """Names for a command line that is pasted into a shell: what came from elsewhere is quoted."""
    return " ".join(shlex.quote(name) for name in names)
