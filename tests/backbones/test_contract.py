"""What every backbone must do; a new one is covered by being registered."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from motion_ablation.backbones import BACKBONES, Backbone, BackboneConfig
from motion_ablation.generating import SamplingConfig
from motion_ablation.module import MotionInversion
from motion_ablation.motion import MotionConfig, MotionEmbeddings, SiteConfig
from motion_ablation.motion.adapters import ADAPTERS, APPEARANCES
from motion_ablation.records import Cell, Clip
from motion_ablation.weights import MissingWeights


class Tiny:
    """A tiny model of a class, and the smallest clip that it takes."""

    def __init__(self, name: str, options: dict[str, Any]) -> None:
        self.name, self.options = name, options
        self.model: Backbone = BACKBONES.build(name, **options)
        sizes = [(frames, side, 2 * side) for side in (8, 16, 32, 64, 128) for frames in (4, 5, 9)]
        self.size = next(size for size in sizes if self._takes(size))
        self.sites = self.model.sites(*self.size)
        self.places = SiteConfig([stage for stage in self.model.stages if stage not in ("mid", "in")], "all")
        self.all = MotionConfig(**MotionConfig.paper().streams(), sites=self.places)
        self.spatial = any(site.tokens == "rows" for site in self.sites)  # it has attentions that see one frame at a time

    def _takes(self, size: tuple[int, int, int]) -> bool:
        try:
            return min(self.model.latent_shape(*size)[1:]) > 1
        except ValueError:
            return False

    @property
    def frames(self) -> Tensor:
        frames, height, width = self.size
        return torch.rand(frames, 3, height, width, generator=torch.Generator().manual_seed(1))

    @property
    def clip(self) -> Clip:
        return Clip(self.frames, 8.0, "a red star", "noise")

    @property
    def inputs(self) -> tuple[Tensor, Tensor, Tensor]:
        """Latents of two videos, a timestep, and two texts."""
        generator = torch.Generator().manual_seed(1)
        latents = torch.randn(2, *self.model.latent_shape(*self.size), generator=generator)
        return latents, self.model.draw(torch.Generator().manual_seed(2)), self.model.embed(["a red star", "a blue circle"])

    def config(self, **options: Any) -> BackboneConfig:
        options = {**self.options, **options}
        return BackboneConfig(self.name, options.pop("source"), options)

    def module(self, folder: Path, *, seed: int = 0, motion: MotionConfig | None = None, **options: Any) -> MotionInversion:
        """A module on it whose embeddings are away from their start."""
        options.setdefault("backbone", self.config())
        torch.manual_seed(seed)
        module = MotionInversion(motion=motion or self.all, sampling=SamplingConfig(2, 7.5, "", 2), cache=str(folder), **options)
        module.make_motion(*self.size)
        for part in (module.embeddings, module.appearance):
            randomise(part)
        return module


def randomise(module: nn.Module | None) -> None:
    with torch.no_grad():
        for parameter in module.parameters() if module else ():
            parameter.add_(torch.randn(parameter.shape) * 0.1)


@pytest.fixture(scope="module", params=BACKBONES)
def tiny(request: pytest.FixtureRequest, tiny_options: dict[str, dict[str, Any]]) -> Tiny:
    return Tiny(request.param, tiny_options[request.param])


@contextmanager
def untouched(denoiser: nn.Module) -> Iterator[None]:
    """After this block every module is in its place and no hook is left."""
    tree = dict(denoiser.named_modules())
    yield
    assert dict(denoiser.named_modules()) == tree
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in denoiser.modules())


# The frozen model.


def test_it_is_frozen_and_stays_in_evaluation_mode(tiny: Tiny) -> None:
    assert not any(parameter.requires_grad for parameter in tiny.model.parameters())
    tiny.model.train()
    assert not any(module.training for module in tiny.model.modules())


def test_encode_and_decode_have_the_declared_axes(tiny: Tiny) -> None:
    posterior = tiny.model.encode(tiny.frames)
    assert posterior.mean.shape == posterior.std.shape == (1, *tiny.model.latent_shape(*tiny.size))
    assert posterior.std.min() >= 0
    videos = tiny.model.decode(torch.cat([posterior.mean, 100 * posterior.mean]))
    assert videos.shape == (2, *tiny.frames.shape)
    assert videos.min() >= 0 and videos.max() <= 1


def test_posterior_samples_follow_their_generator(tiny: Tiny) -> None:
    posterior = tiny.model.encode(tiny.frames)
    first, again, other = (posterior.sample(torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(posterior.kept(), posterior.kept())
    torch.testing.assert_close((posterior.kept() - posterior.mean).std(), posterior.std.square().mean().sqrt(), rtol=0.3, atol=0)


@pytest.mark.parametrize("extra", [(0, 1, 0), (0, 0, 1), (0, 1, 1)])
def test_sizes_that_it_cannot_take_are_refused_in_one_line(tiny: Tiny, extra: tuple[int, int, int]) -> None:
    size = tuple(side + more for side, more in zip(tiny.size, extra, strict=True))
    for ask in (tiny.model.latent_shape, tiny.model.sites):
        with pytest.raises(ValueError, match=rf"^[^\n]*{size[1]}x{size[2]}[^\n]*$"):
            ask(*size)


def test_missing_weights_say_in_one_line_what_to_fetch(tiny: Tiny) -> None:
    with pytest.raises(MissingWeights, match=r"^[^\n]*hf download nobody/nothing --local-dir[^\n]*$"):
        BACKBONES.build(tiny.name, **{**tiny.options, "source": "nobody/nothing"})


def test_half_precision(tiny: Tiny) -> None:
    model = BACKBONES.build(tiny.name, **tiny.options, dtype="bfloat16")
    projections = [model.denoiser.get_submodule(f"{site.name}.{site.attentions[0]}.to_q") for site in tiny.sites]
    assert {projection.weight.dtype for projection in projections} == {torch.bfloat16}
    kinds = {parameter.dtype for parameter in model.denoiser.parameters()}
    assert kinds == {torch.bfloat16} if tiny.spatial else kinds <= {torch.bfloat16, torch.float32}, "Wan keeps small weights in float32"
    latents, timestep, text = tiny.inputs
    assert model.encode(tiny.frames).mean.dtype == torch.float32
    predicted = model.denoise(latents, timestep, model.embed(["a red star", "a blue circle"]))
    assert predicted.dtype == torch.float32 and torch.isfinite(predicted).all()
    assert model.fingerprint != tiny.model.fingerprint, "latents of one precision are not the other's"
    motion = MotionEmbeddings(tiny.all, tiny.sites)
    with motion.attached(model.denoiser, tiny.sites):
        model.denoise(latents, timestep, text).square().mean().backward()
    assert all(parameter.grad is not None and torch.isfinite(parameter.grad).all() for parameter in motion.parameters())


# Noise.


def parts(model: Backbone, timestep: Tensor) -> tuple[Tensor, Tensor]:
    """What ``timestep`` leaves of the clean latents, and how much noise it adds."""
    one, none = torch.ones(1, 1, 1, 1, 1), torch.zeros(1, 1, 1, 1, 1)
    timestep = timestep.reshape(1)
    return model.noised(one, none, timestep), model.noised(none, one, timestep)


def test_noise_is_added_linearly(tiny: Tiny) -> None:
    clean, noise = torch.randn(2, *tiny.inputs[0].shape)
    for seed in range(3):
        timestep = tiny.model.draw(torch.Generator().manual_seed(seed))
        assert timestep.shape == (1,) and torch.equal(timestep, tiny.model.draw(torch.Generator().manual_seed(seed)))
        left, added = parts(tiny.model, timestep)
        assert 0 <= left < 1 and 0 < added <= 1
        torch.testing.assert_close(tiny.model.noised(clean, noise, timestep), left * clean + added * noise)


def test_a_perfect_network_samples_the_clean_latents_from_any_noise(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """``target`` is what sampling takes an output for: with it as the output, the clean latents come back."""
    model, (noise, _, text) = tiny.model, tiny.inputs
    clean = torch.randn(noise.shape) * 0.5

    def perfect(latents: Tensor, timestep: Tensor, _: Tensor) -> Tensor:
        left, added = parts(model, timestep)
        return model.target(clean, (latents - left * clean) / added, timestep.reshape(1))

    monkeypatch.setattr(model, "denoise", perfect)
    torch.testing.assert_close(model.generate(noise, text, text, steps=8, guidance=1), clean, atol=1e-3, rtol=1e-3)


def test_inversion_comes_back(tiny: Tiny) -> None:
    clean = tiny.inputs[0][:1] * 0.5
    text = tiny.model.embed([""])
    noise = tiny.model.invert(clean, text, steps=40)
    back = tiny.model.generate(noise, text, text, steps=40, guidance=1)
    assert (noise - clean).square().mean() > 0.2 * clean.square().mean(), "the noise is something else"
    assert (back - clean).square().mean() < 0.05 * clean.square().mean()


def test_a_video_does_not_depend_on_its_batch_and_guidance_of_one_needs_no_second_branch(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, (noise, _, text) = tiny.model, tiny.inputs
    negative, sizes, denoise = model.embed([""]), [], model.denoise

    def counted(latents: Tensor, *rest: Tensor) -> Tensor:
        sizes.append(len(latents))
        return denoise(latents, *rest)

    monkeypatch.setattr(model, "denoise", counted)
    one = model.generate(noise, text, negative, steps=2, guidance=1)
    assert sizes == [2, 2]
    barely = model.generate(noise, text, negative, steps=2, guidance=1 + 1e-6)
    assert sizes == [2, 2, 4, 4]
    torch.testing.assert_close(one, barely, atol=1e-3, rtol=1e-3)
    alone = model.generate(noise[1:], text[1:], negative, steps=2, guidance=3.0)
    torch.testing.assert_close(alone, model.generate(noise, text, negative, steps=2, guidance=3.0)[1:], atol=1e-4, rtol=1e-4)


# Sites, and motion at them.


def test_sites_are_what_the_network_sees(tiny: Tiny) -> None:
    model = tiny.model
    assert tiny.sites and len({site.name for site in tiny.sites}) == len(tiny.sites)
    assert {site.stage for site in tiny.sites} == set(type(model).stages)
    assert type(model).sites_of(frames=tiny.size[0], height=tiny.size[1], width=tiny.size[2], **tiny.options) == tiny.sites
    seen: dict[str, torch.Size] = {}
    hooks = []
    for site in tiny.sites:
        for name in site.attentions:
            attention = model.denoiser.get_submodule(f"{site.name}.{name}")
            assert attention.to_q.in_features == attention.to_v.in_features == site.channels  # type: ignore[union-attr]
            hook = lambda _, inputs, name=site.name: seen.update({name: inputs[0].shape})  # noqa: E731
            hooks.append(attention.to_k.register_forward_pre_hook(hook))  # type: ignore[union-attr, operator]
    model.denoise(*tiny.inputs)
    for handle in hooks:
        handle.remove()
    places = {site.name: site.height * site.width for site in tiny.sites}
    rows = {site.name: (2 * places[site.name], site.frames, site.channels) for site in tiny.sites if site.tokens == "rows"}
    joint = {site.name: (2, site.skip + site.frames * places[site.name], site.channels) for site in tiny.sites if site.tokens == "joint"}
    assert seen == rows | joint


def test_zero_motion_is_the_bare_model_and_detaching_leaves_it(tiny: Tiny) -> None:
    model, motion = tiny.model, MotionEmbeddings(tiny.all, tiny.sites)
    with torch.no_grad():
        plain = model.denoise(*tiny.inputs)
        with untouched(model.denoiser), motion.attached(model.denoiser, tiny.sites):
            assert torch.equal(model.denoise(*tiny.inputs), plain)
        randomise(motion)
        with untouched(model.denoiser), motion.attached(model.denoiser, tiny.sites):
            assert not torch.equal(model.denoise(*tiny.inputs), plain)
        assert torch.equal(model.denoise(*tiny.inputs), plain)


def test_gradients_reach_the_motion_only(tiny: Tiny) -> None:
    motion = MotionEmbeddings(tiny.all, tiny.sites)
    with motion.attached(tiny.model.denoiser, tiny.sites):
        (tiny.model.denoise(*tiny.inputs) - 1).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in motion.parameters())
    assert all(parameter.grad is None for parameter in tiny.model.parameters())


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapters_start_at_nothing_and_come_off(tiny: Tiny, name: str) -> None:
    motion = MotionEmbeddings(MotionConfig(adapter={"name": name, **ADAPTERS[name].example}, sites=tiny.places), tiny.sites)
    with torch.no_grad(), untouched(tiny.model.denoiser):
        plain = tiny.model.denoise(*tiny.inputs)
        with motion.attached(tiny.model.denoiser, tiny.sites):
            assert torch.equal(tiny.model.denoise(*tiny.inputs), plain)
        randomise(motion)
        with motion.attached(tiny.model.denoiser, tiny.sites):
            assert not torch.equal(tiny.model.denoise(*tiny.inputs), plain)
        assert torch.equal(tiny.model.denoise(*tiny.inputs), plain)


# The two sentences.


@pytest.mark.parametrize("looks", [None, *APPEARANCES])
def test_it_trains_and_generates(tiny: Tiny, tmp_path: Path, looks: str | None) -> None:
    appearance = {"name": looks, **APPEARANCES[looks].example} if looks else None
    if looks and not tiny.spatial:
        with pytest.raises(ValueError, match=rf"^appearance '{looks}' finds no [^\n]*$"):
            tiny.module(tmp_path, appearance=appearance)
        return
    module = tiny.module(tmp_path, appearance=appearance)
    denoiser, optimizer, losses = module.backbone.denoiser, module.configure_optimizers(), []
    for _ in range(8):
        optimizer.zero_grad()
        with untouched(denoiser):
            loss = module.training_step(tiny.clip, 0)
        assert loss is not None
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all((parameter.grad is not None) == (not name.startswith("backbone.")) for name, parameter in module.named_parameters())
    samples = module.generate(tiny.clip, [Cell(tiny.clip.name, "a blue circle", seed, "blend") for seed in (0, 1)])
    assert [sample.frames.shape for sample in samples] == [tiny.frames.shape] * 2
    assert all(0 <= sample.frames.min() and sample.frames.max() <= 1 for sample in samples)
    assert not torch.equal(samples[0].frames, samples[1].frames)


def test_a_failed_step_leaves_nothing_attached(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tiny.module(tmp_path, appearance={"name": "spatial_lora"} if tiny.spatial else None)
    with untouched(module.backbone.denoiser):
        monkeypatch.setattr(module.objective, "forward", lambda *_: torch.tensor(float("nan")))
        with pytest.raises(FloatingPointError):
            module.training_step(tiny.clip, 0)

        def fails(*_: Any) -> Tensor:
            raise KeyboardInterrupt

        monkeypatch.setattr(module.objective, "forward", fails)
        with pytest.raises(KeyboardInterrupt):
            module.training_step(tiny.clip, 0)


RELEASED = {"name": "spatial_lora", "rank": 4, "dropout": 0.1, "feed_forward": True, "embeddings": True}


@pytest.mark.parametrize("appearance", [None, {"name": "spatial_lora"}, RELEASED], ids=["none", "ours", "released"])
@pytest.mark.parametrize("adapter", [None, {"name": "temporal_lora"}], ids=["embeddings", "adapter"])
def test_gradient_checkpointing_changes_no_gradient(
    tiny: Tiny, tmp_path: Path, adapter: dict[str, Any] | None, appearance: dict[str, Any] | None
) -> None:
    motion = MotionConfig(adapter=adapter, sites=tiny.places) if adapter else tiny.all
    if appearance and not tiny.spatial:
        pytest.skip("this backbone has no attentions of single frames")
    if "gradient_checkpointing" not in inspect.signature(BACKBONES[tiny.name]).parameters:
        pytest.skip("this backbone has no gradient checkpointing")
    gradients = []
    for checkpointing in (False, True):
        module = tiny.module(
            tmp_path, seed=3, motion=motion, appearance=appearance, backbone=tiny.config(gradient_checkpointing=checkpointing)
        )
        assert module.backbone.recomputes == checkpointing
        module.train()
        torch.manual_seed(7)
        with untouched(module.backbone.denoiser):
            loss = module.training_step(tiny.clip, 0)
        assert loss is not None
        loss.backward()
        gradients.append({name: parameter.grad for name, parameter in module.named_parameters() if not name.startswith("backbone.")})
        gradients[-1]["loss"] = loss.detach()
    plain, recomputed = gradients
    assert plain.keys() == recomputed.keys()
    for name, gradient in plain.items():
        assert gradient is not None and gradient.abs().max() > 0, name
        torch.testing.assert_close(recomputed[name], gradient, msg=lambda message, name=name: f"{name}: {message}")
