"""Tables in a terminal are never cut."""

import io

import rich.console

from experiments.analysis.report import console as terminal


def printed(width: int, task: str) -> list[str]:
  file = io.StringIO()
  shown = terminal.table(left=["task"], right=["score %", "95 %"])
  terminal.add_row(shown, [task, "12.3", "[1, 23]"])
  terminal.fitting(rich.console.Console(file=file, width=width), shown).print(shown)
  return file.getvalue().splitlines()


def test_a_long_row_is_whole_in_a_file():
  task = "control_suite_random_large." + "cartpole-balance_sparse" * 10
  _, row = printed(80, task)
  assert row.split() == [task, "12.3", "[1,", "23]"]


def test_a_wide_terminal_keeps_its_width():
  console = rich.console.Console(file=io.StringIO(), width=300)
  assert terminal.fitting(console, terminal.table(left=["task"], right=[])) is console
