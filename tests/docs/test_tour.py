"""docs/tour.md does what it prints.

`python tests/docs/test_tour.py` writes the outputs anew, after a change that is meant.
"""

import contextlib
import io
import pathlib
import re
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "tour.md"

# A block of code and, where it prints something, the block of text right behind it.
BLOCK = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<output>.*?)```\n)?", re.DOTALL)


def run_block(code: str, namespace: dict[str, Any]) -> str:
  """Executes a block in the page's namespace and returns what it prints."""
  printed = io.StringIO()
  with contextlib.redirect_stdout(printed):
    exec(compile(code, str(PAGE), "exec"), namespace)

  return "\n".join(line.rstrip() for line in printed.getvalue().splitlines())


def test_every_block_prints_what_the_page_says():
  blocks = list(BLOCK.finditer(PAGE.read_text()))
  assert len(blocks) > 10

  namespace: dict[str, Any] = {}
  for block in blocks:
    output = run_block(block["code"], namespace)
    assert output == (block["output"] or "").rstrip("\n"), block["code"]


def write_outputs() -> None:
  """Executes the page and replaces the outputs in it."""
  namespace: dict[str, Any] = {}

  def with_output(block: re.Match) -> str:
    output = run_block(block["code"], namespace)
    printed = f"\n```text\n{output}\n```\n" if output else ""
    return f"```python\n{block['code']}```\n{printed}"

  PAGE.write_text(BLOCK.sub(with_output, PAGE.read_text()))


if __name__ == "__main__":
  write_outputs()
