from __future__ import annotations

import json
import subprocess
import sys

import pytest

from gen.data.downloads import MAX_FILE
from gen.data.sources import FolderSource
from pipelines.fetch_objects import DOWNLOADS, FetchObjectsOptions, fetch, main, report
from recon.asset.gltf import read_glb
from tests.gen.origin_lists import PACKAGE, RAW, box_files, debian_package, entry, packed_entry, write_list
from tests.gen.serving import internet
from tests.shared_data import ROOT, shared_path


@pytest.fixture
def net():
    with internet() as served:
        yield served


def serve_box(net, folder: str) -> None:
    net.files |= {f"{RAW}/{path}": data for path, data in box_files(folder).items()}


def test_objects_become_a_folder_that_is_read_with_what_is_known_of_them(net, tmp_path):
    serve_box(net, "toys/box")
    serve_box(net, "more toys/box")
    listing = write_list(tmp_path / "list.jsonl", entry("first"), entry("second", "more toys/box/box.obj"))
    out = tmp_path / "out"
    assert fetch(FetchObjectsOptions(out, listing), net.opener).written == ["first", "second"]
    source = FolderSource(out)
    assert [o.id for o in source.objects] == ["first.glb", "second.glb"]
    assert {(o.tier, o.group, o.kind, o.licence, o.author) for o in source.objects} == {
        ("A", "boxes", "scan", "CC0-1.0", "Somebody")
    }
    assert source.mesh("second.glb").materials[0].texture[0, 0].tolist() == [200, 30, 10]
    extras = read_glb(out / "first.glb").extras
    assert (extras["author"], extras["licence"]) == ("Somebody", "CC0-1.0")
    assert "github.com/somebody/models" in extras["source"]


def test_what_fails_is_named_and_the_others_stay(net, tmp_path, capsys):
    serve_box(net, "toys/box")
    for folder in ("escapes", "cut", "large", "half"):
        serve_box(net, folder)
    net.files[f"{RAW}/escapes/box.mtl"] = b"newmtl paint\nmap_Kd ../../x\n"
    net.promised[f"{RAW}/cut/paint.png"] = 10_000
    net.promised[f"{RAW}/large/box.mtl"] = MAX_FILE + 1
    del net.files[f"{RAW}/half/paint.png"]
    names = ("escapes", "gone", "cut", "large", "half")
    listing = write_list(tmp_path / "list.jsonl", *(entry(n, f"{n}/box.obj") for n in names), entry("good"))
    outcome = fetch(FetchObjectsOptions(tmp_path / "out", listing), net.opener, pause=0)
    assert outcome.written == ["good"]
    assert [o.id for o in FolderSource(tmp_path / "out").objects] == ["good.glb"]
    report(outcome, tmp_path / "out")
    out, err = capsys.readouterr()
    assert "1 objects written, 0 kept, 5 failed" in out
    assert "failed: escapes: escapes/box.mtl: names the file '../../x'" in err
    assert "failed: gone: https://raw.githubusercontent.com" in err
    assert "gone/box.obj: the server answers 404" in err
    assert "cut/paint.png: cut off after" in err
    assert "large/box.mtl: more than" in err
    assert "half/paint.png: the server answers 404" in err
    assert not [path for path in (tmp_path / "out").rglob("*") if path.name not in ("good.glb", "manifest.jsonl")]


def test_an_interrupted_run_goes_on_where_it_stopped(net, tmp_path):
    serve_box(net, "toys/box")
    serve_box(net, "later")
    listing = write_list(tmp_path / "list.jsonl", entry("first"), entry("second", "later/box.obj"))
    options = FetchObjectsOptions(tmp_path / "out", listing)
    answer = net.opener.open

    def stop_at_second(url, **other):
        if "later/paint.png" in url:
            raise KeyboardInterrupt
        return answer(url, **other)

    net.opener.open = stop_at_second
    with pytest.raises(KeyboardInterrupt):
        fetch(options, net.opener)
    assert sorted(path.name for path in options.output.iterdir()) == ["first.glb", "manifest.jsonl"]
    net.opener.open = answer
    net.asked.clear()
    outcome = fetch(options, net.opener)
    assert (outcome.kept, outcome.written) == (["first"], ["second"])
    assert all("later/" in url for url in net.asked)
    net.asked.clear()
    assert fetch(options, net.opener).kept == ["first", "second"]
    assert not net.asked


