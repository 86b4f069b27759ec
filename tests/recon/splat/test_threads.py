"""Who leaves last restores torch's threads, whatever the order."""

import threading

import pytest
import torch

from recon.splat.backend_cpu.jit import for_each_chunk
from recon.splat.threads import one_torch_thread


def test_threads_that_overlap_leave_torch_as_it_was():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    first_in, second_in, first_out = threading.Event(), threading.Event(), threading.Event()
    seen: list[int] = []

    def first():
        with one_torch_thread():
            first_in.set()
            assert second_in.wait(10)
        first_out.set()

    def second():
        assert first_in.wait(10)
        with one_torch_thread(), one_torch_thread():
            second_in.set()
            assert first_out.wait(10)
            seen.append(torch.get_num_threads())
        seen.append(torch.get_num_threads())

    try:
        for workers in ((first, second), (lambda: seen.append(torch.get_num_threads()),)):
            threads = [threading.Thread(target=worker) for worker in workers]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(20)
        assert seen == [1, 3, 3]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_an_error_in_one_chunk_waits_for_the_others(monkeypatch):
    monkeypatch.setattr("recon.splat.backend_cpu.jit.thread_count", lambda: 2)
    monkeypatch.setattr("recon.splat.backend_cpu.jit._pool", None)
    monkeypatch.setattr("recon.splat.backend_cpu.jit.all_threads", lambda: 2)
    helper_in, done = threading.Event(), []
    caller = threading.current_thread()

    def work(chunk):
        if threading.current_thread() is caller:
            assert helper_in.wait(10)
            raise KeyError("chunk")
        helper_in.set()
        threading.Event().wait(0.2)
        done.append(chunk)

    with pytest.raises(KeyError):
        for_each_chunk(2, work)
    assert done
