"""Bridges to other programs: COCO, IOHprofiler, benchopt, experiment trackers and tables, so
that each reads what the others wrote."""
