"""Pictures for the pages of the axes, from a study of all of their experiments on one reference.

motion-ablation run experiments/studies/*.yaml --references builtin:orbit --seeds 0 --prompts "a white cross on a blue background" --output results/axes
python docs/pictures.py results/axes
"""  # noqa: E501

from __future__ import annotations

import sys
from pathlib import Path

from torch import Tensor

from motion_ablation.study.plan.study import Study
from motion_ablation.study.report.build import films_of
from motion_ablation.study.report.model import REFERENCE
from motion_ablation.study.report.videos import image_of, load, still_sheet
from motion_ablation.study.results import Results

ROWS = {
    "ports": ["no_motion", "baseline", "mqk_only", "mv_only", "after_projection"],
    "layouts": ["baseline", "mqk_partial", "mqk_axial", "mqk_low_rank", "mqk_spatial"],
    "integrations": [
        "baseline", "integration_multiply", "integration_concat", "integration_concat_token", "integration_film", "integration_gated",
    ],
    "debiases": ["baseline", "debias_lag2", "debias_lag4", "debias_mean_centred", "debias_none", "debias_drop"],
    "objectives": ["baseline", "objective_debiased", "objective_hybrid", "objective_distillation"],
    "methods": ["no_motion", "baseline", "method_temporal_lora", "method_temporal_attention"],
    "sites": ["baseline", "sites_widest", "sites_down", "sites_up", "sites_mid", "sites_attn1", "qk_not_shared"],
}  # fmt: skip


NOISES = ["random", "blend", "low_frequency", "fft", "inverted"]


def main(folder: str, reference: str = "orbit", noise: str = "random") -> None:
    """Writes ``docs/axes/AXIS.png`` for every axis of which the study has two experiments, and for the initial noises."""
    films = [film for film in films_of(Results(Study.load(folder))) if film.reference == reference]
    first = next(film for film in films if film.noise == noise)
    found, _ = load(first)
    prompt = f"prompt: {first.prompt}, seed {first.seed}"
    for axis, rows in ROWS.items():
        picture(axis, reference, found[REFERENCE], {name: found[name] for name in rows if name in found}, f"{prompt}, {noise} noise")
    started = {film.noise: load(film)[0] for film in films if (film.prompt, film.seed) == (first.prompt, first.seed)}
    videos = {name: started[name][f"noise_{name}"] for name in NOISES if f"noise_{name}" in started.get(name, {})}
    picture("initial_noises", reference, found[REFERENCE], videos, prompt)


def picture(axis: str, reference: str, original: Tensor, videos: dict[str, Tensor], title: str) -> None:
    """Writes the reference and the videos beneath it, if there are two to compare."""
    if len(videos) < 2:
        return
    sheet = still_sheet([(f"reference: {reference}", original), *videos.items()], title)
    path = Path(__file__).parent / "axes" / f"{axis}.png"
    image_of(sheet).quantize(128).save(path, optimize=True)
    print(path)


if __name__ == "__main__":
    main(*sys.argv[1:])
