"""Names, summaries and flags of the verbs, read from their source: importing takes seconds.

A verb is a module of experiments/ that can be run. Its help is its docstring, and its flags are
those that its source defines, with those of experiments/cli/runner.py that it gets from there.
"""

import argparse
import ast
import difflib
import functools
import importlib.metadata
import os
import pathlib
import textwrap
from typing import Any

_FOLDER = pathlib.Path(__file__).parent
_CONFIGS = _FOLDER / "configs"

# In the order in which a newcomer meets them.
_ORDER = (
  *("play", "demo", "collect", "build", "check", "view", "describe"),
  *("train", "evaluate", "report", "measure", "interpret", "generate", "serve", "realtime"),
  *("export", "convert", "add", "dagger", "study", "train_tokenizer", "doctor"),
)


# Verb -> the extra of pyproject.toml with what it needs; "all" for the others.
_EXTRAS = {
  "collect": "collect,simulators",
  "build": "data,collect",
  "train": "train",
  "evaluate": "evaluate,simulators",
  "report": "report",
  "play": "play",
  "generate": "verbs",
  "serve": "serve",
  "launch": "launch",
}
# Packages of this repository.
OURS = ("gato_jax", "experiments", "rlds_builders", "launch")


@functools.cache
def names() -> list[str]:
  """Returns the verbs; those that nobody has put in order come last."""
  verbs = {path.stem for path in _FOLDER.glob("*.py") if _is_verb(path)}
  ordered = [name for name in _ORDER if name in verbs]
  return ordered + sorted(verbs - set(ordered))


def _is_verb(path: pathlib.Path) -> bool:
  is_run = 'if __name__ == "__main__":'
  return path.stem != "__main__" and is_run in path.read_text().splitlines()


@functools.cache
def configs() -> list[str]:
  """Returns the names of the experiment configs: "demo", "studies/history"."""
  files = (path.relative_to(_CONFIGS) for path in _CONFIGS.rglob("*.py") if path.stem[:1].isalpha())
  return sorted(path.with_suffix("").as_posix() for path in files if path.stem != "default")


def version() -> str:
  return importlib.metadata.version("gato_jax")


def unknown(verb: str) -> str:
  """Returns the message about a verb that does not exist."""
  (nearest,) = difflib.get_close_matches(verb, [*names(), "launch"], n=1, cutoff=0.0)
  return f"unknown verb {verb!r}; did you mean {nearest!r}? gato --help lists them"


def lacking(verb: str, package: str) -> str:
  """Returns the message about a package that a verb needs and that is not installed."""
  extra = _EXTRAS.get(verb, "all")
  return (
    f'gato {verb} needs {package}, which is not installed: pip install "gato_jax[{extra}]" '
    "(gato doctor says what else is missing)"
  )


def overview() -> str:
  """Returns the text of `gato --help`."""
  lines = ["usage: gato VERB [flags]", ""]
  for name in names():
    lines.append(f"  {name:<16}{_summary(name)}")
  lines += [
    f"  {'launch':<16}Submits and manages jobs: gato launch --help",
    f"  {'completion':<16}Prints what lets bash complete verbs, flags and configs",
    "",
    f"configs (--config=NAME): {', '.join(configs())}",
    "",
    "gato VERB --help shows a verb's flags. python -m experiments.VERB is the same command.",
  ]
  return "\n".join(lines)


def _summary(name: str) -> str:
  """Returns the first sentence of a verb's docstring, without its example."""
  docstring = ast.get_docstring(_tree(_FOLDER / f"{name}.py")) or ""
  return docstring.splitlines()[0].partition(": python -m")[0].rstrip(".")


