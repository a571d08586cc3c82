"""What a run leaves behind: scores, TensorBoard's events, GIFs and ``result.json``."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import motion_ablation
from motion_ablation.callbacks import (
    EvaluationCallback,
    VideoCallback,
    cell_stem,
    labelled,
    run_folder,
    sample_stem,
    side_by_side,
)
from motion_ablation.cli.lightning import main
from motion_ablation.data.world.shapes import Scene, render
from motion_ablation.metrics import EvaluationConfig
from motion_ablation.records import Clip, Sample

DEFAULTS = yaml.safe_load((Path(motion_ablation.__file__).parent / "configure" / "defaults.yaml").read_text())
METRICS = tuple(DEFAULTS["evaluation"]["metrics"])
TRUTHS = ("trajectory_error", "direction", "prompt_colors")
PER_SAMPLE = ("text_similarity", "motion_fidelity", "temporal_consistency")
PROMPT = "a red triangle on a blue background"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, settings_for: Callable[[Path], dict[str, Any]]) -> Path:
    """Folder of one finished run of the defaults on the tiny networks: two prompts, two seeds."""
    folder = tmp_path_factory.mktemp("run")
    settings = settings_for(folder)
    settings["data"].update(prompts=[PROMPT, "a dog"], seeds=[0, 1], val_batch_size=3)
    settings["seed_everything"] = 11
    settings["trainer"]["callbacks"] = DEFAULTS["trainer"]["callbacks"]
    (video,) = [c for c in settings["trainer"]["callbacks"] if c["class_path"].endswith("VideoCallback")]
    video["init_args"] = {"limit": 2, "frames": True}
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    main(["fit", "--config", str(folder / "config.yaml")])
    return folder / "runs" / "fit"


def sample(prompt: str = PROMPT, seed: int = 0, noise: str = "random", frames: torch.Tensor | None = None, **truth: Any) -> Sample:
    frames = torch.rand(4, 3, 16, 16) if frames is None else frames
    return Sample(frames, Clip(torch.rand(4, 3, 16, 16), 8.0, "a clip", "ref", truth=truth), prompt, seed, noise)


# One run.


def test_result_holds_what_made_it_and_every_score(run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    assert result["status"] == "done"
    assert (result["seed"], result["steps"], result["config"]["seed_everything"]) == ("11", 2, 11)
    assert result["config"]["model"]["motion"]["v"]["layout"] == {"name": "per_location"}
    assert result["config"]["data"]["prompts"] == [PROMPT, "a dog"]
    assert set(result["versions"]) >= {"python", "torch", "lightning", "diffusers", "motion-ablation"}
    assert 0 < result["parameters"]["trainable"] < result["parameters"]["frozen"]
    assert result["seconds"] > 0 and result["backbone"]
    expected = {f"{noise}/{name}" for noise in ("blend", "random") for name in METRICS}
    assert set(TRUTHS) < set(METRICS) and set(result["metrics"]) == expected
    assert result["config"]["evaluation"]["metrics"] == list(METRICS)
    for name, value in result["metrics"].items():
        # The tiny network makes noise, in which no point can be followed: a score of tracks is then withheld, and says so.
        withheld = result["protocols"][name.split("/")[1]].get("withheld_videos", 0) >= 4
        assert withheld if value is None else np.isfinite(value), name
    assert sum(value is None for value in result["metrics"].values()) <= 6
    assert set(result["protocols"]) == set(METRICS)


def test_result_has_one_row_per_cell_and_its_mean_is_the_score(run: Path) -> None:
    result = json.loads((run / "result.json").read_text())
    cells = result["cells"]
    keys = {(cell["prompt"], cell["seed"], cell["noise"]) for cell in cells}
    assert keys == {(prompt, seed, noise) for prompt in (PROMPT, "a dog") for seed in (0, 1) for noise in ("blend", "random")}
    assert len(cells) == 8
    for noise in ("blend", "random"):
        for name in PER_SAMPLE:
            scores = [cell[name] for cell in cells if cell["noise"] == noise]
            assert len(scores) == 4
            known, mean = [score for score in scores if score is not None], result["metrics"][f"{noise}/{name}"]
            assert mean == (pytest.approx(np.mean(known), abs=1e-6) if known else None)
    # Only the built-in world's prompts have colours to judge.
    assert {cell["prompt"] for cell in cells if cell["trajectory_error"] is not None} == {PROMPT}
    assert "NaN" not in (run / "result.json").read_text()


def test_tensorboard_has_scalars_playing_gifs_and_hyper_parameters(run: Path) -> None:
    events = EventAccumulator(str(run), {"images": 0, "scalars": 0, "tensors": 0}).Reload()
    tags = events.Tags()
    result = json.loads((run / "result.json").read_text())
    known = [name for name, value in result["metrics"].items() if value is not None]
    assert {"train/loss", *(f"val/{name}" for name in known)} <= set(tags["scalars"])
    for name in METRICS:
        if f"random/{name}" not in known:
            continue
        assert events.Scalars(f"val/random/{name}")[-1].value == pytest.approx(result["metrics"][f"random/{name}"], rel=1e-4, abs=1e-5)
    assert {"orbit/blend", "orbit/random"} <= set(tags["images"])
    (told,) = events.Tensors("orbit/blend/text_summary")[-1].tensor_proto.string_val
    assert told.decode() == f"reference; {PROMPT} (0); {PROMPT} (1)"
    for tag in ("orbit/blend", "orbit/random"):
        gif: Any = Image.open(io.BytesIO(events.Images(tag)[-1].encoded_image_string))
        assert (gif.format, gif.n_frames) == ("GIF", 4)
        assert gif.info["duration"] == 120 or gif.info["duration"] == 125  # 8 frames per second, in GIF's hundredths
    plugins = events.summary_metadata
    assert any(data.plugin_data.plugin_name == "hparams" for data in plugins.values())


def test_videos_are_kept_lossless_and_shown(run: Path) -> None:
    stored = sorted((run / "frames").iterdir())
    assert len(stored) == 8 and all(path.suffix == ".npz" for path in stored)
    with np.load(stored[0]) as file:
        assert file["frames"].shape == (4, 16, 16, 3) and file["frames"].dtype == np.uint8
    sheets = sorted(path.name for path in (run / "videos").iterdir())
    assert sheets == ["orbit-blend.gif", "orbit-random.gif"]
    sheet: Any = Image.open(run / "videos" / "orbit-random.gif")
    assert sheet.n_frames == 4
    assert sheet.width == 3 * 128, "the reference and two videos"


def test_the_run_keeps_its_configuration_embedding_and_checkpoint(run: Path) -> None:
    assert yaml.safe_load((run / "config.yaml").read_text())["seed_everything"] == 11
    assert (run / "motion.safetensors").stat().st_size < 5_000_000
    assert (run / "checkpoints" / "last.ckpt").stat().st_size < 5_000_000
    assert not list(run.rglob("*.part"))


# Parts.


@given(st.lists(st.text(min_size=1, max_size=300), min_size=2, max_size=2, unique=True))
def test_no_two_prompts_share_a_file_name(prompts: list[str]) -> None:
    stems = [cell_stem("reference", prompt, 0, "random") for prompt in prompts]
    assert stems[0].casefold() != stems[1].casefold()
    assert all(len(stem.encode("utf-8", "surrogatepass")) < 150 and "/" not in stem for stem in stems)


def test_a_plain_prompt_is_its_own_file_name() -> None:
    assert cell_stem("orbit", "a red star on a blue background", 0, "random") == "orbit_a-red-star-on-a-blue-background_0_random"
    names = ["a red circle", "A red circle!", "a red, circle", "a  red circle", "C++", "C", "c", "🎈", "🚗"]
    assert len({cell_stem("r", name, 0, "random").casefold() for name in names}) == len(names)


def test_a_stem_tells_cells_apart() -> None:
    long = "a very long prompt that goes on and on " * 4
    stems = {
        sample_stem(s)
        for s in (sample(), sample(seed=1), sample(noise="blend"), sample("a dog"), sample(long + "and ends"), sample(long + "and stops"))
    }
    assert len(stems) == 6
    assert all(len(stem) < 200 and "/" not in stem for stem in stems)
    assert "/" not in sample_stem(sample("../../etc/passwd"))


def test_a_sheet_is_as_short_as_its_shortest_video() -> None:
    sheet = side_by_side([("one", torch.zeros(3, 3, 16, 16)), ("two", torch.ones(5, 3, 32, 32))], width=32)
    assert sheet.shape == (3, 3, 32 + 14, 64)
    assert sheet[0, :, 14:, :32].max() == 0 and sheet[0, :, 14:, 32:].min() == 1
    assert labelled(torch.zeros(1, 3, 8, 8), "a label", 8)[0, :, :14].min() < 0.5, "the label is drawn"


class Logged:
    """Stands for a module; keeps what is logged."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def log(self, name: str, value: float, **_: Any) -> None:
        self.values[name] = value


