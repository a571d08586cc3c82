"""Pretraining's data and what its stages save."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file

from motion_ablation.backbones import UNet3DBackbone
from motion_ablation.data.world.shapes import MOTIONS
from motion_ablation.metrics.networks.encoders import load_encoder
from motion_ablation.pretrain.clip import AppearanceBatches
from motion_ablation.pretrain.latents import PAIRS, LatentDataModule, LatentPool, RenderedClips, clip_scene, encode_shard, object_cells
from motion_ablation.pretrain.text_to_video import (
    PretrainTextToVideo,
    as_image_model,
    build_unet,
    draw_noise,
    group_contrast,
    start_as_identity,
)
from motion_ablation.pretrain.vae import contrast, cosine, outline_weights, reconstruction_weights, trapezoid

CURRICULUM = [[2, 1, 8, 10], [3, 8, 4, 20], [1, 16, 2, 30, 5]]


def pool(seed: int = 1, frames: int = 4, **options: float) -> LatentPool:
    latents = torch.arange(6.0)[:, None, None, None, None] * 100 + torch.arange(8.0)[None, :, None, None, None]
    rates = {"motion_dropout": 0.25, "caption_dropout": 0.1, **options}
    return LatentPool(latents.expand(6, 8, 2, 3, 3), latents[:, :, 0].expand(6, 8, 3, 3), 7, 40, frames, seed, **rates)


def test_a_pool_is_set_by_its_seed() -> None:
    first, again, other = pool(), pool(), pool(seed=2)
    for index in range(40):
        assert torch.equal(first[index]["latents"], again[index]["latents"])
        assert first[index]["caption"] == again[index]["caption"]
    assert any(first[index]["caption"] != other[index]["caption"] for index in range(40))


@pytest.mark.parametrize("frames", [1, 2, 4, 8])
def test_windows_are_evenly_spaced_frames_of_one_clip(frames: int) -> None:
    for index in range(40):
        values = pool(frames=frames)[index]["latents"][:, 0, 0, 0]
        assert len(values) == frames
        assert torch.equal(pool(frames=frames)[index]["object"][:, 0, 0], values), "the cells are those of the same frames"
        assert len(set((values // 100).tolist())) == 1
        if frames > 1:
            assert values.diff().unique().tolist() == [8 // frames]


def test_captions_belong_to_the_clip_and_may_leave_things_out() -> None:
    full = pool(motion_dropout=0.0, caption_dropout=0.0)
    clips: dict[float, set[str]] = {}
    for index in range(40):
        item = full[index]
        clips.setdefault(float(item["latents"].flatten()[0] // 100), set()).add(item["caption"])
    assert all(len(captions) == 1 for captions in clips.values())
    assert {pool(caption_dropout=1.0)[index]["caption"] for index in range(5)} == {""}
    # A single frame shows no motion, so its caption names none.
    still = pool(frames=1, caption_dropout=0.0)
    assert all(still[index]["caption"].split(" on ")[0].count(" ") == 2 for index in range(40))


def test_curriculum_rows_follow_each_other_and_the_last_goes_on() -> None:
    data = LatentDataModule("vae", "cache", CURRICULUM)
    rows = [data.row(epoch) for epoch in range(9)]
    assert [row[:4] for row in rows] == [(1, 8, 10, 0)] * 2 + [(8, 4, 20, 0)] * 3 + [(16, 2, 30, 5)] * 4
    assert LatentDataModule("vae", "cache", [[1, 4, 8, 10, 3, 0.25]]).row(5) == (4, 8, 10, 3, 0.25)


def test_motions_of_one_appearance_meet_in_a_batch() -> None:
    latents = torch.zeros(40, 8, 2, 3, 3)
    grouped = LatentPool(latents, latents[:, :, 0], 7, 160, 4, 1, 0.0, 0.0, grouped=36, appearances=2, batch_size=8)
    items = [grouped[index] for index in range(160)]
    kinds = {item["group"] >= 0 for item in items}
    assert kinds == {True, False}, "most batches meet, the others draw from the whole pool"
    seen = set()
    for first in range(0, 160, 4):
        four = items[first : first + 4]
        if four[0]["group"] < 0:
            continue
        assert {item["group"] for item in four} == {first // 4}
        looks = {(*item["caption"].split()[1:3], item["caption"].split(" on a ")[1]) for item in four}
        assert len(looks) == 1 and len({item["caption"] for item in four}) == 4, "one appearance, four motions"
        shown = [next(motion for motion in MOTIONS if motion in item["caption"]) for item in four]
        assert {tuple(shown[:2]), tuple(shown[2:])} <= set(PAIRS), "opposites meet"
        seen |= looks
    assert len(seen) == 2, "as many appearances as the curriculum says"
    scenes = [clip_scene(7, index, 36) for index in range(36)]
    assert {scene.camera for scene in scenes} == {"static"}
    assert len({(scene.waves, scene.angle, scene.phase, scene.travel) for scene in scenes}) == 3, "only the motion differs"
    assert [scene.motion for scene in scenes[:12]] == list(MOTIONS) and scenes[0].start[1] == scenes[1].start[1]


def test_contrast_counts_what_the_motion_word_should_change_and_nothing_else() -> None:
    error = torch.randn(5, 2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    weight, groups = torch.ones(5, 1, 3, 4, 4), torch.tensor([8, 8, 8, -1, -1])
    found = group_contrast(error, weight, groups)
    assert float(found) == pytest.approx(float(error[:3].var(0, correction=0).mean()), rel=1e-5)
    same = error + torch.randn(1, 2, 3, 4, 4)
    assert torch.allclose(group_contrast(same, weight, groups), found, atol=1e-5), "an error that all share does not count"
    assert float(group_contrast(error, weight, torch.full((5,), -1))) == 0
    two = group_contrast(torch.cat([error[:3], error[:3] * 2]), torch.ones(6, 1, 3, 4, 4), torch.tensor([1, 1, 1, 4, 4, 4]))
    assert float(two) == pytest.approx(2.5 * float(found), rel=1e-5)
    weight[0, :, 0] = 3
    assert group_contrast(error, weight, groups) != found


def test_clips_of_a_group_share_noise_and_timestep() -> None:
    noise, uniform = draw_noise(torch.Size([6, 2, 3]), [5, 5, -1, 7, 7, -1], torch.Generator().manual_seed(0))
    assert torch.equal(noise[0], noise[1]) and torch.equal(noise[3], noise[4]) and uniform[0] == uniform[1]
    assert len({float(value) for value in uniform}) == 4 and not torch.equal(noise[2], noise[5])
    assert sorted((uniform * 4).long().unique().tolist()) == [0, 1, 2, 3], "stratified"


def test_shards_are_encoded_once_and_are_the_rendered_clips(tiny_backbone: Path, tmp_path: Path) -> None:
    data = LatentDataModule(str(tiny_backbone / "vae"), str(tmp_path / "pool"), [[1, 2, 2, 3]], pool=3, frames=2, size=16)
    data.prepare_data()
    (path,) = (tmp_path / "pool").iterdir()
    written = path.stat().st_mtime_ns
    data.prepare_data()
    assert path.stat().st_mtime_ns == written
    other = shutil.copytree(tiny_backbone / "vae", tmp_path / "vae")
    (other / "config.json").write_text((other / "config.json").read_text() + "\n")
    assert not any(shard.exists() for shard in LatentDataModule(**{**data.hparams, "vae": str(other)})._shards()), "of another autoencoder"
    data.setup("fit")
    assert data.latents is not None and data.latents.shape == (3, 2, 4, 8, 8)
    batch = next(iter(data.train_dataloader()))
    assert batch["latents"].shape == (2, 2, 4, 8, 8) and len(batch["caption"]) == 2
    # A later shard starts at its own clip.
    vae = AutoencoderKL.from_pretrained(tiny_backbone / "vae").eval()
    encode_shard(vae, tmp_path / "second", RenderedClips(1, 2, 2, 16, data.hparams["seed"], 0, 8))
    second = load_file(tmp_path / "second")["latents"]
    torch.testing.assert_close(second, data.latents[1:], atol=0.02, rtol=0.05)  # bfloat16, another memory format
    assert (data.latents[0] - data.latents[1]).abs().mean() > 0.05, "clips are told apart"
    assert data.cells is not None and data.cells.shape == (3, 2, 8, 8) and 0 < data.cells.float().mean() < 1


def test_the_cells_of_an_object_and_their_neighbours() -> None:
    covered = torch.zeros(1, 16, 16)
    covered[0, 9, 6] = 0.1
    cells = object_cells(covered, 4)[0]
    assert torch.nonzero(cells).tolist() == [[row, column] for row in (1, 2, 3) for column in (0, 1, 2)]


def test_a_new_network_is_an_image_model_that_frames_share() -> None:
    torch.manual_seed(0)
    unet = build_unet((16, 32), 4, 8, 16, 8, plain=1)
    assert not hasattr(unet.down_blocks[0], "attentions") and hasattr(unet.down_blocks[1], "attentions")
    clip, step, text = torch.randn(1, 4, 3, 8, 8), torch.tensor(500), torch.randn(1, 5, 16)
    with torch.no_grad():
        before = unet(clip, step, text).sample
        start_as_identity(unet)
        whole = unet(clip, step, text).sample
        with as_image_model(unet):
            each = torch.cat([unet(clip[:, :, index : index + 1], step, text).sample for index in range(3)], 2)
        assert torch.allclose(whole, each, atol=1e-5) and not torch.allclose(whole, before, atol=1e-3)
        assert torch.equal(unet(clip, step, text).sample, whole), "the temporal layers are back"


def test_batches_have_different_captions_and_are_repeatable() -> None:
    batches = AppearanceBatches(2, 16, size=16, seed=3)
    first, again = batches[0], batches[0]
    assert len(set(first["captions"])) == 16
    assert first["captions"] == again["captions"] and torch.equal(first["frames"], again["frames"])
    assert first["captions"] != batches[1]["captions"]
    with pytest.raises(IndexError):
        batches[2]


def test_alike_captions_differ_in_the_shape() -> None:
    captions = AppearanceBatches(1, 12, size=16, alike=True)[0]["captions"]
    assert len(set(captions)) == 12
    grounds = [(caption.split()[1], caption.split(" on a ")[1]) for caption in captions]
    assert [len({*grounds[:6]}), len({*grounds[6:]}), len({*grounds})] == [1, 1, 2]


def test_the_saved_folder_is_a_backbone_of_the_averaged_weights(tiny_backbone: Path, tmp_path: Path) -> None:
    (tmp_path / "vae").symlink_to(tiny_backbone / "vae")
    module = PretrainTextToVideo(
        str(tmp_path), channels=(16, 32), latent_channels=4, latent_size=8, head_dim=8, text_width=16, text_layers=1
    )
    with torch.no_grad():
        for parameter in module.model.parameters():
            parameter.add_(1)  # the training weights run ahead of their average
    module.save(tmp_path)
    backbone = UNet3DBackbone(str(tmp_path))
    average = module.average.module["unet"].state_dict()  # type: ignore[index, union-attr]
    for name, value in backbone.denoiser.state_dict().items():
        assert torch.equal(value, average[name].half().float()), name
    assert backbone.diffusion.scheduler.config.prediction_type == "v_prediction"
    assert backbone.diffusion.scheduler.alphas_cumprod[-1] == 0, "no signal is left at the last step"
    captions = ["a red star", "a blue ring on a white background"]
    torch.testing.assert_close(backbone.embed(captions), module.embed(module.average.module, captions), atol=2e-2, rtol=2e-2)
    assert {site.stage for site in backbone.sites(2, 16, 16)} == {"in", "down", "mid", "up"}


def test_the_saved_clip_serves_the_metrics(tiny_clip: Path) -> None:
    encoder = load_encoder(str(tiny_clip))
    images, texts = encoder.images(torch.rand(3, 3, 16, 16)), encoder.texts(["a red star", "a dog"])
    assert images.shape == (3, encoder.dimension) and texts.shape == (2, encoder.dimension)


def test_learning_rate_warms_up_and_decays() -> None:
    factors = [cosine(step, 1000) for step in range(1200)]
    assert factors[0] == 0.01 and max(factors) == pytest.approx(1) and factors.index(max(factors)) in (99, 100)
    assert factors[-1] == pytest.approx(0.01)
    assert all(a >= b for a, b in pairwise(factors[100:]))


def test_learning_rate_is_constant_before_it_falls() -> None:
    factors = [trapezoid(step, 1000, 0.25) for step in range(1200)]
    assert factors[0] == 0.01 and set(factors[100:750]) == {1.0}
    assert factors[875] == pytest.approx(0.5) and factors[1000] == factors[-1] == 0.01


def test_small_objects_weigh_more() -> None:
    frames = torch.zeros(1, 3, 8, 8)
    frames[..., 2:4, 2:4] = 1
    weights = reconstruction_weights(frames, 4.0)
    assert weights.shape == (1, 1, 8, 8)
    assert weights[0, 0, 2, 2] == 5 and weights[0, 0, 0, 0] == 1


def test_outlines_weigh_more_and_faint_objects_as_much_as_strong_ones() -> None:
    frames = torch.zeros(1, 3, 16, 16)
    frames[..., 4:12, 4:12] = 1
    weights = outline_weights(frames, 8.0)
    assert weights.shape == (1, 1, 16, 16)
    assert weights[0, 0, 11, 11] == 9, "a corner, where two edges meet"
    assert weights[0, 0, 4, 4] == 5 and weights[0, 0, 8, 8] == 1 and weights[0, 0, 0, 0] == 1
    assert torch.allclose(contrast(frames * 0.6), contrast(frames * 0.3) * 2)
    assert contrast(torch.zeros(1, 3, 8, 8)).item() == pytest.approx(0.35)