def parser(verb: str) -> argparse.ArgumentParser:
  """Returns a parser that shows a verb's flags and completes them; absl parses them in earnest."""
  tree = _tree(_FOLDER / f"{verb}.py")
  made = argparse.ArgumentParser(
    f"gato {verb}",
    usage=f"gato {verb} [flags]",
    description=ast.get_docstring(tree),
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )

  calls = _flag_calls(tree)
  runs = _run_call(tree)
  if runs is not None:
    inherited = _flag_calls(_tree(_FOLDER / "cli" / "runner.py"))
    plays = any(keyword.arg == "plays" for keyword in runs.keywords)
    calls += [call for call in inherited if plays or _text(call.args[0]) != "checkpoint"]

  for call in calls:
    _add(made, call)
  return made


def _add(made: argparse.ArgumentParser, call: ast.Call) -> None:
  """Adds the flag that a call of flags.DEFINE_... defines."""
  kind = call.func.attr.removeprefix("DEFINE_")  # type: ignore[attr-defined]
  arguments = [_text(argument) for argument in call.args]
  named = {keyword.arg: _text(keyword.value) for keyword in call.keywords}
  name, default = arguments[0], arguments[1]
  text = _help_of(kind, arguments)

  options: dict[str, Any] = {}
  if kind == "config_file":
    # What the file sets is set by --config.NAME=VALUE as well.
    text += " A name (demo) means experiments/configs/demo.py."
  if kind == "enum":
    choices = call.args[2]
    if isinstance(choices, ast.Tuple | ast.List):
      options["choices"] = [_text(choice) for choice in choices.elts]
  if kind == "bool":
    options["action"] = "store_true"
    text += f" --no{name} is its opposite." if default == "True" else ""
  else:
    options["metavar"] = name.upper()
  has_value = isinstance(call.args[1], ast.Constant) and default not in ("None", "", "False")
  if has_value and kind != "bool":
    text += f" [{default}]"
  if "required" in named:
    text += " Required."

  argument = made.add_argument(
    f"--{name}", help=textwrap.dedent(text).replace("%", "%%"), default=None, **options
  )
  if kind == "config_file":
    argument.completer = lambda **_: configs()  # type: ignore[attr-defined]


def _help_of(kind: str, arguments: list[str]) -> str:
  """Returns a flag's help: the third argument, or the fourth of a flag with choices."""
  index = 3 if kind in ("enum", "multi_enum") else 2
  return arguments[index] if len(arguments) > index else ""


def _flag_calls(tree: ast.Module) -> list[ast.Call]:
  """Returns the calls that define flags, in the order of the source."""
  calls = [
    node
    for node in ast.walk(tree)
    if isinstance(node, ast.Call)
    and isinstance(node.func, ast.Attribute)
    and node.func.attr.startswith("DEFINE_")
  ]
  return sorted(calls, key=lambda call: call.lineno)


def _run_call(tree: ast.Module) -> ast.Call | None:
  """Returns the call of `cli.run`; None of a verb without an experiment."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "cli.run":
      return node
  return None


def _text(node: ast.expr) -> str:
  """Returns the value of a constant, or the source of what is computed."""
  if isinstance(node, ast.Constant):
    return str(node.value)
  if isinstance(node, ast.JoinedStr):
    return "".join(
      str(part.value) if isinstance(part, ast.Constant) else f"{{{ast.unparse(part)}}}"
      for part in node.values
    )
  return ast.unparse(node)


@functools.cache
def _tree(path: pathlib.Path) -> ast.Module:
  return ast.parse(path.read_text())


def complete() -> None:
  """Answers the shell where it asks for completions, and ends the process then."""
  # Reading every verb's source is for completions alone.
  if "_ARGCOMPLETE" not in os.environ:
    return
  try:
    import argcomplete
  except ImportError:
    return

  made = argparse.ArgumentParser("gato")
  chosen = made.add_subparsers()
  for name in names():
    chosen.add_parser(name, parents=[parser(name)], add_help=False)
  chosen.add_parser("launch", add_help=False)
  argcomplete.autocomplete(made)


def completion_script() -> str:
  """Returns what bash evaluates to complete the command."""
  import argcomplete

  return argcomplete.shellcode(["gato"], shell="bash")
