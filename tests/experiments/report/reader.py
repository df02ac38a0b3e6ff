"""What a reader sees of a page, and what a browser makes of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

EVIL = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>"


class Reader(HTMLParser):
    """Collect the tags, the addresses and the text a reader sees."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.scripts: list[tuple[dict, str]] = []
        self.text: list[str] = []
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self._inside = tag
        given = dict(attrs)
        self.addresses += [given[name] for name in ("src", "href", "action") if name in given]
        if tag == "script":
            self.scripts.append((given, ""))

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            given, text = self.scripts[-1]
            self.scripts[-1] = (given, text + data)
        elif self._inside != "style":
            self.text.append(data)

    @property
    def figures(self) -> dict:
        (text,) = (body for given, body in self.scripts if given.get("id") == "figures")
        return json.loads(text)

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.text))

    def names(self, key: str) -> list[str]:
        """Return the names of a chart's curves."""
        return [trace.get("name", "") for trace in self.figures[key]["data"]]

    def shaded(self, key: str) -> list[dict]:
        """Return the in-sample shades of a chart."""
        shapes = self.figures[key]["layout"].get("shapes", [])
        return [shape for shape in shapes if shape.get("name") == "in-sample"]


def drawn_document(page: Path, scratch: Path) -> str:
    """Return the document that a browser without a network makes of a page."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        pytest.skip("no chromium on this machine")
    return subprocess.run(
        [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={scratch / 'profile'}",
            "--virtual-time-budget=8000",
            "--dump-dom",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    ).stdout
