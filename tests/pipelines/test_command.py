"""The `turnabout` command and its preflight check."""

from __future__ import annotations

import signal

import pytest

from pipelines import _preflight
from pipelines.__main__ import COMMANDS, main
from pipelines._command import ended_as_interrupted
from tests.test_repository import IMPORT_NAMES, PROJECT, distribution


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]):
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in COMMANDS)


def test_an_unknown_command_is_refused_with_the_list(capsys: pytest.CaptureFixture[str]):
    assert main(["img2mush"]) == 2
    printed = capsys.readouterr().err
    assert "img2mush" in printed
    assert "img2mesh" in printed


def test_the_version_is_the_distribution_s(capsys: pytest.CaptureFixture[str]):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip().count(".") == 2


def test_the_preflight_check_finds_this_machine_ready(capsys: pytest.CaptureFixture[str]):
    assert main(["check"]) == 0
    printed = capsys.readouterr().out
    assert "open3d" in printed
    assert "missing" not in printed


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_a_module_of_its_name_and_explains_itself(name: str, capsys: pytest.CaptureFixture[str]):
    assert COMMANDS[name][0] == f"pipelines.{name}"
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    assert stopped.value.code == 0
    assert f"usage: {name}" in capsys.readouterr().out


def test_the_check_looks_at_every_package_that_is_declared():
    names = {IMPORT_NAMES.get(name, name) for name in map(distribution, PROJECT["dependencies"])}
    assert names - set(_preflight.PACKAGES) == {
        "llvmlite",
        "libusb_package",
        "open3d",
    }  # numba's; Open3D's, looked at apart


def test_a_package_that_does_not_load_is_reported_with_a_remedy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_preflight, "PACKAGES", ("numpy", "a_package_that_is_not_there"))
    found = {finding.subject: finding for finding in _preflight.inspect()}
    assert found["numpy"].state == "ok"
    assert found["a_package_that_is_not_there"].state == "missing"
    assert "pip install" in found["a_package_that_is_not_there"].detail


def test_an_extra_that_is_not_installed_is_a_note_that_says_what_it_is_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_preflight, "EXTRAS", (("a_package_that_is_not_there", "colmap", "cameras need it"),))
    found = {finding.subject: finding for finding in _preflight.inspect()}["a_package_that_is_not_there"]
    assert found.state == "note"
    assert "cameras need it: pip install 'turnabout[colmap]'" in found.detail


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGHUP])
def test_signals_that_end_programs_interrupt_and_are_as_before_afterwards(sent: signal.Signals):
    def heard(*_: object) -> None:
        """Else a signal that is not caught would end the tests."""

    before = signal.signal(sent, heard)
    try:
        with pytest.raises(KeyboardInterrupt), ended_as_interrupted():
            signal.raise_signal(sent)
        assert signal.getsignal(sent) is heard
    finally:
        signal.signal(sent, before)


def test_a_command_under_nohup_outlives_its_terminal():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ended_as_interrupted():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
