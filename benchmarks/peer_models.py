"""The training steps and actions of NEKO and JAT, from their own code, for benchmarks/peers.py.

It runs with an interpreter that has PyTorch (benchmarks/requirements.txt), needs no gato_jax and
prints one line of JSON: the seconds of each training step, and of each action at the end of a long
history.

Both are built at the sizes that are given and fed with one task of continuous observations and
actions. Left out is what neither times nor sizes depend on: NEKO would download the tokenizer of
GPT-2 for its vocabulary's size, and JAT's processor would import torchvision to crop images.
"""

import argparse
import importlib
import json
import sys
import time
import types
from collections.abc import Callable

import gymnasium
import numpy as np
import torch

_GPT2_PIECES = 50_257


class Neko:
  """GatoPolicy: GPT-2 over one token a number, logits of the whole vocabulary everywhere."""

  def __init__(self, args: argparse.Namespace):
    import transformers

    transformers.AutoTokenizer = types.SimpleNamespace(
      from_pretrained=lambda name: types.SimpleNamespace(vocab_size=_GPT2_PIECES)
    )
    gato_policy = importlib.import_module("gato.policy.gato_policy")

    self._args = args
    self.network = gato_policy.GatoPolicy(
      device="cpu",
      embed_dim=args.width,
      layers=args.layers,
      heads=args.heads,
      dropout=0.1,
      # Without images nothing else of its image embedding runs.
      resid_mid_channels=128,
      context_len=args.memory,
    )
    self._optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-4)
    self._batch = [self._episode(args.timesteps) for _ in range(args.batch)]

    # The last action is what is asked for.
    tokens = args.observations + 1 + args.actions
    self._history = self._episode(args.memory // tokens)
    self._task = types.SimpleNamespace(action_type=gymnasium.spaces.Box, action_tokens=args.actions)

  def _episode(self, timesteps: int) -> dict[str, torch.Tensor]:
    return {
      "continuous_obs": torch.randn(timesteps, self._args.observations),
      "continuous_actions": torch.rand(timesteps, self._args.actions) * 2 - 1,
    }

  def step(self) -> None:
    """Trains one step, as its Trainer.train_step."""
    self.network.train()
    _, loss = self.network.forward(inputs=self._batch, compute_loss=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
    self._optimizer.step()
    self._optimizer.zero_grad()

  @torch.no_grad()
  def act(self) -> None:
    """Acts once; there is no KV cache, so the whole history is read for every action token."""
    self.network.eval()
    self.network.predict_control(self._history, task=self._task)


class Jat:
  """JatModel: GPT-Neo over two positions a timestep, squared errors instead of logits."""

  def __init__(self, args: argparse.Namespace):
    # It looks for torchvision itself, and would take the empty modules below for it.
    from transformers.models.vit import modeling_vit  # noqa: F401

    functional = types.ModuleType("torchvision.transforms.functional")
    for name in ("torchvision", "torchvision.transforms"):
      sys.modules[name] = types.ModuleType(name)
    sys.modules["torchvision.transforms"].functional = functional
    sys.modules[functional.__name__] = functional

    jat = importlib.import_module("jat")
    processing = importlib.import_module("jat.processing_jat")

    # Every other block attends to a window, as in JAT.
    blocks = [["global", "local"], args.layers // 2]
    config = jat.JatConfig(
      vocab_size=_GPT2_PIECES,
      hidden_size=args.width,
      num_layers=args.layers,
      attention_types=[blocks],
      num_heads=args.heads,
      intermediate_size=args.feed_forward,
      # Two positions a timestep of the history.
      max_position_embeddings=2 * args.history,
    )
    self.network = jat.JatModel(config)
    self._optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-4)
    self._batch = {
      "continuous_observations": torch.randn(args.batch, args.timesteps, args.observations),
      "continuous_actions": torch.rand(args.batch, args.timesteps, args.actions) * 2 - 1,
      "rewards": torch.randn(args.batch, args.timesteps),
    }

    # Its constructor wants a tokenizer and an image processor, which numbers do not need.
    self._processor = processing.JatProcessor.__new__(processing.JatProcessor)
    self._observation = np.random.randn(args.observations)
    self._space = gymnasium.spaces.Box(-1, 1, (args.actions,))

    self.network.eval()
    self.network.reset_rl()
    for _ in range(args.history):
      self.act()

  def step(self) -> None:
    """Trains one step, as Hugging Face's Trainer with gradients clipped to 1."""
    self.network.train()
    self.network(**self._batch).loss.backward()
    torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
    self._optimizer.step()
    self._optimizer.zero_grad()

  def act(self) -> None:
    """Acts once, with its KV cache."""
    self.network.eval()
    self.network.get_next_action(
      self._processor,
      continuous_observation=self._observation,
      action_space=self._space,
      reward=0.0,
    )


MODELS = {"neko": Neko, "jat": Jat}


def seconds_of(call: Callable[[], None], repeats: int) -> list[float]:
  """Returns the seconds of each call but the first ones, which set up memory."""
  seconds = []
  for _ in range(repeats + 2):
    began = time.perf_counter()
    call()
    seconds.append(time.perf_counter() - began)

  return seconds[2:]


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("model", choices=sorted(MODELS))
  parser.add_argument("--source", required=True, help="checkout of the project")
  for name in (
    *("layers", "heads", "width", "feed_forward", "memory", "history"),
    *("batch", "timesteps", "observations", "actions", "steps", "threads"),
  ):
    parser.add_argument(f"--{name}", type=int, required=True)
  args = parser.parse_args()

  torch.set_num_threads(args.threads)
  torch.manual_seed(0)
  sys.path.insert(0, args.source)

  model = MODELS[args.model](args)
  print(
    json.dumps(
      {
        "parameters": sum(parameter.numel() for parameter in model.network.parameters()),
        "step": seconds_of(model.step, args.steps),
        "act": seconds_of(model.act, args.steps),
      }
    )
  )


if __name__ == "__main__":
  main()
