"""Training and generating: what learns, what is saved, what is computed once, what a seed fixes."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor

from motion_ablation.backbones import BackboneConfig, UNet3DBackbone
from motion_ablation.cache.artefacts import content_hash
from motion_ablation.data.reference import ReferenceDataModule
from motion_ablation.generating import SamplingConfig, cell_seed
from motion_ablation.module import MotionInversion
from motion_ablation.motion import MotionConfig, StreamConfig
from motion_ablation.motion.adapters import APPEARANCES
from motion_ablation.motion.integrations import INTEGRATIONS
from motion_ablation.objectives import OBJECTIVES
from motion_ablation.records import Cell, Clip
from motion_ablation.training import OptimizerConfig

SAMPLING = SamplingConfig(steps=2, inversion_steps=2, guidance=3.0)


@pytest.fixture
def clip() -> Clip:
    frames = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    return Clip(frames, 8.0, "a red star moving right on a blue background", "noise")


class Make:
    """Builds modules on the tiny backbone, with one cache."""

    def __init__(self, source: Path, cache: Path) -> None:
        self.source, self.cache = source, cache

    def __call__(self, motion: MotionConfig | None = None, **options: Any) -> MotionInversion:
        options = {"sampling": SAMPLING, "cache": str(self.cache), "backbone": BackboneConfig(source=str(self.source)), **options}
        module = MotionInversion(motion=motion, **options)
        if module.motion is None:
            module.make_motion(4, 16, 16)
        return module


@pytest.fixture
def make(tiny_backbone: Path, tmp_path: Path) -> Make:
    return Make(tiny_backbone, tmp_path / "cache")


def steps(module: MotionInversion, clip: Clip, count: int) -> list[float]:
    """Losses of a plain training loop, each at the same noise and timestep."""
    optimizer, losses = module.configure_optimizers(), []
    for _ in range(count):
        optimizer.zero_grad()
        loss = module.training_step(clip, 0)
        assert loss is not None
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def frozen(module: MotionInversion) -> str:
    return content_hash([content_hash(tensor) for tensor in module.backbone.state_dict().values()])


@pytest.mark.parametrize("integration", INTEGRATIONS)
def test_training_reduces_the_loss_and_leaves_the_backbone_alone(make: Make, clip: Clip, integration: str) -> None:
    config = MotionConfig.paper()
    for stream in config.streams().values():
        stream.ports = [port for port in stream.ports if port in INTEGRATIONS[integration].ports]
        stream.integration = {"name": integration}
    module = make(config)
    before = frozen(module)
    losses = steps(module, clip, 8)
    assert losses[-1] < 0.98 * losses[0]
    assert frozen(module) == before
    trainable = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
    assert trainable == {name for name, _ in module.named_parameters() if name.startswith("motion.")}


def test_integrations_have_a_rate_of_their_own(make: Make) -> None:
    config = MotionConfig(qk=StreamConfig(integration={"name": "concat_channel"}))
    groups = make(config, optimizer=OptimizerConfig(0.02, 0.5, 0.003)).configure_optimizers().param_groups
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(0.02, 0.5), (0.003, 0.5)]
    assert len(groups[1]["params"]) == 2 * len(groups[0]["params"])


@pytest.mark.parametrize("looks", [None, *APPEARANCES])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_trains_with_and_without_an_appearance(make: Make, clip: Clip, objective: str, looks: str | None) -> None:
    spec = {"name": looks, **APPEARANCES[looks].example} if looks else None
    module = make(MotionConfig.paper(), objective={"name": objective, **OBJECTIVES[objective].example}, appearance=spec)
    before = frozen(module)
    losses = steps(module, clip, 12)
    assert losses[-1] < 0.99 * losses[0]
    assert frozen(module) == before
    learnt = list(module.appearance.parameters()) if module.appearance else []
    assert bool(learnt) == bool(looks)
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in learnt)


def test_the_spatial_lora_learns_from_single_frames_alone_and_is_gone_at_inference(make: Make, clip: Clip) -> None:
    module = make(MotionConfig.paper(), appearance={"name": "spatial_lora"})
    denoiser, looks = module.backbone.denoiser, module.appearance
    assert looks is not None
    lora = list(looks.parameters())
    assert lora and all(isinstance(layer, LoraLayer) for layer in looks.layers.values()), "peft's own"
    assert all(".attentions." in f".{name.replace('/', '.')}" for name in looks.layers)
    assert not any("temp_attentions" in name for name in looks.layers)
    assert {name.rsplit("/attn", 1)[1][2:] for name in looks.layers} == {"to_q", "to_k", "to_v", "to_out/0"}
    latents, text = torch.randn(1, *module.backbone.latent_shape(4, 16, 16)), module.backbone.embed(["a red star"])
    with torch.no_grad():
        for parameter in lora:
            parameter.add_(0.1)
        plain = module.backbone.denoise(latents, torch.tensor([3]), text)
    with module.embeddings.attached(denoiser, module.references.of(clip).sites), looks.attached(denoiser, learning=False):
        adapted = module.backbone.denoise(latents, torch.tensor([3]), text)
    adapted.sum().backward()
    assert not torch.equal(adapted, plain)
    assert all(parameter.grad is None for parameter in lora), "the motion's loss does not train it"
    gradients = [parameter.grad for parameter in module.embeddings.parameters()]
    module.embeddings.zero_grad()
    with module.embeddings.attached(denoiser, module.references.of(clip).sites), looks.attached(denoiser, learning=True):
        module.backbone.denoise(latents, torch.tensor([3]), text).sum().backward()
    for parameter, gradient in zip(module.embeddings.parameters(), gradients, strict=True):
        assert gradient is not None and torch.equal(parameter.grad, gradient), "it reaches the embeddings through the LoRA all the same"
    assert all(parameter.grad is not None for parameter in lora)
    with torch.no_grad():
        assert torch.equal(module.backbone.denoise(latents, torch.tensor([3]), text), plain)
    cells = [Cell(clip.name, "a blue circle", 0, "random")]
    generated = module.generate(clip, cells)[0].frames
    assert torch.equal(generated, make(MotionConfig.paper()).generate(clip, cells)[0].frames), "generation does not see it"


def test_weights_have_a_rate_of_their_own(make: Make) -> None:
    rates = OptimizerConfig(lr=0.3, integration_lr=0.2, adapter_lr=0.1)
    module = make(MotionConfig(qk=StreamConfig(), adapter={"name": "temporal_lora"}), appearance={"name": "spatial_lora"}, optimizer=rates)
    assert module.appearance is not None
    groups = {group["lr"]: sum(p.numel() for p in group["params"]) for group in module.configure_optimizers().param_groups}
    adapters = sum(p.numel() for p in module.embeddings.adapters.parameters())
    spatial = sum(p.numel() for p in module.appearance.parameters())
    assert groups == {0.3: module.embeddings.parameter_count - adapters, 0.1: adapters + spatial}
    config = MotionConfig(qk=StreamConfig(), adapter={"name": "temporal_lora", "lr": 0.07})
    module = make(config, appearance={"name": "spatial_lora", "lr": 0.08}, optimizer=rates)
    groups = {group["lr"]: sum(p.numel() for p in group["params"]) for group in module.configure_optimizers().param_groups}
    assert groups == {0.3: module.embeddings.parameter_count - adapters, 0.07: adapters, 0.08: spatial}, "each brings its own"


@pytest.mark.parametrize("motion", [MotionConfig.paper(), MotionConfig(qk=StreamConfig(integration={"name": "film"}))])
def test_every_trained_parameter_is_in_one_group(make: Make, motion: MotionConfig) -> None:
    motion.adapter = {"name": "temporal_lora"}
    module = make(motion, appearance={"name": "spatial_lora"})
    found = [id(parameter) for group in module.configure_optimizers().param_groups for parameter in group["params"]]
    trained = [id(parameter) for name, parameter in module.named_parameters() if not name.startswith("backbone.")]
    assert sorted(found) == sorted(trained)


def test_a_checkpoint_without_what_was_trained_is_refused(make: Make) -> None:
    module = make(MotionConfig.paper())
    checkpoint: dict[str, Any] = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    module.on_load_checkpoint(checkpoint)
    checkpoint["state_dict"].popitem()
    with pytest.raises(ValueError, match="this checkpoint lacks 1 of the"):
        module.on_load_checkpoint(checkpoint)


def test_another_precision_is_another_artefact(make: Make, clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    usual, other = make(MotionConfig.paper()), make(MotionConfig.paper())
    other._trainer = L.Trainer(precision="bf16-mixed", accelerator="cpu", logger=False, enable_checkpointing=False)
    assert usual.references.of(clip).recipe == {k: v for k, v in other.references.of(clip).recipe.items() if k != "precision"}
    assert other.references.of(clip).recipe["precision"] == "bf16-mixed"
    cells = [Cell(clip.name, "a blue circle", 0, "random")]
    assert usual.generating.recipes(clip, cells) != other.generating.recipes(clip, cells)


def test_a_precision_that_would_cast_what_is_trained_is_refused(make: Make) -> None:
    module = make(MotionConfig.paper())
    module._trainer = L.Trainer(precision="bf16-true", accelerator="cpu", logger=False, enable_checkpointing=False)
    with pytest.raises(ValueError, match="set model.backbone.options"):
        module.setup("fit")


def test_an_embedding_brings_its_own_motion(make: Make, tmp_path: Path) -> None:
    make(MotionConfig(qk=StreamConfig())).embeddings.save(tmp_path / "motion.safetensors")
    module = make(MotionConfig.paper(), embedding=str(tmp_path / "motion.safetensors"))
    assert module.motion_config == MotionConfig(qk=StreamConfig())


def test_without_motion_nothing_trains(make: Make, clip: Clip) -> None:
    module = make()
    assert module.configure_optimizers() is None
    assert module.training_step(clip, 0) is None
    assert module.embeddings.parameter_count == 0


def test_a_loss_that_is_not_finite_says_what_to_do(make: Make, clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    module = make(MotionConfig.paper())
    monkeypatch.setattr(module.objective, "forward", lambda predicted, target, generator: predicted.sum() * float("nan"))
    with pytest.raises(FloatingPointError, match=r"the loss is nan at step 0; lower model.optimizer.lr \(now 0.02\)"):
        module.training_step(clip, 0)


def test_training_noise_is_set_by_the_seed_and_the_step(make: Make, clip: Clip) -> None:
    module, other = make(MotionConfig.paper()), make()

    def draw(of: MotionInversion, index: int, seed: int = 3, reference: str = "orbit") -> Tensor:
        torch.manual_seed(seed)
        torch.randn(index + seed)  # what else was drawn does not matter
        return torch.randn(5, generator=of.step_generator(reference, index))

    assert torch.equal(draw(module, 0), draw(other, 0)), "every experiment trains on the same noise"
    assert not torch.equal(draw(module, 0), draw(module, 1))
    assert not torch.equal(draw(module, 0), draw(module, 0, seed=4))
    assert not torch.equal(draw(module, 0), draw(module, 0, reference="slide")), "references are independent draws"


# Artefacts.


class Counter:
    """Counts the calls of a backbone's method."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
        self.calls = 0
        original = getattr(UNet3DBackbone, method)

        def counted(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(UNet3DBackbone, method, counted)


def test_latents_and_inversion_are_computed_once(make: Make, clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    encode, invert = Counter(monkeypatch, "encode"), Counter(monkeypatch, "invert")
    cells = [Cell(clip.name, "a blue circle", 0, "blend")]
    first = make(MotionConfig.paper())
    steps(first, clip, 2)
    first.generate(clip, cells)
    assert (encode.calls, invert.calls) == (1, 1)
    noise = first.generating.inverted(clip)
    # Another experiment on the same reference.
    second = make(MotionConfig(qk=StreamConfig()))
    second.generate(clip, cells)
    assert (encode.calls, invert.calls) == (1, 1)
    assert torch.equal(second.generating.inverted(clip), noise)
    # What determines them counts: the caption and the frames, and for the inversion its steps.
    make(sampling=SamplingConfig(steps=2, inversion_steps=3)).generating.inverted(clip)
    assert (encode.calls, invert.calls) == (1, 2)
    make().references.of(Clip(clip.frames, 8.0, "another caption", "noise"))
    make().references.of(Clip(1 - clip.frames, 8.0, clip.caption, "noise"))
    assert encode.calls == 3


def test_a_damaged_cache_is_computed_again(make: Make, clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    good = make().references.of(clip)
    (path,) = (make.cache / "latents").iterdir()
    path.write_bytes(path.read_bytes()[:200])
    encode = Counter(monkeypatch, "encode")
    again = make().references.of(clip)
    assert encode.calls == 1
    assert torch.equal(again.posterior.mean, good.posterior.mean)


def test_random_noise_needs_no_inversion(make: Make, clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    invert = Counter(monkeypatch, "invert")
    make().generate(clip, [Cell(clip.name, "a blue circle", 0, "random")])
    assert invert.calls == 0


# Seeds.


def test_a_cell_starts_from_the_same_noise_in_every_experiment(make: Make, clip: Clip) -> None:
    cells = [Cell(clip.name, prompt, seed, "random") for prompt in ("a blue circle", "a red ring") for seed in (0, 1)]
    first = make(MotionConfig.paper()).generating.noise(clip, cells)
    torch.manual_seed(99)
    second = make(MotionConfig(qk=StreamConfig(integration={"name": "concat_channel"}))).generating.noise(clip, cells[::-1]).flip(0)
    assert torch.equal(first, second)
    assert all(not torch.equal(a, b) for a, b in pairwise(first)), "each cell has noise of its own"
    assert cell_seed(cells[0]) == cell_seed(Cell(clip.name, "a blue circle", 0, "blend")), "the blend holds the same fresh noise"
    assert cell_seed(cells[0]) != cell_seed(Cell("another", "a blue circle", 0, "random")), "references are independent draws"


def test_initial_noises(make: Make, clip: Clip) -> None:
    fresh, blend, inverted = (
        make().generating.noise(clip, [Cell(clip.name, "a blue circle", 0, noise), Cell(clip.name, "a blue circle", 1, noise)])
        for noise in ("random", "blend", "inverted")
    )
    noise = make().generating.inverted(clip)
    assert torch.equal(inverted[0], inverted[1]) and torch.equal(inverted[:1], noise)
    torch.testing.assert_close(blend, 0.5**0.5 * noise + 0.5**0.5 * fresh)
    mostly = make(sampling=SamplingConfig(2, 3.0, "", 2, {"blend": {"rho": 0.9}})).generating.noise(
        clip, [Cell(clip.name, "a blue circle", 0, "blend")]
    )
    torch.testing.assert_close(mostly[0], 0.9**0.5 * noise[0] + 0.1**0.5 * fresh[0])


def test_motion_is_active_in_both_branches_and_gone_afterwards(make: Make, clip: Clip) -> None:
    module = make(MotionConfig.paper())
    cells = [Cell(clip.name, "a blue circle", 0, "random")]
    plain = make().generate(clip, cells)[0].frames
    assert torch.equal(module.generate(clip, cells)[0].frames, plain), "an untrained embedding changes nothing"
    with torch.no_grad():
        for parameter in module.embeddings.parameters():
            parameter.normal_()
    moved = module.generate(clip, cells)[0].frames
    assert moved.shape == plain.shape and not torch.equal(moved, plain)
    seen: list[int] = []
    stream: Any = next(iter(module.embeddings.streams.values()))
    hook = stream.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    module.generate(clip, cells)
    hook.remove()
    site = module.embeddings.sites[0]
    assert set(seen) == {2 * site.height * site.width}
    assert torch.equal(make().generate(clip, cells)[0].frames, plain)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "sampling.steps must be from 1 to 1000, not 0"),
        ({"inversion_steps": 1001}, "sampling.inversion_steps"),
        ({"guidance": 0.5}, "sampling.guidance must be at least 1"),
        ({"noises": {"blnd": {}}}, "unknown initial noise 'blnd'. Did you mean 'blend'"),
        ({"noises": {"blend": {"rho": 2}}}, "rho must be in"),
        ({"noises": {"blend": {"ro": 1}}}, "has no option 'ro'. Options: rho"),
        ({"noises": {"blend": {"rho": "half"}}}, "initial noise 'blend'"),
    ],
)
def test_sampling_that_cannot_work_is_refused_before_weights(options: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        MotionInversion(BackboneConfig(source=str(tmp_path / "none")), sampling=SamplingConfig(**options))


# Checkpoints.


def fit(module: MotionInversion, folder: Path, max_steps: int, frames: int = 4, **options: Any) -> L.Trainer:
    data = ReferenceDataModule(["builtin:orbit"], frames=frames, size=16, cache=str(folder / "references"), steps_per_epoch=2)
    trainer = L.Trainer(
        accelerator="cpu", max_steps=max_steps, logger=False, enable_progress_bar=False, enable_model_summary=False,
        limit_val_batches=0, default_root_dir=folder, enable_checkpointing=False,
    )  # fmt: skip
    torch.manual_seed(5)
    trainer.fit(module, data, **options)
    return trainer


def parameters(module: MotionInversion) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.embeddings.state_dict().items()}


def test_a_checkpoint_holds_the_embeddings_only_and_resumes_exactly(make: Make, tmp_path: Path) -> None:
    module = make(MotionConfig.paper())
    trainer = fit(module, tmp_path, 2)
    path = tmp_path / "half.ckpt"
    trainer.save_checkpoint(path)
    saved = torch.load(path, weights_only=True)
    assert saved["state_dict"]
    assert all(name.startswith("motion.") for name in saved["state_dict"])
    assert path.stat().st_size < 4 * 4 * module.embeddings.parameter_count + 50_000, "weights, two moments, and little else"

    resumed = make(MotionConfig.paper())
    fit(resumed, tmp_path, 4, ckpt_path=str(path), weights_only=True)
    whole = make(MotionConfig.paper())
    fit(whole, tmp_path, 4)
    expected = parameters(whole)
    assert all(torch.equal(value, expected[name]) for name, value in parameters(resumed).items())
    assert any(not torch.equal(value, expected[name]) for name, value in parameters(module).items())


def test_a_checkpoint_of_other_motion_is_refused(make: Make, tmp_path: Path) -> None:
    trainer = fit(make(MotionConfig.paper()), tmp_path, 1)
    trainer.save_checkpoint(tmp_path / "paper.ckpt")
    with pytest.raises(ValueError, match="trained with another model.motion"):
        fit(make(MotionConfig(qk=StreamConfig())), tmp_path, 2, ckpt_path=str(tmp_path / "paper.ckpt"), weights_only=True)


def test_a_training_does_not_go_on_with_other_settings(make: Make, tmp_path: Path) -> None:
    """What result.json states would not be what was used: Lightning takes the checkpoint's learning rate, whatever was asked for."""
    trainer = fit(make(MotionConfig.paper()), tmp_path, 1)
    trainer.save_checkpoint(tmp_path / "first.ckpt")
    again: dict[str, Any] = {"ckpt_path": str(tmp_path / "first.ckpt"), "weights_only": True}
    others: list[tuple[str, dict[str, Any]]] = [
        ("model.optimizer.lr 0.02, not 0.5", {"optimizer": OptimizerConfig(lr=0.5)}),
        ("model.objective .*, not .*motion_distillation", {"objective": {"name": "motion_distillation"}}),
        ("model.latents fresh, not kept", {"latents": "kept"}),
    ]
    for message, options in others:
        with pytest.raises(ValueError, match=message):
            fit(make(MotionConfig.paper(), **options), tmp_path, 2, **again)
    with pytest.raises(ValueError, match=r"data.frames 4, not 5"):
        fit(make(MotionConfig.paper()), tmp_path, 2, frames=5, **again)


def test_a_trained_embedding_brings_its_own_motion(make: Make, clip: Clip, tmp_path: Path) -> None:
    module = make(MotionConfig.paper())
    steps(module, clip, 2)
    module.embeddings.save(tmp_path / "motion.safetensors")
    cells = [Cell(clip.name, "a blue circle", 0, "random")]
    loaded = make(embedding=str(tmp_path / "motion.safetensors"))
    assert loaded.embeddings.config == MotionConfig.paper()
    assert torch.equal(loaded.generate(clip, cells)[0].frames, module.generate(clip, cells)[0].frames)
