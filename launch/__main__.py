"""Submits and manages jobs: python -m launch COMMAND [flags]; python -m launch COMMAND --help."""

import ast
import pathlib
import runpy
import sys

# Command -> the module of this package that runs it and the first arguments that it gets, in the
# order of --help.
COMMANDS = {
  "submit": "submit",
  "status": "manage status",
  "logs": "manage logs",
  "cancel": "manage cancel",
  "list": "manage list",
  "describe": "manage describe",
  "open": "manage open",
  "keep": "manage keep",
  "sweep": "sweep",
  "image": "image",
  "preflight": "preflight",
  "preflight_table": "preflight_table",
}


def summary(command: str) -> str:
  """Returns the first line of a command's docstring.

  It is that of the function run_COMMAND where the module has one, else the module's own. The source
  is parsed and not imported: JAX alone would take seconds.
  """
  module, *_ = COMMANDS[command].split()
  source = (pathlib.Path(__file__).parent / f"{module}.py").read_text()
  tree = ast.parse(source)

  docstring = ast.get_docstring(tree)
  for node in tree.body:
    if isinstance(node, ast.FunctionDef) and node.name == f"run_{command}":
      docstring = ast.get_docstring(node)

  assert docstring is not None, command
  return docstring.splitlines()[0]


def main() -> int:
  command = sys.argv[1] if len(sys.argv) > 1 else "--help"
  if command in ("--help", "-h", "help"):
    print(__doc__ + "\n")
    print("\n".join(f"  {name:<16} {summary(name)}" for name in COMMANDS))
    return 0

  if command not in COMMANDS:
    print(f"error: unknown command {command!r}; there are {', '.join(COMMANDS)}", file=sys.stderr)
    return 1

  # The module runs as __main__, because absl's --help shows the docstring and the flags of that.
  module, *arguments = COMMANDS[command].split()
  sys.argv = [f"launch {command}", *arguments, *sys.argv[2:]]
  runpy.run_module(f"launch.{module}", run_name="__main__", alter_sys=True)
  return 0


if __name__ == "__main__":
  sys.exit(main())
