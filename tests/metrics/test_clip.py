"""The CLIP encoder, and the metrics on it, against slow loops; on a tiny random network."""

from __future__ import annotations

import copy
import json
import sys
from itertools import combinations
from pathlib import Path

import pytest
import torch
from torchvision.transforms import v2
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

from motion_ablation.metrics import METRICS, ClipEncoder, InceptionFeatures, TemporalConsistency, TextSimilarity, embed_videos
from motion_ablation.metrics.networks.encoders import load_encoder, load_features
from motion_ablation.metrics.networks.preprocessing import Preprocessing
from motion_ablation.metrics.tracking.cotracker3 import CoTracker3Tracker
from motion_ablation.weights import MissingWeights


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer.from_pretrained(folder).save_pretrained(folder)
    torch.manual_seed(0)
    size = dict(hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2)
    text = CLIPTextConfig(vocab_size=len(tokens), max_position_embeddings=12, bos_token_id=0, eos_token_id=1, pad_token_id=1, **size)
    vision = CLIPVisionConfig(image_size=16, patch_size=8, **size)
    CLIPModel(CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=8)).save_pretrained(folder)
    config = {"size": {"shortest_edge": 16}, "crop_size": {"height": 16, "width": 16}, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(config))
    return folder


def videos(batch: int = 2, frames: int = 4, height: int = 16, width: int = 16) -> torch.Tensor:
    return torch.rand(batch, frames, 3, height, width, generator=torch.Generator().manual_seed(batch + frames))


def test_unit_vectors_of_any_frame_size(folder: Path) -> None:
    encoder = ClipEncoder(folder)
    for height, width in ((16, 16), (40, 72), (33, 17)):
        images = encoder.images(videos(1, 3, height, width)[0])
        assert images.shape == (3, encoder.dimension) and torch.allclose(images.norm(dim=-1), torch.ones(3), atol=1e-5)
    assert encoder.texts(["a red ring", "b " * 40]).shape == (2, 8)


def test_embeddings_are_the_model_s_own(folder: Path) -> None:
    frames = videos()[0]
    model = CLIPModel.from_pretrained(folder).eval()
    tokens = CLIPTokenizer.from_pretrained(folder)(["a cat", "a dogs tail"], padding=True, return_tensors="pt")
    with torch.no_grad():
        out = model(pixel_values=(frames - 0.5) / 0.25, **tokens)
    encoder = ClipEncoder(folder)
    assert torch.allclose(encoder.images(frames), out.image_embeds, atol=1e-5)
    assert torch.allclose(encoder.texts(["a cat", "a dogs tail"]), out.text_embeds, atol=1e-5)


def test_metrics_equal_slow_loops(folder: Path) -> None:
    frames, prompts = videos(), ["a cat", "the dog"]
    encoder = load_encoder(str(folder))
    text, consistency = TextSimilarity(str(folder)).score(frames, prompts), TemporalConsistency(str(folder)).score(frames)
    for index in range(2):
        images, words = encoder.images(frames[index]).double(), encoder.texts([prompts[index]])[0].double()
        assert text[index].item() == pytest.approx(sum(float(image @ words) for image in images) / 4, abs=1e-5)
        pairs = [float(images[t] @ images[t + 1]) for t in range(3)]
        assert consistency[index].item() == pytest.approx(sum(pairs) / 3, abs=1e-5)


def test_uint8_equals_float(folder: Path) -> None:
    frames = (videos() * 255).round().byte()
    metric = TemporalConsistency(str(folder))
    assert torch.allclose(metric.score(frames), metric.score(frames.float() / 255))


def test_edges(folder: Path) -> None:
    metric = TemporalConsistency(str(folder))
    assert metric.score(videos(1, 1).expand(1, 3, 3, 16, 16)).item() == pytest.approx(1)
    with pytest.raises(ValueError, match="at least 2 frames"):
        metric.score(videos(1, 1))
    with pytest.raises(ValueError, match="list of 2 texts"):
        TextSimilarity(str(folder)).score(videos(), ["one"])


