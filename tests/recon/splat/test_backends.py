"""Every backend draws what the float64 oracle draws, and differentiates like it."""

from __future__ import annotations

import dataclasses
import importlib.util
import math

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from recon.capture import orbit_camera
from recon.splat.backend_cpu import jit
from recon.splat.backend_torch import DrawOptions, Primitive
from recon.splat.fit import fit_gaussians
from recon.splat.fit_options import FitOptions
from recon.splat.gaussians import Gaussians, from_points
from recon.splat.rasterize import Backend, Picture, RasterizeError, Rendering, rasterize
from tests.recon.splat.balls import ball_capture
from tests.recon.splat.scenes import Scene, clear_pixels, random_scene

FIELDS = ("rgb", "alpha", "depth", "normal")
PARAMETERS = ("means", "quats", "log_scales", "logit_opacities", "sh", "viewmats", "intrinsics", "background")


def draw(
    scene: Scene,
    size: tuple[int, int],
    backend: Backend,
    fields: tuple[str, ...],
    clear: torch.Tensor,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
    antialias: bool = False,
    primitive: Primitive = "3d",
) -> tuple[Rendering, dict[str, torch.Tensor]]:
    """The picture, and the gradients of a random weighting of `fields` over the clear pixels; 0 where there is none."""
    gaussians, viewmats, intrinsics = scene
    background = torch.tensor([0.2, 0.5, 0.9])
    leaves = [
        tensor.to(device, dtype).clone().requires_grad_()
        for tensor in (*gaussians.tensors(), viewmats, intrinsics, background)
    ]
    if backend == "cuda" and primitive == "3d":
        leaves[6] = leaves[6].detach()
    rendering = rasterize(
        Gaussians(*leaves[:5]),
        (leaves[5], leaves[6], *size),
        backend=backend,
        background=leaves[7],
        antialias=antialias,
        primitive=primitive,
    )
    generator = torch.Generator().manual_seed(0)
    loss = torch.zeros((), dtype=torch.float64, device=device)
    for field in FIELDS:
        image = getattr(rendering, field).double()
        weights = torch.randn(image.shape, generator=generator, dtype=torch.float64)
        weights = weights * (clear if image.ndim == 3 else clear[..., None])
        if field in fields:
            loss = loss + (image * weights.to(device)).sum()
    wanted = {name: leaf for name, leaf in zip(PARAMETERS, leaves) if leaf.requires_grad}
    grads = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True, materialize_grads=True)
    return rendering, {name: grad.cpu().double() for name, grad in zip(wanted, grads)}


def assert_like_the_oracle(
    scene: Scene,
    size: tuple[int, int],
    fields: tuple[str, ...],
    backend: Backend,
    device: str,
    antialias: bool = False,
    primitive: Primitive = "3d",
    cancelling: bool = False,
):
    """Values within 3e-5, gradients within 2e-4 of their length; of disks within five times as much, which is what
    rounding makes of those that are nearly edge-on.

    Where a result may be a small difference of large numbers (`cancelling`: a gradient of parts that cancel, the
    direction of normals that do), no float32 arithmetic gets that close, and ten times what the oracle itself loses in
    float32 is added.
    """
    slack = 5 if primitive == "2d" else 1
    clear = clear_pixels(scene, *size, antialias=antialias, primitive=primitive)
    expected, expected_grads = draw(scene, size, "torch", fields, clear, "cpu", torch.float64, antialias, primitive)
    rounded, rounded_grads = expected, expected_grads
    if cancelling:
        rounded, rounded_grads = draw(scene, size, "torch", fields, clear, "cpu", torch.float32, antialias, primitive)
    found, found_grads = draw(scene, size, backend, fields, clear, device, torch.float32, antialias, primitive)
    for field in (*FIELDS, "median_depth"):
        a, b, c = (getattr(drawn, field).detach().cpu().double()[clear] for drawn in (found, expected, rounded))
        assert a.shape == b.shape
        lost = float((c - b).abs().max()) if len(b) else 0.0
        assert torch.allclose(a, b, rtol=0, atol=slack * 3e-5 + 10 * lost), field
    if backend == "cuda" and primitive == "3d":
        del expected_grads["intrinsics"]  # of which gsplat has no gradient
    assert found_grads.keys() == expected_grads.keys()
    for name, expected_grad in expected_grads.items():
        assert found_grads[name].shape == expected_grad.shape
        lost = float((rounded_grads[name] - expected_grad).norm())
        error = (found_grads[name] - expected_grad).norm()
        assert error < slack * (2e-4 * expected_grad.norm() + 1e-4) + 10 * lost, name


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow], phases=list(Phase)[:4])
@given(
    seed=st.integers(0, 2**31),
    count=st.integers(1, 150),
    degree=st.integers(0, 3),
    width=st.integers(1, 41),
    height=st.integers(1, 37),
    sharpness=st.floats(2.0, 4.5),
    fields=st.sets(st.sampled_from(FIELDS), min_size=1).map(lambda names: tuple(sorted(names))),
    antialias=st.booleans(),
)
def test_cpu_values_and_gradients_match_the_oracle(seed, count, degree, width, height, sharpness, fields, antialias):
    scene = random_scene(seed, count, degree, (width, height), 2, sharpness)
    assert_like_the_oracle(scene, (width, height), fields, "cpu", "cpu", antialias, cancelling=True)


