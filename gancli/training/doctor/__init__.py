"""Diagnosis of training: periodic measurements, and rules that turn them into alarms."""