def test_a_package_is_downloaded_once_and_removed_when_all_is_there(net, tmp_path):
    package = debian_package(box_files("chairs") | box_files("tables"))
    lines = [packed_entry(name, package, path=f"{name}/box.obj") for name in ("chairs", "tables")]
    listing = write_list(tmp_path / "list.jsonl", *lines, entry("other"))
    options = FetchObjectsOptions(tmp_path / "out", listing)
    net.files[PACKAGE] = package
    outcome = fetch(options, net.opener)
    assert (outcome.written, list(outcome.failed)) == (["chairs", "tables"], ["other"])
    assert (options.output / DOWNLOADS).is_dir(), "kept for the next try"
    serve_box(net, "toys/box")
    assert not fetch(options, net.opener).failed
    assert net.asked.count(PACKAGE) == 1
    assert sorted(path.name for path in options.output.iterdir()) == [
        "chairs.glb",
        "manifest.jsonl",
        "other.glb",
        "tables.glb",
    ]


def test_a_package_that_cannot_be_had_is_asked_for_once(net, tmp_path):
    listing = write_list(tmp_path / "list.jsonl", *(packed_entry(name, b"") for name in ("one", "two")))
    outcome = fetch(FetchObjectsOptions(tmp_path / "out", listing), net.opener)
    assert list(outcome.failed) == ["one", "two"]
    assert net.asked == [PACKAGE]


def test_a_folder_is_filled_from_several_lists(net, tmp_path):
    serve_box(net, "toys/box")
    for name in ("first", "second"):
        listing = write_list(tmp_path / f"{name}.jsonl", entry(name, author=name))
        fetch(FetchObjectsOptions(tmp_path / "out", listing), net.opener)
    assert [o.author for o in FolderSource(tmp_path / "out").objects] == ["first", "second"]


def test_objects_come_out_of_a_pack(tmp_path, capsys):
    pack = shared_path("objects/objects_train.zip").parent
    names = ("kaykit_MedievalHexagonPack_crate_A_big", "sh3d_Scopia_bar_table")
    lines = [json.loads(line) for line in (ROOT / "assets/eval/validation.jsonl").read_text().splitlines()]
    listing = write_list(tmp_path / "list.jsonl", *(line for line in lines if line["id"] in names), entry("unknown"))
    out = tmp_path / "out"
    assert main(["-o", str(out), "--objects", str(listing), "--pack", str(pack)]) == 1
    text = capsys.readouterr()
    assert "2 objects written, 0 kept, 1 failed" in text.out
    assert "object 'unknown': not in the pack" in text.err
    source = FolderSource(out)
    assert [o.id for o in source.objects] == [f"{name}.glb" for name in names]
    low, high = source.mesh(f"{names[0]}.glb").bounds()
    assert (high - low).tolist() == pytest.approx([0.5774] * 3, abs=1e-3)
    write_list(listing, *(line for line in lines if line["id"] in names))
    assert main(["-o", str(out), "--objects", str(listing), "--pack", str(pack)]) == 0


def test_mistakes_end_with_a_message_and_exit_code_two(tmp_path, capsys):
    (tmp_path / "list.jsonl").write_text("garbage\n")
    assert main(["-o", str(tmp_path / "out"), "--objects", str(tmp_path / "list.jsonl")]) == 2
    assert "list.jsonl, line 1: expected an object and its origin" in capsys.readouterr().err
    assert main(["-o", str(tmp_path / "out"), "--pack", str(tmp_path)]) == 2
    assert "expected objects_train.zip in the folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    (tmp_path / "manifest.jsonl").write_text("[]\n")
    assert main(["-o", str(tmp_path)]) == 2
    assert "manifest.jsonl: expected JSON objects with an id" in capsys.readouterr().err


def test_help_needs_no_heavy_imports():
    code = "import sys; import pipelines.fetch_objects; print('torch' in sys.modules or 'trimesh' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