@pytest.fixture(scope="module")
def half_fitted():
    """A fit of 2,500 Gaussians to pictures of a ball, stopped on the way: needles, opaque and faded Gaussians, and
    many layers on a surface, as random scenes do not have them."""
    options = FitOptions(
        iterations=80, initial_gaussians=2500, max_gaussians=2500, pixels_per_gaussian=0.5, max_size=48, grid=48,
        renew_every=20, sh_degree=1,
    )  # fmt: skip
    return fit_gaussians(ball_capture(8, 48, geometry=True), options)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("view", range(3))
def test_cpu_matches_the_oracle_on_a_half_converged_fit(half_fitted, view, antialias):
    assert len(half_fitted) >= 2000
    size = ((49, 35), (33, 47), (21, 23))[view]
    camera = orbit_camera(0.3 + 2 * view, 0.4 - 0.3 * view, 0.7, *size)
    scene = (half_fitted, camera.w2c[None], camera.intrinsics[None])
    assert clear_pixels(scene, *size, antialias=antialias).float().mean() > 0.8
    assert_like_the_oracle(scene, size, FIELDS, "cpu", "cpu", antialias)


@pytest.mark.parametrize("log_scale", [-30.0, -12.0, 1.0, 8.0])
def test_cpu_matches_the_oracle_where_scales_are_degenerate(log_scale):
    gaussians, viewmats, intrinsics = random_scene(7, 40, 0, (30, 22), 1, 3.0)
    log_scales = gaussians.log_scales.clone()
    log_scales[::2, 0] = log_scale
    log_scales[::4] = log_scale
    degenerate = dataclasses.replace(gaussians, log_scales=log_scales)
    assert_like_the_oracle((degenerate, viewmats, intrinsics), (30, 22), FIELDS, "cpu", "cpu")


def test_without_geometry_the_picture_is_the_same():
    scene = random_scene(5, 200, 2, (40, 30), 2, 3.5)
    views, background = (scene[1], scene[2], 40, 30), torch.tensor([0.2, 0.5, 0.9])
    for backend in ("cpu", "torch"):
        full = rasterize(scene[0], views, backend=backend, background=background)
        colors = rasterize(scene[0], views, backend=backend, background=background, geometry=False)
        assert type(colors) is Picture
        assert torch.allclose(colors.rgb, full.rgb, atol=1e-6)
        assert torch.allclose(colors.alpha, full.alpha, atol=1e-6)


def test_contributions_are_each_gaussians_share_of_the_alpha():
    scene = random_scene(6, 150, 1, (40, 30), 2, 3.0)
    views = (scene[1], scene[2], 40, 30)
    found, expected = (rasterize(scene[0], views, backend=b, contribution=True) for b in ("cpu", "torch"))
    assert found.contribution.shape == (2, 150)
    assert torch.allclose(found.contribution, expected.contribution, atol=2e-3)
    assert torch.allclose(found.contribution.sum(1), found.alpha.sum((1, 2)), rtol=1e-4)
    assert rasterize(scene[0], views).contribution is None


def test_antialiasing_keeps_the_light_of_what_is_smaller_than_a_pixel():
    """Drawn at a quarter of the size, a tiny Gaussian should weigh a sixteenth; the plain blur makes it weigh more."""
    tiny = from_points(torch.zeros(1, 3), torch.ones(1, 3), 0.004, opacity=0.9)
    large, small = (orbit_camera(0.0, 0.0, 0.6, size, size) for size in (256, 64))
    sums = {
        antialias: [
            float(rasterize(tiny, [camera], antialias=antialias, geometry=False).alpha.sum())
            for camera in (large, small)
        ]
        for antialias in (False, True)
    }
    assert sums[True][1] / sums[True][0] == pytest.approx(1 / 16, rel=0.2)
    assert sums[False][1] / sums[False][0] > 3 / 16


