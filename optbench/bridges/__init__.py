"""Bridges to other benchmarks: COCO, IOHprofiler and benchopt, so that each reads what the others wrote."""
