"""Figures of the evidence, each as SVG and PNG: the same numbers and images always give the same bytes."""
