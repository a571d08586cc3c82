"""Whether a study's intervals and verdicts hold what they promise, by simulated studies that go through the public entry.

    python -m benchmarks.validity                    the table of docs/statistics.md: minutes
    python -m benchmarks.validity --studies 200      a quick look

A simulated score is the sum of effects of reference, prompt, initial noise and training on an experiment, each drawn for the reference
anew as a real study draws them, and of a residual. Experiments have the same prompts and noises, so what these do to all alike is gone from
the differences; what remains is what they do to one experiment and not to another.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from motion_ablation.study.analysis.statistics import comparisons
from motion_ablation.study.plan.cards import Card
from motion_ablation.study.plan.study import Study

REFERENCES = (2, 3, 5, 8, 12, 22)
EXPERIMENTS = ("no_motion", "baseline", "one", "two", "three")
METRICS = ("motion_fidelity", "text_similarity")
PROMPTS, SEEDS = 4, 2
EFFECT = 1.5

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


@dataclass(frozen=True)
class World:
    """What is random in simulated studies.

    Attributes:
        reference, prompt, noise, training: standard deviations of what these do to an experiment on a reference. residual: of each score.
        draw: the distribution of all of them, of mean 0 and standard deviation 1. unequal: references' spreads differ by up to this factor.
    """

    reference: float = 0.5
    prompt: float = 0.5
    noise: float = 0.5
    training: float = 0.5
    residual: float = 0.5
    draw: Draw = lambda rng, shape: rng.normal(size=shape)
    unequal: float = 1.0


WORLDS = {
    "all alike": World(),
    "training dominates": World(training=2.0),
    "prompts dominate": World(prompt=2.0),
    "references dominate": World(reference=2.0),
    "skewed (exponential)": World(draw=lambda rng, shape: rng.exponential(size=shape) - 1),
    "spreads 1 to 4": World(unequal=4.0),
}


def study_of(references: int) -> Study:
    """A study of three replacements, planned and never run."""
    card = Card("Card", "part", "REPLACE", "why", "baseline", list(EXPERIMENTS[2:]), list(METRICS), Path("card.yaml"), primary=METRICS)
    return Study(Path(), [card], list(EXPERIMENTS), [f"r{index}" for index in range(references)])


def skeleton(references: int) -> pd.DataFrame:
    """The rows of a study's scores, without scores."""
    cells = product(EXPERIMENTS, range(references), range(PROMPTS), range(SEEDS), METRICS)
    rows = [(name, "", f"r{r}", 0, f"p{r}-{p}", s, "random", metric) for name, r, p, s, metric in cells]
    frame = pd.DataFrame(rows, columns=["experiment", "same_as", "reference", "train_seed", "prompt", "seed", "noise", "metric"])
    return frame.astype({"seed": "Int64"})


def scores(world: World, references: int, rng: np.random.Generator, effect: float) -> np.ndarray:
    """Simulated scores in the skeleton's order; ``effect`` is what replacement ``one`` adds to both metrics."""
    shape = (len(EXPERIMENTS), references, PROMPTS, SEEDS, len(METRICS))
    spread = world.unequal ** rng.uniform(0, 1, (references, 1, 1, 1))
    own = world.reference * world.draw(rng, (*shape[:2], 1, 1, shape[4])) + world.training * world.draw(rng, (*shape[:2], 1, 1, shape[4]))
    own = own + world.prompt * world.draw(rng, (*shape[:3], 1, shape[4])) + world.noise * world.draw(rng, shape)
    values = spread * (own + world.residual * world.draw(rng, shape))
    values[EXPERIMENTS.index("one")] += effect
    return np.asarray(values.reshape(-1))


@dataclass
class Validity:
    """Shares over simulated studies: of intervals that hold the truth, of studies with any false verdict, of true effects found."""

    coverage: float
    error: float
    power: float


def measure(world: World, references: int, studies: int, seed: int = 0) -> Validity:
    """Simulates studies without and with an effect on one replacement."""
    study, frame, rng = study_of(references), skeleton(references), np.random.default_rng([seed, references])
    covered, wrong, found = [], [], []
    for _ in range(studies):
        null = comparisons(study, frame.assign(score=scores(world, references, rng, 0.0)))
        null = null[null["experiment"] != "no_motion"]
        covered += ((null["low"] <= 0) & (null["high"] >= 0)).tolist()
        wrong.append(null["verdict"].isin(["better", "worse"]).any())
        real = comparisons(study, frame.assign(score=scores(world, references, rng, EFFECT)))
        found.append((real.loc[(real["experiment"] == "one") & (real["metric"] == METRICS[0]), "verdict"] == "better").all())
    return Validity(float(np.mean(covered)), float(np.mean(wrong)), float(np.mean(found)))


def table(studies: int) -> Iterator[str]:
    """The lines of a Markdown table: per world and number of references, coverage / false verdicts / power."""
    yield "| what varies | " + " | ".join(f"{count} references" for count in REFERENCES) + " |"
    yield "|:--|" + "--:|" * len(REFERENCES)
    for name, world in WORLDS.items():
        cells = []
        for count in REFERENCES:
            found = measure(world, count, studies)
            cells.append(f"{found.coverage:.3f} / {found.error:.3f} / {found.power:.2f}")
        yield f"| {name} | " + " | ".join(cells) + " |"


def main() -> None:
    """Prints the table of ``docs/statistics.md``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--studies", type=int, default=1000, help="simulated studies of each kind (%(default)s)")
    for line in table(parser.parse_args().studies):
        print(line, flush=True)


if __name__ == "__main__":
    main()
