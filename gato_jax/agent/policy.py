"""Everything a checkpoint holds for acting."""

import pathlib
from collections.abc import Mapping, Sequence

from gato_jax import checkpoint, demonstrations, returns, specs
from gato_jax.agent.config import ActConfig
from gato_jax.agent.engine import Engine, GatoActor
from gato_jax.agent.prompts import Prompts
from gato_jax.agent.reader import Reader
from gato_jax.errors import GatoError
from gato_jax.model import GatoConfig, acting, removal
from gato_jax.tokens import codec, layout


class Policy:
  """A checkpoint, ready to act in the tasks that it was trained on.

  Attributes:
    step: training step of the checkpoint.
    meta: what training wrote: configs, specs, the input's fingerprint.
    acting_params: its weights, as acting reads them.
  """

  def __init__(self, workdir: pathlib.Path, step: int | None = None):
    self.workdir = pathlib.Path(workdir)
    params, self.meta, self.step = checkpoint.load_for_acting(self.workdir / "checkpoints", step)
    self.model_config = GatoConfig.from_json(self.meta["model"])
    self.acting_params = acting.acting_params(self.model_config, params)
    self.text = codec.TextCodec(self.meta["tokenizer"])

  @property
  def tasks(self) -> list[str]:
    return sorted(self.meta["specs"])

  def spec(self, task: str) -> specs.TaskSpec:
    specs.check_name(task, self.meta["specs"], f"task of the checkpoint in {self.workdir}")
    return specs.TaskSpec.from_json(self.meta["specs"][task])

  def check_environment(self, spec: specs.TaskSpec) -> None:
    """GatoError when the environment's spec is not the one trained on."""
    difference = specs.difference(self.spec(spec.name).without_return_to_go(), spec)
    if difference:
      raise GatoError(
        f"{spec.name}: the checkpoint in {self.workdir} was trained on another spec ({difference}); collect, build and "
        "train again, or evaluate with the code that trained it"
      )

  def asked(self, task: str, config: ActConfig) -> returns.Asked | None:
    """The return that episodes of the task are asked for; GatoError where none can be and one is (gato_jax/returns)."""
    return returns.asked(self.spec(task), config.return_target)

  def layout(self, task: str) -> layout.TokenLayout:
    return layout.TokenLayout(self.spec(task), self.text, self.model_config.max_local_positions)

  def engine(
    self, tasks: Sequence[str], slots: int, config: ActConfig, prompts: Mapping[str, Prompts] | None = None
  ) -> Engine:
    """Acts in `slots` environments at once, each of any of `tasks`; with `prompts` instead of the demonstrations.

    Raises:
      GatoError: a task that the checkpoint does not know, a step longer than the memory, no demonstration, one of
        config.prompt_task that does not fit into the prompt's share of the memory, or no directions to remove.
    """
    params = self.acting_params
    if config.remove:
      params = params.replace(removed=removal.read(pathlib.Path(config.remove), self.model_config))
    layouts = {task: self.layout(task) for task in tasks}
    if prompts is None and config.prompt_task:
      prompts = dict.fromkeys(tasks, self.prompts(config.prompt_task, config))
    elif prompts is None:
      prompts = {task: self.prompts(task, config) for task in tasks}
    return Engine(self.model_config, params, layouts, prompts, slots, config)

  def prompts(self, task: str, config: ActConfig) -> Prompts:
    """Pieces of a task's demonstrations."""
    shown = self.layout(task)
    room = int(self.model_config.memory_length * config.prompt_share)
    found = demonstrations.read(self.workdir, task) if config.prompt != "none" else []
    made = Prompts(shown, found, room, config)
    if config.prompt_task and not made.steps:
      raise GatoError(
        f"a step of act.prompt_task={task} takes {shown.length} tokens, a prompt has {room} "
        f"(model.memory_length {self.model_config.memory_length} x act.prompt_share {config.prompt_share:g})"
      )
    return made

  def reader(self) -> Reader:
    """Reads and writes texts and pictures."""
    return Reader(self.model_config, self.acting_params, self.text)

  def actor(self, task: str, slots: int, config: ActConfig) -> GatoActor:
    """Acts for copies of one task's environment."""
    return GatoActor(self.engine([task], slots, config), task)
