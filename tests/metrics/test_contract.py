"""What every registered metric promises; newcomers are covered on arrival."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import torch

from motion_ablation.metrics import METRICS, OpenCVTracker, PerSampleMetric, Tracks, VideoMetric
from motion_ablation.metrics.base import field_of
from motion_ablation.metrics.motion_fidelity import PROTOCOLS
from motion_ablation.records import Clip, Sample


class Average:
    """A stand-in network: mean colours of the four quadrants."""

    name, resize, dimension = "average", "none", 12

    def images(self, frames: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.adaptive_avg_pool2d(frames, 2).flatten(1)

    def texts(self, texts: list[str]) -> torch.Tensor:
        return torch.nn.functional.normalize(torch.tensor([[float(len(text)), *range(11)] for text in texts]), dim=-1)


class Lost:
    """A tracker that loses every point at once."""

    name = "lost"

    def __call__(self, frames: torch.Tensor) -> Tracks:
        return Tracks(frames.new_zeros(*frames.shape[:2], 5, 2), torch.zeros(*frames.shape[:2], 5, dtype=torch.bool, device=frames.device))


def build(name: str, tracker: Any = None) -> VideoMetric:
    tracker = tracker or OpenCVTracker(grid=3, corners=4, size=48, window=9)
    argument: dict[str, Any] = {"encoder": Average(), "features": Average(), "tracker": tracker}
    return METRICS.build(name, **{key: argument[key] for key in signature(METRICS[name]).parameters if key in argument})


def samples(count: int = 4, frames: int = 4) -> list[Sample]:
    """Two seeds of every reference and prompt."""
    rng = torch.Generator().manual_seed(0)
    images = torch.nn.functional.interpolate(torch.rand(count, 3, 6, 6, generator=rng), scale_factor=4, mode="bilinear")
    truth = {"center": torch.linspace(-0.5, 0.5, frames)[:, None].repeat(1, 2)}
    clips = [Clip(torch.stack([image.roll(t, -1) for t in range(frames)]), 8.0, "", str(i), truth=truth) for i, image in enumerate(images)]
    pairs = [(i, clips[i // 2]) for i in range(count)]
    prompts = [f"a {color} circle on a blue background" for color in ("red", "green", "cyan")]
    return [Sample(clips[i].frames.roll(i, -2) * 0.9, clip, prompts[i // 2], i, "random") for i, clip in pairs]


def value_of(name: str, batches: list[list[Sample]]) -> float:
    metric = build(name)
    for batch in batches:
        metric.update_samples(batch)
    return float(metric.compute())


def in_range(metric: VideoMetric) -> bool:
    value = float(metric.compute())
    return math.isfinite(value) and metric.range[0] - 1e-4 <= value <= metric.range[1] + 1e-4


def withheld(metric: VideoMetric) -> bool:
    """Whether no video has a score, and the protocol gives the reason, for tables to show."""
    return math.isnan(float(metric.compute())) and metric.protocol["withheld_videos"] == 4 and "lost 90%" in str(metric.protocol["warning"])


def resized(video: torch.Tensor, frames: int, size: int) -> torch.Tensor:
    return torch.nn.functional.interpolate(video[[t % len(video) for t in range(frames)]], size=(size, size), mode="bilinear")


@pytest.mark.parametrize("name", METRICS)
class TestContract:
    def test_declares_itself(self, name: str) -> None:
        metric = build(name)
        assert metric.name == name and metric.unit and metric.higher_is_better in (True, False, None) and METRICS.describe(name)
        assert "frames" in metric.reads and metric.range[0] < metric.range[1]
        assert all(field_of(samples()[0], name) is not None for name in metric.reads)
        assert set(metric.sources) <= set(METRICS.options(name))
        assert json.dumps(metric.protocol) and "formula" in metric.protocol

    def test_default_construction_is_free(self, name: str) -> None:
        METRICS.build(name)

    def test_scores_and_mean(self, name: str) -> None:
        metric, data = build(name), samples()
        scores, value = metric.update_samples(data), float(metric.compute())
        assert metric.range[0] - 1e-4 <= value <= metric.range[1]
        assert (scores is not None) == metric.per_sample
        if scores is not None:
            assert len(scores) == 4 and value == pytest.approx(sum(scores) / 4, abs=1e-6)

    def test_order_and_batching_do_not_matter(self, name: str) -> None:
        data = samples()
        assert value_of(name, [data[::-1][:1], data[::-1][1:]]) == pytest.approx(value_of(name, [data]), abs=1e-6)

    def test_one_by_one_as_in_a_batch(self, name: str) -> None:
        together, apart = build(name).update_samples(samples()), [build(name).update_samples([sample]) for sample in samples()]
        if together is not None:
            assert [score for scores in apart for score in scores or []] == pytest.approx(together, abs=1e-6)

    @pytest.mark.parametrize("frames", [1, 2])
    def test_few_frames(self, name: str, frames: int) -> None:
        """A number in the range, or a refusal that says how many frames are needed."""
        metric = build(name)
        try:
            metric.update_samples(samples(frames=frames))
        except ValueError as error:
            assert f"not {frames}" in str(error) and "frames" in str(error)
            return
        assert in_range(metric)

    @pytest.mark.parametrize("frames", [
        torch.full((4, 4, 3, 24, 24), 0.5), torch.zeros(4, 4, 3, 24, 24), torch.rand(4, 1, 3, 24, 24).expand(4, 4, 3, 24, 24)
    ])  # fmt: skip
    @pytest.mark.filterwarnings("ignore:.*no score for:UserWarning")
    def test_constant_frames(self, name: str, frames: torch.Tensor) -> None:
        metric = build(name)
        metric.update_samples([replace(sample, frames=video) for sample, video in zip(samples(), frames, strict=True)])
        assert in_range(metric) or withheld(metric)

    def test_all_tracks_lost(self, name: str) -> None:
        metric = build(name, Lost())
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            scores = metric.update_samples(samples())
        assert bool(caught) == ("tracker" in signature(METRICS[name]).parameters)
        assert in_range(metric) if not caught else all(map(math.isnan, scores or [])) and withheld(metric)

    def test_uint8_equals_float(self, name: str) -> None:
        as_bytes = [replace(sample, frames=(sample.frames * 255).round().byte()) for sample in samples()]
        as_floats = [replace(sample, frames=sample.frames.float() / 255) for sample in as_bytes]
        assert value_of(name, [as_bytes]) == pytest.approx(value_of(name, [as_floats]), abs=1e-7)

    @pytest.mark.parametrize(("frames", "size"), [(3, 24), (6, 24), (4, 40)])
    def test_a_reference_of_another_length_or_size(self, name: str, frames: int, size: int) -> None:
        clips = [replace(sample.reference, frames=resized(sample.reference.frames, frames, size)) for sample in samples()]
        metric = build(name)
        metric.update_samples([replace(sample, reference=clip) for sample, clip in zip(samples(), clips, strict=True)])
        assert in_range(metric)

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    def test_on_the_device_of_the_data(self, name: str) -> None:
        metric = build(name).to("cuda")
        scores = metric.update_samples([sample.to("cuda") for sample in samples()])
        assert metric.compute().device.type == "cuda" or not metric.per_sample
        assert float(metric.compute()) == pytest.approx(value_of(name, [samples()]), abs=1e-4)
        if scores is not None:
            assert scores == pytest.approx(build(name).update_samples(samples()), abs=1e-4)

    def test_mixed_shapes(self, name: str) -> None:
        assert math.isfinite(value_of(name, [[*samples(2), *samples(1, frames=3)]]))

    def test_what_cannot_be_judged_is_left_out(self, name: str) -> None:
        """A video of no known truth has no score, and changes no mean; only metrics that say so ask for the truth."""
        metric, data = build(name), samples()
        real = [replace(sample, prompt="a dog", reference=replace(sample.reference, truth={})) for sample in data[:2]]
        scores = metric.update_samples([*real, *data[2:]])
        if metric.requires_truth:
            assert scores is not None and [math.isnan(score) for score in scores] == [True, True, False, False]
            assert float(metric.compute()) == pytest.approx(sum(scores[2:]) / 2)
        else:
            assert in_range(metric) and not any(map(math.isnan, scores or []))

    def test_kept_sums_stand_in_for_videos(self, name: str) -> None:
        whole, part, other = build(name), build(name), build(name)
        if not isinstance(whole, PerSampleMetric) or not isinstance(part, PerSampleMetric) or not isinstance(other, PerSampleMetric):
            return
        assert whole.sums().keys() == whole.metric_state.keys(), "every state is a sum"
        whole.update_samples(samples())
        part.update_samples(samples()[:1])
        other.update_samples(samples()[1:])
        part.merge_state({**other.sums()})
        assert float(part.compute()) == pytest.approx(float(whole.compute()), abs=1e-6)
        numbers = {key: value for key, value in whole.protocol.items() if isinstance(value, float)}
        assert {key: part.protocol[key] for key in numbers} == pytest.approx(numbers, abs=1e-3)

    def test_reset(self, name: str) -> None:
        metric = build(name)
        metric.update_samples(samples())
        metric.reset()
        with pytest.warns(UserWarning):
            assert metric.compute().isnan()

    @pytest.mark.parametrize("bad", [
        torch.full((1, 3, 3, 8, 8), float("nan")), torch.full((1, 3, 3, 8, 8), 1.5), torch.rand(3, 3, 8, 8), torch.ones(1, 3, 3, 8, 8).int()
    ])  # fmt: skip
    def test_refuses_bad_frames(self, name: str, bad: torch.Tensor) -> None:
        metric = build(name)
        inputs = {"frames": bad, "reference": torch.rand(1, 3, 3, 8, 8), "prompt": ["a"], "truth": [{}]}
        with pytest.raises(ValueError, match="frames"):
            metric.update(**{key: inputs[key] for key in metric.reads})

    def test_refuses_a_bad_reference(self, name: str) -> None:
        metric = build(name)
        inputs = {"frames": torch.rand(1, 3, 3, 8, 8), "reference": torch.full((1, 3, 3, 8, 8), float("nan")), "prompt": ["a"]}
        if "reference" in metric.reads:
            with pytest.raises(ValueError, match="reference must"):
                metric.update(**{key: inputs[key] for key in metric.reads})


MOTION = [
    *(("motion_fidelity", {"protocol": protocol}) for protocol in PROTOCOLS if protocol != "dmt"),
    ("motion_fidelity", {"protocol": "dmt", "tracker": "opencv:grid=16,corners=0"}),  # it grows with the number of tracks
    *((name, {}) for name in METRICS if "tracker" in METRICS.options(name) and name != "motion_fidelity"),
]


@pytest.mark.parametrize(("name", "options"), MOTION, ids=lambda value: value if isinstance(value, str) else value.get("protocol", ""))
def test_the_same_motion_at_another_aspect_scores_the_same(name: str, options: dict[str, Any], pan: Callable[..., torch.Tensor]) -> None:
    metric = METRICS.build(name, **options)

    def scores(width: int) -> list[float]:
        reference = pan((3, 3), width, 0)
        inputs = [{"frames": pan(velocity, width, 1), "reference": reference} for velocity in ((3, 3), (4, 0), (0, 4), (3, -3))]
        return [metric.score(*(each[key] for key in metric.reads)).item() for each in inputs]

    square, wide = scores(96), scores(168)
    # A point that leaves the frame stands still in dmt, and a wide frame loses fewer.
    assert wide == pytest.approx(square, abs=0.15 if options.get("protocol") == "dmt" else 0.05)
    if name == "dynamic_degree":
        assert square[2] == pytest.approx(square[1], abs=0.02) and wide[2] == pytest.approx(wide[1], abs=0.02)  # equal speeds


def process(rank: int, folder: Path) -> None:
    """One of two processes; writes the values that it computes."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=2)
    data = samples()
    shares = {"uneven": [data[:1], data[1:]], "idle": [data, []]}
    values = {
        f"{name} {share}": value_of(name, [parts[rank]] if parts[rank] else []) for name in METRICS for share, parts in shares.items()
    }
    (folder / f"{rank}.json").write_text(json.dumps(values))
    torch.distributed.destroy_process_group()


def test_two_processes_agree_with_one(tmp_path: Path) -> None:
    running = [subprocess.Popen([sys.executable, __file__, str(rank), str(tmp_path)]) for rank in range(2)]
    assert [one.wait(timeout=300) for one in running] == [0, 0]
    expected = {name: value_of(name, [samples()]) for name in METRICS}
    for rank in range(2):
        for key, value in json.loads((tmp_path / f"{rank}.json").read_text()).items():
            assert value == pytest.approx(expected[key.split()[0]], abs=1e-6), (rank, key)


if __name__ == "__main__":
    process(int(sys.argv[1]), Path(sys.argv[2]))
