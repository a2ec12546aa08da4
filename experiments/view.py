"""Shows datasets before they are trained on: python -m experiments.view --config=...

Writes one page with episodes as videos, actions and states as curves under them, the tokens of a
step, the numbers of every field over its bins, what the return filter keeps, and what is odd.

Chosen tasks:   --task=meta_world.reach-v3,babyai.*
On a port:      --serve (only on this machine)
"""

import pathlib

from absl import flags

from experiments import cli
from experiments.analysis.view import page
from gato_jax import progress
from gato_jax.domain import DocumentDomain
from gato_jax.errors import GatoError
from gato_jax.storage import disk

_TASK = flags.DEFINE_list(
  "task",
  [],
  "Tasks to show, as domain.task, with * and ? for any letters; by default the first ten.",
)
_EPISODES = flags.DEFINE_integer("episodes", 3, "Episodes of each task that are shown.", 1)
_OUT = flags.DEFINE_string("out", "", "Folder of the page; <workdir>/view by default.")
_SERVE = flags.DEFINE_bool("serve", False, "Serves the page on this machine until Ctrl-C.")
_PORT = flags.DEFINE_integer("port", 8000, "With --serve: the port; 0 takes a free one.", 0)

_MOST_TASKS = 10  # on a page, where none is named


def main(experiment: cli.Experiment) -> None:
  # TensorFlow, which --help does without.
  from experiments.analysis.view import content
  from gato_jax.data import prepared

  names = _chosen(experiment)
  text = experiment.text_codec()
  tasks = []
  for name in progress.Bar(names, desc="view", unit="task"):
    data = prepared.load(experiment.tfds, name, keep=experiment.config.data.keep)
    assert isinstance(data, prepared.PreparedEpisodes), name
    tasks.append(content.task_content(data, text, _EPISODES.value))

  out = pathlib.Path(_OUT.value or experiment.workdir / "view")
  with disk.writing(out):
    index = page.write(out / "index.html", experiment.config.name, tasks)

  for task in tasks:
    for finding in task["findings"]:
      print(f"{task['task']}: {finding['kind']}: {finding['text']}")
  print(f"view: {index.resolve()}")
  if _SERVE.value:
    page.serve(out, _PORT.value)


def _chosen(experiment: cli.Experiment) -> list[str]:
  """Returns the names of the tasks that are shown.

  Raises:
    GatoError: There is none.
  """
  if _TASK.value:
    named = experiment.matching(_TASK.value, "--task")
    return [cli.name_of(domain, task) for domain, task in named]

  names = [
    cli.name_of(domain, task)
    for domain, task in experiment.tasks
    if not isinstance(domain, DocumentDomain)
  ]
  if not names:
    raise GatoError(f"{experiment.config.name} has no control tasks; name some by --task=")
  return names[:_MOST_TASKS]


if __name__ == "__main__":
  cli.run(main)
