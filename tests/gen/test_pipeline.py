import math
from dataclasses import replace

import pytest
import torch

from gen.pipeline import OrbitPipeline, spread
from gen.weights import WeightsError, load_pipeline
from recon.capture import Source, frame_from_tensors, orbit_camera
from recon.capture.images import read_rgba
from tests.gen.small import tiny_pipeline
from tests.shared_data import ROOT

CAMERAS = [orbit_camera(0.7 * i, 0.2, math.radians(34), 16, 16) for i in range(4)]


def context(size: int = 16):
    rgba = torch.rand(size, size, 4, generator=torch.Generator().manual_seed(1))
    return [frame_from_tensors(CAMERAS[0].resized(size, size), rgba, name="photo")]


def draw(pipeline, seed: int = 0, **options):
    generator = torch.Generator().manual_seed(seed)
    return pipeline(context(), CAMERAS[1:], generator=generator, num_inference_steps=3, **options)


def test_a_saved_pipeline_draws_the_same_pictures(tmp_path):
    pipeline = tiny_pipeline()
    pipeline.save_pretrained(tmp_path)
    assert not list(tmp_path.rglob("*.bin"))
    for a, b in zip(draw(pipeline), draw(load_pipeline(tmp_path))):
        assert torch.equal(a.rgba(), b.rgba())


def test_the_seed_decides_everything():
    pipeline = tiny_pipeline()
    first, again, other = (draw(pipeline, seed, guidance_scale=2.0)[1].rgba() for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-3)


def test_the_capture_keeps_the_context_and_says_what_was_drawn():
    frames = context(size=40)
    capture = tiny_pipeline()(frames, CAMERAS[1:], num_inference_steps=2)
    assert [f.source for f in capture] == [Source.OBSERVED] + [Source.GENERATED] * 3
    assert torch.equal(capture[0].rgba(), frames[0].rgba())
    for frame, camera in zip(capture.frames[1:], CAMERAS[1:]):
        assert torch.equal(frame.camera.c2w, camera.c2w)
        assert frame.rgba().shape == (16, 16, 4)
    for frame in capture:
        depth, normal = frame.depth(), frame.normal()
        assert depth.shape == frame.rgba().shape[:2]
        assert torch.equal(depth > 0, normal.norm(dim=-1) > 0.5)


SAMPLERS = ("euler", "heun", "dpm", "unipc")


