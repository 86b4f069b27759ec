import json
import math
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from gen.data.batch import Batch, make_batch
from gen.model import Block
from gen.muon import Muon, orthogonalise
from gen.objective import flow_loss
from gen.options import OrbitConfig, TrainOptions
from gen.tasks import draft_example, draw_tasks
from gen.train import learning_rate_factor, stream, train
from gen.weights import load_pipeline, save_pipeline
from recon.capture import Camera
from tests.gen.small import CONFIG, render_solids

OPTIONS = TrainOptions(model=CONFIG, size=16, steps=6, frames_per_step=24, warmup=2, save_every=3, device="cpu")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return render_solids(tmp_path_factory.mktemp("solids"), size=16, views=12)


def test_training_lowers_the_loss(dataset, tmp_path):
    losses = []
    train(dataset, tmp_path, replace(OPTIONS, steps=60), lambda step, loss: losses.append(loss))
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:5])


def test_a_run_that_was_stopped_ends_with_the_same_weights(dataset, tmp_path):
    class Stop(Exception):
        pass

    def stop(step, loss):
        if step == 4:  # after the checkpoint at 3, before the one at 6
            raise Stop

    train(dataset, tmp_path / "whole", OPTIONS)
    with pytest.raises(Stop):
        train(dataset, tmp_path / "parts", OPTIONS, stop)
    train(dataset, tmp_path / "parts", OPTIONS)
    for name in ("checkpoint.safetensors", "ema.safetensors", "loss.csv"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes(), name


def test_a_folder_with_another_run_is_refused(dataset, tmp_path):
    train(dataset, tmp_path, OPTIONS)
    with pytest.raises(ValueError, match="other options"):
        train(dataset, tmp_path, replace(OPTIONS, lr=1e-4))


@pytest.fixture(scope="module")
def finished(dataset, tmp_path_factory):
    """A run of three steps, to be copied."""
    folder = tmp_path_factory.mktemp("run")
    train(dataset, folder, replace(OPTIONS, steps=3, decay=0.0))
    return folder


def go_on(dataset, run: Path, steps: int = 6) -> None:
    train(dataset, run, replace(OPTIONS, steps=steps, decay=0.0))


def test_a_run_on_another_dataset_is_refused(finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    other = render_solids(tmp_path / "solids", size=16, views=13)
    with pytest.raises(ValueError, match="another dataset"):
        go_on(other, run)


def test_what_a_kill_left_of_a_line_is_not_a_line(dataset, finished, tmp_path):
    whole, torn = (shutil.copytree(finished, tmp_path / name) for name in ("whole", "torn"))
    with (torn / "loss.csv").open("a") as log:
        log.write(
            "3,0.5\n4,0.25\n1"
        )  # of "10,...": steps after the checkpoint, then a number that looks like an early one
    for run in (whole, torn):
        go_on(dataset, run)
    assert (torn / "loss.csv").read_bytes() == (whole / "loss.csv").read_bytes()


def test_a_run_killed_before_its_first_checkpoint_begins_anew(dataset, finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    (run / "checkpoint.safetensors").unlink()
    go_on(dataset, run, steps=3)
    for name in ("checkpoint.safetensors", "loss.csv", "config.json"):
        assert (run / name).read_bytes() == (finished / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "content"), [("diary.txt", "mine"), ("config.json", '{"width": 3}'), ("config.json", "[")]
)
def test_a_folder_with_something_else_in_it_is_left_alone(dataset, tmp_path, name, content):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match="choose another folder"):
        train(dataset, tmp_path, OPTIONS)
    assert [(f.name, f.read_text()) for f in tmp_path.iterdir()] == [(name, content)]


def test_a_dataset_with_too_few_views_is_refused_before_the_first_step(tmp_path):
    few = render_solids(tmp_path / "solids", size=16, views=9)
    with pytest.raises(ValueError, match=r"9 views.*--views 10"):
        train(few, tmp_path / "run", OPTIONS)
    assert not (tmp_path / "run").exists()


def test_the_pipeline_of_a_run_draws_at_the_size_that_it_was_trained_on(dataset, tmp_path):
    train(dataset, tmp_path / "run", replace(OPTIONS, size=8, steps=1))
    assert CONFIG.sample_size == 16
    save_pipeline(tmp_path / "run", tmp_path / "pipeline")
    assert load_pipeline(tmp_path / "pipeline").transformer.config.sample_size == 8


@pytest.mark.parametrize(
    "wrong",
    [{"save_every": 0}, {"steps": 0}, {"lr": float("nan")}, {"lr": -1.0}, {"decay": 2.0}, {"seed": -1}, {"size": 18}],
)
def test_options_out_of_range_are_refused_by_name(wrong):
    with pytest.raises(ValueError, match="--" + next(iter(wrong)).replace("_", "-")):
        replace(OPTIONS, **wrong)


@pytest.mark.parametrize("name", ["heads", "depth", "width", "patch_size"])
def test_a_network_of_nothing_is_refused(name):
    with pytest.raises(ValueError, match=name.replace("_", "-")):
        OrbitConfig(**{name: 0})


def test_recomputing_activations_changes_nothing_but_the_work(dataset, tmp_path, monkeypatch):
    calls: list[int] = []
    forward = Block.forward

    def counted(self, *inputs):
        calls.append(1)
        return forward(self, *inputs)

    monkeypatch.setattr(Block, "forward", counted)
    plain, again = [], []
    train(dataset, tmp_path / "plain", OPTIONS, lambda step, loss: plain.append(loss))
    once = len(calls)
    train(dataset, tmp_path / "again", replace(OPTIONS, recompute=True), lambda step, loss: again.append(loss))
    assert again == pytest.approx(plain, rel=1e-5)
    assert len(calls) == 3 * once


def test_batches_add_up(dataset, tmp_path, monkeypatch):
    """Two batches together cost the mean of what each costs alone, before anything is learnt."""

    def first_loss(name: str, **options) -> float:
        losses: list[float] = []
        train(dataset, tmp_path / name, replace(OPTIONS, steps=1, **options), lambda step, loss: losses.append(loss))
        return losses[0]

    both, first = first_loss("both", accumulate=2), first_loss("first")
    monkeypatch.setattr("gen.train.stream", lambda seed, step, batch: stream(seed, step, None if batch is None else 1))
    second = first_loss("second")
    assert first != second
    assert both == pytest.approx((first + second) / 2, rel=1e-5)
    with pytest.raises(ValueError, match="1 batches a step and this one has 2"):
        train(dataset, tmp_path / "first", replace(OPTIONS, accumulate=2))


def test_no_two_streams_of_random_numbers_are_the_same():
    keys = [(seed, step, batch) for seed in (0, 1) for step in (0, 1) for batch in (None, 0, 1)]
    numbers = [np.random.default_rng(stream(*key)).random() for key in keys]
    assert len(set(numbers)) == len(keys)


def test_a_run_stopped_before_its_first_checkpoint_can_be_started_again(dataset, tmp_path):
    def stop(step, loss):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(dataset, tmp_path, replace(OPTIONS, tensorboard=True), stop)
    train(dataset, tmp_path, replace(OPTIONS, tensorboard=True))
    assert (tmp_path / "checkpoint.safetensors").exists()


def test_a_loss_that_is_no_number_leaves_the_last_checkpoint(dataset, finished, tmp_path, monkeypatch):
    run = shutil.copytree(finished, tmp_path / "run")
    monkeypatch.setattr(
        "gen.train.flow_loss", lambda network, *_: sum(p.sum() for p in network.parameters()) * math.nan
    )
    with pytest.raises(ValueError, match="the loss is nan"):
        go_on(dataset, run)
    assert (run / "checkpoint.safetensors").read_bytes() == (finished / "checkpoint.safetensors").read_bytes()


def test_a_run_of_an_earlier_version_is_refused_by_name(dataset, finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    del config["batches"]
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"earlier version.*--init"):
        go_on(dataset, run)


def test_the_loss_goes_to_tensorboard(dataset, tmp_path):
    train(dataset, tmp_path / "run", replace(OPTIONS, steps=2, tensorboard=True))
    assert list((tmp_path / "run" / "tensorboard").rglob("events.out.tfevents.*"))


@pytest.mark.parametrize("asked", ["accelerate", "TensorBoard"])
def test_a_missing_extra_is_named(dataset, tmp_path, monkeypatch, asked):
    if asked == "accelerate":
        monkeypatch.setitem(sys.modules, "accelerate", None)
    else:
        monkeypatch.setattr("gen.train.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=rf"{asked}.*turnabout\[train\]"):
        train(dataset, tmp_path / "run", replace(OPTIONS, tensorboard=asked == "TensorBoard"))
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_training_on_a_gpu_that_is_not_there_is_refused(dataset, tmp_path):
    with pytest.raises(ValueError, match="no CUDA device"):
        train(dataset, tmp_path / "run", replace(OPTIONS, device="cuda"))


def test_training_in_bf16_on_a_processor_lowers_the_loss(dataset, tmp_path):
    losses = []
    train(dataset, tmp_path, replace(OPTIONS, precision="bf16", steps=60), lambda step, loss: losses.append(loss))
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:5])


