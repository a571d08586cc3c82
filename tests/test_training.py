"""The training sentence: what the appearance does beside the motion, and what a step draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from motion_ablation.backbones import BackboneConfig
from motion_ablation.module import MotionInversion
from motion_ablation.motion import MotionConfig, SiteConfig, StreamConfig
from motion_ablation.motion.adapters import APPEARANCES
from motion_ablation.motion.adapters.spatial_lora import spatial_layers
from motion_ablation.records import Clip
from motion_ablation.training import Training, step_generator, with_gradient

RELEASED = {"name": "spatial_lora", "rank": 32, "dropout": 0.1, "feed_forward": True, "skipped": 0.2, "embeddings": True}


@pytest.fixture
def clip() -> Clip:
    return Clip(torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)), 8.0, "a red star", "noise")


@pytest.fixture
def make(tiny_backbone: Path, tmp_path: Path) -> Any:
    def module(appearance: dict[str, Any] | None = None, **options: Any) -> MotionInversion:
        options = {"motion": MotionConfig.paper(), "cache": str(tmp_path), "backbone": BackboneConfig(source=str(tiny_backbone)), **options}
        torch.manual_seed(0)
        made = MotionInversion(appearance=appearance, **options)
        made.make_motion(4, 16, 16)
        with torch.no_grad():
            for part in (made.embeddings, made.appearance):
                for parameter in part.parameters() if part else ():
                    parameter.add_(0.1 * torch.randn(parameter.shape))
        return made

    return module


def losses(module: MotionInversion, clip: Clip, count: int = 1) -> list[Tensor]:
    """Of this many steps, without a step of the optimizer."""
    found = []
    for index in range(count):
        torch.manual_seed(5)
        loss = module.training_step(clip, index)
        assert loss is not None
        found.append(loss.detach())
    return found


def test_the_layers_are_chosen_by_what_they_are(make: Any) -> None:
    module = make()
    denoiser, temporal = module.backbone.denoiser, {site.name for site in module.backbone.sites(4, 16, 16)}
    attentions, more = (spatial_layers(denoiser, temporal, feed_forward) for feed_forward in (False, True))
    spatial = {name for name in dict(denoiser.named_modules()) if name.endswith("transformer_blocks.0")} - temporal
    parts = {"attn1.to_q", "attn1.to_k", "attn1.to_v", "attn1.to_out.0", "attn2.to_q", "attn2.to_k", "attn2.to_v", "attn2.to_out.0"}
    assert spatial and set(attentions) == {f"{block}.{part}" for block in spatial for part in parts}
    assert set(more) - set(attentions) == {f"{block}.ff.net.{part}" for block in spatial for part in ("0.proj", "2")}
    assert not any(".ff." in name or name.startswith(tuple(temporal)) for name in attentions)
    assert all(denoiser.get_submodule(name) is layer for name, layer in more.items())


def test_the_released_set_is_what_the_options_say(make: Any) -> None:
    looks = make(RELEASED).appearance
    assert (looks.skipped, looks.embeddings) == (0.2, True)
    for layer in looks.layers.values():
        assert layer.lora_A["default"].weight.shape[0] == layer.lora_B["default"].weight.shape[1] == 32
        assert layer.lora_dropout["default"].p == 0.1
        assert layer.scaling["default"] == 1


def test_it_is_off_in_its_share_of_the_steps(make: Any, clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a step without it there is neither the LoRA nor the pass of a single frame."""
    module = make({"name": "spatial_lora", "skipped": 0.2})
    backbone, denoise = module.backbone, module.backbone.denoise
    steps: list[list[tuple[int, bool]]] = []

    def noted(latents: Tensor, *rest: Tensor) -> Tensor:
        there = any(isinstance(layer, LoraLayer) for layer in backbone.denoiser.modules())
        steps[-1].append((latents.shape[2], there))
        return denoise(latents, *rest)

    monkeypatch.setattr(backbone, "denoise", noted)
    for index in range(100):
        steps.append([])
        module.training_step(clip, index)
    with_it, without_it = [(4, True), (1, True)], [(4, False)]
    assert all(step in (with_it, without_it) for step in steps)
    assert 10 <= steps.count(without_it) <= 30, "20 of 100, within two and a half standard deviations"


@pytest.mark.parametrize("embeddings", [False, True])
def test_the_embeddings_are_in_the_single_frame_pass_if_asked_for(make: Any, clip: Clip, embeddings: bool) -> None:
    module = make({"name": "spatial_lora", "embeddings": embeddings})
    seen: list[int] = []
    stream: Any = next(iter(module.embeddings.streams.values()))
    stream.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape[1]))
    losses(module, clip)
    assert set(seen) == ({4, 1} if embeddings else {4})


def test_the_dropout_follows_the_step_and_disturbs_nothing_else(make: Any, clip: Clip) -> None:
    module = make({"name": "spatial_lora", "dropout": 0.5})
    module.train()
    first, second = losses(module, clip, 2)
    torch.manual_seed(5)
    before, seed = torch.get_rng_state(), torch.initial_seed()
    torch.randn(17)
    drawn = torch.get_rng_state()
    again = module.training_step(clip, 0)
    assert torch.equal(torch.get_rng_state(), drawn) and not torch.equal(drawn, before) and torch.initial_seed() == seed
    assert torch.equal(again.detach(), first) and not torch.equal(first, second)
    module.appearance.eval()
    assert not torch.equal(losses(module, clip)[0], first), "it did drop"