def test_cpu_matches_the_oracle_in_a_crowded_scene_of_several_chunks():
    assert_like_the_oracle(random_scene(5, 2500, 1, (24, 20), 1, 4.5), (24, 20), FIELDS, "cpu", "cpu")


def test_cuda_values_and_gradients_match_the_oracle():
    if not torch.cuda.is_available():
        pytest.skip("the cuda backend needs an NVIDIA GPU, which this machine does not have")
    if importlib.util.find_spec("gsplat") is None:
        pytest.skip("the cuda backend needs gsplat, which is not installed")
    for seed in range(8):
        assert_like_the_oracle(random_scene(seed, 120, seed % 4, (40, 24), 2, 3.5), (40, 24), FIELDS, "cuda", "cuda")


def test_most_pixels_of_the_random_scenes_are_clear():
    scene = random_scene(0, 150, 0, (40, 32), 2, 3.0)
    assert clear_pixels(scene, 40, 32).float().mean() > 0.9


def test_the_picture_does_not_depend_on_the_number_of_threads(monkeypatch):
    import numba

    scene = random_scene(3, 5000, 0, (50, 40), 1, 4.0)
    clear = torch.ones(1, 40, 50, dtype=torch.bool)
    results = []
    for threads in (1, 2, 3):
        monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", threads)
        monkeypatch.setattr(jit, "_pool", None)  # it has as many threads as there were when it was made
        results.append(draw(scene, (50, 40), "cpu", FIELDS, clear))
    one, one_grads = results[0]
    for several, several_grads in results[1:]:
        assert all(torch.equal(getattr(several, field), getattr(one, field)) for field in FIELDS)
        assert all(torch.equal(several_grads[name], one_grads[name]) for name in one_grads)


def test_a_forked_child_can_draw():
    """Data loaders fork; the pool of threads does not survive that and must be made anew."""
    import multiprocessing

    scene = random_scene(1, 3000, 0, (32, 32), 1, 4.0)
    expected = rasterize(scene[0], (scene[1], scene[2], 32, 32), backend="cpu").alpha.sum().item()
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=draw_in_child, args=(scene, answers))
    child.start()
    assert answers.get(timeout=60) == expected
    child.join(60)
    assert child.exitcode == 0


def draw_in_child(scene: Scene, answers) -> None:
    answers.put(rasterize(scene[0], (scene[1], scene[2], 32, 32), backend="cpu").alpha.sum().item())


def test_several_threads_may_draw_at_once():
    from concurrent.futures import ThreadPoolExecutor

    scene = random_scene(1, 3000, 0, (48, 48), 1, 4.0)

    def job(_: int) -> torch.Tensor:
        means = scene[0].means.clone().requires_grad_()
        gaussians = Gaussians(means, *scene[0].tensors()[1:])
        rasterize(gaussians, (scene[1], scene[2], 48, 48), backend="cpu").rgb.square().sum().backward()
        assert means.grad is not None
        return means.grad

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(job, range(12)))
    assert all(torch.equal(result, results[0]) for result in results)


def test_one_backward_pass_may_follow_another():
    scene = random_scene(2, 50, 0, (20, 20), 1, 3.0)
    means = scene[0].means.requires_grad_()
    alpha = rasterize(scene[0], (scene[1], scene[2], 20, 20), backend="cpu").alpha
    (first,) = torch.autograd.grad(alpha.sum(), means, retain_graph=True)
    (second,) = torch.autograd.grad(alpha.sum(), means)
    assert torch.equal(first, second)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1e30])
@pytest.mark.parametrize("field", range(5))
@pytest.mark.parametrize("primitive", ["3d", "2d"])
def test_cpu_leaves_out_gaussians_that_are_not_finite(value, field, primitive):
    gaussians, viewmats, intrinsics = random_scene(4, 20, 1, (24, 24), 1, 3.0)
    tensors = [tensor.clone() for tensor in gaussians.tensors()]
    tensors[field][7] = value
    leaves = [tensor.requires_grad_() for tensor in tensors]
    views = (viewmats, intrinsics, 24, 24)
    drawn = rasterize(Gaussians(*leaves), views, backend="cpu", primitive=primitive)
    drawn.alpha.sum().backward()
    assert torch.isfinite(drawn.alpha).all()
    assert all(leaf.grad is not None and torch.isfinite(leaf.grad).all() for leaf in leaves)
    if math.isnan(value):
        without = rasterize(gaussians.select(torch.arange(20) != 7), views, backend="cpu", primitive=primitive)
        assert torch.equal(drawn.rgb, without.rgb)
        assert torch.equal(drawn.alpha, without.alpha)


