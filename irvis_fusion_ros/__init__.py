"""The ROS 2 side of irvis_fusion: the only part that knows ROS."""

from irvis_fusion_core.moved_modules import keep_old_names

keep_old_names(
    __name__,
    {
        "commands": "calibrate estimate_time_offset evaluate_bag fuse_bag make_bag",
        "calibration": "calibration_frames live_frames",
        "demo": "demo_bag demo_cameras demo_detector demo_report",
        "messages": "image_messages image_encodings compressed_messages",
        "node": (
            "fusion_node end_signals guard live_parameters frame_intake frame_processor worker "
            "mailbox"
        ),
        "node.reports": "engine_log diagnostics",
        "pipeline": "pairing_and_health current_stages known_cameras static_transforms",
    },
    {
        "calibrate_boards": "calibration.boards",
        "camera_calibrations": "node.topics.calibration_topics",
        "camera_parameters": "parameters.camera_settings",
        "camera_topics": "node.topics.input_topics",
        "demo_watch": "running_node.node_watch",
        "fused_topics": "node.topics.output_topics",
        "fusion_settings": "parameters.settings_file",
        "fusion_stages": "pipeline.stages",
        "node_process": "node.process",
        "parameter_spec": "parameters.spec",
        "parameter_table": "parameters.node_settings",
        "picture_memory": "node.malloc_tuning",
        "quality_of_service": "node.topics.qos",
        "report": "node.reports.diagnostics_report",
        "stock_pairing": "pipeline.message_filters_pairing",
        "bags.bag_sink": "bags.bag_writer",
        "evaluation.live_compare": "evaluation.live.compare",
        "evaluation.live_player": "evaluation.live.player",
        "evaluation.live_recorder": "evaluation.live.recorder",
        "evaluation.page": "evaluation.report.page",
        "evaluation.page_scores": "evaluation.report.scores",
        "evaluation.pictures": "evaluation.image_store",
        "evaluation.scripted": "evaluation.live.scripted",
        "evaluation.svg": "evaluation.report.plots",
        "bags.frame_decision": "pipeline.frame_decision",
        "bags.pair_fuser": "pipeline.pair_fuser",
        "bags.offline_fusion": "bags.replay.offline_fusion",
        "bags.offline_advice": "bags.replay.offline_advice",
        "bags.offline_diagnostics": "bags.replay.offline_diagnostics",
        "bags.fused_frame": "bags.replay.fused_frame",
        "bags.fused_bag": "bags.replay.fused_bag",
    },
)
