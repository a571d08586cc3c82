"""Leakage, diversity and VBench's consistencies: against slow loops, and the networks that they are taken with."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pytest
import torch
from torchvision.transforms import v2
from transformers import ViTConfig, ViTModel

from motion_ablation.data.world.shapes import Scene, render
from motion_ablation.metrics import (
    AppearanceLeakage,
    BackgroundConsistency,
    Diversity,
    SubjectConsistency,
    VisionEncoder,
    appearance_leakage,
    vbench_consistency,
)
from motion_ablation.records import Clip, Sample
from motion_ablation.weights import MissingWeights


class Average:
    """A stand-in network: mean colours of the four quadrants, around 0."""

    name, resize, dimension = "average", "none", 12

    def images(self, frames: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(frames, 2).flatten(1) - 0.5


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(a.double() @ b.double()) / math.sqrt(float(a.double() @ a.double()) * float(b.double() @ b.double()))


def videos(batch: int = 2, frames: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.rand(batch, frames, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


# Appearance leakage.


def test_leakage_equals_a_slow_loop() -> None:
    frames, reference = videos(), videos(2, 3, seed=1)
    scores = AppearanceLeakage(Average()).score(frames, reference)
    for index in range(2):
        images, others = Average().images(frames[index]), Average().images(reference[index])
        assert scores[index].item() == pytest.approx(sum(max(cosine(a, b) for b in others) for a in images) / 5, abs=1e-5)


def test_the_reference_itself_leaks_most_and_delays_do_not_matter() -> None:
    metric, reference = AppearanceLeakage(Average()), videos(1)
    own = metric.score(reference, reference).item()
    assert own == pytest.approx(1, abs=1e-5) and metric.score(reference.roll(2, 1), reference).item() == pytest.approx(own, abs=1e-5)
    assert metric.score(reference * 0.5 + videos(1, seed=1) * 0.5, reference).item() < own
    assert metric.score(videos(1, seed=1), reference).item() < metric.score(reference * 0.5 + videos(1, seed=1) * 0.5, reference).item()
    assert not metric.higher_is_better
    assert appearance_leakage(torch.zeros(1, 2, 4), torch.ones(1, 2, 4)).item() == 0
    with pytest.raises(ValueError, match="one reference per video"):
        metric.score(videos(2), reference)


# Diversity.


def sample(frames: torch.Tensor, seed: int, prompt: str = "a", reference: str = "r", noise: str = "random") -> Sample:
    return Sample(frames, Clip(videos(1)[0], 8.0, "", reference), prompt, seed, noise)


def test_diversity_equals_a_slow_loop() -> None:
    metric = Diversity(Average())
    sets = {"a": videos(3, seed=1), "b": videos(2, 4, seed=2)}
    assert (
        metric.update_samples([sample(video, seed, prompt) for prompt, group in sets.items() for seed, video in enumerate(group)]) is None
    )
    metric.update_samples(
        [sample(videos(1, seed=9)[0], 0, "alone"), sample(sets["a"][0], 0, "a"), sample(sets["a"][0], 0, "a", noise="blend")]
    )
    means = []
    for group in sets.values():
        whole = [torch.nn.functional.normalize(Average().images(video), dim=-1).mean(0) for video in group]
        distances = [1 - cosine(a, b) for a, b in combinations(whole, 2)]
        means.append(sum(distances) / len(distances))
    assert metric.compute().item() == pytest.approx(sum(means) / 2, abs=1e-6)
    assert metric.protocol["groups"] == 2 and metric.protocol["videos"] == 5


def test_diversity_of_the_same_and_of_a_single_seed() -> None:
    metric, frames = Diversity(Average()), videos(1)[0]
    metric.update_samples([sample(frames, 0), sample(frames.roll(1, 0), 1)])
    assert metric.compute().item() == pytest.approx(0, abs=1e-6)
    for others in ({"prompt": "b"}, {"reference": "s"}, {"noise": "blend"}):
        metric.reset()
        metric.update_samples([sample(frames, 0), sample(1 - frames, 1, **others)])
        with pytest.warns(UserWarning, match="two seeds"):
            assert metric.compute().isnan()
    with pytest.raises(ValueError, match="one group and seed per video"):
        metric.update(videos(2), ["a"])


# VBench's consistencies.


def test_consistency_equals_a_slow_loop() -> None:
    images = torch.randn(3, 6, 7, generator=torch.Generator().manual_seed(0)) + 0.5
    scores = vbench_consistency(images)
    for index, video in enumerate(images):
        terms = [(max(0, cosine(video[0], video[t])) + max(0, cosine(video[t - 1], video[t]))) / 2 for t in range(1, 6)]
        assert scores[index].item() == pytest.approx(sum(terms) / 5, abs=1e-5)
    assert vbench_consistency(images[:, :1].expand(3, 6, 7)).tolist() == pytest.approx([1, 1, 1])
    frames = videos()
    embedded = torch.stack([Average().images(video) for video in frames])
    assert torch.allclose(BackgroundConsistency(Average()).score(frames), vbench_consistency(embedded))
    with pytest.raises(ValueError, match="at least 2 frames, not 1"):
        vbench_consistency(images[:, :1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny network of DINO's class."""
    folder = tmp_path_factory.mktemp("dino")
    torch.manual_seed(0)
    size = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2)
    ViTModel(ViTConfig(image_size=32, patch_size=8, **size), add_pooling_layer=False).save_pretrained(folder)
    config = {"size": {"height": 32, "width": 32}, "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    (folder / "preprocessor_config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize(("height", "width"), [(32, 32), (32, 56), (64, 48), (20, 30)])
def test_class_tokens_are_the_model_s_own(folder: Path, height: int, width: int) -> None:
    frames = torch.rand(3, 3, height, width)
    encoder, model = VisionEncoder(folder), ViTModel.from_pretrained(folder).eval()
    steps = [v2.Resize(32, v2.InterpolationMode.BICUBIC, antialias=True), v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    pixels = steps[1](steps[0](frames).clamp(0, 1))
    with torch.no_grad():
        expected = model(pixel_values=pixels, interpolate_pos_encoding=True).last_hidden_state[:, 0]
    assert torch.allclose(encoder.images(frames), expected, atol=1e-4) and encoder.dimension == 16
    metric = SubjectConsistency(str(folder))
    assert metric.score(frames[None]).item() == pytest.approx(vbench_consistency(expected[None]).item(), abs=1e-5)
    assert "short side to 32 pixels" in str(metric.protocol["resize"]) and "no crop" in str(metric.protocol["resize"])


def test_missing_dino_is_one_line(tmp_path: Path) -> None:
    for metric in (SubjectConsistency(), SubjectConsistency(str(tmp_path / "dino"))):
        with pytest.raises(MissingWeights, match="hf download facebook/dino-vitb16") as caught:
            metric.score(torch.rand(1, 2, 3, 8, 8))
        assert "\n" not in str(caught.value)


def test_the_shipped_network_ranks_leaks() -> None:
    """On the built-in world: the reference's look in another motion leaks most, a blend less, another look least."""
    scene = Scene("square", "red", "green", "moving right", start=(0.0, 0.1), radius=0.32)
    looks = {"same": scene, "half": scene, "other": replace(scene, shape="star", color="cyan", background="purple")}
    motions = {name: replace(look, motion="circling clockwise") for name, look in looks.items()}
    frames = {name: torch.from_numpy(render(look, 6)[0])[None] for name, look in motions.items()}
    frames["half"] = (frames["same"] + frames["other"]) / 2
    metric, reference = AppearanceLeakage(), torch.from_numpy(render(scene, 6)[0])[None]
    same, half, other = (metric.score(frames[name], reference).item() for name in ("same", "half", "other"))
    assert same > 0.95 and same > half + 0.2 and half > other + 0.2
