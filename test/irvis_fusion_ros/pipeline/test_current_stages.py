"""What is told of the registration while a calibration flaps."""

from types import MappingProxyType

from irvis_fusion_ros.parameters.settings import Settings
from irvis_fusion_ros.pipeline.current_stages import TELL_MAX, TELL_WINDOW_S, CurrentStages
from irvis_fusion_ros.pipeline.known_cameras import Cameras


def test_a_calibration_that_flaps_is_told_a_few_times_and_counted():
    missing, told, now_s = {}, [], [0.0]
    stages = CurrentStages(
        Settings.of({"registration.mode": "calibration"}),
        lambda settings: Cameras(missing=MappingProxyType(dict(missing))),
        lambda text, is_problem: told.append((text, is_problem)),
        clock_s=lambda: now_s[0],
    )
    assert len(told) == 1 and stages.changes == 0
    for number in range(900):  # half a minute at 30 Hz
        now_s[0] = number / 30
        missing["ir"] = f"bad calibration {number % 2}"
        stages.renew_registration()
        stages.follow_files()
    assert stages.changes == 900 and len(told) == TELL_MAX
    assert told[1:3] == [(f"registration: bad calibration {n}", True) for n in (0, 1)]
    missing["ir"] = "it stays bad"
    stages.renew_registration()
    stages.follow_files()
    assert len(told) == TELL_MAX  # held back
    now_s[0] = TELL_WINDOW_S + 1
    stages.follow_files()
    stages.follow_files()
    assert told[TELL_MAX:] == [("registration: it stays bad", True)]
