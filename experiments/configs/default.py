"""Every setting with its default. The defaults live in the dataclasses beside the code that reads them."""

import ml_collections

from experiments import cli
from gato_jax import agent, collect, documents, evaluate, interpret, mixture
from gato_jax.model import config as model_config
from gato_jax.serve import server
from gato_jax.train import loop, optimizer


def get_config(variant: str = "tiny") -> ml_collections.ConfigDict:
  """The config that every other one starts from; variant: a key of gato_jax.model.VARIANTS."""
  config = ml_collections.ConfigDict()
  config.name = "default"
  config.data_dir = "data"  # raw logs and datasets, shared by experiments
  config.workdir = ""  # work/<name> when empty
  config.domains = domains(dummy=1.0)
  config.leave_out_missing = False  # train without the tasks that have no dataset here, and say which
  config.tokenizer = ""  # a SentencePiece model; the one that ships with the library when empty
  config.pictures = cli.section_of(documents.PictureConfig())
  config.held_out = ()  # "domain", "domain.task" or "domain.begin*": what never trains though the mixture has it
  config.fine_tune = cli.section_of(mixture.FineTuneConfig())
  config.data = cli.section_of(mixture.MixtureConfig(), "name", "weights", "episodes")  # those follow from the above
  config.model = cli.section_of(model_config.variant(variant))
  config.optimizer = cli.section_of(optimizer.OptimizerConfig())
  config.train = cli.section_of(loop.TrainConfig())
  config.collect = cli.section_of(collect.CollectConfig())
  config.act = cli.section_of(agent.ActConfig())
  config.evaluate = cli.section_of(evaluate.EvaluateConfig())
  config.interpret = cli.section_of(interpret.InterpretConfig())
  config.serve = cli.section_of(server.ServeConfig())
  return config


def domains(**weights: float | tuple) -> ml_collections.ConfigDict:
  """name=weight takes all tasks that are not held out; name=(weight, "task", ...) takes those.

  A weight is the domain's share of sequences, divided evenly among its tasks; shares are normalised. Domains of the
  same `row` share one weight (configs/gato.py).
  """
  section = ml_collections.ConfigDict()
  for name, value in weights.items():
    weight, *tasks = value if isinstance(value, tuple) else (value,)
    section[name] = ml_collections.ConfigDict({"weight": float(weight), "tasks": tuple(tasks), "row": name})
  return section
