"""What all tests share."""

import os
import sys

import pytest

# Tests run beside each other and beside engines: one thread each, or they wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

LEFT_OUT = []  # the tests that were found and not chosen

try:
    import hypothesis
except ImportError:  # on a robot; its tests are skipped there
    pass
else:  # an example may take as long as a busy machine needs
    present = hypothesis.settings.default  # in CI it draws the same examples each time
    hypothesis.settings.register_profile("any_load", parent=present, deadline=None)
    hypothesis.settings.load_profile("any_load")


def pytest_collection_modifyitems(items):
    """Skip what is marked `gpu` where there is none."""
    from irvis_fusion_core.backends.cuda_device import find_gpu

    gpu, reason = find_gpu()
    for item in items:
        if gpu is None and item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_runtest_teardown():
    """Give subnormal numbers back, which training takes for zero: hypothesis draws them."""
    torch = sys.modules.get("torch")
    if hasattr(torch, "set_flush_denormal"):  # a test may have put something else there
        torch.set_flush_denormal(False)


def pytest_deselected(items):
    """Remember what -k or -m left out."""
    LEFT_OUT.extend(items)


def pytest_sessionfinish(session, exitstatus):
    """No test at all is a failure; `colcon test` takes it for a success."""
    if exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and not LEFT_OUT:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def student_models(tmp_path_factory):
    """A folder like `irvis_fusion_core/models`, with an untrained nano student: fp32 and fp16."""
    torch = pytest.importorskip("torch", reason="exporting needs torch: pip install '.[dev]'")
    pytest.importorskip("onnx", reason="exporting needs onnx: pip install '.[dev]'")
    from irvis_fusion_core import create_student_model, export_to_onnx, model_zoo, save_checkpoint

    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    model = create_student_model("nano")
    save_checkpoint(model, folder / "nano.safetensors")
    for precision in ("fp32", "fp16"):
        export_to_onnx(model, folder / f"nano_{precision}.onnx", precision=precision)
    model_zoo.write_checksums(str(folder))
    return folder


@pytest.fixture
def zoo(student_models, monkeypatch):
    """Let `student_models` be the models that ship."""
    from irvis_fusion_core import model_zoo

    monkeypatch.setattr(model_zoo, "MODELS_DIR", str(student_models))
    return student_models


@pytest.fixture(scope="session")
def dask_cluster(tmp_path_factory):
    """The address of a Dask cluster on this machine: two workers, processes of one thread each."""
    distributed = pytest.importorskip(
        "distributed", reason="the cluster of --scheduler: pip install '.[fleet]'"
    )
    folder = str(tmp_path_factory.mktemp("dask"))
    options = {"n_workers": 2, "threads_per_worker": 1, "processes": True}
    with distributed.LocalCluster(
        **options, dashboard_address=None, local_directory=folder
    ) as cluster:
        yield cluster.scheduler_address