def test_a_gradient_that_was_taken_is_the_gradient() -> None:
    layer, other = nn.Linear(3, 2), nn.Linear(3, 2)
    inputs = torch.randn(5, 3)
    plain = layer(inputs).square().mean()
    (0.3 * plain).backward()
    expected = [parameter.grad.clone() for parameter in layer.parameters() if parameter.grad is not None]
    layer.zero_grad()
    taken = with_gradient(layer(inputs).square().mean(), [*layer.parameters(), *other.parameters()])
    assert torch.equal(taken, plain)
    (0.3 * taken).backward()
    for parameter, gradient in zip(layer.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)
    assert all(parameter.grad is None for parameter in other.parameters()), "what was not used has no gradient, not one of zero"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "rank must be a whole number of at least 1, not 0"),
        ({"dropout": 1}, "dropout must be at least 0 and below 1, not 1"),
        ({"skipped": 1.0}, "skipped must be at least 0 and below 1, not 1.0"),
        ({"lr": -1}, "lr must be a positive number"),
        ({"rnk": 3}, "model.appearance: appearance 'spatial_lora' has no option 'rnk'. Options: rank, dropout, feed_forward"),
        ({"denoiser": 3}, "has no option 'denoiser'"),
    ],
)
def test_an_appearance_that_cannot_work_is_refused_before_weights(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        MotionInversion(BackboneConfig(source=str(tmp_path / "none")), appearance={"name": "spatial_lora", **options})


def test_what_else_is_refused_before_weights(tmp_path: Path) -> None:
    nowhere = BackboneConfig(source=str(tmp_path / "none"))
    with pytest.raises(ValueError, match=r"'hybrid' is two axes now: .*appearance_debiased.*appearance: {name: spatial_lora}"):
        MotionInversion(nowhere, objective={"name": "hybrid", "rank": 8})
    with pytest.raises(ValueError, match="model.latents: 'once' is not one of fresh, kept"):
        MotionInversion(nowhere, latents="once")
    motion = MotionConfig(StreamConfig(), sites=SiteConfig(["encoder"]))
    with pytest.raises(ValueError, match="motion.sites.stages: this backbone has no 'encoder'. Choices: down, mid, up, in"):
        MotionInversion(nowhere, motion)


@pytest.mark.parametrize("name", APPEARANCES)
def test_an_appearance_starts_at_nothing_and_comes_off(make: Any, name: str) -> None:
    module = make()
    backbone = module.backbone
    temporal = [site.name for site in backbone.sites(4, 16, 16)]
    looks = APPEARANCES.build(name, denoiser=backbone.denoiser, temporal=temporal, **APPEARANCES[name].example)
    latents, text = torch.randn(1, *backbone.latent_shape(4, 16, 16)), backbone.embed(["a red star"])
    tree = dict(backbone.denoiser.named_modules())
    with torch.no_grad():
        plain = backbone.denoise(latents, torch.tensor([3]), text)
    for learning in (False, True):
        with looks.attached(backbone.denoiser, learning):
            changed = backbone.denoise(latents, torch.tensor([3]), text)
        assert torch.equal(changed, plain) and changed.requires_grad == learning
    assert dict(backbone.denoiser.named_modules()) == tree
    assert torch.equal(backbone.denoise(latents, torch.tensor([3]), text), plain)


def test_latents_are_fresh_in_each_step_or_kept(make: Any, clip: Clip) -> None:
    """Noise and timestep held, the clean latents are another sample each time, or the same."""
    module = make()
    ready = module.references.of(clip)
    for latents, same in (("fresh", False), ("kept", True)):
        training = Training(module.backbone, module.embeddings, module.objective, None, latents)
        cleans = []
        for seed in (1, 2):
            noisy, timestep, _ = training.example(ready, step_generator(seed))
            generator = step_generator(seed)
            if latents == "fresh":
                torch.randn(ready.posterior.mean.shape, generator=generator)
            noise = torch.randn(noisy.shape, generator=generator)
            left, added = (module.backbone.noised(a * torch.ones(1), b * torch.ones(1), timestep) for a, b in ((1.0, 0.0), (0.0, 1.0)))
            cleans.append((noisy - added * noise) / left)
        assert torch.allclose(*cleans, atol=1e-3) == same
        assert torch.allclose(cleans[0], ready.posterior.kept(), atol=1e-3) == same


def test_training_starts_at_a_timestep_that_is_set(make: Any, clip: Clip) -> None:
    """Those that are large enough are the ones that would have been drawn anyway; where there are none, one line says so."""
    module = make()
    ready = module.references.of(clip)
    every = Training(module.backbone, module.embeddings, module.objective)
    late = Training(module.backbone, module.embeddings, module.objective, timesteps_from=500)
    drawn = [(every.example(ready, step_generator(seed))[1], late.example(ready, step_generator(seed))[1]) for seed in range(40)]
    assert min(float(each) for each, _ in drawn) < 500 <= min(float(each) for _, each in drawn)
    assert all(torch.equal(each, own) for each, own in drawn if each >= 500)
    with pytest.raises(ValueError, match="timesteps_from 1000 is beyond the backbone's last"):
        Training(module.backbone, module.embeddings, module.objective, timesteps_from=1000).example(ready, step_generator(0))