def test_an_empty_scene_is_all_background():
    empty = random_scene(0, 3, 1, (8, 8), 1, 3.0)[0].select(torch.zeros(0, dtype=torch.long))
    views = random_scene(0, 3, 1, (8, 8), 2, 3.0)[1:]
    for backend in ("cpu", "torch"):
        drawn = rasterize(empty, (*views, 8, 8), backend=backend, background=torch.ones(3))
        assert torch.equal(drawn.rgb, torch.ones(2, 8, 8, 3))
        assert not drawn.alpha.any()
        assert not drawn.depth.any()


def test_a_backend_that_is_not_there_says_so():
    gaussians, viewmats, intrinsics = random_scene(0, 3, 0, (8, 8), 1, 3.0)
    with pytest.raises(RasterizeError, match="unknown backend 'metal'"):
        rasterize(gaussians, (viewmats, intrinsics, 8, 8), backend="metal")  # type: ignore[call-overload]
    with pytest.raises(RasterizeError, match="needs its tensors on cuda"):
        rasterize(gaussians, (viewmats, intrinsics, 8, 8), backend="cuda")


def test_gsplat_that_is_not_there_is_named_and_focal_gradients_are_sent_elsewhere():
    from recon.splat import backend_cuda

    gaussians, viewmats, intrinsics = random_scene(0, 3, 0, (8, 8), 1, 3.0)
    black, options = torch.zeros(3), DrawOptions(8, 8)
    with pytest.raises(backend_cuda.CudaBackendError, match="no gradient of the intrinsics"):
        backend_cuda.accumulate(*gaussians.tensors(), viewmats, intrinsics.clone().requires_grad_(), black, options)
    if importlib.util.find_spec("gsplat") is None:
        with pytest.raises(backend_cuda.CudaBackendError, match="pip install gsplat"):
            backend_cuda.accumulate(*gaussians.tensors(), viewmats, intrinsics, black, options)


def test_the_cuda_median_is_that_of_the_oracle_given_gsplats_lists():
    """The one part of the cuda backend that is ours alone, fed with lists in gsplat's layout made by the oracle."""
    from types import SimpleNamespace

    from recon.splat import backend_cuda
    from recon.splat import backend_torch as oracle

    width, height = 20, 16
    scene = random_scene(3, 60, 0, (width, height), 2, 3.0)
    clear = clear_pixels(scene, width, height)
    views = [
        oracle.project(
            *scene[0].to(torch.float64).tensors(), view.double(), matrix.double(), DrawOptions(width, height)
        )
        for view, matrix in zip(scene[1], scene[2])
    ]
    count = min(len(view.depths) for view in views)
    kept = [keep(view, count) for view in views]
    alphas = [oracle.alphas_at_pixels(view, width, height) for view in kept]
    expected = torch.stack(
        [oracle.composite(alpha, view.depths, view.colors, view.normals)[4] for alpha, view in zip(alphas, kept)]
    )
    lists = [alpha.reshape(-1, count) >= 1 / 255 for alpha in alphas]
    camera, pixel, gaussian = torch.stack(lists).nonzero().unbind(-1)
    stub = SimpleNamespace(rasterize_to_indices_in_range=lambda *_: (gaussian, pixel, camera))
    meta = {
        "means2d": torch.stack([view.means[:count] for view in views]),
        "conics": torch.stack([view.conics[:count] for view in views]),
        "opacities": torch.stack([view.opacities[:count] for view in views]),
        "depths": torch.stack([view.depths[:count] for view in views]),
        "isect_offsets": None,
        "flatten_ids": None,
        "tile_size": 16,
    }
    found = backend_cuda._median_depths(stub, meta, width, height)
    assert expected.any()
    assert torch.allclose(found[clear], expected[clear])


def keep(view, count: int):
    """The nearest `count` Gaussians of a projection."""
    return type(view)(*(getattr(view, name)[:count] for name in view.__dataclass_fields__))
