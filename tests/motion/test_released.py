"""The released checkpoints' format: read without unpickling code, mapped onto the sites, written back."""

from __future__ import annotations

import pickle
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from motion_ablation.backbones import UNet3DBackbone
from motion_ablation.cli.studies import main
from motion_ablation.motion import MotionConfig, MotionEmbeddings, SiteConfig, StreamConfig
from motion_ablation.motion.released import from_released, read_released, to_released, trained_length

FRAMES, HEIGHT, WIDTH = 5, 64, 128


def released(source: Path) -> dict[str, Tensor]:
    """A file as documented, for the five paper sites of a network with ZeroScope's blocks: 32 rows, zero past training."""
    tensors = {}
    blocks = [f"down_blocks.2.temp_attentions.{i}" for i in range(2)] + [f"up_blocks.1.temp_attentions.{i}" for i in range(3)]
    for block in blocks:
        name = f"{block}.transformer_blocks.0"
        tensors[f"{name}.pos_embed"] = torch.zeros(1, 32, 64)
        for attention in ("attn1", "attn2"):
            tensors[f"{name}.{attention}.vSpatial"] = torch.zeros(2 * 4, 32, 64)
    for value in tensors.values():
        value[:, :FRAMES] = torch.randn(len(value), FRAMES, 64)
    return tensors


def test_round_trip_is_exact(zeroscope_like: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = released(zeroscope_like)
    torch.save(tensors, tmp_path / "motion_embed.pt")
    ours, back = str(tmp_path / "motion.safetensors"), str(tmp_path / "back.pt")
    main(["import", str(tmp_path / "motion_embed.pt"), "--backbone", str(zeroscope_like), "--size", "64", "128", "--output", ours])
    assert "5 frames" in capsys.readouterr().out
    main(["export", ours, "--output", back])
    with pytest.raises(SystemExit):
        main(["import", str(tmp_path / "motion_embed.pt"), "--network", "unet4d", "--backbone", str(zeroscope_like)])
    assert "unknown backbone 'unet4d'. Did you mean 'unet3d'? Choices: animatediff, cogvideox, unet3d, wan" in capsys.readouterr().err
    again = read_released(back)
    assert again.keys() == tensors.keys()
    assert all(torch.equal(again[name], value) for name, value in tensors.items())


@torch.no_grad()
def test_imported_embeddings_do_what_the_equations_say(zeroscope_like: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = released(zeroscope_like)
    backbone = UNet3DBackbone(str(zeroscope_like))
    sites = backbone.sites(FRAMES, HEIGHT, WIDTH)
    motion = from_released(tensors, sites)
    assert len(motion.sites) == 5
    inputs = torch.randn(2, *backbone.latent_shape(FRAMES, HEIGHT, WIDTH)), torch.tensor([300]), backbone.embed(["a", "b"])
    with motion.attached(backbone.denoiser, sites):
        attached = backbone.denoise(*inputs)
    plain = backbone.denoise(*inputs)

    def project(layer: Any, value: Tensor) -> Tensor:
        return value @ layer.weight.T

    def dense(layer: Any, hidden: Tensor, m_qk: Tensor, m_v: Tensor) -> Tensor:
        q, k = project(layer.to_q, hidden + m_qk), project(layer.to_k, hidden + m_qk)
        v = project(layer.to_v, hidden + torch.cat([m_v] * (len(hidden) // len(m_v))))
        q, k, v = (x.unflatten(-1, (layer.heads, -1)).transpose(1, 2) for x in (q, k, v))
        weights = (q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5).softmax(-1)
        return (weights @ v).transpose(1, 2).flatten(-2) @ layer.to_out[0].weight.T + layer.to_out[0].bias

    for name, value in tensors.items():
        if name.endswith("vSpatial"):
            path = name.removesuffix(".vSpatial")
            m_qk = tensors[f"{path.rsplit('.', 1)[0]}.pos_embed"][:, :FRAMES]

            def forward(self: Any, hidden: Tensor, *_: Any, pair: Any = (m_qk, value[:, :FRAMES]), **__: Any) -> Tensor:
                return dense(self, hidden, *pair)

            layer = backbone.denoiser.get_submodule(path)
            monkeypatch.setattr(layer, "forward", types.MethodType(forward, layer))
    torch.testing.assert_close(attached, backbone.denoise(*inputs), atol=1e-4, rtol=1e-4)
    assert (attached - plain).abs().max() > 1e-3


class Evil:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("touched-by-a-pickle"),))


def test_what_is_no_released_checkpoint_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "motion_embed.pt"
    with pytest.raises(ValueError, match="no such file"):
        read_released(path)
    torch.save({"a.pos_embed": Evil()}, path)
    with pytest.raises(ValueError, match="holds more than tensors"):
        read_released(path)
    assert not Path("touched-by-a-pickle").exists()
    path.write_bytes(pickle.dumps({"a": Evil()}))
    with pytest.raises(ValueError, match="motion_embed.pt"):
        read_released(path)
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="motion_embed.pt"):
        read_released(path)
    for content, message in (([1], "holds list"), ({"a.weight": torch.zeros(1, 2, 3)}, "'a.weight' of shape"), ({}, "holds dict")):
        torch.save(content, path)
        with pytest.raises(ValueError, match=message):
            read_released(path)
    with pytest.raises(ValueError, match="every tensor is zero"):
        trained_length({"a.pos_embed": torch.zeros(1, 2, 3)})


def test_everything_that_does_not_fit_is_told(zeroscope_like: Path) -> None:
    tensors = released(zeroscope_like)
    removed = next(name for name in tensors if name.endswith("attn2.vSpatial"))
    del tensors[removed]
    tensors["up_blocks.9.pos_embed"] = torch.zeros(1, 32, 64)
    sites = UNet3DBackbone.sites_of(str(zeroscope_like), FRAMES, HEIGHT, WIDTH)
    with pytest.raises(ValueError, match=rf"'up_blocks.9' is no temporal attention of this backbone; '{removed}' is missing"):
        from_released(tensors, sites)
    with pytest.raises(ValueError, match="is of 8 locations and 64 channels, the site of 4 and 64"):
        from_released(released(zeroscope_like), UNet3DBackbone.sites_of(str(zeroscope_like), FRAMES, 64, 64))
    with pytest.raises(ValueError, match="has 32 rows, the clip 40 frames"):
        from_released(released(zeroscope_like), UNet3DBackbone.sites_of(str(zeroscope_like), 40, HEIGHT, WIDTH))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (MotionConfig(qk=StreamConfig(), v=None), "motion.v.ports is None, not"),
        (MotionConfig(qk=StreamConfig(side="outputs"), v=MotionConfig.paper().v), "motion.qk.side is outputs, not inputs"),
        (MotionConfig(**MotionConfig.paper().streams(), adapter={"name": "temporal_lora"}), "not motion.adapter"),
        (MotionConfig(**MotionConfig.paper().streams(), sites=SiteConfig(attentions=["attn1"])), "both attentions of a block"),
    ],
)
def test_what_the_format_cannot_say_is_not_written(config: MotionConfig, message: str, sites: list[Any]) -> None:
    with pytest.raises(ValueError, match=message):
        to_released(MotionEmbeddings(config, sites))
    with pytest.raises(ValueError, match="holds 3 frames, the embedding has 4"):
        to_released(MotionEmbeddings(MotionConfig.paper(), sites), length=3)
