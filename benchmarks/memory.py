"""Memory of one training step on the real backbones, computed on the meta device: no weights, no GPU, no download.

Counts the bytes of the frozen weights, of the tensors that autograd keeps for the backward pass (each storage once, weights
not again), and of the motion embeddings with their gradients and AdamW's two moments. Attention counts as the flash kernel
keeps it (queries, keys, values, output, one number per row), which torch picks on a GPU in half precision. Not counted: the
inputs of checkpointed layers, the largest temporary of a layer, the CUDA context and the allocator's slack, which together
add one to three GB on a GPU.

Run it with ``python benchmarks/memory.py``.
"""

from __future__ import annotations

from typing import Any
from unittest import mock

import torch
from diffusers import MotionAdapter, UNet2DConditionModel, UNet3DConditionModel, UNetMotionModel
from torch import Tensor, nn

from motion_ablation.backbones import AnimateDiffBackbone, UNet3DBackbone
from motion_ablation.motion import MotionConfig, MotionEmbeddings

DTYPE = torch.bfloat16
GB = 1e9


def zeroscope() -> UNet3DConditionModel:
    """The true configuration of ``cerspense/zeroscope_v2_576w`` and ``damo-vilab/text-to-video-ms-1.7b``."""
    return UNet3DConditionModel(sample_size=32, cross_attention_dim=1024, attention_head_dim=64)


def animatediff(checkpointing: bool) -> UNetMotionModel:
    """Stable Diffusion 1.5 with the v1.5.3 motion adapter."""
    image = UNet2DConditionModel(
        sample_size=64, cross_attention_dim=768, attention_head_dim=8,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",), up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    )  # fmt: skip
    unet = UNetMotionModel.from_unet2d(image, MotionAdapter(use_motion_mid_block=False), load_weights=False)
    if checkpointing:
        unet.enable_gradient_checkpointing()
    return unet


class FlashAttention(torch.autograd.Function):
    """Keeps for the backward pass what the flash kernel keeps; computes nothing."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        output = query.new_empty(*query.shape[:-1], value.shape[-1])
        ctx.save_for_backward(query, key, value, output, query.new_empty(query.shape[:-1], dtype=torch.float32))
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        raise NotImplementedError("nothing is computed here")


def flash(query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> Tensor:
    """Stands in for ``scaled_dot_product_attention``, which on the meta device would keep the whole matrix of weights."""
    output: Tensor = FlashAttention.apply(query, key, value)
    return output


def saved_bytes(denoiser: nn.Module, motion: MotionEmbeddings, sites: list[Any], inputs: tuple[Any, ...]) -> int:
    """Bytes that autograd keeps for the backward pass of one training step, motion attached."""
    weights = {parameter.untyped_storage()._cdata for parameter in [*denoiser.parameters(), *denoiser.buffers()]}
    kept: dict[int, Any] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            kept[storage._cdata] = storage  # held, so that no later storage takes its place
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with mock.patch("torch.nn.functional.scaled_dot_product_attention", flash), hooks, motion.attached(denoiser, sites):
        denoiser(*inputs).sample.float().square().mean()
    return sum(storage.nbytes() for storage in kept.values())


def row(name: str, denoiser: Any, probe: Any, frames: int, height: int, width: int, text: tuple[int, int, int]) -> str:
    """One line of the table, in GB."""
    latents = (4, frames, height // 8, width // 8)
    sites = probe(denoiser.config, latents)
    denoiser = denoiser.to(DTYPE).requires_grad_(False).eval()
    motion = MotionEmbeddings(MotionConfig.paper(), sites).to("meta")
    inputs = (
        torch.empty(1, *latents, device="meta", dtype=DTYPE),
        torch.tensor(5, device="meta"),
        torch.empty(text, device="meta", dtype=DTYPE),
    )
    weights = sum(p.numel() * p.element_size() for p in denoiser.parameters())
    activations = saved_bytes(denoiser, motion, sites, inputs)
    ours = 4 * 4 * motion.parameter_count
    values = [weights, activations, ours, weights + activations + ours]
    cells = " | ".join(f"{value / GB:6.2f}" for value in values)
    return f"| {name:<28} | {frames}x{height}x{width} | {motion.parameter_count / 1e6:5.2f} M | {cells} |"


def main() -> None:
    """Prints the table in Markdown."""
    print(
        f"| model ({str(DTYPE).removeprefix('torch.')}) | clip | trainable | denoiser GB | activations GB | motion and AdamW GB | sum GB |"
    )
    print("| :-- | --: | --: | --: | --: | --: | --: |")
    with torch.device("meta"):
        models = {
            "ZeroScope v2 576w": (zeroscope(), UNet3DBackbone.probe, 24, 320, 576, (1, 77, 1024)),
            "ModelScope 1.7B": (zeroscope(), UNet3DBackbone.probe, 16, 256, 256, (1, 77, 1024)),
            "AnimateDiff": (animatediff(False), AnimateDiffBackbone.probe, 16, 512, 512, (16, 77, 768)),
            "AnimateDiff, checkpointing": (animatediff(True), AnimateDiffBackbone.probe, 16, 512, 512, (16, 77, 768)),
        }
    for name, (denoiser, probe, *sizes, text) in models.items():
        print(row(name, denoiser, probe, *sizes, text))


if __name__ == "__main__":
    main()
