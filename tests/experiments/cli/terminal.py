"""A terminal: a program runs in a real one, and what it wrote is read as a person would see it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

ROOT = Path(__file__).parents[3]
TOKEN = re.compile(r"\x1b\[(?P<numbers>[?\d;]*)(?P<command>[A-Za-z])|(?P<text>[^\x1b])", re.DOTALL)


class Screen:
    """What is on a terminal of endless height after some output.

    It knows what rich writes to move about, and refuses anything else.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        self.row = self.column = 0
        self.cursor_is_shown = True
        self.seen: list[list[str]] = []
        """The screen each time before a part of it was erased, which is how it is redrawn."""
        self._is_drawn = False
        self._lines: list[list[str]] = [[]]

    @property
    def lines(self) -> list[str]:
        """The lines, without the empty ones at the end."""
        lines = ["".join(line).rstrip() for line in self._lines]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def feed(self, output: str) -> Screen:
        position = 0
        while position < len(output):
            token = TOKEN.match(output, position)
            assert token is not None, f"unknown sequence {output[position : position + 10]!r}"
            position = token.end()
            if token["text"] is not None:
                self._write(token["text"])
            else:
                self._move(token["command"], token["numbers"])
        return self

    def _write(self, character: str) -> None:
        self._is_drawn |= character != "\r"
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self._down()
        else:
            if self.column == self.width:
                self._down()
                self.column = 0
            line = self._lines[self.row]
            line.extend(" " * (self.column + 1 - len(line)))
            line[self.column] = character
            self.column += 1

    def _move(self, command: str, numbers: str) -> None:
        if command == "A":
            self.row -= int(numbers or 1)
            assert self.row >= 0, "it went above the first line"
        elif command == "K":
            assert numbers == "2", f"unknown kind of erasing {numbers}"
            if self._is_drawn:
                self.seen.append(self.lines)
            self._is_drawn = False
            self._lines[self.row] = []
        elif command in "hl":
            assert numbers == "?25", f"unknown mode {numbers}"
            self.cursor_is_shown = command == "h"
        else:
            assert command == "m", f"unknown sequence {command}"

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self._lines):
            self._lines.append([])


def in_terminal(code: str, *arguments: object, width: int, **environment: str) -> tuple[int, str]:
    """Run Python code in a terminal of its own; return its exit code and all that it wrote."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={**kept, "TERM": "xterm-256color", **environment},
    )  # fmt: skip
    os.close(theirs)
    written = bytearray()
    try:
        while True:
            try:
                part = os.read(ours, 65_536)
            except OSError:  # on Linux, where the other end is closed
                break
            if not part:
                break
            written += part
        return process.wait(60), written.decode()
    finally:
        process.kill()
        process.wait()
        os.close(ours)
