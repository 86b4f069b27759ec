import dataclasses
import json

import pytest
import torch
from safetensors.torch import load, save

from recon.field.field import Field
from recon.field.field_file import FieldFileError, read_field, write_field
from tests.recon.field.spheres import ball_field


def same(a: Field, b: Field) -> bool:
    tensors = ("points", "distances", "colors", "inside")
    alike = all(torch.equal(getattr(a, name), getattr(b, name)) for name in tensors)
    return alike and (a.resolution, a.sharpness) == (b.resolution, b.sharpness)


@pytest.mark.parametrize(("resolution", "degree"), [(35, 0), (40, 1)])
def test_a_field_comes_back_exactly_and_its_file_is_the_same_again(tmp_path, resolution, degree):
    field = dataclasses.replace(ball_field(resolution, degree=degree), sharpness=1 / 3)
    write_field(field, tmp_path / "a.safetensors")
    found = read_field(tmp_path / "a.safetensors")
    assert same(field, found)
    write_field(found, tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.safetensors", "b.safetensors"]


def damaged(path, change, kind="turnabout-field-1"):
    tensors = load(path.read_bytes())
    change(tensors)
    path.write_bytes(save(tensors, {"format": kind}))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda t: t["resolution"].fill_(999_999_999), "999999999 points"),
        (lambda t: t["resolution"].fill_(-35), "-35 points"),
        (lambda t: t["resolution"].fill_(36), "shapes"),
        (lambda t: t.pop("colors"), "colors"),
        (lambda t: t.update(distances=t["distances"][:-1]), "shapes"),
        (lambda t: t.update(colors=t["colors"].repeat(1, 2, 1)), "shapes"),
        (lambda t: t.update(points=t["points"].long()), "int64"),
        (lambda t: t.update(points=t["points"].flip(0)), "repeat"),
        (lambda t: t["points"].add_(40_000), "outside"),
        (lambda t: t["points"].sub_(40_000), "outside"),
        (lambda t: t["distances"].mul_(torch.nan), "finite"),
        (lambda t: t["sharpness"].zero_(), "positive"),
    ],
)
def test_a_damaged_file_is_refused_with_its_name_and_what_to_do(tmp_path, change, found):
    path = tmp_path / "field.safetensors"
    write_field(ball_field(35), path)
    damaged(path, change)
    with pytest.raises(FieldFileError, match=found) as raised:
        read_field(path)
    assert "field.safetensors" in str(raised.value)
    assert "again" in str(raised.value)


def test_cut_off_and_foreign_files_are_refused(tmp_path):
    path = tmp_path / "field.safetensors"
    write_field(ball_field(35), path)
    whole = path.read_bytes()
    damaged(path, lambda _: None, "another")
    with pytest.raises(FieldFileError, match="another file"):
        read_field(path)
    header = json.dumps({"points": {"dtype": "I32", "shape": [2**60], "data_offsets": [0, 2**62]}}).encode()
    for content in (
        whole[: len(whole) // 2],
        b"",
        b"not a file of tensors",
        len(header).to_bytes(8, "little") + header,
    ):
        path.write_bytes(content)
        with pytest.raises(FieldFileError):
            read_field(path)


def test_a_field_of_parts_that_do_not_fit_is_refused():
    field = ball_field(35)
    with pytest.raises(ValueError, match="distances"):
        dataclasses.replace(field, distances=field.distances[1:])
    with pytest.raises(ValueError, match="colours"):
        dataclasses.replace(field, colors=field.colors[:, :, :2])
    with pytest.raises(ValueError, match="signs"):
        dataclasses.replace(field, inside=field.inside[1:])
    with pytest.raises(ValueError, match="harmonics"):
        dataclasses.replace(field, colors=field.colors.repeat(1, 2, 1))
