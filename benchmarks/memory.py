"""Memory of one training step on the real backbones, computed on the meta device: no weights, no GPU, no download.

The real step (`motion_ablation.training.Training`, its backward pass included) runs on tensors that have a shape and no content, in the
true configurations and at the clips of ``experiments/backbones/*.yaml``. Counted, each storage once:

*weights*: denoiser, autoencoder and, where it stays, text encoder. *motion and AdamW*: what is trained, and two moments of it. *kept*:
what is there for the backward pass when it begins. *peak*: the most that there is at any time in the step beyond weights and motion,
gradients and temporaries included. *sum*: weights, motion and AdamW, peak. *TFLOP*: operations of the step, a multiplication and an
addition being two.

``--gpu`` runs three of these steps on the first GPU instead, with random weights and AdamW, and gives what its allocator held at most
(*allocated* in tensors, *reserved* with its slack) and the last step's seconds.

Attention counts as the flash kernel keeps it (queries, keys, values, output, one number per row), which torch picks on a GPU in half
precision. Not counted: the CUDA context, the libraries' own workspaces and the allocator's slack; *fits* adds ``SLACK`` GB for them.

Run it with ``python benchmarks/memory.py``, or with the YAML files of the backbones that you want.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock
from weakref import finalize

import diffusers
import torch
import yaml
from diffusers import AutoencoderKL, MotionAdapter, UNet2DConditionModel, UNet3DConditionModel, UNetMotionModel
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry
from transformers import CLIPTextConfig, CLIPTextModel

from motion_ablation.backbones import BACKBONES, Posterior
from motion_ablation.backbones.checkpointing import blocks_of, recompute
from motion_ablation.backbones.transformer import TransformerBackbone
from motion_ablation.latents import Prepared
from motion_ablation.motion import MotionConfig, MotionEmbeddings
from motion_ablation.motion.adapters import APPEARANCES
from motion_ablation.objectives.denoising import Denoising
from motion_ablation.records import Clip
from motion_ablation.study.markdown import grid
from motion_ablation.training import Training

ROOT = Path(__file__).parents[1]
DTYPE = torch.bfloat16
GB = 1e9
HEADER = (
    "backbone", "checkpointing", "clip", "trained", "weights GB", "motion and AdamW GB", "kept GB", "peak GB", "sum GB", "TFLOP", "fits",
)  # fmt: skip
GPU_HEADER = ("backbone", "checkpointing", "allocated GB", "reserved GB", "seconds")
CARDS, SLACK = (8, 12, 16, 24, 48, 80), 2.0


def zeroscope() -> UNet3DConditionModel:
    """The true configuration of ``cerspense/zeroscope_v2_576w`` and ``damo-vilab/text-to-video-ms-1.7b``."""
    return UNet3DConditionModel(sample_size=32, cross_attention_dim=1024, attention_head_dim=64)


def animatediff() -> UNetMotionModel:
    """Stable Diffusion 1.5 with the v1.5.3 motion adapter."""
    image = UNet2DConditionModel(
        sample_size=64, cross_attention_dim=768, attention_head_dim=8,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",), up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    )  # fmt: skip
    return UNetMotionModel.from_unet2d(image, MotionAdapter(use_motion_mid_block=False), load_weights=False)


def image_autoencoder() -> AutoencoderKL:
    """Stable Diffusion's, which all of these have."""
    down, up = ("DownEncoderBlock2D",) * 4, ("UpDecoderBlock2D",) * 4
    return AutoencoderKL(down_block_types=down, up_block_types=up, block_out_channels=(128, 256, 512, 512), layers_per_block=2).to(DTYPE)


def clip_text(width: int, heads: int, layers: int) -> CLIPTextModel:
    """CLIP's text encoder: ``(768, 12, 12)`` is that of ViT-L/14, ``(1024, 16, 23)`` OpenCLIP's ViT-H/14 without its last layer."""
    config = CLIPTextConfig(hidden_size=width, intermediate_size=4 * width, num_attention_heads=heads, num_hidden_layers=layers)
    return CLIPTextModel(config).to(DTYPE)


