"""Captions, answers, continues a text: python -m experiments.generate --config=... --image=cat.png

--image=ball.png --question="what colour is the ball?" answers, --text="Once" continues, and without any of them, or
with --chat, questions are read line by line from standard input, Ctrl-D ends. Only the network's words go to stdout.
"""

import random
import sys
from collections.abc import Iterator

from absl import flags

from experiments import cli
from gato_jax import agent, documents
from gato_jax.agent import reader
from gato_jax.errors import GatoError
from rlds_builders import _pictures

_IMAGE = flags.DEFINE_string("image", "", "A picture to caption, or to speak about.")
_QUESTION = flags.DEFINE_string("question", "", "To be answered.")
_TEXT = flags.DEFINE_string("text", "", "To be continued, behind the picture where there is one.")
_CHAT = flags.DEFINE_bool("chat", False, "A dialogue: each line of standard input is a question; turns are remembered.")
_TEMPERATURE = flags.DEFINE_float("temperature", 0.9, "Of sampling; 0 takes the most likely token.", 0.0)
_MAX_TOKENS = flags.DEFINE_integer("max_tokens", 64, "Of each answer.", 1)
_SEED = flags.DEFINE_integer("seed", None, "Of the draws; by default one is drawn and printed.", 0)
_SIDE = flags.DEFINE_integer("side", None, "Pixels of the picture's longer side; config.pictures.side by default.")
_SAMPLES = flags.DEFINE_integer("samples", 1, "How many are written, one a line.", 1)
_STEP = flags.DEFINE_integer("step", None, "Of the checkpoint; the newest by default.")


def main(experiment: cli.Experiment) -> None:
  chat = _CHAT.value or not (_IMAGE.value or _QUESTION.value or _TEXT.value)
  if sum(map(bool, (_QUESTION.value, _TEXT.value, chat))) > 1 or (chat and _SAMPLES.value > 1):
    raise GatoError("--question, --text and --chat exclude each other, and --chat has one answer; choose one of them")
  side = experiment.config.pictures.side if _SIDE.value is None else _SIDE.value
  shown = [_pictures.fit(_IMAGE.value, side)] if _IMAGE.value else []
  policy = agent.Policy(experiment.workdir, _STEP.value)
  if not any(policy.spec(task).is_document for task in policy.tasks):
    say(f"warning: checkpoint {policy.step} of {experiment.workdir} was never trained on text; it knows no words\n")
  seed = random.randrange(2**31) if _SEED.value is None else _SEED.value
  say(f"checkpoint {policy.step} of {experiment.workdir}, seed {seed}\n")
  network = policy.reader()
  if chat:
    network.read(shown)
    for turn, question in enumerate(questions()):
      network.read([documents.ask(question)])
      write(network, seed + turn)
      network.end()  # as a question and its answer end in training, with the next one behind them
    return
  prompt = documents.ask(_QUESTION.value) if _QUESTION.value else _TEXT.value
  for sample in range(_SAMPLES.value):
    network.forget()
    network.read([*shown, *([prompt] if prompt else [])])
    say(prompt + " " * bool(_QUESTION.value))
    write(network, seed + sample, strip=not _TEXT.value, caption=not prompt)


def questions() -> Iterator[str]:
  """Lines of standard input that say something; a terminal is asked for each."""
  while True:
    say("Q: ")
    line = sys.stdin.readline()
    if not line:
      return say("\n")
    if line.strip():
      say("A: " if sys.stdin.isatty() else f"{line.strip()}\nA: ")
      yield line.strip()


def write(network: agent.Reader, seed: int, strip: bool = True, caption: bool = False) -> None:
  """Prints what the network writes as it comes. strip: without the space that stands before an answer."""
  ids = network.write(_MAX_TOKENS.value, _TEMPERATURE.value, seed, caption)
  for text in reader.stream(network.text, ids):
    text = text.lstrip() if strip else text
    strip = strip and not text
    print(text, end="", flush=True)
  print(flush=True)


def say(text: str) -> None:
  print(text, end="", flush=True, file=sys.stderr)


if __name__ == "__main__":
  cli.run(main)
