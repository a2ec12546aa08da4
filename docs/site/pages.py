"""A hook of MkDocs: the site's pages are those of the checkout, and a reference of its modules.

Pages keep their paths in the repository, so that a link works on the site as it does in the
repository. A link to a Python file or to a package leads to its page of the reference.
"""

import pathlib
import posixpath
import re
import subprocess
from collections.abc import Iterable
from typing import Any

from mkdocs import plugins
from mkdocs.structure.files import File, Files

ROOT = pathlib.Path(__file__).resolve().parents[2]
REFERENCE = "reference"

# What others call from Python; verbs and domains have pages of their own.
SHARED = ("base", "files", "planners", "recordings", "scenes", "worlds")
PACKAGES = ("gato_jax", "launch", *(f"rlds_builders/{name}" for name in SHARED))

_PAGES = (".md", ".ipynb")
_LINKED = (".png", ".yaml", ".jsonl", ".csv")  # files that pages link to
_LINK = re.compile(r"(!?\[[^\]]*\]\()([^)#\s]+)((?:#[^)\s]*)?\))")


def tracked() -> list[str]:
  """Returns the paths that git has, or that it does not ignore."""
  command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
  listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
  return sorted(path for path in listed.stdout.splitlines() if (ROOT / path).exists())


def modules(paths: Iterable[str]) -> list[str]:
  """Returns the Python files of the reference."""
  return [
    path
    for path in paths
    if path.endswith(".py") and path.startswith(tuple(f"{package}/" for package in PACKAGES))
  ]


def page_of(module: str) -> str:
  """Returns the reference's page of a Python file: a package's is the index of a directory."""
  path = module.removesuffix("/__init__.py")
  return f"{REFERENCE}/{path}/index.md" if path != module else f"{REFERENCE}/{path[:-3]}.md"


def on_config(config: Any) -> Any:
  """Adds the reference to the navigation, nested as packages are."""
  tree: dict[str, Any] = {}
  for module in modules(tracked()):
    node = tree
    *parents, name = module.split("/")
    for parent in parents:
      node = node.setdefault(f"{parent}/", {})
    node["__init__.py" if name == "__init__.py" else name.removesuffix(".py")] = page_of(module)

  config.nav.append({"Reference": _navigation(tree)})
  return config


def _navigation(tree: dict[str, Any]) -> list[Any]:
  """Returns MkDocs' form of a tree, each package's own page first."""
  entries: list[Any] = [tree["__init__.py"]] if "__init__.py" in tree else []
  for name, value in tree.items():
    if name != "__init__.py":
      entries.append({name: value if isinstance(value, str) else _navigation(value)})
  return entries


@plugins.event_priority(100)  # before the plugin that makes pages of notebooks
def on_files(files: Files, config: Any) -> Files:
  """Replaces the files of docs_dir, where only this hook is, by those of the checkout."""
  pages = Files([file for file in files if not file.src_uri.endswith(".py")])  # the theme's
  paths = tracked()

  for path in paths:
    if path.endswith(_PAGES + _LINKED) and not path.startswith((".", "tests/")):
      pages.append(File(path, str(ROOT), config.site_dir, config.use_directory_urls))

  for module in modules(paths):
    name = module.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    content = f"# {name}\n\n`{module}`\n\n::: {name}\n"
    pages.append(File.generated(config, page_of(module), content=content))

  return pages


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
  """Turns links to Python files and to directories into links to pages."""
  directory = posixpath.dirname(page.file.src_uri)

  def replaced(match: re.Match[str]) -> str:
    target = posixpath.normpath(posixpath.join(directory, match[2]))
    for candidate in _pages_of(target):
      if files.get_file_from_path(candidate):
        return f"{match[1]}{posixpath.relpath(candidate, directory or '.')}{match[3]}"
    return match[0]

  return _LINK.sub(replaced, markdown)


def _pages_of(target: str) -> list[str]:
  """Returns the pages that stand for a path of the repository, the best one first."""
  if target.endswith(".py"):
    return [page_of(target)]
  if (ROOT / target).is_dir():
    return [f"{target}/README.md", page_of(f"{target}/__init__.py")]
  return []
