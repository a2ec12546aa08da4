# PYTHON_ARGCOMPLETE_OK
"""All verbs under one command: gato VERB [flags], or python -m experiments VERB [flags].

The same as `python -m experiments.VERB`, but --help answers at once, and the shell completes verbs,
flags and configs: eval "$(gato completion)" in ~/.bashrc.
"""

import runpy
import sys

from experiments import verbs


def main() -> int:
  """Runs the verb that the command line names; returns the exit status."""
  verbs.complete()

  arguments = sys.argv[1:]
  if not arguments or arguments[0] in ("-h", "--help", "help"):
    print(verbs.overview())
    return 0

  verb, *rest = arguments
  if verb == "--version":
    print(f"gato_jax {verbs.version()}")
    return 0
  if verb == "completion":
    print(verbs.completion_script())
    return 0
  if verb not in (*verbs.names(), "launch"):
    print(f"error: {verbs.unknown(verb)}", file=sys.stderr)
    return 1

  # The verb's own flags, without what importing it would take.
  if verb != "launch" and rest and rest[0] in ("-h", "--help"):
    verbs.parser(verb).print_help()
    return 0

  sys.argv = [f"gato {verb}", *rest]
  module = "launch" if verb == "launch" else f"experiments.{verb}"
  try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
  except ModuleNotFoundError as e:
    # A package that is not installed; that a module of ours is missing is a bug.
    if e.name is None or e.name.split(".")[0] in verbs.OURS:
      raise
    print(f"error: {verbs.lacking(verb, e.name)}", file=sys.stderr)
    return 1
  return 0


if __name__ == "__main__":
  sys.exit(main())
