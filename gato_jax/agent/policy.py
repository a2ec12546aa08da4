"""Policy: everything a checkpoint, or exported weights, hold for acting."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

from gato_jax.agent.actor import GatoActor
from gato_jax.agent.config import ActConfig
from gato_jax.agent.engine import Engine
from gato_jax.agent.generation import TextGenerator
from gato_jax.agent.prompts import Prompts
from gato_jax.data import demonstrations
from gato_jax.env import chunks, loop, returns
from gato_jax.errors import GatoError, check_name
from gato_jax.model import GatoConfig, cache, removal
from gato_jax.storage import paths
from gato_jax.task import TaskSpec, spec_difference
from gato_jax.tokens import codec, layout
from gato_jax.train import export


class Policy:
  """A checkpoint, ready to act in the tasks that it was trained on.

  Attributes:
    workdir: Directory of the training run, or exported folder.
    step: Training step of the checkpoint.
    meta: Metadata of the checkpoint: configs, specs, the input's fingerprint.
    model_config: Sizes of its network.
    acting_params: Its parameters, laid out for acting.
    text: Its text codec.
  """

  def __init__(self, workdir: pathlib.Path, step: int | None = None):
    """Loads a checkpoint of a training run, or exported weights.

    Args:
      workdir: Directory of the run, or a folder that experiments.export wrote.
      step: Training step of the checkpoint; the newest that can be read by default.
    """
    self.workdir = paths.path(workdir)
    params, self.meta, self.step = export.load(self.workdir, step)

    self.model_config = GatoConfig.from_json(self.meta["model"])
    self.acting_params = cache.acting_params(self.model_config, params)
    self.text = codec.TextCodec(self.meta["tokenizer"])

  @property
  def tasks(self) -> list[str]:
    """Names of the tasks that the checkpoint knows, sorted."""
    return sorted(self.meta["specs"])

  def spec(self, task: str) -> TaskSpec:
    """Returns the spec of a task.

    Raises:
      GatoError: The checkpoint does not know the task.
    """
    check_name(task, self.meta["specs"], f"task of the checkpoint in {self.workdir}")
    return TaskSpec.from_json(self.meta["specs"][task])

  def check_environment(self, spec: TaskSpec) -> None:
    """Checks that an environment has the spec that the checkpoint was trained on.

    Raises:
      GatoError: It has another one.
    """
    # Actors add the return to go to observations and cut chunks of actions, not environments.
    trained = returns.without_return_to_go(self.spec(spec.name))
    of_environment = chunks.with_chunk(spec, self.chunk) if self.chunk else spec
    difference = spec_difference(trained, of_environment)
    if difference:
      raise GatoError(
        f"{spec.name}: the checkpoint in {self.workdir} was trained on another spec ({difference});"
        " collect, build and train again, or evaluate with the code that trained it"
      )

  @property
  def chunk(self) -> int:
    """Actions that the network predicts after one observation; 0 for a single one."""
    return self._data_setting("chunk", 0)

  @property
  def history_stride(self) -> int:
    """Steps from one step of a history to the next (data.history_stride)."""
    return self._data_setting("history_stride", 1)

  def _data_setting(self, name: str, default: int) -> int:
    """Returns a setting of the training's config.data; `default` where the run is older than it."""
    return int(self.meta.get("config", {}).get("data", {}).get(name, default))

  def chunk_steps(self, config: ActConfig) -> int:
    """Returns how many actions of a chunk are executed; 0 for a network without chunks.

    Raises:
      GatoError: The config asks for more than the network predicts, or for chunks of a network that
        knows none.
    """
    if config.chunk_steps > self.chunk:
      raise GatoError(
        f"act.chunk_steps={config.chunk_steps}, but the checkpoint in {self.workdir} predicts "
        f"{self.chunk or 1} actions a step (data.chunk); ask for fewer, or train with larger chunks"
      )
    return config.chunk_steps or self.chunk

  def return_target(self, task: str, config: ActConfig) -> returns.ReturnTarget | None:
    """Returns the return that episodes of a task aim for; None: the task knows no returns.

    Raises:
      GatoError: The config asks for a return of a task that was trained without returns.
    """
    return returns.return_target(self.spec(task), config.return_target)

  def layout(self, task: str) -> layout.TokenLayout:
    """Returns the token layout of a task."""
    return layout.TokenLayout(self.spec(task), self.text, self.model_config.max_local_positions)

  def engine(
    self,
    tasks: Sequence[str],
    slots: int,
    config: ActConfig,
    prompts: Mapping[str, Prompts] | None = None,
  ) -> Engine:
    """Returns an engine that acts in many environments at once.

    Args:
      tasks: Names of the tasks that environments may be of.
      slots: Environments at once.
      config: Settings of acting.
      prompts: Task name -> prompts; None: those of the demonstrations.

    Raises:
      GatoError: The checkpoint does not know a task, a step is longer than the KV cache, there is
        no demonstration, one of config.prompt_task does not fit into the prompt's share, or the
        file of directions to remove cannot be read.
    """
    params = self.acting_params
    if config.remove:
      removed = removal.read(paths.path(config.remove), self.model_config)
      params = dataclasses.replace(params, removed=removed)

    layouts = {task: self.layout(task) for task in tasks}

    if prompts is None and config.prompt_task:
      prompts = dict.fromkeys(tasks, self.prompts(config.prompt_task, config))
    elif prompts is None:
      prompts = {task: self.prompts(task, config) for task in tasks}

    return Engine(
      self.model_config,
      params,
      layouts=layouts,
      prompts=prompts,
      slots=slots,
      act=config,
      stride=self.history_stride,
    )

  def prompts(self, task: str, config: ActConfig) -> Prompts:
    """Returns prompts of a task's demonstrations.

    Raises:
      GatoError: A step of config.prompt_task does not fit into the prompt's share of the KV cache.
    """
    task_layout = self.layout(task)
    room = int(self.model_config.memory_length * config.prompt_share)

    episodes = []
    groups = []
    if config.prompt != "none":
      episodes = demonstrations.read(self.workdir, task)
      groups = demonstrations.read_groups(self.workdir, task)
    prompts = Prompts(task_layout, episodes, room=room, config=config, groups=groups)

    # A task whose own steps do not fit plays without a prompt; a task that was named must be shown.
    if config.prompt_task and not prompts.steps:
      raise GatoError(
        f"a step of act.prompt_task={task} takes {task_layout.length} tokens, a prompt has {room} "
        f"(model.memory_length {self.model_config.memory_length} x act.prompt_share"
        f" {config.prompt_share:g})"
      )
    return prompts

  def text_generator(self) -> TextGenerator:
    """Returns a generator that reads and writes texts and images."""
    return TextGenerator(self.model_config, self.acting_params, self.text)

  def actor(self, task: str, slots: int, config: ActConfig) -> loop.Actor:
    """Returns an actor for up to `slots` copies of one task's environment."""
    return self.actor_of(self.engine([task], slots, config), task, config)

  def actor_of(self, engine: Engine, task: str, config: ActConfig) -> loop.Actor:
    """Returns an actor for one task of an engine, whose chunks it executes one action at a time."""
    actor = GatoActor(engine, task)
    steps = self.chunk_steps(config)
    return chunks.ChunkedActor(actor, steps) if steps else actor
