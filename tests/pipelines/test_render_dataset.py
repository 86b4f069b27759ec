from __future__ import annotations

import subprocess
import sys

import trimesh

from gen.data.dataset import OrbitDataset
from pipelines.render_dataset import main
from tests.gen.moving import write_solids
from tests.shared_data import ROOT


def test_a_folder_of_models_becomes_a_dataset(tmp_path, capsys):
    models = tmp_path / "models"
    models.mkdir()
    trimesh.creation.box((1, 2, 3)).export(models / "box.obj")
    out = tmp_path / "out"
    code = main([str(models), "-o", str(out), "--size", "16", "--views", "3", "--exclude", "none", "--workers", "1"])
    assert code == 0
    assert "1 drawn objects" in capsys.readouterr().out
    assert OrbitDataset(out).ids == ("box.obj",)


def test_the_terminal_says_how_many_listed_objects_were_left_out(tmp_path, capsys):
    for name in ("box", "secret"):
        trimesh.creation.box((1, 2, 3)).export(tmp_path / f"{name}.obj")
    (tmp_path / "never_train.txt").write_text("secret\nelsewhere\n")
    out = tmp_path / "out"
    assert main([str(tmp_path), "-o", str(out), "--size", "16", "--views", "3", "--workers", "1"]) == 0
    assert "never_train.txt: 2 ids, 1 of them found here and left out" in capsys.readouterr().out
    assert OrbitDataset(out).ids == ("box.obj",)


def test_animated_files_become_a_dataset_of_times(tmp_path, capsys):
    solids, out = write_solids(tmp_path / "solids"), tmp_path / "out"
    command = [str(solids), "-o", str(out), "--size", "16", "--animated", "--workers", "1"]
    assert main([*command, "--views", "7", "--times", "2"]) == 2
    assert "multiple of times" in capsys.readouterr().err
    assert main([*command, "--times", "1"]) == 2
    assert "--times must be at least 2" in capsys.readouterr().err
    assert main([*command, "--views", "12", "--times", "3"]) == 0
    printed = capsys.readouterr().out
    assert "never_train.txt or validation.txt: 1 ids, 1 of them found here and left out" in printed
    dataset = OrbitDataset(out)
    assert dataset.ids == ("long.glb", "tall.glb")
    assert (dataset.views, dataset.times) == (12, 3)


def test_a_damaged_animated_file_ends_with_its_name_and_exit_code_two(tmp_path, capsys):
    (tmp_path / "broken.glb").write_bytes(b"glTF")
    out = tmp_path / "out"
    assert main([str(tmp_path), "-o", str(out), "--animated", "--exclude", "none", "--workers", "1"]) == 2
    assert "broken.glb" in capsys.readouterr().err


def test_mistakes_end_with_a_message_and_exit_code_two(tmp_path, capsys):
    assert main([str(tmp_path / "nothing.zip"), "-o", str(tmp_path / "out"), "--exclude", "none"]) == 2
    assert "nothing.zip" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_help_needs_no_heavy_imports():
    code = "import sys; import pipelines.render_dataset; print('torch' in sys.modules or 'numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
