"""A program on a terminal, for tests: a pseudo terminal, and as much of a screen as curses needs for TERM=xterm-256color.

What the screen does not know is an error, so that no output passes by unseen.
"""
import atexit
import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time
import unicodedata

CSI = re.compile(rb"\x1b\[(\??)([0-9;]*)([@A-Za-z])")
IGNORED = re.compile(rb"\x1b(?:[=>78]|[()][0B])|[\x0e\x0f]")
REVERSE_INDEX = re.compile(rb"\x1bM")


class Screen:
    """What a person sees: `lines`, and whether it is the alternate screen, with a cursor, in colours."""

    def __init__(self, rows, columns):
        self.alternate, self.cursor, self.coloured, self.rest = False, True, False, b""
        self.resize(rows, columns)

    def resize(self, rows, columns):
        self.rows, self.columns = rows, columns
        self.cells = [[" "] * columns for _ in range(rows)]
        self.row = self.column = self.top = 0
        self.bottom = rows - 1  # of what scrolls
        self.last = " "

    @property
    def lines(self):
        return ["".join(row).rstrip() for row in self.cells]

    def find(self, pattern):
        """The first line with a match, as the match; None."""
        return next((match for match in (re.search(pattern, line) for line in self.lines) if match), None)

    def feed(self, data):
        data, self.rest = self.rest + data, b""
        at = 0
        while at < len(data):
            if data[at] in b"\x1b\x0e\x0f":
                sequence = next(filter(None, (form.match(data, at) for form in (CSI, IGNORED, REVERSE_INDEX))), None)
                if sequence:
                    if sequence.re is CSI:
                        self.control(*(group.decode() for group in sequence.groups()))
                    elif sequence.re is REVERSE_INDEX:
                        self.step(-1)
                    at = sequence.end()
                    continue
                if len(data) - at > 32:
                    raise AssertionError(f"unknown sequence {data[at:at + 32]!r}")
                break
            length = 1 if data[at] < 0x80 else 2 if data[at] < 0xe0 else 3 if data[at] < 0xf0 else 4
            if at + length > len(data):
                break
            self.character(data[at:at + length].decode())
            at += length
        self.rest = data[at:]

    def scroll(self, first, n):
        """The lines from `first` to the bottom margin move up by n, or down."""
        lines = self.cells[first:self.bottom + 1]
        blank = [[" "] * self.columns for _ in range(min(abs(n), len(lines)))]
        self.cells[first:self.bottom + 1] = lines[len(blank):] + blank if n > 0 else blank + lines[:len(lines) - len(blank)]

    def step(self, n):
        """A line down or up, scrolling at the margin."""
        if self.row == (self.bottom if n > 0 else self.top):
            self.scroll(self.top, n)
        else:
            self.row = min(max(self.row + n, 0), self.rows - 1)

    def character(self, c):
        if c == "\r":
            self.column = 0
        elif c == "\n":
            self.step(1)
        elif c == "\b":
            self.column = max(self.column - 1, 0)
        elif c == "\t":
            self.column = min(self.column // 8 * 8 + 8, self.columns - 1)
        elif unicodedata.category(c) in ("Cc", "Cf"):
            raise AssertionError(f"a control character on the screen: {c!r}")
        elif unicodedata.combining(c):
            self.cells[self.row][max(self.column - 1, 0)] += c
        else:
            width = 2 if unicodedata.east_asian_width(c) in "WF" else 1
            if self.column + width > self.columns:
                self.column = 0
                self.step(1)
            self.cells[self.row][self.column:self.column + width] = [c] + [""] * (width - 1)
            self.column += width
            self.last = c

    def control(self, private, numbers, final):
        given = [int(number) if number else 0 for number in numbers.split(";")]
        n = max(given[0], 1)
        row = self.cells[min(self.row, self.rows - 1)]
        if private:
            for mode in given:
                if mode == 1049:
                    self.alternate = final == "h"
                elif mode == 25:
                    self.cursor = final == "h"
                elif mode not in (1, 7, 12):
                    raise AssertionError(f"unknown mode {mode}")
        elif final == "m":
            self.coloured |= any(30 <= code <= 38 or 40 <= code <= 48 or code >= 90 for code in given)
        elif final == "H":
            self.row, self.column = n - 1, max(given[1], 1) - 1 if len(given) > 1 else 0
        elif final == "d":
            self.row = n - 1
        elif final == "G":
            self.column = n - 1
        elif final in "ABCD":
            self.row += {"A": -n, "B": n}.get(final, 0)
            self.column += {"C": n, "D": -n}.get(final, 0)
        elif final == "J" and given[0] in (0, 2):
            if given[0] == 0:
                row[self.column:] = [" "] * (self.columns - self.column)
            for line in self.cells[self.row + 1 if given[0] == 0 else 0:]:
                line[:] = [" "] * self.columns
        elif final == "K" and given[0] in (0, 1):
            if given[0] == 0:
                row[self.column:] = [" "] * (self.columns - self.column)
            else:
                row[:self.column + 1] = [" "] * (self.column + 1)
        elif final == "X":
            row[self.column:self.column + n] = [" "] * min(n, self.columns - self.column)
        elif final == "P":
            row[self.column:] = (row[self.column + n:] + [" "] * n)[:self.columns - self.column]
        elif final == "@":
            row[self.column:] = ([" "] * n + row[self.column:])[:self.columns - self.column]
        elif final == "b":
            for _ in range(n):
                self.character(self.last)
        elif final == "r":
            self.top, self.bottom = n - 1, min(given[1] if len(given) > 1 and given[1] else self.rows, self.rows) - 1
            self.row = self.column = 0
        elif final in "LM":
            self.scroll(self.row, -n if final == "L" else n)
        elif final in "ST":
            self.scroll(self.top, n if final == "S" else -n)
        elif final not in "tlh":  # titles, insert mode
            raise AssertionError(f"unknown sequence CSI {numbers} {final}")


class Program:
    """A process whose terminal is a Screen. Its stderr is a file, so that what a sanitizer says is not drawn over."""

    def __init__(self, arguments, stderr, rows=24, columns=80, env=None, cwd=None):
        self.terminal, slave = os.openpty()
        self.screen = Screen(rows, columns)
        self.resize(rows, columns)
        self.settings = termios.tcgetattr(self.terminal)
        with open(stderr, "wb") as log:
            self.process = subprocess.Popen(list(map(str, arguments)), stdin=slave, stdout=slave, stderr=log,
                                            start_new_session=True, cwd=cwd, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
                                            env={**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "NO_COLOR": "",
                                                 **(env or {})})
        atexit.register(self.process.kill)
        self.slave = slave  # open, so that the terminal outlives the process

    def resize(self, rows, columns):
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.screen.resize(rows, columns)

    def silence(self):
        """Nothing that is typed is echoed."""
        settings = termios.tcgetattr(self.terminal)
        settings[3] &= ~termios.ECHO
        termios.tcsetattr(self.terminal, termios.TCSANOW, settings)

    def read(self, seconds=0.05):
        """What comes in this time goes to the screen."""
        deadline = time.monotonic() + seconds
        while select.select([self.terminal], [], [], max(0, deadline - time.monotonic()))[0]:
            self.screen.feed(os.read(self.terminal, 65536))

    def keys(self, text):
        os.write(self.terminal, text.encode())

    def shows(self, pattern, seconds):
        """Waits until a line matches; the match."""
        deadline = time.monotonic() + seconds
        while not (match := self.screen.find(pattern)):
            if time.monotonic() > deadline:
                raise AssertionError(f"not on the screen within {seconds} s: {pattern}\n" + "\n".join(self.screen.lines))
            self.read()
        return match

    def wait(self, seconds):
        """The exit status; everything it wrote is on the screen."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"did not end within {seconds} s\n" + "\n".join(self.screen.lines))
            self.read()
        self.read()
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.slave)
        os.close(self.terminal)
