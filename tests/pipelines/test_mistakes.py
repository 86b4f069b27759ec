"""Files and folders that are not what they should be: one clear line, exit code 2, nothing half-written."""

from __future__ import annotations

import io
import json
import re
import shutil

import pytest
from PIL import Image, ImageDraw

from gen.weights import WeightsError, load_pipeline
from pipelines import img2mesh, img2orbit
from tests.pipelines.small import save_generator


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    return save_generator(tmp_path_factory.mktemp("generator") / "tiny")


def picture(alpha: int = 255, mode: str = "RGBA") -> Image.Image:
    """A blue disc on nothing."""
    drawn = Image.new("RGBA", (64, 64))
    ImageDraw.Draw(drawn).ellipse((16, 16, 48, 48), fill=(30, 60, 200, alpha))
    return drawn.convert(mode)


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def photo(tmp_path):
    (tmp_path / "disc.png").write_bytes(png(picture()))
    return tmp_path / "disc.png"


def refused(arguments, capsys, main=img2mesh.main) -> str:
    """What the command says, once it has said it in one line and ended with 2."""
    assert main([str(argument) for argument in arguments]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(lines) == 1
    return lines[0]


BROKEN = {
    "cut_short.png": (lambda: png(picture())[:120], "cut_short.png"),
    "text.png": (lambda: b"Dear Sir or Madam,\nthis is no picture.\n", "text.png"),
    "nothing.png": (lambda: b"", "nothing.png"),
    "transparent.png": (lambda: png(picture(alpha=0)), "empty"),
    "plain.png": (lambda: png(Image.new("RGB", (64, 64), (90, 90, 90))), "no subject"),
    "dot.png": (lambda: png(Image.new("RGB", (1, 1))), "dot.png"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_photo_that_is_none_is_refused_by_name(name, generator, tmp_path, capsys):
    content, said = BROKEN[name]
    (tmp_path / name).write_bytes(content())
    run = tmp_path / "run"
    message = refused([tmp_path / name, "-o", run, "--model", generator, "--device", "cpu"], capsys)
    assert name in message
    assert said in message
    assert not run.exists(), "nothing stays"


def test_after_a_broken_photo_the_same_folder_takes_a_good_one(generator, photo, tmp_path, capsys):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    command = ["-o", tmp_path / "run", "--model", generator, "--preset", "fast", "--frames", "2", "--device", "cpu"]
    refused([tmp_path / "broken.png", *command], capsys, img2orbit.main)
    again = [str(argument) for argument in (photo, *command)]
    assert img2orbit.main(again) == 0
    assert (tmp_path / "run" / "orbit.mp4").exists()


def test_an_output_that_is_a_file_is_refused_and_stays(generator, photo, tmp_path, capsys):
    (tmp_path / "disc.glb").write_text("precious")
    message = refused([photo, "-o", tmp_path / "disc.glb", "--model", generator, "--device", "cpu"], capsys)
    assert "must be a folder, found a file" in message
    assert (tmp_path / "disc.glb").read_text() == "precious"


def test_an_output_folder_of_strangers_is_refused_and_stays(generator, photo, tmp_path, capsys):
    (tmp_path / "album").mkdir()
    (tmp_path / "album" / "holiday.jpg").write_text("precious")
    command = [photo, "-o", tmp_path / "album", "--model", generator, "--device", "cpu"]
    for flags in ([], ["--resume"], ["--overwrite"]):
        assert "another or an empty -o" in refused([*command, *flags], capsys)
    assert [path.name for path in (tmp_path / "album").iterdir()] == ["holiday.jpg"]


@pytest.mark.parametrize(
    "content", ["", "no json", "[]", "{}", '[{"azimuth": "left"}]', '[{"azimuth": 0, "fov": 200}]']
)
def test_cameras_that_are_none_are_refused_by_name(content, generator, photo, tmp_path, capsys):
    (tmp_path / "path.json").write_text(content)
    command = [photo, "-o", tmp_path / "run", "--model", generator, "--device", "cpu"]
    assert "path.json" in refused([*command, "--cameras", tmp_path / "path.json"], capsys)


@pytest.mark.parametrize("what", ["index", "config", "weights cut short", "weights absent", "weights empty"])
def test_a_generator_that_is_broken_is_refused_by_name(what, generator, photo, tmp_path, capsys):
    folder = shutil.copytree(generator, tmp_path / "broken-generator")
    (weights,) = folder.rglob("*.safetensors")
    if what == "index":
        (folder / "model_index.json").write_text("{")
    elif what == "config":
        (weights.parent / "config.json").write_text(json.dumps({"_class_name": "OrbitModel", "width": "broad"}))
    elif what == "weights cut short":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif what == "weights absent":
        weights.unlink()
    else:
        weights.write_bytes(b"")
    message = refused([photo, "-o", tmp_path / "run", "--model", folder, "--device", "cpu"], capsys)
    assert "broken-generator" in message


def test_a_training_run_named_as_the_generator_is_answered_with_its_pipeline_s_folder(
    generator, photo, tmp_path, capsys
):
    shutil.copytree(generator, tmp_path / "training" / "pipeline")
    command = [photo, "-o", tmp_path / "run", "--model", tmp_path / "training"]
    assert f"--model {tmp_path / 'training' / 'pipeline'}" in refused(command, capsys)
    with pytest.raises(WeightsError, match=f"its pipeline is {re.escape(str(tmp_path / 'training' / 'pipeline'))}"):
        load_pipeline(tmp_path / "training")


@pytest.mark.parametrize("content", [None, {}, {"transforms.json": "{"}, {"transforms.json": '{"frames": []}'}])
def test_a_capture_that_is_none_is_refused_by_name(content, tmp_path, capsys):
    if content is not None:
        (tmp_path / "pictures").mkdir()
        for name, text in content.items():
            (tmp_path / "pictures" / name).write_text(text)
    assert "pictures" in refused(["--capture", tmp_path / "pictures", "-o", tmp_path / "run"], capsys)


@pytest.mark.parametrize("damage", ["cut short", "escaping", "without pictures"])
def test_a_colmap_model_that_cannot_be_used_is_refused_by_name(damage, photo, tmp_path, capsys):
    model = tmp_path / "turntable" / "sparse" / "0"
    model.mkdir(parents=True)
    name = "../../../disc.png" if damage == "escaping" else "disc.png"
    (model / "cameras.txt").write_text("1 PINHOLE 64 64 100 100 32" + ("\n" if damage == "cut short" else " 32\n"))
    (model / "images.txt").write_text(f"1 1 0 0 0 0 0 2 1 {name}\n\n")
    message = refused(["--capture", tmp_path / "turntable", "-o", tmp_path / "run"], capsys)
    said = {
        "cut short": "7 columns",
        "escaping": "outside of the capture",
        "without pictures": "none of its 1 pictures",
    }
    assert said[damage] in message
    assert "turntable" in message
    assert not (tmp_path / "run" / "capture").exists()


def test_pictures_that_a_colmap_model_names_in_vain_are_reported(photo, tmp_path):
    project = tmp_path / "turntable"
    (project / "sparse" / "0").mkdir(parents=True)
    (project / "images").mkdir()
    for file in ("a.png", "b.png"):
        shutil.copy(photo, project / "images" / file)
    (project / "sparse" / "0" / "cameras.txt").write_text("1 PINHOLE 64 64 100 100 32 32\n")
    poses = "1 1 0 0 0 0 0 2 1 a.png\n\n2 0 0 1 0 0 0 2 1 b.png\n\n3 1 0 0 0 0 0 2 1 gone.png\n\n"
    (project / "sparse" / "0" / "images.txt").write_text(poses)
    command = ["--capture", project, "-o", tmp_path / "run", "--stop-after", "orbit"]
    assert img2mesh.main([str(argument) for argument in command]) == 0
    (warning,) = json.loads((tmp_path / "run" / "report.json").read_text())["warnings"]
    assert "1 of 3 pictures are not in" in warning
    assert "gone.png" in warning


def test_resuming_with_other_options_names_the_change(generator, photo, tmp_path, capsys):
    command = [photo, "-o", tmp_path / "run", "--model", generator, "--preset", "fast", "--device", "cpu"]
    assert img2orbit.main([str(argument) for argument in (*command, "--frames", "2")]) == 0
    capsys.readouterr()
    other = refused([*command, "--frames", "3", "--resume"], capsys, img2orbit.main)
    assert "options.frames: the run has 2, asked for 3" in other
    Image.new("RGBA", (64, 64)).save(photo)
    other = refused([*command, "--frames", "2", "--resume"], capsys, img2orbit.main)
    assert "sha256" in other


@pytest.fixture
def capture(photo, tmp_path):
    """A folder with a listing of two pictures."""
    folder = tmp_path / "turntable"
    folder.mkdir()
    frames = []
    for name, side in (("a.png", 1.5), ("b.png", -1.5)):
        shutil.copy(photo, folder / name)
        pose = [[side / 1.5, 0, 0, 0], [0, 1, 0, 0], [0, 0, side / 1.5, side], [0, 0, 0, 1]]
        frames.append({"file_path": name, "transform_matrix": pose})
    meta = {"fl_x": 100, "fl_y": 100, "cx": 32, "cy": 32, "w": 64, "h": 64, "turnabout_world": "y_up", "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(meta))
    return folder


def test_a_listing_named_instead_of_its_folder_brings_the_pictures_into_the_run_s_identity(capture, tmp_path, capsys):
    command = ["--capture", capture / "transforms.json", "-o", tmp_path / "run", "--stop-after", "orbit"]
    assert img2mesh.main([str(argument) for argument in command]) == 0
    inputs = json.loads((tmp_path / "run" / "report.json").read_text())["inputs"]
    assert inputs["capture"]["name"] == "turntable"
    capsys.readouterr()
    (capture / "b.png").write_bytes(png(picture(alpha=200)))
    assert "inputs.capture.sha256" in refused([*command, "--resume"], capsys)


def test_a_file_name_that_is_not_utf8_is_refused_with_a_remedy(generator, photo, tmp_path, capsys):
    name = "caf\udce9.png"
    try:
        photo.rename(tmp_path / name)
    except (OSError, UnicodeEncodeError):
        pytest.skip("this file system has no such names")
    message = refused([tmp_path / name, "-o", tmp_path / "run", "--model", generator, "--device", "cpu"], capsys)
    assert "'caf\\udce9.png' is not UTF-8; rename it" in message
    assert not (tmp_path / "run").exists()


def test_files_beside_a_capture_may_have_any_name(capture, tmp_path):
    try:
        (capture / "caf\udce9.txt").write_text("notes")
    except (OSError, UnicodeEncodeError):
        pytest.skip("this file system has no such names")
    command = ["--capture", capture, "-o", tmp_path / "run", "--stop-after", "orbit"]
    assert img2mesh.main([str(argument) for argument in command]) == 0
