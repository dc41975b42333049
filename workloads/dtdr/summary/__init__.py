"""What the workload adds to a study's report: curves as files and pictures, texts, codecs."""

from workloads.dtdr.summary.writing import write_summary

__all__ = ["write_summary"]
