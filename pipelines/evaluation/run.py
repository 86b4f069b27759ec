"""An evaluation from its plan to its report: what is not done yet is done, in as many processes as are asked for."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

import torch

from gen.data.names import stem
from pipelines._report import versions
from pipelines._run import STATE, Done, RunFolder, open_run
from pipelines.evaluation.methods import GENERATORS, OF_TRAINING, RETRIEVAL_SIZE, kind_of
from pipelines.evaluation.plan import Plan
from pipelines.evaluation.protocol import context_views, counted_views, grouped, path_cameras
from pipelines.evaluation.regress import changes, changes_table
from pipelines.evaluation.results import Results, Row, code_digest
from pipelines.evaluation.scoring import azimuths
from pipelines.evaluation.sets import open_set
from pipelines.evaluation.stages import inputs_stage, report_stage, row_place, row_stage, text_stage, timings_stage
from pipelines.evaluation.training_views import training_views
from pipelines.evaluation.watching import Watching, watch
from pipelines.evaluation.worker import Found, Job, Worker, do_job, read_scores, start_worker


def run_evaluation(plan: Plan, *, resume: bool, overwrite: bool) -> bool:
    """Does what is not done yet and writes the report; False if a figure dropped against the released report.

    Raises:
        ValueError, OSError: for what a user can mend.
    """
    identity = {"protocol": plan.protocol, "versions": versions(), "program": code_digest()}
    with open_run(plan.output, identity, resume=resume, overwrite=overwrite) as run, watch() as watcher:
        for note in plan.notes:
            watcher.warned(note)
        run.run(inputs_stage(plan), watcher)
        done = _measure(plan, run, watcher)
        results, memory = _results(plan, run, done)
        run.run(report_stage(plan, results), watcher)
        run.run(timings_stage(plan, run, memory), watcher)
        watcher.said(str(plan.output / "report.md"))
        if plan.released is None:
            return True
        found = changes(results, plan.released)
        text = changes_table(found)
        run.run(text_stage("changes", text), watcher)
        watcher.said(text)
        return not any(change.drop for change in found)


def _measure(plan: Plan, run: RunFolder, watcher: Watching) -> dict[tuple[str, str], Done]:
    """Every row of every object that is not finished yet; the markers of all, by method and object."""
    scratch = run.path / STATE / "work-rows"
    jobs = []
    done: dict[tuple[str, str], Done] = {}
    for item in plan.chosen:
        for name in plan.methods:
            marker = run.marker(row_stage(plan, name, item.id))
            if marker is not None:
                done[name, item.id] = marker
        missing = tuple(name for name in plan.methods if (name, item.id) not in done)
        if missing:
            jobs.append(Job(item.id, missing, scratch / stem(item.id)))
    if any(name in OF_TRAINING for job in jobs for name in job.methods):  # once, for all workers to find
        training_views(
            open_set(plan.bench.training),
            plan.bench.training_digest,
            plan.bench.path,
            RETRIEVAL_SIZE,
            track=watcher.track,
        )
    watcher.begin("objects", len(plan.chosen), len(plan.chosen) - len(jobs))
    for founds in _done(plan, jobs):
        for found in founds:
            stage = row_stage(plan, found.method, found.object_id, found)
            done[found.method, found.object_id] = run.run(stage, watcher)
        watcher.advance()
    shutil.rmtree(scratch, ignore_errors=True)
    return done


def _done(plan: Plan, jobs: Sequence[Job]) -> Iterator[list[Found]]:
    """What the jobs found, as they end."""
    if plan.workers == 1 or len(jobs) <= 1:
        threads = torch.get_num_threads()
        try:
            yield from map(Worker(plan.bench).do, jobs) if jobs else ()
        finally:
            torch.set_num_threads(threads)
        return
    count = min(plan.workers, len(jobs))
    with (
        one_thread_each(),
        ProcessPoolExecutor(count, get_context("spawn"), start_worker, (plan.bench,)) as pool,
    ):
        try:
            for future in as_completed([pool.submit(do_job, job) for job in jobs]):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


@contextlib.contextmanager
def one_thread_each() -> Iterator[None]:
    """Processes that start within it compute with one thread: their number is what uses the machine's cores."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _results(plan: Plan, run: RunFolder, done: Mapping[tuple[str, str], Done]) -> tuple[Results, dict[str, int | None]]:
    """All figures, and the memory that each row took at most."""
    cameras = path_cameras(plan.bench.path, plan.bench.size)
    rows, memory = {}, {}
    for name, settings in plan.methods.items():
        records = {item.id: read_scores(run.path / row_place(name, item.id)) for item in plan.chosen}
        peaks = [done[name, item.id].figures["peak_memory_mib"] for item in plan.chosen]
        memory[name] = max((peak for peak in peaks if peak is not None), default=None)
        context = context_views(GENERATORS.get(name, 1))
        rows[name] = Row(
            kind=kind_of(name),
            settings=dict(settings),
            views=tuple(counted_views(len(cameras), context)),
            azimuths=tuple(azimuths(cameras, context)),
            objects={key: record["scores"] for key, record in records.items()},
            commits=tuple(sorted({record["commit"] for record in records.values()})),
            notes={key: record["notes"] for key, record in records.items() if record["notes"]},
        )
    return Results(plan.protocol, grouped(plan.chosen), rows), memory