def make_scheduler(name):
    from diffusers import (
        DPMSolverMultistepScheduler,
        FlowMatchEulerDiscreteScheduler,
        FlowMatchHeunDiscreteScheduler,
        UniPCMultistepScheduler,
    )

    flow = {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
    return {
        "euler": lambda: FlowMatchEulerDiscreteScheduler(),
        "heun": lambda: FlowMatchHeunDiscreteScheduler(),
        "dpm": lambda: DPMSolverMultistepScheduler(**flow),
        "unipc": lambda: UniPCMultistepScheduler(**flow),
    }[name]()


@pytest.fixture(scope="module")
def shipped():
    return load_pipeline()


@pytest.mark.parametrize("name", SAMPLERS[1:])
def test_every_sampler_draws_with_the_shipped_weights_what_euler_draws(shipped, name):
    photo = read_rgba(ROOT / "assets" / "photos" / "duck.png")
    seen = [frame_from_tensors(orbit_camera(0.0, 0.17, 0.59, 512, 512), photo, source=Source.OBSERVED, name="duck")]
    targets = [orbit_camera(azimuth, 0.17, 0.59, 64, 64) for azimuth in (0.8, 2.5)]
    drawn = []
    for scheduler in ("euler", name):
        pipeline = OrbitPipeline(shipped.transformer, make_scheduler(scheduler))
        pipeline.set_progress_bar_config(disable=True)
        capture = pipeline(seen, targets, num_inference_steps=8, generator=torch.Generator().manual_seed(0))
        drawn.append(torch.stack([frame.premultiplied() for frame in capture.frames[1:]]))
    assert (drawn[0][..., 3] > 0.5).float().mean() > 0.1  # something was drawn
    assert float(-10 * (drawn[0] - drawn[1]).square().mean().log10()) > 18


def test_a_scheduler_that_knows_no_flow_is_refused():
    from diffusers import DDIMScheduler

    pipeline = tiny_pipeline()
    pipeline.scheduler = DDIMScheduler()
    with pytest.raises(ValueError, match="flow matching"):
        pipeline(context(), CAMERAS[1:])


class Knows:
    """Stands for the belief of a perfect network."""

    def __init__(self, belief, clean):
        self.gaussians, self.normals, self.clean = belief.gaussians, belief.normals, clean

    def channels(self, gauge):
        return self.clean


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_walks_straight_to_the_frames_that_a_perfect_network_knows(name, monkeypatch):
    pipeline = tiny_pipeline()
    clean = torch.rand(1, 4, 16, 16, 8) * 2 - 1
    believe, levels, seen = pipeline._believe, [], []

    def perfect(latents, level, gauge, known):
        levels.append(level)
        return Knows(believe(latents, level, gauge, known), clean)

    def see(pipe, step, timestep, tensors):
        seen.append(tensors["latents"].clone())
        return {}

    monkeypatch.setattr(pipeline, "_believe", perfect)
    pipeline.scheduler = make_scheduler(name)
    pipeline(
        context(),
        CAMERAS[1:],
        num_inference_steps=6,
        generator=torch.Generator().manual_seed(0),
        callback_on_step_end=see,
    )
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    assert 0 < levels[-1] < 0.5
    expected = torch.lerp(clean, noise, levels[-1])
    assert (seen[-1] - expected)[:, 1:].abs().max() < 0.02


def test_the_callback_sees_every_step_and_may_change_it():
    seen = []

    def blank(pipe, step, timestep, tensors):
        seen.append(step)
        return {"latents": torch.full_like(tensors["latents"], -1.0)}

    pipeline = tiny_pipeline()
    changed = draw(pipeline, callback_on_step_end=blank)
    assert seen == [0, 1, 2]
    assert not torch.allclose(changed[1].rgba(), draw(pipeline)[1].rgba(), atol=1e-3)
    assert torch.equal(draw(pipeline)[1].rgba(), draw(pipeline)[1].rgba())


def test_a_seed_draws_what_it_has_always_drawn():
    """The noise is PyTorch's own of that generator, and nothing else is random."""
    pipeline = tiny_pipeline()
    seen = []

    def see(pipe, step, timestep, tensors):
        seen.append(tensors["latents"].clone())
        return {}

    pipeline(context(), CAMERAS[1:], generator=torch.Generator().manual_seed(5), callback_on_step_end=see)
    noise = torch.randn((1, 4, 16, 16, 8), generator=torch.Generator().manual_seed(5))
    assert torch.equal(seen[-1][:, 1:], noise[:, 1:])


def test_one_generator_may_come_as_a_list_and_two_are_refused():
    pipeline, generators = tiny_pipeline(), [torch.Generator().manual_seed(0)]
    capture = pipeline(context(), CAMERAS[1:], generator=generators, num_inference_steps=3)
    assert torch.equal(capture[1].rgba(), draw(pipeline, 0)[1].rgba())
    with pytest.raises(ValueError, match="expected one generator"):
        pipeline(context(), CAMERAS[1:], generator=generators * 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_pipeline_of_half_precision_draws_nearly_the_same(dtype):
    pipeline = tiny_pipeline()
    exact, rounded = draw(pipeline), draw(pipeline.to(dtype))
    for a, b in zip(exact, rounded):
        assert b.rgba().dtype == torch.float32
        assert float((a.rgba() - b.rgba()).abs().mean()) < 0.02


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_generator_on_the_gpu_is_accepted():
    pipeline = tiny_pipeline().to("cuda")
    generator = torch.Generator("cuda").manual_seed(0)
    assert len(pipeline(context(), CAMERAS[1:], generator=generator, num_inference_steps=2)) == 4


def test_a_generated_frame_never_takes_the_name_of_a_given_one():
    given = [replace(context()[0], name="generated_000")]
    names = [frame.name for frame in tiny_pipeline()(given, CAMERAS[1:], num_inference_steps=1)]
    assert names[0] == "generated_000"
    assert len(set(names)) == 4


def test_missing_context_or_targets_are_refused():
    with pytest.raises(ValueError, match="at least one context"):
        tiny_pipeline()([], CAMERAS)


@pytest.mark.parametrize("content", [None, "{", "[]", '{"_class_name": "StableDiffusionPipeline"}'])
def test_a_folder_that_is_no_orbit_pipeline_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "model_index.json").write_text(content)
    with pytest.raises(WeightsError, match=str(tmp_path)):
        load_pipeline(tmp_path)


def test_truncated_and_pickled_weights_are_refused(tmp_path):
    tiny_pipeline().save_pretrained(tmp_path)
    (weights,) = tmp_path.rglob("*.safetensors")
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError):
        load_pipeline(tmp_path)
    weights.unlink()
    torch.save({}, weights.with_name("diffusion_pytorch_model.bin"))
    with pytest.raises(WeightsError):
        load_pipeline(tmp_path)


