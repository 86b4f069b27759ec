from __future__ import annotations

import subprocess
import sys

import trimesh

from gen.data.dataset import OrbitDataset
from pipelines.render_dataset import main
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


def test_mistakes_end_with_a_message_and_exit_code_two(tmp_path, capsys):
    assert main([str(tmp_path / "nothing.zip"), "-o", str(tmp_path / "out"), "--exclude", "none"]) == 2
    assert "nothing.zip" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_help_needs_no_heavy_imports():
    code = "import sys; import pipelines.render_dataset; print('torch' in sys.modules or 'numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
