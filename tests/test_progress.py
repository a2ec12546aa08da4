"""Progress bars in a log: few lines, each of them whole."""

import io
import os
import pty

import pytest

from gato_jax import progress


@pytest.fixture
def log():
  return io.StringIO()


def test_a_log_has_the_first_and_the_last_state(log):
  with progress.Bar(range(1000), desc="collect", unit="episode", file=log) as bar:
    for number in bar:
      bar.set_postfix_str(f"task {number}")

  first, last = log.getvalue().splitlines()
  assert first.startswith("collect:   0%") and "0/1000" in first
  assert last.startswith("collect: 100%") and "1000/1000" in last and "task 999" in last
  assert "\r" not in log.getvalue() and log.getvalue().endswith("\n")


def test_a_log_has_a_line_now_and_then(log, monkeypatch):
  monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
  for _ in progress.Bar(
    range(5), desc="build", unit="dataset", file=log, mininterval=0, miniters=1
  ):
    pass

  lines = log.getvalue().splitlines()
  assert [f"{number}/5" in line for number, line in enumerate(lines[:6])] == [True] * 6


def test_what_is_written_between_stands_on_a_line_of_its_own(log):
  with progress.Bar(total=2, desc="build", unit="dataset", file=log) as bar:
    bar.update()
    bar.write("a line", file=log)
    bar.update()

  assert log.getvalue().splitlines()[1] == "a line"


def test_a_bar_that_leaves_nothing_ends_silently(log):
  for _ in progress.Bar(range(3), desc="prepare", unit="episode", leave=False, file=log):
    pass

  (line,) = log.getvalue().splitlines()
  assert "0/3" in line


def test_a_terminal_shows_every_state_in_one_place():
  main, terminal = pty.openpty()
  with os.fdopen(terminal, "w") as file:
    # This terminal has no width.
    settings = {"dynamic_ncols": False, "ncols": 80, "mininterval": 0, "miniters": 1}
    for _ in progress.Bar(range(3), desc="train", unit="step", file=file, **settings):
      pass
    shown = os.read(main, 10_000).decode()

  assert shown.count("\r") > 3 and shown.count("\n") == 1
  assert all(f"{number}/3" in shown for number in range(4))
