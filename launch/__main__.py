"""Where to run: python -m launch COMMAND [flags]; python -m launch COMMAND --help."""

import ast
import pathlib
import runpy
import sys

COMMANDS = ("submit", "status", "logs", "cancel", "list", "keep", "sweep", "preflight", "preflight_table")


def summary(command: str) -> str:
  """The first line of the command's docstring; nothing is imported."""
  source = (pathlib.Path(__file__).parent / f"{command}.py").read_text()
  return ast.get_docstring(ast.parse(source)).splitlines()[0]


def main() -> int:
  asked = sys.argv[1] if len(sys.argv) > 1 else "--help"
  if asked in ("--help", "-h", "help"):
    print(__doc__ + "\n")
    print("\n".join(f"  {command:<16} {summary(command)}" for command in COMMANDS))
    return 0
  if asked not in COMMANDS:
    print(f"error: unknown command {asked!r}; there are {', '.join(COMMANDS)}", file=sys.stderr)
    return 1
  sys.argv = [f"launch {asked}", *sys.argv[2:]]
  runpy.run_module(f"launch.{asked}", run_name="__main__", alter_sys=True)  # absl shows the docstring of __main__
  return 0


if __name__ == "__main__":
  sys.exit(main())
