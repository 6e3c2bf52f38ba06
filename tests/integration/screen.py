"""A terminal that a program draws on: a pty, and pyte as what is behind its glass."""

import fcntl
import os
import select
import struct
import subprocess
import termios

import pytest

from lib import PATIENCE, wait_for


class Screen:
    def __init__(self, argv, columns=80, rows=24, env=None):
        self.pyte = pytest.importorskip("pyte", reason="python3-pyte is not installed (tools/setup)")
        self.screen = self.pyte.Screen(columns, rows)
        self.stream = self.pyte.ByteStream(self.screen)
        self.raw = b""
        self.fd, self.tty = os.openpty()
        self.resize(columns, rows)
        self.modes = termios.tcgetattr(self.tty)
        environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "LINES")}
        self.process = subprocess.Popen(argv, stdin=self.tty, stdout=self.tty, stderr=self.tty, start_new_session=True,
                                        env=environment | {"TERM": "linux", "LC_ALL": "C.UTF-8"} | (env or {}),
                                        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def fileno(self):
        return self.fd

    def resize(self, columns, rows):
        fcntl.ioctl(self.tty, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def read(self):
        """The lines that are seen, without blanks at their ends."""
        while select.select([self.fd], [], [], 0)[0]:
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                break
            self.raw += data
            self.stream.feed(data)
        return [line.rstrip() for line in self.screen.display]

    @property
    def text(self):
        return "\n".join(self.read())

    def see(self, fits):
        """Until the text fits: a part of it, or a function of it."""
        if isinstance(fits, str):
            part = fits

            def fits(text):
                return part in text
        wait_for(lambda: fits(self.text), lambda: f"the screen to fit, it has\n{self.text}", on=self)
        return self.text

    def type(self, keys):
        os.write(self.fd, keys if isinstance(keys, bytes) else keys.encode())

    def wait(self):
        """How the program ended; what it wrote last is read meanwhile, so that it can end."""
        wait_for(lambda: self.read() and self.process.poll() is not None, lambda: f"its end, the screen has\n{self.text}", PATIENCE)
        self.read()
        return self.process.returncode

    def restored(self):
        """Whether the terminal is as it was: its modes, and the screen that was there before."""
        return termios.tcgetattr(self.tty) == self.modes

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)
        os.close(self.fd)
        os.close(self.tty)