def test_a_run_goes_on_from_the_averaged_weights_of_another_at_another_size(dataset, tmp_path):
    coarse, fine = tmp_path / "coarse", tmp_path / "fine"
    train(dataset, coarse, replace(OPTIONS, size=8, steps=60))
    fresh, grown = [], []
    train(dataset, tmp_path / "fresh", replace(OPTIONS, steps=3), lambda step, loss: fresh.append(loss))
    train(dataset, fine, replace(OPTIONS, steps=3, init=str(coarse)), lambda step, loss: grown.append(loss))
    assert grown[0] < fresh[0]
    train(dataset, fine, replace(OPTIONS, steps=6, init=str(coarse)))  # goes on with its own weights
    assert len((fine / "loss.csv").read_text().splitlines()) == 6


def test_a_run_goes_on_from_a_saved_pipeline(dataset, finished, tmp_path):
    """As from the run that it was made of, but for what its eight-bit matrices have lost."""
    save_pipeline(finished, tmp_path / "pipeline")
    run, pipeline = [], []
    one_step = replace(OPTIONS, steps=1, init=str(finished))
    train(dataset, tmp_path / "a", one_step, lambda step, loss: run.append(loss))
    one_step = replace(one_step, init=str(tmp_path / "pipeline"))
    train(dataset, tmp_path / "b", one_step, lambda step, loss: pipeline.append(loss))
    assert pipeline == pytest.approx(run, rel=0.02)