def evaluated(metrics: list[Any], *validations: list[Sample]) -> tuple[EvaluationCallback, Logged, list[dict[str, float]]]:
    """The callback and its module after these validations, sample by sample, and the values of each."""
    callback, module = EvaluationCallback(EvaluationConfig(metrics)), Logged()
    trainer: Any = SimpleNamespace(datamodule=SimpleNamespace(hparams={"noises": ["random", "blend"]}))
    values = []
    for samples in validations:
        callback.start(trainer, module)
        for one in samples:
            callback.on_samples(trainer, module, [one])
        callback.end(trainer, module, "val")
        values.append(callback.values)
    return callback, module, values


@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_truth_is_judged_by_the_true_trajectory() -> None:
    scene = Scene("circle", "red", "blue", motion="moving right", travel=1.2)
    frames, truth = (torch.from_numpy(x) if isinstance(x, np.ndarray) else x for x in render(scene, 8, 64))
    prompt = "a red circle on a blue background"
    right = sample(prompt, frames=frames, center=torch.from_numpy(truth.center))
    wrong = sample(prompt, noise="blend", frames=frames.flip(0), center=torch.from_numpy(truth.center))
    callback, module, _ = evaluated([*TRUTHS], [right, wrong, sample("a dog", frames=frames)])
    assert [np.isnan([row[name] for name in TRUTHS]).all() for row in callback.rows] == [False, False, True]
    assert module.values["val/random/trajectory_error"] < 0.05 < 0.4 < module.values["val/blend/trajectory_error"]
    assert module.values["val/random/direction"] > 0.95 and module.values["val/blend/direction"] < -0.95
    assert module.values["val/random/prompt_colors"] == 1
    callback, module, _ = evaluated([*TRUTHS], [])
    assert callback.rows == [] and np.isnan(list(callback.values.values())).all() and module.values == {}, "NaN is not logged"


