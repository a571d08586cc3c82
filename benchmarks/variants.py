"""The three programs that the benchmark compares, on one clip, one set of sites and one backbone.

``Ours``
    What a user runs: ``MotionInversion.training_step`` (draws latents, noise and timestep, attaches motion, denoises, loss, log,
    check for a finite loss), backward, AdamW.
``Bare``
    The backbone's own forward and backward with the same parameters trainable, by the thinnest means there is: parameters of the
    same number, shapes and sites (per block ``(1, f, c)`` and twice ``(h * w, f, c)``), summed and added to the block's input by one
    hook that is never removed. So the gradient flows back to the same earliest site through the same frozen layers, and the loss and
    the optimizer are the same. Latents, noise, timestep and text are fixed before: it draws, logs and checks nothing. A zero cost of
    motion is therefore below what any implementation of the method could reach.
``Explicit``
    The method as the released code structures it, written from the paper's equations (Wang et al., arXiv 2403.20193): the forward of
    each chosen temporal transformer block replaced, and attention spelt out as ``softmax(bmm(Q, K^T) / sqrt(d))``, ``bmm`` with V.
    It draws latents, noise and timestep as every training does; it logs and checks nothing.

``Bare`` and ``Explicit`` own a copy of the backbone, so that nothing is attached or detached while they are timed.
"""

from __future__ import annotations

import copy
import types
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from motion_ablation.backbones import BackboneConfig
from motion_ablation.configure.parse import DEFAULTS
from motion_ablation.data.reference import ReferenceDataModule
from motion_ablation.generating import SamplingConfig
from motion_ablation.latents import Prepared
from motion_ablation.module import MotionInversion
from motion_ablation.motion import MotionConfig
from motion_ablation.records import Cell, Clip, Site
from motion_ablation.training import OptimizerConfig

PROMPTS = (
    "a red circle on a cyan background", "a cyan triangle on a blue background", "a orange star on a red background",
    "a green square on a white background", "a purple ring on a yellow background", "a white star on a orange background",
    "a blue circle on a green background", "a yellow square on a purple background",
)  # fmt: skip

RECORDED = 16  # frames of the reference; a longer clip loops it


@dataclass(frozen=True)
class World:
    """What all variants share: the module with fresh embeddings, its clip, and one fixed training example."""

    module: MotionInversion
    clip: Clip
    ready: Prepared
    noisy: Tensor
    timestep: Tensor
    target: Tensor

    @property
    def sites(self) -> list[Site]:
        """The sites that carry motion."""
        return self.module.embeddings.sites


@dataclass(frozen=True)
class Scene:
    """What the variants are compared on.

    Attributes:
        source, dtype: of the ``unet3d`` backbone. frames, size: of the clip; ``size`` is ``(height, width)`` in pixels.
        device: where. cache: folder for latents and references.
    """

    cache: str
    source: str = "shapes"
    dtype: str = "float32"
    frames: int = 16
    size: tuple[int, int] = (64, 64)
    device: str = "cpu"


def make_world(scene: Scene) -> World:
    """The paper's method as ``defaults.yaml`` has it, on the built-in reference ``orbit`` (looped if longer than it is)."""
    config = yaml.safe_load(DEFAULTS.read_text(encoding="utf-8"))["model"]
    backbone = BackboneConfig("unet3d", scene.source, {"dtype": scene.dtype})
    module = MotionInversion(
        backbone,
        MotionConfig.from_dict(config["motion"]),
        optimizer=OptimizerConfig(**config["optimizer"]),
        sampling=SamplingConfig(**config["sampling"]),
        cache=scene.cache,
    ).to(scene.device)
    clip, device = _clip(scene).to(scene.device), scene.device
    module.make_motion(scene.frames, *scene.size)
    ready = module.references.of(clip)
    generator = torch.Generator().manual_seed(0)
    clean = ready.posterior.sample(generator)
    noise = torch.randn(clean.shape, generator=generator).to(clean)
    timestep = torch.tensor([500], device=device)
    scheduler = module.backbone.diffusion.scheduler
    noisy = scheduler.add_noise(clean, noise, timestep)
    return World(module, clip, ready, noisy, timestep, module.backbone.target(clean, noise, timestep))


def _clip(scene: Scene) -> Clip:
    recorded = min(scene.frames, RECORDED)
    folder = str(Path(scene.cache) / "references")
    clip = ReferenceDataModule(["builtin:orbit"], frames=recorded, size=list(scene.size), cache=folder).dataset[0]
    return Clip(clip.frames[torch.arange(scene.frames) % recorded], clip.fps, clip.caption, clip.name)