def test_matrices_are_stored_in_eight_bits_and_come_back_in_the_precision_that_is_asked_for(finished, tmp_path):
    save_pipeline(finished, tmp_path)
    stored = load_file(tmp_path / "transformer" / "diffusion_pytorch_model.safetensors")
    assert {t.dtype for n, t in stored.items() if ".blocks." in n and t.ndim == 2} == {torch.float8_e4m3fn}
    assert {t.dtype for n, t in stored.items() if ".blocks." not in n or t.ndim == 1} == {torch.float16}
    before = load_file(finished / "ema.safetensors")
    for name, tensor in load_pipeline(tmp_path).transformer.net.state_dict().items():
        assert tensor.dtype == torch.float32
        torch.testing.assert_close(tensor, before[name], rtol=2**-4, atol=2**-10)


def test_a_run_whose_hidden_cameras_shared_a_token_can_be_started_from(dataset, finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    weights = load_file(run / "ema.safetensors")
    del weights["unknown_first_camera"]
    save_file(weights, run / "ema.safetensors")
    config = json.loads((run / "config.json").read_text())
    config["channels"] = config["channels"][:3]
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"earlier version.*--init"):
        go_on(dataset, run)
    train(dataset, tmp_path / "new", replace(OPTIONS, steps=1, init=str(run)))


def test_a_run_does_not_start_from_something_else(dataset, tmp_path):
    train(dataset, tmp_path / "other", replace(OPTIONS, model=replace(CONFIG, width=48), steps=1))
    with pytest.raises(ValueError, match="another shape"):
        train(dataset, tmp_path / "a", replace(OPTIONS, init=str(tmp_path / "other")))
    with pytest.raises(ValueError, match="training run"):
        train(dataset, tmp_path / "b", replace(OPTIONS, init=str(tmp_path / "nothing")))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_training_runs_in_bf16_on_a_gpu(dataset, tmp_path):
    losses = []
    train(dataset, tmp_path, replace(OPTIONS, device="cuda", steps=60), lambda step, loss: losses.append(loss))
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:5])


def draw_batch(dataset, size: int, augment: bool) -> Batch:
    rng = np.random.default_rng(0)
    views = dataset.sample(rng, 6, 4).decode()
    return make_batch(views, size, rng if augment else None)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_makes_the_same_batch_of_a_draft_as_the_processor(dataset):
    draft = draft_example(dataset, np.random.default_rng(0), 4, 96, 8)
    here, there = draft.develop(), draft.to(torch.device("cuda")).develop()
    for name in ("premultiplied", "depth", "normal", "c2w", "intrinsics"):
        torch.testing.assert_close(getattr(there.batch, name).cpu(), getattr(here.batch, name), atol=1e-4, rtol=1e-4)
    assert torch.equal(there.tasks.levels.cpu(), here.tasks.levels)
    # The grain of the film is drawn where the pictures are, all else alike.
    assert (there.photos.cpu() - here.photos).abs().mean() < 0.03


@pytest.mark.parametrize("augment", [False, True])
def test_the_views_of_a_batch_agree_in_space(dataset, augment):
    batch = draw_batch(dataset, 16, augment)
    covered, in_front = [], []
    for scene in range(len(batch.c2w)):
        cameras = [Camera(c2w, k, 16, 16) for c2w, k in zip(batch.c2w[scene], batch.intrinsics[scene])]
        points = cameras[0].unproject(batch.depth[scene, 0])[batch.depth[scene, 0] > 0]
        for view in range(1, 6):
            pixels, depth = cameras[view].project(points)
            column, row = pixels.long().clamp(0, 15).unbind(-1)
            covered.append(batch.premultiplied[scene, view, row, column, 3])
            seen = batch.depth[scene, view, row, column]
            in_front.append((depth - seen)[seen > 0] < -0.15)
    assert torch.cat(covered).mean() > 0.85  # what one view sees lies inside the other's silhouette
    assert torch.cat(in_front).float().mean() < 0.02  # and never before what the other sees