def test_metrics_start_afresh_at_every_validation(tiny_clip: Path) -> None:
    samples = [sample(), sample("a dog", noise="blend")]
    batches = (samples, samples[::-1], [samples[0], samples[1], sample(seed=5)])
    callback, module, values = evaluated([{"name": "text_similarity", "encoder": str(tiny_clip)}], *batches)
    assert values[0] == values[1] and len(callback.rows) == 3
    assert values[2]["random/text_similarity"] != values[0]["random/text_similarity"]
    assert module.values["val/random/text_similarity"] == values[2]["random/text_similarity"]


@pytest.mark.parametrize("metric", [{"name": "fdi"}, {"name": "fid", "feature": "x"}, {}])
def test_an_unknown_metric_is_refused_when_it_is_named(metric: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="evaluation.metrics: .*(Choices: .*fid, |Options: features)"):
        EvaluationCallback(EvaluationConfig([metric]))


def test_no_more_videos_are_shown_than_asked_for(tmp_path: Path) -> None:
    callback = VideoCallback(limit=1)
    trainer: Any = SimpleNamespace(sanity_checking=False, is_global_zero=True, logger=None, loggers=[], default_root_dir=tmp_path)
    callback.start(trainer, None)
    callback.on_samples(trainer, None, [sample(), sample(seed=1)])
    callback.on_samples(trainer, None, [sample(seed=2)])
    callback.end(trainer, None, "val")
    image = Image.open(run_folder(trainer) / "videos" / "ref-random.gif")
    assert image.width == 2 * 128