def test_the_image_network_runs_once_per_video(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, calls = ClipEncoder(folder), []
    real = encoder.images
    monkeypatch.setattr(encoder, "images", lambda frames: calls.append(len(frames)) or real(frames))
    frames = videos(3)
    first = embed_videos(encoder, frames)
    TextSimilarity(encoder).score(frames.clone(), ["a", "b", "c"])
    assert torch.equal(embed_videos(encoder, frames.flip(0)), first.flip(0)) and calls == [12]
    frames[0] *= 0.5
    assert not torch.equal(embed_videos(encoder, frames)[0], first[0]) and calls == [12, 4]


def test_a_copied_metric_shares_the_network(folder: Path) -> None:
    metric = TextSimilarity(str(folder))
    assert copy.deepcopy(metric)._encoder[0] is metric._encoder[0] and not list(metric.parameters()) and not metric.state_dict()
    for name in ("inception", f"inception:{folder}"):
        inception = load_features(name)
        assert copy.deepcopy(inception) is inception is load_features(name)


@pytest.mark.parametrize("use", [
    lambda path: ClipEncoder(path / "clip").images(torch.rand(1, 3, 8, 8)),
    lambda path: InceptionFeatures(path).images(torch.rand(1, 3, 8, 8)),
    lambda path: CoTracker3Tracker(path / "scaled_offline.pth")(torch.rand(1, 2, 3, 8, 8)),
])  # fmt: skip
def test_missing_weights_are_one_line(use, tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match="hf download|curl") as caught:
        use(tmp_path)
    assert "\n" not in str(caught.value)


def test_missing_hub_repository_is_one_line() -> None:
    with pytest.raises(MissingWeights, match="hf download nobody/nothing") as caught:
        ClipEncoder("nobody/nothing").texts(["a"])
    assert "\n" not in str(caught.value)


def test_the_scale_of_torchmetrics(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchmetrics' own CLIPScore, with the same embeddings, on the frames of one video at a time."""
    from torchmetrics.multimodal import CLIPScore

    frames, prompts, encoder = videos(3, 4), ["a cat", "the dog", "red"], load_encoder(str(folder))
    scores = TextSimilarity(str(folder), scale="torchmetrics").score(frames, prompts)
    raw = TextSimilarity(str(folder)).score(frames, prompts)
    assert torch.allclose(scores, 100 * raw.clamp(min=0), atol=1e-4) and (raw < 0).any() and (raw > 0).any()
    module = sys.modules[CLIPScore.__module__]
    for index, prompt in enumerate(prompts):
        pairs = (100 * encoder.images(frames[index]) @ encoder.texts([prompt])[0]), 4
        with monkeypatch.context() as patch:
            patch.setattr(module, "_get_clip_model_and_processor", lambda *_: (torch.nn.Identity(), None))
            patch.setattr(module, "_clip_score_update", lambda *_, pairs=pairs, **__: pairs)
            official = CLIPScore()
            official.update(list(frames[index]), [prompt] * 4)
        assert scores[index].item() == pytest.approx(float(official.compute()), abs=1e-3)
    with pytest.raises(ValueError, match="Choices: cosine, torchmetrics"):
        TextSimilarity(str(folder), scale="percent")
    metric = METRICS.build("text_similarity", encoder=str(folder), scale="torchmetrics")
    assert metric.range == (0, 100) and TextSimilarity(str(folder)).range == (-1, 1)


def test_pairs_equal_slow_loops(folder: Path) -> None:
    frames, encoder = videos(2, 5), load_encoder(str(folder))
    chosen = {"consecutive": [(t, t + 1) for t in range(4)], "all": list(combinations(range(5), 2)), "first": [(0, t) for t in range(1, 5)]}
    for pairs, indices in chosen.items():
        metric = TemporalConsistency(str(folder), pairs=pairs)
        for index, score in enumerate(metric.score(frames)):
            images = encoder.images(frames[index]).double()
            assert score.item() == pytest.approx(sum(float(images[a] @ images[b]) for a, b in indices) / len(indices), abs=1e-5)
        assert metric.protocol["pairs"] == pairs
    with pytest.raises(ValueError, match="Choices: consecutive, all, first"):
        TemporalConsistency(str(folder), pairs="last")


@pytest.mark.parametrize(("height", "width"), [(16, 16), (33, 17), (20, 50), (100, 64)])
def test_preprocessing_is_torchvision_s(folder: Path, height: int, width: int) -> None:
    frames = videos(1, 3, height, width)[0]
    steps = v2.Compose([v2.Resize(16, v2.InterpolationMode.BICUBIC, antialias=True), v2.Lambda(lambda x: x.clamp(0, 1)), v2.CenterCrop(16)])
    assert torch.allclose(Preprocessing.read(folder)(frames), (steps(frames) - 0.5) / 0.25, atol=1e-4)
    stated = "short side to 16 pixels, antialiased bicubic, centre crop to 16x16, mean [0.5, 0.5, 0.5], std [0.25, 0.25, 0.25]"
    assert ClipEncoder(folder).resize == stated
    assert "network's size" in ClipEncoder(folder / "none").resize


def test_protocol_is_the_same_before_and_after_the_network_is_loaded() -> None:
    encoder = ClipEncoder("shapes")
    before = encoder.resize
    encoder.images(torch.rand(1, 3, 64, 64))
    assert before == encoder.resize and "64" in before
    assert "64" not in ClipEncoder("/nowhere").resize
