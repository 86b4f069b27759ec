import json

from benchmarks import train
from tests.gen.small import CONFIG, render_solids


def test_every_way_of_training_is_timed_and_weighed(tmp_path):
    dataset = render_solids(tmp_path, size=16, views=12).folder
    file = tmp_path / "train.json"
    options = train.TrainBenchmarkOptions(
        dataset, file, CONFIG, size=16, frames_per_step=16, threads=1, steps=1, rounds=1
    )
    document = train.run(options)
    assert json.loads(file.read_text()) == document
    assert document["settings"]["model"]["width"] == CONFIG.width
    # Where a processor has no bf16 its products are emulated, slower than the steps that need few of them.
    assert document["contestants"]["naive"]["gflops"] < document["contestants"]["naive"]["matmul_gflops"] * 1.5
    for found in document["contestants"].values():
        assert found["gflops"] > 0
        assert found["matmul_gflops"] > 0
        assert found["scenes_per_second"] > 0
        assert 0 < found["peak_mib"] < 10_000
    assert train.markdown(document).count("\n") == 1 + len(train.CONTESTANTS)