@dataclass(frozen=True)
class Model:
    """The true configuration of a backbone.

    Attributes:
        denoiser: makes it. beside: makes what else is on the GPU in training, in its precision.
        text: shape of a caption's features ``(n, d)``.
        latents: ``(c, f, h, w)`` of a clip of so many frames, height and width in pixels.
    """

    denoiser: Callable[[], nn.Module]
    beside: Callable[[], list[nn.Module]]
    text: tuple[int, int]
    latents: Callable[[int, int, int], tuple[int, int, int, int]] = lambda frames, height, width: (4, frames, height // 8, width // 8)


ZEROSCOPE = Model(zeroscope, lambda: [image_autoencoder(), clip_text(1024, 16, 23)], (77, 1024))
IN_TIME = lambda frames, height, width: (16, (frames - 1) // 4 + 1, height // 8, width // 8)  # noqa: E731
WAN = {"num_attention_heads": 12, "attention_head_dim": 128, "ffn_dim": 8960, "num_layers": 30, "cross_attn_norm": True}
MODELS = {
    "cerspense/zeroscope_v2_576w": ZEROSCOPE,
    "damo-vilab/text-to-video-ms-1.7b": ZEROSCOPE,
    "adamdad/videocrafterv2_diffusers": ZEROSCOPE,
    "stable-diffusion-v1-5/stable-diffusion-v1-5": Model(animatediff, lambda: [image_autoencoder(), clip_text(768, 12, 12)], (77, 768)),
    # A transformer's text encoder is let go before training; Wan's autoencoder stays in float32.
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": Model(
        lambda: diffusers.WanTransformer3DModel(**WAN), lambda: [diffusers.AutoencoderKLWan()], (512, 4096), IN_TIME,
    ),
    "THUDM/CogVideoX-2b": Model(
        diffusers.CogVideoXTransformer3DModel, lambda: [diffusers.AutoencoderKLCogVideoX().to(DTYPE)], (226, 4096), IN_TIME,
    ),
}  # fmt: skip


class Live(TorchDispatchMode):
    """Counts the bytes of the tensors that come to be inside it, ``now`` and ``peak``, and the ``operations`` that it sees.

    Args:
        given: tensors that are there before, and not counted.
    """

    def __init__(self, given: Iterable[Tensor]) -> None:
        super().__init__()
        self.now = self.peak = self.operations = 0
        self._given = [tensor.untyped_storage() for tensor in given]
        self._seen = {id(storage) for storage in self._given}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, list | tuple) else [result]:
            if isinstance(tensor, Tensor) and id(tensor.untyped_storage()) not in self._seen:
                self._come(tensor.untyped_storage())
        count = flop_registry.get(function.overloadpacket)
        self.operations += count(*args, **(kwargs or {}), out_val=result) if count else 0
        return result

    def _come(self, storage: Any) -> None:
        self._seen.add(id(storage))
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        finalize(storage, self._gone, id(storage), storage.nbytes())

    def _gone(self, storage: int, size: int) -> None:
        self._seen.discard(storage)
        self.now -= size

    def attention(self, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
        """Stands in for ``scaled_dot_product_attention``, which on the meta device would keep the whole matrix of weights."""
        output: Tensor = FlashAttention.apply(self, query, key, value)
        return output


class FlashAttention(torch.autograd.Function):
    """Keeps for the backward pass what the flash kernel keeps, and counts its operations; computes nothing."""

    @staticmethod
    def forward(ctx: Any, live: Live, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = query.new_empty(*query.shape[:-1], value.shape[-1])
        ctx.save_for_backward(query, key, value, output, query.new_empty(query.shape[:-1], dtype=torch.float32))
        ctx.live, ctx.product = live, 2 * query.numel() * key.shape[-2]
        live.operations += 2 * ctx.product
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        ctx.live.operations += 5 * ctx.product  # the scores once more, and the gradients of four matrices
        return None, *(torch.empty_like(tensor) for tensor in ctx.saved_tensors[:3])


class Noted(Denoising):
    """The denoising loss; notes what is there when it is computed, which is where the forward pass ends."""

    def __init__(self, live: Live) -> None:
        super().__init__()
        self.live, self.kept = live, 0

    def forward(self, *args: Any) -> Tensor:
        loss = super().forward(*args)
        self.kept = self.live.now
        return loss


class Step(Training):
    """A training step whose example is all zeros, so that no noise schedule is asked."""

    def example(self, ready: Prepared, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        noisy, target = (torch.zeros_like(ready.posterior.mean) for _ in range(2))
        return noisy, torch.zeros(1, dtype=torch.int64, device=noisy.device), target


def backbone_on(device: str, name: str, model: Model, checkpointing: bool) -> Any:
    """A registered backbone with this denoiser: without weights on the meta device, else with random ones."""
    kind = BACKBONES[name]
    backbone: Any = kind.__new__(kind)
    nn.Module.__init__(backbone)
    with torch.device(device):
        backbone.denoiser = model.denoiser().to(DTYPE)
        backbone.beside = nn.ModuleList(model.beside())
    if issubclass(kind, TransformerBackbone):
        backbone.shape = kind.describe(dict(backbone.denoiser.config), dict(backbone.beside[0].config))
        if checkpointing:
            backbone.denoiser.enable_gradient_checkpointing()
    elif checkpointing:
        recompute(blocks_of(backbone.denoiser, kind.recomputed))
    backbone.recomputes = checkpointing
    return backbone.requires_grad_(False).eval()


@dataclass(frozen=True)
class Memory:
    """Bytes, and operations, of one step; see the top of this file."""

    parameters: int
    weights: int
    kept: int
    peak: int
    operations: int

    @property
    def motion(self) -> int:
        return 4 * 3 * self.parameters

    @property
    def total(self) -> int:
        return self.weights + self.motion + self.peak

    @property
    def fits(self) -> str:
        """The smallest usual card that has room for it."""
        return next((f"{card} GB" for card in CARDS if self.total / GB + SLACK <= card), f"over {CARDS[-1]} GB")


def settings_of(path: Path) -> dict[str, Any]:
    """A backbone's YAML. Raises ``ValueError`` if its true configuration is not known here."""
    settings: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    source = settings["model"]["backbone"]["source"]
    if source not in MODELS:
        raise ValueError(f"{path}: the configuration of '{source}' is not known; add it to MODELS in benchmarks/memory.py")
    return settings


def motion_of(changes: dict[str, Any]) -> dict[str, Any]:
    """The paper's motion with a backbone's changes of it."""
    paper = MotionConfig.paper().to_dict()
    return {key: {**(value or {}), **(changes.get(key) or {})} if key in changes else value for key, value in paper.items()}


@dataclass(frozen=True)
class Case:
    """One step of the paper's motion on a backbone, ready to run on a device."""

    backbone: Any
    motion: MotionEmbeddings
    looks: Any
    ready: Prepared

    @classmethod
    def build(cls, settings: dict[str, Any], checkpointing: bool, appearance: dict[str, Any] | None, device: str) -> Case:
        """The backbone and the clip of these settings; ``appearance``: as ``model.appearance``."""
        chosen, (frames, size) = settings["model"]["backbone"], (settings["data"][key] for key in ("frames", "size"))
        name, model = chosen.get("name", "unet3d"), MODELS[chosen["source"]]
        backbone = backbone_on(device, name, model, checkpointing)
        shape = model.latents(frames, *size)
        sites = backbone.probe(backbone.shape if isinstance(backbone, TransformerBackbone) else backbone.denoiser.config, shape)
        config = MotionConfig.from_dict(motion_of(settings["model"].get("motion", {})))
        motion = MotionEmbeddings(config, sites).to(device)
        looks = None
        if appearance:
            options = {**appearance, "skipped": 0.0, "denoiser": backbone.denoiser, "temporal": [site.name for site in sites]}
            looks = APPEARANCES.build(options.pop("name"), **options).to(device).train()
        latents = torch.zeros(1, *shape, device=device)
        caption = torch.zeros(1, *model.text, device=device, dtype=DTYPE)
        return cls(backbone, motion, looks, Prepared(Clip(latents, 8.0, "", ""), Posterior(latents, latents), caption, sites, {}))

    @property
    def trained(self) -> list[nn.Parameter]:
        return [p for module in (self.motion, self.looks) if module for p in module.parameters()]

    def backward(self, objective: Denoising) -> None:
        """One step's gradients."""
        Step(self.backbone, self.motion, objective, self.looks).loss(self.ready, torch.Generator()).backward()


def measure(settings: dict[str, Any], checkpointing: bool, appearance: dict[str, Any] | None = None) -> Memory:
    """One step, counted on the meta device; see :meth:`Case.build`."""
    case = Case.build(settings, checkpointing, appearance, "meta")
    live = Live([*case.backbone.parameters(), *case.backbone.buffers(), *case.trained])
    noted = Noted(live)
    with mock.patch("torch.nn.functional.scaled_dot_product_attention", live.attention), live:
        case.backward(noted)
    weights = sum(p.numel() * p.element_size() for p in case.backbone.parameters())
    return Memory(sum(p.numel() for p in case.trained), weights, noted.kept, live.peak, live.operations)


def on_gpu(settings: dict[str, Any], checkpointing: bool, appearance: dict[str, Any] | None = None) -> tuple[float, float, float]:
    """Three training steps on the first GPU: most GB in tensors, most GB reserved, seconds of the last step."""
    case = Case.build(settings, checkpointing, appearance, "cuda")
    gc.collect()
    torch.cuda.empty_cache()  # building in float32 takes more than some steps
    torch.cuda.reset_peak_memory_stats()
    optimizer, seconds = torch.optim.AdamW(case.trained), 0.0
    for _ in range(3):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        case.backward(Denoising())
        optimizer.step()
        optimizer.zero_grad()
        torch.cuda.synchronize()
        seconds = time.perf_counter() - begun
    return torch.cuda.max_memory_allocated() / GB, torch.cuda.max_memory_reserved() / GB, seconds


def rows(path: Path, gpu: bool = False) -> list[list[str]]:
    """Lines of the table: without and with gradient checkpointing, and both under ``objective_hybrid``; the shipped one is marked."""
    settings = settings_of(path)
    shipped = bool(settings["model"]["backbone"].get("options", {}).get("gradient_checkpointing"))
    hybrid = yaml.safe_load((ROOT / "experiments" / "objective_hybrid.yaml").read_text(encoding="utf-8"))["model"]["appearance"]
    height, width = settings["data"]["size"]
    lines = []
    transformer = issubclass(BACKBONES[settings["model"]["backbone"].get("name", "unet3d")], TransformerBackbone)
    looks = (None,) if transformer else (None, hybrid)  # a transformer has no layers that see one frame alone
    for checkpointing, appearance in ((on, each) for each in looks for on in (False, True)):
        label = ("**on**" if checkpointing else "**off**") if checkpointing == shipped else ("on" if checkpointing else "off")
        first = f"{path.stem}, hybrid" if appearance else path.stem
        if gpu:
            try:
                numbers = [f"{value:.2f}" for value in on_gpu(settings, checkpointing, appearance)]
            except torch.OutOfMemoryError:
                numbers = ["out of memory", "", ""]  # of this GPU; the other rows may fit
            lines.append([first, label, *numbers])
            continue
        found = measure(settings, checkpointing, appearance)
        numbers = [f"{value / GB:.2f}" for value in (found.weights, found.motion, found.kept, found.peak, found.total)]
        clip = f"{settings['data']['frames']} × {height} × {width}"
        trained = f"{found.parameters / 1e6:.1f} M"
        lines.append([first, label, clip, trained, *numbers, f"{found.operations / 1e12:.0f}", found.fits])
    return lines


def main() -> None:
    """Prints the table in Markdown."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("backbones", nargs="*", type=Path, help="YAML files of backbones; default: all that ship")
    parser.add_argument("--gpu", action="store_true", help="run the steps on the first GPU, with random weights")
    diffusers.logging.set_verbosity_error()
    given = parser.parse_args()
    paths = given.backbones or sorted((ROOT / "experiments" / "backbones").glob("*.yaml"))
    if given.gpu:
        print(torch.cuda.get_device_name())
    print(grid(GPU_HEADER if given.gpu else HEADER, [line for path in paths for line in rows(path, given.gpu)]))


if __name__ == "__main__":
    main()
