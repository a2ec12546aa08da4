"""Hashes the code that makes the episodes or documents of a domain.

A hook, "module:function", names a domain's environment, expert or documents. The code behind it is
the Python files of its directory, and the modules of the same package (rlds_builders) that these
import, directly or through others.
"""

import ast
import functools
import hashlib
import importlib.util
import pathlib
import re
from collections.abc import Iterator
from typing import Any

from gato_jax.errors import GatoError

# Ending of modules that copy episodes or documents into TFDS' format, with TensorFlow.
_BUILDER_SUFFIX = "_builder"
# A string that names a function of another module, as for images that another process draws.
_HOOK = re.compile(r"([\w.]+):\w+")


@functools.cache
def code_hash(hook: str, *other_hooks: str) -> str:
  """Returns a hash of the code behind a domain's hooks.

  These do not count: comments, docstrings and layout; a domain's `__init__.py`, because
  declarations are compared part by part; builders of TFDS datasets, which only copy; other
  packages. Modules are hashed by name, so that a checkout elsewhere has the same hash.

  A hook outside a directory of a package, such as "my_module:make", stands for its module alone.

  The hash is computed once per process, whose imported code does not change either.

  Args:
    hook: "module:function"; all Python files of its directory count.
    *other_hooks: Their modules count, but not the other files of their directories.

  Raises:
    GatoError: There is no such module.
  """
  code = _read_code(hook, whole_directory=True)
  for other_hook in other_hooks:
    code |= _read_code(other_hook, whole_directory=False)

  digest = hashlib.sha256()
  for name in sorted(code):
    digest.update(name.encode())
    digest.update(_dump(code[name]).encode())
  return digest.hexdigest()[:16]


def _dump(node: Any) -> str:
  """Returns what `ast.dump` returns in Python 3.11, whichever Python runs.

  Later ones add fields and leave out empty ones, and data must not look old for that.
  """
  if isinstance(node, list):
    return f"[{', '.join(map(_dump, node))}]"
  if not isinstance(node, ast.AST):
    return repr(node)

  fields = []
  for name in node._fields:
    value = getattr(node, name, None)
    # Parameters of generic functions and classes are of Python 3.12.
    if value is None and getattr(type(node), name, ...) is None:
      continue
    if name == "type_params" and not value:
      continue
    fields.append(f"{name}={_dump(value)}")
  return f"{type(node).__name__}({', '.join(fields)})"


def _read_code(hook: str, whole_directory: bool) -> dict[str, ast.Module]:
  """Returns the names and the code of the modules behind a hook.

  Raises:
    GatoError: There is no such module.
  """
  name = hook.split(":")[0]
  spec = importlib.util.find_spec(name)
  if spec is None or not spec.origin:
    raise GatoError(f"hook {hook!r}: there is no module {name}; correct the Domain")

  path = pathlib.Path(spec.origin)
  parts = name.split(".")
  if len(parts) < 3:  # not <package>.<domain>.<module>
    return {name: _parse(path)}

  # The directory that contains the package is one level up for each part of the name, and one more
  # for the file of a package.
  root = path.parents[len(parts) - (0 if path.name == "__init__.py" else 1)]
  pending = [name]
  if whole_directory:
    pending += [_module_name(file, root) for file in path.parent.rglob("*.py")]

  code: dict[str, ast.Module] = {}
  while pending:
    name = pending.pop()
    module_path = _module_path(name, root)
    if name in code or module_path is None or not _counts(name, module_path):
      continue
    # The hook's own directory may have no builder yet, but its __init__.py is a declaration.
    if module_path == path.parent / "__init__.py":
      continue

    code[name] = _parse(module_path)
    package = name if module_path.name == "__init__.py" else name.rpartition(".")[0]
    pending += _imports(code[name], package, root=root)

  return code


def _module_name(path: pathlib.Path, root: pathlib.Path) -> str:
  """Returns the name of a file's module; `root` is the directory that contains its package."""
  parts = path.relative_to(root).with_suffix("").parts
  return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _module_path(name: str, root: pathlib.Path) -> pathlib.Path | None:
  """Returns the file of a module below `root`; None where there is no such module."""
  base = root.joinpath(*name.split("."))
  for path in (base.with_name(f"{base.name}.py"), base / "__init__.py"):
    if path.is_file():
      return path

  return None


def _counts(name: str, path: pathlib.Path) -> bool:
  """Returns True for modules that make data: no builder, no declaration, no list of domains."""
  if name.endswith(_BUILDER_SUFFIX) or "." not in name:
    return False

  is_declaration = path.name == "__init__.py" and any(path.parent.glob(f"*{_BUILDER_SUFFIX}.py"))
  # The package of shared builders has no declaration either, only a docstring.
  return not is_declaration


def _imports(tree: ast.Module, package: str, root: pathlib.Path) -> Iterator[str]:
  """Yields the names of modules that a module imports, at its top or in functions.

  Functions that it names by a string "module:function" count as well.

  Args:
    tree: The module's code.
    package: Package of the module, for relative imports. Only imports of the same top-level package
      are returned.
    root: The directory that contains the top-level package.
  """
  parents = package.split(".")

  for node in ast.walk(tree):
    imported: list[str] = []
    if isinstance(node, ast.Import):
      imported = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      source = node.module or ""
      if node.level:
        # One dot is the module's own package, each further one the package above.
        base = parents[: len(parents) - node.level + 1]
        source = ".".join([*base, source] if source else base)
      for alias in node.names:
        # `from a import b` imports the module a.b, or a name from the module a.
        submodule = f"{source}.{alias.name}"
        imported.append(submodule if _module_path(submodule, root) else source)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
      match = _HOOK.fullmatch(node.value)
      imported = [match[1]] if match else []

    yield from (module for module in imported if module.split(".")[0] == parents[0])


def _parse(path: pathlib.Path) -> ast.Module:
  """Parses a Python file, without its docstrings."""
  tree = ast.parse(path.read_text())
  with_docstrings = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
  for node in ast.walk(tree):
    if isinstance(node, with_docstrings) and ast.get_docstring(node) is not None:
      node.body = node.body[1:]

  return tree
