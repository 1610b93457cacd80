"""Outcomes that another program recorded -> an outcome table."""