def orbit(count, size=16):
    return [orbit_camera(2 * math.pi * i / count, 0.2, math.radians(34), size, size) for i in range(count)]


def test_the_views_that_tell_the_scene_are_spread_around_the_object():
    cameras = orbit(12)
    assert spread(cameras[:1], cameras[1:], 3) == [2, 5, 8]  # the far side first, then between it and the photo
    assert spread(cameras[:1], cameras[1:3], 5) == [0, 1]


def test_one_scene_is_drawn_however_many_views_are_asked_for():
    """More views show the same scene."""
    pipeline, cameras = tiny_pipeline(), orbit(48)
    told = spread(cameras[:1], cameras[1:], 5)
    few = [cameras[1 + i] for i in told]

    def drawn(targets):
        capture = pipeline(context(), targets, num_inference_steps=2, generator=torch.Generator().manual_seed(0))
        return torch.stack([frame.rgba() for frame in capture.frames[1:]])

    all_views = drawn(cameras[1:])
    assert len(all_views) == 47
    assert torch.allclose(all_views[told], drawn(few), atol=1e-5)


def test_turning_and_scaling_the_world_draws_the_same_pictures():
    turn = torch.linalg.matrix_exp(torch.tensor([[0.0, -0.3, 0.8], [0.3, 0, -0.5], [-0.8, 0.5, 0]]))
    pictures = []
    for rotation, scale in ((torch.eye(3), 1.0), (turn, 7.0)):
        cameras = [camera.moved(rotation, torch.zeros(3), scale) for camera in CAMERAS]
        seen = [replace(context()[0], camera=cameras[0])]
        capture = tiny_pipeline()(seen, cameras[1:], generator=torch.Generator().manual_seed(0))
        pictures.append(torch.stack([frame.rgba() for frame in capture.frames[1:]]))
    assert (pictures[0] - pictures[1]).abs().mean() < 1e-4


@pytest.mark.parametrize("size", [24, (16, 32), (40, 20)])
def test_frames_of_any_size_and_aspect_ratio_are_drawn(size):
    height, width = (size, size) if isinstance(size, int) else size
    targets = [orbit_camera(0.7 * i, 0.2, math.radians(34), width, height) for i in range(1, 4)]
    capture = tiny_pipeline()(context(), targets, size=size)
    for frame in capture.frames[1:]:
        assert frame.rgba().shape == (height, width, 4)
        assert bool(torch.isfinite(frame.rgba()).all())
    with pytest.raises(ValueError, match="cannot be drawn"):
        tiny_pipeline()(context(), targets, size=0)


def test_guidance_changes_what_is_drawn_in_several_steps_and_nothing_in_one():
    pipeline = tiny_pipeline()

    def drawn(scale, steps):
        generator = torch.Generator().manual_seed(0)
        capture = pipeline(context(), CAMERAS[1:], generator=generator, num_inference_steps=steps, guidance_scale=scale)
        return capture[1].rgba()

    assert not torch.allclose(drawn(1.0, 3), drawn(3.0, 3), atol=1e-3)
    assert torch.equal(drawn(1.0, 1), drawn(3.0, 1))


def test_a_start_is_kept_as_far_as_it_is_not_noised(monkeypatch):
    pipeline = tiny_pipeline()
    first = draw(pipeline)
    seen = []

    def see(pipe, step, timestep, tensors):
        seen.append(tensors["latents"])
        return {}

    def latents(**options):
        seen.clear()
        generator = torch.Generator().manual_seed(0)
        pipeline(context(), CAMERAS[1:], generator=generator, callback_on_step_end=see, **options)
        return seen[0]

    noise, half, slight = latents(), latents(start=first, strength=0.5), latents(start=first, strength=0.1)
    targets = slice(1, None)
    # One step does not move the latents, so what is seen is what the network was asked about.
    clean = (half - 0.5 * noise)[:, targets] / 0.5
    torch.testing.assert_close(slight[:, targets], 0.9 * clean + 0.1 * noise[:, targets], atol=1e-4, rtol=0)
    picture = torch.stack([frame.premultiplied() for frame in first.frames[1:]]) * 2 - 1
    torch.testing.assert_close(clean[0, ..., :4], picture, atol=1e-4, rtol=0)


def test_a_start_needs_a_frame_with_geometry_for_every_camera():
    pipeline = tiny_pipeline()
    first = draw(pipeline).frames
    with pytest.raises(ValueError, match="for each of 4 cameras, found 2"):
        draw(pipeline, start=first[:2])
    with pytest.raises(ValueError, match="has no depth"):
        draw(pipeline, start=[*context(), *first[1:]])
    with pytest.raises(ValueError, match="strength"):
        draw(pipeline, start=first, strength=0.0)
