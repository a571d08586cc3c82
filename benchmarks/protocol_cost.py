"""What the paper's full protocol costs on 1, 8 and 64 GPUs: passes are counted from the plan, seconds per pass are one stated assumption.

22 references, 3 prompts, 3 generation seeds, every shipped card, on ZeroScope (24 frames of 320x576, 400 training steps, 30 sampling steps
with guidance). The plan is that of ``motion-ablation run``: experiments that are the same are one, an embedding that runs share is trained
once. The floating-point operations of a pass are counted on the meta device: no weights, no GPU, no download.

Run it with ``python benchmarks/protocol_cost.py``; ``--seconds 0.2`` puts in your own measured seconds per pass.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import tempfile
from pathlib import Path

import torch
import yaml
from memory import DTYPE, zeroscope
from torch.utils.flop_counter import FlopCounterMode

from motion_ablation.study.markdown import grid
from motion_ablation.study.plan.cards import read_card
from motion_ablation.study.plan.costs import Passes, passes
from motion_ablation.study.plan.planning import Options, make_study
from motion_ablation.study.plan.study import Study
from motion_ablation.study.run.runner import in_best_order

ROOT = Path(__file__).parents[1]
REFERENCES, PROMPTS, SEEDS, GPUS = 22, 3, 3, (1, 8, 64)
CLIP = (24, 320, 576)
# The assumption: the share of a GPU's peak that the whole pass reaches. The peaks are those of the data sheets (dense bfloat16).
UTILISATION = 0.35
PEAKS = {"A100": 312e12, "H100 SXM": 989e12}


def planned(folder: Path) -> Study:
    """The protocol's study, planned on the built-in backbone with ZeroScope's settings: the counts do not depend on weights."""
    zeroscope_settings = yaml.safe_load((ROOT / "experiments" / "backbones" / "zeroscope.yaml").read_text())
    settings = {
        "model": {"sampling": zeroscope_settings["model"]["sampling"]},
        "data": {
            "val_batch_size": zeroscope_settings["data"]["val_batch_size"],
            "prompts": [f"prompt {n}" for n in range(PROMPTS)],
            "videos": {},  # all of them, of each initial noise
        },
        "trainer": {"max_steps": zeroscope_settings["trainer"]["max_steps"]},
    }
    (folder / "protocol.yaml").write_text(yaml.safe_dump(settings))
    with (folder / "references.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "caption"])
        for number in range(REFERENCES):
            (folder / f"clip{number}.mp4").write_bytes(b"%d" % number)  # named in the plan, read by nothing
            rows.writerow([f"clip{number}.mp4", f"caption {number}"])
    cards = [read_card(path) for path in sorted((ROOT / "experiments" / "studies").glob("*.yaml"))]
    wanted = Options([str(folder / "references.csv")], [str(folder / "protocol.yaml")], seeds=range(SEEDS))
    return make_study(cards, folder / "study", wanted)


def operations() -> float:
    """Floating-point operations (a multiplication and an addition are two) of one video's pass through ZeroScope."""
    frames, height, width = CLIP
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        latents = torch.empty(1, 4, frames, height // 8, width // 8, dtype=DTYPE)
        zeroscope().to(DTYPE)(latents, torch.tensor(5), torch.empty(1, 77, 1024, dtype=DTYPE))
    return float(counter.get_total_flops())


def makespan(costs: list[int], gpus: int) -> int:
    """Passes until the last GPU is done, when each takes the next run whenever it is free."""
    free = [0] * gpus
    for cost in costs:
        heapq.heappush(free, heapq.heappop(free) + cost)
    return max(free)


def counts(study: Study, costs: dict[str, Passes]) -> str:
    """What the plan holds, in words."""
    training, generation = sum(cost.training for cost in costs.values()), sum(cost.generation for cost in costs.values())
    trainings = sum(cost.training > 0 for cost in costs.values())
    return (
        f"{len(study.cards)} cards, {len(study.experiments)} experiments ({len(study.same_as)} the same as another), {len(costs)} runs, "
        f"{trainings} trainings; {training:,} passes of training + {generation:,} of generation = {training + generation:,}"
    )


def main() -> None:
    """Prints the counts and the table in Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, help="measured seconds per pass, instead of the assumption")
    measured = parser.parse_args().seconds
    with tempfile.TemporaryDirectory() as folder:
        study = planned(Path(folder))
        costs = passes(study)
        order = [costs[run.name].total for run in in_best_order(study.runs)]
    print(f"{counts(study, costs)}\n")
    work = operations()
    seconds = {"measured": measured} if measured else {name: work / (peak * UTILISATION) for name, peak in PEAKS.items()}
    print(f"{work / 1e12:.1f} TFLOP per pass; assumed share of the peak: {UTILISATION:.0%}\n")
    rows = [
        [name, f"{each:.3f}", *(f"{makespan(order, gpus) * each / 3600:,.1f}" for gpus in GPUS), f"{sum(order) * each / 3600:,.0f}"]
        for name, each in seconds.items()
    ]
    header = ["GPU", "seconds per pass", *(f"hours on {gpus} GPU{'s' * (gpus > 1)}" for gpus in GPUS), "GPU hours"]
    print(grid(header, rows))


if __name__ == "__main__":
    main()
