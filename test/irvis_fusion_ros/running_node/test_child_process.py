"""A child process that runs to its end, fails, is interrupted, or ignores the signal."""

import signal
import time

import pytest

from irvis_fusion_core.errors import EngineError
from irvis_fusion_ros.running_node.child_process import ChildProcess

FOREVER = "import time\nprint('up', flush=True)\ntime.sleep(600)"
DEAF = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n" + FOREVER
PATIENCE_S = 60.0


def started(script, tmp_path, **options):
    """A process that has printed its first line."""
    process = ChildProcess("sleeper", ["-c", script], log_path=tmp_path / "log", **options)
    while "up" not in process.log() and process.exit_status is None:
        time.sleep(0.01)
    return process


def test_output_of_a_process_that_reads_a_line():
    script = "print(input() + ' back')"
    with ChildProcess("echo", ["-c", script], with_stdin=True, with_stdout=True) as process:
        process.send_line("there and")
        assert process.output(PATIENCE_S) == "there and back\n"
    assert process.exit_status == 0
    process.check_succeeded()
    with pytest.raises(EngineError, match="echo .* status 0"):
        process.check_running()


def test_the_environment_is_passed_on():
    script = "import os; print(os.environ['OF_THE_TEST'])"
    environment = {"OF_THE_TEST": "here"}
    with ChildProcess("echo", ["-c", script], environment, with_stdout=True) as process:
        assert process.output(PATIENCE_S) == "here\n"


def test_a_process_that_fails_is_named_with_its_status():
    with ChildProcess("loser", ["-c", "raise SystemExit(3)"], with_stdout=True) as process:
        with pytest.raises(EngineError, match="loser .* status 3"):
            process.output(PATIENCE_S)
        with pytest.raises(EngineError, match="loser .* status 3"):
            process.check_running()


def test_the_end_of_the_block_interrupts(tmp_path):
    with started(FOREVER, tmp_path) as process:
        process.check_running()
        process.check_succeeded()
        assert process.pid > 0
    assert process.exit_status == -signal.SIGINT
    assert "KeyboardInterrupt" in process.log()
    assert process.stop() == -signal.SIGINT


def test_a_process_that_ignores_the_signal_is_killed_and_named(tmp_path, capfd):
    process = started(DEAF, tmp_path, end_timeout_s=0.5)
    assert process.stop() == -signal.SIGKILL
    assert "sleeper did not end within" in capfd.readouterr().err


def test_output_that_does_not_come_is_an_error():
    process = ChildProcess("sleeper", ["-c", FOREVER], with_stdout=True)
    with process, pytest.raises(EngineError, match="sleeper .* running"):
        process.output(0.2)


def test_a_line_to_a_process_that_has_ended_is_left_to_the_checks():
    process = ChildProcess("loser", ["-c", "raise SystemExit(3)"], with_stdin=True)
    while process.exit_status is None:
        time.sleep(0.01)
    process.send_line("too late")
    assert process.stop() == 3
