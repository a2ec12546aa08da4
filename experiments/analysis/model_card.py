"""MODEL_CARD.md of exported weights: what they are, what they were trained on, what they can do."""

import collections
import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from experiments.analysis.report import table
from gato_jax.agent import ActConfig
from gato_jax.env import results as result_rows
from gato_jax.evaluate import baselines, scores
from gato_jax.model import GatoConfig, abstract_params, count_parameters
from gato_jax.task import TaskSpec
from gato_jax.train import provenance


def render(
  meta: Mapping[str, Any],
  folder: pathlib.Path,
  *,
  workdir: pathlib.Path,
  precision: str,
  results: pathlib.Path | None = None,
) -> str:
  """Returns the card.

  Args:
    meta: Of the checkpoint.
    folder: Where the weights lie, as commands name it.
    workdir: Directory of the training run.
    precision: Of the matrices.
    results: Directory of results.jsonl of these weights; None: they were not played.
  """
  name = meta["config"]["name"]
  parts = [
    f"# {name}",
    _network(meta, precision),
    "## Use",
    _use(folder, meta["config"].get("act", {})),
    "## Training",
    _training(meta, provenance.read(workdir)),
    "## Data",
    _data(meta),
    "## Scores",
    _scores(results) if results else "These weights have not been played.",
  ]
  return "\n\n".join(parts) + "\n"


def _network(meta: Mapping[str, Any], precision: str) -> str:
  config = GatoConfig.from_json(meta["model"])
  parameters = count_parameters(abstract_params(config))
  table_parameters = config.table_rows * config.width

  return (
    f"A Gato network (Reed et al. 2022) of {parameters / 1e6:.1f}M parameters, "
    f"{table_parameters / 1e6:.1f}M of them the token table: {config.layers} layers of width "
    f"{config.width}, {config.heads} heads of {config.key_size}, a vocabulary of "
    f"{config.table_rows:,} tokens. Matrices are stored as {precision}."
  )


def _use(folder: pathlib.Path, act: Mapping[str, Any]) -> str:
  defaults = dataclasses.asdict(ActConfig())
  changed = [
    f"{name}={value!r}".replace("'", '"')
    for name, value in act.items()
    if defaults.get(name) != value
  ]

  return f"""```python
from gato_jax import agent

policy = agent.Policy("{folder}")
config = agent.ActConfig({", ".join(changed)})
actor = policy.actor(policy.tasks[0], slots=1, config=config)
```

```
python -m experiments.evaluate --checkpoint={folder} --results=work/{folder.name}
python -m experiments.generate --checkpoint={folder} --text="The"
python -m experiments.serve --checkpoint={folder}
```"""


def _training(meta: Mapping[str, Any], starts: list[provenance.Start]) -> str:
  lines = [f"{meta['step']:,} steps."]
  if starts:
    first = starts[0]
    revisions = sorted({start.revision for start in starts if start.revision})
    count = f"{len(starts)} start{'s' if len(starts) > 1 else ''}"
    lines.append(
      f"Seed {first.seed}, {count} from {first.time} on, on {first.devices} x {first.device} "
      f"({first.machine}), commit {', '.join(revisions) or '?'}:"
    )
    lines.append(f"`{first.command}`")

  return "\n".join(lines)


def _data(meta: Mapping[str, Any]) -> str:
  tasks_of_domain = collections.defaultdict(list)
  for task in sorted(meta["specs"]):
    domain, short_name = task.split(".", 1)
    tasks_of_domain[domain].append(short_name)
  documents = {task for task, spec in meta["specs"].items() if TaskSpec.from_json(spec).is_document}

  lines = [
    f"{len(meta['specs']) - len(documents)} control tasks and {len(documents)} sets of documents. "
    "The README of each domain in rlds_builders/ says where its data come from and under which "
    "licence.",
    "",
    "| domain | tasks | episodes or documents |",
    "|---|---|---|",
  ]
  for domain, names in tasks_of_domain.items():
    count = sum(meta["episodes"].get(f"{domain}.{name}", 0) for name in names)
    lines.append(f"| {domain} | {', '.join(names)} | {count:,} |")
  return "\n".join(lines)


def _scores(results: pathlib.Path) -> str:
  rows = list(result_rows.read(results / "results.jsonl"))
  scored = scores.task_scores(rows, baselines=baselines.read(results))

  lines = [
    "Per cent of the expert's score, where the random actor has 0, with 95 % intervals over "
    f"episodes. {table.summary(scored)}.",
    "",
    "| task | random | agent | expert | score | episodes |",
    "|---|---|---|---|---|---|",
  ]
  for score in scored:
    lines.append(
      f"| {score.task} | {score.random_mean:.4g} | {score.agent_mean:.4g} | "
      f"{score.expert_return:.4g} | {score.score:.0f} {table.interval(score)} | {score.episodes} |"
    )

  below = [score.task for score in scored if score.score < table.THRESHOLD]
  if below:
    lines += ["", f"Below {table.THRESHOLD} %: {', '.join(below)}."]
  return "\n".join(lines)