class Variant(ABC):
    """A program that trains and generates."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.parameters: list[nn.Parameter] = []

    @abstractmethod
    def train(self) -> None:
        """One whole optimisation step."""

    @abstractmethod
    def predict(self) -> Tensor:
        """The network's output on the fixed example, with a graph."""

    @abstractmethod
    def generate(self, count: int, steps: int) -> Tensor:
        """Latents of ``count`` videos, from fixed noise and prompts, in one batch, with guidance."""

    def forget(self) -> None:
        """Drops the gradients, as an optimizer does before a step."""
        for parameter in self.parameters:
            parameter.grad = None

    def noise(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Initial latents, prompts' features and the negative prompt's features."""
        module, clean = self.world.module, self.world.noisy
        noise = torch.randn(count, *clean.shape[1:], generator=torch.Generator().manual_seed(1)).to(clean)
        return noise, module.backbone.embed([PROMPTS[index % len(PROMPTS)] for index in range(count)]), module.backbone.embed([""])


class Ours(Variant):
    """This project's own steps; see the top."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.parameters = list(world.module.embeddings.parameters())
        self.optimizer: Any = world.module.configure_optimizers()
        self.index = 0

    def train(self) -> None:
        module = self.world.module
        self.index += 1
        self.optimizer.zero_grad()
        loss = module.training_step(self.world.clip, self.index)
        assert loss is not None
        loss.backward()
        module.on_after_backward()
        self.optimizer.step()

    def predict(self) -> Tensor:
        module, world = self.world.module, self.world
        with module.embeddings.attached(module.backbone.denoiser, world.ready.sites):
            return module.backbone.denoise(world.noisy, world.timestep, world.ready.caption)

    def generate(self, count: int, steps: int) -> Tensor:
        module, sampling = self.world.module, self.world.module.sampling
        with module.embeddings.attached(module.backbone.denoiser, self.world.ready.sites, generating=True):
            return module.backbone.generate(*self.noise(count), steps, sampling.guidance)

    def videos(self, count: int) -> None:
        """The whole generating sentence, with decoding, for ``count`` prompts."""
        clip = self.world.clip
        self.world.module.generate(clip, [Cell(clip.name, PROMPTS[index % len(PROMPTS)], 0, "random") for index in range(count)])


class Thin(Variant):
    """A copy of the backbone with the paper's parameters as plain tensors: ``qk``, ``v1`` and ``v2`` of each site."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.backbone = copy.deepcopy(world.module.backbone)
        device = world.noisy.device
        shapes = [(shape, site) for site in world.sites for shape in (1, site.height * site.width, site.height * site.width)]
        self.parameters = [nn.Parameter(torch.zeros(rows, site.frames, site.channels, device=device)) for rows, site in shapes]
        config = world.module.optimizer_config
        self.optimizer = torch.optim.AdamW(self.parameters, lr=config.lr, weight_decay=config.weight_decay)
        self.generating = False
        for index, site in enumerate(world.sites):
            self.insert(self.backbone.denoiser.get_submodule(site.name), index)

    @abstractmethod
    def insert(self, block: nn.Module, index: int) -> None:
        """Lets the parameters of the site ``index`` act in ``block``, for good."""

    def of(self, index: int) -> list[nn.Parameter]:
        """``M_qk``, ``M_v`` of the first and ``M_v`` of the second attention of a site."""
        return list(self.parameters[3 * index : 3 * index + 3])

    def predict(self) -> Tensor:
        return self.backbone.denoise(self.world.noisy, self.world.timestep, self.world.ready.caption)

    def example(self) -> tuple[Tensor, Tensor, Tensor]:
        """Noisy latents, timestep and target of a step."""
        return self.world.noisy, self.world.timestep, self.world.target

    def train(self) -> None:
        self.optimizer.zero_grad()
        noisy, timestep, target = self.example()
        predicted = self.backbone.denoise(noisy, timestep, self.world.ready.caption)
        loss = (predicted.float() - target.float()).square().mean()
        loss.backward()
        self.optimizer.step()

    def generate(self, count: int, steps: int) -> Tensor:
        self.generating = True
        try:
            return self.backbone.generate(*self.noise(count), steps, self.world.module.sampling.guidance)
        finally:
            self.generating = False


class Bare(Thin):
    """The backbone with parameters added to block inputs; generates without motion. See the top."""

    def insert(self, block: nn.Module, index: int) -> None:
        def before(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
            if self.generating:
                return None
            qk, v1, v2 = self.of(index)
            return (inputs[0] + (qk + v1 + v2).to(inputs[0].dtype), *inputs[1:])

        block.register_forward_pre_hook(before)


class Explicit(Thin):
    """Replaced forwards with attention spelt out; see the top."""

    def __init__(self, world: World) -> None:
        self.debiased: dict[int, list[Any]] = {}
        super().__init__(world)

    def insert(self, block: nn.Module, index: int) -> None:
        def forward(self_: Any, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
            return explicit_block(self_, hidden_states, *(self.debiased[index] if self.generating else self.of(index)))

        block.forward = types.MethodType(forward, block)

    def example(self) -> tuple[Tensor, Tensor, Tensor]:
        clean = self.world.ready.posterior.sample()
        noise = torch.randn(clean.shape).to(clean)
        timestep = torch.randint(self.backbone.diffusion.scheduler.config.num_train_timesteps, (1,)).to(clean.device)
        noisy = self.backbone.diffusion.scheduler.add_noise(clean, noise, timestep)
        return noisy, timestep, self.backbone.target(clean, noise, timestep)

    def copy_from(self, ours: Ours) -> None:
        """Takes the values of our embeddings."""
        state = ours.world.module.embeddings.state_dict()
        for index, site in enumerate(self.world.sites):
            name = site.name.replace(".", "/")
            owners = (f"qk:{name}", f"v:{name}/attn1", f"v:{name}/attn2")
            for parameter, owner in zip(self.of(index), owners, strict=True):
                parameter.data.copy_(state[f"streams.{owner}.layout.rows"])

    def generate(self, count: int, steps: int) -> Tensor:
        with torch.no_grad():
            for index in range(len(self.world.sites)):
                qk, *values = self.of(index)
                self.debiased[index] = [qk, *(torch.cat([m[:, :1], m[:, 1:] - m[:, :-1]], 1) for m in values)]
        return super().generate(count, steps)


def explicit_block(block: Any, hidden: Tensor, m_qk: Tensor, m_v1: Tensor, m_v2: Tensor) -> Tensor:
    """A temporal transformer block on ``(b h w, f, c)`` with motion: ``m_qk`` ``(1, f, c)``, ``m_v`` ``(h w, f, c)``."""
    hidden = hidden + explicit_attention(block.attn1, block.norm1(hidden), m_qk, m_v1)
    hidden = hidden + explicit_attention(block.attn2, block.norm2(hidden), m_qk, m_v2)
    return hidden + block.ff(block.norm3(hidden))


def explicit_attention(layer: Any, features: Tensor, m_qk: Tensor, m_v: Tensor) -> Tensor:
    """``softmax(Q K^T / sqrt(d)) V W_o`` with ``Q = (F + M_qk) W_q``, ``K = (F + M_qk) W_k``, ``V = (F + M_v) W_v``."""
    batch, frames, _ = features.shape
    m_qk, m_v = m_qk.to(features.dtype), m_v.to(features.dtype)
    value = features + (m_v if len(m_v) == batch else m_v.repeat(batch // len(m_v), 1, 1))
    query, key, value = layer.to_q(features + m_qk), layer.to_k(features + m_qk), layer.to_v(value)
    query, key, value = (split_heads(x, layer.heads) for x in (query, key, value))
    weights = torch.bmm(query * query.shape[-1] ** -0.5, key.transpose(1, 2)).softmax(dim=-1)
    joined = torch.bmm(weights, value).unflatten(0, (batch, layer.heads)).transpose(1, 2).reshape(batch, frames, -1)
    return layer.to_out[1](layer.to_out[0](joined))


def split_heads(x: Tensor, heads: int) -> Tensor:
    """``(n, f, heads * d)`` to ``(n * heads, f, d)``."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2).flatten(0, 1)


def difference(world: World, steps: int = 2) -> dict[str, float]:
    """Largest differences between ours and the explicit implementation on the same random embeddings, relative to the largest value.

    Output and gradients of a training example, and latents of two generated videos. The embeddings are zero again afterwards.
    """
    ours, explicit = Ours(world), Explicit(world)
    generator = torch.Generator().manual_seed(2)
    for parameter in ours.parameters:
        parameter.data.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    explicit.copy_from(ours)
    results: dict[str, list[Tensor]] = {}
    variants: dict[str, Variant] = {"ours": ours, "explicit": explicit}
    for name, variant in variants.items():
        predicted = variant.predict()
        (predicted - world.target).square().mean().backward()
        results[name] = [predicted.detach(), variant.generate(2, steps)]
    names = {owner: p.grad for owner, p in world.module.embeddings.named_parameters()}
    gradients = []
    for index, site in enumerate(world.sites):
        key = site.name.replace(".", "/")
        for owner, parameter in zip((f"qk:{key}", f"v:{key}/attn1", f"v:{key}/attn2"), explicit.of(index), strict=True):
            gradients.append(relative(names[f"streams.{owner}.layout.rows"], parameter.grad))
    ours.forget()
    for parameter in ours.parameters:
        parameter.data.zero_()
    output, generated = (relative(a, b) for a, b in zip(results["ours"], results["explicit"], strict=True))
    return {"output": output, "gradient": max(gradients), "generated": generated}


def relative(a: Tensor | None, b: Tensor | None) -> float:
    """Largest difference of two tensors over the largest value of the second."""
    assert a is not None and b is not None
    return float((a - b).abs().max() / b.abs().max())
