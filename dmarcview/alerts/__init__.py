"""Warnings: what the rows say is wrong, one incident a cause, remembered and told once."""