def test_halving_the_size_keeps_the_views_true(dataset):
    small, large = (draw_batch(dataset, size, augment=False) for size in (8, 16))
    assert small.premultiplied.mean() == pytest.approx(float(large.premultiplied.mean()), rel=1e-5)
    points = [
        Camera(b.c2w[0, 0], b.intrinsics[0, 0], s, s).project(torch.zeros(1, 3))[0] / s
        for b, s in ((small, 8), (large, 16))
    ]
    assert torch.allclose(points[0], points[1], atol=1e-5)


def test_a_training_size_that_does_not_divide_is_refused(dataset):
    with pytest.raises(ValueError, match="does not divide"):
        draw_batch(dataset, 10, augment=False)


def test_tasks_show_frames_hide_cameras_and_leave_scenes_blind():
    tasks = draw_tasks(np.random.default_rng(0), 4000, 4, 64)
    levels, known = tasks.levels, tasks.camera_known
    shown = levels[..., 0] == 0
    assert 0.85 < shown[:, 0].float().mean() < 0.97  # nearly always a first context, sometimes none
    asked = ~known[:, 0]  # scenes that ask for cameras hide them all
    assert 0.08 < asked.float().mean() < 0.16
    assert not bool(known[asked].any())
    assert bool((levels[asked][..., 0][~shown[asked]] == 1).all())  # what is not shown there tells nothing
    assert not bool(shown[~asked][:, 3].any())  # otherwise there is always something to draw
    assert bool(shown[~asked][~known[~asked]].all())  # and only shown frames hide their cameras
    given = (levels[..., 1] == 0).all(dim=1)
    assert 0.03 < given.float().mean() < 0.1
    assert bool(((levels[..., 1] == 0).any(dim=1) == given).all())  # geometry is shown of all frames or of none


def test_the_learning_rate_warms_up_stays_and_falls():
    options = TrainOptions(steps=1000, warmup=10, decay=0.2)
    factors = [learning_rate_factor(step, options) for step in range(1000)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[500] == 1
    assert factors[-1] == pytest.approx(1 / 200)
    assert factors[10:] == sorted(factors[10:], reverse=True)


def test_muon_moves_along_a_nearly_orthogonal_matrix():
    matrix = torch.randn(12, 40, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrix))
    assert 0.5 < values.min() <= values.max() < 1.4
    assert torch.allclose(orthogonalise(matrix.T), orthogonalise(matrix).T, atol=1e-5)


def test_muon_refuses_vectors():
    with pytest.raises(ValueError, match="matrices only"):
        Muon([torch.zeros(3, requires_grad=True)])


def test_a_step_with_a_gradient_that_is_no_number_leaves_the_weights_usable(dataset, tmp_path, monkeypatch):
    steps = iter(range(100))

    def sometimes_spoiled(network, example, dtype):
        loss = flow_loss(network, example, dtype)
        return loss * math.nan if next(steps) == 1 else loss

    monkeypatch.setattr("gen.train.flow_loss", sometimes_spoiled)
    losses = []
    train(dataset, tmp_path / "run", replace(OPTIONS, steps=4), lambda step, loss: losses.append(loss))
    assert [math.isfinite(loss) for loss in losses] == [True, False, True, True]


def test_batches_drawn_ahead_by_processes_are_the_same(dataset, tmp_path):
    for workers in (0, 2):
        train(dataset, tmp_path / str(workers), replace(OPTIONS, steps=3, workers=workers))
    plain, ahead = ((tmp_path / name / "ema.safetensors").read_bytes() for name in ("0", "2"))
    assert plain == ahead


def test_asking_for_fewer_steps_than_were_taken_changes_nothing(dataset, finished, tmp_path):
    run = shutil.copytree(finished, tmp_path / "run")
    train(dataset, run, replace(OPTIONS, steps=2))
    assert (run / "ema.safetensors").read_bytes() == (finished / "ema.safetensors").read_bytes()


def test_matrices_of_one_shape_are_orthogonalised_as_each_by_itself():
    matrices = torch.randn(3, 12, 20, generator=torch.Generator().manual_seed(0))
    together = orthogonalise(matrices)
    for one, found in zip(matrices, together):
        assert torch.allclose(orthogonalise(one), found, atol=1e-5)
