"""Documents of the Python standard library: topics of the language reference, and docstrings.

Files are read with ast and never imported.
"""

import ast
import inspect
import itertools
import pathlib
import re
import sysconfig
import tokenize
from collections.abc import Iterator

from gato_jax.errors import MissingData

# Shorter texts are left out.
MIN_CHARACTERS = 200
_EXCLUDED = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}

# reStructuredText's decoration below a title.
_UNDERLINE = re.compile(r"^[*=~^-]{4,}\n", re.MULTILINE)
_TRAILING_SPACE = re.compile(r"[ \t]+$", re.MULTILINE)
_BLANK_LINES = re.compile(r"\n{3,}")


def read() -> Iterator[str]:
  """Yields the documents of both splits, each once: topics, then docstrings by file and line.

  Raises:
    MissingData: This Python lacks the sources of its standard library.
  """
  root = pathlib.Path(sysconfig.get_path("stdlib"))
  topics = root / "pydoc_data" / "topics.py"
  if not topics.exists():
    raise MissingData(
      f"text.python_docs: {topics} is not there; install Python with its standard library"
    )

  seen = set()
  for title, body in itertools.chain(_topics(topics), _all_docstrings(root)):
    body = _clean(body)
    if len(body) < MIN_CHARACTERS or body in seen:
      continue
    seen.add(body)
    yield f"{title}\n\n{body}\n"


def read_code() -> Iterator[str]:
  """Yields source files without triple-quoted strings.

  They are more words for the tokenizer, and contain no document.
  """
  for path in _sources(pathlib.Path(sysconfig.get_path("stdlib"))):
    with path.open("rb") as file:
      tokens = list(tokenize.tokenize(file.readline))

    quoted_lines: set[int] = set()
    for token in tokens:
      if token.type == tokenize.STRING and token.string.endswith(('"""', "'''")):
        quoted_lines.update(range(token.start[0], token.end[0] + 1))

    # Line number -> text; all tokens of a line carry the same text.
    lines = {}
    for token in tokens:
      if token.start[0] not in quoted_lines:
        lines[token.start[0]] = token.line.rstrip()
    yield "\n".join(lines.values())


def _topics(path: pathlib.Path) -> Iterator[tuple[str, str]]:
  """Yields (topic, text) of pydoc's copy of the language reference, which is one literal dict."""
  for node in _parse(path).body:
    if isinstance(node, ast.Assign):
      yield from sorted(ast.literal_eval(node.value).items())


def _all_docstrings(root: pathlib.Path) -> Iterator[tuple[str, str]]:
  """Yields (qualified name, docstring) of the whole library."""
  for path in _sources(root):
    parts = path.relative_to(root).with_suffix("").parts
    if parts[-1] == "__init__":
      parts = parts[:-1]
    yield from _docstrings(_parse(path), ".".join(parts))


def _sources(root: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields the library's files, without tests and installed packages."""
  for path in sorted(root.rglob("*.py")):
    parts = path.relative_to(root).parts
    if not _EXCLUDED.intersection(parts) and parts[0] != "pydoc_data":
      yield path


def _docstrings(
  node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, name: str
) -> Iterator[tuple[str, str]]:
  """Yields (qualified name, docstring) of a node and of everything inside it."""
  docstring = ast.get_docstring(node, clean=False)
  if docstring:
    yield name, docstring

  for child in node.body:
    if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
      yield from _docstrings(child, f"{name}.{child.name}")


def _parse(path: pathlib.Path) -> ast.Module:
  # tokenize.open honours the file's coding line.
  with tokenize.open(path) as file:
    return ast.parse(file.read())


def _clean(text: str) -> str:
  """Removes common indentation, title underlines, trailing space and runs of blank lines."""
  text = _UNDERLINE.sub("", inspect.cleandoc(text) + "\n")
  text = _TRAILING_SPACE.sub("", text)
  return _BLANK_LINES.sub("\n\n", text).strip()
