"""Every setting with its default, which all other configs start from.

The defaults live in the dataclasses beside the code that reads them.
"""

import ml_collections

from experiments import cli
from experiments.analysis import interpret
from gato_jax import agent, documents, evaluate
from gato_jax.data import mixture
from gato_jax.env import collect
from gato_jax.evaluate import corrections
from gato_jax.model import config as model_config
from gato_jax.serve import server
from gato_jax.train import loop, optimizer


def get_config(variant: str = "tiny") -> ml_collections.ConfigDict:
  """Returns the default config.

  Args:
    variant: Size of the network, a key of gato_jax.model.VARIANTS.
  """
  config = ml_collections.ConfigDict()
  config.name = "default"

  # Folder of raw logs and datasets, which experiments share.
  config.data_dir = "data"
  # Folder of checkpoints and results; work/<name> when empty.
  config.workdir = ""

  # The mixture: what is collected, built and trained on.
  config.domains = domains(dummy=1.0)
  # True trains without the tasks that have no dataset here, and prints which ones.
  config.leave_out_missing = False
  # "domain", "domain.task" or "domain.begin*" that never trains although the mixture has it.
  config.held_out = ()
  config.fine_tune = cli.section_of(mixture.FineTuneConfig())

  # Path of a SentencePiece model; the one that ships with the library when empty.
  config.tokenizer = ""
  config.images = cli.section_of(documents.ImageConfig())
  # The fields that are left out follow from the settings above.
  config.data = cli.section_of(mixture.MixtureConfig(), "name", "weights", "episodes")

  config.model = cli.section_of(model_config.variant(variant))
  config.optimizer = cli.section_of(optimizer.OptimizerConfig())
  config.train = cli.section_of(loop.TrainConfig())

  config.collect = cli.section_of(collect.CollectConfig())
  config.act = cli.section_of(agent.ActConfig())
  config.dagger = cli.section_of(corrections.DaggerConfig())
  config.evaluate = cli.section_of(evaluate.EvaluateConfig())
  config.interpret = cli.section_of(interpret.InterpretConfig())
  config.serve = cli.section_of(server.ServeConfig())

  return config


def domains(**weights: float | tuple) -> ml_collections.ConfigDict:
  """Returns the section `domains`.

  Args:
    **weights: name=weight takes all tasks of a domain that it does not hold out itself, and
      name=(weight, "task", ...) takes those. A weight is the domain's share of sequences, divided
      evenly among its tasks; shares are normalised. Domains of the same `row` share one weight
      (configs/gato.py).
  """
  section = ml_collections.ConfigDict()
  for name, value in weights.items():
    weight, *tasks = value if isinstance(value, tuple) else (value,)
    section[name] = ml_collections.ConfigDict(
      {"weight": float(weight), "tasks": tuple(tasks), "row": name}
    )

  return section


def one_step_context(config: ml_collections.ConfigDict, length: int) -> None:
  """Makes the network see the present timestep only, both in training and when acting.

  A cloned policy that sees its own past copies its last action instead of looking at the state.
  Training, acting and the KV cache must agree on this, so that they are set together.

  Args:
    config: The config to change.
    length: Tokens of a row. The longest timestep must fit into it; shorter ones share a row
      without seeing each other.
  """
  config.data.update(sequence_length=length, window_steps=1, prompt_probability=0.0)
  config.act.update(memory_steps=1, prompt="none")
  # Rows this short gain nothing from attention in blocks of queries.
  config.model.update(memory_length=length, attention_block=0)
